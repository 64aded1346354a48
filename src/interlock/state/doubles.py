"""Fields that are written twice in one object of a state.

JSON allows it, and every reader makes something else of it: Go fills a list a second time into the rows of the first,
so parts of both remain; others keep the first or the last. A state in which two readers see two states is refused.

Looked at are the objects that say what a state holds: document, outputs, resources, instances. Not attributes, which
all readers take by their last value.

Pure. Knows nothing of what the fields mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
from msgspec import Raw

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ROWS = msgspec.json.Decoder(list[Raw] | None)
_RECORDS = msgspec.json.Decoder(list[dict[str, Raw] | None] | None)
_NULL = Raw(b"null")


def doubled_keys(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield each field that is there twice, with the place of its object.

    Args:
        body: A JSON document. What is not in the shape of a state is passed over; others refuse it.
    """
    try:
        compact = msgspec.json.format(body, indent=-1)
        yield from _in_document(compact)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return


def _in_document(compact: bytes) -> Iterator[tuple[str, str]]:
    fields = _FIELDS.decode(compact)
    yield from _twice(compact, fields, "the document")
    outputs = fields.get("outputs", _NULL)
    if outputs != _NULL:
        named = _FIELDS.decode(outputs)
        yield from _twice(outputs, named, "outputs")
        for name, output in named.items():
            yield from _twice(output, _FIELDS.decode(output), f"output.{name}")
    for resource in _rows(fields.get("resources", _NULL)):
        yield from _in_resource(resource)


def _in_resource(resource: Raw) -> Iterator[tuple[str, str]]:
    fields = _FIELDS.decode(resource)
    yield from _twice(resource, fields, "a resource")
    instances = fields.get("instances", _NULL)
    for written, read in zip(_ROWS.decode(instances) or (), _RECORDS.decode(instances) or (), strict=True):
        if read and len(written) != _length(read):  # checked here too: a state has a hundred thousand of them
            yield from _twice(written, read, "an instance")


def _rows(raw: Raw) -> list[Raw]:
    return [row for row in _ROWS.decode(raw) or () if row != _NULL]


def _length(fields: dict[str, Raw]) -> int:
    """Return how long an object with these fields is, written without white space and escapes in its names."""
    return len("".join(fields)) + sum(map(len, fields.values())) + 4 * len(fields) + 1


def _twice(written: Raw | bytes, fields: dict[str, Raw], where: str) -> Iterator[tuple[str, str]]:
    """Compare lengths first: what was read makes up the whole text exactly when nothing is there twice."""
    if len(written) == _length(fields):
        return
    pairs = json.loads(bytes(written), object_pairs_hook=list, parse_int=str, parse_float=str)
    names = [name for name, _ in pairs]
    yield from ((name, where) for name in fields if names.count(name) > 1)
