from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.errors import AuthenticationFailed, LockHeld, UsageError
from interlock.existing import Found, TerraformLockMoved
from interlock.existing.consul import ConsulBackend, open_consul, place_of, shown_address
from interlock.existing.packed import pack
from interlock.terraform.lockinfo import build_lock_info
from interlock.testing.answers import AnswerServer, Call, Told, answer_server
from interlock.testing.clock import FakeClock
from interlock.testing.consul_double import ConsulAgent

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
OURS = build_lock_info(id="ours", operation="OperationTypeApply", who="me@here", version="", now=NOW)
THEIRS = build_lock_info(id="theirs", operation="OperationTypeApply", who="ann@there", version="", now=NOW)
KEY, LOCK, LOCK_INFO = "team/app", "team/app/.lock", "team/app/.lockinfo"


class Impatient(FakeClock):
    """Pauses between attempts pass at once; a session that is renewed stays for the test to end."""

    async def sleep(self, wait_s: float) -> None:
        if wait_s == 5.0:
            await super().sleep(wait_s)
        self.pass_time(wait_s)


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    with answer_server(NOW) as api:
        yield api


@pytest.fixture
def agent(api: AnswerServer) -> ConsulAgent:
    made = ConsulAgent(clock=FakeClock())
    api.answer = made.answer
    return made


def found(api: AnswerServer, **more: Any) -> Found:
    return Found(type="consul", settings={"path": KEY, "address": api.url, **more})


@pytest.fixture
def backend(api: AnswerServer, agent: ConsulAgent) -> ConsulBackend:
    return open_consul(found(api), clock=Impatient())


def another(api: AnswerServer) -> ConsulBackend:
    return open_consul(found(api), clock=Impatient())


def losing(api: AnswerServer, agent: ConsulAgent, path: str) -> None:
    """Do the next call there, and lose its answer."""
    lost: list[Call] = []

    def answer(call: Call) -> Told:
        told = agent.answer(call)
        if call.path.startswith(path) and call.method == "PUT" and not lost:
            lost.append(call)
            return Told(status=503)
        return told

    api.answer = answer


async def test_the_lock_is_named_by_its_session_and_says_who_holds(api: AnswerServer, backend: ConsulBackend) -> None:
    other = another(api)
    held = await other.take_lock(THEIRS)
    (lock,) = await backend.read_locks()
    assert (lock.id, lock.who) == (held.info.id, "ann@there")
    with pytest.raises(LockHeld, match="ann@there"):
        await backend.take_lock(OURS)
    await backend.delete_lock(lock)
    assert await backend.read_locks() == ()
    await other.close()


async def test_what_an_ended_session_left_beside_the_lock_does_not_say_who_holds_it(
    backend: ConsulBackend, agent: ConsulAgent
) -> None:
    held = await backend.take_lock(OURS)
    agent.put(LOCK_INFO, json.dumps({"ID": "somebody-else", "Who": "bob@gone"}).encode())
    (lock,) = await backend.read_locks()
    assert (lock.id, lock.who) == (held.info.id, "")
    await backend.give_lock(held)
    assert agent.value(LOCK_INFO) is None
    assert not agent.sessions


@pytest.mark.promise("P5")
async def test_a_lock_that_was_taken_anew_is_not_deleted(api: AnswerServer, backend: ConsulBackend) -> None:
    before = await backend.take_lock(OURS)
    (lock,) = await backend.read_locks()
    await backend.give_lock(before)
    other = another(api)
    await other.take_lock(THEIRS)
    with pytest.raises(TerraformLockMoved, match="not there"):
        await backend.delete_lock(lock)
    assert [one.who for one in await backend.read_locks()] == ["ann@there"]
    await other.close()


async def test_a_lock_that_was_given_back_can_be_had_at_once_and_one_whose_session_ended_only_after_a_while(
    api: AnswerServer, backend: ConsulBackend, agent: ConsulAgent
) -> None:
    await backend.give_lock(await backend.take_lock(OURS))
    other = another(api)
    held = await other.take_lock(THEIRS)
    agent._session("destroy", held.info.id)
    assert await backend.read_locks() == ()
    with pytest.raises(LockHeld):
        await backend.take_lock(OURS)
    assert not agent.sessions, "a refused client leaves no session"
    assert isinstance(agent.clock, FakeClock)
    agent.clock.pass_time(6)
    await backend.give_lock(await backend.take_lock(OURS))
    await other.close()


async def test_an_answer_that_was_lost_leaves_one_lock_and_then_none(
    api: AnswerServer, backend: ConsulBackend, agent: ConsulAgent
) -> None:
    losing(api, agent, "/v1/txn")
    held = await backend.take_lock(OURS)
    assert [lock.id for lock in await backend.read_locks()] == [held.info.id]
    losing(api, agent, "/v1/txn")
    await backend.give_lock(held)
    assert await backend.read_locks() == ()


@pytest.mark.promise("P3")
async def test_a_write_replaces_exactly_what_was_read(
    api: AnswerServer, backend: ConsulBackend, agent: ConsulAgent
) -> None:
    losing(api, agent, "/v1/txn")
    first = await backend.write_state(b"one", expected=None)
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(b"zero", expected=None)
    second = await backend.write_state(b"two", expected=first)
    with pytest.raises(TerraformLockMoved, match="was not written"):
        await backend.write_state(b"three", expected=first)
    assert agent.value(KEY) == second.body == b"two"


@pytest.mark.promise("P4")
async def test_a_writer_whose_session_ended_writes_nothing_and_is_told_why(
    backend: ConsulBackend, agent: ConsulAgent
) -> None:
    first = await backend.write_state(b"one", expected=None)
    held = await backend.take_lock(OURS)
    agent._session("destroy", held.info.id)
    with pytest.raises(TerraformLockMoved) as raised:
        await backend.write_state(b"two", expected=first)
    assert "session ended" in raised.value.why
    assert agent.value(KEY) == b"one"
    await backend.close()


@pytest.mark.promise("P3")
@pytest.mark.parametrize("is_packed", [False, True])
async def test_a_large_state_is_kept_in_pieces_and_those_of_the_one_before_go(
    api: AnswerServer, agent: ConsulAgent, is_packed: bool
) -> None:
    backend = open_consul(found(api, gzip="true" if is_packed else "false"), clock=Impatient())
    large = json.dumps({"noise": [number * 7919 % 1000003 for number in range(400_000)]}).encode()
    first = await backend.write_state(large, expected=None)
    said = json.loads(agent.value(KEY) or b"")
    assert len(said["chunks"]) > 1
    assert all(agent.value(key) for key in said["chunks"])
    same = await backend.write_state(large, expected=first)
    assert (await backend.read_state()) == same
    small = await backend.write_state(b'{"serial": 2}', expected=same)
    assert small.body == b'{"serial": 2}'
    assert not [key for key in agent.pairs if "/tfstate." in key]
    assert agent.value(KEY) == (pack(b'{"serial": 2}') if is_packed else b'{"serial": 2}')


async def test_a_state_whose_pieces_are_gone_is_shown_as_it_is_and_can_be_replaced(
    backend: ConsulBackend, agent: ConsulAgent
) -> None:
    agent.put(KEY, json.dumps({"current-hash": "0" * 32, "chunks": [f"{KEY}/tfstate.0/0"]}).encode())
    torn = await backend.read_state()
    assert torn is not None
    assert torn.body == agent.value(KEY)
    assert (await backend.write_state(b"whole", expected=torn)).body == b"whole"


async def test_each_workspace_is_a_key_and_records_are_beside_them(api: AnswerServer, agent: ConsulAgent) -> None:
    green = Found(type="consul", settings=found(api).settings, workspace="green")
    backend = open_consul(green, clock=Impatient())
    await backend.write_state(b"one", expected=None)
    assert agent.value("team/app-env:green") == b"one"
    assert await backend.workspaces() == ("green",)
    agent.put(KEY, b"two")
    assert await backend.workspaces() == ("default", "green")
    assert place_of(green).records == place_of(found(api)).records == "team/.interlock/records/"
    assert place_of(Found(type="consul", settings={"path": "app"})).records == ".interlock/records/"


def test_what_is_meant_is_read_as_terraform_reads_it() -> None:
    def address(**settings: str) -> str:
        return shown_address(Found(type="consul", settings={"path": "p", **settings}))

    assert address() == "consul://127.0.0.1:8500/p"
    assert address(address="https://c.example:8501/", datacenter="eu") == "consul://c.example:8501/p in eu"
    assert place_of(Found(type="consul", settings={"path": "p", "ssl": "true"})).agent == "https://127.0.0.1:8500"
    with pytest.raises(UsageError, match="unix"):
        address(address="unix:///run/consul.sock")
    with pytest.raises(UsageError, match="no path"):
        place_of(Found(type="consul"))


async def test_a_refused_token_is_said_and_one_in_a_file_is_read_each_time(api: AnswerServer, tmp_path: Any) -> None:
    api.answer = ConsulAgent(token="t").answer
    with pytest.raises(AuthenticationFailed, match="refused"):
        await open_consul(found(api, access_token="old"), clock=Impatient()).read_state()
    path = tmp_path / "token"
    path.write_text("t\n")
    assert await open_consul(found(api, token_file=str(path)), clock=Impatient()).read_state() is None
