from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.drift.reading import Difference, find, is_unknown, read_plan, same
from interlock.errors import TerraformFailed

Make = Callable[..., Any]
QUEUE = "genesyscloud_routing_queue.q"

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def test_values_are_compared_where_they_stand(make_entry: Make, make_plan: Make) -> None:
    before = {"id": "1", "name": "Q", "media": [{"sec": 8, "level": 1}], "codes": ["a", "b"], "same": {"x": 1}}
    after = {"id": "1", "name": "Q", "media": [{"sec": 9, "level": 1}], "codes": ["b", "c"], "same": {"x": 1}}
    (drifted,) = read_plan(make_plan([make_entry(QUEUE, before, after)])).drifted
    assert [(each.path, each.before, each.after) for each in drifted.differences] == [
        ("codes", ["a", "b"], ["b", "c"]),
        ("media[0].sec", 8, 9),
    ]
    assert (drifted.object, drifted.name, drifted.gone) == ("1", "Q", False)


def test_an_object_that_is_gone_has_no_differences(make_entry: Make, make_plan: Make) -> None:
    gone = make_entry(QUEUE, {"id": "1", "name": "Q"}, None, actions=("delete",))
    (drifted,) = read_plan(make_plan([gone])).drifted
    assert drifted.gone
    assert drifted.differences == ()
    assert (drifted.object, drifted.name) == ("1", "Q")


@pytest.mark.parametrize(
    ("before", "after", "marks"),
    [
        ({"pin": "12345"}, {"pin": "54321"}, {"pin": True}),
        ({"client_secret": "12345"}, {"client_secret": "54321"}, {}),
        ({"block": [{"pin": 1}, {"pin": 2}]}, {"block": []}, {"block": [{"pin": True}]}),
        ({"pin": "hidden-text", "copy": ""}, {"pin": "hidden-text", "copy": "hidden-text"}, {"pin": True}),
        ({"pin": "hidden-text", "copy": ""}, {"pin": "hidden-text", "copy": "a hidden-text b"}, {"pin": True}),
        ({"pin": 7531902468, "copy": 1}, {"pin": 7531902468, "copy": 7531902468}, {"pin": True}),
        ({"url": "https://u:12345@h/"}, {"url": "https://u:54321@h/"}, {}),
        ({"row": [{"name": "X-Api-Key", "value": "12345"}]}, {"row": [{"name": "X-Api-Key", "value": "5"}]}, {}),
        ({"rows": [{"key": "api_key", "value": "12345"}, {}]}, {"rows": []}, {}),
    ],
)
@pytest.mark.promise("P10")
def test_what_is_secret_is_marked(
    before: dict[str, Any], after: dict[str, Any], marks: Any, make_entry: Make, make_plan: Make
) -> None:
    (drifted,) = read_plan(make_plan([make_entry(QUEUE, before, after, sensitive=marks)])).drifted
    assert drifted.differences
    assert all(each.sensitive for each in drifted.differences)
    assert "12345" not in repr(drifted)


@pytest.mark.promise("P10")
def test_a_schema_marks_what_the_plan_does_not_and_a_data_source_tells_what_to_look_for(
    make_entry: Make, make_plan: Make
) -> None:
    data = {
        "address": "data.aws_secretsmanager_secret_version.s",
        "mode": "data",
        "type": "aws_secretsmanager_secret_version",
        "values": {"secret_string": "hidden-text"},
    }
    drift = [
        make_entry("random_password.p", {"result": "12345"}, {"result": "54321"}),
        make_entry(QUEUE, {"note": "", "name": "q"}, {"note": "see hidden-text", "name": "q hidden-text"}),
    ]
    drifted = read_plan(make_plan(drift, [], [data])).drifted
    assert [each.sensitive for found in drifted for each in found.differences] == [True, True, True]
    assert "hidden-text" not in repr(drifted)


def test_the_state_is_read_from_the_plan(make_plan: Make) -> None:
    prior = [
        {"address": "genesyscloud_flow.f", "mode": "managed", "type": "genesyscloud_flow", "values": {"id": "7"}},
        {
            "address": QUEUE,
            "mode": "managed",
            "type": "genesyscloud_routing_queue",
            "values": {"id": "8", "name": "Q"},
            "depends_on": ["genesyscloud_flow.f"],
        },
    ]
    inventory = read_plan(make_plan([], [], prior)).inventory
    assert [flow.id for flow in inventory.flows] == ["7"]
    assert inventory.dependents == {"genesyscloud_flow.f": 1}
    assert inventory.addresses == {"genesyscloud_flow.f", QUEUE}


@pytest.mark.parametrize("text", [b"", b"[]", b"{}x", b'{"resource_drift": [1]}', b'{"resource_drift": [{}]}', b"\xff"])
def test_what_is_no_plan_is_refused(text: bytes) -> None:
    with pytest.raises(TerraformFailed):
        read_plan(text)


@given(values, values)
def test_a_difference_is_found_exactly_when_values_differ_and_leads_to_both(before: Any, after: Any) -> None:
    before, after = _without_nulls(before), _without_nulls(after)  # null and not there are the same to Terraform
    change = {"actions": ["update"], "before": {"v": before}, "after": {"v": after}}
    drift = [{"address": "t.n", "mode": "managed", "type": "t", "change": change}]
    (drifted,) = read_plan(json.dumps({"resource_drift": drift}).encode()).drifted
    assert bool(drifted.differences) is not same(before, after)
    for each in drifted.differences:
        assert same(find({"v": before}, each.steps), each.before)
        assert same(find({"v": after}, each.steps), each.after)


def test_truth_is_not_a_number() -> None:
    assert not same([True], [1])
    assert same({"a": 1.0}, {"a": 1.0})


@pytest.mark.parametrize(
    ("tree", "steps", "expected"),
    [
        ({"a": True}, ("a", "b"), True),
        ({"a": {"b": True}}, ("a",), True),
        ({"a": {}}, ("a",), False),
        ({}, ("a",), False),
    ],
)
def test_unknown_is_what_is_marked_above_or_below(tree: Any, steps: Any, expected: bool) -> None:
    assert is_unknown(tree, steps) is expected


@pytest.mark.parametrize(
    ("actions", "after", "unknown", "expected"),
    [
        (("update",), {"d": "old"}, {}, True),
        (("update",), {"d": "new"}, {}, False),
        (("update",), {"d": "third"}, {}, True),
        (("update",), {}, {"d": True}, False),
        (("delete", "create"), {}, {"d": True}, True),
        (("delete", "create"), {"d": "new"}, {}, False),
        (("delete",), None, {}, True),
    ],
)
def test_a_plan_overwrites_what_it_sets_otherwise(
    actions: tuple[str, ...], after: Any, unknown: Any, expected: bool, make_entry: Make, make_plan: Make
) -> None:
    change = make_entry(QUEUE, {"id": "1", "d": "new"}, after, actions=actions, unknown=unknown)
    planned = read_plan(make_plan([], [change])).planned[QUEUE]
    assert planned.overwrites(Difference(steps=("d",), before="old", after="new")) is expected


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
