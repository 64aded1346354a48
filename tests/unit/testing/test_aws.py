from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from interlock.testing.aws import LocalAws, OneAtATime, served

LONG_S = 30.0


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield environ["wsgi.input"].read()


def post(url: str, body: bytes = b"") -> bytes:
    with urllib.request.urlopen(url, body, timeout=LONG_S) as reply:
        content: bytes = reply.read()
        return content


def test_no_two_requests_are_in_the_application_at_once() -> None:
    met = threading.Barrier(2)

    def meet(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:  # also while the answer is made: moto reads its dictionaries there too
            met.wait(timeout=0.05)
        except threading.BrokenBarrierError:
            met.reset()
            yield b"alone"
        else:
            yield b"together"

    with served(OneAtATime(meet)) as url, ThreadPoolExecutor(4) as clients:
        assert set(clients.map(lambda _: post(url), range(4))) == {b"alone"}


def test_a_client_that_stops_half_way_through_its_request_holds_up_nobody() -> None:
    with served(OneAtATime(echo)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as stuck:
            stuck.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
            assert post(url, b"whole") == b"whole"


def test_a_body_in_chunks_arrives_whole() -> None:
    with served(OneAtATime(echo)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=LONG_S) as client:
            client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
            client.sendall(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert b"abcde" in answer


def test_headers_and_body_arrive_together() -> None:
    """Terraform repeats a request whose headers came alone, and then meets the lock that it took itself."""

    def answer(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"{}"]

    def first_piece(address: tuple[str, int]) -> bytes:
        with socket.create_connection(address, timeout=LONG_S) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return client.recv(4096)

    with served(answer) as url, ThreadPoolExecutor(8) as clients:
        host, _, port = url.removeprefix("http://").partition(":")
        pieces = clients.map(first_piece, [(host, int(port))] * 200)
        assert {piece[-2:] for piece in pieces} == {b"{}"}


def test_a_client_that_asks_before_it_sends_its_body_is_told_at_once_to_go_on() -> None:
    with served(OneAtATime(echo)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=LONG_S) as client:
            client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 100 ")
            client.sendall(b"whole")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"whole" in answer


def test_the_services_keep_buckets_and_tables(aws: LocalAws) -> None:
    bucket, table = aws.new_bucket(), aws.new_table()
    aws.s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    assert aws.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"
    assert aws.dynamodb.describe_table(TableName=table)["Table"]["TableName"] == table
