"""A name as text: in attributes that point by name, in free maps such as a flow's substitutions, in JSON attributes."""

from __future__ import annotations

import json
from collections.abc import Iterator

from interlock.dependencies.clues.clue import Clue, World
from interlock.dependencies.graph import Kind
from interlock.dependencies.site import Site
from interlock.genesys import Origin, Reference, references_of
from interlock.hcl import Expression, Literal, Template, elements, find_values, walk

MAX_JSON_CHARS = 256 * 1024  # of one JSON attribute
_BY_NAME = frozenset({Origin.BY_NAME, Origin.OPAQUE})


def find(site: Site, world: World) -> Iterator[Clue]:
    """Yield names of managed objects in the attributes that may hold such names."""
    if site.resource.mode != "managed":
        return
    for reference in references_of(site.resource.type):
        if reference.origin in _BY_NAME and not reference.attribute.endswith(("filepath", "file_path")):
            for value in find_values(site.resource.body, reference.attribute):
                for item in elements(value):
                    yield from _of_value(site, world, reference, item)


def _of_value(site: Site, world: World, reference: Reference, value: Expression) -> Iterator[Clue]:
    parts = {id(part) for item in walk(value) if isinstance(item, Template) for part in item.parts}
    for item in walk(value):
        if isinstance(item, Literal) and isinstance(item.value, str) and id(item) not in parts:
            yield from _of_text(site, world, reference, item, item.value)


def _of_text(site: Site, world: World, reference: Reference, item: Literal, text: str) -> Iterator[Clue]:
    whole = world.named(text, reference.targets, site.root)
    if whole is not None:
        target, thing = whole
        written = target.expression("name", thing) if text in target.names() or thing is not None else ""
        yield _clue(site, target, reference, item, text, written=written)
        return
    for inner in _json_texts(text):
        found = world.named(inner, reference.targets, site.root)
        if found is not None:
            yield _clue(site, found[0], reference, item, inner, written="")


def _clue(site: Site, target: Site, reference: Reference, item: Literal, text: str, *, written: str) -> Clue:
    return Clue(
        source=site,
        target=target,
        kind=Kind.NAME,
        evidence=f'{reference.attribute} names "{text}", which is {target.address}',
        span=item.span,
        written=written,
    )


def _json_texts(text: str) -> Iterator[str]:
    """Yield the texts in a JSON document that is written as text; keys are not names of objects."""
    if len(text) > MAX_JSON_CHARS or not text.lstrip().startswith(("{", "[")):
        return
    try:
        pending: list[object] = [json.loads(text)]
    except (ValueError, RecursionError):
        return
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
        elif isinstance(current, str):
            yield current
