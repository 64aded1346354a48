"""`interlock serve`, run as the command, against what networks and CI loops do to LOCK."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.ids import RandomIds
from interlock.store.sqlite import SqliteStore

pytestmark = pytest.mark.e2e

TOKEN = "e2e-server-token"
STATE = "prod/routing"
STEP_S = 180.0  # far more than any step here takes; only a hang reaches it
AUTH = "Basic " + base64.b64encode(f"e2e:{TOKEN}".encode()).decode()


class Served:
    """A running `interlock serve`."""

    def __init__(self, home: Path) -> None:
        self.database = home / "interlock.db"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "interlock", "serve", "--listen", "127.0.0.1:0"],
            env={**os.environ, "INTERLOCK_HOME": str(self.database.parent), "INTERLOCK_TOKEN": TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode()
        self.port = int((re.search(r":(\d+)/state", said) or pytest.fail(said))[1])

    def send(self, lock_id: str, *, query: str = "") -> http.client.HTTPConnection:
        """Send LOCK over a connection of its own, and do not wait for the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STEP_S)
        body = json.dumps({"ID": lock_id, "Who": f"{lock_id}@host"}).encode()
        connection.request("LOCK", f"/state/{STATE}{query}", body, {"Authorization": AUTH})
        return connection

    def lock(self, lock_id: str, *, query: str = "?wait=0") -> int:
        return _status(self.send(lock_id, query=query))

    def unlock(self, lock_id: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STEP_S)
        body = json.dumps({"ID": lock_id}).encode()
        connection.request("UNLOCK", f"/state/{STATE}", body, {"Authorization": AUTH})
        return _status(connection)

    def write(self, lock_id: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STEP_S)
        state = {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}}
        body = json.dumps({**state, "resources": []}).encode()
        connection.request("POST", f"/state/{STATE}?ID={lock_id}", body, {"Authorization": AUTH})
        return _status(connection)

    def waiters(self) -> list[str]:
        """Look into its database, as another process of the machine does."""

        async def look() -> list[str]:
            clock = SystemClock()
            store = await SqliteStore.open(self.database, clock=clock)
            view = await LocalCoordinator(store.records, clock, RandomIds()).view(STATE)
            await store.close()
            return [waiter.ticket for waiter in view.lock.waiters]

        return asyncio.run(look())

    def wait_for(self, waiters: int) -> None:
        until = time.monotonic() + STEP_S
        while len(self.waiters()) < waiters:
            assert time.monotonic() < until, f"{self.waiters()} wait"
            time.sleep(0.05)


def _status(connection: http.client.HTTPConnection) -> int:
    with closing(connection):
        answer = connection.getresponse()
        answer.read()
        return answer.status


def _reset(connection: http.client.HTTPConnection) -> None:
    """Break a connection as a machine does that is gone: nothing more is sent or read."""
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "home")
    yield made
    made.process.terminate()
    assert made.process.wait(timeout=30) == 0


@pytest.mark.promise("P1", "P4")
def test_a_lock_repeated_because_its_connection_broke_while_the_store_was_busy_is_one_lock(served: Served) -> None:
    assert (served.lock("warm"), served.unlock("warm")) == (200, 200)
    for round_ in range(3):
        mine, other = f"mine{round_}", f"other{round_}"
        with closing(sqlite3.connect(served.database, timeout=STEP_S, isolation_level=None)) as busy:
            busy.execute("BEGIN IMMEDIATE")
            broken = served.send(mine)
            time.sleep(0.1)  # let it reach the store; if it did not, the round is easier, not wrong
            _reset(broken)
            retry = served.send(mine)
            time.sleep(0.1)
            busy.execute("ROLLBACK")
        assert _status(retry) == 200
        assert served.lock(other) == 423, "the holder was told 200"
        assert (served.write(mine), served.unlock(mine)) == (200, 200)


@pytest.mark.promise("P1", "P4")
@pytest.mark.parametrize("leaves", [0, pytest.param(1, marks=pytest.mark.slow), None])
def test_of_two_held_requests_with_one_id_the_one_that_stays_keeps_what_it_was_told(
    served: Served, leaves: int | None
) -> None:
    for round_ in range(5):
        first, mine, other = f"first{round_}", f"mine{round_}", f"other{round_}"
        assert served.lock(first) == 200
        held = [served.send(mine, query="?wait=1m"), served.send(mine, query="?wait=1m")]
        served.wait_for(1)
        if leaves is not None:
            _reset(held.pop(leaves))  # at the same moment as the hand-over
        assert served.unlock(first) == 200
        assert [_status(one) for one in held] == [200] * len(held)
        assert served.lock(other) == 423, "the holder was told 200"
        assert (served.write(mine), served.unlock(mine)) == (200, 200)


@pytest.mark.promise("P2")
def test_a_client_that_gave_up_while_the_server_was_dead_is_not_granted(served: Served) -> None:
    assert served.lock("first") == 200
    with closing(served.send("gone", query="?wait=1m")):
        served.wait_for(1)
        served.process.kill()
        served.process.wait()
    served.start()
    assert served.unlock("first") == 200
    assert served.lock("next") == 200, "the lock was granted to a client that is gone, for a day"


@pytest.mark.promise("P2")
def test_the_commonest_retry_of_ci_gets_the_lock_of_a_server_that_nobody_holds(served: Served, tmp_path: Path) -> None:
    found = shutil.which("terraform")
    binary = [found] if found else [sys.executable, "-m", "interlock.run.embedded"]
    folder, log = tmp_path / "root", tmp_path / "loop.log"
    folder.mkdir()
    (folder / "main.tf").write_text('terraform {\n  backend "http" {}\n}\nresource "terraform_data" "one" {}\n')
    address = f"http://127.0.0.1:{served.port}/state/{STATE}"
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
        "TF_CLI_CONFIG_FILE": os.devnull,
        "CHECKPOINT_DISABLE": "1",
        "TF_HTTP_ADDRESS": address,
        "TF_HTTP_LOCK_ADDRESS": address,
        "TF_HTTP_UNLOCK_ADDRESS": address,
        "TF_HTTP_USERNAME": "ci",
        "TF_HTTP_PASSWORD": TOKEN,
    }
    subprocess.run([*binary, "init", "-input=false"], cwd=folder, env=environ, check=True, capture_output=True)
    assert served.lock("other") == 200
    loop = "until {} apply -auto-approve -input=false >> {} 2>&1; do sleep 0.1; done"
    retrying = subprocess.Popen(
        ["sh", "-c", loop.format(shlex.join(binary), shlex.quote(str(log)))], cwd=folder, env=environ
    )
    served.wait_for(2)  # the second attempt waits behind the ghost of the first
    refused = log.read_text().count("Error acquiring the state lock")
    assert served.unlock("other") == 200
    assert retrying.wait(STEP_S) == 0
    assert log.read_text().count("Error acquiring the state lock") - refused <= 1, "one may have been on its way"
