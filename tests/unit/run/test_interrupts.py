from hypothesis import given
from hypothesis import strategies as st

from interlock.run.interrupts import Action, Cause, respond
from interlock.run.phases import HOLDING, STEPS, Phase, may_step

PERSONS = [Cause.SIGINT, Cause.SIGTERM, Cause.CANCELLED]


def test_a_waiting_run_leaves_the_queue_at_the_first_wish() -> None:
    for cause in Cause:
        assert respond(Phase.PREPARING, cause, 0) is Action.LEAVE
        assert respond(Phase.QUEUED, cause, 0) is Action.LEAVE


def test_the_first_wish_stops_the_second_warns_and_only_the_third_kills() -> None:
    for phase in (Phase.PLANNING, Phase.APPLYING):
        assert [respond(phase, Cause.SIGINT, earlier) for earlier in range(4)] == [
            Action.STOP,
            Action.WARN,
            Action.KILL,
            Action.KILL,
        ]


@given(st.sampled_from([Cause.FRONT_END_GONE, Cause.LEASE_LOST]), st.integers(0, 5), st.sampled_from(list(Phase)))
def test_neither_a_vanished_front_end_nor_a_lost_lease_ever_kills(cause: Cause, earlier: int, phase: Phase) -> None:
    assert respond(phase, cause, earlier) is not Action.KILL


def test_a_question_is_answered_with_no() -> None:
    assert respond(Phase.AWAITING, Cause.SIGTERM, 0) is Action.DECLINE


def test_a_run_that_is_saving_is_left_alone() -> None:
    for cause in PERSONS:
        assert respond(Phase.SETTLING, cause, 3) is Action.IGNORE


def test_every_phase_can_reach_the_end() -> None:
    def reach(phase: Phase, seen: frozenset[Phase]) -> bool:
        return phase is Phase.ENDED or any(reach(following, seen | {phase}) for following in STEPS[phase] - seen)

    assert all(reach(phase, frozenset()) for phase in Phase)


def test_a_holding_run_ends_only_after_settling() -> None:
    assert all(not may_step(phase, Phase.ENDED) for phase in HOLDING - {Phase.SETTLING})
