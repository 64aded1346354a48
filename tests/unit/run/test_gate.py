from typing import Any

import pytest

from interlock.errors import PolicyGate
from interlock.run.gate import check_forgotten
from interlock.run.gate import check_plan as check_plan_at
from interlock.run.order import Agreed, Operation, Order
from interlock.run.surroundings import Current
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


NOW = Current(lineage="l1", serial=41)


def check_plan(order: Order, plan: PlanFacts, current: Current = NOW) -> None:
    check_plan_at(order, plan, lineage=current.lineage, serial=current.serial)


def agreed(*objects: str, **changes: Any) -> tuple[Agreed, ...]:
    values: dict[str, Any] = {"state": "prod", "lineage": "l1", "serial": 41, "objects": objects}
    return (Agreed(**{**values, **changes}),)


def test_what_reviewers_agreed_to_is_not_held_back() -> None:
    ordered = order(protected=True, max_deletes=0, agreed=agreed("t.n[0]", "t.n[1]"))
    check_plan(ordered, plan(Action.DELETE, Action.REPLACE))
    with pytest.raises(PolicyGate, match="deletes 1 resource from the protected state"):
        check_plan(ordered, plan(Action.DELETE, Action.REPLACE, Action.DELETE))


@pytest.mark.parametrize(
    "other",
    [
        {"serial": 40},
        {"serial": 42},
        {"lineage": "l2"},
        {"state": "dev"},  # reviewers read the name, and a copy of a state has its lineage and serial
        {"objects": ("t.n[1]",)},
        {"objects": ("t.n",)},
        {"objects": ()},
    ],
)
def test_a_consent_covers_no_other_plan(other: dict[str, Any]) -> None:
    with pytest.raises(PolicyGate):
        check_plan(order(protected=True, agreed=agreed("t.n[0]", **other)), plan(Action.DELETE))


def test_a_consent_covers_nothing_of_a_state_that_cannot_be_looked_into() -> None:
    with pytest.raises(PolicyGate):
        check_plan(order(protected=True, agreed=agreed("t.n[0]", lineage="", serial=0)), plan(Action.DELETE), Current())


def test_a_refused_plan_prints_how_reviewers_agree() -> None:
    with pytest.raises(PolicyGate) as refusal:
        check_plan(order(operation=Operation.PLAN, protected=True), plan(Action.DELETE, Action.REPLACE))
    wanted = "interlock ci allow-deletions --state prod --lineage l1 --serial 41 't.n[0]' 't.n[1]'"
    assert refusal.value.fix.startswith(wanted)


def test_a_used_consent_is_said_to_be_too_old() -> None:
    with pytest.raises(PolicyGate, match="protected") as refusal:
        check_plan(order(protected=True, in_ci=True, agreed=agreed("t.n[0]", serial=40)), plan(Action.DELETE))
    assert "agrees for serial 40, and the state is at 41" in refusal.value.why


def test_a_consent_under_another_name_is_said_to_be_for_another_state() -> None:
    with pytest.raises(PolicyGate, match="protected") as refusal:
        check_plan(order(protected=True, in_ci=True, agreed=agreed("t.n[0]", state="dev")), plan(Action.DELETE))
    assert "agrees for state dev, and this is prod" in refusal.value.why


def test_a_plan_without_deletions_passes_a_protected_state() -> None:
    check_plan(order(protected=True, max_deletes=0), plan(Action.CREATE, Action.UPDATE))


def test_a_protected_state_holds_back_deletions_until_they_are_allowed() -> None:
    with pytest.raises(PolicyGate, match="protected state prod") as refusal:
        check_plan(order(protected=True, is_watched=True), plan(Action.DELETE))
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
