"""A step's script together with the script files and make targets that it runs.

Knows: operations, document (for places), `source.Tree`. Reads only files of the tree; a file that is not there adds
nothing.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from interlock.ci.document import SourceText
from interlock.ci.operations import Call, Locate, Operation, Program, Reading, read
from interlock.source.tree import SourceUnreadable, Span, Tree, join

_ACTS = frozenset({"apply", "destroy"})
MAX_DEPTH = 5  # scripts that call scripts
MAX_SCRIPT_BYTES = 256 * 1024
MAX_TARGETS = 500  # that one make call visits
MAX_CALLED_OPERATIONS = 20_000  # of all called files of one pipeline; those behind are not looked at
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
        self._readings: dict[tuple[str, str], Reading] = {}
        self._makefiles: dict[tuple[str, str], _Makefile] = {}
        self._called_operations = 0

    def effects(self, text: str, locate: Locate, *, directory: str = "") -> Effects:
        """Return what a script does that starts in `directory` (relative to the repository)."""
        return self._effects(read(text, locate, directory=directory), MAX_DEPTH, frozenset())

    def _effects(self, reading: Reading, depth: int, seen: frozenset[str]) -> Effects:
        programs, operations = list(reading.programs), list(reading.operations)
        for call in reading.calls if depth else ():
            if self._called_operations > MAX_CALLED_OPERATIONS:
                break
            inner = self._called(call, depth, seen)
            self._called_operations += len(inner.operations) + 1
            programs += inner.programs
            operations += inner.operations
        return Effects(programs=tuple(programs), operations=tuple(operations))

    def _called(self, call: Call, depth: int, seen: frozenset[str]) -> Effects:
        effects = self._made(call, depth, seen) if call.kind == "make" else self._run(call, depth, seen)
        if _ACTS.isdisjoint(call.arguments) and "plan" in call.arguments:
            # `baseline.sh FOLDER plan`: one script for both, and its apply is in the other branch.
            only = tuple(found for found in effects.operations if not found.applies)
            effects = replace(effects, operations=only)
        if call.replaces_shell:
            return effects
        # The caller's shell stands between the signal and this script, so nothing in it is reached.
        shielded = (replace(found, replaces_shell=False, signals=frozenset()) for found in effects.operations)
        return replace(effects, operations=tuple(shielded))

    def _run(self, call: Call, depth: int, seen: frozenset[str]) -> Effects:
        for folder in dict.fromkeys((call.directory, "")):
            path = join(self._root, folder, call.name)
            reading = None if path in seen else self._reading(path, call.directory)
            if reading is not None:
                return self._effects(reading, depth - 1, seen | {path})
        return Effects()

    def _reading(self, path: str, directory: str) -> Reading | None:
        """Return what a script file does; None when it is not there. A script of another language does nothing."""
        if (path, directory) not in self._readings:
            text = self._text(path)
            if text is None:
                return None
            shell = not text.startswith("#!") or _SHEBANG.match(text)
            source = SourceText(path, text)
            own = self._relative(posixpath.dirname(path))
            read_now = read(text, source.span, directory=directory, own_folder=own) if shell else Reading()
            self._readings[path, directory] = read_now
        return self._readings[path, directory]

    def _relative(self, folder: str) -> str:
        """Return a folder of the tree as the repository spells it."""
        if self._root in (".", ""):
            return folder
        return folder.removeprefix(self._root).lstrip("/") if folder.startswith(self._root) else folder

    def _made(self, call: Call, depth: int, seen: frozenset[str]) -> Effects:
        folder = join(call.directory, call.folder)
        for name in [call.file] if call.file else ["GNUmakefile", "makefile", "Makefile"]:
            makefile = self._makefile(join(self._root, folder, name), "" if folder == "." else folder)
            if makefile is not None:
                return self._recipes(makefile, call.name, depth, seen)
        return Effects()

    def _recipes(self, makefile: _Makefile, target: str, depth: int, seen: frozenset[str]) -> Effects:
        programs: list[Program] = []
        operations: list[Operation] = []
        for name in makefile.order(target):
            key = f"{makefile.path}:{name}"
            for reading in makefile.readings(name) if key not in seen else ():
                inner = self._effects(reading, depth - 1, seen | {key})
                programs += inner.programs
                operations += inner.operations
        return Effects(programs=tuple(programs), operations=tuple(operations))

    def _makefile(self, path: str, directory: str) -> _Makefile | None:
        if (path, directory) not in self._makefiles:
            text = self._text(path)
            if text is None:
                return None
            self._makefiles[path, directory] = _Makefile(path, text, directory)
        return self._makefiles[path, directory]

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


class _Makefile:
    """The rules of one Makefile: what each target needs, and its recipe."""

    def __init__(self, path: str, text: str, directory: str) -> None:
        self.path = path
        self._locate = SourceText(path, text).span
        self._directory = directory
        self._needed: dict[str, list[str]] = {}
        self._lines: dict[str, list[tuple[int, str]]] = {}
        self._readings: dict[str, tuple[Reading, ...]] = {}
        self._first = ""
        self._read(text)

    def _read(self, text: str) -> None:
        active: list[str] = []
        for start, line in _make_lines(text):
            if line.startswith("\t"):
                body = line[1:].lstrip("@-+ ")
                for name in active:
                    self._lines[name].append((start + len(line) - len(body), body))
            elif match := _TARGET.match(line):
                active = match.group(1).split()
                for name in active:
                    self._needed.setdefault(name, []).extend(match.group(2).split("|")[0].split())
                    self._lines.setdefault(name, [])
                if not self._first and active and not active[0].startswith("."):
                    self._first = active[0]

    def order(self, target: str) -> tuple[str, ...]:
        """Return the targets that make visits for one, each once, what is needed first; "" means the first target."""
        done: dict[str, None] = {}
        waiting = [(target or self._first, False)]
        entered: set[str] = set()
        while waiting and len(done) < MAX_TARGETS:
            name, ready = waiting.pop()
            if ready:
                done[name] = None
            elif name not in entered and name in self._needed:
                entered.add(name)
                waiting.append((name, True))
                waiting.extend((below, False) for below in reversed(self._needed[name]))
        return tuple(done)

    def readings(self, target: str) -> tuple[Reading, ...]:
        """Return what each line of a target's recipe does."""
        if target not in self._readings:
            self._readings[target] = tuple(
                read(line, _moved(self._locate, start), directory=self._directory)
                for start, line in self._lines.get(target, ())
            )
        return self._readings[target]


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
