"""The YAML files of one pipeline, each read once, all together bounded.

Knows: document, `source.Tree`. Knows nothing of CI systems. A file that cannot be read is a problem with a place, noted
once; one that is not there is nothing.
"""

from __future__ import annotations

from interlock.ci.document import Broken, Mapping, SourceText, parse
from interlock.ci.workflow import Problem
from interlock.source.encoding import as_utf8
from interlock.source.tree import SourceUnreadable, Tree

MAX_TOTAL_BYTES = 4 * 1024 * 1024  # of a pipeline with everything that it includes; real ones have 200 KiB


class Documents:
    """Reads the files that a pipeline consists of."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known: dict[str, Mapping | None] = {}
        self._bytes = 0
        self._problems: list[Problem] = []

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be read so far."""
        return tuple(self._problems)

    def find(self, path: str) -> Mapping | None:
        """Return a file's root mapping; None when there is none, whatever the reason."""
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def _read(self, path: str) -> Mapping | None:
        try:
            content = self._tree.read(path)
        except SourceUnreadable as error:
            self._note(path, error.what)
            return None
        if content is None:
            return None
        before, self._bytes = self._bytes, self._bytes + len(content)
        if before > MAX_TOTAL_BYTES:
            return None
        if self._bytes > MAX_TOTAL_BYTES:
            self._note(path, f"the pipeline has more than {MAX_TOTAL_BYTES >> 20} MiB with all that it includes")
            return None
        try:
            node = parse(path, as_utf8(content).decode("utf-8", "replace"))
        except Broken as broken:
            self._problems.append(Problem(span=broken.span, message=broken.message))
            return None
        return node if isinstance(node, Mapping) else None

    def _note(self, path: str, message: str) -> None:
        self._problems.append(Problem(span=SourceText(path, "").span(0, 0), message=message))
