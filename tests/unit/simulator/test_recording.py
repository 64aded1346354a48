import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from interlock.secrecy import know_secrets
from interlock.simulator import Moment, Reply, Request
from interlock.simulator.recording import Exchange, Recorder, Replay, read_recording

NOW = Moment(at=datetime(2026, 1, 1, tzinfo=UTC), elapsed_s=1.0)
TOKEN = "ajfiownvowiehfoiwhefo298"


def request(method: str, path: str, body: Any = None, **query: str) -> Request:
    raw = b"" if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {TOKEN}", "cookie": "session=1"}
    return Request(method=method, path=path, query=query, headers=headers, body=raw)


def reply(content: Any, status: int = 200, **headers: str) -> Reply:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status=status, content=json.dumps(content).encode(), headers=named)


def kept(recorder: Recorder, asked: Request, answered: Reply) -> Exchange:
    exchange = recorder.keep(asked, answered)
    assert exchange is not None
    return exchange


@pytest.mark.promise("P10")
def test_nothing_secret_is_kept() -> None:
    recorder = Recorder(know_secrets(["top-level-secret-of-the-client"]))
    login = reply({"access_token": "granted-token-value-123"})
    assert recorder.keep(Request(method="POST", path="/oauth/token", body=b"client_secret=x"), login) is None
    body = {"name": "Robot", "credentialFields": {"userName": "robot", "password": "hunter2-and-more"}}
    answer = {"id": "1", "name": "Robot", "secret": "answered-secret-value", "note": f"made with {TOKEN}"}
    exchange = kept(recorder, request("POST", "/api/v2/integrations/credentials", body), reply(answer, set_cookie="s"))
    later = kept(
        recorder,
        request("GET", "/api/v2/x/granted-token-value-123", token="top-level-secret-of-the-client"),
        reply({"seen": "answered-secret-value hunter2-and-more"}),
    )
    written = (msgspec.json.encode(exchange) + msgspec.json.encode(later)).decode()
    for secret in (TOKEN, "granted-token", "hunter2", "answered-secret", "top-level-secret", "session=1"):
        assert secret not in written
    assert "Robot" in written


def test_what_the_limits_say_is_kept_and_other_headers_are_not() -> None:
    answered = reply({}, 429, Retry_After="7", inin_ratelimit_count="300", Server="x")
    exchange = kept(Recorder(), request("GET", "/api/v2/users"), answered)
    assert exchange.headers == {"retry-after": "7", "inin-ratelimit-count": "300"}


def replayed(exchanges: list[Exchange]) -> Replay:
    lines = [msgspec.json.encode(exchange) for exchange in exchanges]
    return Replay(read_recording([*lines, b"\n"]))


def answered(replay: Replay, asked: Request) -> Reply:
    outcome = replay.handle(asked, NOW)
    assert outcome.reply is not None
    return outcome.reply


def test_calls_are_answered_in_the_order_of_the_recording_and_the_last_answer_stays() -> None:
    path = "/api/v2/routing/skills/1"
    replay = replayed(
        [
            Exchange(method="GET", path=path, status=404, content={"status": 404}),
            Exchange(method="GET", path=path, status=200, content={"name": "Billing"}),
        ]
    )
    statuses = [answered(replay, request("GET", path)).status for _ in range(3)]
    assert statuses == [404, 200, 200]
    assert answered(replay, request("POST", "/oauth/token")).content["access_token"]


def test_among_the_same_calls_the_one_with_the_same_body_is_answered() -> None:
    path = "/api/v2/routing/skills"
    replay = replayed(
        [
            Exchange(method="POST", path=path, status=200, body={"name": name}, content={"id": name})
            for name in ("one", "two", "three")
        ]
    )
    ids = [answered(replay, request("POST", path, {"name": name})).content["id"] for name in ("three", "one", "two")]
    assert ids == ["three", "one", "two"]


def test_the_order_of_a_query_does_not_matter_and_an_unknown_call_is_a_404_that_is_remembered() -> None:
    recorder = Recorder()
    exchange = kept(recorder, request("GET", "/api/v2/users", pageNumber="1", pageSize="5"), reply({"entities": []}))
    replay = replayed([exchange])
    assert answered(replay, request("GET", "/api/v2/users", pageSize="5", pageNumber="1")).status == 200
    refused = answered(replay, request("DELETE", "/api/v2/users/1"))
    assert (refused.status, refused.content["code"]) == (404, "not.recorded")
    assert answered(replay, request("GET", "/_control/unknown")).content["unknown"] == ["DELETE /api/v2/users/1"]


def test_what_is_no_json_is_answered_as_it_was() -> None:
    page = Reply(status=503, content=b"<html>later</html>", headers=(("Content-Type", "text/html"),))
    exchange = kept(Recorder(), request("GET", "/api/v2/users"), page)
    answer = answered(replayed([exchange]), request("GET", "/api/v2/users"))
    assert (answer.status, answer.content, answer.headers) == (
        503,
        b"<html>later</html>",
        (("content-type", "text/html"),),
    )


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"method": "GET", "path": "/", "status": 200, "schema": 2}'])
def test_a_line_that_is_no_exchange_is_said_with_its_number(line: bytes) -> None:
    with pytest.raises(ValueError, match="line 1"):
        list(read_recording([line]))
