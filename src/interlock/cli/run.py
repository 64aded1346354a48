"""`interlock plan | apply | destroy`: the command lines of supervised runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.cli import completing
from interlock.cli.one_run import perform
from interlock.options import run_option

plan_app = typer.Typer()
apply_app = typer.Typer()
destroy_app = typer.Typer()

Directory = Annotated[
    Path, typer.Argument(help="The root module; several for several roots.", metavar="[DIR…]", show_default="here")
]
Extra = Annotated[list[str] | None, typer.Argument(help="Flags for Terraform, after --.", metavar="[-- FLAGS…]")]


def run_flag(name: str, *, short: str = "", **more: Any) -> Any:
    """Return an option of runs as Typer has it; see `interlock.options`."""
    option = run_option(name)
    return typer.Option(
        option.flag, *([short] if short else []), help=option.help, metavar=option.value or None, **more
    )


State = Annotated[str | None, run_flag("state", autocompletion=completing.states)]
Wait = Annotated[str | None, run_flag("wait")]
NoWait = Annotated[bool, run_flag("no-wait")]
Terraform = Annotated[str | None, run_flag("terraform")]
Json = Annotated[bool, run_flag("json")]
Brief = Annotated[bool, run_flag("brief")]
Quiet = Annotated[bool, run_flag("quiet", short="-q")]
AutoApprove = Annotated[bool, run_flag("auto-approve")]
MaxDeletes = Annotated[int | None, run_flag("max-deletes", min=0)]
AllowDestroy = Annotated[bool, run_flag("allow-destroy")]
FirstApply = Annotated[bool, run_flag("first-apply")]
DriftGate = Annotated[bool, run_flag("drift-gate")]
NoGateway = Annotated[bool, run_flag("no-gateway")]
Deadline = Annotated[str | None, run_flag("deadline")]
Retries = Annotated[int, run_flag("retries", min=0, max=10)]
All = Annotated[bool, run_flag("all")]
Changed = Annotated[str | None, run_flag("changed")]
Jobs = Annotated[int | None, run_flag("jobs", min=1, max=32)]


@plan_app.command()
def plan(
    ctx: typer.Context,
    directory: Directory = Path(),
    extra: Extra = None,
    *,
    everything: All = False,
    changed: Changed = None,
    jobs: Jobs = None,
    state: State = None,
    wait: Wait = None,
    no_wait: NoWait = False,
    terraform: Terraform = None,
    out: Annotated[Path | None, run_flag("out")] = None,
    detailed_exitcode: Annotated[bool, run_flag("detailed-exitcode")] = False,
    gate: Annotated[bool, run_flag("gate")] = False,
    no_gateway: NoGateway = False,
    brief: Brief = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Queue for the state, then plan under its lock."""
    raise typer.Exit(
        perform(
            "plan",
            directory,
            extra,
            everything=everything,
            changed=changed,
            jobs=jobs,
            spare=ctx.obj,
            state=state,
            wait=wait,
            no_wait=no_wait,
            terraform=terraform,
            out=out,
            detailed_exitcode=detailed_exitcode,
            gate=gate,
            no_gateway=no_gateway,
            brief=brief,
            quiet=quiet,
            json=json,
        )
    )


@apply_app.command()
def apply(
    ctx: typer.Context,
    directory: Directory = Path(),
    extra: Extra = None,
    *,
    everything: All = False,
    changed: Changed = None,
    jobs: Jobs = None,
    state: State = None,
    auto_approve: AutoApprove = False,
    run: Annotated[str | None, run_flag("run")] = None,
    plan_file: Annotated[Path | None, run_flag("plan")] = None,
    plan_digest: Annotated[str | None, run_flag("plan-digest")] = None,
    allow_other_files: Annotated[bool, run_flag("allow-other-files")] = False,
    max_deletes: MaxDeletes = None,
    allow_destroy: AllowDestroy = False,
    wait: Wait = None,
    no_wait: NoWait = False,
    deadline: Deadline = None,
    retries: Retries = 1,
    terraform: Terraform = None,
    no_gateway: NoGateway = False,
    drift_gate: DriftGate = False,
    first_apply: FirstApply = False,
    brief: Brief = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Plan, show, ask, and apply exactly that plan."""
    raise typer.Exit(
        perform(
            "apply",
            directory,
            extra,
            everything=everything,
            changed=changed,
            jobs=jobs,
            spare=ctx.obj,
            state=state,
            auto_approve=auto_approve,
            run=run,
            plan=plan_file,
            plan_digest=plan_digest,
            allow_other_files=allow_other_files,
            max_deletes=max_deletes,
            allow_destroy=allow_destroy,
            wait=wait,
            no_wait=no_wait,
            deadline=deadline,
            retries=retries,
            terraform=terraform,
            no_gateway=no_gateway,
            drift_gate=drift_gate,
            first_apply=first_apply,
            brief=brief,
            quiet=quiet,
            json=json,
        )
    )


@destroy_app.command()
def destroy(
    ctx: typer.Context,
    directory: Directory = Path(),
    extra: Extra = None,
    *,
    everything: All = False,
    changed: Changed = None,
    jobs: Jobs = None,
    state: State = None,
    auto_approve: AutoApprove = False,
    allow_destroy: AllowDestroy = False,
    wait: Wait = None,
    no_wait: NoWait = False,
    terraform: Terraform = None,
    no_gateway: NoGateway = False,
    brief: Brief = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Destroy everything the state holds: plan, show, ask, apply exactly that plan."""
    raise typer.Exit(
        perform(
            "destroy",
            directory,
            extra,
            everything=everything,
            changed=changed,
            jobs=jobs,
            spare=ctx.obj,
            state=state,
            auto_approve=auto_approve,
            allow_destroy=allow_destroy,
            wait=wait,
            no_wait=no_wait,
            terraform=terraform,
            no_gateway=no_gateway,
            brief=brief,
            quiet=quiet,
            json=json,
        )
    )
