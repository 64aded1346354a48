"""A simulated organisation with a clock that moves when told, and a server whose answers a test writes itself."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from interlock.simulator import DEFAULT_CLIENT, Moment, Outcome, Reply, Request, Simulation, Terms

START = datetime(2026, 1, 1, tzinfo=UTC)


class Api:
    """Calls a simulation without a server."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.simulation = Simulation(terms)
        self.elapsed_s = 1000.0
        self.token = ""

    @property
    def moment(self) -> Moment:
        return Moment(at=START + timedelta(seconds=self.elapsed_s), elapsed_s=self.elapsed_s)

    def login(self, client_id: str = DEFAULT_CLIENT.id, secret: str = DEFAULT_CLIENT.secret) -> Reply:
        form = f"grant_type=client_credentials&client_id={client_id}&client_secret={secret}"
        outcome = self.simulation.handle(Request(method="POST", path="/oauth/token", body=form.encode()), self.moment)
        assert outcome.reply is not None
        if outcome.reply.status == 200:
            self.token = outcome.reply.content["access_token"]
        return outcome.reply

    def outcome(self, method: str, path: str, body: Any = None, **query: str) -> Outcome:
        if not self.token:
            self.login()
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.token}", "host": "127.0.0.1:1"}
        request = Request(method=method, path="/api/v2" + path, query=query, headers=headers, body=raw)
        return self.simulation.handle(request, self.moment)

    def send(self, method: str, path: str, body: Any = None, **query: str) -> Reply:
        reply = self.outcome(method, path, body, **query).reply
        assert reply is not None
        return reply

    def get(self, path: str, **query: str) -> Any:
        return self.done(self.send("GET", path, **query))

    def post(self, path: str, body: Any = None, **query: str) -> Any:
        return self.done(self.send("POST", path, body, **query))

    def control(self, method: str, name: str, body: Any = None) -> Reply:
        raw = b"" if body is None else json.dumps(body).encode()
        reply = self.simulation.handle(Request(method=method, path=f"/_control/{name}", body=raw), self.moment).reply
        assert reply is not None
        return reply

    def skill(self, name: str = "Billing") -> str:
        return str(self.post("/routing/skills", {"name": name})["id"])

    def user(self, email: str = "ana@example.com") -> str:
        return str(self.post("/users", {"name": email.partition("@")[0], "email": email})["id"])

    def queue(self, name: str = "Orders", **fields: Any) -> str:
        return str(self.post("/routing/queues", {"name": name, **fields})["id"])

    @staticmethod
    def done(reply: Reply) -> Any:
        assert reply.status < 300, (reply.status, reply.content)
        return reply.content


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def api_with() -> Callable[[Terms], Api]:
    return Api


class Script:
    """Answers each connection with the next of `answers`; None resets it. Remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                self.asked.append(_whole_request(connection))
                answer = self.answers.pop(0) if self.answers else None
                if answer is not None:
                    connection.sendall(answer)


def _whole_request(connection: socket.socket) -> bytes:
    raw = connection.recv(65_536)
    head, _, body = raw.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def script() -> Iterator[Script]:
    server = Script()
    yield server
    server.close()
