"""`interlock state`: versions of a state: verify, diff, restore, quarantine."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from interlock.amounts import amount
from interlock.cli import completing, state_moves, view
from interlock.cli.secret_output import Out, secret_output
from interlock.errors import StateInvalid, UsageError, command

if TYPE_CHECKING:
    from interlock.operate.states import ListedState
    from interlock.site.existing_history import StoredVersion
    from interlock.site.interface import PlannedRestore, Site
    from interlock.site.own_versions import OwnVersions
    from interlock.state import AttributeChange, Diff, Document, Finding, Quarantined, Retention, Version

app = typer.Typer(help="Versions of a state: verify, diff, restore, quarantine.", no_args_is_help=True)
quarantine = typer.Typer(help="Writes that were refused, kept for review.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")
state_moves.add_to(app)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", help="Answer every prompt with yes.")]
State = Annotated[
    str, typer.Argument(help="State name, or the folder of its root module.", autocompletion=completing.states)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]
Number = Annotated[
    str | None,
    typer.Option("--version", metavar="VERSION", help="Version number, `serial:N`, or a digest's beginning."),
]
EntryId = Annotated[str, typer.Argument(help="Id of the refused write, or its beginning.")]

_T = TypeVar("_T")
_NOTHING = "nothing to repair: the state's record names its current version, and there is no digest beside it"
_UNCHANGED = "nothing was changed"
_SHOWN = 200  # changes shown to a person without --all
_ACCEPTABLE = frozenset({"suspect", "state-gone"})  # findings that a person may let stand


def _in(state: str, act: Callable[[Site], Awaitable[_T]], *, changes: bool = False) -> _T:
    """Open the state that is meant, let `act` work on it, close it. Who only looks makes no home."""
    from interlock.compose.homes import at_home
    from interlock.site.opening import open_meant

    async def run() -> _T:
        home_at = at_home(os.environ, make=changes, told=view.audited, say=view.note)
        async with home_at as home, open_meant(state, home, os.environ, must_be_known=not changes) as site:
            return await act(site)

    return asyncio.run(run())


def _in_named(state: str, act: Callable[[Site], Awaitable[_T]], *, changes: bool = False) -> tuple[str, _T]:
    """Likewise; return the state's own name, by which every command knows it, with what `act` returns."""

    async def named(site: Site) -> tuple[str, _T]:
        return site.ref.queue, await act(site)

    return _in(state, named, changes=changes)


def _in_own(state: str, act: Callable[[OwnVersions], Awaitable[_T]], *, changes: bool = False) -> _T:
    """Likewise, for what only our own backend has."""
    return _in(state, lambda site: act(site.own), changes=changes)


@app.command("ls")
def ls(*, json: Json = False) -> None:
    """List states with their current version."""
    found = asyncio.run(_stored())
    rows = [_stored_values(one) for one in found]
    lines = [_stored_line(one) for one in found]
    _tell_unseen(found)
    view.emit(
        {"states": rows},
        json=json,
        human=lambda: view.table(
            ("STATE", "VERSION", "SERIAL", "SIZE", "WRITTEN"), lines, empty="no states yet; interlock apply"
        ),
    )


async def _stored() -> list[ListedState]:
    from interlock.compose.homes import at_home
    from interlock.operate.states import stored_states

    async with at_home(os.environ, make=False) as home:
        return await stored_states(home, os.environ)


def _stored_values(one: ListedState) -> dict[str, object]:
    said = {"address": one.address, "trouble": one.trouble}
    return {"state": one.state, "head": one.head, **{name: text for name, text in said.items() if text}}


def _tell_unseen(found: list[ListedState]) -> None:
    """Say what a list did not look at: it asks no backend elsewhere, and cannot find every root."""
    for one in found:
        if one.trouble:
            view.note(f"{one.state} was not looked at: {one.trouble}")
    elsewhere = [one for one in found if one.address]
    if elsewhere:
        ask = command("state", "history", elsewhere[0].state)
        view.note(f"states elsewhere are listed by their address and were not asked; to ask one: {ask}")


def _stored_line(one: ListedState) -> tuple[str, ...]:
    if one.head is None:
        return (one.state, "", "", "", f"at {one.address}" if one.address else "?" if one.trouble else "nothing yet")
    size, written = view.size(one.head.size_bytes), view.instant(one.head.written_at)
    return (one.state, str(one.head.number), str(one.head.serial), size, written)


@app.command()
def show(state: State, *, version: Number = None, json: Json = False) -> None:
    """Show the resources of a state, with sensitive values masked."""
    from interlock.state import masked_document

    document = masked_document(_in(state, lambda site: site.versions.document(version)))
    view.emit(document, json=json, human=lambda: _show(document))


def _show(document: dict[str, Any]) -> None:
    view.say(f"lineage {document.get('lineage')}  serial {document.get('serial')}")
    for instance in document["instances"]:
        attributes = instance["attributes"]
        identity = attributes.get("id", "") if isinstance(attributes, dict) else attributes
        deposed = f" (deposed {instance['deposed']})" if "deposed" in instance else ""
        view.say(f"{instance['address']}{deposed}  {identity}")


@app.command()
def verify(
    state: Annotated[str, typer.Argument(help="State name, folder of a root module, or a state file.")],
    *,
    version: Number = None,
    json: Json = False,
) -> None:
    """Check that a state is whole and follows from the one before; exits 20 when it does not, or only you can tell.

    On an existing backend also its digest, its locks, and its versions: lost updates, resources that vanished.
    """
    from interlock.recovery.damage import UNDECIDED
    from interlock.state import verify_state

    path = Path(state)
    if path.is_file():
        named, findings = state, verify_state(_plain_text(path, path.read_bytes()), thorough=True)
    else:
        named, findings = _in_named(state, lambda site: site.versions.findings(version))
    view.emit({"state": named, "findings": findings}, json=json, human=lambda: _findings(state, findings))
    if any(finding.refuses or finding.code in UNDECIDED for finding in findings):
        raise typer.Exit(StateInvalid.exit_status)


def _findings(state: str, findings: tuple[Finding, ...]) -> None:
    from interlock.errors import command
    from interlock.recovery.damage import UNDECIDED
    from interlock.state import ENCRYPTED

    for finding in findings:
        where = f"{finding.address}: " if finding.address else ""
        word = "error" if finding.refuses else "undecided" if finding.code in UNDECIDED else "note"
        view.say(f"{word}[{finding.code}] {where}{view.local(finding.message)}")
    if any(finding.code in UNDECIDED for finding in findings):
        settle = command("recover", state, "--accept-deletions")
        view.say(f"only you can say whether that was meant; if it was: {settle}")
    elif not any(finding.refuses for finding in findings):
        encrypted = any(finding.code == ENCRYPTED for finding in findings)
        view.say("the state is whole, as far as anybody can see without its key" if encrypted else "the state is whole")


@app.command()
def history(
    state: State,
    *,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", help="How many, newest first.", min=1, max=100_000)
    ] = 50,
    json: Json = False,
) -> None:
    """List the versions of a state, newest first: who wrote what, in which run, under which token.

    A version marked `half` was stored while its run went on; Terraform stores what it has every 20 seconds.
    """
    from interlock.site.existing_history import StoredVersion
    from interlock.state import Version

    named, versions = _in_named(state, lambda site: site.versions.history(limit))
    own = [version for version in versions if isinstance(version, Version)]
    others = [version for version in versions if isinstance(version, StoredVersion)]
    values = {"state": named, "versions": versions}
    view.emit(values, json=json, human=lambda: _show_others(others) if others else _show_own(own))


def _show_own(versions: list[Version]) -> None:
    view.table(
        ("VERSION", "SERIAL", "KIND", "RESOURCES", "SIZE", "WRITTEN", "RUN", "TOKEN", "WHO", "SHA-256"),
        [_version_row(version, newer) for version, newer in zip(versions, (None, *versions), strict=False)],
        empty="no versions yet",
    )


def _show_others(versions: list[StoredVersion]) -> None:
    view.table(
        ("VERSION", "SERIAL", "WHOLE", "RESOURCES", "SIZE", "WRITTEN", "ID", "SHA-256"),
        [
            (
                f"{version.number or '-'}{' (current)' if version.current else ''}",
                view.plain(version.serial),
                "deleted" if version.is_deletion else {True: "yes", False: "NO", None: "?"}[version.whole],
                "encrypted" if version.encrypted else view.plain(version.resources),
                view.size(version.size_bytes),
                view.instant(version.at) if version.at else "-",
                version.id,
                version.digest[:12],
            )
            for version in versions
        ],
        empty="no versions yet",
    )


def _kind(version: Version, newer: Version | None) -> str:
    """Name the kind of a version, and what a person must know of it before going back to it."""
    if version.suspect:
        return f"{version.kind.value} (suspect)"
    is_half = newer is not None and version.run and version.run == newer.run
    return f"{version.kind.value} (half)" if is_half else version.kind.value


def _version_row(version: Version, newer: Version | None) -> tuple[str, ...]:
    return (
        str(version.number),
        str(version.serial),
        _kind(version, newer),
        "encrypted" if version.encrypted else str(version.resources),
        view.size(version.size_bytes),
        view.instant(version.written_at),
        view.plain(version.run),
        str(version.token),
        version.who,
        version.digest[:12],
    )


@app.command()
def diff(
    state: State,
    first: Annotated[
        str | None, typer.Option("--from", metavar="VERSION", help="Older version; by default the one before the run.")
    ] = None,
    second: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="Newer version; by default the current one.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Show what changed between two versions, by resource and attribute; sensitive values are masked."""
    named, (older, newer) = _in_named(state, lambda site: site.versions.pair(first, second))
    found = difference(older, newer)
    view.emit({"state": named, **found}, json=json, human=lambda: show_difference(found))


def difference(older: Document, newer: Document) -> dict[str, Any]:
    """Return the difference of two documents as plain, masked values."""
    from interlock.state import attribute_changes, collect_secrets, diff_documents, output_values

    found: Diff = diff_documents(older, newer)
    secrets = collect_secrets(older, newer)
    return {
        "from": {"serial": older.serial, "lineage": older.lineage},
        "to": {"serial": newer.serial, "lineage": newer.lineage},
        "resources": [
            {
                "address": secrets.hide(str(change.key)),
                "change": change.kind.value,
                "attributes": attribute_changes(change, secrets),
            }
            for change in found.objects
        ],
        "outputs": [output_values(change, secrets) for change in found.outputs],
    }


def show_difference(found: dict[str, Any]) -> None:
    """Print a difference for people."""
    signs = {"added": "+", "removed": "-", "changed": "~"}
    for row in found["resources"][:_SHOWN]:
        view.say(f"{signs.get(row['change'], '?')} {row['address']}")
        if row["change"] == "changed":
            for change in row["attributes"]:
                view.say(f"    {change.path}: {_change(change)}")
    for change in found["outputs"]:
        view.say(f"~ output {change.path}: {_change(change)}")
    if len(found["resources"]) > _SHOWN:
        view.say(f"… and {len(found['resources']) - _SHOWN} more; --json prints all")
    if not found["resources"] and not found["outputs"]:
        view.say("no difference in resources or outputs")


def _change(change: AttributeChange) -> str:
    """Return a change in a few words; of a secret only that it changed, came or went."""
    if not change.sensitive:
        return f"{_short(change.before)} -> {_short(change.after)}"
    word = "added" if change.before is None else "removed" if change.after is None else "changed"
    return f"(sensitive, {word})"


def _short(value: object) -> str:
    text = " ".join(view.as_json(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - one line of a terminal


@app.command()
def restore(
    state: State,
    *,
    version: Annotated[
        str | None, typer.Option("--version", metavar="VERSION", help="By default the newest whole version.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make an older version current again, under the lock, with the next serial. Nothing is deleted.

    On an existing backend the digest is written too, and what is replaced is kept as a file.
    """

    async def act(site: Site) -> dict[str, Any]:
        return await restore_in(site, state, version, yes=yes, dry_run=dry_run)

    values = _in(state, act, changes=not dry_run)
    if json:
        view.emit(values, json=True, human=lambda: None)


async def restore_in(site: Site, state: str, version: str | None, *, yes: bool, dry_run: bool) -> dict[str, Any]:
    """Show a restore, ask, and do it; return what happened as plain values."""
    planned = await site.versions.plan_restore(version)
    plan = planned.plan
    values: dict[str, Any] = {
        "state": site.ref.queue,
        "version": planned.chosen,
        "next_serial": plan.next_serial,
        "returns": plan.returns,
        "orphans": plan.orphans,
        "changes": plan.changes,
        "opaque": plan.opaque,
        "done": False,
    }
    _show_plan(planned)
    if dry_run or not view.confirm(f"Restore {planned.label} of {state}?", yes=yes, declined=_UNCHANGED):
        return values
    serial = await site.versions.restore(planned)
    view.note(f"restored as serial {serial}; next: {await _next_plan(site)}")
    return {**values, "done": True, "serial": serial}


async def _next_plan(site: Site) -> str:
    from interlock.site.opening import plan_hint

    return await plan_hint(site.ref, site.home)


def _show_plan(planned: PlannedRestore) -> None:
    plan = planned.plan
    view.note(f"{planned.label} would become current as serial {plan.next_serial}")
    if plan.lineage_changes:
        view.note("  another lineage: saved plans of the present state no longer fit")
    if plan.opaque:
        view.note("  one of the two states is encrypted, so what would change cannot be shown: look at the next plan")
    for title, addresses in (
        ("claimed again; recreated by the next apply if it no longer exists", plan.returns),
        ("no longer managed; left as an orphan if it exists", plan.orphans),
        ("recorded attributes go back", plan.changes),
    ):
        for address in addresses[:_SHOWN]:
            view.note(f"  {title}: {address}")


@app.command()
def accept(state: State, *, yes: Yes = False, json: Json = False) -> None:
    """Accept a suspect version and end its review; or start an empty state where one was deleted on purpose.

    A version is suspect when a running apply dropped objects that neither its plan nor its refresh took out.
    """

    async def act(site: Site) -> dict[str, Any]:
        return await accept_in(site, state, yes=yes)

    values = _in(state, act, changes=True)
    view.emit(values, json=json, human=lambda: None)


async def accept_in(site: Site, state: str, *, yes: bool) -> dict[str, Any]:
    """Show what a suspect version lacks, ask, and let it stand; return what happened as plain values."""
    found = [finding for finding in await site.versions.findings(None) if finding.code in _ACCEPTABLE]
    lacks = [finding.address or finding.message for finding in found]
    gone = any(finding.code == "state-gone" for finding in found)
    for text in lacks[:_SHOWN]:
        view.note(f"  {text}" if gone else f"  not in the state any more: {text}")
    question = f"Begin an empty state for {state}?" if gone else f"Let the current version of {state} stand?"
    if found and not view.confirm(question, yes=yes, declined=_UNCHANGED):
        return {"state": site.ref.queue, "lacks": lacks, "done": False}
    await site.versions.accept()
    view.note(f"accepted; next: {await _next_plan(site)}" if found else "the current version is not suspect")
    return {"state": site.ref.queue, "lacks": lacks, "done": bool(found)}


@app.command()
def repair(state: State, *, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Make the digest that a backend keeps beside the state agree with it again, if the state is the right one.

    On Interlock's own backend: find the current version again when the state's record does not name it any more.
    """

    async def act(site: Site) -> dict[str, Any]:
        return await repair_in(site, yes=yes, dry_run=dry_run)

    values = _in(state, act, changes=not dry_run)
    view.emit(values, json=json, human=lambda: None)


async def repair_in(site: Site, *, yes: bool, dry_run: bool) -> dict[str, Any]:
    """Show a repair of the digest, ask, and do it; return what happened as plain values."""
    from interlock.state import Version

    found = await site.versions.plan_repair()
    view.note(found.text or _NOTHING)
    values = {"state": site.ref.queue, "text": found.text, "done": found.is_done}
    if isinstance(found.target, Version):
        values["version"] = found.target
    if found.warning:
        view.note(found.warning)
    if found.target is None or dry_run or not view.confirm(found.question, yes=yes, declined=_UNCHANGED):
        return values
    await site.versions.repair(found)
    view.note(f"repaired; {found.outcome}")
    return {**values, "done": True}


@app.command()
def pull(state: State, *, version: Number = None, out: Out = None) -> None:
    """Print a state as Terraform reads it. It may hold secrets."""
    with secret_output(out) as write:
        body = _in(state, lambda site: site.versions.body(version))
        (view.raw if write is None else write)(body)


@app.command()
def push(
    file: Annotated[Path, typer.Argument(help="State file; - for standard input.", allow_dash=True)],
    *,
    state: Annotated[
        str, typer.Option("--state", metavar="NAME", help="State name, or the folder of its root module.")
    ] = ".",
    force: Annotated[
        bool, typer.Option("--force", help="Accept another lineage, or a serial that is not higher.")
    ] = False,
    json: Json = False,
) -> None:
    """Store a state file as the next version, under the lock, with its lineage and serial as they are."""
    body = _state_in(file)

    async def act(site: Site) -> Mapping[str, Any]:
        from interlock.site.second_person import agree_to_push

        await agree_to_push(site, body)
        return await site.versions.push(body, force=force)

    named, written = _in_named(state, act, changes=True)
    view.emit({"state": named, **written}, json=json, human=lambda: view.note(_say_pushed(written)))


def _state_in(file: Path) -> bytes:
    from interlock.bounded import OutOfBounds, read_at_most
    from interlock.state.document import MAX_STATE_BYTES

    try:
        if str(file) == "-":
            return _plain_text(file, read_at_most(sys.stdin.buffer, MAX_STATE_BYTES))
        with file.open("rb") as stream:
            return _plain_text(file, read_at_most(stream, MAX_STATE_BYTES))
    except OSError as error:
        raise UsageError(f"cannot read {file}", why=error.strerror or "", fix="name a state file") from error
    except OutOfBounds as error:
        raise StateInvalid(f"{file} is not a state that is taken", why=str(error), fix="name a state file") from error


def _plain_text(file: Path, content: bytes) -> bytes:
    """Return a state file's text as Terraform writes it: PowerShell's `>` makes UTF-16 or a byte order mark of it."""
    from interlock.source.encoding import as_utf8, encoding_of

    plain = as_utf8(content)
    if plain is not content:
        name = "standard input" if str(file) == "-" else str(file)
        view.note(f"{name} is {encoding_of(content)}, as PowerShell's > writes it; it is read as plain UTF-8")
    return plain


def _say_pushed(written: Mapping[str, Any]) -> str:
    if written.get("repaired"):
        return f"the stored bytes of serial {written['serial']} were damaged; they are whole again"
    return f"{'is stored already' if written['repeated'] else 'stored'} as serial {written['serial']}"


@app.command()
def prune(
    state: State,
    *,
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=1, max=100_000, help="Keep the N newest versions.")
    ] = 50,
    all_for: Annotated[
        str, typer.Option("--all-for", help="Keep every version younger than this.", metavar="TIME")
    ] = "14d",
    daily_for: Annotated[
        str, typer.Option("--daily-for", help="Then keep one version a day for this long.", metavar="TIME")
    ] = "90d",
    weekly_for: Annotated[
        str, typer.Option("--weekly-for", help="Then keep one version a week for this long.", metavar="TIME")
    ] = "730d",
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Delete the bytes of old versions, under the lock. The history and the current version are kept."""
    from interlock.settings.values import parse_duration
    from interlock.state import Retention

    policy = Retention(
        newest=keep,
        all_for_s=parse_duration(all_for),
        daily_for_s=parse_duration(daily_for),
        weekly_for_s=parse_duration(weekly_for),
    )
    named, gone = _in_named(
        state, lambda site: _pruned(site.own, policy, yes=yes, dry_run=dry_run), changes=not dry_run
    )
    chosen, declined = gone or (), gone is None
    values = {
        "state": named,
        "versions": [version.number for version in chosen],
        "bytes": sum(version.size_bytes for version in chosen),
        "removed": not dry_run and not declined,
    }
    view.emit(values, json=json, human=lambda: None if declined else view.note(_say_pruned(chosen, dry_run=dry_run)))


async def _pruned(own: OwnVersions, policy: Retention, *, yes: bool, dry_run: bool) -> tuple[Version, ...] | None:
    """Return what was removed, or would be; None after a no."""
    from interlock.operate.states import prune_state

    planned = await prune_state(own, policy, dry_run=True)
    if dry_run or not planned:
        return planned
    question = (
        f"Delete the bytes of {amount(len(planned), 'version')} of {own.state}? What is deleted cannot be restored."
    )
    return (
        await prune_state(own, policy, dry_run=False) if view.confirm(question, yes=yes, declined=_UNCHANGED) else None
    )


def _say_pruned(gone: Sequence[Version], *, dry_run: bool) -> str:
    if not gone:
        return "no version is old enough to be deleted"
    size = view.size(sum(version.size_bytes for version in gone))
    what = "would be deleted" if dry_run else "were deleted"
    return (
        f"the bytes of {amount(len(gone), 'version')} ({gone[0].number} to {gone[-1].number}, {size} unpacked) {what}"
    )


@quarantine.command("ls")
def quarantine_ls(state: State, *, json: Json = False) -> None:
    """List refused writes."""

    async def found(own: OwnVersions) -> tuple[tuple[Quarantined, ...], int]:
        return await own.archive.quarantined(own.state), await own.archive.quarantine_dropped(own.state)

    entries, dropped = _in_own(state, found)
    if dropped:
        view.note(f"{dropped} older refused writes were removed to make room")
    lines = [
        (
            entry.id,
            entry.reason,
            view.plain(entry.serial),
            view.size(entry.size_bytes),
            view.instant(entry.at),
            entry.who,
        )
        for entry in entries
    ]
    view.emit(
        {"quarantine": entries, "dropped": dropped},
        json=json,
        human=lambda: view.table(
            ("ID", "REASON", "SERIAL", "SIZE", "REFUSED", "WHO"), lines, empty="no write was refused"
        ),
    )


@quarantine.command("show")
def quarantine_show(
    state: State,
    entry: EntryId,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Print the bytes as they came. They may hold secrets.")] = False,
    json: Json = False,
) -> None:
    """Show one refused write: why it was refused, and what it held."""
    found, body = _in_own(state, lambda own: own.quarantined(entry))
    if raw:
        view.raw(body)
        return
    view.emit(found, json=json, human=lambda: _quarantined(found))


def _quarantined(found: Any) -> None:
    for name in ("id", "reason", "why", "who", "run", "token", "serial", "lineage", "size_bytes", "at", "digest"):
        view.say(f"{name:<10} {view.plain(getattr(found, name))}")
    for address in found.addresses:
        view.say(f"  {address}")


@quarantine.command("diff")
def quarantine_diff(state: State, entry: EntryId, *, json: Json = False) -> None:
    """Show how a refused write differs from the current state."""
    named, (older, newer) = _in_named(state, lambda site: site.own.quarantined_pair(entry))
    found = difference(older, newer)
    view.emit({"state": named, **found}, json=json, human=lambda: show_difference(found))


@quarantine.command("discard")
def quarantine_discard(state: State, entry: EntryId, *, yes: Yes = False, json: Json = False) -> None:
    """Forget one refused write."""
    found, _ = _in_own(state, lambda own: own.quarantined(entry))
    agreed = view.confirm(f"Forget the refused write {found.id} of {found.who}? Its bytes are lost then.", yes=yes)
    if agreed:
        _in_own(state, lambda own: own.discard(found), changes=True)
    said = "forgotten" if agreed else "nothing was changed"
    view.emit({"id": found.id, "done": agreed}, json=json, human=lambda: view.note(said))
