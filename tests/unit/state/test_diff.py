from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from interlock.errors import StateInvalid
from interlock.state import (
    MASK,
    Kind,
    apply_diff,
    attribute_changes,
    content_digest,
    diff_documents,
    output_values,
)
from interlock.state.diff import MAX_ATTRIBUTE_CHANGES, spell_path

Make = Callable[..., Any]


def test_equal_documents_have_an_empty_diff(document: Make, resource: Make, instance: Make) -> None:
    made = document(resource("t", "a", instance({}, 0)))
    diff = diff_documents(made, made)
    assert diff.is_empty()
    assert not diff.checks_changed


def test_objects_are_added_removed_and_changed(document: Make, resource: Make, instance: Make) -> None:
    first = document(resource("t", "a", instance({"v": 1}, 0), instance({"v": 1}, 1)), resource("t", "b"))
    second = document(resource("t", "a", instance({"v": 2}, 1), instance({"v": 1}, 10)), resource("t", "c"))
    diff = diff_documents(first, second)
    assert [(each.address, each.kind) for each in diff.objects] == [
        ("t.a[0]", Kind.REMOVED),
        ("t.a[1]", Kind.CHANGED),
        ("t.a[10]", Kind.ADDED),
    ]
    assert diff.counts() == {Kind.ADDED: 1, Kind.REMOVED: 1, Kind.CHANGED: 1}
    assert [(each.key.name, each.before is None) for each in diff.headers] == [("b", False), ("c", True)]
    assert content_digest(apply_diff(first, diff)) == content_digest(second)


def test_layout_is_no_change(state: Make, resource: Make, instance: Make) -> None:
    from interlock.state import parse_document

    body: bytes = state(resource("t", "a", instance({"v": [1, 2]}, 0)))
    assert diff_documents(parse_document(body), parse_document(body.replace(b" ", b""))).is_empty()


def test_attributes_are_compared_leaf_by_leaf(document: Make, resource: Make, instance: Make) -> None:
    old = {"a": 1, "l": [{"x": 1}, {"x": 2}], "gone": "g", "same": {"k": [1]}, "m": {}, "t": 1}
    new = {"a": 2, "l": [{"x": 1}, {"x": 3}, {"x": 4}], "same": {"k": [1]}, "m": {"a b": 1}, "t": True}
    [change] = diff_documents(
        document(resource("t", "a", instance(old, None))), document(resource("t", "a", instance(new, None)))
    ).objects
    assert [(each.path, each.before, each.after) for each in attribute_changes(change)] == [
        ("a", 1, 2),
        ("gone", "g", None),
        ("l[1].x", 2, 3),
        ("l[2].x", None, 4),
        ("m", {}, {"a b": 1}),
        ("t", 1, True),
    ]


def test_sensitive_attributes_are_masked_on_both_sides(document: Make, resource: Make) -> None:
    def made(value: str, *, marked: bool) -> Any:
        marks = [[{"type": "get_attr", "value": "pin"}]] if marked else []
        attributes = {"pin": value, "password": value, "labels": {"secret": value} if marked else {}}
        return document(resource("t", "a", {"attributes": attributes, "sensitive_attributes": marks}))

    [change] = diff_documents(made("old", marked=False), made("new", marked=True)).objects
    rows = attribute_changes(change)
    assert [(each.path, each.before, each.after, each.sensitive) for each in rows] == [
        ("labels", {}, {"secret": MASK}, False),
        ("password", MASK, MASK, True),
        ("pin", MASK, MASK, True),
    ]
    assert "old" not in repr(change)


def test_long_numbers_are_compared_exactly(document: Make, resource: Make, instance: Make) -> None:
    one = document(resource("t", "a", instance({"n": 100000000000000000000001}, None)))
    other = document(resource("t", "a", instance({"n": 100000000000000000000002}, None)))
    [row] = attribute_changes(diff_documents(one, other).objects[0])
    assert (row.before, row.after) == (100000000000000000000001, 100000000000000000000002)


def test_changes_of_one_object_are_limited(document: Make, resource: Make, instance: Make) -> None:
    many = instance({str(place): place for place in range(MAX_ATTRIBUTE_CHANGES + 5)}, None)
    [change] = diff_documents(document(resource("t", "a")), document(resource("t", "a", many))).objects
    assert len(attribute_changes(change)) == MAX_ATTRIBUTE_CHANGES


def test_outputs_are_compared_and_masked(document: Make) -> None:
    first = document(outputs={"a": {"value": 1}, "b": {"value": 2}, "c": {"value": 3}})
    second = document(outputs={"a": {"value": 1}, "b": {"value": 5, "sensitive": True}, "d": {"value": 4}})
    diff = diff_documents(first, second)
    values = [output_values(change) for change in diff.outputs]
    assert [(each.path, each.before, each.after) for each in values] == [
        ("b", MASK, MASK),
        ("c", 3, None),
        ("d", None, 4),
    ]


def test_a_document_with_doubled_instances_cannot_be_compared(document: Make, resource: Make, instance: Make) -> None:
    doubled = document(resource("t", "a", instance({}, 0), instance({}, 0)))
    with pytest.raises(StateInvalid):
        diff_documents(doubled, document())


def test_paths_are_spelled_as_terraform_does() -> None:
    assert spell_path(("a", 0, "b-c_d", 'x "y"')) == 'a[0].b-c_d["x \\"y\\""]'
    assert spell_path(()) == ""
