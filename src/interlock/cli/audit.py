"""`interlock audit`: who broke which lock and restored which state, on what grounds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli import view
from interlock.errors import StateInvalid

if TYPE_CHECKING:
    from interlock.audit import Entry
    from interlock.audit.log import AuditLog, Damaged

app = typer.Typer(help="Who broke and restored what, and on what grounds.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("ls")
def ls(
    *,
    subject: Annotated[str | None, typer.Option("--state", help="Only this state name or address.")] = None,
    json: Json = False,
) -> None:
    """List the decisions, oldest first, as this machine's log has them."""

    async def read(log: AuditLog) -> tuple[tuple[Entry, ...], tuple[Damaged, ...]]:
        return await log.entries(subject=subject), await log.damaged()

    from interlock.rescue.log import with_log

    entries, damaged = asyncio.run(with_log(read))
    view.emit({"entries": entries, "damaged": damaged}, json=json, human=lambda: _show(entries))
    for each in damaged:
        view.note(f"entry {each.number} cannot be read: {each.why}")


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
def verify(*, json: Json = False) -> None:
    """Walk the chain: exits 20 when an entry was changed or taken out."""

    async def check(log: AuditLog) -> tuple[int, str]:
        return await log.verify()

    from interlock.rescue.log import with_log

    count, fault = asyncio.run(with_log(check))
    values = {"entries": count, "fault": fault or None}
    view.emit(values, json=json, human=lambda: view.note(fault or f"{count} entries, in order"))
    if fault:
        raise typer.Exit(StateInvalid.exit_status)
