"""Every wish in every phase; the instants are those of a clock that the test sets."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.run.interrupts import BURST_S, STANDS_S, Action, Cause, Wishes, respond
from interlock.run.phases import HOLDING, STEPS, Phase, may_step

FIRST = {
    Phase.PREPARING: Action.LEAVE,
    Phase.QUEUED: Action.LEAVE,
    Phase.PLANNING: Action.STOP,
    Phase.AWAITING: Action.DECLINE,
    Phase.APPLYING: Action.STOP,
    Phase.SETTLING: Action.IGNORE,
    Phase.ENDED: Action.IGNORE,
}
RUNNING = (Phase.PLANNING, Phase.APPLYING)
LATER: dict[Cause, tuple[Action, Action]] = {
    Cause.SIGINT: (Action.WARN, Action.KILL),
    Cause.CANCELLED: (Action.WARN, Action.KILL),
    Cause.SIGTERM: (Action.WARN, Action.IGNORE),
    Cause.SIGHUP: (Action.WARN, Action.IGNORE),
    Cause.FRONT_END_GONE: (Action.IGNORE, Action.IGNORE),
    Cause.LEASE_LOST: (Action.IGNORE, Action.IGNORE),
    Cause.SERVER_AWAY: (Action.IGNORE, Action.IGNORE),
}
"""While Terraform runs: what a second wish means that is not a burst, and a third after the warning has stood."""


def tell(phase: Phase, *wishes: tuple[Cause, float]) -> list[Action]:
    """Return what each of these wishes means, at its second."""
    actions, so_far = [], Wishes()
    for cause, at_s in wishes:
        action, so_far = respond(phase, cause, so_far, at_s)
        actions.append(action)
    return actions


@pytest.mark.promise("P9")
def test_the_tables_name_every_phase_and_every_cause() -> None:
    assert set(FIRST) == set(Phase)
    assert set(LATER) == set(Cause)


@pytest.mark.promise("P9")
@pytest.mark.parametrize(("phase", "cause"), list(product(Phase, Cause)))
def test_the_first_wish_of_every_cause_in_every_phase(phase: Phase, cause: Cause) -> None:
    assert tell(phase, (cause, 0.0)) == [FIRST[phase]]


@pytest.mark.promise("P9")
@pytest.mark.parametrize(("first", "later", "phase"), list(product(Cause, Cause, RUNNING)))
def test_later_wishes_of_every_cause_after_every_first_one(first: Cause, later: Cause, phase: Phase) -> None:
    second_s, third_s = BURST_S, BURST_S + STANDS_S
    warned = (Cause.SIGINT, second_s)
    assert tell(phase, (first, 0.0), (later, second_s)) == [Action.STOP, LATER[later][0]]
    assert tell(phase, (first, 0.0), warned, (later, third_s)) == [Action.STOP, Action.WARN, LATER[later][1]]


@pytest.mark.promise("P9")
@given(st.lists(st.tuples(st.sampled_from(list(Cause)), st.floats(0, BURST_S * 0.999)), max_size=20))
def test_a_burst_is_one_wish_whatever_it_is_made_of(burst: list[tuple[Cause, float]]) -> None:
    ordered = sorted(burst, key=lambda wish: wish[1])
    actions = tell(Phase.APPLYING, *((cause, at_s - ordered[0][1]) for cause, at_s in ordered))
    assert actions == [Action.STOP, *[Action.IGNORE] * (len(burst) - 1)][: len(burst)]


@pytest.mark.promise("P9")
@given(st.lists(st.tuples(st.sampled_from(list(Cause)), st.floats(0, 4)), max_size=30))
def test_only_a_person_who_could_read_the_warning_ever_kills(steps: list[tuple[Cause, float]]) -> None:
    now_s, wishes, told = 0.0, Wishes(), list[tuple[Action, Cause, float]]()
    for cause, wait_s in steps:
        now_s += wait_s
        action, wishes = respond(Phase.APPLYING, cause, wishes, now_s)
        told.append((action, cause, now_s))
        if action is Action.KILL:
            warned_s = next(at_s for action, _, at_s in told if action is Action.WARN)
            assert now_s - warned_s >= STANDS_S
            assert wait_s >= BURST_S
            assert cause in (Cause.SIGINT, Cause.CANCELLED)
    assert sum(action is Action.STOP for action, _, _ in told) <= 1


def test_somebody_who_keeps_pressing_has_not_read_the_warning() -> None:
    pressing = [(Cause.SIGINT, number * 0.3) for number in range(100)]
    actions = tell(Phase.APPLYING, *pressing)
    assert actions.count(Action.WARN) == 1
    assert Action.KILL not in actions


def test_every_phase_can_reach_the_end() -> None:
    def reach(phase: Phase, seen: frozenset[Phase]) -> bool:
        return phase is Phase.ENDED or any(reach(following, seen | {phase}) for following in STEPS[phase] - seen)

    assert all(reach(phase, frozenset()) for phase in Phase)


def test_a_holding_run_ends_only_after_settling() -> None:
    assert all(not may_step(phase, Phase.ENDED) for phase in HOLDING - {Phase.SETTLING})
