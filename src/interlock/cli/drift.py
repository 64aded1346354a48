"""`interlock drift`: find what changed outside Terraform, and decide about it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from interlock.amounts import amount
from interlock.cli import view
from interlock.cli.one_run import after_a_kill, choice_of, conclude, divide, divide_folders
from interlock.cli.run import All, Changed, Extra, Jobs, NoGateway, NoWait, State, Terraform, Wait
from interlock.cli.run import Directory as RootDirectory
from interlock.errors import DriftGate, UsageError, reason_of
from interlock.foreign_text import one_line

if TYPE_CHECKING:
    from interlock.cli.many import Choice as RootChoice
    from interlock.drift import Choice, Finding, Remedy, Scan
    from interlock.operate.drift import StateDrift
    from interlock.operate.ordering import Asked
    from interlock.run.order import Look
    from interlock.run.transcript import Entry

_DEFAULT = "scan"
_NAMED = 5  # addresses named in a refusal
_T = TypeVar("_T")


class _ScansByDefault(TyperGroup):
    """`interlock drift [DIR]` scans: what is not a command is an argument of `scan`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not (args and (args[0] in self.commands or args[0] == "--help")):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_ScansByDefault, no_args_is_help=False)

Words = Annotated[
    list[str] | None, typer.Argument(help="Addresses, ids or names of the last scan.", metavar="ADDRESS|ID…")
]
Directory = Annotated[
    Path, typer.Option("--directory", metavar="DIR", help="The root module, when no --state is given.")
]
Attributes = Annotated[
    list[str] | None, typer.Option("--attribute", help="Decide only about this attribute.", metavar="PATH")
]
Everything = Annotated[bool, typer.Option("--all", help="Decide about everything that is open.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the decision.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class Format(Enum):
    """The forms of a report."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


@app.callback()
def root() -> None:
    """Find what changed outside Terraform, and decide about it. `interlock drift [DIR]` scans."""


@app.command()
def scan(
    directory: RootDirectory = Path(),
    extra: Extra = None,
    *,
    everything: All = False,
    changed: Changed = None,
    jobs: Jobs = None,
    state: State = None,
    unmanaged: Annotated[
        str | None,
        typer.Option(
            "--unmanaged",
            metavar="TYPES",
            help="Also look for objects of these types that no state manages; `all` for all.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", metavar="NAME", help="Only unmanaged objects named like this.")
    ] = None,
    division: Annotated[
        list[str] | None,
        typer.Option("--division", metavar="DIVISION", help="Only unmanaged objects of this division (name or id)."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.TEXT,
    json: Json = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when there is drift that nobody has decided about.")
    ] = False,
    gate: Annotated[bool, typer.Option("--gate", help="Fail (40) when nobody has decided about some drift.")] = False,
    wait: Wait = None,
    no_wait: NoWait = False,
    terraform: Terraform = None,
    no_gateway: NoGateway = False,
) -> None:
    """Run a refresh-only plan, queued and under the lock, and report drift. Nothing is changed."""
    from interlock.operate.ordering import Asked
    from interlock.run.order import Operation

    directory, flags = divide(directory, extra)
    folders, flags = divide_folders(directory, flags)
    form = Format.JSON if json else form
    asked = Asked(
        operation=Operation.DRIFT,
        directory=folders[0],
        extra=flags,
        state=state,
        wait=wait,
        no_wait=no_wait,
        terraform=terraform,
        json=form is not Format.TEXT,
        auto_approve=True,
        detailed_exitcode=detailed_exitcode,
        no_gateway=no_gateway,
        look=_look(folders[0], unmanaged, name or [], division or []),
    )
    choice = choice_of(folders, everything=everything, changed=changed, jobs=jobs)
    raise typer.Exit(_run(asked, form, gate=gate) if choice is None else _run_many(asked, choice, form, gate=gate))


@app.command(name="ls")
def list_(
    *,
    state: State = None,
    directory: Directory = Path(),
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.TEXT,
    json: Json = False,
) -> None:
    """Show what the last scan found, with the decisions made since."""
    found = _in(directory, state, lambda drift: drift.scan())
    view.document(_report(found, Format.JSON if json else form), colours=not json and form is Format.TEXT)


@app.command()
def accept(
    words: Words = None,
    *,
    attribute: Attributes = None,
    everything: Everything = False,
    reason: Reason = "",
    state: State = None,
    directory: Directory = Path(),
    json: Json = False,
) -> None:
    """Keep the new value: prints what to change in the configuration. An unmanaged object is left unmanaged."""
    from interlock.drift import Choice

    _decide(Choice.ACCEPT, words, attribute, everything, reason, state, directory, json=json)


@app.command()
def revert(
    words: Words = None,
    *,
    attribute: Attributes = None,
    everything: Everything = False,
    reason: Reason = "",
    state: State = None,
    directory: Directory = Path(),
    json: Json = False,
) -> None:
    """The next apply may put the configured value back."""
    from interlock.drift import Choice

    _decide(Choice.REVERT, words, attribute, everything, reason, state, directory, json=json)


@app.command(name="import")
def import_(
    words: Words = None,
    *,
    everything: Everything = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the configuration to this new file.")
    ] = None,
    reason: Reason = "",
    state: State = None,
    directory: Directory = Path(),
    json: Json = False,
) -> None:
    """Bring unmanaged objects under management: prints `import` blocks with their configuration."""
    from interlock.drift import Choice, imports_of

    if out is not None and os.path.lexists(out):
        raise UsageError(f"{out} exists", why="it is not written over", fix="name another file")
    findings = _decide(
        Choice.IMPORT, words, None, everything, reason, state, directory, json=json, quiet=out is not None
    )
    if out is not None:
        _write_new(out, imports_of(findings))
        view.note(f"written to {out}; review it, then: interlock plan")


def _write_new(out: Path, text: str) -> None:
    from interlock.source.disk import SHARED, write_file

    try:
        write_file(out, text.encode(), SHARED)
    except OSError as error:
        why = reason_of(error)
        raise UsageError(f"{out} cannot be written", why=why, fix="name a file in a folder of yours") from error


def _look(directory: Path, types: str | None, names: list[str], divisions: list[str]) -> Look:
    from interlock.compose.homes import settings_here
    from interlock.drift import full_types
    from interlock.genesys.listings import listed_types
    from interlock.run.order import Look

    words = [word.strip() for word in types.split(",") if word.strip()] if types is not None else None
    if words is None:
        section = settings_here(os.environ, directory if directory.is_dir() else None).sections.get("drift", {})
        words = list(section.get("unmanaged", []))
    chosen, unknown = full_types(words)
    if unknown:
        raise UsageError(
            f"objects of type {unknown[0]} cannot be listed",
            why=f"known are {', '.join(listed_types())}",
            fix="or: all",
        )
    if (names or divisions) and not chosen:
        raise UsageError("--name and --division choose among unmanaged objects", fix="add --unmanaged TYPES, or all")
    return Look(types=chosen, names=tuple(names), divisions=tuple(divisions))


def _run(asked: Asked, form: Format, *, gate: bool) -> int:
    from interlock.cli.follow import Follower
    from interlock.compose.ordering import order_run

    front = order_run(asked, os.environ, say=view.note)
    follower = Follower(front.folder, quiet=asked.json)
    end = front.follow(follower.show, tick=follower.tick) or after_a_kill(front.folder)
    if end.facts["exit"] not in {0, 2}:
        return conclude(end, folder=front.folder, json=form is Format.JSON)
    found = _scanned(front.folder, asked)
    view.document(_report(found, form), colours=form is Format.TEXT)
    if gate and found.open:
        error = _gated(found)
        view.say_failure(error.code, error.what, error.why, error.fix)
        return error.exit_status
    return int(end.facts["exit"])


def _run_many(asked: Asked, choice: RootChoice, form: Format, *, gate: bool) -> int:
    """Scan several roots; their reports come one after the other, in JSON within the one document."""
    from interlock.cli.many import Conclusion, run_many

    if form not in {Format.TEXT, Format.JSON}:
        fix = "name one folder, or take --format json"
        raise UsageError(f"a {form.value} report is of one root", why="there are several", fix=fix)

    def conclude(end: Entry, folder: Path, asked: Asked, name: str) -> Conclusion:
        from interlock.cli.one_run import concluded, document_of

        if end.facts["exit"] not in {0, 2}:
            return concluded(end, folder, asked, name)
        found = _scanned(folder, asked)
        told = (
            f"{amount(len(found.findings), 'finding')}, {len(found.open)} undecided" if found.findings else "no drift"
        )
        document = {**document_of(end, folder), "told": told, "scan": _scan_document(found)}
        if form is Format.TEXT:
            view.heading(name)
            view.document(_report(found, form), colours=True)
        if not (gate and found.open):
            return Conclusion(int(end.facts["exit"]), document)
        error = _gated(found)
        view.note(f"{name}:")
        view.say_failure(error.code, error.what, error.why, error.fix)
        return Conclusion(error.exit_status, {**document, "error": view.failure_values(error)})

    return run_many(asked, choice, conclude, None)


def _gated(found: Scan) -> DriftGate:
    from interlock.drift.finding import choices

    return DriftGate(
        f"state {found.state} has drift that nobody has decided about",
        why=", ".join(each.address for each in found.open[:_NAMED]),
        fix=choices(found.open[0].address, found.state),
    )


def _scanned(folder: Path, asked: Asked) -> Scan:
    """Return the scan that a run has kept."""
    from interlock.run.summary import find_summary

    summary = find_summary(folder)
    state = summary.state if summary is not None else asked.state
    return _in(asked.directory, state, lambda drift: drift.scan())


def _report(found: Scan, form: Format) -> str:
    from interlock.drift import formats

    match form:
        case Format.TEXT:
            return formats.render_text(found, colour=view.colour_allowed(sys.stdout), zone=None)
        case Format.MARKDOWN:
            return formats.render_markdown(found)
        case Format.HTML:
            return formats.render_page(found)
        case Format.JSON:
            return view.as_json(_scan_document(found)) + "\n"


def _scan_document(found: Scan) -> Mapping[str, object]:
    from interlock.drift import imports_of
    from interlock.drift.finding import Kind, Verdict
    from interlock.drift.report import as_document

    wanted = found.of(Verdict.OPEN, Verdict.IMPORT)
    return as_document(found, imports_of(each for each in wanted if each.kind is Kind.UNMANAGED))


def _decide(
    choice: Choice,
    words: list[str] | None,
    attributes: list[str] | None,
    everything: bool,
    reason: str,
    state: str | None,
    directory: Path,
    *,
    json: bool,
    quiet: bool = False,
) -> list[Finding]:
    from interlock.clock import SystemClock
    from interlock.drift import Ruling, find_remedy
    from interlock.host import who

    if bool(words) == everything:
        raise UsageError("name what to decide about", why="either addresses or ids, or --all", fix="interlock drift ls")
    paths = frozenset(attributes or ())
    ruling = Ruling(choice=choice, paths=paths, who=who(), at=SystemClock().now(), reason=one_line(reason))

    async def decide(drift: StateDrift) -> tuple[list[Finding], Path]:
        return await drift.decide(tuple(words or ()), ruling), drift.directory

    findings, where = _in(directory, state, decide)
    module = _module(where)
    remedies = [find_remedy(each, choice, paths, module) for each in findings]
    decided = {"choice": choice, "who": ruling.who, "at": ruling.at, "decided": remedies}
    view.emit(decided, json=json, human=lambda: _say(choice, remedies, quiet=quiet))
    return findings


def _module(directory: Path) -> Any:
    from interlock.hcl import read_module
    from interlock.source.disk import DiskTree

    return read_module(DiskTree(), str(directory)) if directory.is_dir() else None


def _say(choice: Choice, remedies: list[Remedy], *, quiet: bool) -> None:
    for remedy in remedies:
        place = f"  ({remedy.place})" if remedy.place else ""
        view.note(f"{choice.value}  {remedy.address}{place}: {remedy.advice}")
        if remedy.change and not quiet:
            view.document(remedy.change)


def _in(directory: Path, state: str | None, ask: Callable[[StateDrift], Awaitable[_T]]) -> _T:
    from interlock.compose.homes import at_home
    from interlock.operate.drift import find_drift

    where = directory if directory.is_dir() else None

    async def answer() -> _T:
        async with at_home(os.environ, directory=where, make=False) as home:  # there is a scan, or nothing
            return await ask(await find_drift(directory, state, home, os.environ))

    return asyncio.run(answer())
