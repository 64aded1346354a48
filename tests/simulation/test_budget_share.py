"""Gateways whose runs have a share of the budget draw from one ledger in virtual time: it is kept, and used."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from tests.simulation.test_shared_budget import most_in_a_window

from interlock.gateway.admission import Admission, Ask, Finished, Full, Grant
from interlock.gateway.allotment import Allotment
from interlock.gateway.concurrency import Concurrency
from interlock.gateway.ledger import Turn
from interlock.gateway.rules import Override, Rules, apply_overrides
from interlock.gateway.sharing import Around, LedgerPlace, Sharing, shared_in
from interlock.genesys import rate_limits
from interlock.lock import Priority
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock

ALLOWED, WINDOW_S = 600, 60.0
FOR_S = 240.0
HOLD_S = 8.0


class Process:
    """The gateway of one run, which always has `demand` calls that want to go; each is answered after a while."""

    def __init__(
        self, place: LedgerPlace, name: str, state: str, share: float | None, *, demand: int, priority: Priority
    ) -> None:
        self.sent_s: list[float] = []
        self._clock, self._name, self._state = place.clock, name, state
        self._demand, self._priority = demand, priority
        around = Around(waiting=self._useful, turn=lambda: Turn(name=priority.name, weight=8.0 / (1 + 7 * priority)))
        self.sharing = Sharing(place, key="gateway/org", process=name, around=around)
        overrides = [
            Override(name="token", allowed=100_000, window_s=1.0),
            Override(name="organisation", allowed=ALLOWED, window_s=WINDOW_S),
        ]
        self.admission = Admission(
            Rules(apply_overrides(rate_limits(), overrides)),
            hold_s=HOLD_S,
            concurrency=Concurrency(limit=64, ceiling=64),
            make_budget=shared_in([self.sharing]),
            overridden=[each.name for each in overrides],
            forget_budget=self.sharing.forget,
        )
        now_s = self._clock.monotonic()
        self.admission.open_slot(0, now_s)
        self.allot(share)
        self._needs = self.admission.rules.needs("GET", "/api/v2/users", "")
        self._flying: list[tuple[float, Grant]] = []

    def allot(self, share: float | None) -> None:
        """Let a policy say another share of its state, or none."""
        allotment = None if share is None else Allotment(share=share)
        self.admission.allotments.allot(self._state, allotment, self._clock.monotonic())

    def _useful(self, name: str, lasts_s: float) -> int:
        return self.admission.useful(name, lasts_s, self._clock.monotonic())

    async def step(self, chance: Random) -> None:
        now_s = self._clock.monotonic()
        landed = [each for each in self._flying if each[0] <= now_s]
        for each in landed:
            self._flying.remove(each)
            self.admission.finish(each[1], Finished(status=200), now_s)
        while len(self.admission.turns) + len(self._flying) < self._demand:
            assert not isinstance(self.admission.offer(self._ask(now_s)), Full)
        for grant in self.admission.grants(now_s):
            self.sent_s.append(now_s)
            self._flying.append((now_s + chance.uniform(0.02, 0.3), grant))
        self.admission.expire(now_s)
        await self.sharing._round()

    def _ask(self, now_s: float) -> Ask:
        return Ask(
            flow=f"r/{self._name}",
            priority=self._priority,
            needs=self._needs,
            arrived_s=now_s,
            deadline_s=now_s + HOLD_S,
            state=self._state,
        )


async def play(clock: FakeClock, processes: list[Process], seed: int) -> None:
    chance = Random(seed)
    for _ in range(int(FOR_S / 0.05)):
        for each in chance.sample(processes, len(processes)):
            await each.step(chance)
        await clock.advance(0.05)


def together(*processes: Process) -> list[float]:
    return [at_s for each in processes for at_s in each.sent_s]


@pytest.mark.promise("P7")
@pytest.mark.parametrize("is_far", [False, True])
@pytest.mark.parametrize("beside", [False, True])
async def test_two_processes_of_a_state_hold_its_share_together_alone_and_beside_others(
    is_far: bool, beside: bool
) -> None:
    clock = FakeClock()
    place = LedgerPlace(records=MemoryRecords(clock=clock), clock=clock, is_far=is_far)
    ours = [
        Process(place, name, "prod/a", 0.3, demand=200, priority=priority)
        for name, priority in (("apply", Priority.APPLY), ("plan", Priority.PLAN))
    ]
    others = [Process(place, "other", "prod/b", None, demand=40, priority=Priority.DRIFT)] if beside else []
    await play(clock, [*ours, *others], seed=4)
    share = 0.3 * ALLOWED
    assert most_in_a_window(together(*ours), WINDOW_S) <= share
    assert len(together(*ours)) >= 0.85 * share * FOR_S / WINDOW_S
    assert most_in_a_window(together(*ours, *others), WINDOW_S) <= ALLOWED
    for other in others:  # of the weakest class, and never behind calls that their own share holds back
        assert len(other.sent_s) >= (0.85 if is_far else 0.95) * (ALLOWED - share) * FOR_S / WINDOW_S


@pytest.mark.promise("P7")
@pytest.mark.parametrize("is_far", [False, True])
async def test_a_run_whose_share_is_taken_away_and_given_back_goes_on_within_the_limit(is_far: bool) -> None:
    clock = FakeClock()
    place = LedgerPlace(records=MemoryRecords(clock=clock), clock=clock, is_far=is_far)
    run = Process(place, "apply", "prod/a", 0.3, demand=200, priority=Priority.APPLY)
    sent = [0]
    for share in (0.3, None, 0.3):
        run.allot(share)
        await play(clock, [run], seed=4)
        sent.append(len(run.sent_s))
    capped, free, again = (after - before for before, after in pairwise(sent))
    assert free >= 0.85 * ALLOWED * (FOR_S - WINDOW_S) / WINDOW_S
    for share in (capped, again):
        assert 0.85 * 0.3 * ALLOWED * FOR_S / WINDOW_S <= share <= 0.5 * free
    assert most_in_a_window(run.sent_s, WINDOW_S) <= ALLOWED
