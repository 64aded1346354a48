"""A small simulated platform API on the loopback, for tests of what talks to GitHub, GitLab or Azure DevOps."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from interlock.testing.one_piece import OnePieceHandler


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request that the simulated API got."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


@dataclass(kw_only=True)
class FakeApi:
    """A platform's API of canned answers: `(method, path)` to a status and a JSON value or bytes."""

    url: str = ""
    answers: dict[tuple[str, str], tuple[int, object]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    more_headers: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    keeps_uploads: bool = False  # what is PUT can be got back, as from a package registry

    def on(self, method: str, path: str, answer: object, status: int = 200) -> None:
        self.answers[method, path] = (status, answer)

    def sent(self, method: str) -> list[Seen]:
        return [request for request in self.seen if request.method == method]


@contextmanager
def platform_api() -> Iterator[FakeApi]:
    """Serve a `FakeApi` while the block runs."""
    fake = FakeApi()

    class Handler(OnePieceHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(parts.query))
            body = self.rfile.read(length)
            fake.seen.append(Seen(method=self.command, path=parts.path, query=query, headers=headers, body=body))
            status, answer = fake.answers.get((self.command, parts.path), (404, {"message": "not found"}))
            if self.command == "PUT" and fake.keeps_uploads:
                fake.on("GET", parts.path, body)
                status, answer = 201, {}
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in fake.more_headers.get((self.command, parts.path), {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
