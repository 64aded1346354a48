"""A step's script together with the script files and make targets that it runs.

Knows: operations, document (for places), `source.Tree`. Reads only files of the tree; a file that is not there adds
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from interlock.ci.document import SourceText
from interlock.ci.operations import Call, Locate, Operation, Program, Reading, read
from interlock.source import SourceUnreadable, Span, Tree, join

MAX_DEPTH = 5  # scripts that call scripts
MAX_SCRIPT_BYTES = 256 * 1024
_SHEBANG = re.compile(r"#!.*\b(?:ba|da|z|a|k)?sh\b")
_TARGET = re.compile(r"([^\s:#=][^:#=]*):(?!=)([^=#\n]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Everything that a step's script does, called files included."""

    programs: tuple[Program, ...] = ()
    operations: tuple[Operation, ...] = ()


class Scripts:
    """Reads scripts of one repository.

    Args:
        tree: The files.
        root: The repository's folder in the tree, "." for the tree's own.
    """

    def __init__(self, tree: Tree, root: str) -> None:
        self._tree = tree
        self._root = root

    def effects(self, text: str, locate: Locate, *, directory: str = "") -> Effects:
        """Return what a script does that starts in `directory` (relative to the repository)."""
        return self._effects(read(text, locate, directory=directory), MAX_DEPTH, frozenset())

    def _effects(self, reading: Reading, depth: int, seen: frozenset[str]) -> Effects:
        programs, operations = list(reading.programs), list(reading.operations)
        if depth:
            for call in reading.calls:
                inner = self._called(call, depth, seen)
                programs += inner.programs
                operations += inner.operations
        return Effects(programs=tuple(programs), operations=tuple(operations))

    def _called(self, call: Call, depth: int, seen: frozenset[str]) -> Effects:
        effects = self._made(call, depth, seen) if call.kind == "make" else self._run(call, depth, seen)
        if call.replaces_shell:
            return effects
        # The caller's shell stands between the signal and this script, so nothing in it is reached.
        shielded = (replace(found, replaces_shell=False, signals=frozenset()) for found in effects.operations)
        return replace(effects, operations=tuple(shielded))

    def _run(self, call: Call, depth: int, seen: frozenset[str]) -> Effects:
        for folder in dict.fromkeys((call.directory, "")):
            path = join(self._root, folder, call.name)
            text = self._text(path)
            if text is None or path in seen:
                continue
            if text.startswith("#!") and not _SHEBANG.match(text):
                return Effects()
            source = SourceText(path, text)
            reading = read(text, source.span, directory=call.directory)
            return self._effects(reading, depth - 1, seen | {path})
        return Effects()

    def _made(self, call: Call, depth: int, seen: frozenset[str]) -> Effects:
        folder = join(call.directory, call.folder)
        for name in [call.file] if call.file else ["GNUmakefile", "makefile", "Makefile"]:
            path = join(self._root, folder, name)
            text = self._text(path)
            if text is not None:
                return self._recipe(SourceText(path, text), call, folder, depth, seen)
        return Effects()

    def _recipe(self, source: SourceText, call: Call, folder: str, depth: int, seen: frozenset[str]) -> Effects:
        key = f"{source.path}:{call.name}"
        if key in seen:
            return Effects()
        programs: list[Program] = []
        operations: list[Operation] = []
        needed, lines = recipe(source.text, call.name)
        for target in needed:
            before = (
                self._recipe(source, replace(call, name=target), folder, depth, seen | {key}) if depth else Effects()
            )
            programs += before.programs
            operations += before.operations
        for start, line in lines:
            reading = read(line, _moved(source.span, start), directory="" if folder == "." else folder)
            inner = self._effects(reading, depth - 1, seen | {key})
            programs += inner.programs
            operations += inner.operations
        return Effects(programs=tuple(programs), operations=tuple(operations))

    def _text(self, path: str) -> str | None:
        try:
            content = self._tree.read(path)
        except SourceUnreadable:
            return None
        if content is None or len(content) > MAX_SCRIPT_BYTES:
            return None
        return content.decode("utf-8", "replace")


def _moved(locate: Locate, by: int) -> Locate:
    def moved(start: int, end: int) -> Span:
        return locate(start + by, end + by)

    return moved


def recipe(text: str, target: str) -> tuple[list[str], list[tuple[int, str]]]:
    """Return what a make target needs and its recipe lines with their offsets; "" means the first target."""
    needed: list[str] = []
    lines: list[tuple[int, str]] = []
    active = False
    for start, line in _make_lines(text):
        if line.startswith("\t"):
            if active:
                body = line[1:].lstrip("@-+ ")
                lines.append((start + len(line) - len(body), body))
            continue
        match = _TARGET.match(line)
        if match is None:
            continue
        names = match.group(1).split()
        if not target and not names[0].startswith("."):
            target = names[0]
        active = target in names
        if active:
            needed += match.group(2).split("|")[0].split()
    return needed, lines


def _make_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield logical lines with their offsets: a backslash joins a line with the next one."""
    at = 0
    while at < len(text):
        end = at
        while True:
            newline = text.find("\n", end)
            end = len(text) if newline < 0 else newline
            if newline < 0 or not text[at:end].endswith("\\"):
                break
            end += 1
        yield at, text[at:end]
        at = end + 1
