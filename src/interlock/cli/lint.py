"""`interlock lint`: find mistakes in Terraform and CI files before anything runs."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.amounts import amount
from interlock.errors import UsageError, command

if TYPE_CHECKING:
    from interlock.lint.engine import Request
    from interlock.lint.report import Report
    from interlock.lint.rule import Rule

app = typer.Typer(add_completion=False)


class Format(enum.Enum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"
    GITLAB = "gitlab"


class FailOn(enum.Enum):
    """The least severity that makes the command fail."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@app.command()
def lint(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH]...", help="Folders and files; the current folder by default.")
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document; short for --format json.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How to print findings.")] = Format.TEXT,
    fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired, then report the rest.")] = False,
    baseline: Annotated[str | None, typer.Option("--baseline", metavar="FILE", help="Accepted findings.")] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Accept all current findings into the baseline file.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option("--select", metavar="RULES", help="Only these rules; names or patterns, comma-separated."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="RULES", help="Not these rules; names or patterns, comma-separated."),
    ] = None,
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="Exit 1 at this severity or above.")] = FailOn.WARNING,
    list_rules: Annotated[bool, typer.Option("--list-rules", help="Print the rules and exit.")] = False,
) -> int:
    """Find mistakes in Terraform and CI files.

    Exits with 0 when nothing at or above --fail-on is found (warnings by default), with 1 otherwise.
    """
    from interlock.lint.engine import choose_rules

    rules = choose_rules(select=_split(select), ignore=_split(ignore))
    chosen = Format.JSON if json else form
    if list_rules:
        return _list(rules, as_json=chosen is Format.JSON)
    if write_baseline and baseline is None:
        raise UsageError(
            "--write-baseline needs --baseline FILE", fix="interlock lint --baseline FILE --write-baseline"
        )
    request = _request(paths or ["."], rules, "" if write_baseline else baseline or "")
    if fix:
        _fix(request)
    report = _lint(request)
    if write_baseline and baseline is not None:
        return _accept(report, baseline)
    from interlock.cli import view

    if chosen is Format.GITHUB:
        view.github_commands(_rendered(report, chosen, rules))
    else:
        view.document(_rendered(report, chosen, rules), colours=chosen is Format.TEXT)
    return 1 if _fails(report, fail_on) else 0


def _request(paths: list[str], rules: tuple[Rule, ...], baseline: str) -> Request:
    from interlock.lint.baseline import parse_baseline
    from interlock.lint.engine import Request

    for path in paths:
        if not Path(path).exists():
            raise UsageError(f"there is no {path}", fix="interlock lint    looks at the folder it is called in")
    accepted = parse_baseline(baseline, _content(baseline)) if baseline else frozenset()
    return Request(targets=tuple(paths), rules=rules, accepted=accepted)


def _lint(request: Request) -> Report:
    import gc

    from interlock.lint.engine import lint as run
    from interlock.source.disk import DiskTree

    gc.disable()  # a quarter of the time would go into looking for circles among values that have none
    try:
        return _without_foreign_lines(run(DiskTree(), request))
    finally:
        gc.enable()


def _fix(request: Request) -> None:
    """Write the fixed files, each in one step, so that a reader sees the old or the new content and nothing between."""
    from interlock.cli import view
    from interlock.lint.engine import fix
    from interlock.source.disk import DiskTree, replace_file

    for path, content in fix(DiskTree(), request).items():
        replace_file(path, content)
        view.note(f"fixed {path}")


def _without_foreign_lines(report: Report) -> Report:
    """Leave out lines of files that links in the checkout lead to: a change could show any file in a job's log."""
    from dataclasses import replace

    from interlock.source.disk import leads_out

    foreign = {path for path in {item.finding.span.path for item in report.findings} if leads_out(Path(path))}
    findings = (replace(item, line_text="") if item.finding.span.path in foreign else item for item in report.findings)
    return replace(report, findings=tuple(findings))


def _accept(report: Report, baseline: str) -> int:
    from interlock.cli import view
    from interlock.lint.baseline import render_baseline
    from interlock.source.disk import replace_file

    replace_file(baseline, render_baseline(report.findings).encode())
    view.note(f"{amount(len(report.findings), 'finding')} accepted in {baseline}")
    return 0


def _content(path: str) -> bytes:
    from interlock.source.disk import DiskTree

    content = DiskTree().read(path)
    if content is None:
        raise UsageError(f"there is no baseline {path}", fix=command("lint", "--baseline", path, "--write-baseline"))
    return content


def _rendered(report: Report, form: Format, rules: tuple[Rule, ...]) -> str:
    from interlock import __version__
    from interlock.cli import view
    from interlock.lint import formats

    match form:
        case Format.JSON:
            return formats.render_json(report)
        case Format.SARIF:
            return formats.render_sarif(report, rules, version=__version__)
        case Format.GITHUB:
            return formats.render_github(report)
        case Format.GITLAB:
            return formats.render_gitlab(report)
        case Format.TEXT:
            return view.fit(formats.render_text(report, colour=view.colour_allowed(sys.stdout)))


def _fails(report: Report, fail_on: FailOn) -> bool:
    from interlock.lint.finding import Severity

    return report.at_least(Severity(fail_on.value))


def _list(rules: tuple[Rule, ...], *, as_json: bool) -> int:
    from interlock.cli import view

    rows = [
        {
            "rule": rule.name,
            "severity": rule.severity.value,
            "subject": rule.subject.value,
            "fixable": rule.fixable,
            "what": rule.what,
        }
        for rule in rules
    ]
    view.emit(
        {"rules": rows},
        json=as_json,
        human=lambda: view.table(
            ("RULE", "SEVERITY", "FIX", "WHAT"),
            [(rule.name, rule.severity.value, "yes" if rule.fixable else "-", rule.what) for rule in rules],
            empty="no rules",
        ),
    )
    return 0


def _split(values: list[str] | None) -> list[str]:
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]
