from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from interlock.errors import AuthenticationFailed, LockHeld, UsageError
from interlock.existing import Found, TerraformLockMoved, google_login
from interlock.existing.gcs import GcsBackend, open_gcs, place_of, shown_address
from interlock.existing.google_login import GoogleLogin
from interlock.terraform.lockinfo import build_lock_info, render_lock_info
from interlock.testing.answers import AnswerServer, Call, Told, answer_server
from interlock.testing.clock import FakeClock
from interlock.testing.cloud_doubles import GoogleStorage

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
OURS = build_lock_info(id="ours", operation="OperationTypeApply", who="me@here", version="", now=NOW)
THEIRS = build_lock_info(id="theirs", operation="OperationTypeApply", who="ann@there", version="", now=NOW)
LOCK, STATE = "app/default.tflock", "app/default.tfstate"


class Impatient(FakeClock):
    async def sleep(self, wait_s: float) -> None:
        self.pass_time(wait_s)


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    with answer_server(NOW) as api:
        yield api


@pytest.fixture
def storage(api: AnswerServer) -> GoogleStorage:
    made = GoogleStorage()
    api.answer = made.answer
    return made


def found(api: AnswerServer, **more: Any) -> Found:
    settings = {"bucket": "b", "prefix": "app", "access_token": "google-token"}
    return Found(type="gcs", settings={**settings, "storage_custom_endpoint": f"{api.url}/storage/v1/", **more})


@pytest.fixture
def backend(api: AnswerServer, storage: GoogleStorage) -> GcsBackend:
    return open_gcs(found(api), clock=Impatient())


def losing(api: AnswerServer, storage: GoogleStorage, method: str) -> None:
    """Do the next call of this method, and lose its answer."""
    lost: list[Call] = []

    def answer(call: Call) -> Told:
        told = storage.answer(call)
        if call.method == method and not lost:
            lost.append(call)
            return Told(status=503)
        return told

    api.answer = answer


async def test_the_lock_is_named_by_its_generation_and_says_who_holds(
    backend: GcsBackend, storage: GoogleStorage
) -> None:
    made = storage.put("b", LOCK, render_lock_info(THEIRS))
    (lock,) = await backend.read_locks()
    assert (lock.id, lock.who, lock.place) == (str(made.generation), "ann@there", f"gs://b/{LOCK}")
    with pytest.raises(LockHeld, match="ann@there"):
        await backend.take_lock(OURS)
    await backend.delete_lock(lock)
    assert await backend.read_locks() == ()


@pytest.mark.promise("P5")
async def test_a_lock_that_was_taken_anew_is_not_deleted(backend: GcsBackend, storage: GoogleStorage) -> None:
    storage.put("b", LOCK, render_lock_info(THEIRS))
    (lock,) = await backend.read_locks()
    storage.put("b", LOCK, render_lock_info(OURS))
    with pytest.raises(TerraformLockMoved, match="not there"):
        await backend.delete_lock(lock)
    assert storage.current("b", LOCK) == render_lock_info(OURS)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_an_answer_that_was_lost_leaves_one_lock_and_then_none(
    api: AnswerServer, backend: GcsBackend, storage: GoogleStorage, method: str
) -> None:
    losing(api, storage, method)
    held = await backend.take_lock(OURS)
    assert [lock.id for lock in held.locks] == [lock.id for lock in await backend.read_locks()]
    await backend.give_lock(held)
    assert await backend.read_locks() == ()


@pytest.mark.promise("P3")
async def test_a_write_replaces_exactly_what_was_read(
    api: AnswerServer, backend: GcsBackend, storage: GoogleStorage
) -> None:
    losing(api, storage, "POST")
    first = await backend.write_state(b"one", expected=None)
    second = await backend.write_state(b"two", expected=first)
    with pytest.raises(TerraformLockMoved, match="changed"):
        await backend.write_state(b"three", expected=first)
    assert storage.current("b", STATE) == second.body == b"two"
    assert [version.current for version in await backend.history()] == [True, False]
    assert await backend.read_version(first.version_id) == b"one"


def test_each_workspace_is_an_object_and_a_key_of_ones_own_is_refused(api: AnswerServer) -> None:
    assert shown_address(found(api, prefix="")) == "gs://b/default.tfstate"
    with pytest.raises(UsageError, match="key of your own"):
        place_of(found(api, encryption_key="x" * 44))
    with pytest.raises(UsageError, match="no bucket"):
        place_of(Found(type="gcs"))


async def test_a_refused_token_is_said(api: AnswerServer, storage: GoogleStorage) -> None:
    with pytest.raises(AuthenticationFailed, match="refused"):
        await open_gcs(found(api, access_token="old"), clock=Impatient()).read_state()


def test_a_key_of_a_service_account_is_exchanged_for_a_token_once_in_its_life(
    api: AnswerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    document = {"type": "service_account", "client_email": "a@b", "private_key": key.decode(), "private_key_id": "k"}
    monkeypatch.setattr(google_login, "_TOKEN_URL", f"{api.url}/token")
    api.answer = lambda _: Told(body={"access_token": f"t{len(api.calls)}", "expires_in": 3600})
    clock = FakeClock()
    login = GoogleLogin(Found(type="gcs", settings={"credentials": json.dumps(document)}), clock, environ={})
    assert [login.token(), login.token()] == ["t1", "t1"]
    clock.pass_time(3600)
    assert login.token() == "t2"
    assert b"assertion=" in api.calls[0].body
    assert key not in api.calls[0].body


def test_credentials_that_cannot_be_used_are_said_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text('{"type": "external_account"}')
    login = GoogleLogin(Found(type="gcs", settings={"credentials": str(path)}), FakeClock(), environ={})
    with pytest.raises(UsageError, match="external_account") as raised:
        login.token()
    assert "gcloud" in raised.value.fix
