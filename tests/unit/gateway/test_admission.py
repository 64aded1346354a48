from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from interlock.gateway.admission import WAITING_OF_FLOW_MAX, Admission, Ask, Finished, Full, Grant
from interlock.gateway.allotment import Allotment
from interlock.gateway.concurrency import Concurrency
from interlock.gateway.fairness import Entry
from interlock.gateway.headers import Heard
from interlock.gateway.rules import Override, Rules, apply_overrides
from interlock.genesys import rate_limits
from interlock.lock import Priority

_numbers = itertools.count()


def new_admission(*overrides: Override, limit: float = 1000.0, hold_s: float = 8.0) -> Admission:
    rules = Rules(apply_overrides(rate_limits(), overrides))
    concurrency = Concurrency(limit=limit, ceiling=limit)
    names = [each.name for each in overrides]
    return Admission(rules, hold_s=hold_s, concurrency=concurrency, overridden=names)


def ask(
    admission: Admission, path: str = "users", *, flow: str = "r/1", method: str = "GET", now_s: float = 0.0
) -> Ask:
    return Ask(
        flow=flow,
        priority=Priority.APPLY,
        needs=admission.rules.needs(method, f"/api/v2/{path}", ""),
        arrived_s=now_s,
        deadline_s=now_s + admission.hold_s,
        memory=str(next(_numbers)).encode(),
    )


def offer(admission: Admission, wanted: Ask) -> Entry[Ask]:
    entry = admission.offer(wanted)
    assert not isinstance(entry, Full)
    return entry


def grants(admission: Admission, count: int, now_s: float, path: str = "users", method: str = "GET") -> list[Grant]:
    for _ in range(count):
        offer(admission, ask(admission, path, method=method, now_s=now_s))
    return admission.grants(now_s)


def test_without_a_token_nobody_goes_and_one_is_wanted() -> None:
    admission = new_admission()
    assert grants(admission, 1, 0.0) == []
    assert admission.wants_token(0.0)
    admission.open_slot(0, 0.0)
    assert len(admission.grants(0.0)) == 1
    assert not admission.wants_token(0.0)


def test_requests_go_out_on_the_token_with_the_most_room() -> None:
    admission = new_admission()
    for slot in range(3):
        admission.open_slot(slot, 0.0)
    assert sorted(each.slot for each in grants(admission, 6, 0.0)) == [0, 0, 1, 1, 2, 2]


def test_a_full_endpoint_holds_up_only_its_own_requests() -> None:
    admission = new_admission()
    admission.open_slot(0, 0.0)
    updates = grants(admission, 50, 0.0, path="architect/ivrs/123", method="PUT")
    assert len(updates) == 6
    assert len(grants(admission, 5, 0.0)) == 5


def test_the_in_flight_limit_holds_and_a_finished_request_makes_room() -> None:
    admission = new_admission(limit=2)
    admission.open_slot(0, 0.0)
    first, _ = grants(admission, 5, 0.0)
    admission.finish(first, Finished(status=200), 0.1)
    assert len(admission.grants(0.1)) == 1


def test_who_waited_until_the_deadline_is_told_an_honest_time() -> None:
    admission = new_admission(Override(name="token", allowed=60, window_s=60.0))
    admission.open_slot(0, 0.0)
    for grant in grants(admission, 40, 0.0):
        admission.finish(grant, Finished(status=200), 0.0)
    over = admission.expire(8.0)
    assert len(over) == 36
    waits = [wait_s for _, wait_s in over]
    assert min(waits) >= 1
    assert max(waits) <= 180
    assert 30 <= max(waits) <= 40


def test_who_comes_back_finds_the_old_place() -> None:
    admission = new_admission(Override(name="token", allowed=1, window_s=60.0))
    admission.open_slot(0, 0.0)
    [first] = grants(admission, 1, 0.0)
    admission.finish(first, Finished(status=200), 0.0)
    patient = ask(admission, now_s=1.0)
    offer(admission, patient)
    admission.expire(9.0)
    newcomer = offer(admission, ask(admission, now_s=55.0))
    back = offer(
        admission,
        Ask(
            flow=patient.flow,
            priority=patient.priority,
            needs=patient.needs,
            arrived_s=56.0,
            deadline_s=64.0,
            memory=patient.memory,
        ),
    )
    [grant] = admission.grants(60.1)
    assert grant.entry is back
    assert newcomer.waiting


def test_one_flow_cannot_fill_the_house() -> None:
    admission = new_admission()
    for _ in range(WAITING_OF_FLOW_MAX):
        offer(admission, ask(admission))
    assert admission.offer(ask(admission)) is Full.FLOW
    assert not isinstance(admission.offer(ask(admission, flow="r/2")), Full)


def test_headers_that_fit_the_organisation_are_not_held_against_a_token() -> None:
    admission = new_admission()
    for slot in range(4):
        admission.open_slot(slot, 0.0)
    given = grants(admission, 40, 0.0)
    for grant in given[:-1]:
        admission.finish(grant, Finished(status=200), 0.1)
    admission.finish(given[-1], Finished(status=200, heard=Heard(count=40, allowed=500, reset_s=60)), 0.1)
    assert admission.budgets["organisation"].allowed == 500
    assert {budget.allowed for budget in admission.slots.values()} == {300}


def test_headers_that_fit_the_token_lower_only_that_token() -> None:
    admission = new_admission()
    admission.open_slot(0, 0.0)
    admission.open_slot(1, 0.0)
    given = grants(admission, 20, 0.0)
    for grant in given[:-1]:
        admission.finish(grant, Finished(status=200), 0.1)
    admission.finish(given[-1], Finished(status=200, heard=Heard(count=10, allowed=150, reset_s=60)), 0.1)
    assert sorted(each.allowed or 0 for each in admission.slots.values()) == [150, 300]


def test_a_429_that_names_its_limit_closes_that_limit_for_everybody() -> None:
    admission = new_admission()
    admission.open_slot(0, 0.0)
    [grant] = grants(admission, 1, 0.0)
    heard = Heard(count=300, allowed=300, reset_s=20)
    admission.finish(grant, Finished(status=429, heard=heard, retry_after_s=20.0), 0.1)
    assert admission.slots[0].blocked_s(0.1) == 20.0
    assert grants(admission, 1, 5.0) == []


def test_an_unexplained_429_on_an_idle_token_closes_the_endpoint_alone() -> None:
    admission = new_admission()
    admission.open_slot(0, 0.0)
    [grant] = grants(admission, 1, 0.0, path="routing/queues")
    admission.finish(grant, Finished(status=429, retry_after_s=9.0), 0.1)
    assert grants(admission, 1, 1.0, path="routing/queues") == []
    assert len(grants(admission, 1, 1.0, path="users")) == 1


def test_unexplained_429s_of_several_endpoints_close_the_organisation_and_pardon_the_endpoints() -> None:
    admission = new_admission()
    admission.open_slot(0, 0.0)
    for path in ("a/a", "b/b"):
        [grant] = grants(admission, 1, 0.0, path=path)
        admission.finish(grant, Finished(status=429, retry_after_s=9.0), 0.1)
    assert grants(admission, 1, 1.0, path="d/d") == []
    assert admission.budgets["GET a/a"].blocked_s(1.0) == 0.0
    assert admission.budgets["organisation"].blocked_s(1.0) == pytest.approx(8.1)


def test_a_withdrawn_request_is_never_granted() -> None:
    admission = new_admission()
    entry = offer(admission, ask(admission))
    admission.withdraw(entry)
    admission.open_slot(0, 0.0)
    assert admission.grants(0.0) == []
    assert admission.next_event_s(0.0) is None


def test_the_next_event_is_the_first_room_or_the_first_deadline() -> None:
    admission = new_admission(Override(name="token", allowed=60, window_s=60.0))
    admission.open_slot(0, 0.0)
    for grant in grants(admission, 5, 0.0):
        admission.finish(grant, Finished(status=200), 0.0)
    soon = admission.next_event_s(0.0)
    assert soon is not None
    assert 0.9 < soon < 1.1
    admission.close_slot(0)
    assert admission.next_event_s(0.0) == 8.0


def test_a_replay_waits_for_the_fresh_token_of_its_own_slot() -> None:
    admission = new_admission()
    admission.open_slot(0, 0.0)
    admission.open_slot(1, 0.0)
    wanted = ask(admission)
    offer(
        admission,
        Ask(
            flow=wanted.flow,
            priority=wanted.priority,
            needs=wanted.needs,
            arrived_s=0.0,
            deadline_s=8.0,
            only=1,
        ),
    )
    admission.close_slot(1)
    assert admission.grants(0.0) == []
    admission.open_slot(1, 0.0)
    [grant] = admission.grants(0.0)
    assert grant.slot == 1


def test_an_endpoint_that_answers_503_does_not_hold_back_the_others_and_is_named() -> None:
    admission = new_admission()
    admission.open_slot(0, 0.0)
    for number in range(20):
        for grant in grants(admission, 1, float(number), path="bad"):
            admission.finish(grant, Finished(status=503), float(number))
    assert len(grants(admission, 15, 30.0, path="users")) == 15
    assert admission.why_not(ask(admission, path="bad")).startswith("GET bad answers 503")
    assert admission.why_not(ask(admission, path="users")) == ""


def test_an_answer_about_a_higher_limit_does_not_raise_what_a_token_allows() -> None:
    admission = new_admission()
    admission.open_slot(0, 0.0)
    admission.open_slot(1, 0.0)
    for number in range(20):
        [grant] = grants(admission, 1, number * 1.0)
        heard = Heard(count=number // 2 + 1, allowed=600, reset_s=60)
        admission.finish(grant, Finished(status=200, heard=heard), number * 1.0)
    assert {each.allowed for each in admission.slots.values()} == {300}


def test_a_state_that_waits_for_its_share_of_the_tokens_wants_more_of_them() -> None:
    admission = new_admission()
    admission.allotments.allot("prod/a", Allotment(share=0.1), 0.0)
    admission.open_slot(0, 0.0)
    for _ in range(10):
        offer(admission, replace(ask(admission), state="prod/a"))
    assert len(admission.grants(0.0)) == 2  # the burst of 30 a minute
    assert admission.wants_token(0.0)
    admission.open_slot(1, 0.0)
    assert len(admission.grants(0.0)) == 2
    assert len(grants(admission, 3, 0.0)) == 3  # who has no share does not wait behind it


def test_a_state_of_which_nobody_called_for_a_window_is_forgotten_and_its_share_is_not() -> None:
    forgotten: list[str] = []
    rules = Rules(apply_overrides(rate_limits(), [Override(name="organisation", allowed=100, window_s=60.0)]))
    admission = Admission(rules, hold_s=8.0, forget_budget=forgotten.append)
    admission.open_slot(0, 0.0)
    admission.allotments.allot("prod/a", Allotment(share=0.1), 0.0)
    offer(admission, replace(ask(admission), state="prod/a"))
    (grant,) = admission.grants(0.0)
    admission.finish(grant, Finished(status=200), 1.0)
    admission.allotments.allot("prod/b", Allotment(share=0.1), 60.9)
    assert forgotten == []
    admission.allotments.allot("prod/b", Allotment(share=0.1), 61.1)
    assert "share:prod/a:organisation" in forgotten
    assert admission.allotments.of("prod/a") == Allotment(share=0.1)


def test_a_call_that_costs_more_than_a_share_gives_goes_once_a_window() -> None:
    admission = new_admission(Override(name="flows-list", allowed=100, window_s=60.0))
    admission.allotments.allot("prod/a", Allotment(share=0.1), 0.0)
    admission.open_slot(0, 0.0)
    for now_s, goes in ((0.0, 1), (59.0, 0), (61.2, 1)):
        wanted = replace(ask(admission, "flows", now_s=now_s), state="prod/a")  # costs 25
        entry = offer(admission, wanted)
        given = admission.grants(now_s)
        assert len(given) == goes
        for grant in given:
            admission.finish(grant, Finished(status=200), now_s + 1.0)
        admission.withdraw(entry)
