from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from interlock.drift.classify import VERSION, Terms, classify, judge_flow, with_cause
from interlock.drift.decisions import Choice, Decision
from interlock.drift.finding import MASK, Cause, Finding, Kind, Verdict, digest_of
from interlock.drift.inventory import Inventory, Managed
from interlock.drift.reading import read_plan
from interlock.genesys.spellings import spellings

Make = Callable[..., Any]
QUEUE = "genesyscloud_routing_queue.q"


def terms(*decisions: Decision) -> Terms:
    ana = Managed(address="genesyscloud_user.ana", type="genesyscloud_user", id="u-1")
    inventory = Inventory(by_id={"u-1": ana}, dependents={QUEUE: 2})
    return Terms(rules=spellings(), decisions=decisions, salt="salt", inventory=inventory)


def decision(value: Any, choice: Choice, now: datetime, *, path: str = "d", kind: Kind = Kind.CHANGED) -> Decision:
    return Decision(
        choice=choice,
        kind=kind,
        address=QUEUE,
        object="1",
        path=path,
        digest=digest_of(value, "other salt"),
        salt="other salt",
        who="ana@desk",
        at=now,
    )


def one(make_entry: Make, make_plan: Make, before: Any, after: Any, given: Terms, **more: Any) -> Finding:
    entry = make_entry(QUEUE, {"id": "1", **before}, after if after is None else {"id": "1", **after}, **more)
    (finding,) = classify(read_plan(make_plan([entry])).drifted, given)
    return finding


def test_a_change_is_open_until_somebody_decides(make_entry: Make, make_plan: Make) -> None:
    finding = one(make_entry, make_plan, {"d": "old"}, {"d": "new"}, terms())
    assert (finding.kind, finding.verdict, finding.dependents) == (Kind.CHANGED, Verdict.OPEN, 2)
    (attribute,) = finding.attributes
    assert (attribute.path, attribute.before, attribute.after) == ("d", "old", "new")
    assert attribute.suggestion == 'd = "new"'


def test_a_decision_counts_for_exactly_its_value(make_entry: Make, make_plan: Make, now: datetime) -> None:
    given = terms(decision("new", Choice.REVERT, now))
    assert one(make_entry, make_plan, {"d": "old"}, {"d": "new"}, given).verdict is Verdict.REVERT
    assert one(make_entry, make_plan, {"d": "old"}, {"d": "newer"}, given).verdict is Verdict.OPEN
    assert one(make_entry, make_plan, {"e": "old"}, {"e": "new"}, given).verdict is Verdict.OPEN


def test_the_newest_decision_holds(make_entry: Make, make_plan: Make, now: datetime) -> None:
    given = terms(decision("new", Choice.REVERT, now), decision("new", Choice.ACCEPT, now + timedelta(seconds=1)))
    finding = one(make_entry, make_plan, {"d": "old"}, {"d": "new"}, given)
    assert finding.verdict is Verdict.ACCEPTED
    assert "accept by ana@desk" in finding.attributes[0].reason


def test_noise_beside_drift_does_not_hide_it(make_entry: Make, make_plan: Make) -> None:
    finding = one(make_entry, make_plan, {"d": "old", "e": None}, {"d": "new", "e": ""}, terms())
    assert finding.verdict is Verdict.OPEN
    assert [each.path for each in finding.shown] == ["d"]
    quiet = one(make_entry, make_plan, {"e": None}, {"e": ""}, terms())
    assert (quiet.verdict, quiet.shown) == (Verdict.NOISE, ())


def test_secrets_are_masked_and_still_decided_by_value(make_entry: Make, make_plan: Make, now: datetime) -> None:
    given = terms(decision("second-secret", Choice.REVERT, now, path="password"))
    finding = one(make_entry, make_plan, {"password": "first-secret"}, {"password": "second-secret"}, given)
    (attribute,) = finding.attributes
    assert (attribute.before, attribute.after, attribute.suggestion) == (MASK, MASK, "")
    assert attribute.verdict is Verdict.REVERT
    assert "secret" not in repr(finding).replace(MASK, "").replace("password", "")


def test_known_ids_become_references(make_entry: Make, make_plan: Make) -> None:
    finding = one(make_entry, make_plan, {"members": []}, {"members": [{"user_id": "u-1", "ring": None}]}, terms())
    assert finding.attributes[0].suggestion == "members {\n  user_id = genesyscloud_user.ana.id\n}"


def test_an_object_that_is_gone_is_decided_as_a_whole(make_entry: Make, make_plan: Make, now: datetime) -> None:
    given = terms(decision(None, Choice.ACCEPT, now, path="", kind=Kind.GONE))
    gone = one(make_entry, make_plan, {}, None, given, actions=("delete",))
    assert (gone.kind, gone.verdict) == (Kind.GONE, Verdict.ACCEPTED)


def test_a_mere_move_is_no_finding(make_entry: Make, make_plan: Make) -> None:
    moved = {**make_entry(QUEUE, {"id": "1"}, {"id": "1"}, actions=("no-op",)), "previous_address": "t.old"}
    assert classify(read_plan(make_plan([moved])).drifted, terms()) == []


def test_a_flow_is_judged_by_its_published_version(now: datetime) -> None:
    flow = Managed(address="genesyscloud_flow.f", type="genesyscloud_flow", id="1")
    finding = judge_flow(flow, ours="1.0", current="2.0", terms=terms())
    assert (finding.kind, finding.verdict) == (Kind.CONTENT, Verdict.OPEN)
    given = terms(decision("2.0", Choice.REVERT, now, path=VERSION, kind=Kind.CONTENT))
    assert judge_flow(flow, ours="1.0", current="2.0", terms=given).verdict is Verdict.REVERT


def test_what_our_own_client_does_during_the_scan_is_a_run_in_flight(
    make_entry: Make, make_plan: Make, now: datetime
) -> None:
    finding = one(make_entry, make_plan, {"d": "old"}, {"d": "new"}, terms())
    ours = Cause(who="terraform", at=now, ours=True)
    assert with_cause(finding, ours, began=now - timedelta(seconds=5)).verdict is Verdict.IN_FLIGHT
    assert with_cause(finding, ours, began=now + timedelta(seconds=5)).verdict is Verdict.OPEN
    stranger = Cause(who="Ana", at=now)
    assert with_cause(finding, stranger, began=now - timedelta(seconds=5)).verdict is Verdict.OPEN
