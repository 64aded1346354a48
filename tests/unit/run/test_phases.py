"""Where a run is, and the legal steps between."""

from itertools import pairwise

import pytest

from interlock.run.phases import HOLDING, STEPS, Phase, may_step

USUAL = [Phase.PREPARING, Phase.QUEUED, Phase.PLANNING, Phase.AWAITING, Phase.APPLYING, Phase.SETTLING, Phase.ENDED]


def test_the_usual_way_is_legal_and_has_every_phase() -> None:
    assert set(USUAL) == set(Phase) == set(STEPS)
    assert all(may_step(before, after) for before, after in pairwise(USUAL))


@pytest.mark.promise("P9")
@pytest.mark.parametrize("phase", [phase for phase in USUAL if phase in HOLDING])
def test_what_holds_the_state_settles_before_it_ends(phase: Phase) -> None:
    assert may_step(phase, Phase.ENDED) is (phase is Phase.SETTLING)


@pytest.mark.promise("P9")
@pytest.mark.parametrize("phase", USUAL)
def test_an_apply_follows_a_plan_or_an_answer_and_nothing_else(phase: Phase) -> None:
    assert may_step(phase, Phase.APPLYING) is (phase in (Phase.PLANNING, Phase.AWAITING))


def test_an_end_is_an_end() -> None:
    assert STEPS[Phase.ENDED] == frozenset()


def test_a_passing_failure_leads_back_to_a_fresh_plan_and_never_to_the_queue() -> None:
    assert [phase for phase in USUAL if may_step(phase, Phase.PLANNING)] == [
        Phase.QUEUED,
        Phase.PLANNING,
        Phase.SETTLING,
    ]
    assert [phase for phase in USUAL if may_step(phase, Phase.QUEUED)] == [Phase.PREPARING]
