from __future__ import annotations

import pytest

from interlock.genesys.creating_calls import (
    changes_id,
    creating_calls,
    find_creating_call,
    find_revival,
    makes_parts,
    name_attribute,
)
from interlock.genesys.listings import find_listing, listed_types
from interlock.genesys.references import resource_types

NEVER_POSTED = {
    # one for the whole organisation, or a part of another object: written by PUT or PATCH
    *(f"genesyscloud_idp_{name}" for name in ("adfs", "generic", "gsuite", "okta", "onelogin", "ping", "salesforce")),
    "genesyscloud_case_management_stageplan",
    "genesyscloud_case_management_stepplan",
    "genesyscloud_conversations_messaging_settings_default",
    "genesyscloud_conversations_messaging_supportedcontent_default",
    "genesyscloud_conversations_settings",
    "genesyscloud_organization_authentication_settings",
    "genesyscloud_outbound_settings",
    "genesyscloud_outbound_wrapupcodemappings",
    "genesyscloud_routing_queue_conditional_group_activation",
    "genesyscloud_routing_queue_conditional_group_routing",
    "genesyscloud_routing_queue_outbound_email_address",
    "genesyscloud_routing_settings",
    "genesyscloud_routing_utilization",
    "genesyscloud_telephony_providers_edges_trunk",
    # nothing that could be imported: a version, a grant, a pairing, a setting of a flow, a file
    "genesyscloud_bcp_tf_exporter",
    "genesyscloud_case_management_caseplan_create_version",
    "genesyscloud_case_management_caseplan_publish",
    "genesyscloud_externalusers_identity",
    "genesyscloud_flow_loglevel",
    "genesyscloud_group_roles",
    "genesyscloud_guide_version",
    "genesyscloud_integration_custom_auth_action",
    "genesyscloud_orgauthorization_pairing",
    "genesyscloud_task_management_worktype_status_transition",
    "genesyscloud_tf_export",
    "genesyscloud_user_roles",
    # uploaded to a host that no gateway stands before
    "genesyscloud_script",
}


def test_every_resource_type_has_its_creating_call_or_a_reason_for_none() -> None:
    made = {call.type for call in creating_calls()}
    assert made <= set(resource_types())
    assert set(resource_types()) - made == NEVER_POSTED


def test_a_listed_type_is_made_where_it_is_listed() -> None:
    paths = {call.type: call.path for call in creating_calls()}
    for kind in set(listed_types()) - {"genesyscloud_flow", "genesyscloud_script"}:
        listing = find_listing(kind)
        assert listing is not None
        assert paths[kind] == listing.path


def test_every_row_finds_itself_and_fills_its_forms() -> None:
    assert creating_calls()
    for call in creating_calls():
        found = find_creating_call("/api/v2" + call.path.replace("{", "x-").replace("}", ""))
        assert found is not None, call.path
        assert found.call is call, call.path
        assert "{" not in found.import_id("id") + found.object_path("id"), call.path


@pytest.mark.parametrize(
    ("path", "kind", "imported"),
    [
        ("/api/v2/routing/queues", "genesyscloud_routing_queue", "I"),
        ("/api/v2/routing/queues/", "genesyscloud_routing_queue", "I"),
        ("/api/v2/routing/email/domains/example.com/routes", "genesyscloud_routing_email_route", "example.com/I"),
        ("/api/v2/knowledge/knowledgebases/K/labels", "genesyscloud_knowledge_label", "I,K"),
        ("/api/v2/processAutomation/triggers", "genesyscloud_processautomation_trigger", "I"),
    ],
)
def test_what_is_made_has_a_type_and_what_imports_it(path: str, kind: str, imported: str) -> None:
    found = find_creating_call(path)
    assert found is not None
    assert (found.call.type, found.import_id("I")) == (kind, imported)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/routing/queues/Q/members",
        "/api/v2/authorization/subjects/S/bulkadd",
        "/api/v2/users/U/routingskills",
        "/api/v2/users/search",
        "/api/v2/audits/query",
    ],
)
def test_parts_of_an_object_and_questions_are_no_objects(path: str) -> None:
    assert find_creating_call(path) is None
    assert makes_parts(path)


def test_a_path_that_nobody_knows_is_neither() -> None:
    assert find_creating_call("/api/v2/new/things") is None
    assert not makes_parts("/api/v2/new/things")


def test_a_deleted_user_comes_back_by_a_patch() -> None:
    revival = find_revival("/api/v2/users/U")
    assert revival is not None
    assert revival.when == {"state": "active"}
    assert find_revival("/api/v2/users/U/voicemail") is None


def test_names_are_compared_by_the_attribute_that_has_them() -> None:
    assert name_attribute("genesyscloud_user") == "email"
    assert name_attribute("genesyscloud_routing_queue") == "name"
    assert name_attribute("genesyscloud_nothing") == ""
    assert changes_id("genesyscloud_quality_forms_evaluation")
