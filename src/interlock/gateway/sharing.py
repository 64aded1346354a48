"""Lets processes share budgets through a record: those of one machine in its store, those of several in a common one.

A hand: the rules are in `ledger.py`. One record holds the ledger of one organisation; a process swaps it a few times a
second while it is busy and not at all while it is idle. In a common store, where each swap is a paid request over a
network, slices last some seconds, and nobody watches the record: what others were refused is seen at the next draw.
A run whose state is in such a store needs a slice of both ledgers for each call. When a store fails nothing is drawn:
the budget holds. When a record is damaged, a new one is begun in which everything is drawn already, for as long as
what was drawn may still count.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, runtime_checkable

from interlock.clock import Clock
from interlock.errors import InterlockError
from interlock.gateway.budget import Budget, BudgetMaker, Place
from interlock.gateway.ledger import (
    FAR,
    NEAR,
    Account,
    Ledger,
    Turn,
    block,
    close,
    draw,
    enough_free_s,
    from_bytes,
    lost_until_s,
    next_free_s,
    pace_wait_s,
    piece_of,
    satisfied,
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
_FAR_PACED_S = 1.0  # the same two for a common store; below `FAR.asks_s`
_FAR_DRY_S = 1.2
_FAR_SOON_S = 0.8  # before that it is not asked again: a refused draw is a paid request too
_FAR_DRAW_SHARE = 6  # a slice of some seconds carries what goes in that time
_CLOSE_S = 2.0  # a slice of a common store that is used up is closed with the next draw, or after so long


_Now: TypeAlias = tuple[float, float]  # monotonic, and of the clock on which all agree
_Later: TypeAlias = list[Callable[[], None]]  # what to do once the ledger is stored


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPlace:
    """Where a ledger is kept.

    Attributes:
        records: The store.
        clock: Time; its wall clock is that on which all users of the store agree.
        is_far: Several machines use it, and each request is paid.
    """

    records: RecordStore
    clock: Clock
    is_far: bool = False


@runtime_checkable
class TellsTime(Protocol):
    """A store whose users do not share a machine, and so take the time from it.

    Attributes:
        shared_clock: The clock on which all of them agree.
    """

    shared_clock: Clock


def near_place(records: RecordStore, own: Clock) -> LedgerPlace:
    """Return where a ledger is that a machine's processes share, or a server's clients.

    A client whose clock is three seconds ahead would else leave the others nothing: the pace of the account stands at
    an instant that has not come for them, and what they used counts as free before it is.
    """
    return LedgerPlace(records=records, clock=records.shared_clock if isinstance(records, TellsTime) else own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a ledger is used for.

    Attributes:
        changed: Called when somebody may go who could not before.
        waiting: How many of the requests that wait now could use a slice of a budget which lasts so many seconds.
        turn: The class for which is drawn now; None when it does not matter.
        unnamed: Called when something is wanted and the organisation is not known.
    """

    changed: Callable[[], None] = lambda: None
    waiting: Callable[[str, float], int] = lambda _name, _lasts_s: 0
    turn: Callable[[], Turn | None] = lambda: None
    unnamed: Callable[[], None] = lambda: None


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


class Share:
    """What one budget has of one ledger.

    Args:
        hungry: Called when it needs a slice.
        owed: Requests that were sent before anything could be drawn; the next slices pay for them.
    """

    __slots__ = ("_hungry", "_leases", "_of_place", "dry_until_s", "owed", "published_block_s", "wants")

    def __init__(self, hungry: Callable[[], None], *, owed: int = 0) -> None:
        self.owed = owed
        self.wants = 0
        self.dry_until_s = 0.0
        self.published_block_s = 0.0
        self._hungry = hungry
        self._leases: list[_Lease] = []
        self._of_place: dict[int, _Lease] = {}

    def wait_s(self, cost: int, now_s: float) -> float:
        """Return the seconds until `cost` may go; a missing slice is asked for and is there in a moment."""
        if self._lease_for(cost, now_s) is not None:
            return 0.0
        if now_s < self.dry_until_s:
            return self.dry_until_s - now_s
        self.wants = max(self.wants, cost)
        self._hungry()
        return _ROUND_S

    def take(self, place: Place, now_s: float) -> None:
        """Use a slice for a request; without one (no limit is known) nothing is used."""
        lease = self._lease_for(place.cost, now_s)
        if lease is not None:
            lease.left -= place.cost
            lease.used += place.cost
            lease.flying += place.cost
            self._of_place[place.serial] = lease

    def settle(self, place: Place, now_s: float) -> None:
        """The request was answered."""
        lease = self._of_place.pop(place.serial, None)
        if lease is not None:
            lease.flying -= place.cost
            lease.answered_s = now_s

    def free(self, place: Place) -> None:
        """The request never left."""
        lease = self._of_place.pop(place.serial, None)
        if lease is not None:
            lease.flying -= place.cost
            lease.used -= place.cost
            lease.left += place.cost

    def adopt(self, lease: _Lease) -> None:
        """A slice was drawn."""
        paid = min(self.owed, lease.left)
        self.owed -= paid
        lease.left -= paid
        lease.used += paid
        self._leases.append(lease)
        self.wants = 0

    def refuse(self, until_s: float) -> None:
        """Nothing could be drawn; whoever still waits asks again then."""
        self.dry_until_s = until_s
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


class SharedBudget(Budget):
    """A budget whose window is shared: it also needs a slice of each ledger. Without a known limit it needs none."""

    __slots__ = ("shares",)

    def __init__(
        self,
        name: str,
        *,
        allowed: int | None,
        window_s: float,
        now_s: float,
        ceiling: int | None,
        shares: tuple[Share, ...],
    ) -> None:
        super().__init__(name, allowed=allowed, window_s=window_s, now_s=now_s, ceiling=ceiling)
        self.shares = shares

    def wait_s(self, cost: int, now_s: float) -> float:
        """See `Budget.wait_s`; missing slices are asked for and are there in a moment."""
        wait_s = super().wait_s(cost, now_s)
        if self.allowed is None or wait_s > 0.0:
            return wait_s
        return max(share.wait_s(self._clamped(cost), now_s) for share in self.shares)

    def take(self, cost: int, now_s: float) -> Place:
        """See `Budget.take`."""
        place = super().take(cost, now_s)
        if self.allowed is not None:
            for share in self.shares:
                share.take(place, now_s)
        return place

    def settle(self, place: Place, now_s: float) -> None:
        """See `Budget.settle`."""
        super().settle(place, now_s)
        for share in self.shares:
            share.settle(place, now_s)

    def free(self, place: Place) -> None:
        """See `Budget.free`."""
        super().free(place)
        for share in self.shares:
            share.free(place)


def shared_in(sharings: Sequence[Sharing]) -> BudgetMaker:
    """Return what makes budgets that are shared in all these ledgers; a `budget.BudgetMaker`."""

    def make(name: str, allowed: int | None, window_s: float, ceiling: int | None, now_s: float) -> Budget:
        budget = SharedBudget(
            name,
            allowed=allowed,
            window_s=window_s,
            now_s=now_s,
            ceiling=ceiling,
            shares=tuple(each.new_share() for each in sharings),
        )
        for sharing, share in zip(sharings, budget.shares, strict=True):
            sharing.attend(budget, share)
        return budget

    return make


class Sharing:
    """Shares the budgets of one organisation with the other users of a store.

    Args:
        place: Where the ledger is.
        key: Names the organisation; empty while it is not known, when nothing is drawn, see `name`.
        process: Unique among the processes that ever shared this ledger.
        around: What it is used for.
    """

    def __init__(self, place: LedgerPlace, *, key: str, process: str, around: Around) -> None:
        self.swaps = 0
        self.is_far = place.is_far
        self.fault = ""
        self._lost_until_s = 0.0
        self._store = place.records
        self._clock = place.clock
        self._key = key
        self._process = process
        self._around = around
        self._tempo = FAR if place.is_far else NEAR
        self._last: Record | None = None
        self._shares: dict[str, tuple[SharedBudget, Share]] = {}
        self._leaving: set[str] = set()
        self._number = 0
        self._owed = 0
        self._nudge = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def new_share(self) -> Share:
        """Return a new budget's part in this ledger."""
        return Share(self._nudge.set, owed=self._owed)

    def owe(self, cost: int) -> None:
        """Count requests that were sent before the ledger was known; else each process exceeds the limit by them."""
        self._owed += cost
        for _, share in self._shares.values():
            share.owed += cost

    def attend(self, budget: SharedBudget, share: Share) -> None:
        """Draw for a budget from now on."""
        self._leaving.discard(budget.name)
        self._shares[budget.name] = (budget, share)

    def forget(self, name: str) -> None:
        """A budget is used no more: draw nothing for it once its slices are closed. Any name may be told."""
        if name in self._shares:
            self._leaving.add(name)
            self._nudge.set()

    def name(self, key: str) -> None:
        """The organisation is known, or another one: draw from its ledger from now on."""
        self._key, self._last = key, None
        self._nudge.set()

    def open(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._draw_and_close(), name="gateway sharing")]
        if not self.is_far:  # each look at a common store is paid
            self._tasks.append(asyncio.create_task(self._follow(), name="gateway sharing, others"))

    async def aclose(self) -> None:
        """Stop, and give back what is not used."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        now_s = self._clock.monotonic()
        for _, share in self._shares.values():
            for lease in share.finished(float("inf")):
                lease.until_s = now_s
        with contextlib.suppress(InterlockError):
            await self._round(is_last=True)

    async def _draw_and_close(self) -> None:
        while True:
            if any(share.is_open() for _, share in self._shares.values()):
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
            key = self._key
            try:
                if not key:
                    await self._clock.sleep(_RETRY_S)
                    continue
                record = await self._store.watch(key, seen=seen, timeout_s=_WATCH_S)
            except InterlockError:
                await self._clock.sleep(_RETRY_S)
                continue
            if key != self._key:
                seen = None
                continue
            if record is not None and record.version != seen:
                self._adopt_blocks(from_bytes(record.value, now_s=self._clock.now().timestamp()))
                self._around.changed()
            seen = None if record is None else record.version

    async def _round(self, *, is_last: bool = False) -> None:
        """Close what is finished, publish refusals, draw what is wanted: in one swap, if there is anything to say."""
        self._let_leave()
        if not self._has_work(is_last=is_last):
            return
        if not self._key:
            self._around.unnamed()
            return
        key = self._key
        record = self._last if self._last is not None else await self._read()
        for _ in range(SWAPS_MAX):
            ledger, done = self._next(record)
            value = to_bytes(ledger)
            try:
                expected = None if record is None else record.version
                version = await self._store.swap(key, expected=expected, value=value)
            except Mismatch as mismatch:
                record = mismatch.current
                continue
            except InterlockError:
                self._last = None
                raise
            self.swaps += 1
            self._lost_until_s = lost_until_s(ledger, self._clock.now().timestamp())
            done()
            if key == self._key and self.is_far:  # near by, others nearly always wrote meanwhile
                self._last = Record(key=key, version=version, value=value)
            self._adopt_blocks(ledger)
            self._around.changed()
            return
        self._last = None

    def _let_leave(self) -> None:
        for name in [name for name in self._leaving if not self._shares[name][1].is_open()]:
            self._leaving.discard(name)
            del self._shares[name]

    async def _read(self) -> Record | None:
        try:
            return await self._store.get(self._key)
        except RecordDamaged:
            anew = Ledger(lost_at_s=self._clock.now().timestamp())
            with contextlib.suppress(Mismatch):  # another process was first
                await self._store.replace_damaged(self._key, to_bytes(anew))
            return await self._store.get(self._key)

    def _has_work(self, *, is_last: bool) -> bool:
        now_s = self._clock.monotonic()
        return any(
            share.wants or self._closable(share, now_s, is_last=is_last) or self._unpublished(budget, share, now_s)
            for budget, share in self._shares.values()
            if budget.allowed is not None or budget.blocked_s(now_s)
        )

    def _has_part(self, budget: SharedBudget, share: Share, now_s: float) -> bool:
        """Say whether a round is about a budget too. A server has many, of all states that it ever had runs of."""
        if budget.allowed is None and not budget.blocked_s(now_s):
            return False
        return bool(share.wants or share.finished(now_s) or self._unpublished(budget, share, now_s))

    def _closable(self, share: Share, now_s: float, *, is_last: bool) -> bool:
        """Say whether slices are to be closed by themselves; in a common store the next draw does it for nothing."""
        since_s = 0.0 if is_last or not self.is_far else _CLOSE_S
        return any(now_s - each.answered_s >= since_s for each in share.finished(now_s))

    def _unpublished(self, budget: SharedBudget, share: Share, now_s: float) -> bool:
        return now_s + budget.blocked_s(now_s) > share.published_block_s + 0.1 and budget.blocked_s(now_s) > 0

    def _next(self, record: Record | None) -> tuple[Ledger, Callable[[], None]]:
        """Return the ledger to store, and what to do here once it is stored."""
        now_s, wall_s = self._clock.monotonic(), self._clock.now().timestamp()
        ledger = Ledger() if record is None else from_bytes(record.value, now_s=wall_s)
        later: _Later = []
        for budget, share in self._shares.values():
            if not self._has_part(budget, share, now_s):
                continue
            ledger = settle_account(
                ledger,
                budget.name,
                allowed=budget.allowed or 1_000_000,
                window_s=budget.window_s,
                now_s=wall_s,
                is_far=self.is_far,
            )
            ledger = self._close(ledger, budget.name, share, (now_s, wall_s), later)
            ledger = self._publish(ledger, (budget, share), (now_s, wall_s), later)
            ledger = self._draw(ledger, (budget, share), (now_s, wall_s), later)

        def done() -> None:
            for each in later:
                each()

        return ledger, done

    def _close(self, ledger: Ledger, name: str, share: Share, now: _Now, later: _Later) -> Ledger:
        now_s, wall_s = now
        for lease in share.finished(now_s):
            answered_s = wall_s - (now_s - lease.answered_s) if lease.used else wall_s
            ledger = close(ledger, name, owner=lease.owner, used=lease.used, answered_s=answered_s)
            later.append(lambda lease=lease: share.forget(lease))  # type: ignore[misc]
        return ledger

    def _publish(self, ledger: Ledger, shared: tuple[SharedBudget, Share], now: _Now, later: _Later) -> Ledger:
        budget, share = shared
        now_s, wall_s = now
        if not self._unpublished(budget, share, now_s):
            return ledger
        blocked_s = budget.blocked_s(now_s)
        later.append(lambda: setattr(share, "published_block_s", now_s + blocked_s))
        return block(ledger, budget.name, until_s=wall_s + blocked_s)

    def _draw(self, ledger: Ledger, shared: tuple[SharedBudget, Share], now: _Now, later: _Later) -> Ledger:
        budget, share = shared
        now_s, wall_s = now
        if not share.wants or budget.allowed is None:
            return ledger
        self._number += 1
        most = max(budget.allowed // (_FAR_DRAW_SHARE if self.is_far else _DRAW_SHARE), 1)
        lasts_s = usable_s(budget.window_s, self._tempo)
        all_of_it = share.wants * max(self._around.waiting(budget.name, lasts_s), 1)
        want = max(share.wants, min(all_of_it, most))
        owner = f"{self._process}/{self._number}"
        turn = self._around.turn()
        if turn is not None:
            turn = replace(turn, process=self._process)
        ledger, piece = draw(ledger, budget.name, owner=owner, want=want, now_s=wall_s, turn=turn, least=share.wants)
        if piece is None:
            account = ledger.accounts.get(budget.name)
            least = share.wants if account is None else max(share.wants, piece_of(account, turn, want, wall_s))
            dry_until_s = now_s + self._dry_s(account, least, wall_s)
            later.append(lambda: share.refuse(dry_until_s))
        else:
            if turn is not None and piece.amount >= all_of_it:
                ledger = satisfied(ledger, budget.name, turn, now_s=wall_s)
            lease = _Lease(owner=owner, left=piece.amount, until_s=now_s + lasts_s, answered_s=now_s)
            later.append(lambda: share.adopt(lease))
        return ledger

    def _dry_s(self, account: Account | None, least: int, wall_s: float) -> float:
        """Return how soon an account that gave nothing is asked again."""
        soon_s, paced_s = (_FAR_DRY_S, _FAR_PACED_S) if self.is_far else (_DRY_S, _PACED_S)
        free_at_s = None if account is None else next_free_s(account, wall_s)
        dry_s = soon_s if free_at_s is None else min(max(free_at_s - wall_s, 0.001), soon_s)
        if self.is_far:  # one more request for a call or two is not worth its price, nor one that cannot succeed
            enough_s = 0.0 if account is None else enough_free_s(account, wall_s, least)
            dry_s = min(max(enough_s, _FAR_SOON_S), soon_s)
            soon = dry_s if account is None else pace_wait_s(account, wall_s, least)
            return max(dry_s, min(soon, paced_s))
        return dry_s if account is None else max(dry_s, min(pace_wait_s(account, wall_s, least), paced_s))

    def _adopt_blocks(self, ledger: Ledger) -> None:
        now_s, wall_s = self._clock.monotonic(), self._clock.now().timestamp()
        for name, (budget, share) in self._shares.items():
            account = ledger.accounts.get(name)
            left_s = 0.0 if account is None else account.blocked_until_s - wall_s
            if left_s > budget.blocked_s(now_s):
                budget.close_for(left_s, now_s)
                share.published_block_s = now_s + left_s
