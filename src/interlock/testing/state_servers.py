"""Servers of other people's states, for tests: Terraform's HTTP protocol, and GitLab's managed states."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.parse

from interlock.testing.answers import Call, Told

GITLAB_PATH = "/api/v4/projects/group%2Fapp/terraform/state/prod"
"""Where `GitLab` has its one state."""


class HttpStates:
    """A small server of Terraform's HTTP protocol, with one state.

    Attributes:
        state: The state; None when there is none.
        lock: The stored lock document; None when it is free.
        held_status: What a refused LOCK answers.
        nameless: A refused LOCK does not say who holds.
    """

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.lock: bytes | None = None
        self.held_status = 423
        self.nameless = False

    def answer(self, call: Call) -> Told:
        """Answer one request; see `AnswerServer.answer`."""
        if call.path.startswith("/lock"):
            return self._lock(call)
        if call.method == "GET":
            return Told(status=404) if self.state is None else Told(body=self.state)
        if f"ID={self._id()}" not in call.path and self.lock is not None:
            return Told(status=409)
        assert base64.b64decode(call.headers["content-md5"]) == hashlib.md5(call.body, usedforsecurity=False).digest()
        self.state = call.body
        return Told()

    def _lock(self, call: Call) -> Told:
        if call.method == "LOCK":
            if self.lock is not None and json.loads(call.body)["ID"] != self._id():
                return Told(status=self.held_status, body=b"locked" if self.nameless else self.lock)
            self.lock = call.body
            return Told()
        if self.lock is not None and json.loads(call.body)["ID"] != self._id():
            return Told(status=409)
        self.lock = None
        return Told()

    def is_locked(self) -> bool:
        """Say whether it is."""
        return self.lock is not None

    def _id(self) -> str:
        return json.loads(self.lock)["ID"] if self.lock is not None else ""


class GitLab:
    """GitLab's API of managed states, as its source has it: what is simulated is what the adapter needs.

    Attributes:
        versions: Bodies by serial.
        locked: Id and holder of the lock; None when it is free.
        graphql: Whether the token may ask it.
    """

    def __init__(self) -> None:
        self.versions: dict[int, bytes] = {}
        self.locked: tuple[str, str] | None = None
        self.graphql = True

    def answer(self, call: Call) -> Told:
        """Answer one request; see `AnswerServer.answer`."""
        path, _, query = call.path.partition("?")
        if path == "/api/graphql":
            return self._graphql()
        assert path.startswith(GITLAB_PATH), path
        rest = path.removeprefix(GITLAB_PATH)
        if rest == "/lock":
            return self._lock(call, urllib.parse.parse_qs(query).get("ID", [""])[0])
        if rest.startswith("/versions/"):
            body = self.versions.get(int(rest.rpartition("/")[2]))
            return Told(status=404) if body is None else Told(body=body)
        if call.method == "GET":
            return Told(status=404) if not self.versions else Told(body=self.versions[max(self.versions)])
        given = urllib.parse.parse_qs(query).get("ID", [""])[0]
        if given != (self.locked[0] if self.locked is not None else ""):
            return Told(status=409)  # `handle_with_lock`: the id must be the lock's, and none when there is none
        self.versions[json.loads(call.body)["serial"]] = call.body
        return Told()

    def _lock(self, call: Call, wanted: str) -> Told:
        if call.method == "DELETE":
            if wanted and wanted != (self.locked[0] if self.locked is not None else ""):
                return Told(status=409)
            self.locked = None
            return Told()
        asked = json.loads(call.body)
        status = 409 if self.locked is not None else 200  # also to the id that holds: see `lock!` in GitLab
        if self.locked is None:
            self.locked = (asked["ID"], "me")
        assert self.locked is not None
        shown = {**{name: asked[name] for name in ("Operation", "Info", "Version", "Path")}}
        return Told(
            status=status,
            body={**shown, "ID": self.locked[0], "Who": self.locked[1], "Created": "2026-11-24T02:00:00.000Z"},
        )

    def _graphql(self) -> Told:
        if not self.graphql:
            return Told(status=401)
        locked_at = "2026-11-24T02:00:00Z" if self.locked else None
        return Told(body={"data": {"project": {"terraformState": {"lockedAt": locked_at}}}})
