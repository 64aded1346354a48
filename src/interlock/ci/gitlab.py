"""GitLab CI files -> `Workflow`: `include:local`, `extends`, `default`, anchors and `!reference` resolved.

Knows: workflow, document, scripts. Source: the GitLab CI/CD YAML reference, read 2026-11. What an included remote file,
a project or a component adds is unknown, and jobs that need it are then read without it.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from interlock.ci.document import (
    Entry,
    Mapping,
    Node,
    Scalar,
    Sequence,
    SourceText,
    entries,
    items,
    scalars,
)
from interlock.ci.documents import Documents
from interlock.ci.scripts import Scripts
from interlock.ci.workflow import (
    ANY_REF,
    MAX_JOBS,
    Action,
    Artifact,
    Elsewhere,
    Image,
    Job,
    Limit,
    Retries,
    Step,
    Turn,
    Unread,
    Variable,
    Vendor,
    Workflow,
    variables,
)
from interlock.source.tree import Span, Tree, join

MAX_INCLUDES = 150  # GitLab's own limit of a pipeline's includes
MAX_EXTENDS = 11  # GitLab's own limit of levels
MAX_REFERENCES = 10  # GitLab's own limit of nested !reference tags
MAX_LINES = 2_000  # of one job's script
MAX_VISITS = 10_000  # nodes of one job's script, lists included

_GLOBAL = frozenset(
    {"default", "include", "stages", "variables", "workflow", "image", "services", "cache", "spec", "pages"}
    | {"before_script", "after_script"}
) - {"pages"}
_DEFAULTS = ("image", "before_script", "after_script", "artifacts", "retry", "timeout", "interruptible", "id_tokens")
_REF = re.compile(
    r"\$\{?(?:CI_COMMIT_(?:REF_NAME|REF_SLUG|BRANCH|SHA|SHORT_SHA|TAG)|CI_MERGE_REQUEST_\w+|CI_PIPELINE_I?ID|CI_JOB_ID)\b"
)
_BRANCH_TEST = re.compile(r"""\$CI_COMMIT_(?:BRANCH|REF_NAME)\s*==\s*(?:["']([^"']+)["']|(\$CI_DEFAULT_BRANCH))""")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(mo|w|d|h|m|s)[a-z]*")
_UNIT_S = {"mo": 2_592_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_KINDS = frozenset({"branches", "tags", "merge_requests", "pushes", "schedules", "web", "api", "triggers", "pipelines"})
_INFRASTRUCTURE = frozenset(
    {"runner_system_failure", "stuck_or_timeout_failure", "scheduler_failure", "api_failure", "stale_schedule"}
    | {"runner_unsupported", "archived_failure", "data_integrity_failure", "unmet_prerequisites"}
)


def read(tree: Tree, path: str, *, root: str) -> Workflow:
    """Read a GitLab CI file of the repository at `root`."""
    return _Reader(tree, root).read(path)


class _Reader:
    def __init__(self, tree: Tree, root: str) -> None:
        self._tree = tree
        self._root = root
        self._scripts = Scripts(tree, root)
        self._documents = Documents(tree)
        self._includes: list[Action] = []
        self._unread: list[Unread] = []
        self._seen: set[str] = set()
        self._document = Mapping(entries=(), span=SourceText(".", "").span(0, 0))

    def read(self, path: str) -> Workflow:
        self._document = self._merged(path)
        jobs = tuple(self._jobs())
        return Workflow(
            vendor=Vendor.GITLAB,
            path=path,
            span=SourceText(path, "").span(0, 0),
            events=frozenset(_events(self._document)),
            jobs=jobs,
            includes=tuple(self._includes),
            unread=tuple(self._unread),
            problems=self._documents.problems,
        )

    def _merged(self, path: str) -> Mapping:
        """Return a file with its local includes beneath it; its own keys win."""
        document = self._load(path)
        for include in _included(document.get("include")):
            for included in self._local(include):
                if included not in self._seen and len(self._seen) < MAX_INCLUDES:
                    document = _deep(self._merged(included), document)
        return document

    def _load(self, path: str) -> Mapping:
        self._seen.add(path)
        found = self._documents.find(path)
        return found if found is not None else Mapping(entries=(), span=SourceText(path, "").span(0, 0))

    def _local(self, include: Node) -> Iterator[str]:
        """Yield the local files of one include; note what comes from elsewhere."""
        if isinstance(include, Scalar):
            if include.text.startswith(("http:", "https:")):
                self._note(Elsewhere.INCLUDE, include.text, include.span)
            else:
                yield from self._matching(include.text)
        elif isinstance(include, Mapping):
            if isinstance(component := include.get("component"), Scalar):
                name, _, version = component.text.partition("@")
                self._includes.append(Action(name=name, version=version, span=component.span))
                self._note(Elsewhere.INCLUDE, component.text, component.span)
            elif isinstance(project := include.get("project"), Scalar):
                ref = include.get("ref")
                span = ref.span if ref is not None else project.span
                self._includes.append(Action(name=project.text, version=include.text("ref"), span=span))
                self._note(Elsewhere.INCLUDE, f"{project.text} {include.text('file')}".strip(), project.span)
            for key in ("template", "remote"):
                if isinstance(named := include.get(key), Scalar):
                    self._note(Elsewhere.INCLUDE, named.text, named.span)
            yield from self._matching(include.text("local")) if include.text("local") else ()

    def _note(self, kind: Elsewhere, name: str, span: Span) -> None:
        found = Unread(kind=kind, name=name, span=span)
        if found not in self._unread:
            self._unread.append(found)

    def _matching(self, pattern: str) -> Iterator[str]:
        path = join(self._root, pattern.lstrip("/"))
        if "*" not in pattern:
            yield path
            return
        folder, name = posixpath.split(path)
        if "*" not in folder:
            yield from (join(folder, file) for file in self._tree.files(folder) if fnmatch.fnmatchcase(file, name))

    def _jobs(self) -> Iterator[Job]:
        count = 0
        for entry in self._document.entries:
            name = entry.key.text
            if name in _GLOBAL or name.startswith(".") or not isinstance(entry.value, Mapping) or count >= MAX_JOBS:
                continue
            body = self._extended(entry.value, frozenset({name}))
            self._note_unread_parents(entry)
            if body.get("script") is not None:
                count += 1
                yield self._job(entry.key, body)

    def _note_unread_parents(self, job: Entry) -> None:
        """Note a job whose parent stands in no file that was read."""
        for parent in scalars(job.value.get("extends") if isinstance(job.value, Mapping) else None):
            if self._document.get(parent.text) is None:
                self._note(Elsewhere.EXTENDS, f"job {job.key.text} extends {parent.text}", job.key.span)

    def _extended(self, body: Mapping, seen: frozenset[str]) -> Mapping:
        for parent in scalars(body.get("extends")):
            base = self._document.get(parent.text)
            if isinstance(base, Mapping) and parent.text not in seen and len(seen) <= MAX_EXTENDS:
                body = _deep(self._extended(base, seen | {parent.text}), body)
        return body

    def _job(self, key: Scalar, body: Mapping) -> Job:
        default = self._document.get("default")
        values = {name: self._inherited(body, default, name) for name in _DEFAULTS}
        scope = (*variables(self._document.get("variables")), *variables(self._resolve(body.get("variables"))))
        return Job(
            name=key.text,
            span=key.span,
            steps=tuple(self._steps(body, values["before_script"], values["after_script"])),
            variables=(*scope, *_tokens(values["id_tokens"])),
            turns=tuple(_turns(body, values["interruptible"], key)),
            environment=_environment(body.get("environment")),
            limit=_limit(values["timeout"]),
            refs=_refs(body, self._document),
            needs=tuple(_needs(body)),
            artifacts=tuple(_artifacts(values["artifacts"])),
            receives=_receives(body),
            retries=_retries(values["retry"]),
            image=_image(values["image"]),
        )

    def _inherited(self, body: Mapping, default: Node | None, name: str) -> Node | None:
        own = body.get(name)
        if own is None and isinstance(default, Mapping):
            own = default.get(name)
        if own is None and name in ("image", "before_script", "after_script"):
            own = self._document.get(name)
        return self._resolve(own)

    def _steps(self, body: Mapping, before: Node | None, after: Node | None) -> Iterator[Step]:
        entry = body.entry("script")
        lines = [*self._lines(before), *self._lines(body.get("script"))]
        if entry is not None:
            yield self._step(lines, entry.key.span, survives=False)
        ending = self._lines(after)
        if ending:
            yield self._step(ending, ending[0].span, survives=True)

    def _step(self, lines: list[Scalar], span: Span, *, survives: bool) -> Step:
        script = _Joined.of(lines)
        effects = self._scripts.effects(script.text, script.at)
        return Step(
            span=span,
            text=script.text,
            programs=effects.programs,
            operations=effects.operations,
            survives=survives,
        )

    def _lines(self, node: Node | None) -> list[Scalar]:
        """Return a script's lines, nested lists and references flattened."""
        found: list[Scalar] = []
        waiting = [self._resolve(node)]
        for _ in range(MAX_VISITS):  # aliases may make a small file a list of any length, even of nothing
            if not waiting or len(found) >= MAX_LINES:
                break
            current = self._resolve(waiting.pop(0))
            if isinstance(current, Scalar):
                found.append(current)
            waiting[:0] = items(current)[:MAX_LINES]
        return found

    def _resolve(self, node: Node | None) -> Node | None:
        """Follow `!reference [job, key]`."""
        for _ in range(MAX_REFERENCES):
            if not isinstance(node, Sequence) or node.tag != "!reference":
                return node
            node = self._referenced([name.text for name in scalars(node)])
        return None

    def _referenced(self, path: list[str]) -> Node | None:
        node: Node | None = self._document
        for index, name in enumerate(path):
            if not isinstance(node, Mapping):
                return None
            node = node.get(name)
            if index == 0 and isinstance(node, Mapping):
                node = self._extended(node, frozenset({name}))
        return node


@dataclass(frozen=True, slots=True)
class _Joined:
    """Script lines as the one script that the runner makes of them, each character with its place."""

    text: str
    lines: tuple[Scalar, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, lines: Iterable[Scalar]) -> _Joined:
        kept = tuple(lines)
        starts, at = [], 0
        for line in kept:
            starts.append(at)
            at += len(line.text) + 1
        return cls("\n".join(line.text for line in kept), kept, tuple(starts))

    def at(self, start: int, end: int) -> Span:
        index = max(0, sum(1 for begin in self.starts if begin <= start) - 1)
        line, begin = self.lines[index], self.starts[index]
        return line.at(start - begin, max(start - begin, min(end - begin, len(line.text))))


def _included(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, Sequence) else (() if node is None else (node,))


def _deep(base: Mapping, over: Mapping) -> Mapping:
    """Merge mappings as GitLab does: key by key, lists replaced. `over` wins."""
    merged: dict[str, Entry] = {entry.key.text: entry for entry in base.entries}
    for entry in over.entries:
        below = merged.get(entry.key.text)
        if below is not None and isinstance(below.value, Mapping) and isinstance(entry.value, Mapping):
            entry = Entry(key=entry.key, value=_deep(below.value, entry.value))  # noqa: PLW2901 - the merged one replaces it
        merged[entry.key.text] = entry
    return Mapping(entries=tuple(merged.values()), span=over.span)


def _events(document: Mapping) -> Iterator[str]:
    text = " ".join(scalar.text for scalar in _conditions(document))
    if "merge_request_event" in text or "CI_MERGE_REQUEST" in text:
        yield "pull_request"
    if "schedule" in text:
        yield "schedule"
    yield "push"


def _conditions(document: Mapping) -> Iterator[Scalar]:
    for entry in document.entries:
        if isinstance(entry.value, Mapping):
            for rule in items(entry.value.get("rules")):
                condition = rule.get("if") if isinstance(rule, Mapping) else None
                if isinstance(condition, Scalar):
                    yield condition


def _turns(body: Mapping, interruptible: Node | None, key: Scalar) -> Iterator[Turn]:
    group = body.get("resource_group")
    cancels = isinstance(interruptible, Scalar) and interruptible.text.lower() == "true"
    span = interruptible.span if cancels and interruptible is not None else None
    if isinstance(group, Scalar):
        yield Turn(
            key=group.text,
            span=group.span,
            cancels=cancels,
            cancel_span=span,
            follows_ref=bool(_REF.search(group.text)),
        )
    elif cancels:
        yield Turn(key="", span=key.span, cancels=True, cancel_span=span)


def _tokens(node: Node | None) -> Iterator[Variable]:
    for entry in entries(node):
        yield Variable(name=entry.key.text, value="", span=entry.key.span)


def _environment(node: Node | None) -> Scalar | None:
    if isinstance(node, Mapping):
        node = node.get("name")
    return node if isinstance(node, Scalar) else None


def duration_s(text: str) -> float | None:
    """Read GitLab's `1h 30m`, `90 minutes` or plain seconds; None when it is something else."""
    stripped = text.strip().lower()
    if stripped.isdecimal():
        return float(stripped)
    found = _DURATION.findall(stripped)
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in found) if found else None


def _limit(node: Node | None) -> Limit | None:
    return Limit(seconds=duration_s(node.text), span=node.span) if isinstance(node, Scalar) else None


def _refs(body: Mapping, document: Mapping) -> frozenset[str]:
    rules = items(body.get("rules"))
    if rules:
        return frozenset(ref for rule in rules for ref in _refs_of_rule(rule))
    only = body.get("only")
    names = scalars(only.get("refs") if isinstance(only, Mapping) else only)
    if names:
        return frozenset(name.text if _is_branch(name.text) else ANY_REF for name in names)
    workflow = document.get("workflow")
    above = items(workflow.get("rules")) if isinstance(workflow, Mapping) else ()
    return frozenset(ref for rule in above for ref in _refs_of_rule(rule)) or frozenset({ANY_REF})


def _is_branch(name: str) -> bool:
    return re.fullmatch(r"[\w./-]+", name) is not None and name not in _KINDS


def _refs_of_rule(rule: Node) -> Iterator[str]:
    if not isinstance(rule, Mapping):
        yield ANY_REF
    elif rule.text("when") != "never":
        condition = rule.text("if")
        found = _BRANCH_TEST.findall(condition)
        if found and "||" not in condition:
            yield found[0][0] or found[0][1]
        else:
            yield ANY_REF


def _needs(body: Mapping) -> Iterator[str]:
    for name in ("needs", "dependencies"):
        for need in items(body.get(name)):
            if isinstance(need, Scalar):
                yield need.text
            elif isinstance(need, Mapping) and need.text("job"):
                yield need.text("job")


def _receives(body: Mapping) -> bool | None:
    """Say whether the job gets earlier jobs' artifacts: by default all of earlier stages."""
    dependencies = body.get("dependencies")
    if isinstance(dependencies, Sequence) and not dependencies.items:
        return False
    needs = body.get("needs")
    if isinstance(needs, Sequence):
        wanted = [need for need in needs.items if not (isinstance(need, Mapping) and need.text("artifacts") == "false")]
        return bool(wanted)
    return None


def _artifacts(node: Node | None) -> Iterator[Artifact]:
    if not isinstance(node, Mapping):
        return
    paths = scalars(node.get("paths"))
    if paths:
        restricted = node.text("public").lower() == "false" or node.text("access") in (
            "none",
            "developer",
            "maintainer",
        )
        yield Artifact(
            paths=tuple(path.text for path in paths), spans=tuple(path.span for path in paths), restricted=restricted
        )


def _retries(node: Node | None) -> Retries | None:
    most = node.get("max") if isinstance(node, Mapping) else node
    if not isinstance(most, Scalar) or most.text.strip() in ("0", ""):
        return None
    reasons = {reason.text for reason in scalars(node.get("when"))} if isinstance(node, Mapping) else set()
    return Retries(span=most.span, after_script_failure=not reasons or bool(reasons - _INFRASTRUCTURE))


def _image(node: Node | None) -> Image | None:
    if isinstance(node, Mapping):
        node = node.get("name")
    return Image(name=node.text, span=node.span) if isinstance(node, Scalar) else None
