"""`interlock bootstrap aws`: the bucket and the lock table that states need, made or brought into line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import view
from interlock.errors import PolicyGate, UsageError

if TYPE_CHECKING:
    from interlock.existing.bootstrap import S3Account, Step, Wanted

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bootstrap() -> None:
    """Make what states need in a cloud."""


@app.command()
def aws(
    directory: Annotated[
        Path, typer.Argument(help="A root module whose backend names bucket and table.", show_default="here")
    ] = Path(),
    *,
    bucket: Annotated[str | None, typer.Option(metavar="BUCKET", help="Bucket of the states.")] = None,
    table: Annotated[str | None, typer.Option(metavar="TABLE", help="DynamoDB table of the locks.")] = None,
    no_table: Annotated[bool, typer.Option("--no-table", help="Lock with objects (use_lockfile); no table.")] = False,
    region: Annotated[str | None, typer.Option(metavar="REGION", help="Region of both.")] = None,
    kms_key: Annotated[str | None, typer.Option(metavar="ARN", help="Encrypt with this KMS key (ARN).")] = None,
    keep_days: Annotated[
        int | None, typer.Option(metavar="DAYS", min=1, help="Days to keep replaced states; 90 by default.")
    ] = None,
    terraform: Annotated[bool, typer.Option("--terraform", help="Print Terraform configuration instead.")] = False,
    policy: Annotated[bool, typer.Option("--policy", help="Print only the IAM policy that runs need.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Create or correct the bucket (versions, encryption, no public access, TLS only, lifecycle) and the lock table.

    Shows what differs first, changes only that, and has nothing to do the second time. Nothing is deleted.
    """
    from interlock.clock import SystemClock
    from interlock.existing.bootstrap import iam_policy, to_terraform
    from interlock.ids import RandomIds
    from interlock.operate.bootstrap import BootstrapAsked, open_account, wanted_of

    asked = BootstrapAsked(
        directory=directory,
        bucket=bucket,
        table=table,
        no_table=no_table,
        region=region,
        kms_key=kms_key,
        old_versions_days=keep_days,
    )
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a folder", fix="name the folder of a root module")
    wanted, access = wanted_of(asked, os.environ)
    if terraform or policy:
        if terraform:
            view.document(to_terraform(wanted))
        else:
            view.print_json(iam_policy(wanted))
        return
    account = open_account(wanted, access, clock=SystemClock(), ids=RandomIds())
    done = asyncio.run(_bring_into_line(account, wanted, dry_run=dry_run, yes=yes or json, quiet=json))
    if json:
        rows = [{"target": step.target, "change": step.text} for step in done]
        document = {
            "bucket": wanted.bucket,
            "table": wanted.table,
            "changed": bool(done) and not dry_run,
            "steps": rows,
        }
        view.print_json({**document, "policy": iam_policy(wanted)})
        return
    view.note("what runs need is this policy:")
    view.print_json(iam_policy(wanted))


async def _bring_into_line(
    account: S3Account, wanted: Wanted, *, dry_run: bool, yes: bool, quiet: bool
) -> Sequence[Step]:
    from interlock.existing.bootstrap import plan_steps

    try:
        bucket = await account.look_at_bucket(wanted.bucket)
        table = None if wanted.table is None else await account.look_at_table(wanted.table)
        steps = plan_steps(wanted, bucket, table)
        if not quiet:
            _show(steps)
            if not wanted.tls_only:
                view.note("requests without TLS stay allowed, because the address of this S3 is http:")
        if dry_run or not steps:
            return steps
        if not view.confirm("Change this?", yes=yes):
            raise PolicyGate("nothing was changed", why="the answer was no", fix="interlock bootstrap aws --dry-run")
        for step in steps:
            await account.perform(step)
            if not quiet:
                view.note(f"done  {step.target}: {step.text}")
        return steps
    finally:
        await account.close()


def _show(steps: Sequence[Step]) -> None:
    if not steps:
        view.note("bucket and table are as they should be; there is nothing to do")
    for step in steps:
        view.note(f"  ~ {step.target}: {step.text}")
