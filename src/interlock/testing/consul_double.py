"""A double of a Consul agent, for tests: keys, sessions, locks and transactions as Terraform's client asks for them.

Made from what a real Consul 1.14 answered; it checks what the real one checks: indexes, sessions, lock delays, sizes.
"""

from __future__ import annotations

import base64
import json
import posixpath
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from interlock.clock import Clock, SystemClock
from interlock.ids import RandomIds, terraform_id
from interlock.testing.answers import Call, Told

VALUE_BYTES = 512 * 1024
"""The most that a value, and a transaction, may have."""
_WAIT_S = 2.0  # a client that asks for a later index is kept no longer, so that no test waits for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A key."""

    value: bytes
    flags: int = 0
    session: str = ""
    created: int = 0
    changed: int = 0
    locks: int = 0


@dataclass(slots=True, kw_only=True)
class _Session:
    ttl_s: float
    delay_s: float
    until_s: float
    name: str = ""


@dataclass(slots=True)
class ConsulAgent:
    """The agent.

    Attributes:
        token: What `X-Consul-Token` must say; empty for anybody.
        pairs: What is kept.
        clock: For the lives of sessions.
    """

    token: str = ""
    clock: Clock = field(default_factory=SystemClock)
    pairs: dict[str, Pair] = field(default_factory=dict)
    sessions: dict[str, _Session] = field(default_factory=dict)
    _delays: dict[str, float] = field(default_factory=dict)
    _index: int = 10
    _turn: threading.Condition = field(default_factory=threading.Condition)

    # -- for tests --------------------------------------------------------------------------------------------------

    def put(self, key: str, value: bytes) -> None:
        """Write a key as somebody else would."""
        with self._changing():
            self._store(key, replace(self._there(key), value=value))

    def value(self, key: str) -> bytes | None:
        """Return what a key has; None when there is none."""
        with self._turn:
            found = self.pairs.get(key)
            return None if found is None else found.value

    def is_locked(self) -> bool:
        """Say whether a session holds anything."""
        with self._turn:
            self._expire()
            return any(pair.session for pair in self.pairs.values())

    # -- requests ---------------------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Told:
        """Answer one request; see `AnswerServer.answer`."""
        path, _, query = call.path.partition("?")
        plain = urllib.parse.unquote(path)
        if posixpath.normpath(plain) != plain.removesuffix("/"):  # the agent sends such a client elsewhere
            return Told(status=301, headers={"Location": posixpath.normpath(plain)})
        if self.token and call.headers.get("x-consul-token") != self.token:
            return Told(status=403, body=b"Permission denied: token with AccessorID is not found")
        return self._permitted(
            call, path.removeprefix("/v1/"), dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        )

    def _permitted(self, call: Call, path: str, asked: dict[str, str]) -> Told:
        match path.split("/", 2):
            case ["kv", *_]:
                return self._kv(call, urllib.parse.unquote(path.removeprefix("kv/")), asked)
            case ["session", "create"]:
                return self._create(json.loads(call.body))
            case ["session", verb, session]:
                return self._session(verb, session)
            case ["txn"]:
                return self._txn(call)
            case _:
                return Told(status=404)

    def _kv(self, call: Call, key: str, asked: dict[str, str]) -> Told:
        if call.method == "GET":
            return self._read(key, asked)
        if len(call.body) > VALUE_BYTES:
            return Told(status=413, body=f"Request body({len(call.body)} bytes) too large".encode())
        with self._changing():
            if call.method == "DELETE":
                return Told(body=self._delete(key, asked))
            return Told(body=self._write(key, call.body, asked))

    def _read(self, key: str, asked: dict[str, str]) -> Told:
        with self._turn:
            self._expire()
            if int(asked.get("index", "0")) >= self._index:
                self._turn.wait(_WAIT_S)
                self._expire()
            headers = {"X-Consul-Index": str(self._index), "X-Consul-Knownleader": "true", "X-Consul-Lastcontact": "0"}
            headers["Content-Type"] = "application/json"
            if "keys" in asked:
                names = sorted(name for name in self.pairs if name.startswith(key))
                if separator := asked.get("separator"):
                    names = sorted({_up_to(name, key, separator) for name in names})
                return Told(body=names, headers=headers) if names else Told(status=404, headers=headers)
            found = self.pairs.get(key)
            if found is None:
                return Told(status=404, headers=headers)
            return Told(body=[_shown(key, found)], headers=headers)

    def _write(self, key: str, value: bytes, asked: dict[str, str]) -> bool:
        there = self._there(key)
        flags = int(asked.get("flags", "0"))
        if (session := asked.get("acquire")) is not None:
            return self._lock(key, value, flags, session)
        if (session := asked.get("release")) is not None:
            return self._unlock(key, session)
        if (index := asked.get("cas")) is not None and int(index) != there.changed:
            return False
        self._store(key, replace(there, value=value, flags=flags))
        return True

    def _delete(self, key: str, asked: dict[str, str]) -> bool:
        if "recurse" in asked:
            for name in [name for name in self.pairs if name.startswith(key)]:
                del self.pairs[name]
            return True
        if (index := asked.get("cas")) is not None and int(index) != self._there(key).changed:
            return False
        self.pairs.pop(key, None)
        return True

    def _lock(self, key: str, value: bytes, flags: int, session: str) -> bool:
        there = self._there(key)
        is_delayed = self._delays.get(key, float("-inf")) > self.clock.monotonic()
        if session not in self.sessions or there.session not in {"", session} or is_delayed:
            return False
        self._store(key, replace(there, value=value, flags=flags, session=session, locks=there.locks + 1))
        return True

    def _unlock(self, key: str, session: str) -> bool:
        there = self._there(key)
        if not session or there.session != session:
            return False
        self._store(key, replace(there, session=""))
        return True

    def _txn(self, call: Call) -> Told:
        if len(call.body) > VALUE_BYTES:
            return Told(status=413, body=b"Request body too large, max size: 524288 bytes")
        results: list[dict[str, Any]] = []
        with self._changing():
            before = dict(self.pairs)
            for number, asked in enumerate(each["KV"] for each in json.loads(call.body)):
                why = self._do(asked)
                if why:
                    self.pairs = before
                    return Told(status=409, body={"Results": None, "Errors": [{"OpIndex": number, "What": why}]})
                if asked["Verb"] != "delete":
                    results.append({"KV": _shown(asked["Key"], self.pairs[asked["Key"]], hidden=True)})
        return Told(body={"Results": results or None, "Errors": None})

    def _do(self, asked: dict[str, Any]) -> str:
        """Do one part of a transaction; return why it cannot be done."""
        key, session = asked["Key"], asked.get("Session") or ""
        value, flags = base64.b64decode(asked.get("Value") or ""), int(asked.get("Flags") or 0)
        there = self._there(key)
        match asked["Verb"]:
            case "set" | "cas" as verb:
                if verb == "cas" and int(asked.get("Index") or 0) != there.changed:
                    return f'failed to set key "{key}", index is stale'
                self._store(key, replace(there, value=value, flags=flags))
            case "lock":
                return "" if self._lock(key, value, flags, session) else f'failed to lock key "{key}", lock is held'
            case "check-session":
                return "" if session and there.session == session else f'failed session check for key "{key}"'
            case "delete":
                self.pairs.pop(key, None)
            case verb:
                return f"unknown KV verb {verb!r}"
        return ""

    # -- sessions ---------------------------------------------------------------------------------------------------

    def _create(self, asked: dict[str, Any]) -> Told:
        name, ttl_s, delay_s = (
            asked.get("Name", ""),
            _seconds(asked.get("TTL")),
            _seconds(asked.get("LockDelay", "15s")),
        )
        with self._changing():
            made = terraform_id(RandomIds())
            until_s = self.clock.monotonic() + ttl_s * 2 if ttl_s else float("inf")
            self.sessions[made] = _Session(ttl_s=ttl_s, delay_s=delay_s, until_s=until_s, name=name)
        return Told(body={"ID": made}, headers={"Content-Type": "application/json"})

    def _session(self, verb: str, session: str) -> Told:
        with self._changing():
            found = self.sessions.get(session)
            if verb == "destroy":
                self._end(session)
                return Told(body=True)
            if found is None:
                return Told(status=404, body=f"Session id '{session}' not found".encode())
            found.until_s = self.clock.monotonic() + found.ttl_s * 2 if found.ttl_s else float("inf")
            shown = {"ID": session, "Name": found.name, "TTL": f"{found.ttl_s:.0f}s", "Behavior": "release"}
            return Told(body=[shown], headers={"Content-Type": "application/json"})

    def _end(self, session: str) -> None:
        """End a session as an invalidated one: what it holds is free after its delay."""
        found = self.sessions.pop(session, None)
        if found is None:
            return
        for key in [key for key, pair in self.pairs.items() if pair.session == session]:
            self._store(key, replace(self.pairs[key], session=""))
            self._delays[key] = self.clock.monotonic() + found.delay_s

    def _expire(self) -> None:
        now = self.clock.monotonic()
        for session in [name for name, each in self.sessions.items() if each.until_s < now]:
            self._end(session)

    # -- inside -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._turn:
            self._expire()
            self._index += 1
            yield
            self._turn.notify_all()

    def _there(self, key: str) -> Pair:
        return self.pairs.get(key, Pair(value=b""))

    def _store(self, key: str, pair: Pair) -> None:
        self._index += 1
        self.pairs[key] = replace(pair, created=pair.created or self._index, changed=self._index)


def _up_to(name: str, prefix: str, separator: str) -> str:
    rest, found, _ = name[len(prefix) :].partition(separator)
    return prefix + rest + found


def _seconds(text: Any) -> float:
    """Read a duration as Go writes it: `15s`, `5000ms`; a number alone is nanoseconds."""
    words = str(text or "0s")
    if words.isdecimal():
        return int(words) / 1e9
    number, unit = words.rstrip("ms"), words.lstrip(".0123456789")
    return float(number) * {"ms": 0.001, "s": 1.0, "m": 60.0}[unit]


def _shown(key: str, pair: Pair, *, hidden: bool = False) -> dict[str, Any]:
    shown = {
        "LockIndex": pair.locks,
        "Key": key,
        "Flags": pair.flags,
        "Value": None if hidden else base64.b64encode(pair.value).decode(),
        "CreateIndex": pair.created,
        "ModifyIndex": pair.changed,
    }
    return {**shown, **({"Session": pair.session} if pair.session else {})}
