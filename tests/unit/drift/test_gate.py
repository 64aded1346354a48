from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from interlock.drift.classify import VERSION, Terms
from interlock.drift.decisions import Choice, Decision
from interlock.drift.finding import Kind, digest_of
from interlock.drift.gate import check_plan, judge_plan
from interlock.drift.reading import read_plan
from interlock.errors import DriftGate
from interlock.genesys.spellings import spellings

Make = Callable[..., Any]
QUEUE = "genesyscloud_routing_queue.q"
FLOW = "genesyscloud_flow.f"


def decided(choice: Choice, value: Any, now: datetime, *, kind: Kind = Kind.CHANGED, path: str = "d") -> Decision:
    return Decision(
        choice=choice,
        kind=kind,
        address=QUEUE,
        object="1",
        path=path,
        digest=digest_of(value, "s"),
        salt="s",
        who="a",
        at=now,
    )


def refused(shown: bytes, *decisions: Decision, **flows: dict[str, str]) -> list[str]:
    terms = Terms(rules=spellings(), decisions=decisions, salt="")
    found = judge_plan(read_plan(shown), terms, ours=flows.get("ours", {}), published=flows.get("published", {}))
    return [each.told() for each in found]


@pytest.fixture
def reverting(make_entry: Make, make_plan: Make) -> bytes:
    drift = make_entry(QUEUE, {"id": "1", "d": "old"}, {"id": "1", "d": "new"})
    change = make_entry(QUEUE, {"id": "1", "d": "new"}, {"id": "1", "d": "old"})
    shown: bytes = make_plan([drift], [change])
    return shown


def test_drift_that_nobody_reviewed_is_not_reverted(reverting: bytes) -> None:
    assert refused(reverting) == [f"{QUEUE} d"]


def test_a_decision_to_revert_lets_it_pass(reverting: bytes, now: datetime) -> None:
    assert refused(reverting, decided(Choice.REVERT, "new", now)) == []


def test_a_decision_about_another_value_object_or_attribute_does_not(reverting: bytes, now: datetime) -> None:
    assert refused(reverting, decided(Choice.REVERT, "other", now)) != []
    assert refused(reverting, decided(Choice.REVERT, "new", now, path="e")) != []
    assert refused(reverting, decided(Choice.REVERT, "new", now, kind=Kind.CONTENT)) != []


def test_what_was_accepted_is_not_reverted_either(reverting: bytes, now: datetime) -> None:
    assert refused(reverting, decided(Choice.ACCEPT, "new", now)) == [f"{QUEUE} d, which was accepted"]


def test_drift_that_the_plan_leaves_alone_does_not_hold_it_back(make_entry: Make, make_plan: Make) -> None:
    drift = make_entry(QUEUE, {"id": "1", "d": "old", "e": 1}, {"id": "1", "d": "new", "e": 1})
    change = make_entry(QUEUE, {"id": "1", "d": "new", "e": 1}, {"id": "1", "d": "new", "e": 2})
    assert refused(make_plan([drift], [change])) == []
    assert refused(make_plan([drift], [])) == []


def test_noise_does_not_hold_an_apply_back(make_entry: Make, make_plan: Make) -> None:
    drift = make_entry(QUEUE, {"id": "1", "d": None}, {"id": "1", "d": ""})
    change = make_entry(QUEUE, {"id": "1", "d": ""}, {"id": "1", "d": None})
    assert refused(make_plan([drift], [change])) == []


def test_an_object_that_is_gone_is_made_anew_only_when_so_decided(
    make_entry: Make, make_plan: Make, now: datetime
) -> None:
    drift = make_entry(QUEUE, {"id": "1"}, None, actions=("delete",))
    change = make_entry(QUEUE, None, {"d": "x"}, actions=("create",))
    shown = make_plan([drift], [change])
    assert refused(shown) == [f"{QUEUE} (gone)"]
    assert refused(shown, decided(Choice.REVERT, None, now, kind=Kind.GONE, path="")) == []
    assert refused(make_plan([drift], [])) == []


def test_deleting_a_drifted_object_loses_the_drift_but_forgetting_it_does_not(
    make_entry: Make, make_plan: Make
) -> None:
    drift = make_entry(QUEUE, {"id": "1", "d": "old"}, {"id": "1", "d": "new"})
    assert refused(make_plan([drift], [make_entry(QUEUE, {"id": "1"}, None, actions=("delete",))])) == [f"{QUEUE} d"]
    assert refused(make_plan([drift], [make_entry(QUEUE, {"id": "1"}, None, actions=("forget",))])) == []


def test_a_flow_that_was_published_elsewhere_is_not_published_over(
    make_entry: Make, make_plan: Make, now: datetime
) -> None:
    shown = make_plan([], [make_entry(FLOW, {"id": "1", "hash": "a"}, {"id": "1", "hash": "b"})])
    flows = {"ours": {"1": "1.0"}, "published": {"1": "2.0"}}
    assert refused(shown, **flows) == [f"{FLOW} {VERSION}"]
    assert refused(shown, decided(Choice.REVERT, "2.0", now, kind=Kind.CONTENT, path=VERSION), **flows) == []
    assert refused(shown, ours={"1": "2.0"}, published={"1": "2.0"}) == []
    assert refused(shown, ours={}, published={"1": "2.0"}) == []


def test_the_refusal_names_the_attributes_and_the_next_command(reverting: bytes) -> None:
    found = judge_plan(read_plan(reverting), Terms(salt=""), ours={}, published={})
    with pytest.raises(DriftGate) as caught:
        check_plan(found, state="prod")
    assert f"{QUEUE} d" in caught.value.why
    assert "--state prod" in caught.value.fix
    assert caught.value.exit_status == 40
    check_plan((), state="prod")
