"""An interlock.yaml that a run would refuse."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.document import Broken, Entry, Mapping, Node, Sequence, SourceText, parse
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.settings.judged import FILE_NAME, Fault, repository_text_faults
from interlock.source.tree import Span

_OPERATORS = "the operator's own interlock.yaml"


def check(sources: Sources) -> Iterator[Finding]:
    """Yield what the reader of interlock.yaml says of each one, at its place."""
    for path, content in sources.texts.items():
        if path.rpartition("/")[2] == FILE_NAME:
            for fault in repository_text_faults(content, file=path, operators_file=_OPERATORS):
                yield _finding(path, content, fault)


def _finding(path: str, content: bytes, fault: Fault) -> Finding:
    what = fault.error.what.removeprefix(f"{path}: ")
    message = f"{what}: {fault.error.why}" if fault.error.why else what
    return RULE.finding(_place(path, content, fault), message, fix=fault.error.fix)


def _place(path: str, content: bytes, fault: Fault) -> Span:
    source = SourceText(path, content.decode(errors="replace"))
    if fault.line:
        return source.at(fault.line, fault.column)
    try:
        root = parse(path, source.text)
    except Broken as error:
        return error.span
    return source.span(0, 0) if root is None else _deepest(root, fault)


def _deepest(root: Node, fault: Fault) -> Span:
    """Return the place of the last part of a way through the file that is there."""
    node, span = root, root.span
    for part in fault.where:
        below = _below(node, part)
        if below is None:
            break
        node = below.value if isinstance(below, Entry) else below
        span = below.key.span if isinstance(below, Entry) and (fault.is_key or not _is_value(node)) else node.span
    return span


def _below(node: Node, part: int | str) -> Entry | Node | None:
    match node:
        case Mapping():
            return node.entry(str(part))
        case Sequence() if isinstance(part, int) and part < len(node.items):
            return node.items[part]
        case _:
            return None


def _is_value(node: Node) -> bool:
    return not isinstance(node, Mapping | Sequence)


RULE = Rule(
    name="settings-invalid",
    severity=Severity.ERROR,
    subject=Subject.SYNTAX,
    what="An interlock.yaml that is refused: an unknown key, a wrong value, or one that a repository may not set.",
    why=(
        "Every run in this repository ends with exit 3 before it plans anything, and so does the job that should have "
        "deployed. `interlock doctor` says the same, where somebody asks it. The section `pipeline` is looked at by "
        "`interlock ci check`."
    ),
    fix="correct the file; docs/reference/configuration.md has all keys",
    bad={"interlock.yaml": "states:\n  prod/routing:\n    directry: infra/routing\n"},
    good={"interlock.yaml": "states:\n  prod/routing:\n    directory: infra/routing\n"},
    check=check,
)
