"""One run's address, spoken to as Terraform does and as nobody should."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from interlock.backend.gate import RunGate
from interlock.backend.loopback import MAX_HEAD_BYTES, parse_head, serve_run
from interlock.coordinator.archive import StateArchive
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import UsageError
from interlock.lock import Requested
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.terraform.lockinfo import LockInfo, render_lock_info
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

SECRET = "a-secret-that-nobody-knows"
PATH = f"/run/{SECRET}/state"
LOCK = render_lock_info(LockInfo(id="lock-1", operation="OperationTypeApply", who="a@b", version="1.11.4"))


def state(serial: int) -> bytes:
    document = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l", "resources": []}
    return json.dumps({**document, "outputs": {}, "check_results": None}).encode()


class Line:
    """One connection to the address."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str = PATH, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def send(self, raw: bytes) -> tuple[int, bytes]:
        self._writer.write(raw)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("Content-Length"))
        return int(head.split()[1]), await self._reader.readexactly(length)

    async def is_closed(self) -> bool:
        return await self._reader.read() == b""


@asynccontextmanager
async def opened(
    *, granted: bool = True, limit_bytes: int = 1 << 20, plans_first: bool = False, applying: bool = False
) -> AsyncIterator[tuple[Line, StateArchive]]:
    """Serve a gate, hold its state if wished, and connect to it."""
    clock, ids = FakeClock(), CountingIds()
    records = MemoryRecords(clock=clock)
    coordinator = LocalCoordinator(records, clock, ids)
    archive = StateArchive(coordinator, records, MemoryBlobs(), clock)
    gate = RunGate(coordinator, archive, state="s", run="r1", who="a@b", plans_first=plans_first)
    if applying:
        gate.allow_deletions(frozenset(), applying=True)
    if granted:
        request = Requested(ticket="r1", run="r1", who="a@b", lease_s=6.0, patience_s=15.0)
        grant = await coordinator.acquire("s", request, timeout_s=0.0)
        gate.admit(ticket=grant.ticket, token=grant.token)
    async with serve_run(gate, SECRET, limit_bytes=limit_bytes) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        yield Line(reader, writer), archive
        writer.close()


async def test_one_connection_carries_a_whole_apply() -> None:
    async with opened() as (line, archive):
        assert await line.ask("GET") == (204, b"")
        assert (await line.ask("LOCK", body=LOCK))[0] == 200
        digest = base64.b64encode(hashlib.md5(state(1), usedforsecurity=False).digest()).decode()
        assert (await line.ask("POST", f"{PATH}?ID=lock-1", state(1), Content_MD5=digest))[0] == 200
        assert await line.ask("GET") == (200, state(1))
        assert (await line.ask("UNLOCK", body=LOCK))[0] == 200
        assert [version.serial for version in await archive.history("s")] == [1]


@pytest.mark.promise("P8")
@pytest.mark.parametrize("applying", [False, True])
async def test_an_interrupted_plan_of_a_new_state_leaves_no_version(applying: bool) -> None:
    """Terraform then writes the empty state that it began with (seen with 1.11.4)."""
    async with opened(plans_first=True, applying=applying) as (line, archive):
        assert (await line.ask("LOCK", body=LOCK))[0] == 200
        assert (await line.ask("POST", f"{PATH}?ID=lock-1", state(1)))[0] == 200
        assert [version.serial for version in await archive.history("s")] == ([1] if applying else [])


@pytest.mark.promise("P3")
async def test_whatever_an_interrupted_plan_writes_that_holds_something_is_stored() -> None:
    holds = json.loads(state(1)) | {"outputs": {"a": {"value": 1, "type": "number"}}}
    async with opened(plans_first=True) as (line, archive):
        assert (await line.ask("LOCK", body=LOCK))[0] == 200
        assert (await line.ask("POST", f"{PATH}?ID=lock-1", json.dumps(holds).encode()))[0] == 200
        assert [version.serial for version in await archive.history("s")] == [1]


@pytest.mark.promise("P4")
async def test_an_empty_state_of_a_plan_that_was_never_granted_is_refused_like_any_other() -> None:
    async with opened(granted=False, plans_first=True) as (line, archive):
        assert (await line.ask("POST", f"{PATH}?ID=lock-1", state(1)))[0] == 409
        assert await archive.history("s") == ()


async def test_before_the_grant_a_run_may_only_read() -> None:
    async with opened(granted=False) as (line, archive):
        assert (await line.ask("GET"))[0] == 204
        assert (await line.ask("POST", f"{PATH}?ID=lock-1", state(1)))[0] == 409
        assert await archive.history("s") == ()


@pytest.mark.parametrize("path", ["/run/another/state", "/", f"{PATH}/more", "/run//state", "/state/s"])
@pytest.mark.parametrize("method", ["GET", "POST", "LOCK", "DELETE"])
async def test_at_another_address_nothing_but_the_head_is_read(path: str, method: str) -> None:
    async with opened() as (line, archive):
        head = f"{method} {path} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
        assert (await line.send(head.encode()))[0] == 401
        assert await line.is_closed()
        assert await archive.history("s") == ()


async def test_a_wrong_checksum_or_lock_id_is_refused_and_nothing_is_written() -> None:
    async with opened() as (line, archive):
        await line.ask("LOCK", body=LOCK)
        wrong = base64.b64encode(b"0" * 16).decode()
        assert (await line.ask("POST", f"{PATH}?ID=lock-1", state(1), Content_MD5=wrong))[0] == 400
        assert (await line.ask("POST", f"{PATH}?ID=lock-2", state(1)))[0] == 409
        assert (await line.ask("DELETE"))[0] == 400
        assert await archive.history("s") == ()


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read_and_ends_the_connection() -> None:
    async with opened(limit_bytes=100) as (line, _):
        status, _ = await line.send(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 101\r\n\r\n".encode())
        assert status == 413
        assert await line.is_closed()


async def test_a_length_of_thousands_of_digits_is_beyond_every_limit() -> None:
    async with opened() as (line, _):
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {'9' * 5000}\r\n\r\n"
        assert (await line.send(head.encode()))[0] == 413


async def test_who_does_not_show_the_address_in_time_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.backend.loopback.HEAD_S", 0.01)
    async with opened() as (line, _):
        assert await line.is_closed()


@pytest.mark.parametrize("header", ["Transfer-Encoding: chunked", "Content-Length: -1", "Content-Length: many"])
async def test_a_body_of_unsaid_length_is_refused(header: str) -> None:
    async with opened() as (line, _):
        assert (await line.send(f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode()))[0] == 411


@pytest.mark.parametrize(
    "raw", [b"hello\r\n\r\n", b"GET / SPDY/3\r\n\r\n", b"GET http:// [x HTTP/1.1\r\n\r\n", b"\xff \xfe\r\n\r\n"]
)
async def test_what_is_no_http_is_refused(raw: bytes) -> None:
    async with opened() as (line, _):
        assert (await line.send(raw))[0] == 400


async def test_an_endless_head_ends_the_connection() -> None:
    async with opened() as (line, _):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await line.send(b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES * 20))


async def test_a_client_that_says_close_is_let_go() -> None:
    async with opened() as (line, _):
        assert (await line.ask("GET", Connection="close"))[0] == 204
        assert await line.is_closed()


def test_a_head_is_read_with_its_query_and_headers_in_lower_case() -> None:
    head = parse_head(b"POST /run/x/state?ID=a%20b HTTP/1.1\r\nContent-MD5: z\r\n\r\n")
    assert (head.method, head.path, head.query, head.headers) == (
        "POST",
        "/run/x/state",
        {"ID": "a b"},
        {"content-md5": "z"},
    )
    assert "run/x" not in repr(head)
    with pytest.raises(UsageError):
        parse_head(b"")


async def test_strangers_who_send_half_a_head_never_keep_terraform_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.backend.loopback.CONNECTIONS_MAX", 8)
    async with opened() as (line, _):
        port = line._writer.get_extra_info("peername")[1]
        writers = []
        for _number in range(30):
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /run/")
            writers.append(writer)
        terraform = Line(*await asyncio.open_connection("127.0.0.1", port))
        assert (await terraform.ask("GET"))[0] == 204
        for writer in (*writers, terraform._writer):
            writer.close()
