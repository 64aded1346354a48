from typing import Any
from uuid import UUID

import pytest

from interlock.simulator import Delays, FaultKind, FaultRule, Limit, OAuthClient, Request, Scope, Terms


def test_every_answer_has_a_correlation_id_and_the_standing_of_the_token(api: Any) -> None:
    headers = dict(api.send("GET", "/routing/skills").headers)
    assert str(UUID(headers["ININ-Correlation-Id"])) == headers["ININ-Correlation-Id"]
    assert headers["inin-ratelimit-count"] == "1"
    assert headers["inin-ratelimit-allowed"] == "300"


def test_an_error_has_the_vendors_fields_and_the_id_of_its_header(api: Any) -> None:
    refused = api.send("GET", "/routing/queues/nobody")
    assert refused.status == 404
    assert set(refused.content) == {"message", "code", "status", "messageParams", "contextId", "details", "errors"}
    assert dict(refused.headers)["ININ-Correlation-Id"] == refused.content["contextId"]


def test_the_301st_request_of_a_token_in_a_minute_is_refused_and_another_token_is_not(api: Any) -> None:
    statuses = [api.send("GET", "/routing/skills").status for _ in range(301)]
    assert statuses == [200] * 300 + [429]
    refused = api.send("GET", "/routing/skills")
    assert dict(refused.headers)["Retry-After"] == "60"
    assert dict(refused.headers)["Cache-Control"] == "no-cache, no-store, must-revalidate"
    api.login()
    assert api.send("GET", "/routing/skills").status == 200
    api.elapsed_s += 60
    assert api.send("GET", "/routing/skills").status == 200


def test_a_user_limit_counts_all_tokens_of_the_user(api_with: Any) -> None:
    client = OAuthClient(id="c", secret="s", user_id="u")
    limit = Limit(key="org.user.rate.per.minute", scope=Scope.USER, allowed=2)
    api = api_with(Terms(clients=(client,), limits=(limit,)))
    statuses = []
    for _ in range(3):
        api.login("c", "s")
        statuses.append(api.send("GET", "/routing/skills").status)
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/routing", 404),
        ("TRACE", "/routing/skills", 405),
        ("DELETE", "/routing/skills", 405),
        ("GET", "/" + "x" * 3000, 414),
        ("GET", "/routing/skills/../../oauth/token", 404),
        ("GET", "//", 404),
    ],
)
def test_an_unknown_path_or_method_gets_a_proper_error(api: Any, method: str, path: str, status: int) -> None:
    assert api.send(method, path).status == status


def test_a_request_outside_the_api_is_a_404_and_needs_no_token(api: Any) -> None:
    for path in ("/", "/api/v1/users", "/etc/passwd", "/oauth/authorize"):
        reply = api.simulation.handle(Request(method="GET", path=path), api.moment).reply
        assert reply.status == 404


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 5000, b'{"name": "x"', b'"text"', b"null", b"[]"])
def test_a_body_that_is_no_object_is_a_400(api: Any, body: bytes) -> None:
    assert api.send("POST", "/routing/skills", body).status == 400


def test_a_body_above_the_limit_is_a_413_and_does_nothing(api: Any) -> None:
    assert api.send("POST", "/routing/skills", b'{"name":"' + b"x" * 512_000 + b'"}').status == 413
    assert api.get("/routing/skills")["total"] == 0


def test_a_storm_of_429_says_what_it_is_told_to_say(api_with: Any) -> None:
    rules = (
        FaultRule(kind=FaultKind.TOO_MANY, seconds=181, times=1),
        FaultRule(kind=FaultKind.TOO_MANY, seconds=None, times=1),
    )
    api = api_with(Terms(faults=rules))
    first, second = api.send("GET", "/routing/skills"), api.send("GET", "/routing/skills")
    assert (first.status, dict(first.headers)["Retry-After"]) == (429, "181")
    assert second.status == 429
    assert "Retry-After" not in dict(second.headers)


def test_a_lost_reply_was_done_and_a_reset_was_not(api_with: Any) -> None:
    rules = (
        FaultRule(kind=FaultKind.LOST_REPLY, method="POST", times=1),
        FaultRule(kind=FaultKind.RESET, method="POST", times=1),
    )
    api = api_with(Terms(faults=rules))
    assert api.outcome("POST", "/routing/skills", {"name": "a"}).reply is None
    assert api.outcome("POST", "/routing/skills", {"name": "b"}).reply is None
    assert [skill["name"] for skill in api.get("/routing/skills")["entities"]] == ["a"]
    assert api.simulation.statuses[0] == 2


def test_a_done_error_was_done_and_a_server_error_was_not(api_with: Any) -> None:
    rules = (
        FaultRule(kind=FaultKind.DONE_ERROR, method="POST", times=1, status=504),
        FaultRule(kind=FaultKind.SERVER_ERROR, method="POST", times=1, status=503, seconds=7),
    )
    api = api_with(Terms(faults=rules))
    assert api.send("POST", "/routing/skills", {"name": "a"}).status == 504
    refused = api.send("POST", "/routing/skills", {"name": "b"})
    assert (refused.status, dict(refused.headers)["Retry-After"]) == (503, "7")
    assert [skill["name"] for skill in api.get("/routing/skills")["entities"]] == ["a"]


def test_a_body_that_is_no_json_is_a_page(api_with: Any) -> None:
    api = api_with(Terms(faults=(FaultRule(kind=FaultKind.NOT_JSON, status=502, times=1),)))
    reply = api.send("GET", "/routing/skills")
    assert reply.status == 502
    assert reply.content.startswith(b"<html>")
    assert ("Content-Type", "text/html") in reply.headers


def test_every_second_mint_meets_the_login_limit(api_with: Any) -> None:
    api = api_with(Terms(faults=(FaultRule(kind=FaultKind.LOGIN_LIMIT, every=2),)))
    replies = [api.login() for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 400, 200, 400]
    assert replies[1].content["error_description"].startswith("rate limit exceeded;")


def test_speed_shortens_windows_and_delays(api_with: Any) -> None:
    limit = Limit(key="k", scope=Scope.TOKEN, allowed=2)
    api = api_with(Terms(limits=(limit,), delays=Delays(read_s=20), speed=20))
    skill = api.skill()
    assert api.send("GET", f"/routing/skills/{skill}").status == 404
    assert api.send("GET", "/routing/skills").status == 429
    api.elapsed_s += 3
    assert api.send("GET", f"/routing/skills/{skill}").status == 200


def test_a_caller_can_end_its_own_token(api: Any) -> None:
    assert api.get("/tokens/me")["OAuthClient"]["name"] == "Terraform"
    assert api.send("DELETE", "/tokens/me").status == 200
    assert api.send("GET", "/tokens/me").status == 401


def test_two_simulations_of_one_seed_have_the_same_history(api_with: Any) -> None:
    first, second = api_with(Terms(seed=3)), api_with(Terms(seed=3))
    for api in (first, second):
        api.skill()
        api.user()
    assert first.simulation.snapshot() == second.simulation.snapshot()
    assert api_with(Terms(seed=4)).skill() != first.simulation.snapshot()["skill"][0]["id"]
