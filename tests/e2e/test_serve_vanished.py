"""A client whose machine vanishes: two networks of their own, and the link between them taken down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.replicas import STEP_S, TOKEN

from interlock.listening.guests import SILENT_PEER_S

HERE, FAR, PORT = "10.9.0.1", "10.9.0.2", 8650
_ASK = f"""
import http.client, sys
method, host, path, body = sys.argv[1:]
connection = http.client.HTTPConnection(host, {PORT}, timeout={STEP_S})
connection.request(method, path, body, {{"Authorization": "Bearer {TOKEN}"}})
answer = connection.getresponse()
print(answer.status, answer.read().decode(), flush=True)
"""


def why_not() -> str:
    """Return why this machine has no networks of one's own; empty when it has."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        return f"networks of one's own need root{''.join(f', {name}' for name in missing)}"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False, timeout=STEP_S)
    return "" if made.returncode == 0 else "this machine lets nobody make networks"


class Network:
    """A network namespace: what is run in it reaches nothing else, and is ended with it."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(["unshare", "--net", "sleep", str(2 * STEP_S)])
        self._running: list[subprocess.Popen[str]] = []
        mine = Path("/proc/self/ns/net").readlink()
        its = Path(f"/proc/{self._keeper.pid}/ns/net")
        until_s = time.monotonic() + STEP_S
        while its.readlink() == mine:  # unshare has not got there yet
            assert time.monotonic() < until_s
            time.sleep(0.02)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        """Names it."""
        return self._keeper.pid

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start a program in it."""
        entering = ["nsenter", f"--target={self.pid}", "--net", *words]
        self._running.append(
            subprocess.Popen(entering, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True)
        )
        return self._running[-1]

    def run(self, *words: str) -> str:
        """Run a program in it to its end."""
        process = self.start(*words)
        out, _ = process.communicate(timeout=STEP_S)
        assert process.returncode == 0, words
        return out

    def asks(self, method: str, path: str, body: str = "", host: str = "127.0.0.1") -> subprocess.Popen[str]:
        """Send the server a request; the answer is on its output."""
        return self.start(sys.executable, "-c", _ASK, method, host, path, body)

    def end(self) -> None:
        """End everything in it."""
        for process in self._running:
            process.kill()
            process.communicate()
        self._keeper.kill()
        self._keeper.wait(STEP_S)


@contextmanager
def two_networks() -> Iterator[tuple[Network, Network]]:
    """Yield two networks with a link between them."""
    with ExitStack() as stack:
        near, far = Network(), Network()
        stack.callback(near.end)
        stack.callback(far.end)
        near.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", str(far.pid))
        for network, link, address in ((near, "v0", HERE), (far, "v1", FAR)):
            network.run("ip", "address", "add", f"{address}/24", "dev", link)
            network.run("ip", "link", "set", link, "up")
        yield near, far


def answered(process: subprocess.Popen[str]) -> int:
    out, _ = process.communicate(timeout=STEP_S)
    return int(out.split()[0])


def waiters(near: Network) -> list[dict[str, Any]]:
    out, _ = near.asks("GET", "/api/v1/locks?state=s").communicate(timeout=STEP_S)
    found: list[dict[str, Any]] = json.loads(out.partition(" ")[2])["record"]["lock"]["waiters"]
    return found


def until(what: str, within_s: float, holds: Any) -> None:
    until_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until_s, what
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.promise("P2")
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_a_waiter_whose_machine_vanished_is_passed_over_and_the_one_behind_it_is_granted(tmp_path: Path) -> None:
    with two_networks() as (near, far):
        words = ("serve", "--listen", f"0.0.0.0:{PORT}", "--behind-proxy", "--host", HERE, "--json")
        environ = {"INTERLOCK_HOME": str(tmp_path / "home"), "INTERLOCK_TOKEN": TOKEN}
        server = near.start(sys.executable, "-m", "interlock", *words, **environ)
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["address"]
        assert answered(near.asks("LOCK", "/state/s", '{"ID": "a"}')) == 200
        far.asks("LOCK", "/state/s?wait=300s", '{"ID": "gone"}', HERE)
        until("it waits", STEP_S, lambda: [each["lock_id"] for each in waiters(near)] == ["gone"])
        behind = near.asks("LOCK", "/state/s?wait=300s", '{"ID": "behind"}')
        until("both wait", STEP_S, lambda: len(waiters(near)) == 2)
        far.run("ip", "link", "set", "v1", "down")  # without a word: no FIN, no RST
        until("its silence is noticed", SILENT_PEER_S + STEP_S, lambda: not waiters(near)[0]["attempts"])
        assert answered(near.asks("UNLOCK", "/state/s", '{"ID": "a"}')) == 200
        assert answered(behind) == 200
        server.terminate()
        assert server.wait(STEP_S) == 0
