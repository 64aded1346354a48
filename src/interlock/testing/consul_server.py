"""A real Consul agent on loopback, for tests, where `consul` is on PATH. A hand: it starts and ends it."""

from __future__ import annotations

import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from interlock.clock import SystemClock

_START_S = 30.0
_LOOK_S = 0.1
_PORTS = ("http", "server", "serf-lan", "serf-wan")


@contextmanager
def consul_agent(folder: Path) -> Iterator[str]:
    """Run an agent that keeps everything in memory; yield the URL of its HTTP API.

    Args:
        folder: For its log.
    """
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    words = ["consul", "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-dns-port=-1", "-grpc-port=-1"]
    words += [f"-{name}-port={port}" for name, port in ports.items()]
    with (folder / "consul.log").open("wb") as log:
        agent = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{ports['http']}"
            _await_leader(url, agent)
            yield url
        finally:
            agent.terminate()
            agent.wait(_START_S)


def _await_leader(url: str, agent: subprocess.Popen[bytes]) -> None:
    clock = SystemClock()
    until_s = clock.monotonic() + _START_S
    while clock.monotonic() < until_s and agent.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/v1/status/leader", timeout=_START_S) as answer:  # noqa: S310 - loopback
                if answer.read() not in {b"", b'""'}:
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        threading.Event().wait(_LOOK_S)
    raise TimeoutError("consul did not start")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in taken]
