"""Several gateways draw from one ledger in virtual time: the budget holds, and most of it is used."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from random import Random
from typing import cast

import pytest

from interlock.gateway.budget import Place
from interlock.gateway.ledger import Turn
from interlock.gateway.sharing import Around, LedgerPlace, SharedBudget, Sharing, near_place, shared_in
from interlock.home.server_books import ServersClock
from interlock.store import Record, RecordStore
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock

WEIGHTS = {"APPLY": 8.0, "PLAN": 3.0, "DRIFT": 1.0}
STEP_S = 0.2
FOR_S = 240.0


class Machine:
    """One gateway on a machine of its own: always `demand` calls want to go, and answers take one step.

    Its clock of the service is wrong by `skew_s`.
    """

    def __init__(
        self, records: MemoryRecords, clock: FakeClock, name: str, turn: str, allowed: int, window_s: float = 60.0
    ) -> None:
        self.demand = 30
        self.sent_s: list[float] = []
        self._named = (name, turn, allowed, window_s)
        self._clock = clock
        self.keep(LedgerPlace(records=records, clock=clock, is_far=True))

    def keep(self, place: LedgerPlace) -> None:
        """Share a ledger that is there."""
        name, turn, allowed, window_s = self._named
        around = Around(waiting=lambda _name, _lasts_s: self.demand, turn=lambda: Turn(name=turn, weight=WEIGHTS[turn]))
        self.sharing = Sharing(place, key="gateway/org", process=name, around=around)
        budget = shared_in([self.sharing])("organisation", allowed, window_s, None, self._clock.monotonic())
        assert isinstance(budget, SharedBudget)
        self.budget = budget

    async def step(self) -> None:
        now_s = self._clock.monotonic()
        for _ in range(self.demand):
            if not self.budget.fits(1, now_s):
                break
            self.sent_s.append(now_s)
            self.budget.settle(self.budget.take(1, now_s), now_s)
        await self.sharing._round()


async def play(machines: list[Machine], clock: FakeClock, for_s: float) -> None:
    for _ in range(int(for_s / STEP_S)):
        for each in machines:
            await each.step()
        await clock.advance(STEP_S)


def most_in_a_window(sent_s: list[float], window_s: float = 60.0) -> int:
    sent_s = sorted(sent_s)
    first = most = 0
    for last, at_s in enumerate(sent_s):
        while at_s - sent_s[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def longest_silence(sent_s: list[float]) -> float:
    return max(late - early for early, late in pairwise(sorted(sent_s)))


def got(machines: list[Machine], names: list[str], begin_s: float, end_s: float) -> Counter[str]:
    """Count the calls of each class between two instants after the first call of all."""
    first_s = min(at_s for each in machines for at_s in each.sent_s)
    counts: Counter[str] = Counter()
    for name, each in zip(names, machines, strict=True):
        counts[name] += sum(begin_s <= at_s - first_s < end_s for at_s in each.sent_s)
    return counts


@pytest.mark.promise("P7")
@pytest.mark.parametrize("allowed", [300, pytest.param(600, marks=pytest.mark.slow)])
@pytest.mark.parametrize("count", [1, 2, 5])
async def test_machines_with_one_ledger_stay_within_a_sliding_limit_and_use_most_of_it(
    count: int, allowed: int
) -> None:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    machines = [Machine(records, clock, f"m{number}", "PLAN", allowed) for number in range(count)]
    await play(machines, clock, FOR_S)
    sent = [at_s for each in machines for at_s in each.sent_s]
    assert most_in_a_window(sent) <= allowed
    assert len(sent) >= 0.85 * FOR_S / 60.0 * allowed
    assert longest_silence(sent) <= 4.0
    assert min(len(each.sent_s) for each in machines) >= 0.5 * len(sent) / count
    assert sum(each.sharing.swaps for each in machines) <= count * FOR_S * 2


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    ("turns", "allowed"),
    [("AD", 120), ("AD", 600), ("AAD", 300), pytest.param("ADDD", 300, marks=pytest.mark.slow), ("APD", 300)],
)
async def test_classes_on_several_machines_share_by_their_weights_within_seconds(turns: str, allowed: int) -> None:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    names = [next(each for each in WEIGHTS if each.startswith(letter)) for letter in turns]
    machines = [Machine(records, clock, f"m{number}", name, allowed) for number, name in enumerate(names)]
    await play(machines, clock, FOR_S)
    whole = got(machines, names, 0.0, FOR_S)
    assert 7 <= whole["APPLY"] / whole["DRIFT"] <= 9, whole
    if "PLAN" in whole:
        assert 2.2 <= whole["APPLY"] / whole["PLAN"] <= 3.2, whole
    for begin_s in range(0, int(FOR_S), 60):
        part = got(machines, names, begin_s, begin_s + 60)
        assert part["DRIFT"] <= part["APPLY"] / 8 + 0.04 * allowed, part  # one slice more than its share
    sent = [at_s for each in machines for at_s in each.sent_s]
    assert most_in_a_window(sent) <= allowed
    assert longest_silence(sent) <= (4.0 if allowed >= 300 else 6.0)


@pytest.mark.promise("P7")
async def test_a_drift_scan_alone_has_everything_until_an_apply_comes_and_then_its_share_within_seconds() -> None:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    drift, apply = (Machine(records, clock, name, name, 300) for name in ("DRIFT", "APPLY"))
    await play([drift], clock, 100.0)
    assert len(drift.sent_s) >= 0.85 * 300 * 100 / 60
    came_s = clock.monotonic()
    await play([drift, apply], clock, 60.0)
    soon = {
        name: sum(at_s < came_s + 20 for at_s in each.sent_s if at_s >= came_s)
        for name, each in (("drift", drift), ("apply", apply))
    }
    assert soon["apply"] >= 4 * soon["drift"], soon
    assert min(apply.sent_s) - came_s <= 4.0


@pytest.mark.promise("P7")
async def test_machines_share_a_short_window_too() -> None:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    machines = [Machine(records, clock, f"m{number}", "APPLY", 120, 12.0) for number in range(2)]
    await play(machines, clock, 96.0)
    sent = [at_s for each in machines for at_s in each.sent_s]
    assert most_in_a_window(sent, 12.0) <= 120
    assert len(sent) >= 0.7 * 120 * 96 / 12
    assert min(len(each.sent_s) for each in machines) >= 0.4 * len(sent)


async def test_an_idle_machine_asks_nothing_of_a_common_ledger() -> None:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    machine = Machine(records, clock, "m", "PLAN", 300)
    await play([machine], clock, 5.0)
    machine.demand = 0
    await play([machine], clock, 10.0)
    before = machine.sharing.swaps
    await play([machine], clock, 120.0)
    assert machine.sharing.swaps == before


class Distant:
    """The store of one process: each request to it takes a while."""

    def __init__(self, records: MemoryRecords, clock: FakeClock, latency_s: float) -> None:
        self._records, self._clock, self._latency_s = records, clock, latency_s

    async def get(self, key: str) -> Record | None:
        await self._clock.sleep(self._latency_s)
        return await self._records.get(key)

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        await self._clock.sleep(self._latency_s)
        return await self._records.swap(key, expected=expected, value=value)


class Replica:
    """A gateway of one server among several on one database: `calls` runs call again as soon as they are answered."""

    def __init__(
        self, records: MemoryRecords, clock: FakeClock, name: str, turn: str, *, latency_s: float, calls: int, s: float
    ) -> None:
        self.sent_s: list[float] = []
        self._flying: list[tuple[float, Place]] = []
        self._calls, self._answer_s, self._clock = calls, s, clock
        place = LedgerPlace(records=cast("RecordStore", Distant(records, clock, latency_s)), clock=clock)
        waiting = Around(
            waiting=lambda _name, _lasts_s: self._calls - len(self._flying),
            turn=lambda: Turn(name=turn, weight=WEIGHTS[turn]),
        )
        self.sharing = Sharing(place, key="gateway/org", process=name, around=waiting)
        self.budget = shared_in([self.sharing])("organisation", 200, 20.0, None, clock.monotonic())
        self._round: asyncio.Task[None] | None = None

    def step(self) -> None:
        now_s = self._clock.monotonic()
        while self._flying and self._flying[0][0] <= now_s:
            self.budget.settle(self._flying.pop(0)[1], now_s)
        while len(self._flying) < self._calls and self.budget.fits(1, now_s):
            self.sent_s.append(now_s)
            self._flying.append((now_s + self._answer_s, self.budget.take(1, now_s)))
        if self._round is None or self._round.done():
            self._round = asyncio.ensure_future(self.sharing._round())


async def play_replicas(*more: tuple[str, float, int, float]) -> tuple[list[float], list[int]]:
    """Return the share of the limit that was used in each window, and what each replica got, in a minute."""
    clock = FakeClock()
    records, chance = MemoryRecords(clock=clock), Random(5)
    replicas = [
        Replica(records, clock, f"r{number}", turn, latency_s=latency_s, calls=calls, s=answer_s)
        for number, (turn, latency_s, calls, answer_s) in enumerate(more)
    ]
    for _ in range(int(60 / 0.02)):
        for each in chance.sample(replicas, len(replicas)):
            each.step()
        await clock.advance(0.02)
    sent = sorted(at_s for each in replicas for at_s in each.sent_s)
    assert most_in_a_window(sent, 20.0) <= 200
    windows = [sum(sent[0] + 20 * number <= at_s < sent[0] + 20 * (number + 1) for at_s in sent) for number in (0, 1)]
    return [count / 200 for count in windows], [len(each.sent_s) for each in replicas]


@pytest.mark.slow
@pytest.mark.promise("P7")
@pytest.mark.parametrize("latency_s", [0.005, 0.03])
async def test_two_replicas_use_all_of_a_limit_and_the_nearer_one_takes_no_more_than_its_half(latency_s: float) -> None:
    used, got = await play_replicas(("APPLY", 0.005, 20, 0.05), ("APPLY", latency_s, 20, 0.05))
    assert min(used) >= 0.98, used
    assert min(got) >= 0.45 * sum(got), got


@pytest.mark.slow
@pytest.mark.promise("P7")
@pytest.mark.parametrize("turns", [("DRIFT", "APPLY"), ("APPLY", "APPLY")])
async def test_a_run_of_few_calls_at_another_replica_leaves_the_rest_to_who_can_use_it(turns: tuple[str, str]) -> None:
    used, got = await play_replicas((turns[0], 0.003, 20, 0.05), (turns[1], 0.003, 1, 0.4))
    assert min(used) >= 0.98, used
    assert got[1] >= 80, got  # it calls twice a second


@pytest.mark.slow
@pytest.mark.promise("P7")
async def test_an_apply_and_a_drift_scan_at_two_replicas_share_by_their_weights_and_lose_nothing() -> None:
    used, got = await play_replicas(("DRIFT", 0.003, 20, 0.05), ("APPLY", 0.02, 20, 0.05))
    assert min(used) >= 0.98, used
    assert 6.5 <= got[1] / got[0] <= 9, got


class AtAServer:
    """The records of a server, as a client of it has them whose clock is wrong."""

    def __init__(self, records: MemoryRecords, clock: FakeClock, *, by_s: float) -> None:
        self.shared_clock = ServersClock(clock.skewed(by_s=by_s))
        self._records, self._clock = records, clock

    async def get(self, key: str) -> Record | None:
        self.shared_clock.heard(self._clock.now().timestamp())
        return await self._records.get(key)

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        self.shared_clock.heard(self._clock.now().timestamp())
        return await self._records.swap(key, expected=expected, value=value)


@pytest.mark.promise("P7")
@pytest.mark.parametrize("by_s", [-10.0, pytest.param(3.0, marks=pytest.mark.slow), 10.0])
async def test_a_client_of_a_server_whose_clock_is_wrong_takes_its_part_and_no_more(by_s: float) -> None:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    right, wrong = (Machine(records, clock, name, "PLAN", 600) for name in ("server", "client"))
    right.keep(near_place(records, clock))
    wrong.keep(near_place(cast("RecordStore", AtAServer(records, clock, by_s=by_s)), clock.skewed(by_s=by_s)))
    await play([right, wrong], clock, 120.0)
    assert most_in_a_window(right.sent_s + wrong.sent_s) <= 600
    assert min(len(right.sent_s), len(wrong.sent_s)) >= 0.9 * max(len(right.sent_s), len(wrong.sent_s))
