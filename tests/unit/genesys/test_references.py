from __future__ import annotations

from interlock.genesys.references import (
    Origin,
    architect_object_type,
    opaque_attributes,
    references_of,
    referrers_of,
    resource_types,
    value_couplings,
)


def test_all_registered_types_are_known() -> None:
    assert len(resource_types()) == 145


def test_the_declared_references_are_complete() -> None:
    declared = [row for each in resource_types() for row in references_of(each) if row.origin is Origin.DECLARED]
    assert len(declared) == 342


def test_an_ivr_points_at_its_schedule_group() -> None:
    [row] = [row for row in references_of("genesyscloud_architect_ivr") if row.attribute == "schedule_group_id"]
    assert row.targets == ("genesyscloud_architect_schedulegroups",)


def test_a_star_is_a_literal_and_no_id() -> None:
    [row] = [row for row in references_of("genesyscloud_user_roles") if row.attribute == "roles.division_ids"]
    assert row.literals == ("*",)


def test_undeclared_references_say_that_they_are_inferred() -> None:
    [row] = references_of("genesyscloud_flow_loglevel")
    assert (row.origin, row.targets) == (Origin.UNDECLARED, ("genesyscloud_flow",))


def test_who_points_at_a_schedule() -> None:
    found = {(row.source, row.attribute) for row in referrers_of("genesyscloud_architect_schedules")}
    assert ("genesyscloud_architect_schedulegroups", "open_schedules_id") in found


def test_flow_files_hide_references() -> None:
    assert "genesyscloud_routing_queue" in opaque_attributes("genesyscloud_flow")["filepath"].may_reference
    assert opaque_attributes("genesyscloud_routing_skill") == {}


def test_couplings_name_both_ends() -> None:
    assert all(row.source and row.target and row.how for row in value_couplings())


def test_architect_object_types_are_mapped() -> None:
    assert architect_object_type("queue") == "genesyscloud_routing_queue"
    assert architect_object_type("NOTHING") is None


def test_an_unknown_type_points_at_nothing() -> None:
    assert references_of("aws_s3_bucket") == ()
