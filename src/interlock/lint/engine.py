"""Runs the rules: finds the files, reads them once, asks every rule, takes away what is ignored or accepted.

Knows: trees, sources, rules, ignores, baselines. Knows nothing of any single rule and writes no file.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from interlock import ci
from interlock.errors import UsageError
from interlock.hcl import Module, is_configuration, read_modules
from interlock.lint import organisation
from interlock.lint.catalogue import RULES
from interlock.lint.finding import Finding
from interlock.lint.fixes import MAX_ROUNDS, apply_edits
from interlock.lint.idle import without_idle
from interlock.lint.ignores import Ignore, find_ignores
from interlock.lint.report import Report, reported
from interlock.lint.rule import Rule, Sources
from interlock.lint.unjudged import not_judged
from interlock.settings.judged import FILE_NAME
from interlock.source.tree import MAX_FILES, SourceUnreadable, Tree, join

_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages"})
"""Folders that hold other people's files; hidden folders (`.terraform`, `.git`) are skipped too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to lint.

    Attributes:
        targets: Folders, searched to their bottom, and files. A file is read with its whole folder; only findings in
            the file itself are reported.
        rules: The rules to ask.
        accepted: Fingerprints of the baseline.
    """

    targets: tuple[str, ...] = (".",)
    rules: tuple[Rule, ...] = RULES
    accepted: frozenset[str] = frozenset()


def lint(tree: Tree, request: Request) -> Report:
    """Lint targets of a tree."""
    sources, wanted = gather(tree, request.targets)
    found = [finding for rule in request.rules for finding in rule.check(sources)]
    ignores = tuple(_ignores(sources))
    kept = [_plain(finding) for finding in found if wanted.covers(finding)]
    visible = [finding for finding in kept if not any(ignore.covers(finding) for ignore in ignores)]
    every = reported(visible, sources.texts)
    new = tuple(item for item in every if item.fingerprint not in request.accepted)
    return Report(
        findings=new,
        files=len(sources.texts),
        ignored=len(set(kept)) - len(set(visible)),
        accepted=len(every) - len(new),
        not_judged=not_judged(sources),
    )


def fix(tree: Tree, request: Request) -> dict[str, bytes]:
    """Return the new content of every file that the fixes of findings change; the tree itself stays as it is.

    A round that would leave a file unreadable is dropped, and with it all later ones.
    """
    changed: dict[str, bytes] = {}
    for _ in range(MAX_ROUNDS):
        current = _Overlay(tree, changed)
        report = lint(current, request)
        texts = {item.finding.span.path: current.read(item.finding.span.path) for item in report.findings}
        edited = {path: content for item in report.findings for path, content in _read_edited(current, item.finding)}
        known = {path: content for path, content in {**texts, **edited}.items() if content is not None}
        step = apply_edits(known, (item.finding for item in report.findings))
        if not step or _breaks(tree, {**changed, **step}, changed, request):
            break
        changed.update(step)
    return changed


def choose_rules(*, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> tuple[Rule, ...]:
    """Return the rules to ask; names may be patterns such as `ci-*`.

    Raises:
        UsageError: A name or pattern fits no rule.
    """
    chosen = {rule.name for rule in _matching(select)} if select else {rule.name for rule in RULES}
    chosen -= {rule.name for rule in _matching(ignore)}
    return tuple(rule for rule in RULES if rule.name in chosen)


def gather(tree: Tree, targets: tuple[str, ...]) -> tuple[Sources, Wanted]:
    """Read everything that the targets name, and the local modules that they call."""
    recorder = _Recorder(tree)
    folders: dict[str, None] = {}
    pipelines: dict[str, None] = {}
    wanted = Wanted(files=set(), everything=False)
    for target in dict.fromkeys(join(target) for target in targets):
        if recorder.read(target) is not None:
            wanted.files.add(target)
            folders[_parent(target)] = None
            pipelines[target] = None
        else:
            wanted.everything = True
            folders.update(dict.fromkeys(_walk(tree, target)))
            pipelines.update(dict.fromkeys(ci.find(tree, target)))
    modules = read_modules(recorder, tuple(folder for folder in folders if _has_configuration(tree, folder)))
    workflows = tuple(without_idle(workflow, modules) for workflow in ci.read_all(recorder, pipelines))
    _read_flows(recorder, modules)
    _read_settings(recorder, folders, targets)
    sources = Sources(
        modules=modules,
        workflows=workflows,
        texts=recorder.texts,
        places={module.path: _place(tree, module.path, targets) for module in modules},
        generated_by=_generator(tree, (*folders, *_above(tree, targets))),
    )
    return sources, wanted


def _read_settings(recorder: _Recorder, folders: Iterable[str], targets: tuple[str, ...]) -> None:
    """Read every interlock.yaml in these folders, and the one above each target that holds there."""
    looked = dict.fromkeys(folders)
    for target in targets:
        above = (join(target), *_above(recorder, (target,)))
        looked |= dict.fromkeys(next(([one] for one in above if FILE_NAME in recorder.files(one)), []))
    for folder in looked:
        if FILE_NAME in recorder.files(folder):
            recorder.read(join(folder, FILE_NAME))


def _read_flows(recorder: _Recorder, modules: Iterable[Module]) -> None:
    """Read the files that flows are made from: the flows' names stand there."""
    for root in modules:
        for module in root.walk():
            for resource in organisation.resources(module):
                path = organisation.flow_file(module, resource) if resource.type == "genesyscloud_flow" else ""
                if path:
                    with suppress(SourceUnreadable):
                        recorder.read(path)


def _place(tree: Tree, folder: str, targets: tuple[str, ...]) -> str:
    """Return where a folder is in its checkout, or else below the target: never by the way it was spelled."""
    inside = tree.within(folder)
    if inside is not None:
        return inside
    target = max((one for one in map(join, targets) if f"{folder}/".startswith(f"{one}/")), key=len, default="")
    return folder.removeprefix(target).lstrip("/") or "." if target else folder


_GENERATORS = {"terragrunt.hcl": "Terragrunt", "root.hcl": "Terragrunt", "terragrunt.hcl.json": "Terragrunt"}
_GENERATORS |= {"atmos.yaml": "Atmos", "atmos.yml": "Atmos", ".atmos.yaml": "Atmos", "terramate.tm.hcl": "Terramate"}
"""Files that say that a program writes the backends of the modules around them."""
MAX_ABOVE = 20  # folders between a target and the top of its checkout


def _generator(tree: Tree, folders: Iterable[str]) -> str:
    """Return the program that writes backends in these folders; empty when none shows."""
    names = (name for folder in folders for name in tree.files(folder))
    return next((_GENERATORS[name] for name in names if name in _GENERATORS), "")


def _above(tree: Tree, targets: tuple[str, ...]) -> Iterator[str]:
    """Yield the folders between each target and the top of its checkout."""
    for target in targets:
        inside = tree.within(target)
        steps = 0 if inside in (None, ".") else str(inside).count("/") + 1
        yield from (join(target, *[".."] * step) for step in range(1, min(steps, MAX_ABOVE) + 1))


@dataclass(slots=True, kw_only=True)
class Wanted:
    """Where findings are reported: everywhere, or in the files that were named."""

    files: set[str]
    everything: bool

    def covers(self, finding: Finding) -> bool:
        """Say whether a finding is asked for."""
        return self.everything or finding.span.path in self.files


class _Recorder:
    """A tree that remembers what was read, so that every file is read once and excerpts show what the rules saw."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.texts: dict[str, bytes] = {}

    def files(self, folder: str) -> tuple[str, ...]:
        return self._tree.files(folder)

    def folders(self, folder: str) -> tuple[str, ...]:
        return self._tree.folders(folder)

    def within(self, folder: str) -> str | None:
        return self._tree.within(folder)

    def read(self, path: str) -> bytes | None:
        if path in self.texts:
            return self.texts[path]
        content = self._tree.read(path)
        if content is not None:
            self.texts[path] = content
        return content


class _Overlay:
    """A tree with some files replaced."""

    def __init__(self, tree: Tree, changed: dict[str, bytes]) -> None:
        self._tree = tree
        self._changed = changed

    def files(self, folder: str) -> tuple[str, ...]:
        return self._tree.files(folder)

    def folders(self, folder: str) -> tuple[str, ...]:
        return self._tree.folders(folder)

    def within(self, folder: str) -> str | None:
        return self._tree.within(folder)

    def read(self, path: str) -> bytes | None:
        return self._changed[path] if path in self._changed else self._tree.read(path)


def _walk(tree: Tree, top: str) -> Iterator[str]:
    """Yield a folder and those below it, in order.

    Raises:
        UsageError: There are more than `MAX_FILES` of them; half a lint would look like a clean one.
    """
    pending, count = [top], 0
    while pending:
        folder = pending.pop()
        count += 1
        if count > MAX_FILES:
            raise UsageError(f"{top} has more than {MAX_FILES} folders", fix="interlock lint FOLDER FOLDER ...")
        yield folder
        below = (name for name in tree.folders(folder) if not name.startswith(".") and name not in _SKIPPED)
        pending.extend(join(folder, name) for name in sorted(below, reverse=True))


def _has_configuration(tree: Tree, folder: str) -> bool:
    return any(is_configuration(name) for name in tree.files(folder))


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")


def _ignores(sources: Sources) -> Iterator[Ignore]:
    known = frozenset(rule.name for rule in RULES)
    for path, content in sources.texts.items():
        for found in find_ignores(path, content, known):
            if isinstance(found, Ignore):
                yield found


def _plain(finding: Finding) -> Finding:
    """Take the edits from findings in JSON configuration, where HCL text would break the file."""
    return replace(finding, edits=()) if any(edit.path.endswith(".json") for edit in finding.edits) else finding


def _read_edited(tree: Tree, finding: Finding) -> Iterator[tuple[str, bytes | None]]:
    for edit in finding.edits:
        yield edit.path, tree.read(edit.path)


def _breaks(tree: Tree, after: dict[str, bytes], before: dict[str, bytes], request: Request) -> bool:
    """Say whether a change leaves more problems than there were. Such a fix is our mistake and must not be written."""
    return _problems(_Overlay(tree, after), request) > _problems(_Overlay(tree, before), request)


def _problems(tree: Tree, request: Request) -> int:
    sources, _ = gather(tree, request.targets)
    modules: Iterable[Module] = sources.all_modules()
    return sum(len(module.problems) for module in modules) + sum(len(file.problems) for file in sources.workflows)


def _matching(patterns: Sequence[str]) -> Iterator[Rule]:
    for pattern in patterns:
        matched = [rule for rule in RULES if fnmatch.fnmatchcase(rule.name, pattern)]
        if not matched:
            names = [rule.name for rule in RULES]
            near = difflib.get_close_matches(pattern, names, n=1)
            why = f"the nearest name is {near[0]}" if near else ""
            raise UsageError(f'there is no lint rule "{pattern}"', why=why, fix="interlock lint --list-rules")
        yield from matched
