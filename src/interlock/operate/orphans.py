"""Orphans of one state: looked up, looked at in the organisation, and offered as `import` blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from interlock.creations import Creation, Place, spell
from interlock.creations.holdings import find_holdings
from interlock.creations.looking import Ask, look_again
from interlock.drift.unmanaged import Listed, free_address
from interlock.errors import InterlockError, StateInvalid, UsageError, command
from interlock.foreign_text import one_line
from interlock.hcl.spelling import import_block
from interlock.home.interface import Home
from interlock.operate.runs import is_over
from interlock.site.interface import Site
from interlock.state import ENCRYPTED

AskOf = Callable[[Place], Ask | None]

LOOKS_MAX: Final = 500
"""Orphans that one command looks at: a call each, and a listing for one without an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One object that a run made and that no state holds.

    Attributes:
        creation: What the book says of it.
        address: Where its block puts it; empty when there can be no block.
        is_planned: The run's plan wanted it there, so the configuration has a resource of this address.
        block: Its `import` block; empty when its type or its id is not known.
        looked: The organisation was asked, and it was not found gone.
    """

    creation: Creation
    address: str = ""
    is_planned: bool = False
    block: str = ""
    looked: bool = False

    @property
    def text(self) -> str:
        """How people name it."""
        return spell(self.creation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """The orphans of a state.

    Attributes:
        found: They.
        gone: What a look found gone; struck out.
        not_looked: Why the organisation was not asked; empty when it was.
    """

    found: tuple[Orphan, ...]
    gone: tuple[Creation, ...] = ()
    not_looked: str = ""


async def find_orphans(site: Site, ask_of: AskOf | None, *, not_looked: str = "") -> Orphans:
    """Return what runs made that this state does not hold; strike out what it, or another state of ours, holds.

    Args:
        site: The state.
        ask_of: Returns what reads from an organisation; None to look at none.
        not_looked: Why nobody looks.

    Raises:
        StateInvalid: The state cannot be read, so nobody can tell what it holds.
    """
    home = site.home
    over = [each for each in await home.creations.all() if each.state == site.ref.queue]
    over = [each for each in over if await asyncio.to_thread(is_over, home.runs / each.run)]
    if not over:
        return Orphans(found=(), not_looked=not_looked)
    bodies = await _bodies(site)
    left = await _not_held(site, over, bodies)
    if ask_of is None:
        return Orphans(found=tuple(_offered((each, False) for each in left)), not_looked=not_looked)
    kept, gone = await _looked_at(left, ask_of, home)
    still = {each.key for each in await _not_held(site, [each for each, _ in kept], bodies)}
    await home.creations.strike(gone)
    offered = _offered((each, looked) for each, looked in kept if each.key in still)
    return Orphans(found=tuple(offered), gone=tuple(gone), not_looked=not_looked)


async def _not_held(site: Site, creations: list[Creation], bodies: list[bytes | None]) -> list[Creation]:
    """Return what neither this state nor another one in the home holds; strike the rest out."""
    left = creations
    for body in bodies:
        holdings = find_holdings(body)
        if holdings is None:
            raise StateInvalid(
                f"what state {site.ref.queue} holds cannot be read",
                why="OpenTofu encrypted it" if _is_encrypted(body) else "it is damaged",
                fix=command("state", "verify", site.ref.queue),
            )
        held = [each for each in left if holdings.holds(each)]
        await site.home.creations.strike(held)
        struck = {each.key for each in held}
        left = [each for each in left if each.key not in struck]
    return left


def _is_encrypted(body: bytes | None) -> bool:
    from interlock.state import verify_state

    return any(finding.code == ENCRYPTED for finding in verify_state(body or b"{}"))


async def _bodies(site: Site) -> list[bytes | None]:
    """Return this state, and the others of the home: what was made for one may have been imported into another."""
    try:
        bodies: list[bytes | None] = [await site.versions.body(None)]
    except UsageError:  # there is none yet
        bodies = [None]
    for view in await site.home.coordinator.states():
        if view.state != site.ref.queue and (found := await _readable(site.home, view.state)) is not None:
            bodies.append(found)
    return bodies


async def _readable(home: Home, state: str) -> bytes | None:
    """Return another state; None when there is none, or it cannot be read: then it strikes nothing out."""
    try:
        found = await home.archive.current(state)
    except InterlockError:
        return None
    return found[1] if found is not None and find_holdings(found[1]) is not None else None


async def _looked_at(
    creations: Iterable[Creation], ask_of: AskOf, home: Home
) -> tuple[list[tuple[Creation, bool]], list[Creation]]:
    kept: list[tuple[Creation, bool]] = []
    gone: list[Creation] = []
    for number, each in enumerate(creations):
        ask = ask_of(each.place) if number < LOOKS_MAX else None
        found = await look_again(each, ask, now=home.clock.now()) if ask is not None else each
        if found is None:
            gone.append(each)
            continue
        if found != each:
            await home.creations.write(found)
        kept.append((found, ask is not None))
    return kept, gone


def _offered(kept: Iterable[tuple[Creation, bool]]) -> Iterable[Orphan]:
    taken: set[str] = set()
    for creation, looked in kept:
        if not creation.is_importable:
            yield Orphan(creation=creation, looked=looked)
            continue
        is_planned = bool(creation.address) and creation.address not in taken
        address = creation.address if is_planned else free_address(_listed(creation), taken)
        taken.add(address)
        block = import_block(address, creation.import_id)
        yield Orphan(creation=creation, address=address, is_planned=is_planned, block=block, looked=looked)


def _listed(creation: Creation) -> Listed:
    return Listed(type=creation.type, id=creation.id, name=creation.name)


def as_text(orphans: Orphans, state: str) -> str:
    """Return the blocks, with a comment before each, ready for a file of the configuration."""
    return "\n".join(_commented(each, state) for each in orphans.found)


def _commented(orphan: Orphan, state: str) -> str:
    creation = orphan.creation
    lines = [f"# made by run {creation.run} for state {state}, and in no state: {orphan.text}"]
    if creation.doubt and creation.id:
        lines.append("# look at it before you import it: another may have made it")
    if creation.place.api:
        lines.append(f"# in {creation.place.api}, by {creation.place.provider}")
    if not orphan.block:
        lines.append(
            "# no import block: its type is not known" if creation.id else "# no import block: its id is not known"
        )
    elif not orphan.is_planned:
        lines.append(f"# no planned resource has it: write one, or choose another address than {orphan.address}")
    return "\n".join(map(one_line, lines)) + f"\n{orphan.block}"


def as_values(orphans: Orphans) -> dict[str, object]:
    """Return the same as plain values, for `--json`."""
    return {
        "orphans": [_values(each) for each in orphans.found],
        "gone": [{"type": each.type, "name": each.name, "id": each.id} for each in orphans.gone],
        "not_looked": orphans.not_looked,
    }


def _values(orphan: Orphan) -> Mapping[str, object]:
    creation = orphan.creation
    return {
        "type": creation.type,
        "name": creation.name,
        "id": creation.id,
        "import_id": creation.import_id,
        "path": creation.path,
        "address": orphan.address,
        "is_planned": orphan.is_planned,
        "run": creation.run,
        "made_at": creation.at,
        "api": creation.place.api,
        "organisation": creation.place.organisation,
        "provider": creation.place.provider,
        "doubt": creation.doubt,
        "looked": orphan.looked,
        "block": orphan.block,
    }


async def forget(site: Site, words: Iterable[str]) -> tuple[Creation, ...]:
    """Strike out orphans that a person names by id, for instance since they were deleted by hand; return them.

    Raises:
        UsageError: No orphan of the state has such an id.
    """
    every = [each for each in await site.home.creations.all() if each.state == site.ref.queue]
    chosen: list[Creation] = []
    for word in words:
        fitting = [each for each in every if word in (each.id, each.import_id, each.key.rpartition("/")[2])]
        if not fitting:
            raise UsageError(
                f"no orphan of state {site.ref.queue} has the id {word}",
                fix=command("recover", site.ref.queue, "--orphans"),
            )
        chosen += fitting
    await site.home.creations.strike(chosen)
    return tuple(chosen)
