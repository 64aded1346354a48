from typing import Any

import pytest

NOBODY = "00000000-0000-4000-a000-000000000000"


def test_a_skill_is_created_read_and_softly_deleted(api: Any) -> None:
    created = api.post("/routing/skills", {"name": "Billing"})
    assert created == {"id": created["id"], "name": "Billing", "state": "active", "version": "1"}
    assert api.get(f"/routing/skills/{created['id']}") == created
    assert api.send("DELETE", f"/routing/skills/{created['id']}").status == 204
    assert api.get(f"/routing/skills/{created['id']}")["state"] == "deleted"
    assert api.get("/routing/skills")["total"] == 0
    api.skill("Billing")


def test_lists_come_in_pages_and_are_filtered_by_name(api: Any) -> None:
    for number in range(5):
        api.skill(f"Skill {number}")
    second = api.get("/routing/skills", pageSize="2", pageNumber="2")
    assert [skill["name"] for skill in second["entities"]] == ["Skill 2", "Skill 3"]
    assert {name: second[name] for name in ("pageNumber", "pageSize", "pageCount", "total")} == {
        "pageNumber": 2,
        "pageSize": 2,
        "pageCount": 3,
        "total": 5,
    }
    assert api.get("/routing/skills", name="skill 3")["total"] == 1
    assert api.get("/routing/skills", name="*3*")["total"] == 1


@pytest.mark.parametrize("query", [{"pageSize": "0"}, {"pageSize": "501"}, {"pageNumber": "x"}, {"pageNumber": "-1"}])
def test_a_page_out_of_bounds_is_a_400(api: Any, query: dict[str, str]) -> None:
    assert api.send("GET", "/routing/skills", **query).status == 400


def test_a_wrapup_code_may_belong_to_all_divisions_and_can_be_changed(api: Any) -> None:
    created = api.post("/routing/wrapupcodes", {"name": "Done", "division": {"id": "*"}})
    assert created["division"] == {"id": "*"}
    changed = api.done(api.send("PUT", f"/routing/wrapupcodes/{created['id']}", {"name": "Resolved"}))
    assert (changed["name"], changed["division"]) == ("Resolved", {"id": "*"})


def test_a_queue_answers_whole_so_that_no_reader_of_it_crashes(api: Any) -> None:
    queue = api.get(f"/routing/queues/{api.queue()}")
    for medium in ("call", "callback", "chat", "email", "message"):
        assert queue["mediaSettings"][medium]["alertingTimeoutSeconds"] > 0
        assert set(queue["mediaSettings"][medium]["serviceLevel"]) == {"percentage", "durationMs"}
    assert queue["memberCount"] == 0
    assert queue["memberGroups"] == []
    assert "members" not in queue
    assert "wrapupCodes" not in queue


def test_a_queue_keeps_what_was_written_and_its_parts_survive_an_update(api: Any) -> None:
    user = api.user()
    queue = api.queue(acwSettings={"wrapupPrompt": "MANDATORY_TIMEOUT", "timeoutMs": 5000}, callingPartyName="Shop")
    assert api.send("POST", f"/routing/queues/{queue}/members", [{"id": user}], delete="false").status == 202
    changed = api.done(api.send("PUT", f"/routing/queues/{queue}", {"name": "Sales", "description": "d"}))
    assert (changed["name"], changed["memberCount"]) == ("Sales", 1)


def test_members_join_ring_and_leave(api: Any) -> None:
    first, second, queue = api.user("a@x.y"), api.user("b@x.y"), api.queue()
    path = f"/routing/queues/{queue}/members"
    api.send("POST", path, [{"id": first}, {"id": second}], delete="false")
    api.send("PATCH", f"{path}/{second}", {"id": second, "ringNumber": 3})
    members = api.get(path, pageSize="100", memberBy="user")["entities"]
    assert [(member["id"], member["ringNumber"]) for member in members] == [(first, 1), (second, 3)]
    assert api.get(path, memberBy="group")["entities"] == []
    api.send("POST", path, [{"id": first}], delete="true")
    assert [member["id"] for member in api.get(path)["entities"]] == [second]


def test_a_member_must_exist_and_at_most_100_join_at_once(api: Any) -> None:
    queue = api.queue()
    path = f"/routing/queues/{queue}/members"
    assert api.send("POST", path, [{"id": NOBODY}]).status == 404
    assert api.send("POST", path, [{"id": NOBODY}] * 101).status == 400
    assert api.get(f"/routing/queues/{queue}")["memberCount"] == 0


def test_wrapup_codes_are_attached_and_detached(api: Any) -> None:
    queue, code = api.queue(), api.post("/routing/wrapupcodes", {"name": "Done"})["id"]
    path = f"/routing/queues/{queue}/wrapupcodes"
    assert api.post(path, [{"id": code}])[0]["name"] == "Done"
    assert [item["id"] for item in api.get(path)["entities"]] == [code]
    assert api.send("DELETE", f"{path}/{code}").status == 204
    assert api.send("DELETE", f"{path}/{code}").status == 404


def test_force_deletes_a_queue_with_members_and_nothing_else_does(api: Any) -> None:
    queue, user = api.queue(), api.user()
    api.send("POST", f"/routing/queues/{queue}/members", [{"id": user}])
    assert api.send("DELETE", f"/routing/queues/{queue}").status == 409
    assert api.send("DELETE", f"/routing/queues/{queue}", forceDelete="true").status == 204
    assert api.send("GET", f"/routing/queues/{queue}").status == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 257},
        {"name": 5},
        {"skillEvaluationMethod": "SOME"},
        {"mediaSettings": {"call": {"alertingTimeoutSeconds": 1}}},
        {"queueFlow": {"id": NOBODY}},
        {"memberGroups": [{"id": NOBODY}]},
        {"memberGroups": [{"id": NOBODY, "type": "GROUP"}]},
        {"division": {"id": NOBODY}},
        {"division": 7},
    ],
)
def test_a_wrong_queue_is_a_400_and_nothing_is_created(api: Any, fields: dict[str, Any]) -> None:
    refused = api.send("POST", "/routing/queues", {"name": "Orders", **fields})
    assert refused.status == 400, refused.content
    assert api.get("/routing/queues")["total"] == 0
