from typing import Any

import pytest

NOBODY = "00000000-0000-4000-a000-000000000000"


def search(api: Any, email: str) -> Any:
    clauses = [
        {"fields": ["email"], "value": email, "type": "EXACT"},
        {"fields": ["state"], "values": ["deleted"], "type": "EXACT"},
    ]
    return api.post("/users/search", {"query": clauses})["results"]


def test_a_user_is_created_read_with_its_parts_and_changed_under_its_version(api: Any) -> None:
    created = api.post("/users", {"name": "Ana", "email": "ana@example.com", "title": "Agent"})
    assert created["version"] == 1
    assert created["division"]["id"]
    read = api.get(
        f"/users/{created['id']}", expand="skills,languages,locations,profileSkills,certifications,employerInfo"
    )
    assert [read[part] for part in ("skills", "languages", "locations", "profileSkills", "certifications")] == [[]] * 5
    changed = api.done(api.send("PATCH", f"/users/{created['id']}", {"title": "Lead", "version": 1}))
    assert (changed["title"], changed["name"], changed["version"]) == ("Lead", "Ana", 2)


@pytest.mark.parametrize(("version", "status"), [(None, 400), (7, 409), ("1", 409)])
def test_a_user_is_not_changed_from_another_version(api: Any, version: object, status: int) -> None:
    user = api.user()
    body = {"title": "Lead"} if version is None else {"title": "Lead", "version": version}
    refused = api.send("PATCH", f"/users/{user}", body)
    assert refused.status == status
    assert "title" not in api.get(f"/users/{user}")


def test_a_group_answers_a_wrong_version_with_400_and_the_text_that_the_provider_retries(api: Any) -> None:
    group = api.post("/groups", {"name": "Leads", "type": "official", "visibility": "public"})
    refused = api.send("PUT", f"/groups/{group['id']}", {"name": "Leads", "version": 9})
    assert refused.status == 400
    assert "does not match the current version" in refused.content["message"]


def test_a_deleted_user_is_found_by_the_search_and_can_be_revived(api: Any) -> None:
    user = api.user("ana@example.com")
    assert search(api, "ana@example.com") == []
    assert api.send("DELETE", f"/users/{user}").status == 200
    assert api.send("GET", f"/users/{user}").status == 404
    assert [found["id"] for found in search(api, "ANA@example.com")] == [user]
    conflict = api.send("POST", "/users", {"name": "Ana", "email": "ana@example.com"})
    assert (conflict.status, conflict.content["code"]) == (409, "general.conflict")
    buried = api.get(f"/users/{user}", state="deleted")
    assert buried["state"] == "deleted"
    revived = api.done(api.send("PATCH", f"/users/{user}", {"state": "active", "version": buried["version"]}))
    assert (revived["id"], revived["state"]) == (user, "active")
    assert search(api, "ana@example.com") == []


def test_skills_of_a_user_are_added_in_bulk_and_dropped_one_by_one(api: Any) -> None:
    user, skill = api.user(), api.skill()
    path = f"/users/{user}/routingskills"
    api.send("PATCH", path + "/bulk", [{"id": skill, "proficiency": 4}])
    assert api.get(path)["entities"] == [{"id": skill, "name": "Billing", "proficiency": 4.0, "state": "active"}]
    assert api.get(f"/users/{user}", expand="skills")["skills"][0]["id"] == skill
    assert api.send("DELETE", f"{path}/{skill}").status == 204
    assert api.get(path)["entities"] == []


@pytest.mark.parametrize(
    "items", [[{"id": NOBODY, "proficiency": 1}], [{"id": "s", "proficiency": 9}], ["s"] * 51, {}, [7]]
)
def test_wrong_skills_are_refused_and_change_nothing(api: Any, items: object) -> None:
    user = api.user()
    assert api.send("PATCH", f"/users/{user}/routingskills/bulk", items).status == 400
    assert api.get(f"/users/{user}")["version"] == 1


def test_a_deleted_skill_disappears_from_users_without_a_conflict(api: Any) -> None:
    user, skill = api.user(), api.skill()
    api.send("PATCH", f"/users/{user}/routingskills/bulk", [{"id": skill, "proficiency": 4}])
    assert api.send("DELETE", f"/routing/skills/{skill}").status == 204
    assert api.get(f"/users/{user}/routingskills")["entities"] == []


def test_the_small_parts_of_a_user_are_served(api: Any) -> None:
    user = api.user()
    assert api.get(f"/routing/users/{user}/utilization") == {"level": "Organization"}
    api.send("PUT", f"/routing/users/{user}/utilization", {"utilization": {"call": {"maximumCapacity": 1}}})
    assert api.get(f"/routing/users/{user}/utilization")["level"] == "Agent"
    api.send("DELETE", f"/routing/users/{user}/utilization")
    assert api.get(f"/routing/users/{user}/utilization") == {"level": "Organization"}
    assert api.get(f"/voicemail/userpolicies/{user}") == {"enabled": True}
    assert api.send("POST", f"/users/{user}/password", {"newPassword": "x"}).status == 204
    assert api.done(api.send("PUT", f"/users/{user}/profileskills", ["chess"])) == ["chess"]


def test_members_of_a_group_join_and_leave_under_its_version(api: Any) -> None:
    user, group = api.user(), api.post("/groups", {"name": "Leads"})
    path = f"/groups/{group['id']}"
    assert api.send("POST", path + "/members", {"memberIds": [user], "version": 1}).status == 202
    assert [member["id"] for member in api.get(path + "/individuals")["entities"]] == [user]
    assert api.send("DELETE", path + "/members", ids=user).status == 202
    assert api.get(path + "/individuals")["entities"] == []
    assert api.get(f"/voicemail/groups/{group['id']}/policy") == {"enabled": False}


def test_a_blank_owner_means_no_owner(api: Any) -> None:
    group = api.post("/groups", {"name": "Leads", "ownerIds": [" "]})
    assert api.get(f"/groups/{group['id']}")["owners"] == []


def test_a_deleted_user_leaves_queues_and_groups(api: Any) -> None:
    user, queue, group = api.user(), api.queue(), api.post("/groups", {"name": "Leads"})
    api.send("POST", f"/routing/queues/{queue}/members", [{"id": user}])
    api.send("POST", f"/groups/{group['id']}/members", {"memberIds": [user], "version": 1})
    api.send("DELETE", f"/users/{user}")
    assert api.get(f"/routing/queues/{queue}")["memberCount"] == 0
    assert api.get(f"/groups/{group['id']}")["memberCount"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "A"},
        {"name": "A", "email": "nobody"},
        {"name": "A", "email": "a@b", "state": "odd"},
        [],
        5,
        b"{",
        b"\xff",
    ],
)
def test_a_wrong_user_is_a_400(api: Any, body: object) -> None:
    assert api.send("POST", "/users", body).status == 400
    assert api.get("/users")["total"] == 0


@pytest.mark.parametrize(
    "query", [None, [], [{}], [{"fields": "email", "value": "x", "type": "EXACT"}], [5], [{}] * 21]
)
def test_a_wrong_search_is_a_400(api: Any, query: object) -> None:
    assert api.send("POST", "/users/search", {"query": query}).status == 400
