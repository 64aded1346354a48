"""`interlock serve` and many large states at once: its memory is bounded, every write is done, holders go first."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.backend.protocol import UNAVAILABLE
from interlock.listening.room import HOLDERS_BYTES, ROOM_BYTES

pytestmark = pytest.mark.e2e
TOKEN = "a-long-token-of-this-test-0123456789"
MB = 1024 * 1024
BODY_MB = 40
CLIENTS = 20
PER_BYTE = 2.5
"""Memory that a write takes for each byte of its state: it itself, as a document, packed, and the version before."""
OWN_MB = 250
"""What a server has with nothing to do, and what its allocator keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server under test."""

    port: int
    pid: int

    def ask(self, method: str, path: str, body: bytes | str = b"") -> tuple[int, bytes]:
        with_token = {"Authorization": f"Bearer {TOKEN}"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request(method, path, body or None, with_token)
        answer = connection.getresponse()
        said = answer.status, answer.read()
        connection.close()
        return said

    def insist(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Ask until there was room, as Terraform does; on a busy machine the last of many waits long."""
        while (said := self.ask(method, path, body))[0] == UNAVAILABLE:
            pass
        return said

    def lock(self, state: str) -> None:
        said = self.ask("LOCK", f"/state/{state}", json.dumps({"ID": f"id-{state}", "Who": "me", "Operation": "apply"}))
        assert said[0] == 200, said

    def number(self, name: str) -> float:
        found = re.search(rf"^{name} (\S+)$", self.ask("GET", "/metrics")[1].decode(), re.MULTILINE)
        assert found is not None
        return float(found[1])

    def wait_for(self, name: str) -> None:
        """Wait until a number is not 0."""
        until_s = time.monotonic() + 60
        while not self.number(name):
            assert time.monotonic() < until_s, name

    def peak_mb(self) -> float:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-m", "interlock", "serve", "--listen", "127.0.0.1:0"],
        env={**os.environ, "INTERLOCK_HOME": str(tmp_path / "home"), "INTERLOCK_TOKEN": TOKEN},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = process.stdout.readline().decode()
    found = re.search(r":(\d+)/state", said) or pytest.fail(said)
    with process.stdout:
        yield Server(port=int(found[1]), pid=process.pid)
        process.terminate()
        assert process.wait(timeout=60) == 0


def document(serial: int, size_mb: int) -> bytes:
    """Return a state of about this size."""
    rows = [
        {
            "mode": "managed",
            "type": "genesyscloud_routing_queue",
            "name": f"q{number}",
            "provider": 'provider["registry.terraform.io/mypurecloud/genesyscloud"]',
            "instances": [{"schema_version": 1, "attributes": {"id": f"{number}", "description": f"{number} " * 150}}],
        }
        for number in range(size_mb * 950)
    ]
    return json.dumps({"version": 4, "serial": serial, "lineage": "l", "outputs": {}, "resources": rows}).encode()


def stranger(server: Server, stack: ExitStack, size: int, to: str = "nobody") -> socket.socket:
    """Begin to upload a state, by default one that nobody holds, and stop in the middle."""
    taken = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
    head = (
        f"POST /state/{to} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {size}\r\n"
    )
    taken.sendall(f"{head}\r\n".encode() + b"x" * 1000)
    return taken


@pytest.mark.promise("P3")
def test_the_write_of_a_holder_is_done_while_strangers_have_all_room_for_others(server: Server) -> None:
    body = document(1, 1)
    server.lock("prod")
    with ExitStack() as stack:
        stranger(server, stack, ROOM_BYTES - MB)
        server.wait_for("interlock_large_bodies_held_bytes")
        waiting = stranger(server, stack, 9 * MB)
        server.wait_for("interlock_large_bodies_waiting")
        assert server.ask("POST", "/state/prod?ID=id-prod", body)[0] == 200
        assert server.number("interlock_large_bodies_waiting") == 1
    waiting.close()
    assert server.ask("GET", "/state/prod") == (200, body)


@pytest.mark.promise("P3")
def test_the_write_of_a_holder_is_done_while_another_holder_sends_a_large_state_slowly(server: Server) -> None:
    body = document(1, 1)
    for state in ("prod", "slow"):
        server.lock(state)
    with ExitStack() as stack:
        stranger(server, stack, HOLDERS_BYTES, to="slow?ID=id-slow")
        server.wait_for("interlock_large_bodies_held_bytes")
        assert server.ask("POST", "/state/prod?ID=id-prod", body)[0] == 200
        assert server.number("interlock_large_bodies_held_bytes") > HOLDERS_BYTES / 2, "it sends still"


@pytest.mark.slow
@pytest.mark.promise("P3")
def test_many_large_states_at_once_are_all_written_and_read_within_bounded_memory(server: Server) -> None:
    states, body = [f"s{number}" for number in range(CLIENTS)], document(1, BODY_MB)
    for state in states:
        server.lock(state)
    with ThreadPoolExecutor(CLIENTS) as pool:
        written = pool.map(lambda state: server.insist("POST", f"/state/{state}?ID=id-{state}", body), states)
        assert [status for status, _ in written] == [200] * CLIENTS
        after_writes_mb = server.peak_mb()
        read = pool.map(lambda state: server.insist("GET", f"/state/{state}") == (200, body), states)
        assert all(read)
    limit_mb = OWN_MB + PER_BYTE * (ROOM_BYTES + HOLDERS_BYTES) / MB
    print(  # noqa: T201 - the measure
        f"{CLIENTS} x {BODY_MB} MB: peak {after_writes_mb:.0f} MB after writes, {server.peak_mb():.0f} MB after reads"
    )
    assert server.peak_mb() < limit_mb
    assert server.number("interlock_large_bodies_held_bytes") == 0
