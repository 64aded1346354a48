from __future__ import annotations

import base64
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.errors import AuthenticationFailed, LockHeld, UsageError
from interlock.existing import Found, TerraformLockMoved
from interlock.existing.azure_login import AzureLogin
from interlock.existing.azurerm import AzureBackend, open_azurerm, place_of, shown_address
from interlock.terraform.lockinfo import build_lock_info
from interlock.testing.answers import AnswerServer, Call, Told, answer_server
from interlock.testing.clock import FakeClock
from interlock.testing.cloud_doubles import AzureBlobs

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
OURS = build_lock_info(id="11111111-1111-1111-1111-111111111111", operation="x", who="me@here", version="", now=NOW)
THEIRS = build_lock_info(id="22222222-2222-2222-2222-222222222222", operation="x", who="ann@there", version="", now=NOW)
PATH = "/states/app.tfstate"


class Impatient(FakeClock):
    async def sleep(self, wait_s: float) -> None:
        self.pass_time(wait_s)


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    with answer_server(NOW) as api:
        yield api


@pytest.fixture
def blobs(api: AnswerServer) -> AzureBlobs:
    made = AzureBlobs()
    api.answer = made.answer
    return made


def found(api: AnswerServer, **more: Any) -> Found:
    settings = {"storage_account_name": "acct", "container_name": "states", "key": "app.tfstate"}
    return Found(type="azurerm", settings={**settings, "blob_endpoint": api.url, "sas_token": "?sig=azure-sas", **more})


def opened(api: AnswerServer, **more: Any) -> AzureBackend:
    return open_azurerm(found(api, **more), clock=Impatient())


@pytest.fixture
def backend(api: AnswerServer, blobs: AzureBlobs) -> AzureBackend:
    return opened(api)


async def test_the_lease_keeps_others_out_and_says_whose_it_is(
    api: AnswerServer, backend: AzureBackend, blobs: AzureBlobs
) -> None:
    held = await backend.take_lock(OURS)
    other = opened(api)
    (lock,) = await other.read_locks()
    assert (lock.id, lock.who) == (OURS.id, "me@here")
    with pytest.raises(LockHeld, match="me@here"):
        await other.take_lock(THEIRS)
    with pytest.raises(TerraformLockMoved):
        await other.write_state(b"x", expected=None)
    first = await backend.write_state(b"one", expected=None)
    assert [one.who for one in await other.read_locks()] == ["me@here"], "a write keeps the holder's name"
    await backend.write_state(b"two", expected=first)
    await backend.give_lock(held)
    assert (blobs.blobs[PATH].lease, blobs.blobs[PATH].meta, blobs.blobs[PATH].body) == ("", {}, b"two")


@pytest.mark.promise("P5")
async def test_a_lease_is_given_back_only_while_it_is_the_one_that_was_read(
    api: AnswerServer, backend: AzureBackend, blobs: AzureBlobs
) -> None:
    await backend.take_lock(OURS)
    (lock,) = await opened(api).read_locks()
    blobs.blobs[PATH].lease = THEIRS.id
    with pytest.raises(TerraformLockMoved):
        await opened(api).delete_lock(lock)
    assert blobs.blobs[PATH].lease == THEIRS.id


async def test_a_lease_that_names_nobody_locks_all_the_same_and_can_be_broken(
    api: AnswerServer, backend: AzureBackend, blobs: AzureBlobs
) -> None:
    await backend.take_lock(OURS)
    blobs.blobs[PATH].meta = {}
    (lock,) = await opened(api).read_locks()
    assert lock.id == ""
    assert lock.unreadable
    await opened(api).delete_lock(lock)
    assert await backend.read_locks() == ()


@pytest.mark.promise("P4")
async def test_a_dead_runs_lease_lets_recovery_write(api: AnswerServer, backend: AzureBackend) -> None:
    held = await backend.take_lock(OURS)
    rescuer = opened(api)
    rescuer.write_under(held.locks[0])
    stored = await rescuer.write_state(b"saved", expected=None)
    assert stored.body == b"saved"


async def test_an_answer_that_was_lost_to_a_lease_is_asked_for_again(
    api: AnswerServer, backend: AzureBackend, blobs: AzureBlobs
) -> None:
    lost: list[Call] = []

    def answer(call: Call) -> Told:
        told = blobs.answer(call)
        if call.headers.get("x-ms-lease-action") == "acquire" and not lost:
            lost.append(call)
            return Told(status=503)
        return told

    api.answer = answer
    await backend.give_lock(await backend.take_lock(OURS))
    assert blobs.blobs[PATH].lease == ""


@pytest.mark.promise("P3")
async def test_a_write_replaces_exactly_what_was_read(backend: AzureBackend, blobs: AzureBlobs) -> None:
    held = await backend.take_lock(OURS)
    first = await backend.write_state(b"one", expected=None)
    blobs.blobs[PATH].body, blobs.blobs[PATH].etag = b"theirs", 99
    with pytest.raises(TerraformLockMoved, match="changed"):
        await backend.write_state(b"two", expected=first)
    assert blobs.blobs[PATH].body == b"theirs"
    await backend.give_lock(held)


def test_a_workspace_is_a_blob_of_its_own_and_what_is_missing_is_named(api: AnswerServer) -> None:
    assert shown_address(found(api)) == "azurerm://acct/states/app.tfstate"
    with pytest.raises(UsageError, match="container_name or key"):
        place_of(Found(type="azurerm", settings={"storage_account_name": "a"}))
    usual = place_of(Found(type="azurerm", settings={**found(api).settings, "blob_endpoint": ""}))
    assert usual.endpoint == "https://acct.blob.core.windows.net/"


async def test_a_refused_sas_is_said_without_it(api: AnswerServer, blobs: AzureBlobs) -> None:
    with pytest.raises(AuthenticationFailed, match="refused") as raised:
        await opened(api, sas_token="sig=old-hush").read_state()
    assert "hush" not in f"{raised.value.what}{raised.value.why}{raised.value.fix}"


def test_a_key_signs_every_request_and_is_sent_with_none() -> None:
    key = base64.b64encode(b"secret").decode()
    login = AzureLogin(Found(type="azurerm", settings={"access_key": key}), account="acct", clock=FakeClock())
    one = urllib.request.Request("https://acct.blob.core.windows.net/states/app?comp=lease", data=b"", method="PUT")
    two = urllib.request.Request("https://acct.blob.core.windows.net/states/app?comp=metadata", data=b"", method="PUT")
    for request in (one, two):
        login.sign(request, b"")
        assert request.get_header("Authorization", "").startswith("SharedKey acct:")
        assert key not in str(request.header_items())
    assert one.get_header("Authorization") != two.get_header("Authorization")
