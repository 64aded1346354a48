"""Lets the processes of one machine share budgets, through a record in their store.

A hand: the rules are in `ledger.py`. One record holds the ledger of one organisation; a process swaps it a few times a
second while it is busy and not at all while it is idle. When the store fails nothing is drawn: the budget holds.
When that record is damaged, a new one is begun in which everything is drawn already, for as long as what was drawn
may still count.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from interlock.clock import Clock
from interlock.errors import InterlockError
from interlock.gateway.budget import Budget, Place
from interlock.gateway.ledger import (
    Ledger,
    Turn,
    block,
    close,
    draw,
    from_bytes,
    lost_until_s,
    next_free_s,
    pace_wait_s,
    settle_account,
    to_bytes,
    usable_s,
)
from interlock.store import Mismatch, Record, RecordDamaged, RecordStore

SWAPS_MAX = 20
"""Attempts of one swap against other processes before the round is given up."""
_ROUND_S = 0.02  # how often an open slice is looked at
_WATCH_S = 5.0
_RETRY_S = 0.5  # after a store that failed
_DRAW_SHARE = 20  # a slice is at most this part of an allowance
_PACED_S = 0.2  # longest pause before asking again when the pace gives nothing; well below `ledger.ASKS_S`
_DRY_S = 0.05  # how soon an empty account is tried again when it does not say when it frees


_LOST = (
    "the record of shared budgets could not be read and was begun anew; "
    "what was sent before is unknown, so calls wait until it counts no more"
)


@dataclass(slots=True, eq=False)
class _Lease:
    """A slice of ours."""

    owner: str
    left: int
    until_s: float
    used: int = 0
    flying: int = 0
    answered_s: float = 0.0


class SharedBudget(Budget):
    """A budget whose window is shared: it also needs a slice of the ledger. Without a known limit it needs none."""

    __slots__ = ("_hungry", "_leases", "_of_place", "dry_until_s", "published_block_s", "wants")

    def __init__(
        self,
        name: str,
        *,
        allowed: int | None,
        window_s: float,
        now_s: float,
        ceiling: int | None,
        hungry: Callable[[], None],
    ) -> None:
        super().__init__(name, allowed=allowed, window_s=window_s, now_s=now_s, ceiling=ceiling)
        self.wants = 0
        self.dry_until_s = 0.0
        self.published_block_s = 0.0
        self._hungry = hungry
        self._leases: list[_Lease] = []
        self._of_place: dict[int, _Lease] = {}

    def wait_s(self, cost: int, now_s: float) -> float:
        """See `Budget.wait_s`; a missing slice is asked for and is there in a moment."""
        wait_s = super().wait_s(cost, now_s)
        if self.allowed is None or wait_s > 0.0 or self._lease_for(self._clamped(cost), now_s) is not None:
            return wait_s
        if now_s < self.dry_until_s:
            return self.dry_until_s - now_s
        self.wants = max(self.wants, self._clamped(cost))
        self._hungry()
        return _ROUND_S

    def take(self, cost: int, now_s: float) -> Place:
        """See `Budget.take`."""
        lease = self._lease_for(self._clamped(cost), now_s) if self.allowed is not None else None
        place = super().take(cost, now_s)
        if lease is not None:
            lease.left -= place.cost
            lease.used += place.cost
            lease.flying += place.cost
            self._of_place[place.serial] = lease
        return place

    def settle(self, place: Place, now_s: float) -> None:
        """See `Budget.settle`."""
        super().settle(place, now_s)
        lease = self._of_place.pop(place.serial, None)
        if lease is not None:
            lease.flying -= place.cost
            lease.answered_s = now_s

    def free(self, place: Place) -> None:
        """See `Budget.free`."""
        super().free(place)
        lease = self._of_place.pop(place.serial, None)
        if lease is not None:
            lease.flying -= place.cost
            lease.used -= place.cost
            lease.left += place.cost

    def adopt(self, lease: _Lease) -> None:
        """A slice was drawn."""
        self._leases.append(lease)
        self.wants = 0

    def finished(self, now_s: float) -> list[_Lease]:
        """Return the slices that can be closed: used up or over, and all their requests answered."""
        return [each for each in self._leases if not each.flying and (each.left < 1 or now_s >= each.until_s)]

    def forget(self, lease: _Lease) -> None:
        """A slice was closed."""
        self._leases.remove(lease)

    def is_open(self) -> bool:
        """Say whether it has slices."""
        return bool(self._leases)

    def _lease_for(self, cost: int, now_s: float) -> _Lease | None:
        return next((each for each in self._leases if each.left >= cost and now_s < each.until_s), None)


class Sharing:
    """Shares the budgets of one organisation with the other processes of the machine.

    Args:
        store: Where the ledger is.
        key: Names the organisation.
        process: Unique among the processes that ever shared this ledger.
        clock: Time; the wall clock is the machine's.
        changed: Called when somebody may go who could not before.
        waiting: How many requests wait now.
        turn: The class for which is drawn now; None when it does not matter.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        key: str,
        process: str,
        clock: Clock,
        changed: Callable[[], None],
        waiting: Callable[[], int],
        turn: Callable[[], Turn | None] = lambda: None,
    ) -> None:
        self.swaps = 0
        self.fault = ""
        self._lost_until_s = 0.0
        self._store = store
        self._key = key
        self._process = process
        self._clock = clock
        self._changed = changed
        self._waiting = waiting
        self._turn = turn
        self._budgets: dict[str, SharedBudget] = {}
        self._number = 0
        self._nudge = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def make_budget(self, name: str, allowed: int | None, window_s: float, ceiling: int | None, now_s: float) -> Budget:
        """Make a budget that is shared; an `admission.BudgetMaker`."""
        budget = SharedBudget(
            name, allowed=allowed, window_s=window_s, now_s=now_s, ceiling=ceiling, hungry=self._nudge.set
        )
        self._budgets[name] = budget
        return budget

    def open(self) -> None:
        """Begin."""
        self._tasks = [
            asyncio.create_task(self._draw_and_close(), name="gateway sharing"),
            asyncio.create_task(self._follow(), name="gateway sharing, others"),
        ]

    async def aclose(self) -> None:
        """Stop, and give back what is not used."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        now_s = self._clock.monotonic()
        for budget in self._budgets.values():
            for lease in budget.finished(float("inf")):
                lease.until_s = now_s
        with contextlib.suppress(InterlockError):
            await self._round()

    async def _draw_and_close(self) -> None:
        while True:
            if any(budget.is_open() for budget in self._budgets.values()):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ROUND_S):  # not wait_for, see tokens.py
                        await self._nudge.wait()
            else:
                await self._nudge.wait()
            self._nudge.clear()
            try:
                await self._round()
                self.fault = _LOST if self._clock.now().timestamp() < self._lost_until_s else ""
            except InterlockError as error:
                self.fault = str(error)
                await self._clock.sleep(_RETRY_S)

    async def _follow(self) -> None:
        """Learn of others' refusals at once."""
        seen: int | None = None
        while True:
            try:
                record = await self._store.watch(self._key, seen=seen, timeout_s=_WATCH_S)
            except InterlockError:
                await self._clock.sleep(_RETRY_S)
                continue
            if record is not None and record.version != seen:
                self._adopt_blocks(from_bytes(record.value, now_s=self._clock.now().timestamp()))
                self._changed()
            seen = None if record is None else record.version

    async def _round(self) -> None:
        """Close what is finished, publish refusals, draw what is wanted: in one swap, if there is anything to say."""
        if not self._has_work():
            return
        record = await self._read()
        for _ in range(SWAPS_MAX):
            ledger, done = self._next(record)
            try:
                expected = None if record is None else record.version
                await self._store.swap(self._key, expected=expected, value=to_bytes(ledger))
            except Mismatch as mismatch:
                record = mismatch.current
                continue
            self.swaps += 1
            self._lost_until_s = lost_until_s(ledger, self._clock.now().timestamp())
            done()
            self._adopt_blocks(ledger)
            self._changed()
            return

    async def _read(self) -> Record | None:
        try:
            return await self._store.get(self._key)
        except RecordDamaged:
            anew = Ledger(lost_at_s=self._clock.now().timestamp())
            with contextlib.suppress(Mismatch):  # another process was first
                await self._store.replace_damaged(self._key, to_bytes(anew))
            return await self._store.get(self._key)

    def _has_work(self) -> bool:
        now_s = self._clock.monotonic()
        return any(
            budget.wants or budget.finished(now_s) or self._unpublished(budget, now_s)
            for budget in self._budgets.values()
            if budget.allowed is not None or budget.blocked_s(now_s)
        )

    def _unpublished(self, budget: SharedBudget, now_s: float) -> bool:
        return now_s + budget.blocked_s(now_s) > budget.published_block_s + 0.1 and budget.blocked_s(now_s) > 0

    def _next(self, record: Record | None) -> tuple[Ledger, Callable[[], None]]:
        """Return the ledger to store, and what to do here once it is stored."""
        now_s, wall_s = self._clock.monotonic(), self._clock.now().timestamp()
        ledger = Ledger() if record is None else from_bytes(record.value, now_s=wall_s)
        later: list[Callable[[], None]] = []
        for budget in self._budgets.values():
            if budget.allowed is None and not budget.blocked_s(now_s):
                continue
            ledger = settle_account(
                ledger,
                budget.name,
                allowed=budget.allowed or 1_000_000,
                window_s=budget.window_s,
                now_s=wall_s,
            )
            ledger = self._close(ledger, budget, now_s, wall_s, later)
            ledger = self._publish(ledger, budget, now_s, wall_s, later)
            ledger = self._draw(ledger, budget, now_s, wall_s, later)

        def done() -> None:
            for each in later:
                each()

        return ledger, done

    def _close(
        self, ledger: Ledger, budget: SharedBudget, now_s: float, wall_s: float, later: list[Callable[[], None]]
    ) -> Ledger:
        for lease in budget.finished(now_s):
            answered_s = wall_s - (now_s - lease.answered_s) if lease.used else wall_s
            ledger = close(ledger, budget.name, owner=lease.owner, used=lease.used, answered_s=answered_s)
            later.append(lambda lease=lease: budget.forget(lease))  # type: ignore[misc]
        return ledger

    def _publish(
        self, ledger: Ledger, budget: SharedBudget, now_s: float, wall_s: float, later: list[Callable[[], None]]
    ) -> Ledger:
        if not self._unpublished(budget, now_s):
            return ledger
        blocked_s = budget.blocked_s(now_s)
        later.append(lambda: setattr(budget, "published_block_s", now_s + blocked_s))
        return block(ledger, budget.name, until_s=wall_s + blocked_s)

    def _draw(
        self, ledger: Ledger, budget: SharedBudget, now_s: float, wall_s: float, later: list[Callable[[], None]]
    ) -> Ledger:
        if not budget.wants or budget.allowed is None:
            return ledger
        self._number += 1
        most = max(budget.allowed // _DRAW_SHARE, 1)
        want = max(budget.wants, min(budget.wants * max(self._waiting(), 1), most))
        owner = f"{self._process}/{self._number}"
        ledger, piece = draw(
            ledger, budget.name, owner=owner, want=want, now_s=wall_s, turn=self._turn(), least=budget.wants
        )
        if piece is None:
            account = ledger.accounts.get(budget.name)
            free_at_s = None if account is None else next_free_s(account, wall_s)
            dry_s = _DRY_S if free_at_s is None else min(max(free_at_s - wall_s, 0.001), _DRY_S)
            if account is not None:
                dry_s = max(dry_s, min(pace_wait_s(account, wall_s, budget.wants), _PACED_S))
            later.append(lambda: setattr(budget, "dry_until_s", now_s + dry_s))
        if piece is not None:
            lease = _Lease(owner=owner, left=piece.amount, until_s=now_s + usable_s(budget.window_s), answered_s=now_s)
            later.append(lambda: budget.adopt(lease))
        return ledger

    def _adopt_blocks(self, ledger: Ledger) -> None:
        now_s, wall_s = self._clock.monotonic(), self._clock.now().timestamp()
        for name, account in ledger.accounts.items():
            budget = self._budgets.get(name)
            left_s = account.blocked_until_s - wall_s
            if budget is not None and left_s > budget.blocked_s(now_s):
                budget.close_for(left_s, now_s)
                budget.published_block_s = now_s + left_s
