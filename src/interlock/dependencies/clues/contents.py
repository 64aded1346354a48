"""A file that a resource uploads (a flow's YAML, a script's JSON) names managed objects, by id or by name.

A name counts when a key above it says what kind of thing it is: `queue: ... name: Support` names a queue, and
`prompt: Support` does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from interlock.dependencies.clues.clue import ID, Clue, World
from interlock.dependencies.files import path_of, text_of
from interlock.dependencies.graph import Kind
from interlock.dependencies.site import Site
from interlock.genesys import Origin, Reference, references_of
from interlock.hcl import Expression, find_values

MAX_DEPTH: Final = 60  # keys above a line that are looked at

_LINE: Final = re.compile(
    r"^(?P<indent>[ \t]*)(?P<dash>(?:- )*)(?:(?P<key>[\"']?[\w.$ -]{1,100}[\"']?)\s*:)?\s*(?P<value>.*?),?\s*$"
)
_PREFIX: Final = "genesyscloud_"


def find(site: Site, world: World) -> Iterator[Clue]:
    """Yield what the files of a resource name."""
    if site.resource.mode != "managed":
        return
    for reference in references_of(site.resource.type):
        if reference.origin is Origin.OPAQUE:
            for value in find_values(site.resource.body, reference.attribute):
                yield from _of_file(site, world, reference, value)


def _of_file(site: Site, world: World, reference: Reference, value: Expression) -> Iterator[Clue]:
    path = path_of(site, reference.attribute, value)
    text = text_of(world.tree, path)
    seen: set[str] = set()
    for line, found, what in _named(site, world, reference, text):
        if found.address not in seen:
            seen.add(found.address)
            yield Clue(
                source=site,
                target=found,
                kind=Kind.CONTENT,
                evidence=f"{path}:{line} names {what}, which is {found.address}",
                span=value.span,
            )


def _named(site: Site, world: World, reference: Reference, text: str) -> Iterator[tuple[int, Site, str]]:
    """Yield the line, the resource and what was read, for every id and every name under a fitting key."""
    above: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        for match in ID.finditer(line):
            owner = world.owner(match[0], site.root)
            if owner is not None:
                yield number, owner[0], f"the id {match[0]}"
        parsed = _LINE.match(line[:2000])
        if parsed is None or not line.strip():
            continue
        depth = len(parsed["indent"]) + len(parsed["dash"])
        key, value = (parsed["key"] or "").strip("\"' "), parsed["value"].strip("\"' ,")
        above = [(indent, name) for indent, name in above if indent < depth][-MAX_DEPTH:]
        if key:
            above.append((depth, key))
        yield from _named_in(site, world, reference, number, value, [name for _, name in above])


def _named_in(
    site: Site, world: World, reference: Reference, number: int, value: str, keys: list[str]
) -> Iterator[tuple[int, Site, str]]:
    if not value or not keys:
        return
    joined = "/".join(re.sub(r"[^a-z]", "", key.lower()) for key in keys[-4:] if key != "actions")
    types = [kind for kind in reference.targets if _hint(kind) in joined]
    found = world.named(value, types, site.root) if types else None
    if found is not None:
        yield number, found[0], f'"{value}"'


@lru_cache(maxsize=1024)
def _hint(kind: str) -> str:
    """Return the word of a type that keys of documents use for it: `queue`, `prompt`, `contactlist`."""
    words = kind.removeprefix(_PREFIX).split("_")  # two words make one name in some
    last = "".join(words[-2:]) if words[-1] in {"list", "action", "group"} and len(words) > 2 else words[-1]  # noqa: PLR2004
    return last.removesuffix("s").removeprefix("integration")
