from typing import Any

import pytest


def test_the_organisation_and_the_counts_are_told(api: Any) -> None:
    api.skill()
    assert [skill["name"] for skill in api.control("GET", "organisation").content["skill"]] == ["Billing"]
    counts = api.control("GET", "counts").content
    assert counts["tokensGranted"] == 1
    assert counts["statuses"] == {"200": 2}
    assert [entry["path"] for entry in api.control("GET", "journal").content["entries"]] == [
        "/oauth/token",
        "/api/v2/routing/skills",
    ]


def test_faults_are_switched_on_and_off_while_it_runs(api: Any) -> None:
    api.skill()
    assert api.control("PUT", "faults", [{"kind": "server-error", "status": 502}]).status == 200
    assert api.send("GET", "/routing/skills").status == 502
    assert api.control("GET", "counts").content["faults"] == {"server-error": 1}
    api.control("PUT", "faults", [])
    assert api.send("GET", "/routing/skills").status == 200


def test_limits_are_replaced_while_it_runs_and_the_limits_api_says_so(api: Any) -> None:
    limit = {"key": "client.credentials.token.rate.per.minute", "scope": "token", "allowed": 2}
    api.control("PUT", "limits", [limit])
    shown = api.get("/organizations/limits/namespaces/platform.api")["entities"]
    assert shown == [{"namespace": "platform.api", "key": limit["key"], "value": 2}]
    assert api.get("/organizations/limits/namespaces/platform.api/defaults")["entities"][0]["value"] == 300
    assert api.send("GET", "/routing/skills").status == 429


def test_tokens_are_revoked_and_their_life_is_set(api: Any) -> None:
    api.skill()
    assert api.control("POST", "tokens/revoke").content == {"revoked": 1}
    assert api.send("GET", "/routing/skills").status == 401
    api.control("PUT", "tokens/life", {"seconds": 90})
    assert api.login().content["expires_in"] == 90


@pytest.mark.parametrize(
    ("method", "name", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("PUT", "faults", {"kind": "reset"}, 400),
        ("PUT", "faults", [{"kind": "flood"}], 400),
        ("PUT", "faults", [{"kind": "reset", "path": "("}], 400),
        ("PUT", "faults", [{"kind": "reset"}] * 101, 400),
        ("PUT", "limits", [{"key": "k", "scope": "token", "allowed": 0}], 400),
        ("PUT", "limits", [{"key": "k", "scope": "planet", "allowed": 1}], 400),
        ("PUT", "tokens/life", {"seconds": -1}, 400),
    ],
)
def test_a_wrong_control_request_is_refused_and_changes_nothing(
    api: Any, method: str, name: str, body: object, status: int
) -> None:
    refused = api.control(method, name, body)
    assert refused.status == status, refused.content
    assert api.send("GET", "/routing/skills").status == 200
