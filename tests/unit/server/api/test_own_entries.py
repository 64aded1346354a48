"""The server's own entries in the audit log: acts through its API leave them, whatever a client tells or does not."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace
from tests.killed_writers import killed_after
from tests.unit.server.api.test_second_person import (
    _WAY,
    STATE,
    Client,
    Desk,
    _two_versions,
    desk,
    document,
)

from interlock.api.versions import ByGrant
from interlock.audit.entry import Entry
from interlock.audit.log import AuditLog
from interlock.coordinator.archive import Writer
from interlock.coordinator.names import key_of
from interlock.coordinator.record import decode, encode
from interlock.errors import StateInvalid
from interlock.lock import Broken, Paused, Released, Resumed
from interlock.store.memory import MemoryRecords
from interlock.testing.asking import ask
from interlock.testing.clock import FakeClock

__all__ = ["desk"]  # the fixture

pytestmark = pytest.mark.promise("P5")


async def entries(desk: Desk, action: str) -> list[Entry]:
    return [each for each in await desk.home.audit.entries() if each.action == action]


async def tell_own(desk: Desk, who: Client, action: str, **facts: object) -> None:
    """Tell the log of an act, as our own command does behind it."""
    once = hashlib.sha256(f"{action}{facts}".encode()).hexdigest()
    act = {"once": once, "action": action, "subject": f"interlock:{STATE}", "by": "x", "facts": facts}
    assert (await desk.post(who, "/audit", act)).status == 200


async def test_a_restore_and_a_push_are_written_down_once_and_a_runs_writes_are_not(desk: Desk) -> None:
    anna, grant = await _two_versions(desk)
    assert await desk.actions() == []
    for _ in range(2):  # the answer to the first one was lost
        assert (await desk.post(anna, f"/versions/restore{_WAY}", ByGrant(grant=grant, number=1))).status == 200
    (restored,) = await entries(desk, "state-restored")
    said = restored.facts
    assert (said["restored"], said["version"], said["serial_before"], said["serial"]) == (1, 3, 2, 3)
    assert said["token"] == grant.token
    assert "from" in said
    assert "told_by_client" not in said
    assert restored.subject == f"interlock:{STATE}"
    assert restored.by.startswith("anna (")
    await tell_own(desk, anna, "state-restored", version=3, serial=3, sha256=said["sha256"])
    for _ in range(2):
        assert (await desk.write(anna, grant, document(9, "x"), force=True)).status == 200
    digest = (await desk.home.archive.history(STATE))[0].digest
    await tell_own(desk, anna, "state-pushed", version=4, serial=9, sha256=digest)
    (pushed,) = await entries(desk, "state-pushed")
    assert (pushed.facts["serial_before"], pushed.facts["serial"], pushed.facts["forced"]) == (3, 9, True)
    assert await desk.actions() == ["state-restored", "state-pushed"]


async def test_a_broken_lock_is_written_down_before_and_after_and_not_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, anna = await desk.person("bob"), await desk.person("anna")
    grant = await desk.hold(bob, "r1", run="r1")
    breaking = Broken(ticket="r1", token=grant.token or 0, by="anna", reason="its machine burnt")
    with monkeypatch.context() as long_log:
        long_log.setattr(AuditLog, "entries", None)  # all of it would be read to find one entry
        assert (await desk.tell(anna, breaking)).status == 200
        await desk.tell(anna, breaking)  # the answer was lost
        await tell_own(desk, anna, "force-unlock", lock_id="r1", token=grant.token)
    assert await desk.actions() == ["force-unlock-decided", "force-unlock"]
    for entry in await desk.home.audit.entries():
        assert (entry.facts["run"], entry.facts["token"], entry.facts["reasons"]) == (
            "r1",
            grant.token,
            ["its machine burnt"],
        )
        assert entry.by.startswith("anna as anna (")


async def test_the_evidence_that_our_own_command_told_before_it_breaks_a_lock_stands_alone(desk: Desk) -> None:
    bob, anna = await desk.person("bob"), await desk.person("anna")
    grant = await desk.hold(bob, "r1", run="r1")
    await tell_own(desk, anna, "force-unlock-decided", lock_id="r1", token=grant.token, verdict="gone")
    assert (await desk.tell(anna, Broken(ticket="r1", token=grant.token or 0, by="anna", reason="x"))).status == 200
    decided, done = await desk.home.audit.entries()
    assert (decided.facts["verdict"], decided.facts["told_by_client"]) == ("gone", True)
    assert done.action == "force-unlock"
    assert "told_by_client" not in done.facts


async def test_a_client_cannot_make_the_server_think_that_it_wrote_its_entry(desk: Desk) -> None:
    anna, grant = await _two_versions(desk)
    for once in (f"state-pushed\ninterlock:{STATE}\n3", f"told\nforce-unlock-decided\nr1\n{grant.token}"):
        act = {"once": once, "action": "x", "subject": f"interlock:{STATE}", "by": "x", "facts": {}}
        assert (await desk.post(anna, "/audit", act)).status == 200
    assert (await desk.write(anna, grant, document(9, "x"), force=True)).status == 200
    assert len(await entries(desk, "state-pushed")) == 1


async def test_the_end_of_ones_own_grant_is_no_act_of_force(desk: Desk) -> None:
    bob = await desk.person("bob")
    grant = await desk.hold(bob, "r1", run="r1")
    assert (await desk.tell(bob, Released(ticket="r1", token=grant.token))).status == 200
    assert await desk.actions() == []


async def test_a_dead_runs_lock_that_another_run_with_the_same_token_breaks_is_written_down(desk: Desk) -> None:
    """All jobs of a pipeline have one token: that of a dead one was taken away, and no entry said why."""
    bob = await desk.person("bob")
    grant = await desk.hold(bob, "r1", run="r1")
    breaking = Broken(ticket="r1", token=grant.token or 0, by="bob", reason="its process is gone")
    assert (await desk.tell(bob, breaking)).status == 200
    assert await desk.actions() == ["force-unlock-decided", "force-unlock"]
    assert [entry.facts["reasons"] for entry in await desk.home.audit.entries()] == [["its process is gone"]] * 2


async def test_a_pause_and_its_end_are_written_down_where_they_changed_something(desk: Desk) -> None:
    anna = await desk.person("anna")
    for event in (Paused(by="anna", reason="maintenance"), Resumed(by="anna"), Resumed(by="anna")):
        await desk.tell(anna, event)
    assert await desk.actions() == ["queue-paused", "queue-resumed"]
    for entry in await desk.home.audit.entries():
        assert entry.facts["reason"] == "maintenance"


async def test_what_is_thrown_away_is_written_down_once(desk: Desk) -> None:
    anna, _ = await _two_versions(desk)
    error = StateInvalid("it was refused", why="its serial is older")
    kept = await desk.home.archive.quarantine(STATE, document(1, "z"), writer=Writer(who="x"), error=error)
    for _ in range(2):
        gone = await ask(desk.app, "DELETE", f"/api/v1/quarantine{_WAY}&id={kept.id}", headers=anna)
        assert gone.status in {200, 204}, gone.body
    (discarded,) = await entries(desk, "quarantine-discarded")
    assert (discarded.facts["id"], discarded.facts["serial"]) == (kept.id, 1)
    assert isinstance(desk.home.clock, FakeClock)
    desk.home.clock.pass_time(9.0)
    rules = "&newest=1&all_for_s=0&daily_for_s=0&weekly_for_s=0"
    for _ in range(2):
        pruned = await ask(desk.app, "POST", f"/api/v1/versions/prune{_WAY}{rules}", headers=anna)
        assert pruned.status == 200
    (entry,) = await entries(desk, "versions-pruned")
    assert entry.facts["versions"] == ["1"]


async def _lose_head(desk: Desk) -> None:
    records = desk.home.store.records
    record = await records.get(key_of(STATE))
    assert record is not None
    lost = replace(decode(record.value), head=None)
    await records.swap(record.key, expected=record.version, value=encode(lost))


@pytest.mark.promise("P3")
async def test_a_repair_whose_answer_was_lost_is_asked_for_again(desk: Desk) -> None:
    anna, grant = await _two_versions(desk)
    await desk.tell(anna, Released(ticket="by-hand", token=grant.token))
    await _lose_head(desk)
    grant = await desk.hold(anna, "mending")
    for _ in range(2):
        mended = await desk.post(anna, f"/repair/head{_WAY}", ByGrant(grant=grant, number=2))
        assert mended.status == 204, mended.body
    view = await desk.home.coordinator.view(STATE)
    assert view.head is not None
    assert view.head.number == 2
    (entry,) = await entries(desk, "state-repaired")
    assert (entry.facts["record"], entry.facts["version"]) == ("head", 2)
    other = await desk.post(anna, f"/repair/head{_WAY}", ByGrant(grant=grant, number=1))
    assert other.status == 409, "only what was done is done again"
    await desk.tell(anna, Released(ticket="mending", token=grant.token))
    await _lose_head(desk)
    grant = await desk.hold(anna, "mending-again")
    assert (await desk.post(anna, f"/repair/head{_WAY}", ByGrant(grant=grant, number=2))).status == 204
    assert len(await entries(desk, "state-repaired")) == 2, "the same version, lost again"


@pytest.mark.promise("P3")
async def test_a_record_that_was_made_anew_is_asked_for_again(desk: Desk) -> None:
    anna, _ = await _two_versions(desk)
    records = desk.home.store.records
    assert isinstance(records, MemoryRecords)
    records._sums[key_of(STATE)] = b"damaged"
    for _ in range(2):
        made = await desk.post(anna, f"/repair/record{_WAY}&number=2", b"")
        assert (made.status, made.json()) == (200, {"count": 1}), made.body
    assert len(await entries(desk, "state-repaired")) == 1
    bob = await desk.person("bob")
    assert (await desk.post(bob, f"/repair/record{_WAY}&number=2", b"")).status == 409


async def test_an_act_that_is_told_again_after_the_server_was_killed_at_any_write_has_one_entry(desk: Desk) -> None:
    anna, grant = await _two_versions(desk)
    records = desk.home.store.records
    assert isinstance(records, MemoryRecords)
    for writes in range(1, 8):
        act = {
            "once": f"{writes}",
            "action": "hand",
            "subject": f"interlock:{STATE}",
            "by": "x",
            "facts": {"n": writes},
        }
        with killed_after(records, writes):
            await desk.post(anna, "/audit", act)
        assert (await desk.post(anna, "/audit", act)).status == 200
    assert [each.facts["n"] for each in await entries(desk, "hand")] == list(range(1, 8))
    for writes in range(1, 12):
        with killed_after(records, writes):
            await desk.write(anna, grant, document(9 + writes, "x"), force=True)
        told = {each.facts["version"] for each in await entries(desk, "state-pushed")}
        pushed = {each.number for each in await desk.home.archive.history(STATE) if each.number > 2}
        assert pushed <= told, f"killed after {writes} writes, and not repeated"
        assert (await desk.write(anna, grant, document(9 + writes, "x"), force=True)).status == 200
    assert [each.facts["serial"] for each in await entries(desk, "state-pushed")] == list(range(10, 21))
    assert await desk.home.audit.verify() == (18, "")
