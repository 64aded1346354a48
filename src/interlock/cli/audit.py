"""`interlock audit`: who broke which lock and restored which state, on what grounds."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from interlock.amounts import amount
from interlock.cli import view
from interlock.errors import StateInvalid, UsageError, command, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.audit import Entry, Head
    from interlock.audit.export import Filter
    from interlock.audit.log import Damaged
    from interlock.home.interface import Home
    from interlock.operate.audit import Verified

_EXPORT_BYTES_MAX = 1 << 30

app = typer.Typer(help="Who broke and restored what, and on what grounds.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


Subject = Annotated[
    str | None,
    typer.Option(
        "--state", metavar="NAME", help="Only this state: its name or address, or the folder of its root module."
    ),
]
Who = Annotated[str | None, typer.Option("--who", metavar="TEXT", help="Only of whoever has this in the name.")]
Action = Annotated[str | None, typer.Option("--action", metavar="ACTION", help="Only this action, such as approved.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Only since this instant, or so long ago, such as 7d.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only before this instant, or so long ago.")]


@app.command("ls")
def ls(
    *,
    subject: Subject = None,
    who: Who = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """List the decisions, oldest first, as this machine's log has them."""
    entries, damaged = asyncio.run(_decisions(_Asked(subject, who, action, since, until)))
    view.emit({"entries": entries, "damaged": damaged}, json=json, human=lambda: _show(entries))
    for each in damaged:
        view.note(f"entry {each.number} cannot be read: {each.why}")


@app.command()
def export(
    *,
    subject: Subject = None,
    who: Who = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write to this file.")] = None,
) -> None:
    """Print the log as JSON lines: entries as they are stored, then a line with the head, signed where there is a key.

    `interlock audit verify --export FILE` checks the file without the log.
    """
    lines = asyncio.run(_exported(_Asked(subject, who, action, since, until)))
    content = b"".join(line + b"\n" for line in lines)
    if out is None:
        view.raw(content)
        return
    from interlock.source.disk import write_file

    write_file(out, content)
    view.note(f"{amount(len(lines) - 1, 'entry', 'entries')} in {out}")


class _Asked(NamedTuple):
    """Filters as they are typed."""

    subject: str | None
    who: str | None
    action: str | None
    since: str | None
    until: str | None

    async def filter(self, home: Home) -> Filter:
        """Return them as values."""
        from interlock.operate.audit import filter_of

        now = home.clock.now()
        return await filter_of(
            home,
            os.environ,
            subject=self.subject,
            who=self.who,
            action=self.action,
            since=_instant(self.since, now),
            until=_instant(self.until, now),
        )


def _instant(text: str | None, now: datetime) -> datetime | None:
    """Read an instant with or without a zone (then UTC), or how long ago it was.

    Raises:
        UsageError: It is neither.
    """
    if text is None:
        return None
    from interlock.settings.values import parse_duration

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return now - timedelta(seconds=parse_duration(text))
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


async def _decisions(asked: _Asked) -> tuple[tuple[Entry, ...], tuple[Damaged, ...]]:
    from interlock.compose.homes import at_home

    async with at_home(os.environ, make=False) as home:
        wanted = await asked.filter(home)
        entries = await home.audit.entries()
        return tuple(entry for entry in entries if wanted.takes(entry)), await home.audit.damaged()


async def _exported(asked: _Asked) -> Sequence[bytes]:
    from interlock.compose.homes import at_home
    from interlock.operate.audit import export_log

    async with at_home(os.environ, make=False) as home:
        return await export_log(home, await asked.filter(home))


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
    exported: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Check a file of audit export instead."),
    ] = None,
    json: Json = False,
) -> None:
    """Walk the chain: exits 20 when an entry was changed or taken out, or when the log was cut or made anew.

    The log is compared with its own end, with what versions of states have noted, with --head, and with the key in
    INTERLOCK_AUDIT_KEY or INTERLOCK_AUDIT_KEY_FILE.
    """
    from interlock.audit import find_head

    if exported is not None:
        _verify_export(exported, json=json)
        return
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


def _verify_export(file: Path, *, json: bool) -> None:
    content = _read(file)
    count, fault, checked = asyncio.run(_checked(content))
    values = {"entries": count, "fault": fault or None, "signatures_checked": checked}
    said = fault or f"{amount(count, 'entry', 'entries')} of {file}, in order"
    view.emit(values, json=json, human=lambda: view.note(said))
    if not checked and not fault and not json:
        view.note("without INTERLOCK_AUDIT_KEY nobody can tell whether the file was made by this log")
    if fault:
        raise typer.Exit(StateInvalid.exit_status)


def _read(file: Path) -> bytes:
    from interlock.bounded import OutOfBounds, read_at_most

    try:
        with file.open("rb") as stream:
            return read_at_most(stream, _EXPORT_BYTES_MAX)
    except (OSError, OutOfBounds) as error:
        raise UsageError(f"cannot read {file}", why=reason_of(error), fix=command("audit", "export")) from error


async def _checked(content: bytes) -> tuple[int, str, bool]:
    from interlock.compose.homes import at_home
    from interlock.operate.audit import check_export

    async with at_home(os.environ, make=False) as home:
        return check_export(content, home)
