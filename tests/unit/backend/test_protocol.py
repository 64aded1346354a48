from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.backend import (
    Absent,
    Delete,
    Done,
    Found,
    Give,
    Held,
    Read,
    Refused,
    Take,
    Taken,
    Write,
    answer,
    read_intent,
)
from interlock.backend.protocol import MAX_ID_CHARS, MAX_WAIT_S, check_md5, parse_wait
from interlock.errors import AuthenticationFailed, LeaseLost, UsageError
from interlock.terraform.lockinfo import LockInfo, parse_go_time, parse_lock_info, render_lock_info

MINE = LockInfo(id="my-id", operation="OperationTypeApply", who="ann@laptop", version="1.11.4")
HOLDER = LockInfo(id="their-id", operation="interlock apply", who="bob@ci", path="prod")
SINCE = datetime(2026, 11, 24, 8, 1, 2, tzinfo=UTC)


def test_every_method_becomes_an_intent() -> None:
    lock = render_lock_info(MINE)
    assert read_intent("GET", {}, b"") == Read()
    assert read_intent("POST", {"ID": "x"}, b"{}") == Write(lock_id="x")
    assert read_intent("POST", {}, b"{}") == Write(lock_id=None)
    assert read_intent("LOCK", {"wait": "10m"}, lock) == Take(info=MINE, wait_s=600)
    assert read_intent("LOCK", {}, lock) == Take(info=MINE, wait_s=None)
    assert read_intent("LOCK", {"wait": "0"}, lock) == Take(info=MINE, wait_s=0)
    assert read_intent("UNLOCK", {}, lock) == Give(lock_id="my-id")
    assert read_intent("UNLOCK", {}, b"") == Give(lock_id=None)
    assert read_intent("DELETE", {"ID": ""}, b"") == Delete(lock_id=None)


@pytest.mark.parametrize(
    ("method", "query", "body"),
    [
        ("PATCH", {}, b""),
        ("LOCK", {}, b""),
        ("LOCK", {}, b"{}"),
        ("LOCK", {}, b'{"ID": 1}'),
        ("LOCK", {"wait": "soon"}, render_lock_info(MINE)),
        ("LOCK", {}, render_lock_info(LockInfo(id="x" * (MAX_ID_CHARS + 1)))),
        ("POST", {"ID": "a\nb"}, b"{}"),
        ("UNLOCK", {}, b"not json"),
    ],
)
def test_what_cannot_be_understood_is_refused(method: str, query: dict[str, str], body: bytes) -> None:
    with pytest.raises(UsageError):
        read_intent(method, query, body)


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("1h", 3600), ("1m30s", 90), ("9h", MAX_WAIT_S)],
)
def test_durations_are_read_and_cut(text: str, wait_s: float) -> None:
    assert parse_wait(text) == wait_s


@pytest.mark.parametrize("text", ["", "-1", "1d", "1.5", "m", "10 m", "1s1m", "9" * 40])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_wait(text)


def test_a_body_that_was_damaged_on_the_way_is_refused() -> None:
    right = base64.b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode()
    check_md5(right, b"x")
    check_md5(None, b"x")
    for header in (right, "not base64!"):
        with pytest.raises(UsageError):
            check_md5(header, b"y")


def test_a_state_is_answered_with_its_md5() -> None:
    sent = answer(Found(body=b"{}"))
    assert (sent.status, sent.body) == (200, b"{}")
    assert base64.b64decode(sent.headers["Content-MD5"]) == hashlib.md5(b"{}", usedforsecurity=False).digest()


def test_terraform_takes_only_these_statuses_for_success() -> None:
    assert answer(Absent()).status == 204
    assert answer(Done()).status == 200
    assert answer(Taken(info=MINE)).status == 200


def _held(version: str, **more: Any) -> LockInfo:
    sent = answer(Held(holder=HOLDER, since=SINCE, **more), client_version=version)
    assert sent.status == 423
    fields = json.loads(sent.body)
    assert set(fields) == {"ID", "Operation", "Info", "Who", "Version", "Created", "Path"}
    return parse_lock_info(sent.body)


@pytest.mark.parametrize("version", ["1.15.0", "1.16.2", "2.0.0", "", "odd"])
def test_a_new_terraform_is_shown_the_holder_as_it_is(version: str) -> None:
    info = _held(version, position=2)
    assert (info.id, info.who, info.operation, info.path) == ("their-id", "bob@ci", "interlock apply", "prod")
    assert info.info == "held by bob@ci, since 2026-11-24 08:01:02Z, you are number 2 in the queue"


@pytest.mark.parametrize("version", ["1.11.4", "1.14.9", "0.14.0"])
def test_an_old_terraform_shows_only_the_id_so_everything_is_said_there(version: str) -> None:
    info = _held(version, position=1, why="paused by ann: audit")
    assert info.id == (
        "their-id (held by bob@ci, since 2026-11-24 08:01:02Z, you are number 1 in the queue, paused by ann: audit)"
    )


def test_a_refusal_says_what_why_and_what_next() -> None:
    error = LeaseLost("not written", why="recovered", fix="start a new run")
    sent = answer(Refused(error=error))
    assert sent.status == 409
    assert json.loads(sent.body) == {
        "error": "lease-lost",
        "what": "not written",
        "why": "recovered",
        "fix": "start a new run",
    }
    assert answer(Refused(error=error, status=410)).status == 410


def test_missing_credentials_are_asked_for() -> None:
    sent = answer(Refused(error=AuthenticationFailed("no token")))
    assert sent.status == 401
    assert sent.headers["WWW-Authenticate"].startswith("Basic ")


def test_neither_a_state_nor_a_secret_is_in_a_repr() -> None:
    assert "hunter2" not in repr(Found(body=b"hunter2"))
    assert "hunter2" not in repr(answer(Found(body=b"hunter2")))


def test_terraform_can_read_who_is_in_the_way_also_when_nobody_holds() -> None:
    """It reads `Created` as a time of Go, and shows nothing of a document whose time is not one."""
    nobody = LockInfo(id="nobody-holds-it", operation="paused", path="s")
    for version in ("1.11.4", "1.15.0"):
        told = json.loads(
            answer(Held(holder=nobody, why="paused by op: work", is_free=True), client_version=version).body
        )
        assert parse_go_time(told["Created"]) is not None
        assert "paused by op: work" in told["ID" if version == "1.11.4" else "Info"]
