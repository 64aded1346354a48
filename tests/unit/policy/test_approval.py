from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from interlock.errors import PlanStale, PolicyGate, StateInvalid, UsageError
from interlock.policy.approval import (
    Approval,
    Decision,
    KeptPlan,
    Kind,
    Standing,
    Verdict,
    check_approved,
    decided,
    decode,
    encode,
    replaced,
    standing,
    used,
)

T0 = datetime(2026, 11, 30, 8, tzinfo=UTC)
LATER = T0 + timedelta(hours=1)


def request(*, needed: int = 1, own: bool = False) -> Approval:
    return Approval(
        id="r1",
        kind=Kind.APPLY,
        state="prod",
        digest="sha256:" + "ab" * 32,
        what="apply prod: 1 to add",
        asked_by="ann@host",
        asked_at=T0,
        expires_at=T0 + timedelta(days=7),
        needed=needed,
        own_approval=own,
        policy="production",
        plan=KeptPlan(blob="b", essence="essence", operation="apply", directory="/repo/prod"),
    )


def says(who: str, verdict: Verdict = Verdict.APPROVE, *, at: datetime = LATER) -> Decision:
    return Decision(who=who, verdict=verdict, reason="looks fine", at=at)


@pytest.mark.promise("P8")
def test_whoever_asked_may_not_approve_where_another_person_must() -> None:
    with pytest.raises(PolicyGate, match="may not approve") as refusal:
        decided(request(), says("ann@host"))
    assert "interlock approvals show r1" in refusal.value.fix
    assert standing(decided(request(), says("ben@host")), LATER) is Standing.APPROVED
    assert standing(decided(request(own=True), says("ann@host")), LATER) is Standing.APPROVED


def test_each_person_counts_once() -> None:
    once = decided(request(needed=2), says("ben@host"))
    assert decided(once, says("ben@host")) is once
    assert standing(once, LATER) is Standing.WAITING
    assert standing(decided(once, says("cid@host")), LATER) is Standing.APPROVED


def test_a_rejection_is_the_end_also_after_the_approval() -> None:
    both = decided(decided(request(), says("ben@host")), says("cid@host", Verdict.REJECT))
    assert standing(both, LATER) is Standing.REJECTED
    with pytest.raises(PolicyGate, match="no valid approval"):
        used(both, by="r2", digest=both.digest, now=LATER)
    with pytest.raises(UsageError, match="cannot be decided any more"):
        decided(both, says("dan@host"))


def test_whoever_asked_may_reject_their_own() -> None:
    assert standing(decided(request(), says("ann@host", Verdict.REJECT)), LATER) is Standing.REJECTED


def test_a_request_that_is_too_old_can_neither_be_approved_nor_used() -> None:
    late = T0 + timedelta(days=7)
    approved = decided(request(), says("ben@host"))
    assert standing(approved, late) is Standing.EXPIRED
    with pytest.raises(UsageError, match="cannot be decided"):
        decided(request(), says("ben@host", at=late))
    with pytest.raises(PolicyGate, match="no valid approval"):
        used(approved, by="r2", digest=approved.digest, now=late)


@pytest.mark.promise("P8")
def test_it_is_used_once_and_only_for_what_was_approved() -> None:
    approved = decided(request(), says("ben@host"))
    with pytest.raises(PlanStale, match="for another plan"):
        used(approved, by="r2", digest="another", now=LATER)
    for digest in (approved.digest, "essence"):
        done = used(approved, by="r2", digest=digest, now=LATER)
        assert used(done, by="r2", digest=digest, now=LATER) is done, "the answer to the first attempt was lost"
        with pytest.raises(PolicyGate, match="no valid approval"):
            used(done, by="r3", digest=digest, now=LATER)


@pytest.mark.promise("P8")
def test_the_run_that_used_it_may_not_use_it_for_another_plan() -> None:
    done = used(decided(request(), says("ben@host")), by="r2", digest="essence", now=LATER)
    with pytest.raises(PlanStale, match="for another plan"):
        used(done, by="r2", digest="what a second attempt planned", now=LATER)
    with pytest.raises(PlanStale):
        used(done, by="r2", digest=done.digest, now=LATER)


def test_one_that_waits_is_refused_with_the_command_that_approves_it() -> None:
    with pytest.raises(PolicyGate, match="waits for approval") as refusal:
        check_approved(request(needed=2), LATER)
    assert refusal.value.fix == "interlock approve r1 --reason TEXT"
    assert "2 missing" in refusal.value.why


def test_one_whose_place_another_took_names_that_one() -> None:
    over = replaced(decided(request(), says("ben@host")), by="r9")
    assert standing(over, LATER) is Standing.REPLACED
    with pytest.raises(PolicyGate, match="no valid approval") as refusal:
        check_approved(over, LATER)
    assert refusal.value.fix == "interlock approvals show r9"
    done = used(decided(request(), says("ben@host")), by="r2", digest="essence", now=LATER)
    assert replaced(done, by="r9") is done


def test_an_approver_who_saw_another_plan_is_refused() -> None:
    for seen in ("ab" * 8, "sha256:" + "ab" * 8):
        decided(request(), says("ben@host"), digest=seen)
    with pytest.raises(UsageError, match="another plan than the one that you saw"):
        decided(request(), says("ben@host"), digest="cd" * 8)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "two\nlines", "\x1b[31m"])
def test_a_decision_needs_a_reason_that_fits_on_a_line(reason: str) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        decided(request(), replace(says("ben@host"), reason=reason))


def test_the_stored_form_comes_back_and_one_that_cannot_be_trusted_is_refused() -> None:
    kept = decided(request(), says("ben@host"))
    assert decode(encode(kept), "r1") == kept
    with pytest.raises(StateInvalid, match="cannot be read"):
        decode(encode(kept), "r2")
    with pytest.raises(StateInvalid, match="cannot be read"):
        decode(encode(replace(kept, schema=2)), "r1")
    for spoiled in (b"", b"{}", b"[]", b"\xff", encode(kept)[:-1]):
        with pytest.raises(StateInvalid, match="cannot be read"):
            decode(spoiled, "r1")
    assert "novelty" not in msgspec.json.decode(encode(kept))
