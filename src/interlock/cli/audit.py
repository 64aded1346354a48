"""`interlock audit`: who broke which lock and restored which state, on what grounds."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.amounts import amount
from interlock.cli import view
from interlock.errors import StateInvalid, UsageError, command

if TYPE_CHECKING:
    from interlock.audit import Entry, Head
    from interlock.audit.log import Damaged
    from interlock.operate.audit import Verified

app = typer.Typer(help="Who broke and restored what, and on what grounds.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("ls")
def ls(
    *,
    subject: Annotated[
        str | None,
        typer.Option(
            "--state", metavar="NAME", help="Only this state: its name or address, or the folder of its root module."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the decisions, oldest first, as this machine's log has them."""
    entries, damaged = asyncio.run(_decisions(subject))
    view.emit({"entries": entries, "damaged": damaged}, json=json, human=lambda: _show(entries))
    for each in damaged:
        view.note(f"entry {each.number} cannot be read: {each.why}")


async def _decisions(subject: str | None) -> tuple[tuple[Entry, ...], tuple[Damaged, ...]]:
    from interlock.compose.homes import at_home
    from interlock.operate.audit import decisions

    async with at_home(os.environ, make=False) as home:
        return await decisions(subject, home, os.environ)


async def _verify(noted: Head | None) -> Verified:
    from interlock.compose.homes import at_home
    from interlock.operate.audit import verify_log

    async with at_home(os.environ, make=False) as home:
        return await verify_log(home, noted)


def _show(entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        view.say(f"{entry.number} {view.instant(entry.at)} {entry.action} {entry.subject} by {entry.by}")
        for name, value in entry.facts.items():
            text = "; ".join(value) if isinstance(value, list) else value
            if text not in (None, ""):
                view.say(f"    {name}: {text}")
    if not entries:
        view.note("nothing was decided yet")


@app.command()
def verify(
    *,
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="HEAD", help="A head that a command printed, such as 12:3f2a…; it must be in the log."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Walk the chain: exits 20 when an entry was changed or taken out, or when the log was cut or made anew.

    The log is compared with its own end, with what versions of states have noted, with --head, and with the key in
    INTERLOCK_AUDIT_KEY or INTERLOCK_AUDIT_KEY_FILE.
    """
    from interlock.audit import find_head

    noted = find_head(head) if head is not None else None
    if head is not None and noted is None:
        raise UsageError(
            f"{head!r} is not a head of the audit log",
            why="it is a number and at least twelve digits of a digest",
            fix=command("audit", "ls"),
        )
    found = asyncio.run(_verify(noted))
    values = {
        "entries": found.entries,
        "fault": found.fault or None,
        "head": str(found.head) if found.head else None,
        "signed": found.signed,
        "signatures_checked": found.checked,
    }
    view.emit(values, json=json, human=lambda: _show_verified(found))
    if found.fault:
        raise typer.Exit(StateInvalid.exit_status)


def _show_verified(found: Verified) -> None:
    if found.fault:
        view.note(found.fault)
        return
    view.note(f"{amount(found.entries, 'entry', 'entries')}, in order" + (f"; head {found.head}" if found.head else ""))
    if found.checked:
        view.note(f"{found.signed} of them are signed with this key")
        if unsigned := found.entries - found.signed:
            view.note(f"the key says nothing of the {unsigned} before: whoever could write the home could write them")
    elif found.signed:
        view.note(
            f"{found.signed} of them are signed; INTERLOCK_AUDIT_KEY or INTERLOCK_AUDIT_KEY_FILE is needed to check"
        )
