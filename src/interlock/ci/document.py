"""YAML text -> frozen nodes, each with its place; aliases resolved, nothing executed.

Knows: `source.Span`. Knows nothing of CI systems. Keys and scalars keep their exact text: `on` stays `on` and `1.10`
stays `1.10`; what a scalar means is the reader's business.
Aliases share nodes, so an alias bomb costs nothing here; whoever walks the tree bounds the walk (`workflow.MAX_STEPS`).
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from interlock.source.tree import Span

MAX_TEXT_BYTES = 512 * 1024  # GitHub refuses larger workflow files, and no hand writes one
MAX_NODES = 100_000  # distinct nodes of one file
MAX_DEPTH = 60  # of nesting; the deepest real pipeline seen has 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A text value, an empty one included.

    Attributes:
        text: The value as text, folded and unescaped.
        span: Where it is written; for a block scalar from its `|` or `>`.
        tag: The explicit tag such as `!reference`, or "".
        plain: Whether it was written without quotes, so that `true` means a boolean.
    """

    text: str
    span: Span
    source: SourceText = field(repr=False, compare=False)
    tag: str = ""
    plain: bool = True

    def at(self, start: int, end: int | None = None) -> Span:
        """Return the place of the characters `start` to `end` of `text`, also inside block and folded scalars."""
        return self.source.inside(self, start, len(self.text) if end is None else end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    span: Span
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One `key: value` of a mapping."""

    key: Scalar
    value: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """A mapping, in the order of the file; merge keys (`<<`) are already merged, behind the mapping's own keys."""

    entries: tuple[Entry, ...]
    span: Span
    tag: str = ""

    def entry(self, name: str) -> Entry | None:
        """Return the entry of that key, or None. Of duplicate keys the last one counts, as YAML readers do."""
        return next((entry for entry in reversed(self.entries) if entry.key.text == name), None)

    def get(self, name: str) -> Node | None:
        """Return the value of that key, or None."""
        entry = self.entry(name)
        return entry.value if entry else None

    def text(self, name: str) -> str:
        """Return the text of that key's scalar, "" when there is none."""
        value = self.get(name)
        return value.text if isinstance(value, Scalar) else ""


Node = Scalar | Sequence | Mapping


class Broken(Exception):
    """The text is not YAML that can be read; `span` says where."""

    def __init__(self, message: str, span: Span) -> None:
        super().__init__(message)
        self.message = message
        self.span = span


class SourceText:
    """A text with its line starts, so that a place costs a binary search."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self._alignments: dict[tuple[int, int], list[int]] = {}

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    @cached_property
    def _line_bytes(self) -> list[int]:
        """The byte offset of each line's start; not used for plain ASCII, where bytes are characters."""
        offsets, at = [], 0
        for line in self.text.split("\n"):
            offsets.append(at)
            at += len(line.encode()) + 1
        return offsets

    @cached_property
    def _ascii(self) -> bool:
        return self.text.isascii()

    def _position(self, index: int) -> tuple[int, int]:
        line = bisect.bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1

    def _byte(self, index: int) -> int:
        if self._ascii:
            return index
        line, column = self._position(index)
        start = self._starts[line - 1]
        return self._line_bytes[line - 1] + len(self.text[start : start + column - 1].encode())

    def span(self, start: int, end: int) -> Span:
        """Return the span of the characters `start` to `end`."""
        start, end = min(start, len(self.text)), min(max(start, end), len(self.text))
        line, column = self._position(start)
        end_line, end_column = self._position(end)
        return Span(
            path=self.path,
            start=self._byte(start),
            end=self._byte(end),
            line=line,
            column=column,
            end_line=end_line,
            end_column=end_column,
        )

    def at(self, line: int, column: int) -> Span:
        """Return the place before a character; both count from 1, and what is behind the text is its end."""
        index = self._index(line, column) if line <= len(self._starts) else len(self.text)
        return self.span(index, index)

    def _index(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column - 1

    def inside(self, scalar: Scalar, start: int, end: int) -> Span:
        """Return the place of a part of a scalar's value (see `Scalar.at`)."""
        span = scalar.span
        begin, stop = self._index(span.line, span.column), self._index(span.end_line, span.end_column)
        places = self._alignments.get((begin, stop))
        if places is None:
            places = self._alignments[begin, stop] = _aligned(scalar.text, self.text[begin:stop])
        first = places[start] if start < len(places) else stop - begin
        last = places[end - 1] + 1 if start < end <= len(places) else first
        return self.span(begin + first, begin + max(first, last))


def parse(path: str, text: str) -> Node | None:
    """Read a YAML text.

    Returns:
        Its root, or None for an empty text. Of several documents the first, or the one behind a `spec:` header
        (GitLab components).

    Raises:
        Broken: It is not YAML, too large, too deep, or refers to itself.
    """
    source = SourceText(path, text)
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise Broken(f"the file is larger than {MAX_TEXT_BYTES // 1024} KiB", source.span(0, 0))
    nodes = [_Builder(source).build(root, depth=0) for root in _composed(source)]
    header = (
        len(nodes) > 1 and isinstance(nodes[0], Mapping) and {entry.key.text for entry in nodes[0].entries} == {"spec"}
    )
    return nodes[1 if header else 0] if nodes else None


def entries(node: Node | None) -> tuple[Entry, ...]:
    """Return a mapping's entries; none for anything else."""
    return node.entries if isinstance(node, Mapping) else ()


def items(node: Node | None) -> tuple[Node, ...]:
    """Return a list's items; none for anything else."""
    return node.items if isinstance(node, Sequence) else ()


def scalars(node: Node | None) -> tuple[Scalar, ...]:
    """Return a scalar itself or a list's scalars, as most CI keys take either."""
    return (node,) if isinstance(node, Scalar) else tuple(item for item in items(node) if isinstance(item, Scalar))


def walk(node: Node, *, limit: int = MAX_NODES) -> Iterator[Node]:
    """Yield `node` and everything below it, each distinct node once, at most `limit`."""
    seen: set[int] = set()
    waiting = [node]
    while waiting and len(seen) < limit:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, Sequence):
            waiting.extend(reversed(current.items))
        elif isinstance(current, Mapping):
            waiting.extend(entry.value for entry in reversed(current.entries))


def _composed(source: SourceText) -> list[Any]:
    """Return ruamel's nodes of the first two documents."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    reader = YAML(typ="base", pure=True)
    reader.allow_duplicate_keys = True
    reader.composer.warn_double_anchors = False  # YAML allows it, the last one counts; it would print on our stderr
    try:
        return [root for root in itertools.islice(reader.compose_all(source.text), 2) if root is not None]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        index = getattr(mark, "index", 0) or 0
        raise Broken(_sentence(error), source.span(index, index)) from None
    except RecursionError:
        raise Broken("it is nested too deeply", source.span(0, 0)) from None
    except (YAMLError, ArithmeticError, ValueError, TypeError, AttributeError, IndexError, AssertionError) as error:
        # ruamel meets some malformed input with a plain exception; for a reader they all mean the same.
        raise Broken(f"it is not valid YAML ({type(error).__name__})", source.span(0, 0)) from None


def _sentence(error: Any) -> str:
    return " ".join(str(error.problem or error.context or "it is not valid YAML").split())


class _Builder:
    """Turns ruamel's nodes into ours; a node met twice (an alias) is built once."""

    def __init__(self, source: SourceText) -> None:
        self._source = source
        self._built: dict[int, Node] = {}
        self._open: set[int] = set()

    def build(self, node: Any, *, depth: int) -> Node:
        known = self._built.get(id(node))
        if known is not None:
            return known
        self._refuse(node, depth)
        self._open.add(id(node))
        built = self._node(node, depth)
        self._open.discard(id(node))
        self._built[id(node)] = built
        return built

    def _refuse(self, node: Any, depth: int) -> None:
        if id(node) in self._open:
            raise Broken("an alias refers to itself", self._span(node))
        if depth > MAX_DEPTH:
            raise Broken(f"it is nested more than {MAX_DEPTH} levels deep", self._span(node))
        if len(self._built) > MAX_NODES:
            raise Broken(f"it has more than {MAX_NODES} values", self._span(node))

    def _span(self, node: Any) -> Span:
        return self._source.span(node.start_mark.index, node.end_mark.index)

    def _node(self, node: Any, depth: int) -> Node:
        if isinstance(node.value, str):
            return self._scalar(node)
        tag, span = _tag(node), self._span(node)
        if not node.value or not isinstance(node.value[0], tuple):
            if type(node).__name__ == "MappingNode":
                return Mapping(entries=(), span=span, tag=tag)
            return Sequence(items=tuple(self.build(item, depth=depth + 1) for item in node.value), span=span, tag=tag)
        return Mapping(entries=tuple(self._entries(node, depth)), span=span, tag=tag)

    def _scalar(self, node: Any) -> Scalar:
        return Scalar(
            text=node.value,
            span=self._span(node),
            source=self._source,
            tag=_tag(node),
            plain=getattr(node, "style", None) in (None, ""),
        )

    def _entries(self, node: Any, depth: int) -> Iterator[Entry]:
        merged: list[Entry] = []
        own: list[Entry] = []
        for key_node, value_node in node.value:
            key, value = self.build(key_node, depth=depth + 1), self.build(value_node, depth=depth + 1)
            if not isinstance(key, Scalar):
                key = Scalar(text="", span=key.span, source=self._source)  # a complex key; no CI system has one
            if key.text == "<<" and key.plain:
                merged.extend(_merged(value))
            else:
                own.append(Entry(key=key, value=value))
        names = {entry.key.text for entry in own}
        for entry in merged:
            if entry.key.text not in names:
                names.add(entry.key.text)
                own.append(entry)
        yield from own


def _merged(value: Node) -> Iterator[Entry]:
    for part in value.items if isinstance(value, Sequence) else (value,):
        if isinstance(part, Mapping):
            yield from part.entries


def _tag(node: Any) -> str:
    tag = str(getattr(node, "tag", "") or "")
    return tag if tag.startswith("!") and tag != "!" else ""


_SPACE = frozenset(" \t\r\n")
_BLANK_ESCAPES = frozenset("nrt0_NLPe \n")


def _aligned(value: str, raw: str) -> list[int]:
    """Return for each character of `value` its index in `raw`, the way it was written (indented, folded or escaped).

    Only characters that are not white space are matched; white space takes the place behind its predecessor.
    """
    block = raw[:1] in ("|", ">")
    at = raw.find("\n") + 1 if block else 0
    escaped = raw[:1] == '"'
    places: list[int] = []
    for character in value:
        if character in _SPACE:
            places.append(min(at, len(raw)))
            continue
        at = _matched(raw, at, character, escaped=escaped)
        places.append(min(at, len(raw)))
        at += 1
    return places


def _matched(raw: str, at: int, character: str, *, escaped: bool) -> int:
    while at < len(raw) and raw[at] != character:
        at += 2 if escaped and raw[at] == "\\" and raw[at + 1 : at + 2] in _BLANK_ESCAPES else 1
    if escaped and character == "\\" and raw[at + 1 : at + 2] == "\\":
        return at + 1
    return at
