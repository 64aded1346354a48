"""Real `interlock serve` processes on one PostgreSQL store, and clients that speak Terraform's protocol to them."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from tests import forking

TOKEN = "e2e-server-token-of-the-replicas"
STEP_S = 120.0  # far more than any step here takes; only a hang reaches it
AUTH = "Basic " + base64.b64encode(f"e2e:{TOKEN}".encode()).decode()


class Replica:
    """One server."""

    def __init__(self, url: str, home: Path, *words: str, stderr: IO[str] | None = None) -> None:
        self.process = forking.start(
            ["serve", "--listen", "127.0.0.1:0", "--store", url, "--json", *words],
            env={**os.environ, "INTERLOCK_HOME": str(home), "INTERLOCK_TOKEN": TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        assert self.process.stdout is not None
        with self.process.stdout as said:
            line = said.readline()
        self.said: dict[str, Any] = json.loads(line)
        self.port = int(self.said["address"].rpartition(":")[2])

    def send(self, method: str, state: str, body: bytes = b"", query: str = "") -> http.client.HTTPConnection:
        """Send a request over a connection of its own, and do not wait for the answer."""
        return send(self.port, method, state, body, query)

    def ask(self, method: str, state: str, body: bytes = b"", query: str = "") -> tuple[int, bytes]:
        """Send a request and return the answer."""
        return answer(self.send(method, state, body, query))[:2]

    def lock(self, lock_id: str, state: str, query: str = "?wait=0") -> int:
        return self.ask("LOCK", state, lock_body(lock_id), query)[0]

    def unlock(self, lock_id: str, state: str) -> int:
        return self.ask("UNLOCK", state, lock_body(lock_id))[0]

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; return its exit status."""
        self.process.send_signal(how)
        return self.process.wait(STEP_S)


def send(port: int, method: str, state: str, body: bytes = b"", query: str = "") -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STEP_S)
    try:
        connection.request(method, f"/state/{state}{query}", body, {"Authorization": AUTH})
    except BaseException:
        connection.close()
        raise
    return connection


def answer(connection: http.client.HTTPConnection) -> tuple[int, bytes, http.client.HTTPMessage]:
    with closing(connection):
        response = connection.getresponse()
        return response.status, response.read(), response.headers


def lock_body(lock_id: str) -> bytes:
    return json.dumps({"ID": lock_id, "Who": f"{lock_id}@host", "Operation": "OperationTypeApply"}).encode()


def state_body(serial: int, lineage: str, note: str) -> bytes:
    outputs = {"note": {"value": note, "type": "string"}}
    whole = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage, "outputs": outputs}
    return json.dumps({**whole, "resources": []}).encode()
