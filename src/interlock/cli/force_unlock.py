"""`interlock force-unlock`: breaks a lock on proof that its holder is gone; prints the proof first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import view
from interlock.cli.lock import Ephemeral, Job, LockId, State, explained, show_explained
from interlock.errors import StateInvalid, UsageError, command
from interlock.foreign_text import one_line

if TYPE_CHECKING:
    from interlock.operate.unlock import Case, Explained, Freed
    from interlock.recovery.terraform_lock import Override

app = typer.Typer()

_NAME_CHARS = 200  # of an operator's name


@app.command()
def force_unlock(
    state: State,
    *,
    lock_id: LockId = None,
    job: Job = None,
    window: Annotated[
        str,
        typer.Option("--window", metavar="TIME", help="How long to watch a lock that has no heartbeat, such as 30s."),
    ] = "30s",
    ephemeral_runners: Ephemeral = False,
    verified: Annotated[
        str | None,
        typer.Option(
            "--i-have-verified", metavar="TEXT", help="What you verified and how, when it cannot be proven from here."
        ),
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option(
            "--operator",
            metavar="NAME",
            envvar="INTERLOCK_OPERATOR",
            help="Your name for the audit log; by default user@host.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Answer every prompt with yes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show evidence and verdict.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Break a lock whose holder is provably gone: saves the state, deletes exactly that lock, verifies the state.

    Exits 13 when the holder is alive, or when nothing proves that it is gone; 20 when the lock was broken and the state
    that is there is damaged.
    """
    from interlock.operate.unlock import Asked
    from interlock.settings.values import parse_duration

    asked = Asked(lock_id=lock_id, job=job, window_s=parse_duration(window), ephemeral_runners=ephemeral_runners)
    override = None if verified is None else make_override(verified, operator)
    found, freed = asyncio.run(_act(state, asked, override, yes=yes, dry_run=dry_run, quiet=json))
    values = {**explained(found), "done": freed is not None, **(_freed_values(freed) if freed else {})}
    view.emit(values, json=json, human=lambda: _show_freed(state, freed))
    if freed is not None and (any(one.refuses for one in freed.findings) or not freed.digest_agrees):
        raise typer.Exit(StateInvalid.exit_status)


def make_override(verified: str, operator: str | None) -> Override:
    """Return who takes responsibility for what.

    Raises:
        UsageError: The reason or the name says nothing.
    """
    from interlock.host import who
    from interlock.recovery.terraform_lock import Override

    name = (operator or who()).strip()
    if not verified.strip() or not name or one_line(name, limit=_NAME_CHARS) != name:
        raise UsageError(
            "--i-have-verified needs a reason, and a name",
            why="both are kept in the audit log",
            fix='--i-have-verified "the runner vm-17 was deleted at 02:40" --operator "Ann Lee"',
        )
    return Override(operator=name, reason=one_line(verified.strip()))


async def _act(
    state: str, asked: Any, override: Override | None, *, yes: bool, dry_run: bool, quiet: bool
) -> tuple[Explained, Freed | None]:
    import os

    from interlock.compose.burying import send_ends_of
    from interlock.compose.homes import at_home
    from interlock.operate.unlock import open_case

    home_at = at_home(os.environ, make=not dry_run, told=view.audited, say=view.note)
    async with home_at as home, open_case(state, asked, home, os.environ) as case:
        found = await case.examine()
        if not quiet:
            show_explained(found)
        if dry_run:
            return found, None
        freed = await break_examined(case, found, override, yes=yes)
        await send_ends_of(home)
        return found, freed


async def break_examined(case: Case, found: Explained, override: Override | None, *, yes: bool) -> Freed | None:
    """Break an examined lock after asking; None when the person said no.

    Raises:
        LockHeld: It may not be broken.
        UsageError: Nobody holds it.
    """
    from interlock.operate.unlock import judged_of
    from interlock.recovery.terraform_lock import check_may_break

    if found.lock is None or found.verdict is None:
        why = "it was released while we watched" if found.released else ""
        raise UsageError(f"{found.subject} is not locked", why=why, fix=command("lock", "show", found.subject))
    check_may_break(judged_of(found), override)
    who = found.lock.get("who") or "somebody unknown"
    if not view.confirm(f"Break the lock {found.lock['id']} of {who} on {found.address}?", yes=yes):
        return None
    return await case.break_(override)


def _freed_values(freed: Freed) -> dict[str, Any]:
    return {
        "text": freed.text,
        "snapshot": freed.snapshot,
        "findings": freed.findings,
        "digest_agrees": freed.digest_agrees,
    }


def _show_freed(state: str, freed: Freed | None) -> None:
    if freed is None:
        view.note("nothing was changed")
        return
    view.note(freed.text)
    if freed.snapshot:
        view.note(f"the state as it was: {freed.snapshot}")
    for finding in freed.findings:
        view.note(f"{'error' if finding.refuses else 'note'}[{finding.code}] {view.local(finding.message)}")
    broken = any(finding.refuses for finding in freed.findings)
    if broken:
        view.note(f"next: {command('state', 'restore', state)}")
    elif not freed.digest_agrees:
        view.note(f"the digest does not agree with the state; next: {command('state', 'repair', state)}")
    else:
        view.note(f"the state is whole; next: {freed.plan}")
