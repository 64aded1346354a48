from typing import Any

import pytest

from interlock.simulator import DEFAULT_CLIENT, AuditTerms, OAuthClient, Terms

ALL = "2020-01-01T00:00:00Z/2030-01-01T00:00:00Z"


def found(api: Any, **fields: Any) -> list[Any]:
    query = api.post("/audits/query", {"interval": ALL, **fields})
    assert api.get(f"/audits/query/{query['id']}")["state"] == "Succeeded"
    entities: list[Any] = api.get(f"/audits/query/{query['id']}/results", pageSize="500")["entities"]
    return entities


def test_a_change_is_found_with_who_did_it_and_what_it_was_before(api_with: Any) -> None:
    admin = OAuthClient(id="admin", secret="s", name="Dana Admin")
    api = api_with(Terms(clients=(DEFAULT_CLIENT, admin)))
    queue = api.queue("Orders", description="old")
    api.login("admin", "s")
    api.send("PUT", f"/routing/queues/{queue}", {"name": "Orders", "description": "new"})
    events = found(api, serviceName="ContactCenter", filters=[{"property": "EntityId", "value": queue}])
    assert [(event["action"], event["user"]["name"]) for event in events] == [
        ("Create", "Terraform"),
        ("Update", "Dana Admin"),
    ]
    assert events[1]["propertyChanges"] == [{"property": "description", "oldValues": ["old"], "newValues": ["new"]}]
    assert events[1]["entityType"] == "Queue"


def test_results_come_by_cursor_newest_first_when_asked(api: Any) -> None:
    for number in range(3):
        api.skill(f"Skill {number}")
        api.elapsed_s += 1
    body = {"interval": ALL, "serviceName": "Routing", "sort": [{"name": "Timestamp", "sortOrder": "Descending"}]}
    query = api.post("/audits/query", body)["id"]
    first = api.get(f"/audits/query/{query}/results", pageSize="2")
    assert [event["entity"]["name"] for event in first["entities"]] == ["Skill 2", "Skill 1"]
    second = api.get(f"/audits/query/{query}/results", pageSize="2", cursor=first["cursor"])
    assert [event["entity"]["name"] for event in second["entities"]] == ["Skill 0"]
    assert "cursor" not in second


def test_events_are_late_when_the_terms_say_so(api_with: Any) -> None:
    api = api_with(Terms(audits=AuditTerms(lag_s=30)))
    api.skill()
    assert found(api, serviceName="Routing") == []
    api.elapsed_s += 30
    assert len(found(api, serviceName="Routing")) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"interval": "yesterday"},
        {"interval": "a/b"},
        {"interval": ALL, "filters": [{"property": "Colour", "value": "x"}]},
        {"interval": ALL, "filters": 5},
    ],
)
def test_a_wrong_query_is_a_400(api: Any, body: dict[str, Any]) -> None:
    api.skill()
    assert api.send("POST", "/audits/query", body).status == 400


def test_an_unknown_query_is_a_404(api: Any) -> None:
    assert api.send("GET", "/audits/query/nobody").status == 404
    assert api.send("GET", "/audits/query/nobody/results").status == 404
