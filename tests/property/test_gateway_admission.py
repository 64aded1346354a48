"""Laws of admission over random traffic: limits hold, nobody waits without bound, no room stays idle."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.gateway.admission import Admission, Ask, Finished, Full, Grant
from interlock.gateway.allotment import Allotment
from interlock.gateway.budget import Budget
from interlock.gateway.concurrency import Concurrency, may_send
from interlock.gateway.rules import Override, Rules, apply_overrides
from interlock.genesys import rate_limits
from interlock.lock import Priority

WINDOW_S = 10.0
HOLD_S = 3.0
PATHS = (("GET", "users"), ("POST", "routing/queues"), ("PUT", "architect/ivrs/123"), ("GET", "flows"))


Plan = Callable[[float, str, object], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a state does: `parallel` workers, each with `calls` calls one after the other."""

    priority: Priority
    parallel: int
    calls: int
    starts_s: float
    state: str = ""


@dataclass(slots=True)
class World:
    """Clients, network and time around an admission. Everything follows from the seed."""

    admission: Admission
    seed: int
    now_s: float = 0.0
    arrivals: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    done_at: dict[tuple[str, int, int], float] = field(default_factory=dict)
    asked_at: dict[tuple[str, int, int], float] = field(default_factory=dict)
    returns: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)

    def run(self, loads: dict[str, Load], until_s: float) -> None:
        chance = random.Random(self.seed)
        numbers = itertools.count()
        agenda: list[tuple[float, int, str, object]] = []
        look_s = -1.0

        def plan(at_s: float, kind: str, what: object) -> None:
            heapq.heappush(agenda, (at_s, next(numbers), kind, what))

        for name, load in loads.items():
            for worker in range(load.parallel):
                plan(load.starts_s, "ask", (name, worker, 0))
        while agenda and agenda[0][0] <= until_s:
            self.now_s, _, kind, what = heapq.heappop(agenda)
            if kind == "ask":
                self._offer(loads, what)  # type: ignore[arg-type]
            elif kind == "answer":
                self._answered(loads, what, plan)  # type: ignore[arg-type]
            for grant in self.admission.grants(self.now_s):
                self._send(grant, chance, plan)
            for entry, wait_s in self.admission.expire(self.now_s):
                assert 1 <= wait_s <= 180
                call = self._calls.pop(id(entry))
                self.returns[call] += 1
                plan(self.now_s + wait_s, "ask", call)
            self._assert_nothing_idle()
            wake_s = self.admission.next_event_s(self.now_s)
            if wake_s is not None and not self.now_s < look_s <= wake_s:
                look_s = max(wake_s, self.now_s + 1e-6)
                plan(look_s, "look", None)

    def _answered(self, loads: dict[str, Load], what: tuple[Grant, tuple[str, int, int]], plan: Plan) -> None:
        grant, call = what
        self.admission.finish(grant, Finished(status=200), self.now_s)
        self._next_call(loads, call, plan)

    _calls: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    _keep: list[object] = field(default_factory=list)

    def _offer(self, loads: dict[str, Load], call: tuple[str, int, int]) -> None:
        name, worker, number = call
        method, path = PATHS[(worker + number) % len(PATHS)]
        self.asked_at.setdefault(call, self.now_s)
        entry = self.admission.offer(
            Ask(
                flow=name,
                priority=loads[name].priority,
                needs=self.admission.rules.needs(method, f"/api/v2/{path}", ""),
                arrived_s=self.now_s,
                deadline_s=self.now_s + HOLD_S,
                memory=repr(call).encode(),
                state=loads[name].state,
            )
        )
        assert not isinstance(entry, Full)
        self._calls[id(entry)] = call
        self._keep.append(entry)

    def _send(self, grant: Grant, chance: random.Random, plan: Plan) -> None:
        call = self._calls.pop(id(grant.entry))
        out_s, back_s = chance.uniform(0.0, 0.4), chance.uniform(0.0, 0.4)
        for name in grant.places:
            key = f"token-{grant.slot}" if name == "token" else name
            self.arrivals[key].append(self.now_s + out_s)
            self.arrivals[f"{grant.entry.item.state} {key}"].append(self.now_s + out_s)
        self.served[call[0]] += 1
        plan(self.now_s + out_s + back_s, "answer", (grant, call))

    def _next_call(self, loads: dict[str, Load], call: tuple[str, int, int], plan: Plan) -> None:
        name, worker, number = call
        self.done_at[call] = self.now_s
        if number + 1 < loads[name].calls:
            plan(self.now_s, "ask", (name, worker, number + 1))

    def _is_kept(self, ask: Ask, wholes: list[tuple[Budget, int]]) -> bool:
        return self.admission.allotments.wait_s(ask.state, wholes, self.now_s) > 0.0

    def _assert_nothing_idle(self) -> None:
        """Whoever waits lacks something: a token with room, a budget with room, or a place in flight."""
        admission = self.admission
        if not may_send(admission.concurrency, admission.flying):
            return
        for entry in admission.turns.entries():
            slots = [each for number, each in admission.slots.items() if number in admission.ready_slots()]
            wholes = [(admission.budgets[name], cost) for name, cost in entry.item.needs]
            if not any(
                slot.room(self.now_s) >= 1.0 - 1e-9 and not self._is_kept(entry.item, [(slot, 1)]) for slot in slots
            ) or self._is_kept(entry.item, wholes):
                continue
            assert not all(admission.budgets[name].fits(cost, self.now_s) for name, cost in entry.item.needs)


def new_admission(slots: int, token: int, organisation: int, in_flight: int) -> Admission:
    overrides = [
        Override(name="token", allowed=token, window_s=WINDOW_S),
        Override(name="organisation", allowed=organisation, window_s=WINDOW_S),
        Override(name="ivr-update", allowed=max(token // 3, 1), window_s=WINDOW_S),
    ]
    admission = Admission(
        Rules(apply_overrides(rate_limits(), overrides)),
        hold_s=HOLD_S,
        concurrency=Concurrency(limit=in_flight, ceiling=in_flight),
        overridden=[each.name for each in overrides],
    )
    for slot in range(slots):
        admission.open_slot(slot, 0.0)
    return admission


def most_in_any_window(arrivals: list[float]) -> int:
    ordered, most, first = sorted(arrivals), 0, 0
    for last, at_s in enumerate(ordered):
        while ordered[first] <= at_s - WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


loads = st.lists(
    st.builds(
        Load,
        priority=st.sampled_from(Priority),
        parallel=st.integers(1, 8),
        calls=st.integers(1, 12),
        starts_s=st.floats(0.0, 8.0),
        state=st.sampled_from(["", "a", "b"]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.promise("P7")
@settings(max_examples=40, deadline=None)
@given(
    runs=loads,
    slots=st.integers(1, 3),
    token=st.integers(3, 30),
    organisation=st.integers(5, 60),
    in_flight=st.integers(1, 16),
    seed=st.integers(0, 2**32),
)
def test_limits_hold_everybody_is_served_and_no_room_stays_idle(
    runs: list[Load], slots: int, token: int, organisation: int, in_flight: int, seed: int
) -> None:
    world = World(new_admission(slots, token, organisation, in_flight), seed)
    named = {f"r/{number}": load for number, load in enumerate(runs)}
    calls = sum(load.parallel * load.calls for load in runs)
    ivr = max(token // 3, 1)
    slowest = min(slots * token, organisation, ivr * len(PATHS)) / (WINDOW_S + 0.8)
    world.run(named, until_s=8.0 + 20 * (calls / slowest + 200))
    assert len(world.done_at) == calls  # nobody waits without bound
    for slot in range(slots):
        assert most_in_any_window(world.arrivals[f"token-{slot}"]) <= token
    assert most_in_any_window(world.arrivals["organisation"]) <= organisation
    assert most_in_any_window(world.arrivals["ivr-update"]) <= ivr


@pytest.mark.promise("P7")
def test_under_lasting_overload_every_call_is_served_within_a_few_times_the_ideal() -> None:
    world = World(new_admission(1, 20, 1000, 64), seed=7)
    named = {f"r/{number}": Load(Priority.APPLY, 10, 5, 0.0) for number in range(4)}
    world.run(named, until_s=4000.0)
    assert len(world.done_at) == 200
    ideal_s = 200 / (20 / WINDOW_S)
    assert max(world.done_at.values()) < 2 * ideal_s


@pytest.mark.promise("P7")
@pytest.mark.parametrize(("allowed", "parallel"), [(1, 10), (1, 40), (5, 40), (30, 60)])
@pytest.mark.parametrize("by_share", [False, True])
def test_a_small_budget_is_used_and_no_call_is_told_to_come_back_more_than_a_few_times(
    allowed: int, parallel: int, by_share: bool
) -> None:
    """The provider gives a call up after 20 times, and the run fails."""
    admission = new_admission(1, 10_000, 100 if by_share else allowed, 64)
    if by_share:
        admission.allotments.allot("a", Allotment(share=allowed / 100), 0.0)
    world = World(admission, seed=3)
    world.run({"r/a": Load(Priority.APPLY, parallel, 6, 0.0, "a")}, until_s=20_000.0)
    assert len(world.done_at) == 6 * parallel
    assert max(world.done_at.values()) <= 1.15 * (6 * parallel / allowed * WINDOW_S)
    assert max(world.returns.values()) <= 5


@pytest.mark.promise("P7")
def test_a_drift_scan_beside_an_apply_costs_it_at_most_its_weight() -> None:
    def finish_s(*, with_drift: bool) -> float:
        world = World(new_admission(2, 30, 10_000, 64), seed=3)
        named = {"r/apply": Load(Priority.APPLY, 12, 20, 0.0)}
        if with_drift:
            named["r/drift"] = Load(Priority.DRIFT, 40, 30, 0.0)
        world.run(named, until_s=4000.0)
        return max(at_s for (flow, _, _), at_s in world.done_at.items() if flow == "r/apply")

    alone_s, beside_s = finish_s(with_drift=False), finish_s(with_drift=True)
    assert beside_s <= alone_s * (1 + 1 / 8) + 2.0  # its weight, and one hold of rounding


@pytest.mark.promise("P7")
def test_equal_runs_get_equal_shares_whatever_their_parallelism() -> None:
    world = World(new_admission(2, 30, 10_000, 64), seed=5)
    world.run({"r/a": Load(Priority.APPLY, 40, 100, 0.0), "r/b": Load(Priority.APPLY, 10, 100, 0.0)}, until_s=60.0)
    assert world.served["r/a"] / world.served["r/b"] < 1.3


@pytest.mark.promise("P7")
@settings(max_examples=60, deadline=None)
@given(
    runs=loads,
    slots=st.integers(1, 3),
    token=st.integers(3, 30),
    organisation=st.integers(5, 60),
    shares=st.fixed_dictionaries({"a": st.floats(0.01, 1.0), "b": st.sampled_from([0.1, 0.29, 0.5, 1.0])}),
    seed=st.integers(0, 2**32),
)
def test_a_states_runs_never_take_more_than_its_share_of_any_budget_and_all_are_served(
    runs: list[Load], slots: int, token: int, organisation: int, shares: dict[str, float], seed: int
) -> None:
    admission = new_admission(slots, token, organisation, in_flight=16)
    for state, share in shares.items():
        admission.allotments.allot(state, Allotment(share=share), 0.0)
    world = World(admission, seed)
    calls = sum(load.parallel * load.calls for load in runs)
    world.run({f"r/{number}": load for number, load in enumerate(runs)}, until_s=8.0 + calls * (WINDOW_S + 1) * 20)
    assert len(world.done_at) == calls  # a share so small that no call fits is one call a window
    limits = {f"token-{slot}": token for slot in range(slots)}
    limits |= {"organisation": organisation, "ivr-update": max(token // 3, 1)}
    for name, allowed in limits.items():
        assert most_in_any_window(world.arrivals[name]) <= allowed
        for state, share in shares.items():
            assert most_in_any_window(world.arrivals[f"{state} {name}"]) <= max(allowed * share + 1e-6, 1)


@pytest.mark.promise("P7")
@pytest.mark.parametrize("others", [0, 10])
def test_a_state_gets_its_share_while_alone_and_no_more_and_others_do_not_wait_behind_it(others: int) -> None:
    admission = new_admission(1, 10_000, 100, 64)
    admission.allotments.allot("a", Allotment(share=0.3), 0.0)
    world = World(admission, seed=11)
    loads = {"r/a": Load(Priority.APPLY, 60, 1000, 0.0, "a")}
    if others:
        loads["r/b"] = Load(Priority.DRIFT, others, 1000, 0.0, "b")
    world.run(loads, until_s=100.0)
    assert most_in_any_window(world.arrivals["a organisation"]) <= 30
    assert world.served["r/a"] >= 0.85 * 30 * 100 / WINDOW_S
    if others:  # all the rest, though an apply waits all the time
        assert world.served["r/b"] >= 0.85 * 70 * 100 / WINDOW_S


def press(admission: Admission, state: str, begin_s: float, end_s: float) -> list[float]:
    """Return when calls of a state went that always wants more and is answered at once."""
    sent: list[float] = []
    needs = admission.rules.needs("GET", "/api/v2/users", "")
    for step in range(int((end_s - begin_s) / 0.05)):
        now_s = begin_s + step * 0.05
        while admission.turns.waiting_of("r/a") < 20:
            ask = Ask(
                flow="r/a",
                priority=Priority.APPLY,
                needs=needs,
                arrived_s=now_s,
                deadline_s=now_s + HOLD_S,
                state=state,
            )
            assert not isinstance(admission.offer(ask), Full)
        for grant in admission.grants(now_s):
            sent.append(now_s)
            admission.finish(grant, Finished(status=200), now_s)
        admission.expire(now_s)
    return sent


@pytest.mark.promise("P7")
def test_a_share_follows_its_limit_and_a_changed_policy_at_once() -> None:
    admission = new_admission(1, 10_000, 100, 64)
    admission.allotments.allot("a", Allotment(share=0.5), 0.0)
    before = press(admission, "a", 0.0, 30.0)
    assert most_in_any_window(before) == 50
    admission.budgets["organisation"].announce(40, 30.0)
    press(admission, "a", 30.0, 40.1)
    assert most_in_any_window(press(admission, "a", 40.1, 70.0)) == 20
    admission.allotments.allot("a", Allotment(share=0.1), 70.0)
    assert most_in_any_window(press(admission, "a", 80.1, 110.0)) == 4
    admission.allotments.allot("a", None, 110.0)
    assert most_in_any_window(press(admission, "a", 120.1, 150.0)) == 40
