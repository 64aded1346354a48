"""Locking through the TFE API: who is granted, who is told what, and who may end what."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.cloud_api import MASTER, STATE, WAIT_S, Cloud, CloudServer, error, settle, state, terraform
from tests.platform_api import platform_api

from interlock.rights import Role


@pytest.fixture
def server(tmp_path: Path) -> CloudServer:
    return CloudServer(tmp_path)


@pytest.mark.promise("P1", "P2")
async def test_clients_of_one_shared_token_queue_behind_each_other_in_order(server: CloudServer) -> None:
    first, second, third = [await terraform(server) for _ in range(3)]
    assert (await first.lock()).status == 200
    waiting = [second.send_lock(), third.send_lock()]
    await settle()
    assert len(await server.holders()) == 1
    assert (await first.unlock()).status == 200
    await settle()
    assert [sent.task.done() for sent in waiting] == [True, False]
    assert waiting[0].answered.status == 200
    assert (await second.unlock()).status == 200
    await settle()
    assert waiting[1].answered.status == 200
    assert (await third.unlock()).status == 200


@pytest.mark.promise("P1")
async def test_a_lock_that_is_repeated_by_the_same_terraform_is_one_lock(server: CloudServer) -> None:
    mine, other = await terraform(server), await terraform(server)
    for _ in range(3):
        assert (await mine.lock()).status == 200
    assert (await server.view()).lock.token == 1
    waiting = other.send_lock()
    await settle()
    assert not waiting.task.done(), "a second lock of the same token is a rival's"
    waiting.hang_up()
    await waiting.task


@pytest.mark.promise("P1")
async def test_a_grant_whose_answer_was_lost_is_given_again_to_the_same_terraform_only(server: CloudServer) -> None:
    mine, other = await terraform(server), await terraform(server)
    lost = mine.send_lock()
    lost.breaks_on_send = True
    with pytest.raises(OSError, match="reset"):
        await lost.task
    assert await server.holders() == []
    assert (await mine.lock()).status == 200
    waiting = other.send_lock()
    await settle()
    assert not waiting.task.done()
    waiting.hang_up()
    await waiting.task


@pytest.mark.promise("P2")
async def test_two_copies_of_one_held_lock_request_are_one_place_in_the_queue(server: CloudServer) -> None:
    holder, waiter = await terraform(server), await terraform(server)
    await holder.lock()
    copies = [waiter.send_lock(), waiter.send_lock()]
    await settle()
    assert len((await server.view()).lock.waiters) == 1
    copies[0].hang_up()
    await copies[0].task
    await holder.unlock()
    await settle()
    assert copies[1].answered.status == 200


@pytest.mark.promise("P2")
async def test_whoever_hangs_up_while_it_waits_is_not_granted(server: CloudServer) -> None:
    holder, leaver, patient = [await terraform(server) for _ in range(3)]
    await holder.lock()
    left, waiting = leaver.send_lock(), patient.send_lock()
    await settle()
    left.hang_up()
    await left.task
    await holder.unlock()
    await server.clock.advance(6)
    assert waiting.answered.status == 200


async def test_giving_up_names_the_holder_the_place_and_the_next_command_and_is_never_a_409(
    server: CloudServer,
) -> None:
    holder = await terraform(server, await server.token(note="ann's laptop"))
    waiter = await terraform(server)
    await holder.lock()
    sent = waiter.send_lock()
    await server.clock.advance(WAIT_S + 1)
    refused = sent.answered
    assert refused.status == 423
    assert refused.headers["content-type"] == "application/vnd.api+json"
    told = error(refused)
    assert told["title"] == f"state '{STATE}' was not locked after a wait of 60 s"
    assert "held by ann's laptop (" in told["detail"]
    assert "you are number 1 in the queue" in told["detail"]
    assert told["detail"].endswith(f"next: interlock queue ls {STATE}")
    await holder.unlock()
    assert (await server.view()).lock.holders == (), "nobody is granted who has given up"
    await server.clock.advance(10)
    again = await terraform(server)
    assert (await again.lock()).status == 200


async def test_a_lock_that_was_cancelled_while_waiting_ends_with_our_words(server: CloudServer) -> None:
    holder, waiter = await terraform(server), await terraform(server)
    await holder.lock()
    sent = waiter.send_lock()
    await settle()
    ticket = (await server.view()).lock.waiters[0].ticket
    await server.home.coordinator.withdraw(STATE, ticket, by="ann", reason="not now")
    await settle()
    assert sent.answered.status == 410, "409 on LOCK would show the asker its own lock as the one in the way"
    assert "not now" in error(sent.answered)["detail"]


async def test_a_server_that_ends_sends_who_waits_away_to_come_back(server: CloudServer) -> None:
    holder, waiter = await terraform(server), await terraform(server)
    await holder.lock()
    sent = waiter.send_lock()
    await settle()
    server.about.ending.set()
    await settle()
    assert sent.answered.status == 503
    assert sent.answered.headers["retry-after"]
    assert len((await server.view()).lock.waiters) == 1, "its place is kept"


async def test_a_token_that_is_revoked_while_its_client_waits_is_not_granted(server: CloudServer) -> None:
    holder = await terraform(server)
    token = await server.token()
    waiter = await terraform(server, token)
    await holder.lock()
    sent = waiter.send_lock()
    await settle()
    await server.book.revoke(token.split("_")[1])
    await holder.unlock()
    await settle()
    assert sent.answered.status == 401
    assert (await server.view()).lock.holders == ()


@pytest.mark.promise("P4")
async def test_only_the_terraform_that_holds_unlocks_and_it_may_do_so_twice(server: CloudServer) -> None:
    mine, other = await terraform(server), await terraform(server)
    await mine.lock()
    refused = await other.unlock()
    assert refused.status == 423
    assert f"next: interlock force-unlock {STATE}" in error(refused)["detail"]
    assert (await mine.unlock()).status == 200
    assert (await mine.unlock()).status == 200, "its answer may have been lost"
    assert (await other.unlock()).status == 409, "the client then says in its own words that it is not locked"


async def test_a_version_whose_bytes_never_came_does_not_stand_in_the_way_of_unlock(server: CloudServer) -> None:
    mine = await terraform(server)
    await mine.lock()
    told = await mine.announce(state(1, "a"))
    assert (told.status, told.json()["data"]["attributes"]["status"]) == (201, "pending")
    assert (await mine.unlock()).status == 200


async def test_a_terraform_may_lock_again_after_it_unlocked(server: CloudServer) -> None:
    mine = await terraform(server)
    for _ in range(3):
        assert (await mine.lock()).status == 200
        assert (await mine.unlock()).status == 200


async def test_a_script_without_a_session_has_one_lock_a_token(server: CloudServer) -> None:
    await terraform(server)
    path = "workspaces/ws-acme~app/actions"
    ann, bob = await server.token(), await server.token()
    assert (await server.ask("POST", f"{path}/lock", token=ann)).status == 200
    assert (await server.ask("POST", f"{path}/lock", token=ann)).status == 200
    assert (await server.ask("POST", f"{path}/unlock", token=bob)).status == 423
    assert (await server.ask("POST", f"{path}/unlock", token=ann)).status == 200


async def test_a_script_may_ask_for_the_workspace_again_and_again_and_is_one_client(server: CloudServer) -> None:
    ids = set()
    for step in ("lock", "write", "unlock"):
        script = Cloud(server, MASTER)
        script.is_terraform = False
        await script.init()
        ids.add(script.id)
        told = await (script.write(state(1)) if step == "write" else getattr(script, step)())
        assert told.status == 200
    assert ids == {"ws-acme~app"}


async def test_a_reason_that_somebody_gives_is_shown(server: CloudServer) -> None:
    await terraform(server)
    path = "workspaces/ws-acme~app/actions/lock"
    told = await server.ask("POST", path, sends={"reason": "maintenance\x1b[2J"})
    assert told.json()["data"]["attributes"]["locked-reason"] == "maintenance\\x1b[2J"
    assert told.json()["data"]["relationships"]["locked-by"]["data"]["id"] == "token"


@pytest.mark.promise("P5")
async def test_force_unlock_is_for_operators_and_only_for_a_holder_that_is_proved_gone(server: CloudServer) -> None:
    holder = await terraform(server, await server.token())
    await holder.lock()
    path = f"workspaces/{holder.id}/actions/force-unlock"
    for role in (Role.READER, Role.PLANNER, Role.RUNNER):
        assert (await server.ask("POST", path, token=await server.token(role))).status == 403
    sent = server.send("POST", path, token=await server.token(Role.OPERATOR))
    async with asyncio.timeout(60):  # processes are looked at in a thread
        while not sent.task.done():
            await server.clock.advance(0.25)
            await asyncio.sleep(0)
    refused = sent.answered
    assert refused.status == 423
    assert "its holder is not provably gone" in error(refused)["title"]
    assert "--i-have-verified" in error(refused)["detail"]
    assert len(await server.holders()) == 1, "undecided breaks nothing"
    await holder.unlock()
    assert (await server.ask("POST", path, token=MASTER)).status == 409


@pytest.mark.promise("P5")
@pytest.mark.parametrize(("status", "expected"), [("completed", 200), ("in_progress", 423)])
async def test_a_ci_job_that_gave_the_holder_its_token_is_a_witness(tmp_path: Path, status: str, expected: int) -> None:
    job = "https://github.com/acme/infra/actions/runs/7/job/9"
    with platform_api() as api:
        facts = {"status": status, "conclusion": "cancelled", "name": "apply", "runner_group_name": "GitHub Actions"}
        times = {"started_at": "2025-12-31T23:00:00Z", "completed_at": "2026-01-01T00:10:00Z"}
        api.on("GET", "/repos/acme/infra/actions/jobs/9", {**facts, **times})
        server = CloudServer(tmp_path, GITHUB_API_URL=api.url)
        holder = await terraform(server, await server.token(note=job))
        await holder.lock()
        await holder.write(state(1, "a"))
        sent = server.send(
            "POST",
            f"workspaces/{holder.id}/actions/force-unlock",
            token=await server.token(Role.OPERATOR, note="ann"),
        )
        async with asyncio.timeout(60):
            while not sent.task.done():
                await server.clock.advance(0.25)
                await asyncio.sleep(0)
    assert sent.answered.status == expected, sent.answered
    assert len(await server.holders()) == (0 if expected == 200 else 1)
    actions = [(entry.action, entry.by.split()[0]) for entry in await server.home.audit.entries()]
    assert (("force-unlock", "ann") in actions) is (expected == 200)
    refused = await holder.write(state(2, "a", "b"))
    assert (refused.status == 409) is (expected == 200), "the zombie is fenced"
