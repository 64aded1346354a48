from typing import Any

import pytest


@pytest.fixture
def role(api: Any) -> str:
    policies = [{"domain": "directory", "entityName": "user", "actionSet": ["add"]}]
    return str(api.post("/authorization/roles", {"name": "Agents", "permissionPolicies": policies})["id"])


def granted(api: Any, subject: str) -> list[tuple[str, str]]:
    grants = api.get(f"/authorization/subjects/{subject}")["grants"]
    return [(grant["role"]["id"], grant["division"]["id"]) for grant in grants]


def test_a_role_is_granted_in_a_division_and_taken_back(api: Any, role: str) -> None:
    user, home = api.user(), api.get("/authorization/divisions/home")["id"]
    for _ in range(2):
        body = {"grants": [{"roleId": role, "divisionId": home}]}
        assert api.send("POST", f"/authorization/subjects/{user}/bulkadd", body).status == 204
    assert granted(api, user) == [(role, home)]
    path = f"/authorization/subjects/{user}/divisions/{home}/roles/{role}"
    assert api.send("DELETE", path).status == 204
    assert api.send("DELETE", path).status == 404
    assert granted(api, user) == []


def test_a_grant_of_a_role_that_is_not_there_yet_is_a_404_which_the_provider_retries(api: Any) -> None:
    body = {"grants": [{"roleId": "nobody", "divisionId": "*"}]}
    assert api.send("POST", f"/authorization/subjects/{api.user()}/bulkadd", body).status == 404


def test_an_update_of_a_role_keeps_its_grants_and_its_deletion_ends_them(api: Any, role: str) -> None:
    user = api.user()
    api.send("POST", f"/authorization/subjects/{user}/bulkadd", {"grants": [{"roleId": role, "divisionId": "*"}]})
    api.done(api.send("PUT", f"/authorization/roles/{role}", {"name": "Agents 2"}))
    assert granted(api, user) == [(role, "*")]
    api.done(api.send("DELETE", f"/authorization/roles/{role}"))
    assert granted(api, user) == []


def test_every_organisation_has_its_default_roles(api: Any) -> None:
    names = [role["name"] for role in api.get("/authorization/roles")["entities"]]
    assert "employee" in names
    role = api.get("/authorization/roles", name="employee")["entities"][0]
    assert role["default"] is True
    assert api.done(api.send("PUT", "/authorization/roles/default", [{"id": role["id"]}]))[0]["id"] == role["id"]


def test_the_catalogue_of_permissions_names_what_operations_ask_for(api: Any) -> None:
    found = api.get("/authorization/permissions", queryType="domain", queryString="routing")["entities"]
    assert "queue" in found[0]["permissionMap"]
    assert api.get("/authorization/permissions", queryString="nothing")["entities"] == []


def test_members_come_to_a_team_and_leave_it(api: Any) -> None:
    team = api.post("/teams", {"name": "Night"})["id"]
    user = api.user()
    api.post(f"/teams/{team}/members", {"memberIds": [user]})
    assert [each["id"] for each in api.get(f"/teams/{team}/members")["entities"]] == [user]
    api.done(api.send("PATCH", f"/teams/{team}", {"name": "Late"}))
    assert [each["id"] for each in api.get(f"/teams/{team}/members")["entities"]] == [user]
    assert api.send("DELETE", f"/teams/{team}/members", id=user).status == 204
    assert api.get(f"/teams/{team}/members")["entities"] == []


def test_a_token_of_client_credentials_has_no_user(api: Any) -> None:
    assert api.send("GET", "/users/me").status == 400
    assert api.get("/tokens/me")["OAuthClient"]["organization"]["id"]


def test_a_client_with_client_credentials_needs_roles_and_never_changes_its_secret(api: Any, role: str) -> None:
    body = {"name": "CI", "authorizedGrantType": "CLIENT-CREDENTIALS"}
    assert api.send("POST", "/oauth/clients", body).status == 400
    whole = {**body, "roleDivisions": [{"roleId": role, "divisionId": "*"}]}
    client = api.post("/oauth/clients", whole)
    changed = api.done(api.send("PUT", f"/oauth/clients/{client['id']}", {**whole, "name": "CI 2"}))
    assert changed["secret"] == client["secret"]
    assert api.send("POST", "/oauth/clients", {**whole, "roleDivisions": [{"roleId": "x"}]}).status == 400
