from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from interlock.errors import StateInvalid
from interlock.state import parse_document, plan_restore

Make = Callable[..., Any]


def test_a_plan_says_what_comes_back_and_what_is_orphaned(simple: Make) -> None:
    current = parse_document(simple({"a": 1, "b": 2, "new": 1}, serial=9))
    target = parse_document(simple({"a": 1, "b": 1, "old": 1}, serial=4))
    plan = plan_restore(current=current, target=target)
    assert (plan.returns, plan.orphans, plan.changes) == (("t.old",), ("t.new",), ("t.b",))
    assert (plan.next_serial, plan.lineage_changes) == (10, False)
    restored = parse_document(plan.body())
    assert restored.serial == 10
    assert restored.objects() == target.objects()


def test_the_serial_rises_above_every_known_one(simple: Make) -> None:
    target = parse_document(simple({"a": 1}, serial=4))
    assert plan_restore(current=None, target=target, highest_serial=30).next_serial == 31
    assert plan_restore(current=None, target=target).returns == ("t.a",)


def test_another_lineage_is_said(simple: Make) -> None:
    current = parse_document(simple({}, lineage="other"))
    assert plan_restore(current=current, target=parse_document(simple({}))).lineage_changes


def test_a_version_without_identity_cannot_be_restored(simple: Make) -> None:
    target = parse_document(simple({}))
    with pytest.raises(StateInvalid):
        plan_restore(current=None, target=replace(target, lineage=""))
    with pytest.raises(StateInvalid):
        plan_restore(current=None, target=target, highest_serial=2**64 - 1)
