from __future__ import annotations

from interlock.genesys.references import resource_types
from interlock.genesys.resources import (
    calls_of,
    configure_calls,
    conflicts,
    find_conflict,
    find_force_delete,
    find_quirks,
    gateway_bypasses,
    slowest_step_s,
    types_read_past,
)


def test_a_queue_costs_seven_four_eight_and_two_calls() -> None:
    queue = calls_of("genesyscloud_routing_queue")
    assert (queue.create, queue.read, queue.update, queue.delete) == (7, 4, 8, 2)


def test_an_update_of_a_type_without_update_is_a_replacement() -> None:
    assert calls_of("genesyscloud_routing_skill").update == 4


def test_an_unknown_type_gets_the_default_and_says_so() -> None:
    assert not calls_of("genesyscloud_journey_segment").known
    assert calls_of("genesyscloud_journey_segment").create == 2


def test_one_apply_configures_the_provider_twice() -> None:
    assert configure_calls().walks_of_an_apply == 2
    assert configure_calls().api == 2


def test_queues_and_tables_are_force_deleted() -> None:
    assert find_force_delete("genesyscloud_routing_queue") is not None
    assert find_force_delete("genesyscloud_auth_division") is None


def test_flows_poll_and_take_over() -> None:
    assert slowest_step_s("genesyscloud_flow", "create") == 15.0
    assert slowest_step_s("genesyscloud_routing_skill", "create") == 0.0
    assert any("takes over" in each for each in find_quirks("genesyscloud_flow"))


def test_uploads_bypass_the_gateway() -> None:
    assert {"genesyscloud_script", "genesyscloud_flow"} <= {each.resource for each in gateway_bypasses()}


def test_each_call_past_the_gateway_is_judged_for_a_run_of_its_own_and_at_a_server() -> None:
    judged = {(bool(each.uses), each.at_run, each.at_server) for each in gateway_bypasses()}
    assert judged == {
        (True, "lent", "refused"),
        (False, "taken", "taken"),
        (False, "free", "free"),
        (False, "untried", "untried"),
    }
    assert types_read_past() == ("genesyscloud_guide", "genesyscloud_guide_version")


def test_a_division_with_objects_is_recognised_by_its_message() -> None:
    found = find_conflict(
        "genesyscloud_auth_division",
        action="delete",
        status=400,
        message="Scope 'x' may not be deleted because it has objects in it.",
    )
    assert found is not None
    assert found.name == "division-not-empty"
    other = find_conflict("genesyscloud_auth_division", action="delete", status=400, message="bad name")
    assert other is None


def test_conflicts_are_about_types_that_exist() -> None:
    named = {row.resource for row in conflicts()} | {row.other for row in conflicts()} - {"*", ""}
    assert named <= resource_types()
