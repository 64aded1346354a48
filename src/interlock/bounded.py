"""Reads JSON and YAML that others wrote, within limits: what is too large or too deep is malformed, never a defect.

A parser that goes as deep as its input says ends with Python's own limit, and one that takes as much memory as its
input says ends with the machine's. Here both are `ValueError`s, as for every other malformed text, so whoever reads
says which file or answer it was. That all JSON is read here, or is as careful, `tests/security/test_input_sizes.py`
checks.

Knows: texts. Reads no files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import IO, Any, TypeVar

import msgspec

from interlock.late_pattern import late

MAX_DEPTH = 60
"""Nesting of what people write; the deepest real pipeline seen has 14."""

MAX_YAML_VALUES = 100_000
"""Values of one YAML file, each counted as often as aliases name it: nine aliases of nine each are a billion."""

_QUOTED = late(r"""(["']).*(?:\1)""", re.DOTALL)

_TOO_DEEP = "it is nested too deeply"

_T = TypeVar("_T")


class OutOfBounds(ValueError):
    """A text is larger, deeper or has more values than anything that we read."""


def read_json(data: bytes | str, *, parse_float: Callable[[str], Any] | None = None) -> Any:
    """Return the values of a JSON text.

    Raises:
        ValueError: It is not JSON, or is nested too deeply.
    """
    try:
        import json

        return json.loads(data, parse_float=parse_float)
    except RecursionError:
        raise OutOfBounds(_TOO_DEEP) from None


def is_deeper(document: Any, depth: int) -> bool:
    """Say whether values are nested more than `depth` levels, so that whoever walks them recursively may."""
    level = [document]
    for _ in range(depth + 1):
        level = [each for value in level for each in _below(value)]
        if not level:
            return False
    return True


def _below(value: Any) -> Iterable[Any]:
    """Return the lists and objects directly in a value."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (each for each in inside if isinstance(each, dict | list))


def decode_json(
    data: bytes | str | msgspec.Raw,
    *,
    type: type[_T],  # noqa: A002 - as msgspec calls it
    float_hook: Callable[[str], Any] | None = None,
) -> _T:
    """Return a JSON text as a value of a type; see `msgspec.json.decode`.

    Args:
        data: The text.
        type: Of the value.
        float_hook: How numbers with a fraction are read.

    Raises:
        msgspec.DecodeError: It is not JSON, has another value, or is nested too deeply.
        UnicodeDecodeError: A text in it is not UTF-8.
    """
    try:
        if float_hook is None:
            return msgspec.json.decode(data, type=type)
        return msgspec.json.Decoder(type, float_hook=float_hook).decode(data)
    except RecursionError:
        raise msgspec.DecodeError(_TOO_DEEP) from None


def read_yaml(text: str) -> Any:
    """Return the values of one YAML document: only plain values, no objects.

    Raises:
        OutOfBounds: It is nested too deeply, has too many values, or escapes a character that does not exist.
        ruamel.yaml.error.YAMLError: It is not YAML, or has a value that is none of its kind, such as 30 February.
    """
    from ruamel.yaml import YAML

    try:
        _check_events(YAML(typ="safe", pure=True).parse(text))
    except OverflowError:  # the parser's own, of "\UFFFFFFFF"
        raise OutOfBounds("it escapes a character that does not exist") from None
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _careful_constructor()
    reader.composer.warn_double_anchors = False  # YAML allows it, and the warning would be Python's, on our stderr
    document = reader.load(text)
    if _count(document, {}) > MAX_YAML_VALUES:
        raise OutOfBounds(f"it has more than {MAX_YAML_VALUES} values")
    return document


@cache
def _careful_constructor() -> Any:
    """Return a class that says where a value is that Python's own readers of numbers and dates refuse.

    Plain scalars are taken for dates and numbers by their looks, so `2026-02-30` is one that does not exist.
    """
    from ruamel.yaml.constructor import ConstructorError, SafeConstructor

    class CarefulConstructor(SafeConstructor):  # type: ignore[misc, unused-ignore]
        def construct_non_recursive_object(self, node: Any, tag: str | None = None) -> Any:
            try:
                return super().construct_non_recursive_object(node, tag)
            except (ArithmeticError, LookupError, ValueError):
                kind = str(tag or node.tag).rpartition(":")[2]
                problem = f"this looks like a value of the kind {kind}, and is none; text stands in quotes"
                raise ConstructorError(problem=problem, problem_mark=node.start_mark) from None

    return CarefulConstructor


def yaml_fault(error: Exception) -> str:
    """Return what is wrong with a YAML text and where, and nothing of the text itself.

    Whoever writes a checkout can put a link in the place of a file of settings. What the parser quotes would show a
    line of the file behind it, such as one of credentials, in the log of the job that reads it.
    """
    mark, problem = getattr(error, "problem_mark", None), str(getattr(error, "problem", None) or "")
    what = " ".join(_QUOTED.sub("\u2026", problem).split()) or "it cannot be read"
    return what if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {what}"


def _check_events(events: Iterator[Any]) -> None:
    """Refuse before anything is built; the events come one by one, so what follows the first level too many is unread.

    An alias can only name what is above it, so with this limit it leads to no endless document either.
    """
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for number, event in enumerate(events):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise OutOfBounds(f"it is nested more than {MAX_DEPTH} levels deep")
        if number > 2 * MAX_YAML_VALUES:
            raise OutOfBounds(f"it has more than {MAX_YAML_VALUES} values")


def _count(value: Any, known: dict[int, int]) -> int:
    """Count values, those that an alias names again too; 0 for one that is being counted, which contains itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = MAX_YAML_VALUES + 1  # met again on the way down it would have no end
        below = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(each, known) for each in below)
    return known[id(value)]


def read_at_most(stream: IO[bytes], limit: int) -> bytes:
    """Return what is left of a stream.

    Raises:
        OutOfBounds: That is more than `limit` bytes; no more than one byte beyond was read.
    """
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise OutOfBounds(f"it has more than {limit} bytes")
    return content
