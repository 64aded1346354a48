from typing import Any

import pytest

from interlock.errors import PolicyGate
from interlock.run.gate import check_forgotten, check_plan
from interlock.run.order import Operation, Order
from interlock.terraform.events import Action, PlannedChange, Resource
from interlock.terraform.plan import PlanFacts


def order(**changes: Any) -> Order:
    values: dict[str, Any] = {
        "run": "r1",
        "operation": Operation.APPLY,
        "directory": "/x",
        "state": "prod",
        "who": "a@b",
        "home": "/h",
    }
    return Order(**{**values, **changes})


def plan(*actions: Action) -> PlanFacts:
    changes = tuple(
        PlannedChange(resource=Resource(address=f"t.n[{place}]"), action=action) for place, action in enumerate(actions)
    )
    return PlanFacts(changes=changes)


def test_a_plan_without_deletions_passes_a_protected_state() -> None:
    check_plan(order(protected=True, max_deletes=0), plan(Action.CREATE, Action.UPDATE))


def test_a_protected_state_holds_back_deletions_until_they_are_allowed() -> None:
    with pytest.raises(PolicyGate, match="protected state prod") as refusal:
        check_plan(order(protected=True), plan(Action.DELETE))
    assert "--allow-destroy" in refusal.value.fix
    check_plan(order(protected=True, allow_destroy=True), plan(Action.DELETE))


def test_a_replacement_counts_as_a_deletion() -> None:
    with pytest.raises(PolicyGate, match="deletes 2 resources, more than the 1 allowed"):
        check_plan(order(max_deletes=1), plan(Action.REPLACE, Action.DELETE))


def test_as_many_deletions_as_allowed_pass() -> None:
    check_plan(order(max_deletes=2), plan(Action.REPLACE, Action.DELETE))


def test_destroy_means_to_delete_but_a_protected_state_still_refuses() -> None:
    check_plan(order(operation=Operation.DESTROY, max_deletes=0), plan(Action.DELETE))
    with pytest.raises(PolicyGate):
        check_plan(order(operation=Operation.DESTROY, protected=True), plan(Action.DELETE))


def test_a_long_list_of_deletions_is_counted_not_spelled() -> None:
    with pytest.raises(PolicyGate) as refusal:
        check_plan(order(max_deletes=0), plan(*[Action.DELETE] * 12))
    assert refusal.value.why.endswith("and 7 more")


@pytest.mark.promise("P6")
def test_what_a_command_takes_out_of_a_state_follows_the_rules_for_deletions() -> None:
    check_forgotten(order(protected=True, max_deletes=0), ())
    with pytest.raises(PolicyGate, match="protected state prod") as refusal:
        check_forgotten(order(protected=True), ("t.n[0]",))
    assert "--allow-destroy" in refusal.value.fix
    check_forgotten(order(protected=True, allow_destroy=True), ("t.n[0]",))
    with pytest.raises(PolicyGate, match="more than the 1 allowed") as refusal:
        check_forgotten(order(max_deletes=1), ("t.n[0]", "t.n[1]"))
    assert "--max-deletes 2" in refusal.value.fix
