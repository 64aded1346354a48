"""Several gateways draw from one ledger in virtual time: the budget holds, and most of it is used."""

from __future__ import annotations

from collections import Counter

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

    def __init__(self, records: MemoryRecords, clock: FakeClock, name: str, turn: str, allowed: int) -> None:
        self.demand = 30
        self.sent_s: list[float] = []
        place = LedgerPlace(records=records, clock=clock, is_far=True)
        around = Around(waiting=lambda: self.demand, turn=lambda: Turn(name=turn, weight=WEIGHTS[turn]))
        self.sharing = Sharing(place, key="gateway/org", process=name, around=around)
        budget = shared_in([self.sharing])("organisation", allowed, 60.0, None, clock.monotonic())
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
    assert max(late - early for early, late in zip(sorted(sent), sorted(sent)[1:], strict=False)) <= 8.0
    assert min(len(each.sent_s) for each in machines) >= 0.5 * len(sent) / count
    assert sum(each.sharing.swaps for each in machines) <= count * FOR_S * 1.1


@pytest.mark.promise("P7")
async def test_an_apply_and_a_drift_scan_on_two_machines_share_by_their_weights() -> None:
    clock = FakeClock()
    records = MemoryRecords(clock=clock)
    apply, drift = (Machine(records, clock, name, name, 300) for name in ("APPLY", "DRIFT"))
    await play([apply, drift], clock, FOR_S)
    got = Counter({"apply": len(apply.sent_s), "drift": len(drift.sent_s)})
    assert 3 <= got["apply"] / got["drift"] <= 9, got  # slices are coarse; within one machine it is 8


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
