"""The run's turn: its place in the queue, the grant that it is given, its heartbeat, and giving back.

Knows the queue and whoever looks after a silent holder. Knows nothing of Terraform: when the turn is over, and whether
something stays behind, the supervisor says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import Clock
from interlock.coordinator import Coordinator, Standing
from interlock.errors import InterlockError, LeaseLost, WaitTimeout, command
from interlock.lock import Priority, Requested, Stage
from interlock.policy.windows import next_look_s
from interlock.run import settle
from interlock.run.endings import Parting, part
from interlock.run.entries import GrantedEntry, LeaseLostEntry, NoteEntry, RecoveryEntry
from interlock.run.heartbeat import keep_alive
from interlock.run.order import Operation, Order
from interlock.run.summary import pace_s, recent
from interlock.run.surroundings import Rescuer, Seat
from interlock.run.transcript import Journal
from interlock.to_its_end import call_off, to_its_end

if TYPE_CHECKING:
    from interlock.lock import Pause, Waiter
    from interlock.policy.windows import Held
    from interlock.recovery.breaker import Noticed

CANNOT = (InterlockError, OSError)
"""What a hand raises that could not do its part."""

PRIORITY = {
    Operation.PLAN: Priority.PLAN,
    Operation.APPLY: Priority.APPLY,
    Operation.DESTROY: Priority.APPLY,
    Operation.DRIFT: Priority.DRIFT,
    Operation.REFRESH: Priority.APPLY,
    Operation.EXEC: Priority.APPLY,
    Operation.READ: Priority.PLAN,
}
NEXT_S = 0.4
"""How long the first in line waits before it prepares: it became so when the holder was granted, and the start of a
Terraform then would take the processor from the holder's own two."""
_PACE_LIMIT = 40  # runs that the expected start is computed from


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Turn:
    """One run's turn.

    Attributes:
        order: The run.
        coordinator: The queue.
        rescuer: Looks after a holder that seems gone while we wait.
        clock: Ours.
        journal: The run's record.
        runs: The folder of all runs, for how long a turn usually takes.
        on_next: Called when nobody is before us but the holder, and that holds for a moment already.
        on_lost: Called when the grant was taken away.
        on_away: Called when the server was away for longer than the lease.
        check_pause: Refuses to wait for a state whose pause says that nobody will be granted it again.
        hold: Says what holds the run back now, though it may be its turn; None where no policy ever does.
        supersedes: Older previews of the same branch that wait are sent home.
        limit_s: Longest wait that policies allow; None where they say none.
        seat: The grant; None before.
        lost: Why the grant is not current any more; None while it is.
        is_stranded: Something of the run stays behind, so the grant is left to recovery with it.
    """

    order: Order
    coordinator: Coordinator
    rescuer: Rescuer
    clock: Clock
    journal: Journal
    runs: Path
    on_next: Callable[[], None]
    on_lost: Callable[[], None]
    on_away: Callable[[], None]
    check_pause: Callable[[Pause | None], None] = lambda _: None
    hold: Callable[[datetime], Held | None] | None = None
    limit_s: float | None = None
    seat: Seat | None = None
    lost: LeaseLost | None = None
    is_stranded: bool = False
    _attempt: str = ""
    _since_s: float = field(default=0.0, repr=False)
    _preparing: asyncio.Task[None] | None = None
    supersedes: bool = False
    _held: str = ""
    _sending: asyncio.Task[None] | None = None
    _going_first: asyncio.Task[None] | None = None
    _paces: list[float | None] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._attempt = self.coordinator.new_ticket()

    def begin(self) -> None:
        """From now on the run waits."""
        self._since_s = self.clock.monotonic()

    def wait_left_s(self) -> float | None:
        """Return how long the run may still wait; None without a bound, nothing at all when it does not queue."""
        if not self.order.queue:
            return 0.0
        longest_s = self._longest_wait_s()
        if longest_s is None:
            return None
        return max(longest_s - (self.clock.monotonic() - self._since_s), 0.0)

    async def is_open(self) -> bool:
        """Say whether nobody holds and nobody waits, so that the grant will come at once; False where it is unknown."""
        try:
            lock = (await self.coordinator.view(self.order.state)).lock
        except CANNOT:
            return False  # asked for the grant, the queue says what is wrong
        return not (lock.holders or lock.waiters or lock.pause)

    def is_held(self) -> bool:
        """Say whether a policy holds the run back, so that nothing needs to stand by for its turn."""
        return self.hold is not None and self.hold(self.clock.now()) is not None

    async def take(self) -> Seat:
        """Wait for the grant; look after a holder that seems gone meanwhile.

        Raises:
            WaitTimeout: It did not come in time.
            UsageError: It will never come: the state was moved meanwhile.
        """
        held = self.hold(self.clock.now()) if self.hold is not None else None
        self._check_may_wait(held)
        attend = self.rescuer.attend(self.order.state, self._tell_noticed, self._tell_unattended)
        attending = asyncio.create_task(attend)
        holding = asyncio.create_task(self._look_at_hold(self.hold, held)) if self.hold is not None else None
        try:
            grant = await self.coordinator.acquire(
                self.order.state,
                self._request(held),
                timeout_s=self._longest_wait_s(),
                on_change=self._say,
            )
        finally:
            if holding is not None:
                holding.cancel()
            if self._preparing is not None:
                self._preparing.cancel()
            await call_off(attending)
        self.seat = Seat(ticket=grant.ticket, token=grant.token)
        self.journal.change(token=grant.token, held_at=self.clock.now())
        self.journal.tell(GrantedEntry(token=grant.token))
        return self.seat

    def _tell_unattended(self, error: Exception) -> None:
        """A failure to look after a silent holder costs nothing but time; it is said and the wait goes on."""
        self.journal.tell(NoteEntry(text=f"cannot look after the holder: {error}"))

    def _tell_noticed(self, noticed: Noticed) -> None:
        entry = RecoveryEntry(verdict=noticed.verdict, token=noticed.token, run=noticed.run, text=noticed.text)
        self.journal.tell(entry)

    def _longest_wait_s(self) -> float | None:
        limits = [limit for limit in (self.order.wait_s, self.limit_s) if limit is not None]
        return min(limits, default=None)

    def _check_may_wait(self, held: Held | None) -> None:
        """Refuse a run that would not wait, and must.

        Raises:
            WaitTimeout: It is held back.
        """
        if held is not None and not self.order.queue:
            raise WaitTimeout(
                f'state "{self.order.state}" cannot be had now',
                why=held.text,
                fix=command("policies", "show", self.order.state),
            )

    async def _look_at_hold(self, hold: Callable[[datetime], Held | None], held: Held | None) -> None:
        """Tell the queue when the run is held back no longer, or anew: its place stays, and others pass it."""
        self._held = held.text if held is not None else ""
        while True:
            await self.clock.sleep(next_look_s(held, self.clock.now()))
            held = hold(self.clock.now())
            said = held.text if held is not None else ""
            if said == self._held:
                continue
            # It has no place yet, or has the grant; or the store is away: the queue is told again.
            with suppress(*CANNOT):
                await self.coordinator.hold_back(self.order.state, self.order.run, reason=said)

    def _request(self, held: Held | None) -> Requested:
        order = self.order
        return Requested(
            ticket=order.run,
            run=order.run,
            who=order.who,
            info=f"interlock {order.operation.value}" + (f" {order.job}" if order.job else "") + self._mark(),
            priority=PRIORITY[order.operation],
            lease_s=order.lease_s,
            patience_s=order.patience_s,
            queue=order.queue,
            attempt=self._attempt,
            held=held.text if held is not None else "",
        )

    def _mark(self) -> str:
        """Return what previews of one branch are known by in the queue; nothing of other runs is ever superseded."""
        is_preview = self.supersedes and self.order.operation is Operation.PLAN and self.order.branch
        return f" [{self.order.branch}]" if is_preview else ""

    async def _send_home(self, ahead: tuple[Waiter, ...]) -> None:
        """Take out older previews of our branch that still wait: nobody will look at them. Never another class."""
        older = [each for each in ahead if each.priority is Priority.PLAN and each.info.endswith(self._mark())]
        for each in older:
            if each.run:
                with suppress(*CANNOT):  # it has its turn meanwhile, or is not ours to end
                    reason = f"superseded by {self.order.run}"
                    await self.coordinator.withdraw(self.order.state, each.ticket, by=self.order.who, reason=reason)

    def _say(self, standing: Standing) -> None:
        if standing.stage is Stage.WAITING:
            self.check_pause(standing.pause)
            # What the queue has, not what it was told: a server holds a run back by its own clock and policies.
            self._held = standing.waiter.held if standing.waiter is not None else ""
            if self.order.approval and self._going_first is None:
                self._going_first = asyncio.create_task(self._go_first())
            if self._mark() and self._sending is None:
                self._sending = asyncio.create_task(self._send_home(standing.ahead))
            if not self._held and standing.position == 1 and self._preparing is None:
                self._preparing = asyncio.create_task(self._prepare())
            self.journal.tell(settle.standing_entry(standing, self._pace_s(), self.clock.now()))

    async def _go_first(self) -> None:
        """Go before those who wait: persons waited for this plan, and it is stale once somebody else has applied."""
        with suppress(*CANNOT):  # it has the grant already
            by = f"approval of {self.order.approval}"
            await self.coordinator.bump(self.order.state, self.order.run, by=by)

    async def _prepare(self) -> None:
        await self.clock.sleep(NEXT_S)
        self.on_next()

    def _pace_s(self) -> float | None:
        """Return how long a turn usually takes, as it was when we began to wait: a free state needs no look at it."""
        if not self._paces:
            self._paces = [pace_s(recent(self.runs, limit=_PACE_LIMIT, state=self.order.state))]
        return self._paces[0]

    async def keep(self, seat: Seat) -> None:
        """Send heartbeats until cancelled, or until the grant is lost."""
        await keep_alive(
            lambda: self.coordinator.renew(self.order.state, ticket=seat.ticket, token=seat.token),
            every_s=self.order.heartbeat_s,
            clock=self.clock,
            lost=self._lose,
            tell=self.journal.tell,
            # A server that is away this long may have let others believe that we are gone.
            away_after_s=self.order.lease_s if self.order.server else None,
            away=lambda _: self.on_away(),
        )

    def _lose(self, error: LeaseLost) -> None:
        self.lost = error
        self.journal.tell(LeaseLostEntry(why=error.why))
        self.on_lost()

    async def give_back(self) -> None:
        """Leave the queue or release the grant; a failure here is said, not raised: recovery will find us gone."""
        state, seat = self.order.state, self.seat
        parting = part(granted=seat is not None, lease_lost=self.lost is not None, stranded=self.is_stranded)
        try:
            if parting is Parting.WITHDRAW:
                await to_its_end(self.coordinator.withdraw(state, self.order.run, attempt=self._attempt))
            if parting is Parting.RELEASE:
                assert seat is not None
                self.journal.change(released_at=self.clock.now())
                await to_its_end(self.coordinator.release(state, ticket=seat.ticket, token=seat.token))
        except CANNOT as error:
            self.journal.tell(NoteEntry(text=f"the lock could not be given back: {error}"))
