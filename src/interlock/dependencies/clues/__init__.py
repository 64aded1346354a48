"""How a dependency that Terraform does not see can show itself, one way a file, the strongest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from interlock.dependencies.clues import contents, couplings, literal_ids, lookups, names
from interlock.dependencies.clues.clue import Clue, World
from interlock.dependencies.site import Site

Finder: TypeAlias = Callable[[Site, World], Iterator[Clue]]

FINDERS: Final[tuple[Finder, ...]] = (
    literal_ids.find,
    lookups.find,
    names.find,
    contents.find,
    couplings.find,
)

__all__ = ["FINDERS", "Clue", "Finder", "World"]
