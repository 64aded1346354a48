from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace
from tests.opentofu_documents import FIRST, LINEAGE, SECOND, changed, in_clear
from tests.served import line_to, served

from interlock.coordinator.archive import QUARANTINE_S, StateArchive, Writer, _entry, _quarantine_key
from interlock.coordinator.archive_interface import Archive
from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.names import key_of
from interlock.coordinator.record import decode
from interlock.coordinator.record import encode as encode_record
from interlock.errors import BackendUnavailable, LeaseLost, StateInvalid, UsageError
from interlock.home.server_archive import ServerArchive
from interlock.lock import Broken, Requested
from interlock.server.api.versions import version_endpoints
from interlock.state import REVIEWER, Retention, VersionKind, parse_document
from interlock.state.history import Quarantined, encode
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

STATE = "prod/routing"


def body(serial: int, *names: str, lineage: str = "l", **more: Any) -> bytes:
    instances = [{"schema_version": 0, "attributes": {"id": name}} for name in names]
    rows = [
        {"mode": "managed", "type": "t", "name": name, "provider": "provider.p", "instances": [each]}
        for name, each in zip(names, instances, strict=True)
    ]
    fields = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage, "outputs": {}}
    return json.dumps({**fields, "resources": rows, "check_results": None, **more}, indent=2).encode() + b"\n"


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = MemoryRecords(clock=self.clock)
        self.blobs = MemoryBlobs()
        self.coordinator = LocalCoordinator(self.records, self.clock, CountingIds())
        self.near = StateArchive(self.coordinator, self.records, self.blobs, self.clock)
        self.archive: Archive = self.near

    async def hold(self, ticket: str = "t1", state: str = STATE) -> Writer:
        request = Requested(ticket=ticket, run=f"run-{ticket}", who="ann", lease_s=60, patience_s=40)
        standing = await self.coordinator.request(state, request)
        assert standing.token
        return Writer(who="ann", run=f"run-{ticket}", ticket=ticket, token=standing.token)

    async def lose(self, writer: Writer, state: str = STATE) -> None:
        assert writer.ticket
        assert writer.token
        broken = Broken(ticket=writer.ticket, token=writer.token, by="recovery", reason="gone")
        await self.coordinator.break_(state, broken)


@pytest.fixture(params=["near", "served"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Return an archive at its store, and one that a client has of a server over a socket: both do the same."""
    bench = Bench()
    if request.param == "near":
        yield bench
        return
    async with served(version_endpoints(bench.coordinator, bench.near)) as url, line_to(url) as line:
        bench.archive = ServerArchive(line)
        yield bench


async def test_a_state_that_nobody_wrote_is_absent(bench: Bench) -> None:
    assert await bench.archive.current(STATE) is None
    assert await bench.archive.history(STATE) == ()


async def test_a_write_becomes_the_current_version_with_all_that_is_known(bench: Bench) -> None:
    writer = await bench.hold()
    written = await bench.archive.write(STATE, body(1, "a"), writer=writer)
    head, current = await bench.archive.current(STATE) or pytest.fail("no state")
    assert current == body(1, "a")
    assert (head.number, head.serial, head.token, head.run) == (1, 1, writer.token, "run-t1")
    assert written.version.who.startswith("ann")
    assert written.version.resources == 1
    assert written.version.written_at == bench.clock.now()


async def test_versions_form_a_chain_that_can_be_searched(bench: Bench) -> None:
    writer = await bench.hold()
    for serial in (1, 2, 5):
        await bench.archive.write(STATE, body(serial, "a"), writer=writer)
    history = await bench.archive.history(STATE)
    assert [(each.number, each.serial) for each in history] == [(3, 5), (2, 2), (1, 1)]
    assert await bench.archive.history(STATE, limit=1) == history[:1]
    assert await bench.archive.version(STATE, serial=2) == history[1]
    assert await bench.archive.version(STATE, digest=history[2].digest[:8]) == history[2]
    assert await bench.archive.version(STATE, number=9) is None
    assert await bench.archive.read_version(STATE, history[1]) == body(2, "a")


async def test_the_same_write_again_is_acknowledged_and_stores_nothing(bench: Bench) -> None:
    writer = await bench.hold()
    first = await bench.archive.write(STATE, body(1, "a"), writer=writer)
    again = await bench.archive.write(STATE, body(1, "a"), writer=writer)
    assert again.repeated
    assert again.version == first.version
    assert len(await bench.archive.history(STATE)) == 1


async def test_a_repeated_write_with_its_checks_in_another_order_is_the_same(bench: Bench) -> None:
    checks = [{"object_kind": "check", "config_addr": name, "status": "pass"} for name in ("check.a", "check.b")]
    writer = await bench.hold()
    await bench.archive.write(STATE, body(1, check_results=checks), writer=writer)
    again = await bench.archive.write(STATE, body(1, check_results=checks[::-1]), writer=writer)
    assert again.repeated


@pytest.mark.parametrize(
    ("sent", "finding"),
    [
        (body(4, "a"), "older-serial"),
        (body(5, "b"), "same-serial"),
        (body(6, "a", lineage="m"), "foreign-lineage"),
        (body(6, "a")[:40], "truncated"),
        (body(6, "a", "a"), "duplicate-instance"),
        (b"<html>", "not-json"),
    ],
)
async def test_a_write_that_may_not_follow_is_quarantined(bench: Bench, sent: bytes, finding: str) -> None:
    writer = await bench.hold()
    await bench.archive.write(STATE, body(5, "a"), writer=writer)
    with pytest.raises(StateInvalid) as caught:
        await bench.archive.write(STATE, sent, writer=writer)
    assert caught.value.facts["finding"] == finding
    assert (await bench.archive.current(STATE) or pytest.fail("gone"))[1] == body(5, "a")
    [entry] = await bench.archive.quarantined(STATE)
    assert (entry.reason, entry.run, entry.token, entry.id) == (
        finding,
        "run-t1",
        writer.token,
        caught.value.facts["quarantine"],
    )
    assert await bench.archive.read_quarantined(STATE, entry.id) == (entry, sent)


async def test_a_write_that_drops_more_than_its_plan_is_refused(bench: Bench) -> None:
    writer = replace(await bench.hold(), allowed_deletions=frozenset({"t.a"}))
    await bench.archive.write(STATE, body(1, "a", "b"), writer=writer)
    with pytest.raises(StateInvalid) as caught:
        await bench.archive.write(STATE, body(2), writer=writer)
    assert caught.value.facts["addresses"] == ["t.b"]
    assert (await bench.archive.quarantined(STATE))[0].addresses == ("t.b",)
    await bench.archive.write(STATE, body(2, "b"), writer=writer)


@pytest.mark.promise("P6")
async def test_what_an_apply_drops_without_a_reason_is_stored_as_suspect_and_pauses_the_state(bench: Bench) -> None:
    writer = replace(await bench.hold(), allowed_deletions=frozenset({"t.a"}), keeps_suspect=True)
    await bench.archive.write(STATE, body(1, "a", "b"), writer=writer)
    written = await bench.archive.write(STATE, body(2), writer=writer)
    assert written.version.suspect == ("t.b",)
    assert await bench.archive.quarantined(STATE) == ()
    assert (await bench.archive.current(STATE) or pytest.fail("gone"))[1] == body(2)
    pause = (await bench.coordinator.view(STATE)).lock.pause
    assert pause is not None
    assert pause.by == REVIEWER
    assert f"interlock state accept {STATE}" in pause.reason
    again = await bench.archive.write(STATE, body(2), writer=writer)  # a lost answer
    assert again.repeated
    assert again.version.suspect == ("t.b",)


@pytest.mark.promise("P6")
async def test_what_a_run_dropped_stays_suspect_in_its_next_writes_until_it_is_back(bench: Bench) -> None:
    writer = replace(await bench.hold(), allowed_deletions=frozenset(), keeps_suspect=True)
    await bench.archive.write(STATE, body(1, "a", "b"), writer=writer)
    await bench.archive.write(STATE, body(2, "a"), writer=writer)
    third = await bench.archive.write(STATE, body(3, "a", "c"), writer=writer)
    assert third.version.suspect == ("t.b",)
    fourth = await bench.archive.write(STATE, body(4, "a", "b"), writer=writer)
    assert fourth.version.suspect == ()
    assert (await bench.coordinator.view(STATE)).lock.pause is None


@pytest.mark.promise("P6")
async def test_a_suspect_version_that_a_person_accepts_is_current_and_no_longer_suspect(bench: Bench) -> None:
    writer = replace(await bench.hold(), allowed_deletions=frozenset(), keeps_suspect=True)
    await bench.archive.write(STATE, body(1, "a", "b"), writer=writer)
    assert await bench.archive.accept(STATE, writer=writer) is None
    await bench.archive.write(STATE, body(2, "a"), writer=writer)
    accepted = await bench.archive.accept(STATE, writer=writer)
    assert accepted is not None
    assert (accepted.kind, accepted.number, accepted.serial, accepted.suspect) == (VersionKind.ACCEPT, 3, 2, ())
    assert "t.b" in accepted.note
    assert (await bench.archive.current(STATE) or pytest.fail("gone"))[1] == body(2, "a")
    assert [version.number for version in await bench.archive.history(STATE)] == [3, 2, 1]


async def test_a_persons_pauses_outlives_a_review(bench: Bench) -> None:
    writer = replace(await bench.hold(), allowed_deletions=frozenset(), keeps_suspect=True)
    await bench.coordinator.pause(STATE, by="ada", reason="change window")
    await bench.archive.write(STATE, body(1, "a", "b"), writer=writer)
    await bench.archive.write(STATE, body(2, "a"), writer=writer)
    await bench.archive.write(STATE, body(3, "a", "b"), writer=writer)
    pause = (await bench.coordinator.view(STATE)).lock.pause
    assert pause is not None
    assert pause.by == "ada"


async def test_a_zombies_write_is_refused_and_its_bytes_are_kept(bench: Bench) -> None:
    zombie = await bench.hold("t1")
    await bench.archive.write(STATE, body(1, "a"), writer=zombie)
    await bench.lose(zombie)
    await bench.hold("t2")
    for _ in range(2):  # it tries again
        with pytest.raises(LeaseLost):
            await bench.archive.write(STATE, body(2, "a", "z"), writer=zombie)
    [entry] = await bench.archive.quarantined(STATE)
    assert (entry.reason, entry.serial, entry.token) == ("fenced", 2, zombie.token)
    assert len(await bench.archive.history(STATE)) == 1


async def test_a_zombie_is_refused_even_what_it_wrote_before(bench: Bench) -> None:
    zombie = await bench.hold("t1")
    await bench.archive.write(STATE, body(1, "a"), writer=zombie)
    await bench.lose(zombie)
    with pytest.raises(LeaseLost):
        await bench.archive.write(STATE, body(1, "a"), writer=zombie)


async def test_a_writer_that_names_no_grant_is_refused(bench: Bench) -> None:
    await bench.hold()
    with pytest.raises(LeaseLost):
        await bench.archive.write(STATE, body(1), writer=Writer(who="eve"))


async def test_a_grant_lost_between_check_and_swap_stores_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await bench.hold()
    put = bench.blobs.put

    async def put_late(data: bytes, *, like: str | None = None) -> str:
        monkeypatch.setattr(bench.blobs, "put", put)
        await bench.lose(writer)
        return await put(data, like=like)

    monkeypatch.setattr(bench.blobs, "put", put_late)
    with pytest.raises(LeaseLost):
        await bench.archive.write(STATE, body(1, "a"), writer=writer)
    assert await bench.archive.current(STATE) is None
    assert len(await bench.archive.quarantined(STATE)) == 1


async def test_force_takes_a_foreign_lineage_but_never_a_broken_document(bench: Bench) -> None:
    writer = await bench.hold()
    await bench.archive.write(STATE, body(5, "a"), writer=writer)
    await bench.archive.write(STATE, body(2, "a", lineage="m"), writer=writer, kind=VersionKind.IMPORT, force=True)
    assert [(each.kind, each.serial) for each in await bench.archive.history(STATE)] == [
        (VersionKind.IMPORT, 2),
        (VersionKind.WRITE, 5),
    ]
    with pytest.raises(StateInvalid):
        await bench.archive.write(STATE, body(0), writer=writer, force=True)


async def test_a_deleted_state_is_absent_and_can_be_restored(bench: Bench) -> None:
    writer = await bench.hold()
    await bench.archive.write(STATE, body(7, "a"), writer=writer)
    await bench.archive.delete(STATE, writer=writer)
    assert await bench.archive.current(STATE) is None
    assert await bench.archive.delete(STATE, writer=writer) is None
    history = await bench.archive.history(STATE)
    assert [each.kind for each in history] == [VersionKind.DELETE, VersionKind.WRITE]
    with pytest.raises(UsageError):
        await bench.archive.read_version(STATE, history[0])
    await bench.archive.restore(STATE, history[1], writer=writer)
    current = await bench.archive.current(STATE) or pytest.fail("not restored")
    assert parse_document(current[1]).serial == 8


async def test_a_restore_is_planned_and_rises_above_every_serial(bench: Bench) -> None:
    writer = await bench.hold()
    first = await bench.archive.write(STATE, body(1, "old"), writer=writer)
    await bench.archive.write(STATE, body(2, "new"), writer=writer)
    plan = await bench.archive.plan_restore(STATE, first.version)
    assert (plan.returns, plan.orphans, plan.next_serial) == (("t.old",), ("t.new",), 3)
    restored = await bench.archive.restore(STATE, first.version, writer=writer)
    assert (restored.version.serial, restored.version.kind) == (3, VersionKind.RESTORE)
    assert restored.version.note == "restored version 1 (serial 1)"


@pytest.mark.promise("P3")
async def test_a_restore_whose_answer_was_lost_is_done_once(bench: Bench) -> None:
    writer = await bench.hold()
    first = await bench.archive.write(STATE, body(1, "old"), writer=writer)
    second = await bench.archive.write(STATE, body(2, "new"), writer=writer)
    done = await bench.archive.restore(STATE, first.version, writer=writer)
    again = await bench.archive.restore(STATE, first.version, writer=writer)
    assert (again.version, again.repeated) == (done.version, True)
    assert [each.serial for each in await bench.archive.history(STATE)] == [3, 2, 1]
    other = await bench.archive.restore(STATE, second.version, writer=writer)
    assert other.version.serial == 4, "another version is another restore"
    await bench.lose(writer)
    with pytest.raises(LeaseLost):
        await bench.archive.restore(STATE, second.version, writer=writer)


async def test_pruning_keeps_the_chain_and_the_bytes_of_other_states(bench: Bench) -> None:
    writer, other = await bench.hold(), await bench.hold(state="copy")
    for serial in (1, 2, 3):
        await bench.archive.write(STATE, body(serial, "a"), writer=writer)
    await bench.archive.write("copy", body(1, "a"), writer=other)
    bench.clock.pass_time(10)
    nothing = Retention(newest=1, all_for_s=0, daily_for_s=0, weekly_for_s=0)
    assert [each.number for each in await bench.archive.prune(STATE, nothing)] == [1, 2]
    history = await bench.archive.history(STATE)
    assert len(history) == 3
    with pytest.raises(UsageError, match="no longer stored"):
        await bench.archive.read_version(STATE, history[2])
    assert (await bench.archive.current("copy") or pytest.fail("lost"))[1] == body(1, "a")
    assert (await bench.archive.current(STATE) or pytest.fail("lost"))[1] == body(3, "a")


async def test_quarantine_of_one_state_is_not_that_of_another(bench: Bench) -> None:
    for state in ("prod", "prod/routing"):
        writer = await bench.hold(state=state)
        with pytest.raises(StateInvalid):
            await bench.archive.write(state, b"x", writer=writer)
    [entry] = await bench.archive.quarantined("prod")
    assert await bench.archive.discard("prod", entry.id) == entry
    assert await bench.archive.quarantined("prod") == ()
    assert len(await bench.archive.quarantined("prod/routing")) == 1
    with pytest.raises(UsageError):
        await bench.archive.discard("prod", entry.id)


async def test_bytes_that_cannot_be_read_are_not_an_absent_state(bench: Bench) -> None:
    writer = await bench.hold()
    written = await bench.archive.write(STATE, body(1, "a"), writer=writer)
    await bench.blobs.delete(written.version.blob)
    with pytest.raises(BackendUnavailable):
        await bench.archive.current(STATE)


@pytest.mark.promise("P3")
async def test_pushing_the_current_version_again_repairs_its_damaged_bytes(bench: Bench) -> None:
    writer = await bench.hold()
    first = await bench.archive.write(STATE, body(1, "a"), writer=writer)
    for damage in (b"", b"x", None):
        if damage is None:
            await bench.blobs.delete(first.version.blob)
        else:
            bench.blobs._blobs[first.version.blob] = damage
        with pytest.raises(BackendUnavailable) as refusal:
            await bench.archive.current(STATE)
        assert f"interlock state restore {STATE}" in refusal.value.fix
        written = await bench.archive.write(STATE, body(1, "a"), writer=writer, kind=VersionKind.PUSH)
        assert (written.repeated, written.repaired, written.version) == (True, True, first.version)
        assert (await bench.archive.current(STATE) or pytest.fail("no state"))[1] == body(1, "a")
    assert not (await bench.archive.write(STATE, body(1, "a"), writer=writer)).repaired


@pytest.mark.promise("P3")
async def test_a_forced_write_of_an_older_version_never_points_at_its_damaged_bytes(bench: Bench) -> None:
    writer = await bench.hold()
    first = await bench.archive.write(STATE, body(1, "a"), writer=writer)
    await bench.archive.write(STATE, body(2, "a", "b"), writer=writer)
    bench.blobs._blobs[first.version.blob] = b"damaged"
    await bench.archive.write(STATE, body(1, "a"), writer=writer, force=True)
    assert (await bench.archive.current(STATE) or pytest.fail("no state"))[1] == body(1, "a")


async def test_the_bytes_of_a_write_whose_swap_was_refused_are_swept_and_no_others(bench: Bench) -> None:
    writer = await bench.hold()
    await bench.archive.write(STATE, body(1, "a"), writer=writer)
    before = set(bench.blobs._blobs)
    update = bench.coordinator.update_head

    async def lost_first(*args: Any, **named: Any) -> Any:
        await bench.lose(writer)
        return await update(*args, **named)

    bench.coordinator.update_head = lost_first  # type: ignore[method-assign]
    with pytest.raises(LeaseLost):
        await bench.archive.write(STATE, body(2, "a"), writer=writer)
    (kept,) = await bench.archive.quarantined(STATE)
    assert set(bench.blobs._blobs) - before == {kept.blob}


@pytest.mark.promise("P3")
async def test_a_write_that_had_happened_though_its_swap_seemed_refused_keeps_its_bytes(bench: Bench) -> None:
    writer = await bench.hold()
    await bench.archive.write(STATE, body(1, "a"), writer=writer)
    update = bench.coordinator.update_head

    async def reply_lost(*args: Any, **named: Any) -> Any:
        await update(*args, **named)
        await bench.lose(writer)
        return await update(*args, **{**named, "new_head": None})  # what a repetition finds: the grant is gone

    bench.coordinator.update_head = reply_lost  # type: ignore[method-assign]
    with pytest.raises(LeaseLost):
        await bench.archive.write(STATE, body(2, "a"), writer=writer)
    assert (await bench.archive.current(STATE) or pytest.fail("no state"))[1] == body(2, "a")


async def test_the_oldest_refused_writes_make_room_and_that_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.coordinator.archive.MAX_QUARANTINE", 3)
    error = LeaseLost("no")
    for serial in range(1, 6):
        bench.clock.jump(60)
        error = LeaseLost("no", why="a zombie")
        await bench.archive.quarantine(STATE, body(serial), writer=Writer(who="ann"), error=error)
    assert [entry.serial for entry in await bench.archive.quarantined(STATE)] == [5, 4, 3]
    assert await bench.archive.quarantine_dropped(STATE) == 2
    assert "1 older" in error.why
    bench.clock.jump(QUARANTINE_S + 1)
    await bench.archive.quarantine(STATE, body(9), writer=Writer(who="ann"), error=error)
    assert [entry.serial for entry in await bench.archive.quarantined(STATE)] == [9]
    assert len(bench.blobs._blobs) == 1


@pytest.mark.promise("P3")
async def test_a_damaged_record_of_the_chain_neither_stops_writes_nor_stays(bench: Bench) -> None:
    writer = await bench.hold()
    await bench.archive.write(STATE, body(1), writer=writer)
    assert not await bench.archive.mend_chain(STATE)
    for serial, mended in ((2, False), (3, True)):
        bench.records._sums[f"chain/{quote(STATE, safe='')}"] = b"damaged"
        assert await bench.archive.mend_chain(STATE) or not mended
        await bench.archive.write(STATE, body(serial), writer=writer)
    assert [version.serial for version in await bench.archive.history(STATE)] == [3, 2, 1]
    assert not await bench.archive.mend_chain(STATE)


@pytest.mark.promise("P4")
async def test_what_was_refused_just_now_is_kept_though_the_clock_was_set_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.coordinator.archive.MAX_QUARANTINE", 2)
    for serial in (1, 2, 3):
        with pytest.raises(LeaseLost) as refusal:
            await bench.archive.write(STATE, body(serial), writer=Writer(who="ann", token=7))
        _, sent = await bench.archive.read_quarantined(STATE, str(refusal.value.facts["quarantine"]))
        assert sent == body(serial)
        bench.clock.jump(-3600.0)


async def test_refused_writes_that_two_remove_at_once_are_counted_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = LeaseLost("fenced")
    for serial in (1, 2, 3):
        await bench.archive.quarantine(STATE, body(serial), writer=Writer(who="ann"), error=error)
    seen = await bench.archive.quarantined(STATE)

    async def as_seen(_state: str) -> tuple[Quarantined, ...]:
        return seen

    monkeypatch.setattr("interlock.coordinator.archive.MAX_QUARANTINE", 1)
    monkeypatch.setattr(bench.archive, "quarantined", as_seen)
    assert await bench.near._trim_quarantine(STATE, seen[0]) == 2
    assert await bench.near._trim_quarantine(STATE, seen[0]) == 0
    assert await bench.archive.quarantine_dropped(STATE) == 2


@pytest.mark.promise("P4")
@pytest.mark.parametrize("which", ["another", "its own", "the count"])
async def test_a_damaged_entry_of_the_quarantine_does_not_hide_a_refusal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    monkeypatch.setattr("interlock.coordinator.archive.MAX_QUARANTINE", 2)
    zombie = Writer(who="ann", token=7)
    for serial in (1, 2, 3):
        with pytest.raises(LeaseLost):
            await bench.archive.write(STATE, body(serial), writer=zombie)
    kept = await bench.archive.quarantined(STATE)
    keys = {"another": _quarantine_key(STATE, kept[1].id), "its own": _quarantine_key(STATE, kept[0].id)}
    bench.records._sums[keys.get(which, f"quarantine-dropped/{quote(STATE, safe='')}")] = b"damaged"
    with pytest.raises(LeaseLost) as refusal:
        await bench.archive.write(STATE, body(3 if which == "its own" else 4), writer=zombie)
    entry, sent = await bench.archive.read_quarantined(STATE, str(refusal.value.facts["quarantine"]))
    assert sent == body(entry.serial or 0)


async def test_all_refused_writes_are_listed_newest_first_however_many_there_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.coordinator.archive.MAX_QUARANTINE", 2000)
    for number in range(1020):
        entry = _entry(STATE, b"%d" % number, Writer(who="ann"), LeaseLost("no"), at=bench.clock.now())
        bench.clock.jump(1)
        await bench.records.swap(_quarantine_key(STATE, entry.id), expected=None, value=encode(entry))
    last = entry.id
    listed = await bench.archive.quarantined(STATE)
    assert (len(listed), listed[0].id) == (1020, last)


@pytest.mark.promise("P3")
@pytest.mark.parametrize("loss", ["the head", "the record"])
async def test_a_state_that_names_no_version_although_some_were_stored_is_damaged_and_never_new(
    bench: Bench, loss: str
) -> None:
    writer = await bench.hold()
    for serial in (1, 2):
        await bench.archive.write(STATE, body(serial, "a"), writer=writer)
    record = await bench.records.get(key_of(STATE)) or pytest.fail("no record")
    value = None if loss == "the record" else encode_record(replace(decode(record.value), head=None))
    await bench.records.swap(key_of(STATE), expected=record.version, value=value)
    bench.coordinator = LocalCoordinator(bench.records, bench.clock, CountingIds())
    bench.archive = StateArchive(bench.coordinator, bench.records, bench.blobs, bench.clock)
    writer = await bench.hold()
    for call in (
        bench.archive.current(STATE),
        bench.archive.history(STATE),
        bench.archive.write(STATE, body(1, "b", lineage="new"), writer=writer),
        bench.archive.write(STATE, body(1, "b", lineage="new"), writer=writer, force=True),
    ):
        with pytest.raises(BackendUnavailable) as refusal:
            await call
        assert refusal.value.exit_status == 30
        assert refusal.value.fix == f"interlock state repair {STATE}"
    lost = await bench.archive.lost_head(STATE) or pytest.fail("none")
    assert lost.number == 2
    await bench.archive.reattach(STATE, lost, writer=writer)
    assert (await bench.archive.current(STATE) or pytest.fail("no state"))[1] == body(2, "a")
    assert await bench.archive.lost_head(STATE) is None
    view = await bench.coordinator.view(STATE)
    assert view.lock.token >= lost.token


async def test_a_first_write_that_died_before_its_answer_leaves_a_state_that_can_be_written(bench: Bench) -> None:
    writer = await bench.hold()

    async def dies(*_args: Any, **_named: Any) -> Any:
        raise BackendUnavailable("killed")

    update, bench.coordinator.update_head = bench.coordinator.update_head, dies  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailable):
        await bench.archive.write(STATE, body(1, "a"), writer=writer)
    bench.coordinator.update_head = update  # type: ignore[method-assign]
    assert await bench.archive.current(STATE) is None
    assert (await bench.archive.write(STATE, body(1, "a"), writer=writer)).version.number == 1


# -- states that OpenTofu encrypted; they were made by it -------------------------------------------------------------


@pytest.mark.promise("P3", "P6")
async def test_encrypted_states_are_versions_like_any_other(bench: Bench) -> None:
    writer = replace(await bench.hold(), allowed_deletions=frozenset())
    for each in (FIRST, SECOND):
        written = await bench.archive.write(STATE, each, writer=writer)
        assert not written.repeated
    assert (await bench.archive.write(STATE, SECOND, writer=writer)).repeated
    assert [(each.serial, each.encrypted, each.lineage) for each in await bench.archive.history(STATE)] == [
        (2, True, LINEAGE),
        (1, True, LINEAGE),
    ]
    found = await bench.archive.current(STATE)
    assert found is not None
    assert found[1] == SECOND


@pytest.mark.promise("P3", "P4", "P6")
async def test_encrypted_states_that_may_not_follow_are_kept_in_quarantine(bench: Bench) -> None:
    writer = await bench.hold()
    await bench.archive.write(STATE, SECOND, writer=writer)
    for late, code in (
        (FIRST, "older-serial"),
        (changed(FIRST, serial=2), "same-serial"),
        (changed(SECOND, lineage="another"), "foreign-lineage"),
        (changed(SECOND, serial=3, encrypted_data="cut o"), "bad-encryption"),
    ):
        with pytest.raises(StateInvalid) as refused:
            await bench.archive.write(STATE, late, writer=writer)
        assert refused.value.facts["finding"] == code
        entry, kept = await bench.archive.read_quarantined(STATE, str(refused.value.facts["quarantine"]))
        assert kept == late
        assert entry.lineage == (None if code == "bad-encryption" else entry.lineage)
    await bench.lose(writer)
    with pytest.raises(LeaseLost):
        await bench.archive.write(STATE, changed(SECOND, serial=3), writer=writer)


@pytest.mark.promise("P3")
async def test_an_encrypted_version_is_restored_byte_for_byte_and_is_followed_again(bench: Bench) -> None:
    writer = await bench.hold()
    for each in (FIRST, SECOND):
        await bench.archive.write(STATE, each, writer=writer)
    first = await bench.archive.version(STATE, number=1) or pytest.fail("none")
    await bench.archive.restore(STATE, first, writer=writer)
    found = await bench.archive.current(STATE)
    assert found is not None
    assert (found[0].number, found[0].serial, found[1]) == (3, 1, FIRST)
    await bench.archive.write(STATE, SECOND, writer=writer)
    assert [each.serial for each in await bench.archive.history(STATE)] == [2, 1, 2, 1]


@pytest.mark.promise("P10")
async def test_a_decrypted_file_takes_the_place_of_an_encrypted_state_only_by_force(bench: Bench) -> None:
    run = await bench.hold()
    await bench.archive.write(STATE, FIRST, writer=run)
    person = replace(run, run="")
    with pytest.raises(StateInvalid) as refused:
        await bench.archive.write(STATE, in_clear(2, "a"), writer=person, kind=VersionKind.PUSH)
    assert refused.value.facts["finding"] == "decrypted"
    await bench.archive.write(STATE, in_clear(2, "a"), writer=person, kind=VersionKind.PUSH, force=True)
    await bench.archive.write(STATE, changed(SECOND, serial=3), writer=person, kind=VersionKind.PUSH)
    await bench.archive.write(STATE, in_clear(4, "a"), writer=run)  # as its configuration says
    assert [each.encrypted for each in await bench.archive.history(STATE)] == [False, True, False, True]


@pytest.mark.promise("P3", "P4")
async def test_what_a_run_left_under_the_serial_that_it_stored_itself_is_taken_though_nobody_can_compare(
    bench: Bench,
) -> None:
    run = await bench.hold()
    await bench.archive.write(STATE, FIRST, writer=run)
    left = changed(SECOND, serial=1)  # OpenTofu encrypts what it leaves in a file anew
    with pytest.raises(StateInvalid):
        await bench.archive.write(STATE, left, writer=replace(run, run="another"), kind=VersionKind.PUSH)
    await bench.archive.write(STATE, left, writer=run, kind=VersionKind.PUSH)
    assert (await bench.archive.write(STATE, left, writer=run, kind=VersionKind.PUSH)).repeated
    plain = await bench.hold("t2", "other")
    await bench.archive.write("other", in_clear(1, "a"), writer=plain)
    with pytest.raises(StateInvalid):
        await bench.archive.write("other", in_clear(1, "b"), writer=plain, kind=VersionKind.PUSH)
