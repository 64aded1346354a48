"""What one run makes, written down as it happens, and what earlier runs made that is in no state. A hand.

Its gateways tell it each call (`place_witness.py`), before it is sent and before its answer is given on; so neither a
killed provider nor a killed supervisor hides an object. What cannot be written down is kept in memory, and never stops
a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from interlock.clock import Clock
from interlock.creations.book import CreationBook, key_of
from interlock.creations.creation import Creation, Place
from interlock.creations.holdings import Holdings, find_holdings
from interlock.errors import InterlockError
from interlock.ids import Ids

if TYPE_CHECKING:  # each run asks what earlier ones left, and few meet Genesys Cloud: what knows that is imported late
    from interlock.creations.looking import Ask
    from interlock.run.place_witness import PlaceWitness
    from interlock.run.planned_creations import PlannedCreation

MAX_OF_RUN = 10_000
"""Creations of one run that are written down; more are only counted."""
QUIET_S = 10.0
"""How long the end of a run waits for answers to calls whose provider is gone: they hold the ids of what was made."""
LOOK_S = 10.0
"""How long the end of a run looks for objects whose answers were lost; `interlock recover --orphans` looks again."""
_LOOKS_MAX = 20


class Repeat(Struct, frozen=True, kw_only=True):
    """An object that a plan would make a second time."""

    planned: PlannedCreation
    creation: Creation


class RunCreations:
    """See the module.

    Args:
        book: Where they are written down.
        run: The run's id.
        state: Its state's name.
        clock: For instants and waits.
        ids: For keys.
        hide: Hides secrets that are known in a text.
        lives: Says whether a run goes on; what that one made may still come into its state.
    """

    def __init__(
        self,
        book: CreationBook,
        *,
        run: str,
        state: str,
        clock: Clock,
        ids: Ids,
        hide: Callable[[str], str],
        lives: Callable[[str], bool],
    ) -> None:
        self._book = book
        self._run = run
        self._state = state
        self._clock = clock
        self._ids = ids
        self._hide = hide
        self._lives = lives
        self._made: dict[str, Creation] = {}
        self._earlier: dict[str, Creation] = {}
        self._unwritten: set[str] = set()
        self._planned: Sequence[PlannedCreation] = ()
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._places: list[PlaceWitness] = []
        self.left_out = 0

    def witness(self, place: Place, aliases: Iterable[str]) -> PlaceWitness:
        """Return what is told of the calls to one organisation.

        Args:
            place: The organisation.
            aliases: Of the provider configurations that lead there; empty for the default one.
        """
        from interlock.run.place_witness import PlaceWitness

        made = PlaceWitness(self, place, frozenset(aliases))
        self._places.append(made)
        return made

    # -- what earlier runs left -------------------------------------------------------------------------------------

    async def begin(
        self, stored: Callable[[], Awaitable[bytes | None]], ask_of: Callable[[Place], Ask | None]
    ) -> tuple[Creation, ...]:
        """Return what earlier runs of this state made that is in no state. Call it while the run holds the state.

        Args:
            stored: Returns the state as it is; asked only when the book has something open.
            ask_of: Returns what reads from an organisation, where what is in doubt is looked for.

        Raises:
            InterlockError: The book or the state cannot be read.
        """
        found = [each for each in await self._book.all() if each.run != self._run and self._is_over(each)]
        if not found:
            return ()
        holdings = find_holdings(await stored())
        held = [each for each in found if holdings is not None and holdings.holds(each)]
        await self._book.strike(held)
        gone = {each.key for each in held}
        self._earlier = {each.key: each for each in found if each.key not in gone}
        if holdings is not None:
            await self._look(self._earlier, holdings, ask_of)
        return self.orphans()

    def orphans(self) -> tuple[Creation, ...]:
        """Return what earlier runs of this state made that is in no state, as `begin` found it."""
        return tuple(each for each in self._earlier.values() if each.state == self._state)

    def _is_over(self, creation: Creation) -> bool:
        """Say whether the run that made it is over: of this state certainly, since this run holds it."""
        return creation.state == self._state or not self._lives(creation.run)

    def expect(self, planned: Sequence[PlannedCreation]) -> tuple[Repeat, ...]:
        """Take note of what the run's plan makes; return what of it exists already and is in no state."""
        self._planned = planned
        return tuple(
            Repeat(planned=each, creation=found) for each in planned if (found := self._find_repeated(each)) is not None
        )

    def _find_repeated(self, planned: PlannedCreation) -> Creation | None:
        places = [each for each in self._places if planned.alias in each.aliases] or self._places
        for each in (*self._earlier.values(), *self._made.values()):
            is_here = each.state == self._state or any(each.place.is_same(place.place) for place in places)
            if planned.name and each.type == planned.type and _is_name(each.name, planned.name) and is_here:
                return each
        return None

    # -- what this run makes ----------------------------------------------------------------------------------------

    def address_of(self, resource_type: str, name: str, aliases: frozenset[str]) -> str:
        """Return where the plan wants an object of this name; empty when that is not certain."""
        taken = {each.address for each in self._made.values()}
        fitting = [each for each in self._planned if each.type == resource_type and each.address not in taken]
        fitting = [each for each in fitting if each.alias in aliases] or fitting
        named = [each for each in fitting if _is_name(each.name, name)]
        chosen = named or [each for each in fitting if not each.name]
        return chosen[0].address if len(chosen) == 1 else ""

    def new(self, place: Place, path: str, *, doubt: str = "") -> Creation:
        """Return a creation of this run of which no more is known yet. It is not written down."""
        return Creation(
            key=key_of(self._run, self._ids.fresh()),
            run=self._run,
            state=self._state,
            place=place,
            path=path,
            at=self._clock.now(),
            doubt=doubt,
        )

    async def write(self, creation: Creation) -> None:
        """Write one down; a book that cannot be written has it later, at the run's end."""
        creation = replace(creation, name=self._hide(creation.name))
        if creation.key in self._earlier:
            self._earlier[creation.key] = creation
        elif creation.key in self._made or len(self._made) < MAX_OF_RUN:
            self._made[creation.key] = creation
        else:
            self.left_out += 1
            return
        try:
            await self._book.write(creation)
            self._unwritten.discard(creation.key)
        except InterlockError:
            self._unwritten.add(creation.key)

    async def strike(self, creations: Iterable[Creation]) -> None:
        """Strike out what was not made after all, is gone, or is in a state."""
        struck = list(creations)
        for each in struck:
            self._made.pop(each.key, None)
            self._earlier.pop(each.key, None)
            self._unwritten.discard(each.key)
        with suppress(InterlockError):  # the next look strikes it out again
            await self._book.strike(struck)

    def find(self, key: str) -> Creation | None:
        """Return what is written down under a key."""
        return self._made.get(key)

    def of_job(self, job: str) -> Creation | None:
        """Return what a job publishes."""
        return next((each for each in self._made.values() if each.job == job), None)

    def at_path(self, path: str, place: Place) -> list[Creation]:
        """Return what is at a path of an organisation, as creations name it: without what begins every path."""
        wanted = path.rstrip("/").lower()
        every = (*self._made.values(), *self._earlier.values())
        return [each for each in every if each.id and each.path.lower() == wanted and each.place.is_same(place)]

    def call_began(self) -> None:
        """A call that may make something is under way."""
        self._under_way += 1
        self._quiet.clear()

    def call_ended(self) -> None:
        """It has ended."""
        self._under_way -= 1
        if not self._under_way:
            self._quiet.set()

    # -- the end of the run -----------------------------------------------------------------------------------------

    async def settle(
        self, stored: Callable[[], Awaitable[bytes | None]], ask_of: Callable[[Place], Ask | None], *, succeeded: bool
    ) -> tuple[Creation, ...]:
        """Strike out what the stored state holds, and return what this run made that is in no state.

        Args:
            stored: Returns the state as it is now.
            ask_of: Returns what reads from an organisation; None when there is no way there.
            succeeded: Terraform came to its end without a fault. Then what it made is in its state, also where that
                cannot be read.

        Raises:
            InterlockError: The state cannot be read.
        """
        await self._await_quiet()
        if not self._made and not self._earlier:
            return ()
        holdings = find_holdings(await stored())
        if holdings is None:
            if succeeded:
                await self.strike(each for each in self._made.values() if not each.doubt)
            return tuple(self._made.values())
        await self.strike(each for each in (*self._made.values(), *self._earlier.values()) if holdings.holds(each))
        for creations in (self._made, self._earlier):
            await self._look(creations, holdings, ask_of)
            await self._strike_repeated(creations, holdings)
        for key in sorted(self._unwritten & set(self._made)):
            await self.write(self._made[key])
        return tuple(self._made.values())

    async def _await_quiet(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await self._quiet.wait()

    async def _look(
        self, creations: Mapping[str, Creation], holdings: Holdings, ask_of: Callable[[Place], Ask | None]
    ) -> None:
        """Look for what is in doubt, for a bounded time."""
        from interlock.creations.looking import look_again

        doubtful = [each for each in creations.values() if each.doubt and each.state == self._state]
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                for each in islice(doubtful, _LOOKS_MAX):
                    ask = ask_of(each.place)
                    found = await look_again(each, ask, now=self._clock.now()) if ask is not None else each
                    if found is None or holdings.holds(found) or self._is_known(found):
                        await self.strike([each])
                    elif found != each:
                        await self.write(found)

    def _is_known(self, creation: Creation) -> bool:
        """Say whether another call made this very object."""
        return any(
            each.key != creation.key and creation.id and (each.type, each.id) == (creation.type, creation.id)
            for each in (*self._made.values(), *self._earlier.values())
        )

    async def _strike_repeated(self, creations: Mapping[str, Creation], holdings: Holdings) -> None:
        """Strike out failed attempts at what was made later, where no look could find a second object."""
        here = [each for each in creations.values() if each.state == self._state]
        doubtful = [each for each in here if each.doubt and not each.id and not each.job]
        await self.strike(each for each in doubtful if holdings.names(each))


def _is_name(one: str, other: str) -> bool:
    return bool(one) and one.casefold() == other.casefold()
