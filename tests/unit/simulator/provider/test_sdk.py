import json
import threading
from typing import Any

import pytest

from interlock.simulator.provider.sdk import ApiError, Pace, Sdk, Stopped, Upstream
from interlock.simulator.provider.wire import Endpoint


class RecordingEvent(threading.Event):
    """Never waits; remembers how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_s.append(timeout or 0.0)
        return self.is_set()


@pytest.fixture
def stopping() -> RecordingEvent:
    return RecordingEvent()


@pytest.fixture
def sdk(script: Any, stopping: RecordingEvent) -> Sdk:
    endpoint = Endpoint(scheme="http", host="127.0.0.1", port=script.port)
    return Sdk(Upstream(api=endpoint, login=endpoint), "tok", pace=Pace(speed=1.0, stopping=stopping))


def answer(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_a_call_carries_token_agent_and_a_fresh_id_on_every_attempt(script: Any, sdk: Sdk) -> None:
    script.answers = [answer(503), answer(200, b'{"id": "1"}')]
    assert sdk.call("GET", "/users/a b", query={"x": "1"}) == {"id": "1"}
    first, second = (request.decode() for request in script.asked)
    assert first.startswith("GET /api/v2/users/a%20b?x=1 HTTP/1.1")
    assert "Authorization: Bearer tok" in first
    assert "User-Agent: GC Terraform Provider/" in first
    ids = [
        next(line for line in text.split("\r\n") if line.startswith("TF-Correlation-Id")) for text in (first, second)
    ]
    assert ids[0] != ids[1]


def test_retry_after_is_obeyed_on_429_and_503_and_otherwise_waits_double(
    script: Any, sdk: Sdk, stopping: RecordingEvent
) -> None:
    script.answers = [
        answer(500),
        answer(429, b"{}", "Retry-After: 180"),
        answer(503, b"{}", "Retry-After: 7"),
        None,
        answer(429),
        answer(200),
    ]
    sdk.call("POST", "/x", {})
    assert stopping.waited_s == [1.0, 180, 7, 8.0, 16.0]


def test_a_429_with_more_than_180_seconds_is_not_retried(script: Any, sdk: Sdk) -> None:
    body = json.dumps({"message": "slow down"}).encode()
    script.answers = [answer(429, body, "Retry-After: 181", "ININ-Correlation-Id: c-1")]
    with pytest.raises(ApiError, match=r"API Error: 429 - slow down \(c-1\)") as failed:
        sdk.call("GET", "/x")
    assert failed.value.status == 429


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 501])
def test_an_error_is_reported_in_the_words_of_the_real_provider(script: Any, sdk: Sdk, status: int) -> None:
    script.answers = [answer(status, b'{"message": "no"}', "ININ-Correlation-Id: c-1")]
    with pytest.raises(ApiError) as failed:
        sdk.call("DELETE", "/routing/queues/1")
    assert str(failed.value) == f"API Error: {status} - no (c-1)"
    assert json.loads(failed.value.detail("genesyscloud_routing_queue")) == {
        "resourceType": "genesyscloud_routing_queue",
        "method": "DELETE",
        "path": "/api/v2/routing/queues/1",
        "statusCode": status,
        "errorMessage": f"API Error: {status} - no (c-1)",
        "correlationId": "c-1",
    }


def test_after_21_attempts_the_answer_is_lost(script: Any, sdk: Sdk, stopping: RecordingEvent) -> None:
    script.answers = [answer(502)] * 21
    with pytest.raises(ApiError, match=r"giving up after 21 attempt\(s\)") as failed:
        sdk.call("GET", "/x")
    assert len(script.asked) == 21
    assert stopping.waited_s == [1.0, 2.0, 4.0, 8.0, 16.0, *[30.0] * 15]
    assert "has no data" in failed.value.detail("t")


def test_an_error_without_json_has_no_status(script: Any, sdk: Sdk) -> None:
    script.answers = [answer(404, b"<html>")]
    with pytest.raises(ApiError) as failed:
        sdk.call("GET", "/x")
    assert failed.value.status == 0


def test_a_stop_ends_the_waiting_for_a_retry(script: Any, sdk: Sdk, stopping: RecordingEvent) -> None:
    stopping.set()
    script.answers = [answer(503)]
    with pytest.raises(Stopped):
        sdk.call("GET", "/x")


def test_a_stubborn_provider_goes_on_with_its_attempts_though_it_was_stopped(script: Any) -> None:
    stopped = threading.Event()
    stopped.set()
    endpoint = Endpoint(scheme="http", host="127.0.0.1", port=script.port)
    pace = Pace(speed=1000.0, stopping=stopped, is_stubborn=True)
    script.answers = [answer(503), answer(200, b'{"id": "1"}')]
    assert Sdk(Upstream(api=endpoint, login=endpoint), "tok", pace=pace).call("GET", "/users") == {"id": "1"}
    with pytest.raises(Stopped):
        pace.wait(1.0)
