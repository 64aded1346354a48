"""A number in a managed pool: the API wants the pool first, and refuses to delete it while numbers are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from interlock.dependencies.clues.clue import Clue, World
from interlock.dependencies.graph import Kind
from interlock.dependencies.site import Site
from interlock.genesys.references import Coupling, value_couplings
from interlock.hcl import constant_text, elements, find_values

_ENDS: Final = 2  # a pool's first and last number
_MAX_DIGITS: Final = 20  # E.164 has 15


def find(site: Site, world: World) -> Iterator[Clue]:
    """Yield the pools in which a resource's numbers lie."""
    for coupling in value_couplings():
        if coupling.source != site.resource.type or len(coupling.target_attributes) != _ENDS:
            continue
        for value in find_values(site.resource.body, coupling.attribute):
            for item in elements(value):
                number = constant_text(item, site.scope)
                for pool in _pools(world, site, number or "", coupling):
                    yield Clue(
                        source=site,
                        target=pool,
                        kind=Kind.COUPLING,
                        evidence=f"{coupling.attribute} {number} lies in {pool.address}: {coupling.how}",
                        span=item.span,
                    )


def _pools(world: World, site: Site, number: str, coupling: Coupling) -> Iterator[Site]:
    wanted = _digits(number)
    if wanted is None:
        return
    for pool in world.sites:
        if pool.resource.type == coupling.target and pool.resource.mode == "managed" and pool.root is site.root:
            ends = [
                _digits(constant_text(pool.resource.body.get(name), pool.scope) or "")
                for name in coupling.target_attributes
            ]
            first, last = ends
            if first is not None and last is not None and first <= wanted <= last:
                yield pool


def _digits(text: str) -> tuple[int, int] | None:
    """Return a number with its length, so that 0100 is not 100; None when the text is not a number."""
    digits = text.removeprefix("tel:").removeprefix("+")
    return (len(digits), int(digits)) if digits.isdecimal() and len(digits) <= _MAX_DIGITS else None
