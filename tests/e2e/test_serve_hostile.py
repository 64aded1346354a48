"""`interlock serve` against clients that only take its connections."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
FILES = 256


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a server that may open 256 files."""
    server = subprocess.Popen(
        [sys.executable, "-m", "interlock", "serve", "--listen", "127.0.0.1:0"],
        env={**os.environ, "INTERLOCK_HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES)),  # noqa: PLW1509 - no threads here
    )
    assert server.stdout is not None
    said = server.stdout.readline().decode()
    found = re.search(r":(\d+)/state", said) or pytest.fail(said)
    yield int(found[1])
    server.terminate()
    assert server.wait(timeout=30) == 0


@pytest.mark.promise("P2")
def test_three_hundred_half_sent_requests_do_not_block_a_server_with_256_descriptors(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(300):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            stranger.sendall(b"LOCK /state/prod HTTP/1.1\r\nHost: localhost\r\nContent-Le")
        honest = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        honest.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert honest.recv(4096).startswith(b"HTTP/1.1 200")
