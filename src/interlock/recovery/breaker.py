"""Walks the procedure with a coordinator: suspect, gather, save what the dead run left, break, tell.

Used by every waiting run of embedded mode (`attend`), so a queue stands behind a dead run for little more than a lease.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from msgspec import Struct

from interlock.clock import Clock
from interlock.coordinator import Coordinator
from interlock.errors import InterlockError, LeaseLost, fill_in
from interlock.lock import Broken, Holder
from interlock.recovery.evidence import Evidence
from interlock.recovery.verdict import Conclusion, judge
from interlock.recovery.witnesses import process
from interlock.recovery.witnesses.heartbeat import Watch, testify
from interlock.recovery.witnesses.process import Recorded
from interlock.to_its_end import to_its_end

_PAUSE_S = 1.0  # between two looks while nobody holds, or nothing is known of who does
_LOOKS_PER_LEASE = 8  # a dead run is found at most an eighth of a lease after its lease stood still

_REASON_CHARS = 1000  # of a reason that is kept in the lock's record


class Noticed(Struct, frozen=True, kw_only=True):
    """What was found out about a holder while somebody waits for its state.

    Attributes:
        verdict: What the evidence allows, or `broken` when its grant was taken away.
        token: Its fencing token.
        run: Its run.
        text: The reasons, or what was saved; for people.
    """

    verdict: str
    token: int
    run: str
    text: str


Tell = Callable[[Noticed], None]
Cannot = Callable[[Exception], None]
"""Told why nobody can be looked after, once for each time."""


Log = Callable[[Holder, str, str], AbstractAsyncContextManager[None]]
"""Writes down that a grant is broken, before and behind that: its holder, why it may be, and what was saved."""


class _Seen(Struct):
    """What somebody who attends has seen so far.

    Attributes:
        watch: How long which lease stood still.
        said: What was told of which grant.
        pause_s: Until the next look.
    """

    watch: Watch
    said: set[tuple[int, str]]
    pause_s: float = _PAUSE_S


class Leftovers(Protocol):
    """What a dead run left, and how to save it."""

    def recorded(self, run: str, ticket: str = "") -> Recorded:
        """Return what is written down of a run's processes, and what the kernel says of them.

        Args:
            run: The run; empty for a command that is none.
            ticket: The place that such a command took.
        """
        ...

    async def ask_to_stop(self, run: str) -> str:
        """Ask the Terraform of a run whose supervisor is gone to stop, once in its life, so that it leaves its state.

        Looks for a moment whether somebody else did, and then leaves it alone.

        Returns:
            What was done, for people; empty when there was nothing to do or it was done before.
        """
        ...

    async def salvage(self, state: str, holder: Holder) -> str:
        """Store the state that the run could not save, under its own grant; return what was done, for people.

        Raises:
            InterlockError: It may not follow the current state; it is kept.
        """
        ...

    def close(self, state: str, holder: Holder) -> None:
        """Record how the run ended, now that its grant is broken."""
        ...


class Breaker(Struct, frozen=True, kw_only=True):
    """Recovers locks of dead runs.

    Attributes:
        coordinator: Where the locks are.
        leftovers: What dead runs left.
        clock: Our own clock.
        by: Who acts, for the record.
        log: Where it is written down; None where whoever called writes it, or a server.
    """

    coordinator: Coordinator
    leftovers: Leftovers
    clock: Clock
    by: str
    log: Log | None = None

    async def attend(self, state: str, tell: Tell, cannot: Cannot = lambda _: None) -> None:
        """Watch the holders of `state` until cancelled, and break the grants of those that are gone.

        What fails is tried again: a run waits through an outage, and its holder may die after that.
        """
        seen, failing = _Seen(Watch(), set()), False
        while True:
            try:
                await self._look(state, tell, seen)
                failing = False
            except (InterlockError, OSError) as error:
                if not failing:
                    cannot(error)
                failing = True
            await self.clock.sleep(seen.pause_s)

    async def _look(self, state: str, tell: Tell, seen: _Seen) -> None:
        """Look at each holder once."""
        view = await self.coordinator.view(state)
        pauses = [holder.lease.lease_s / _LOOKS_PER_LEASE for holder in view.lock.holders]
        seen.pause_s = min(pauses, default=_PAUSE_S)
        for holder in view.lock.holders:
            still_s = seen.watch.look(holder, monotonic_s=self.clock.monotonic())
            if still_s >= holder.lease.lease_s:
                await self._examine(state, holder, still_s, tell, seen.said)

    async def _examine(
        self, state: str, holder: Holder, still_s: float, tell: Tell, said: set[tuple[int, str]]
    ) -> None:
        verdict = judge(self.gather(state, holder, still_s))
        word = verdict.conclusion.value
        if (holder.token, word) not in said:
            said.add((holder.token, word))
            why = fill_in("; ".join(verdict.reasons + verdict.missing), state)
            text = f"holder {holder.run or holder.who} is {word} ({verdict.conclusion.meaning}): {why}"
            tell(Noticed(verdict=word, token=holder.token, run=holder.run, text=text))
        if verdict.conclusion is Conclusion.GONE:
            await self.recover(state, holder, reason="; ".join(verdict.reasons), tell=tell)
        elif verdict.conclusion is Conclusion.ALIVE and (done := await self.leftovers.ask_to_stop(holder.run)):
            tell(Noticed(verdict=word, token=holder.token, run=holder.run, text=done))

    def gather(self, state: str, holder: Holder, still_s: float) -> list[Evidence]:
        """Return the evidence about one holder."""
        now = self.clock.now()
        heartbeat = testify(holder, still_s, source=f"lock record of {state}", now=now)
        return [heartbeat, *process.collect(self.leftovers.recorded(holder.run, holder.ticket), now=now)]

    async def recover(
        self, state: str, holder: Holder, *, reason: str, tell: Tell = lambda _noticed: None
    ) -> str | None:
        """Save what a dead run left, then break exactly its grant.

        Call it only for a holder that is provably gone, or for which a person takes responsibility.

        Args:
            state: State name.
            holder: Whose grant.
            reason: Why it may be broken.
            tell: Told when it is broken.

        Returns:
            What was saved, for people; None when the grant had ended already: somebody else was quicker.
        """
        try:
            saved = await self.leftovers.salvage(state, holder)
        except LeaseLost:
            return None
        except InterlockError as error:
            saved = f"its unsaved state could not be stored and is kept: {error}"
        # Who waits for the state can have it before we hear that it is free, and calls us off: the break would stand in
        # no journal, and the dead run would have no end.
        is_broken = await to_its_end(self._break(state, holder, reason, saved, tell))
        return saved if is_broken else None

    async def _break(self, state: str, holder: Holder, reason: str, saved: str, tell: Tell) -> bool:
        """Break a grant, and write down how its run ended; say whether it was still there."""
        broken = Broken(ticket=holder.ticket, token=holder.token, by=self.by, reason=reason[:_REASON_CHARS])
        try:
            async with nullcontext() if self.log is None else self.log(holder, reason, saved):
                await self.coordinator.break_(state, broken)
                self.leftovers.close(state, holder)
                tell(Noticed(verdict="broken", token=holder.token, run=holder.run, text=saved))
        except LeaseLost:
            return False
        return True
