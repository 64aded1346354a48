from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from interlock.state import Footing, Refusal, Step, find_deletions, judge, judge_deletions
from interlock.state.lineage import find_gone

Make = Callable[..., Any]
CURRENT = Footing(lineage="l", serial=5)


@pytest.mark.parametrize(
    ("current", "lineage", "serial", "is_same", "answer"),
    [
        (None, "l", 1, False, Step.FIRST),
        (None, "l", 9, False, Step.FIRST),
        (None, "", 1, False, "no-lineage"),
        (None, "l", 0, False, "serial-zero"),
        (CURRENT, "l", 6, True, Step.NEXT),
        (CURRENT, "l", 60, False, Step.NEXT),
        (CURRENT, "l", 5, True, Step.SAME),
        (CURRENT, "l", 5, False, "same-serial"),
        (CURRENT, "l", 4, False, "older-serial"),
        (CURRENT, "m", 6, False, "foreign-lineage"),
        (CURRENT, "", 6, False, "no-lineage"),
    ],
)
def test_lineage_and_serial_decide(
    current: Footing | None, lineage: str, serial: int, is_same: bool, answer: Step | str
) -> None:
    got = judge(current, Footing(lineage=lineage, serial=serial), is_same=is_same)
    assert (got.code if isinstance(got, Refusal) else got) == answer


def test_deletions_are_found_by_instance(document: Make, resource: Make, instance: Make) -> None:
    before = document(
        resource("t", "a", instance({}, 0), instance({}, 1)),
        resource("t", "b", instance({"x": 1}, None), instance({}, None, deposed="0000000a")),
        resource("d", "c", instance({}, None), mode="data"),
        resource("t", "e", instance({}, None)),
    )
    after = document(resource("t", "a", instance({}, 1)), resource("t", "b", instance({"x": 2}, None)))
    assert find_deletions(before, after) == {"t.a[0]", "t.b", "t.e"}
    assert find_deletions(after, after) == set()


def test_a_resource_split_in_two_blocks_loses_nothing(document: Make, resource: Make, instance: Make) -> None:
    whole = document(resource("t", "a", instance({}, 0), instance({}, 1)))
    split = document(resource("t", "a", instance({}, 0)), resource("t", "a", instance({}, 1)))
    assert find_deletions(whole, split) == find_deletions(split, whole) == set()


@pytest.mark.promise("P6")
def test_a_deposed_object_that_refresh_took_out_lets_only_itself_go(
    document: Make, resource: Make, instance: Make
) -> None:
    before = document(
        resource("t", "a", instance({}, None), instance({}, None, deposed="0000000a"), instance({}, None, deposed="b0"))
    )
    allowed = frozenset({"t.a (deposed 0000000a)"})
    after = document(resource("t", "a", instance({}, None), instance({}, None, deposed="b0")))
    assert judge_deletions(before, after, allowed) is None
    refused = judge_deletions(before, document(), allowed)
    assert refused is not None
    assert refused.addresses == ("t.a", "t.a (deposed b0)")
    assert judge_deletions(before, document(), frozenset({"t.a"})) is None


def test_a_write_that_drops_more_than_the_plan_is_refused(document: Make, resource: Make, instance: Make) -> None:
    before = document(resource("t", "a", instance({}, 0), instance({}, 1)))
    after = document()
    refused = judge_deletions(before, after, frozenset({"t.a[0]"}))
    assert refused is not None
    assert (refused.code, refused.addresses) == ("unplanned-deletion", ("t.a[1]",))
    assert judge_deletions(before, after, frozenset({"t.a[0]", "t.a[1]"})) is None
    assert judge_deletions(before, after, None) is None
    assert judge_deletions(None, after, frozenset()) is None


def _stored(*objects: tuple[str, str]) -> bytes:
    resources = [
        {
            "mode": "managed",
            "type": "t",
            "name": name,
            "provider": "p",
            "instances": [{"schema_version": 0, "attributes": {"id": id_}}],
        }
        for name, id_ in objects
    ]
    state = {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}}
    return json.dumps({**state, "resources": resources}).encode()


@pytest.mark.promise("P6")
def test_a_moved_object_leaves_its_address_and_is_not_gone() -> None:
    before = _stored(("a", "1"), ("b", "2"), ("c", "3"))
    assert find_gone(before, _stored(("a", "1"), ("x", "2"))) == (frozenset({"t.b", "t.c"}), ("t.c",))
    assert find_gone(before, before) == (frozenset(), ())
    assert find_gone(before, _stored(("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"))) == (frozenset(), ())
