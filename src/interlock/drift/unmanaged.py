"""Objects that exist only in the organisation: found, named, and written as `import` blocks with configuration.

Knows: entities of the API's listings, ids that are managed, the text that Terraform generates for imported objects.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from interlock.drift.finding import Attribute, Finding, Kind, digest_of
from interlock.drift.wording import align
from interlock.genesys.listings import Listing, find_listing, is_passed_over, listed_types

PREFIX = "genesyscloud_"
MAX_LISTED = 500
"""Unmanaged objects that one scan reports; more are counted in a note."""
MAX_LABEL = 60

_WORD = re.compile(r"[^a-z0-9]+")
_HEAD = re.compile(r'resource "(?P<type>[a-z0-9_]+)" "(?P<label>[^"]+)" \{')
_NULL = re.compile(r" *(?P<name>[A-Za-z_][A-Za-z0-9_-]*) += null(?P<note> # sensitive)?")
_QUOTED_ID = re.compile(r'"([0-9A-Fa-f-]{36})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What to look for beside the state.

    Attributes:
        types: Resource types; none means that the organisation is not listed.
        names: Patterns (`*`, `?`) for the name; none for all. Capitals do not count.
        divisions: Names or ids of divisions; none for all.
    """

    types: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    divisions: tuple[str, ...] = ()

    @property
    def is_filtered(self) -> bool:
        """Not everything of the types is looked for."""
        return bool(self.names or self.divisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One entity of a listing."""

    type: str
    id: str
    name: str
    division: str = ""


def full_types(words: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the resource types that are meant, and the words that mean none that can be listed.

    Args:
        words: `all`, full type names, or names without the provider's prefix.
    """
    known: dict[str, None] = {}
    unknown: list[str] = []
    for word in words:
        full = word if word.startswith(PREFIX) else PREFIX + word
        if word == "all":
            known.update(dict.fromkeys(listed_types()))
        elif find_listing(full) is not None:
            known[full] = None
        else:
            unknown.append(word)
    return tuple(known), tuple(unknown)


def read_listing(kind: str, listing: Listing, entities: Iterable[Any]) -> Iterator[Listed]:
    """Read the entities of a listing; what is the vendor's own, deleted, or has no id is passed over."""
    for entity in entities:
        if not isinstance(entity, dict) or is_passed_over(entity) or not isinstance(entity.get("id"), str):
            continue
        division = entity.get("division")
        yield Listed(
            type=kind,
            id=entity["id"],
            name=str(entity.get(listing.name) or entity.get("name") or ""),
            division=str(division.get("id") or "") if isinstance(division, dict) else "",
        )


def is_wanted(listed: Listed, look: Look, divisions: Mapping[str, str]) -> bool:
    """Say whether an object passes the filters. `divisions`: id to name."""
    named = not look.names or any(fnmatchcase(listed.name.casefold(), each.casefold()) for each in look.names)
    where = {listed.division, divisions.get(listed.division, "").casefold()}
    return named and (not look.divisions or any(each in where or each.casefold() in where for each in look.divisions))


def describe(listed: Listed, *, taken: Container[str], divisions: Mapping[str, str], salt: str) -> Finding:
    """Return the finding for an unmanaged object, with an address that is free."""
    listing = find_listing(listed.type)
    return Finding(
        kind=Kind.UNMANAGED,
        address=free_address(listed, taken),
        type=listed.type,
        object=listed.id,
        name=listed.name,
        division=divisions.get(listed.division, listed.division),
        attributes=(Attribute(path="", after=listed.id, digest=digest_of(listed.id, salt)),),
        hint=listing.needs if listing else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """An object that a run made and that no state holds; known without a listing.

    Attributes:
        listed: The object; its id is what imports it.
        address: Where the run's plan wanted it; empty when that is not known.
        run: The run that made it.
    """

    listed: Listed
    address: str
    run: str


def describe_left(left: LeftBehind, *, taken: Container[str], salt: str) -> Finding:
    """Return the finding for what a run left behind, at the address where it was wanted, while that is free."""
    finding = describe(left.listed, taken=taken, divisions={}, salt=salt)
    address = left.address if left.address and left.address not in taken else finding.address
    hint = f"made by run {left.run}, in no state"
    return replace(finding, address=address, hint="; ".join(filter(None, (hint, finding.hint))))


def free_address(listed: Listed, taken: Container[str]) -> str:
    """Return an address for an object, made from its name, that is not taken."""
    label = _WORD.sub("_", listed.name.casefold()).strip("_")[:MAX_LABEL] or "object"
    label = label if not label[0].isdigit() else f"_{label}"
    plain = f"{listed.type}.{label}"
    if plain not in taken:
        return plain
    return next(name for number in range(2, MAX_LISTED * 100) if (name := f"{plain}_{number}") not in taken)


def skeleton(finding: Finding) -> str:
    """Return a block to be completed, for an object whose configuration cannot be generated."""
    label = finding.address.partition(".")[2]
    return f'resource "{finding.type}" "{label}" {{\n  # {finding.hint or "to be completed"}\n}}\n'


def split_generated(text: str, *, names: Mapping[str, str], empty: Container[tuple[str, str]]) -> dict[str, str]:
    """Return the configuration of each address from the file that Terraform generated.

    Terraform writes every attribute; those without a value are left out. It also writes nothing where the object has
    an empty text, which would be a change on some providers, so that is put back.

    Args:
        text: The file.
        names: Id to the expression that gives it.
        empty: Pairs of address and attribute where the object has an empty text.
    """
    blocks: dict[str, list[str]] = {}
    current: list[str] | None = None
    address = ""
    for line in text.splitlines():
        head = _HEAD.fullmatch(line)
        if head is not None:
            address = f"{head['type']}.{head['label']}"
            current = blocks.setdefault(address, [])
        if current is not None and (kept := _kept(line, address, names, empty)) is not None:
            current.append(kept)
        if line == "}":
            current = None
    return {name: "\n".join(align(lines)) + "\n" for name, lines in blocks.items()}


def _kept(line: str, address: str, names: Mapping[str, str], empty: Container[tuple[str, str]]) -> str | None:
    """Return the line as it is to stay; None when it says nothing."""
    null = _NULL.fullmatch(line)
    if null is None:
        return _with_names(line, names)
    if null["note"]:
        return f"  # {null['name']} is sensitive and was not read"
    return f'  {null["name"]} = ""' if (address, null["name"]) in empty else None


def _with_names(line: str, names: Mapping[str, str]) -> str:
    """Replace quoted ids by their expressions; the value is the same."""
    return _QUOTED_ID.sub(lambda found: names.get(found[1], found[0]), line)
