"""Every combination of what can be seen of a command, of the lease and of the state; the laws are about all of them."""

from itertools import product

import pytest

from interlock.run.endings import (
    CRASH,
    PASSING,
    ApplyEnd,
    Conclusion,
    Known,
    Parting,
    PlanEnd,
    conclude,
    judge_apply,
    judge_plan,
    may_repeat,
    part,
)

BOTH = (False, True)
CODES = (-9, 0, 1, 2)


@pytest.mark.promise("P8")
@pytest.mark.parametrize(("says_stopping", "was_killed", "code", "has_file"), list(product(BOTH, BOTH, CODES, BOTH)))
def test_only_a_plan_that_was_made_to_its_end_is_used(
    says_stopping: bool, was_killed: bool, code: int, has_file: bool
) -> None:
    end = judge_plan(says_stopping=says_stopping, was_killed=was_killed, exit_code=code, has_file=has_file)
    assert (end is PlanEnd.MADE) == (not says_stopping and not was_killed and code in (0, 2) and has_file)
    if says_stopping:
        assert end is PlanEnd.STOPPED_ELSEWHERE, "who stopped it wants to hear that, whatever came of it"
    elif was_killed:
        assert end is PlanEnd.KILLED


APPLIES = list(product(BOTH, BOTH, CODES, BOTH, BOTH, BOTH))


def applied(lost: bool, cut: bool, code: int, wished: bool, says: bool, refused: bool) -> ApplyEnd:
    return judge_apply(
        lease_lost=lost, was_cut=cut, exit_code=code, stop_requested=wished, says_stopping=says, was_refused=refused
    )


@pytest.mark.promise("P4", "P8")
@pytest.mark.parametrize(("lost", "cut", "code", "wished", "says", "refused"), APPLIES)
def test_how_an_apply_ended(lost: bool, cut: bool, code: int, wished: bool, says: bool, refused: bool) -> None:
    end = applied(lost, cut, code, wished, says, refused)
    if lost:
        assert end is ApplyEnd.LEASE_LOST, "a fenced run never reports anything else, also when it was cut off"
    elif code == 0:
        assert end is ApplyEnd.DONE
    elif cut:
        assert end is ApplyEnd.CUT_OFF, "a stop that was cut off is never told as a stop that saved"
    elif wished or says:
        assert end is ApplyEnd.STOPPED
    else:
        assert end is (ApplyEnd.REFUSED if refused else ApplyEnd.FAILED)


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("known", "refused", "unseen", "suspect", "stored", "only_saving"),
    list(product(Known, BOTH, BOTH, BOTH, BOTH, BOTH)),
)
def test_what_a_run_reports_of_its_state(
    known: Known, refused: bool, unseen: bool, suspect: bool, stored: bool, only_saving: bool
) -> None:
    said = conclude(
        known=known,
        was_refused=refused,
        unseen=unseen,
        suspect=suspect,
        was_stored=stored,
        only_saving_failed=only_saving,
    )
    if known in (Known.LEASE_LOST, Known.NOT_SAVED):
        assert said is Conclusion.FAILURE, "what may be lost is never told as something else, and never as success"
    elif refused:
        assert said is Conclusion.REFUSAL
    elif unseen:
        assert said is (Conclusion.UNSEEN if known is Known.NOTHING else Conclusion.FAILURE)
    elif suspect:
        assert said is Conclusion.SUSPECT
    elif known is Known.NOTHING or (stored and only_saving):
        assert said is Conclusion.CHECK
    else:
        assert said is Conclusion.FAILURE


@pytest.mark.promise("P1", "P9")
@pytest.mark.parametrize(("granted", "lost", "stranded"), list(product(BOTH, BOTH, BOTH)))
def test_a_grant_goes_back_only_when_it_is_ours_and_nothing_of_it_is_left(
    granted: bool, lost: bool, stranded: bool
) -> None:
    parting = part(granted=granted, lease_lost=lost, stranded=stranded)
    if not granted:
        assert parting is Parting.WITHDRAW
    else:
        assert parting is (Parting.KEEP if lost or stranded else Parting.RELEASE)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize(("wished", "lost", "own"), list(product(BOTH, BOTH, BOTH)))
@pytest.mark.parametrize("category", [*sorted(PASSING), "timeout", "crash", None])
def test_a_run_begins_again_only_after_what_passes(wished: bool, lost: bool, own: bool, category: str | None) -> None:
    again = may_repeat(
        stop_requested=wished, lease_lost=lost, own_plan=own, category=category, is_first_crash_before_change=True
    )
    assert again == (own and not wished and not lost and category in PASSING)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize(("wished", "lost", "own", "proven"), list(product(BOTH, BOTH, BOTH, BOTH)))
def test_a_crash_is_repeated_only_where_it_is_proven_that_nothing_was_changed(
    wished: bool, lost: bool, own: bool, proven: bool
) -> None:
    again = may_repeat(
        stop_requested=wished, lease_lost=lost, own_plan=own, category=CRASH, is_first_crash_before_change=proven
    )
    assert again == (proven and not wished and not lost)
