import socket
from typing import Any

import pytest

from interlock.simulator.provider.wire import Endpoint, Response, WireError, exchange


def send(script: Any, method: str = "GET", body: bytes = b"", timeout_s: float = 5.0) -> Response:
    endpoint = Endpoint(scheme="http", host="127.0.0.1", port=script.port, prefix="/run/7")
    return exchange(endpoint, method, "/api/v2/x?y=1", headers={"A": "b"}, body=body, timeout_s=timeout_s)


def test_a_request_asks_to_close_and_carries_prefix_host_and_length(script: Any) -> None:
    script.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Y: z\r\n\r\n{}"]
    answer = send(script, "POST", b"body")
    assert (answer.status, answer.headers["x-y"], answer.body) == (200, "z", b"{}")
    head, _, body = script.asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /run/7/api/v2/x?y=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{script.port}".encode() in head
    assert b"Connection: close" in head
    assert body == b"body"


def test_chunked_answers_are_joined_and_informational_ones_skipped(script: Any) -> None:
    script.answers = [
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
    ]
    assert send(script).body == b"abcde"


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"nonsense",
        b"HTTP/1.1 abc\r\n\r\n",
    ],
)
def test_half_an_answer_is_an_error_and_never_half_a_result(script: Any, raw: bytes | None) -> None:
    script.answers = [raw]
    with pytest.raises(WireError):
        send(script)


def test_an_answer_that_does_not_come_in_time_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = Endpoint(scheme="http", host="127.0.0.1", port=silent.getsockname()[1])
        with pytest.raises(WireError, match="timed out"):
            exchange(endpoint, "GET", "/", headers={}, body=b"", timeout_s=0.05)


def test_the_default_port_is_left_out_of_the_host() -> None:
    assert Endpoint(scheme="http", host="h", port=80).authority == "h"
    assert Endpoint(scheme="http", host="h", port=443).authority == "h:443"
