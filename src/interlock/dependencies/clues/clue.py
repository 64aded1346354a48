"""A clue: one resource seems to need another one, because of what stands there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from interlock.dependencies.files import names_of
from interlock.dependencies.graph import Edit, Kind
from interlock.dependencies.inventory import Thing
from interlock.dependencies.site import Root, Site
from interlock.source.tree import Span, Tree

MIN_NAME_CHARS: Final = 3  # a shorter text equals a name by chance
ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
"""Ids of Genesys Cloud are UUIDs (docs/facts/genesys.md#genesys-29)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """`source` seems to need `target`.

    Attributes:
        evidence: What was seen, one sentence without place.
        span: Where.
        written: What to write there instead of the text, for use in the module of `span`; empty when only a
            `depends_on` helps.
        edits: Edits of its own, when more than `span` must change.
    """

    source: Site
    target: Site
    kind: Kind
    evidence: str
    span: Span
    written: str = ""
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, kw_only=True)
class World:
    """All sites of all roots, and the files beside them."""

    sites: tuple[Site, ...] = field(repr=False)
    tree: Tree = field(repr=False)

    def owner(self, text: str, reader: Root) -> tuple[Site, Thing] | None:
        """Return whose id it is: looked for in the reader's own state first, then in those of the other roots."""
        for root in (reader, *(other for other in self._roots if other is not reader)):
            thing = root.inventory.by_id.get(text)
            site = self._by_address.get((id(root), thing.address.config())) if thing is not None else None
            if thing is not None and site is not None:
                return site, thing
        return None

    def named(self, text: str, types: Iterable[str], reader: Root) -> tuple[Site, Thing | None] | None:
        """Return the one managed resource of that name, own root first; None when there is none or several have it."""
        if len(text) < MIN_NAME_CHARS:
            return None
        for own in (True, False):
            found = {
                site.address: (site, thing)
                for kind in types
                for site, thing in self._by_name.get((kind, text), ())
                if (site.root is reader) is own
            }
            if found:
                return next(iter(found.values())) if len(found) == 1 else None
        return None

    @cached_property
    def _roots(self) -> tuple[Root, ...]:
        return tuple({id(site.root): site.root for site in self.sites}.values())

    @cached_property
    def _by_address(self) -> Mapping[tuple[int, str], Site]:
        return {(id(site.root), site.address): site for site in self.sites}

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], list[tuple[Site, Thing | None]]]:
        """Managed resources by type and name: names written in the configuration, and names in the state."""
        found: dict[tuple[str, str], list[tuple[Site, Thing | None]]] = {}
        for site in self.sites:
            if site.resource.mode == "managed":
                for name in names_of(site, self.tree):
                    found.setdefault((site.resource.type, name), []).append((site, None))
        for root in self._roots:
            for thing in root.inventory.by_id.values():
                owner = self._by_address.get((id(root), thing.address.config()))
                if thing.name and owner is not None and owner.resource.mode == "managed":
                    found.setdefault((owner.resource.type, thing.name), []).append((owner, thing))
        return found
