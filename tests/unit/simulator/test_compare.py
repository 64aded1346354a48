from typing import Any

from interlock.simulator.compare import differences


def document(*instances: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    resources = [
        {"mode": "managed", "type": kind, "name": "this", "instances": [{"index_key": key, "attributes": attributes}]}
        for kind, key, attributes in instances
    ]
    return {"version": 4, "resources": resources}


def test_an_organisation_that_is_what_the_state_says_has_no_differences(api: Any) -> None:
    user, queue = api.user(), api.queue("Orders")
    api.send("POST", f"/routing/queues/{queue}/members", [{"id": user}])
    home = api.get("/authorization/divisions/home")["id"]
    member = {"ring_num": 1, "user_id": user}
    state = document(
        ("genesyscloud_user", "a", {"id": user, "name": "ana", "email": "ana@example.com", "division_id": home}),
        ("genesyscloud_routing_queue", "o", {"id": queue, "name": "Orders", "division_id": home, "members": [member]}),
    )
    assert differences(api.simulation.snapshot(), state) == []


def test_each_difference_is_one_line_with_its_address(api: Any) -> None:
    skill, other = api.skill("Billing"), api.skill("Cards")
    state = document(
        ("genesyscloud_routing_skill", "a", {"id": skill, "name": "Invoices"}),
        ("genesyscloud_routing_skill", "b", {"id": "gone", "name": "Gone"}),
    )
    assert differences(api.simulation.snapshot(), state) == [
        "genesyscloud_routing_skill.this[\"a\"]: name is 'Invoices' in the state, 'Billing' in the organisation",
        'genesyscloud_routing_skill.this["b"]: in the state, not in the organisation (gone)',
        f"skill Cards: in the organisation, not in the state ({other})",
    ]
