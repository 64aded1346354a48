from typing import Any

import pytest

from interlock.simulator import OAuthClient, Terms


def test_the_home_division_is_there_from_the_first_request(api: Any) -> None:
    home = api.get("/authorization/divisions/home")
    assert (home["name"], home["homeDivision"]) == ("Home", True)
    assert api.send("DELETE", f"/authorization/divisions/{home['id']}").status == 400


@pytest.mark.parametrize("kind", ["queue", "user", "wrapupcode", "schedule"])
def test_a_division_with_an_object_in_it_cannot_be_deleted(api: Any, kind: str) -> None:
    division = api.post("/authorization/divisions", {"name": "Retail"})["id"]
    where = {"division": {"id": division}}
    bodies = {
        "queue": ("/routing/queues", {"name": "Orders", **where}),
        "user": ("/users", {"name": "Ana", "email": "a@b.c", "divisionId": division}),
        "wrapupcode": ("/routing/wrapupcodes", {"name": "Done", **where}),
        "schedule": (
            "/architect/schedules",
            {"name": "Day", "start": "2026-01-01T08:00:00.000000", "end": "2026-01-01T17:00:00.000000", **where},
        ),
    }
    path, body = bodies[kind]
    item = api.post(path, body)["id"]
    refused = api.send("DELETE", f"/authorization/divisions/{division}", force="false")
    assert refused.status == 400
    assert refused.content["message"] == f"Scope '{division}' may not be deleted because it has objects in it."
    api.send("DELETE", f"{path}/{item}", forceDelete="true")
    assert api.send("DELETE", f"/authorization/divisions/{division}", force="false").status == 204
    assert api.send("GET", f"/authorization/divisions/{division}").status == 404


def test_objects_move_between_divisions(api: Any) -> None:
    division, queue = api.post("/authorization/divisions", {"name": "Retail"})["id"], api.queue()
    assert api.send("POST", f"/authorization/divisions/{division}/objects/QUEUE", [queue]).status == 204
    assert api.get(f"/routing/queues/{queue}")["division"]["id"] == division
    assert api.send("POST", f"/authorization/divisions/{division}/objects/TEAPOT", [queue]).status == 404
    assert api.send("POST", f"/authorization/divisions/{division}/objects/QUEUE", ["nobody"]).status == 404


def test_what_the_provider_asks_at_configure_has_the_fields_it_would_crash_without(api: Any) -> None:
    assert api.get("/organizations/me")["defaultCountryCode"]
    products = api.get("/authorization/products")
    assert products["total"] == len(products["entities"])
    assert all(product["id"] for product in products["entities"])


def test_a_client_without_the_permission_is_refused_with_its_name(api_with: Any) -> None:
    reader = OAuthClient(id="r", secret="s", permissions=frozenset({"routing:skill:view", "directory:*"}))
    api = api_with(Terms(clients=(reader,)))
    api.login("r", "s")
    refused = api.send("POST", "/routing/skills", {"name": "Billing"})
    assert (refused.status, refused.content["code"]) == (403, "missing.any.permissions")
    assert refused.content["message"].endswith("permissions assigned: [routing:skill:manage]")
    assert api.get("/routing/skills")["total"] == 0
    api.user()
    grants = api.get("/authorization/subjects/me")["grants"]
    assert {policy["domain"] for policy in grants[0]["role"]["policies"]} == {"routing", "directory"}
