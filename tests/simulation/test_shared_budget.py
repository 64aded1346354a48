"""Several gateways draw from one ledger in virtual time: the budget holds, and most of it is used."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from interlock.gateway.ledger import Turn
from interlock.gateway.sharing import Around, LedgerPlace, SharedBudget, Sharing, shared_in
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
        place = LedgerPlace(records=records, clock=clock, is_far=True)
        around = Around(waiting=lambda: self.demand, turn=lambda: Turn(name=turn, weight=WEIGHTS[turn]))
        self.sharing = Sharing(place, key="gateway/org", process=name, around=around)
        budget = shared_in([self.sharing])("organisation", allowed, window_s, None, clock.monotonic())
        assert isinstance(budget, SharedBudget)
        self.budget, self._clock = budget, clock

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
@pytest.mark.parametrize("allowed", [300, 600])
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
@pytest.mark.parametrize(("turns", "allowed"), [("AD", 120), ("AD", 600), ("AAD", 300), ("ADDD", 300), ("APD", 300)])
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
