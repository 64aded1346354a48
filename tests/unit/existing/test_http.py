from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.errors import AuthenticationFailed, BackendUnavailable, LockHeld, UsageError
from interlock.existing import Found, TerraformLockMoved
from interlock.existing.http import HttpBackend, open_http, shown_address
from interlock.ids import RandomIds
from interlock.terraform.lockinfo import build_lock_info, render_lock_info
from interlock.testing.answers import AnswerServer, Told, answer_server
from interlock.testing.clock import FakeClock
from interlock.testing.state_servers import HttpStates as Server

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
STATE = b'{"version": 4, "serial": 1}'
THEIRS = build_lock_info(id="theirs", operation="OperationTypeApply", who="bob@desk", version="1.11.4", now=NOW)
OURS = build_lock_info(id="ours", operation="restore", who="me@here", version="", now=NOW)


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    with answer_server(NOW) as api:
        yield api


@pytest.fixture
def server(api: AnswerServer) -> Server:
    made = Server()
    api.answer = made.answer
    return made


def found(api: AnswerServer, **more: Any) -> Found:
    settings = {
        "address": f"{api.url}/state/app?token=secret",
        "lock_address": f"{api.url}/lock",
        "unlock_address": f"{api.url}/lock",
        "username": "ann",
        "password": "hunter2",
    }
    return Found(type="http", settings={**settings, **more})


class Impatient(FakeClock):
    """Waits for nothing."""

    async def sleep(self, wait_s: float) -> None:
        self.pass_time(wait_s)


@pytest.fixture
def backend(api: AnswerServer) -> HttpBackend:
    return open_http(found(api), clock=Impatient(), ids=RandomIds())


async def test_a_free_state_is_free_and_looking_leaves_nothing_behind(server: Server, backend: HttpBackend) -> None:
    assert await backend.read_locks() == ()
    assert server.lock is None


@pytest.mark.parametrize("status", [409, 423])
async def test_the_holder_is_read_from_the_refusal(server: Server, backend: HttpBackend, status: int) -> None:
    server.lock, server.held_status = render_lock_info(THEIRS), status
    (lock,) = await backend.read_locks()
    assert (lock.id, lock.who, lock.operation) == ("theirs", "bob@desk", "OperationTypeApply")
    assert json.loads(server.lock)["ID"] == "theirs"


async def test_a_refusal_that_names_nobody_is_a_lock_all_the_same(server: Server, backend: HttpBackend) -> None:
    server.lock, server.nameless = render_lock_info(THEIRS), True
    (lock,) = await backend.read_locks()
    assert lock.unreadable


async def test_exactly_the_lock_that_was_read_is_deleted(server: Server, backend: HttpBackend) -> None:
    server.lock = render_lock_info(THEIRS)
    (lock,) = await backend.read_locks()
    server.lock = render_lock_info(OURS)
    with pytest.raises(TerraformLockMoved):
        await backend.delete_lock(lock)
    assert server.is_locked()
    server.lock = render_lock_info(THEIRS)
    await backend.delete_lock(lock)
    assert not server.is_locked()
    with pytest.raises(TerraformLockMoved, match="not there any more"):
        await backend.delete_lock(lock)


async def test_a_state_is_written_under_our_lock_and_over_what_was_read(server: Server, backend: HttpBackend) -> None:
    assert await backend.read_state() is None
    held = await backend.take_lock(OURS)
    first = await backend.write_state(STATE, expected=None)
    assert server.state == STATE
    server.state = b"{}"
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(STATE, expected=first)
    await backend.give_lock(held)
    assert server.lock is None


async def test_a_lock_that_is_held_is_not_taken(server: Server, backend: HttpBackend) -> None:
    server.lock = render_lock_info(THEIRS)
    with pytest.raises(LockHeld, match="bob@desk") as refused:
        await backend.take_lock(OURS)
    assert refused.value.facts["lock_id"] == "theirs"


async def test_the_protocol_keeps_one_version(server: Server, backend: HttpBackend) -> None:
    assert await backend.history() == ()
    server.state = STATE
    (version,) = await backend.history()
    assert await backend.read_version(version.id) == STATE
    with pytest.raises(UsageError):
        await backend.read_version("older")


async def test_credentials_are_sent_and_never_shown(api: AnswerServer, server: Server, backend: HttpBackend) -> None:
    server.state = STATE
    await backend.read_state()
    assert api.calls[-1].headers["authorization"] == f"Basic {base64.b64encode(b'ann:hunter2').decode()}"
    shown = f"{backend.describe()} {backend.place} {shown_address(found(api))}"
    assert "hunter2" not in shown
    assert "secret" not in backend.describe().address


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_a_matter_of_authentication(
    api: AnswerServer, backend: HttpBackend, status: int
) -> None:
    api.answer = lambda _: Told(status=status)
    with pytest.raises(AuthenticationFailed):
        await backend.read_state()


async def test_a_server_that_fails_is_asked_as_often_as_terraform_would(
    api: AnswerServer, backend: HttpBackend
) -> None:
    api.answer = lambda _: Told(status=503)
    with pytest.raises(BackendUnavailable, match="503"):
        await backend.read_state()
    assert len(api.calls) == 3


async def test_unreadable_is_not_absent(api: AnswerServer, backend: HttpBackend) -> None:
    api.answer = lambda _: Told(status=400)
    with pytest.raises(BackendUnavailable):
        await backend.read_state()
    with pytest.raises(BackendUnavailable):
        await backend.read_locks()


async def test_credentials_do_not_follow_a_redirect_to_another_server(api: AnswerServer, backend: HttpBackend) -> None:
    with answer_server(NOW) as other:
        api.answer = lambda _: Told(status=302, headers={"Location": f"{other.url}/state"})
        with pytest.raises(BackendUnavailable):
            await backend.read_state()
        assert other.calls == []


async def test_without_a_lock_address_nothing_is_locked(api: AnswerServer, server: Server) -> None:
    backend = open_http(found(api, lock_address=None), clock=Impatient(), ids=RandomIds())
    assert await backend.read_locks() == ()
    assert (await backend.take_lock(OURS)).locks == ()
    assert backend.describe().locking == ()


async def test_a_backend_without_an_address_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="has no address"):
        open_http(Found(type="http"), clock=Impatient(), ids=RandomIds())


async def test_an_address_that_is_none_is_unavailable() -> None:
    backend = open_http(
        Found(type="http", settings={"address": "file:///etc/passwd"}), clock=Impatient(), ids=RandomIds()
    )
    with pytest.raises(BackendUnavailable):
        await backend.read_state()


@pytest.mark.promise("P10")
async def test_a_login_in_the_address_is_sent_as_terraform_sends_it_and_never_shown(
    api: AnswerServer, server: Server
) -> None:
    server.state = STATE
    address = api.url.replace("://", "://ci:p%40ss@") + "/state/app"
    backend = open_http(found(api, address=address, username=""), clock=Impatient(), ids=RandomIds())
    await backend.read_state()
    assert api.calls[-1].headers["authorization"] == f"Basic {base64.b64encode(b'ci:p@ss').decode()}"
    assert "ss@" not in backend.describe().address
    both = open_http(found(api, address=address), clock=Impatient(), ids=RandomIds())
    await both.read_state()
    assert api.calls[-1].headers["authorization"] == f"Basic {base64.b64encode(b'ann:hunter2').decode()}"


@pytest.mark.promise("P10")
@pytest.mark.parametrize("address", ["https://ci:hush/word@host/state", "https://[hush/state", "http://host:hush/x"])
async def test_an_address_that_cannot_be_read_shows_nothing_of_itself(address: str) -> None:
    backend = open_http(Found(type="http", settings={"address": address}), clock=Impatient(), ids=RandomIds())
    with pytest.raises(BackendUnavailable) as refused:
        await backend.read_state()
    assert "hush" not in f"{refused.value} {refused.value.why} {backend.describe().address}"
