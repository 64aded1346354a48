from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from interlock.audit.log import AuditLog
from interlock.ci.job import parse_job
from interlock.errors import BackendUnavailable, LockHeld, UsageError
from interlock.existing import StoredState, TerraformLockMoved
from interlock.existing.terraform_lock import Reference, render_reference
from interlock.host import ProcessName, name_process
from interlock.recovery import Conclusion, Says
from interlock.recovery.keep import Keep
from interlock.recovery.terraform_lock import BY_HAND, Broken, Inquiry, Judged, Override, break_lock, examine, job_of
from interlock.recovery.witnesses import running
from interlock.recovery.witnesses.ci import Trust
from interlock.recovery.witnesses.process import render_name
from interlock.recovery.witnesses.running import Role, Running
from interlock.store.memory import MemoryRecords
from interlock.terraform.lockinfo import LockInfo
from interlock.testing.answers import AnswerServer
from interlock.testing.clock import FakeClock
from interlock.testing.existing import MemoryBackend

T = TypeVar("T")
HOST = running.look_around().host
STATE = json.dumps({"version": 4, "serial": 3, "lineage": "l", "terraform_version": "1.11.4"}).encode()


def info(who: str = f"@{HOST}", lock_id: str = "lock-1", text: str = "") -> LockInfo:
    created = "2025-12-31T23:00:00Z"  # an hour before the fake clock's beginning
    return LockInfo(id=lock_id, operation="OperationTypeApply", who=who, created=created, info=text, version="1.11.4")


WHOLE_MACHINE = running.Sight(
    host=socket.gethostname(),
    up_since=datetime(2025, 12, 1, tzinfo=UTC),
    in_container=False,
    is_hidden=False,
    has_boot=True,
)
"""A host that was up all the time and whose processes can all be seen, wherever the tests run."""


@dataclass
class Room:
    backend: MemoryBackend
    clock: FakeClock
    keep: Keep
    log: AuditLog
    processes: list[tuple[Running, str | None]]

    def inquiry(self, **more: Any) -> Inquiry:
        usual: dict[str, Any] = {
            "window_s": 10.0,
            "trust": Trust(),
            "environ": {},
            "place_of": lambda process: {id(p): place for p, place in self.processes}[id(process)],
            "processes_of": lambda _: None,
        }
        return Inquiry(**{**usual, **more})

    async def examine(self, **more: Any) -> Judged:
        return await self._timely(examine(self.backend, self.inquiry(**more), clock=self.clock))

    async def break_(self, judged: Judged, override: Override | None = None) -> Broken:
        return await break_lock(
            self.backend, judged, override=override, by="ann@desk", keep=self.keep, log=self.log, clock=self.clock
        )

    async def _timely(self, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        for _ in range(200):
            await asyncio.sleep(0.002)
            if task.done():
                break
            await self.clock.advance(0.5)
        return await task


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    clock = FakeClock()
    processes: list[tuple[Running, str | None]] = []
    monkeypatch.setattr(running, "find_running", lambda _: [process for process, _ in processes])
    monkeypatch.setattr(running, "look_around", lambda: WHOLE_MACHINE)
    backend = MemoryBackend()
    backend.bodies.append(STATE)
    log = AuditLog(MemoryRecords(clock=clock), clock)
    return Room(backend=backend, clock=clock, keep=Keep(tmp_path / "kept"), log=log, processes=processes)


def conclusion(judged: Judged) -> Conclusion | None:
    return judged.verdict.conclusion if judged.verdict else None


async def test_nobody_holds_when_there_is_no_lock(room: Room) -> None:
    judged = await room.examine()
    assert (judged.lock, judged.verdict) == (None, None)


async def test_a_lock_of_this_host_without_its_terraform_is_gone_after_the_window(room: Room) -> None:
    room.backend.hold(info())
    judged = await room.examine()
    assert conclusion(judged) is Conclusion.GONE
    assert room.clock.monotonic() >= 10.0
    assert {item.witness for item in judged.evidence} == {"process", "lock", "ci", "state"}


async def test_a_living_holder_is_told_at_once(room: Room) -> None:
    room.backend.hold(info())
    room.processes.append((_terraform(is_stopped=True), room.backend.address))
    judged = await room.examine()
    assert conclusion(judged) is Conclusion.ALIVE
    assert room.clock.monotonic() < 10.0


async def test_a_stopped_holder_is_never_gone_however_long_one_watches(room: Room) -> None:
    room.backend.hold(info())
    room.processes.append((_terraform(is_stopped=True), room.backend.address))
    for window_s in (10.0, 600.0):
        assert conclusion(await room.examine(window_s=window_s)) is Conclusion.ALIVE
        await room.clock.advance(600.0)


async def test_a_lock_of_another_host_is_undecided_until_the_ci_system_answers(room: Room, api: AnswerServer) -> None:
    room.backend.hold(info(who="runner@elsewhere"))
    judged = await room.examine()
    assert conclusion(judged) is Conclusion.UNDECIDED
    assert judged.verdict is not None
    assert any("--job URL" in text for text in judged.verdict.missing)

    base = "/api/v3/repos/o/r/actions/runs/7"
    job = {
        "status": "completed",
        "started_at": "2025-12-31T22:50:00Z",
        "completed_at": "2025-12-31T23:30:00Z",
        "labels": [],
        "runner_group_name": "GitHub Actions",
    }
    api.routes({base: {"status": "completed", "conclusion": "cancelled"}, f"{base}/jobs": {"jobs": [job]}})
    named = parse_job(f"{api.url}/o/r/actions/runs/7")
    vouched = {"INTERLOCK_CI_SERVERS": api.url}
    assert conclusion(await room.examine(job=named, environ=vouched)) is Conclusion.GONE
    api.routes({base: {"status": "in_progress"}, f"{base}/jobs": {"jobs": [{"status": "in_progress", "name": "a"}]}})
    assert conclusion(await room.examine(job=named, environ=vouched)) is Conclusion.ALIVE


async def test_the_job_that_a_run_of_ours_wrote_into_the_lock_is_asked() -> None:
    url = "https://github.com/o/r/actions/runs/7/attempts/1"
    backend = MemoryBackend()
    backend.hold(info(text=render_reference(Reference(run="abc", job=url))))
    held = backend.locks["dynamodb"]
    found = job_of(held, None)
    assert found is not None
    assert found.url == url
    other = parse_job("https://github.com/o/r/actions/runs/8")
    assert job_of(held, other) is other
    backend.hold(info(text="some text"))
    assert job_of(backend.locks["dynamodb"], None) is None


async def test_a_lock_that_a_person_took_is_never_gone(room: Room) -> None:
    from msgspec import structs

    room.backend.hold(structs.replace(info(), operation=BY_HAND, path="moving queues"))
    judged = await room.examine()
    assert conclusion(judged) is Conclusion.UNDECIDED
    assert any("by hand (moving queues)" in item.text for item in judged.evidence)


async def test_a_run_of_ours_that_is_recorded_elsewhere_is_never_gone_because_no_terraform_runs(room: Room) -> None:
    room.backend.hold(info(text=render_reference(Reference(run="abc"))))
    judged = await room.examine()
    assert conclusion(judged) is Conclusion.UNDECIDED
    assert judged.verdict is not None
    assert any("INTERLOCK_HOME" in text for text in judged.verdict.missing)
    room.processes.append((_terraform(), room.backend.address))
    assert conclusion(await room.examine()) is Conclusion.ALIVE


@pytest.fixture
def ended() -> ProcessName:
    """A process that has ended."""
    child = subprocess.Popen(["sleep", "60"])
    name = name_process(child.pid)
    child.kill()
    child.wait()
    return name


async def test_a_command_of_ours_that_took_the_lock_is_found_by_its_name(room: Room, ended: ProcessName) -> None:
    room.backend.hold(info(text=render_name(name_process(os.getpid()))))
    assert conclusion(await room.examine()) is Conclusion.ALIVE
    room.backend.hold(info(text=render_name(ended)))
    assert conclusion(await room.examine()) is Conclusion.GONE


async def test_a_lock_that_changes_hands_while_we_watch_is_not_gone(room: Room) -> None:
    room.backend.hold(info())

    async def later() -> None:
        await room.clock.sleep(4.0)
        room.backend.hold(info(lock_id="lock-2"))

    task = asyncio.ensure_future(later())
    judged = await room.examine()
    await task
    assert conclusion(judged) is Conclusion.ALIVE
    assert judged.lock is not None
    assert judged.lock.id == "lock-2"


async def test_a_lock_that_is_given_back_while_we_watch_is_free(room: Room) -> None:
    room.backend.hold(info())

    async def later() -> None:
        await room.clock.sleep(4.0)
        room.backend.locks.clear()

    task = asyncio.ensure_future(later())
    judged = await room.examine()
    await task
    assert judged.released
    assert judged.verdict is None


async def test_a_state_that_is_written_while_we_watch_shows_life(room: Room) -> None:
    room.backend.hold(info())

    async def later() -> None:
        await room.clock.sleep(4.0)
        room.backend.bodies.append(STATE.replace(b'"serial": 3', b'"serial": 4'))

    task = asyncio.ensure_future(later())
    judged = await room.examine()
    await task
    assert conclusion(judged) is Conclusion.ALIVE


async def test_a_lock_that_cannot_be_read_is_undecided(room: Room) -> None:
    room.backend.hold(info())
    lock = room.backend.locks["dynamodb"]
    from dataclasses import replace

    room.backend.locks["dynamodb"] = replace(lock, id="", who="", raw=b"not json", unreadable="it is not JSON")
    judged = await room.examine()
    assert conclusion(judged) is Conclusion.UNDECIDED
    assert any("cannot be read" in item.text for item in judged.evidence)


async def test_half_a_lock_is_told(room: Room) -> None:
    room.backend.mechanisms = ("lockfile", "dynamodb")
    room.backend.hold(info(), "dynamodb")
    judged = await room.examine()
    assert any("not in lockfile" in item.text for item in judged.evidence)
    room.backend.hold(info(lock_id="lock-9"), "lockfile")
    judged = await room.examine()
    assert any("name different locks" in item.text for item in judged.evidence)
    assert [lock.id for lock in judged.others] == ["lock-1"]


async def test_a_backend_that_is_down_is_no_verdict(room: Room) -> None:
    room.backend.hold(info())
    room.backend.failures.append(BackendUnavailable("throttled"))
    with pytest.raises(BackendUnavailable):
        await room.examine()


async def test_breaking_saves_the_state_deletes_that_lock_and_is_written_down(room: Room) -> None:
    room.backend.hold(info())
    broken = await room.break_(await room.examine())
    assert room.backend.locks == {}
    assert broken.snapshot is not None
    assert broken.snapshot.read_bytes() == STATE
    assert broken.findings == ()
    entries = await room.log.entries()
    assert [entry.action for entry in entries] == ["force-unlock-decided", "force-unlock"]
    assert entries[1].facts["verdict"] == "gone"
    assert entries[1].facts["lock_id"] == "lock-1"
    assert entries[1].by == "ann@desk"


async def test_both_halves_of_a_lock_are_deleted(room: Room) -> None:
    room.backend.mechanisms = ("lockfile", "dynamodb")
    room.backend.hold(info())
    await room.break_(await room.examine())
    assert room.backend.locks == {}


async def test_a_lock_that_is_another_one_by_now_is_left_alone(room: Room) -> None:
    room.backend.hold(info())
    judged = await room.examine()
    room.backend.hold(info(lock_id="lock-2"))
    with pytest.raises(TerraformLockMoved):
        await room.break_(judged)
    assert room.backend.locks["dynamodb"].id == "lock-2"
    assert [entry.action for entry in await room.log.entries()] == ["force-unlock-decided"]


async def test_a_living_holders_lock_is_not_broken_not_even_when_somebody_takes_responsibility(room: Room) -> None:
    room.backend.hold(info())
    room.processes.append((_terraform(), room.backend.address))
    judged = await room.examine()
    for override in (None, Override(operator="ann", reason="I am sure")):
        with pytest.raises(LockHeld, match="alive"):
            await room.break_(judged, override)
    assert room.backend.locks
    assert await room.log.entries() == ()


async def test_an_undecided_lock_is_broken_only_when_somebody_takes_responsibility(room: Room) -> None:
    room.backend.hold(info(who="runner@elsewhere"))
    judged = await room.examine()
    with pytest.raises(LockHeld, match="not provably gone") as refused:
        await room.break_(judged)
    assert "--i-have-verified" in refused.value.fix
    assert room.backend.locks
    await room.break_(judged, Override(operator="Ann Lee", reason="the runner was deleted"))
    assert room.backend.locks == {}
    facts = (await room.log.entries())[-1].facts
    assert (facts["verified_by"], facts["verified"], facts["verdict"]) == (
        "Ann Lee",
        "the runner was deleted",
        "undecided",
    )


async def test_a_state_that_cannot_be_saved_keeps_its_lock(room: Room, tmp_path: Path) -> None:
    room.backend.hold(info())
    judged = await room.examine()
    (tmp_path / "kept").write_text("a file where a folder should be")
    with pytest.raises(BackendUnavailable, match="nothing was changed"):
        await room.break_(judged)
    assert room.backend.locks


async def test_a_damaged_state_is_told_after_its_lock_was_broken(room: Room) -> None:
    room.backend.bodies.append(STATE[:20])
    room.backend.hold(info())
    broken = await room.break_(await room.examine())
    assert [finding.code for finding in broken.findings] == ["truncated"]


async def test_nobodys_lock_cannot_be_broken(room: Room) -> None:
    with pytest.raises(UsageError, match="is not locked"):
        await room.break_(await room.examine())


async def test_another_id_than_the_one_that_is_there_is_nobodys(room: Room) -> None:
    room.backend.hold(info())
    judged = await room.examine(lock_id="other")
    assert judged.lock is None
    assert [lock.id for lock in judged.others] == ["lock-1"]


def test_says_and_conclusion_are_spelled_as_people_read_them() -> None:
    assert {each.value for each in Conclusion} == {"alive", "gone", "undecided"}
    assert Says.FACT.value == "fact"


def _terraform(**more: Any) -> Running:
    usual: dict[str, Any] = {
        "pid": 42,
        "role": Role.TERRAFORM,
        "argv": ("terraform", "apply"),
        "folder": Path("/srv/app"),
        "started_at": None,
    }
    return Running(**{**usual, **more})


@pytest.mark.promise("P5")
async def test_a_lock_that_changes_hands_at_the_very_end_of_the_watch_is_not_gone(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found about the holder is about the lock that was there then."""
    room.backend.hold(info())
    looks, read_state = list[int](), room.backend.read_state

    async def changes_at_the_last_look() -> StoredState | None:
        looks.append(1)
        if len(looks) == 2:  # the look at the state after the watch
            room.backend.hold(info(lock_id="lock-2"))
        return await read_state()

    monkeypatch.setattr(room.backend, "read_state", changes_at_the_last_look)
    judged = await room.examine()
    assert conclusion(judged) is Conclusion.ALIVE
    assert judged.lock is not None
    assert judged.lock.id == "lock-2"
