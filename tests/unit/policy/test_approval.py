from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from interlock.errors import PlanStale, PolicyGate, StateInvalid, UsageError
from interlock.persons import Party
from interlock.policy.approval import (
    ACCOUNT_SCHEMA,
    PARTY_SCHEMA,
    Approval,
    Decision,
    KeptPlan,
    Kind,
    Standing,
    Verdict,
    approvers,
    check_approved,
    comment_line,
    decided,
    decode,
    doubt_of,
    encode,
    how_to_approve,
    of_party,
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
        decode(encode(replace(kept, schema=PARTY_SCHEMA + 1)), "r1")
    for spoiled in (b"", b"{}", b"[]", b"\xff", encode(kept)[:-1]):
        with pytest.raises(StateInvalid, match="cannot be read"):
            decode(spoiled, "r1")
    assert "novelty" not in msgspec.json.decode(encode(kept))


def comments(account: str, verdict: Verdict = Verdict.APPROVE, *, login: str = "someone") -> Decision:
    return replace(says(f"{account} ({login})", verdict), account=account)


def of_github(*, needed: int = 1, own: bool = False) -> Approval:
    return replace(request(needed=needed, own=own), ordered_by="github:12", comments_on="github")


@pytest.mark.promise("P8")
def test_the_account_that_began_the_job_may_not_approve_by_a_comment() -> None:
    with pytest.raises(PolicyGate, match="may not approve"):
        decided(of_github(), comments("github:12"))
    assert standing(decided(of_github(), comments("github:13")), LATER) is Standing.APPROVED
    assert standing(decided(of_github(own=True), comments("github:12")), LATER) is Standing.APPROVED


@pytest.mark.promise("P8")
@pytest.mark.parametrize("ordered_by", ["", "gitlab:13"])
def test_no_account_approves_where_it_is_not_known_whether_it_began_the_run(ordered_by: str) -> None:
    asked = replace(request(), ordered_by=ordered_by)
    with pytest.raises(PolicyGate, match="may not approve") as refusal:
        decided(asked, comments("github:13"))
    assert refusal.value.fix == "interlock approve r1 --reason TEXT"
    assert standing(decided(asked, comments("github:13", Verdict.REJECT)), LATER) is Standing.REJECTED


@pytest.mark.promise("P8")
def test_one_person_with_an_account_and_a_token_is_not_two() -> None:
    both = decided(decided(of_github(needed=2), says("ben@host")), comments("github:13"))
    assert (standing(both, LATER), len(both.decisions), len(both.approvers)) == (Standing.WAITING, 2, 1)
    assert decided(both, comments("github:13", login="renamed")) is both, "known by its id, and not by its name"
    assert decided(both, says("ben@host")) is both
    third = decided(both, comments("github:14"))
    assert (standing(third, LATER), third.approvers) == (
        Standing.APPROVED,
        ("github:13 (someone)", "github:14 (someone)"),
    )


@pytest.mark.promise("P8")
def test_persons_who_log_in_are_known_by_what_does_not_change_and_are_not_added_to_others() -> None:
    asked = replace(request(needed=2), ordered_by="person:ann")
    with pytest.raises(PolicyGate, match="may not approve"):
        decided(asked, comments("person:ann", login="another token"))
    one = decided(asked, comments("person:ben"))
    assert decided(one, comments("person:ben", login="another token")) is one
    beside = decided(one, says("cid@host"))
    assert (standing(beside, LATER), beside.approved) == (Standing.WAITING, 1), "cid may be ben, or ann"
    assert standing(decided(beside, comments("person:dan")), LATER) is Standing.APPROVED
    with pytest.raises(PolicyGate, match="may not approve"):
        decided(asked, comments("github:13"))


@pytest.mark.promise("P8")
def test_what_counts_now_is_asked_of_what_policies_want_now() -> None:
    own = decided(of_github(own=True), comments("github:12"))
    assert approvers(own, own=True) == ("github:12 (someone)",)
    assert approvers(own, own=False) == ()


def test_the_line_of_a_comment_names_run_and_digest_and_is_read_again() -> None:
    asked = of_github()
    line = comment_line(asked, Verdict.APPROVE)
    assert line == f"/interlock approve r1 {'ab' * 8} REASON"
    assert how_to_approve(asked) == (f"interlock approve r1 --reason TEXT    or as a comment on a pull request: {line}")
    assert how_to_approve(request()) == "interlock approve r1 --reason TEXT"
    with pytest.raises(PolicyGate, match="waits") as refusal:
        check_approved(asked, LATER)
    assert refusal.value.fix == how_to_approve(asked)


def test_a_request_that_names_an_account_is_not_read_by_a_release_that_would_forget_it() -> None:
    kept = replace(of_github(), schema=ACCOUNT_SCHEMA)
    assert decode(encode(kept), "r1") == kept
    with pytest.raises(StateInvalid, match="cannot be read"):
        decode(encode(replace(kept, schema=PARTY_SCHEMA + 1)), "r1")


def with_token(who: str, *accounts: str, makers: tuple[str, ...] = ()) -> Decision:
    return replace(says(who), party=Party(accounts=accounts, makers=makers))


def asked_with(*accounts: str, makers: tuple[str, ...] = (), needed: int = 1, own: bool = False) -> Approval:
    return of_party(request(needed=needed, own=own), Party(accounts=accounts, makers=makers))


@pytest.mark.promise("P8")
def test_where_it_is_not_known_who_asked_one_more_person_approves_and_that_is_said() -> None:
    one = decided(asked_with("person:7 https://login.example"), with_token("ben (t1)", "name:ben"))
    assert (standing(one, LATER), one.approved, one.approvers) == (Standing.WAITING, 0, ("ben (t1)",))
    assert "person:7 https://login.example" in doubt_of(one)
    with pytest.raises(PolicyGate, match="waits") as refusal:
        check_approved(one, LATER)
    assert "1 missing; one of those who approve may be who asked" in refusal.value.why
    two = decided(one, with_token("cid (t2)", "name:cid"))
    assert (standing(two, LATER), two.approved) == (Standing.APPROVED, 1)
    assert doubt_of(decided(asked_with("name:ann"), with_token("ben (t1)", "name:ben"))) == ""


@pytest.mark.promise("P8")
def test_a_token_that_names_nobody_approves_only_where_whoever_asked_may() -> None:
    with pytest.raises(PolicyGate, match="may not approve") as refusal:
        decided(asked_with("name:ann"), with_token("t1", "token:1"))
    assert "interlock token create --role operator --states prod --person NAME" in refusal.value.fix
    own = decided(asked_with("name:ann", own=True, needed=2), with_token("t1", "token:1"))
    assert own.approved == 1
    assert decided(own, with_token("t1", "token:1")) is own
    assert decided(own, with_token("t2", "token:2")).approved == 2
    assert decided(own, with_token("t3", "name:ben")).approved == 1, "two of different kinds may be one person"


@pytest.mark.promise("P8")
def test_who_made_a_token_is_behind_it() -> None:
    for asked, said in (
        (asked_with("name:ann"), with_token("t1", "name:ben", makers=("name:ann",))),
        (asked_with("token:9", makers=("name:ann",)), with_token("t1", "name:ann")),
    ):
        with pytest.raises(PolicyGate, match="may not approve"):
            decided(asked, said)
    made = decided(asked_with("name:ann", needed=2), with_token("t1", "name:ben"))
    both = decided(made, with_token("t2", "name:cid", makers=("name:ben",)))
    assert (both.approved, len(both.decisions)) == (1, 2), "ben has both"


def test_a_request_that_says_who_is_behind_it_is_not_read_by_a_release_that_would_forget_it() -> None:
    assert asked_with("name:ann").schema == PARTY_SCHEMA
    assert decided(request(), with_token("t1", "os:ben@host")).schema == PARTY_SCHEMA
    assert decided(request(), says("ben@host")).schema == 1


@pytest.mark.promise("P8")
def test_what_a_token_asked_for_before_it_was_kept_whose_it_is_is_approved_as_if_it_asked_now() -> None:
    pipeline = replace(request(), asked_by="pipeline (4k7qaaaaaaaa)")
    with pytest.raises(PolicyGate, match="may not approve"):
        decided(pipeline, with_token("pipeline (4k7qaaaaaaaa)", "token:4k7qaaaaaaaa"))
    own = replace(request(), asked_by="server")
    with pytest.raises(PolicyGate, match="they asked for it"):
        decided(own, with_token("ann (server)", "token:server"))
    for agrees in (with_token("t2", "token:2"), with_token("ben (t3)", "name:ben")):
        assert decided(pipeline, agrees).approved == 1
    twice = replace(pipeline, needed=2, decisions=(says("a (4k7qbbbbbbbb)"), says("b (4k7qcccccccc)")))
    assert twice.approved == 2, "what was approved stays approved"
    job = replace(of_github(), asker=None)
    assert decided(job, with_token("t2", "token:2")).approved == 1
    person = replace(request(), ordered_by="person:7")
    with pytest.raises(PolicyGate, match="may not approve"):
        decided(person, with_token("t2", "token:2"))
    assert decided(person, with_token("ann", "person:7 https://login.example")).approved == 0, "it may be the same"
