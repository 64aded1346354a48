"""Every act on a state has its entry before it is in effect, wherever who does it is killed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace
from tests.killed_writers import killed_after
from tests.unit.server.api.test_second_person import _WAY, STATE, Desk, _two_versions, document, opened_desk

from interlock.api.versions import ByGrant
from interlock.coordinator.archive import Writer
from interlock.coordinator.names import key_of
from interlock.coordinator.record import decode, encode
from interlock.errors import StateInvalid
from interlock.existing import Found
from interlock.home.embedded import EmbeddedHome
from interlock.ids import RandomIds
from interlock.lock import Broken, Lock, Paused, Released, Requested, Resumed, changes_pause
from interlock.operate.queue import change_queue
from interlock.operate.states import prune_state
from interlock.operate.unlock import Asked, open_case
from interlock.recovery.terraform_lock import Inquiry, Override, break_lock, examine
from interlock.recovery.witnesses.ci import Trust
from interlock.site.act_entries import pause_entry
from interlock.site.existing_versions import ExistingVersions, keep_of
from interlock.site.opening import breaker_of, open_site
from interlock.site.own_versions import OwnVersions
from interlock.site.ref import Existing, StateRef
from interlock.site.which import own_ref
from interlock.state import REVIEWER, Retention
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.terraform.lockinfo import LockInfo
from interlock.testing.asking import ask
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

pytestmark = pytest.mark.promise("P5")

Step = Callable[[], Awaitable[object]]
Opened = Callable[[Path], Any]  # of an asynchronous context of a `World`
ALL_GO = Retention(newest=1, all_for_s=0.0, daily_for_s=0.0, weekly_for_s=0.0)
OVERRIDE = Override(operator="Ann Lee", reason="bob is on holiday")
MANY = 40  # writes; no act has as many


@dataclass
class World:
    """A home and what is done in it.

    Attributes:
        home: Its audit log is looked at.
        act: What somebody does.
        effect: What is another one when that was done.
        beside: Writes beside those of records, see `killed_after`.
    """

    home: EmbeddedHome
    act: Step
    effect: Step
    beside: tuple[tuple[object, str], ...] = ()

    @property
    def records(self) -> MemoryRecords:
        assert isinstance(self.home.store.records, MemoryRecords)
        return self.home.store.records

    @property
    def writes(self) -> tuple[tuple[object, str], ...]:
        blobs = self.home.store.blobs
        return ((self.records, "replace_damaged"), (blobs, "delete"), *self.beside)


def lock_record(records: MemoryRecords, name: str) -> Step:
    """Return what looks at the record of a state, also at a damaged one."""

    async def look() -> object:
        record = records._records.get(key_of(name))
        if record is None:
            return None
        found = decode(record.value)
        return found.head, found.lock.pause, [each.ticket for each in found.lock.holders if each.who == "bob"]

    return look


# -- embedded, a state of our own -------------------------------------------------------------------------------------


async def _own(folder: Path) -> tuple[EmbeddedHome, OwnVersions]:
    home = memory_home(folder, ids=RandomIds())
    versions = OwnVersions(own_ref("prod"), home)
    for serial, names in ((1, ("a",)), (2, ("a", "b"))):
        await versions.push(state(serial, *names), force=False)
    return home, versions


def own(prepare: Callable[[EmbeddedHome, OwnVersions], Awaitable[Step]]) -> Opened:
    """Return what opens a home in which `prepare` gives the act on the state `prod`, of two versions."""

    @asynccontextmanager
    async def open_(folder: Path) -> AsyncIterator[World]:
        home, versions = await _own(folder)
        act = await prepare(home, versions)
        records, blobs = home.store.records, home.store.blobs
        assert isinstance(records, MemoryRecords)
        assert isinstance(blobs, MemoryBlobs)
        look = lock_record(records, "prod")

        async def effect() -> object:
            kept = [key for key in records._records if key.startswith("quarantine/")]
            damaged = [key for key in records._sums if records._sums[key] == b"damaged"]
            return await look(), kept, damaged, len(blobs._blobs) < had

        had = len(blobs._blobs)
        yield World(home, act, effect)

    return open_


async def own_paused(home: EmbeddedHome, _versions: OwnVersions) -> Step:
    return lambda: change_queue("prod", home, {}, Paused(by="ann", reason="maintenance"))


async def own_resumed(home: EmbeddedHome, _versions: OwnVersions) -> Step:
    await home.coordinator.pause("prod", by="ann", reason="maintenance")
    return lambda: change_queue("prod", home, {}, Resumed(by="ann"))


async def own_pushed(_home: EmbeddedHome, versions: OwnVersions) -> Step:
    return lambda: versions.push(state(9, "z"), force=True)


async def own_restored(_home: EmbeddedHome, versions: OwnVersions) -> Step:
    planned = await versions.plan_restore("1")
    return lambda: versions.restore(planned)


async def _suspect(home: EmbeddedHome) -> None:
    request = Requested(ticket="r1", run="r1", who="ann", lease_s=60.0, patience_s=60.0)
    grant = await home.coordinator.acquire("prod", request, timeout_s=0.0)
    writer = Writer(who="ann", ticket="r1", token=grant.token, run="r1", keeps_suspect=True)
    await home.archive.write("prod", state(3, "a"), writer=replace_allowed(writer))
    await home.coordinator.release("prod", ticket="r1", token=grant.token)


def replace_allowed(writer: Writer) -> Writer:
    return replace(writer, allowed_deletions=frozenset())


async def own_accepted(home: EmbeddedHome, versions: OwnVersions) -> Step:
    await _suspect(home)
    return versions.accept


async def own_pruned(home: EmbeddedHome, versions: OwnVersions) -> Step:
    home.clock.jump(86_400.0 * 9000)  # type: ignore[attr-defined] # the fake one
    return lambda: prune_state(versions, ALL_GO, dry_run=False)


async def own_discarded(home: EmbeddedHome, versions: OwnVersions) -> Step:
    error = StateInvalid("it was refused", why="its serial is older")
    kept = await home.archive.quarantine("prod", state(1, "z"), writer=Writer(who="x"), error=error)
    return lambda: versions.discard(kept)


async def own_chain(home: EmbeddedHome, versions: OwnVersions) -> Step:
    home.store.records._sums[f"chain/{quote('prod', safe='')}"] = b"damaged"  # type: ignore[attr-defined]
    return versions.plan_repair


async def own_record(home: EmbeddedHome, versions: OwnVersions) -> Step:
    home.store.records._sums[key_of("prod")] = b"damaged"  # type: ignore[attr-defined]
    planned = await versions.plan_repair()
    return lambda: versions.repair(planned)


async def _headless(home: EmbeddedHome, name: str) -> None:
    records = home.store.records
    record = await records.get(key_of(name))
    assert record is not None
    await records.swap(record.key, expected=record.version, value=encode(replace(decode(record.value), head=None)))


async def own_head(home: EmbeddedHome, versions: OwnVersions) -> Step:
    await _headless(home, "prod")
    planned = await versions.plan_repair()
    return lambda: versions.repair(planned)


async def own_broken(home: EmbeddedHome, _versions: OwnVersions) -> Step:
    request = Requested(ticket="t", who="bob", info="by hand: upgrade", lease_s=3600.0, patience_s=15.0)
    await home.coordinator.acquire("prod", request, timeout_s=0.0)

    async def act() -> None:
        async with open_case("prod", Asked(window_s=0.0), home, {}) as case:
            await case.examine()
            await case.break_(OVERRIDE)

    return act


async def own_broken_by_itself(home: EmbeddedHome, _versions: OwnVersions) -> Step:
    request = Requested(ticket="t", who="bob", run="r", lease_s=10.0, patience_s=15.0)
    await home.coordinator.acquire("prod", request, timeout_s=0.0)
    (holder,) = (await home.coordinator.view("prod")).lock.holders

    async def act() -> None:
        async with open_site(own_ref("prod"), home, "prod") as site:
            await breaker_of(site).recover("prod", holder, reason="its process is gone")

    return act


# -- a state in another backend ---------------------------------------------------------------------------------------

QUEUE = "s3/states/app"


def there(prepare: Callable[[EmbeddedHome, MemoryBackend, ExistingVersions], Awaitable[Step]]) -> Opened:
    """Return what opens a home in which `prepare` gives the act on a state of two versions in another backend."""

    @asynccontextmanager
    async def open_(folder: Path) -> AsyncIterator[World]:
        home, backend = memory_home(folder / "home", ids=RandomIds()), MemoryBackend()
        backend.bodies = [state(1, "a", "b"), state(2, "a")]
        ref = StateRef(queue=QUEUE, address=backend.address, where=Existing(found=Found(type="s3")), directory=folder)
        versions = ExistingVersions(
            subject="./app",
            ref=ref,
            backend=backend,
            home=home,
            keep=keep_of(home.settings),
            log=home.audit,
            coordinator=home.coordinator,
        )
        act = await prepare(home, backend, versions)
        look = lock_record(home.store.records, QUEUE)  # type: ignore[arg-type]

        async def effect() -> object:
            foreign = [name for name, lock in backend.locks.items() if "bob" in str(lock)]
            return list(backend.bodies), backend.digest, foreign, await look()

        writes = tuple((backend, name) for name in ("write_state", "repair_digest", "take_lock", "delete_lock"))
        yield World(home, act, effect, writes)

    return open_


async def there_pushed(_home: EmbeddedHome, _backend: MemoryBackend, versions: ExistingVersions) -> Step:
    return lambda: versions.push(state(9, "z"), force=True)


async def there_restored(_home: EmbeddedHome, _backend: MemoryBackend, versions: ExistingVersions) -> Step:
    planned = await versions.plan_restore("serial:1")
    return lambda: versions.restore(planned)


async def there_repaired(_home: EmbeddedHome, backend: MemoryBackend, versions: ExistingVersions) -> Step:
    backend.digest = hashlib.md5(backend.bodies[0], usedforsecurity=False).hexdigest()
    planned = await versions.plan_repair()
    return lambda: versions.repair(planned)


async def there_accepted(home: EmbeddedHome, _backend: MemoryBackend, versions: ExistingVersions) -> Step:
    await home.coordinator.pause(QUEUE, by=REVIEWER, reason="run r1 dropped something")
    return versions.accept


async def there_reviewed(home: EmbeddedHome, backend: MemoryBackend, versions: ExistingVersions) -> Step:
    await home.coordinator.pause(QUEUE, by=REVIEWER, reason="run r1 dropped something")
    return lambda: versions.push(backend.bodies[-1], force=False)


async def there_broken(home: EmbeddedHome, backend: MemoryBackend, versions: ExistingVersions) -> Step:
    backend.hold(LockInfo(id="5" * 8, operation="OperationTypeApply", who="bob", created="2026-01-01T00:00:00Z"))

    async def act() -> None:
        asked = Inquiry(window_s=0.0, trust=Trust(), environ={}, place_of=lambda _: None, processes_of=lambda _: None)
        judged = await examine(backend, asked, clock=home.clock)
        await break_lock(
            backend, judged, override=OVERRIDE, by="ann", keep=versions.keep, log=home.audit, clock=home.clock
        )

    return act


# -- at a server, by its API ------------------------------------------------------------------------------------------

Client = dict[str, str]


def served(prepare: Callable[[Desk, Client, Any], Awaitable[Step]]) -> Opened:
    """Return what opens a server at which `prepare` gives the act on a state of two versions, held by hand."""

    @asynccontextmanager
    async def open_(folder: Path) -> AsyncIterator[World]:
        async with opened_desk(folder) as desk:
            anna, grant = await _two_versions(desk)
            act = await prepare(desk, anna, grant)
            records, blobs = desk.home.store.records, desk.home.store.blobs
            assert isinstance(records, MemoryRecords)
            assert isinstance(blobs, MemoryBlobs)
            look = lock_record(records, STATE)
            had = len(blobs._blobs)

            async def effect() -> object:
                kept = [key for key in records._records if key.startswith("quarantine/")]
                damaged = [key for key in records._sums if records._sums[key] == b"damaged"]
                holders = decode(records._records[key_of(STATE)].value).lock.holders
                return await look(), kept, damaged, len(blobs._blobs) < had, [each.ticket for each in holders]

            yield World(desk.home, act, effect)

    return open_


async def at_paused(desk: Desk, anna: Client, _grant: Any) -> Step:
    return lambda: desk.tell(anna, Paused(by="anna", reason="maintenance"))


async def at_resumed(desk: Desk, anna: Client, _grant: Any) -> Step:
    await desk.home.coordinator.pause(STATE, by="anna", reason="maintenance")
    return lambda: desk.tell(anna, Resumed(by="anna"))


async def at_reviewed(desk: Desk, anna: Client, _grant: Any) -> Step:
    await desk.home.coordinator.pause(STATE, by=REVIEWER, reason="run r1 dropped something")
    return lambda: desk.post(anna, f"/versions/end-review{_WAY}", b"")


async def at_restored(desk: Desk, anna: Client, grant: Any) -> Step:
    return lambda: desk.post(anna, f"/versions/restore{_WAY}", ByGrant(grant=grant, number=1))


async def at_pushed(desk: Desk, anna: Client, grant: Any) -> Step:
    return lambda: desk.write(anna, grant, document(9, "x"), force=True)


async def at_deleted(desk: Desk, anna: Client, grant: Any) -> Step:
    return lambda: desk.post(anna, f"/versions/delete{_WAY}", ByGrant(grant=grant))


async def at_pruned(desk: Desk, anna: Client, _grant: Any) -> Step:
    desk.home.clock.jump(86_400.0 * 9000)  # type: ignore[attr-defined] # the fake one
    rules = "&newest=1&all_for_s=0&daily_for_s=0&weekly_for_s=0"
    return lambda: desk.post(anna, f"/versions/prune{_WAY}{rules}", b"")


async def at_discarded(desk: Desk, anna: Client, _grant: Any) -> Step:
    error = StateInvalid("it was refused", why="its serial is older")
    kept = await desk.home.archive.quarantine(STATE, document(1, "z"), writer=Writer(who="x"), error=error)
    return lambda: ask(desk.app, "DELETE", f"/api/v1/quarantine{_WAY}&id={kept.id}", headers=anna)


async def at_chain(desk: Desk, anna: Client, _grant: Any) -> Step:
    desk.home.store.records._sums[f"chain/{quote(STATE, safe='')}"] = b"damaged"  # type: ignore[attr-defined]
    return lambda: desk.post(anna, f"/repair/chain{_WAY}", b"")


async def at_record(desk: Desk, anna: Client, _grant: Any) -> Step:
    desk.home.store.records._sums[key_of(STATE)] = b"damaged"  # type: ignore[attr-defined]
    return lambda: desk.post(anna, f"/repair/record{_WAY}&number=2", b"")


async def at_head(desk: Desk, anna: Client, grant: Any) -> Step:
    await desk.tell(anna, Released(ticket="by-hand", token=grant.token))
    await _headless(desk.home, STATE)
    held = await desk.hold(anna, "mending")
    return lambda: desk.post(anna, f"/repair/head{_WAY}", ByGrant(grant=held, number=2))


async def at_broken(desk: Desk, anna: Client, grant: Any) -> Step:
    await desk.tell(anna, Released(ticket="by-hand", token=grant.token))
    held = await desk.hold(await desk.person("bob"), "r2", run="r2")
    return lambda: desk.tell(anna, Broken(ticket="r2", token=held.token or 0, by="anna", reason="its machine burnt"))


ACTS: dict[str, tuple[Opened, str]] = {
    "own: pause": (own(own_paused), "queue-paused"),
    "own: resume": (own(own_resumed), "queue-resumed"),
    "own: push": (own(own_pushed), "state-pushed"),
    "own: restore": (own(own_restored), "state-restored"),
    "own: accept": (own(own_accepted), "state-accepted"),
    "own: prune": (own(own_pruned), "versions-pruned"),
    "own: discard": (own(own_discarded), "quarantine-discarded"),
    "own: mend the chain": (own(own_chain), "state-repaired"),
    "own: make the record anew": (own(own_record), "state-repaired"),
    "own: name the version again": (own(own_head), "state-repaired"),
    "own: break a grant": (own(own_broken), "force-unlock-decided"),
    "own: break a grant by itself": (own(own_broken_by_itself), "force-unlock-decided"),
    "elsewhere: push": (there(there_pushed), "state-pushed"),
    "elsewhere: restore": (there(there_restored), "state-restored"),
    "elsewhere: repair": (there(there_repaired), "digest-repaired"),
    "elsewhere: accept": (there(there_accepted), "state-accepted"),
    "elsewhere: end a review": (there(there_reviewed), "queue-resumed"),
    "elsewhere: break a lock": (there(there_broken), "force-unlock-decided"),
    "server: pause": (served(at_paused), "queue-paused"),
    "server: resume": (served(at_resumed), "queue-resumed"),
    "server: end a review": (served(at_reviewed), "queue-resumed"),
    "server: restore": (served(at_restored), "state-restored"),
    "server: push": (served(at_pushed), "state-pushed"),
    "server: delete": (served(at_deleted), "state-deleted"),
    "server: prune": (served(at_pruned), "versions-pruned"),
    "server: discard": (served(at_discarded), "quarantine-discarded"),
    "server: mend the chain": (served(at_chain), "state-repaired"),
    "server: make the record anew": (served(at_record), "state-repaired"),
    "server: name the version again": (served(at_head), "state-repaired"),
    "server: break a grant": (served(at_broken), "force-unlock-decided"),
}


@pytest.mark.parametrize("name", ACTS)
async def test_no_act_is_in_effect_without_its_entry_wherever_it_is_killed(tmp_path: Path, name: str) -> None:
    open_, action = ACTS[name]
    for writes in range(MANY):
        async with open_(tmp_path / str(writes)) as world:
            before, told = await world.effect(), await entries(world, action)
            with killed_after(world.records, writes, *world.writes) as written:
                await world.act()
            done = await world.effect() != before
            assert not done or await entries(world, action) > told, f"in effect and not written down: {written}"
            assert (await world.home.audit.verify())[1] == ""
        if len(written) < writes:
            break
    assert done, "it came to its end"
    assert writes > 1


async def entries(world: World, action: str) -> int:
    return sum(each.action == action for each in await world.home.audit.entries())


@pytest.mark.parametrize("name", ["own: pause", "own: resume", "server: pause", "server: resume"])
async def test_a_pause_that_is_repeated_behind_a_kill_has_one_entry(tmp_path: Path, name: str) -> None:
    open_, action = ACTS[name]
    for writes in range(4):
        async with open_(tmp_path / str(writes)) as world:
            with killed_after(world.records, writes):
                await world.act()
            await world.act()
            assert await entries(world, action) == 1, writes


async def test_what_changes_no_pause_has_no_entry(tmp_path: Path) -> None:
    home, _ = await _own(tmp_path)
    for event in (Resumed(by="ann"), Paused(by="ann", reason="x"), Paused(by="ben", reason="y")):
        await change_queue("prod", home, {}, event)
    assert [each.action for each in await home.audit.entries() if each.action.startswith("queue")] == ["queue-paused"]
    assert pause_entry(Lock(), Released(ticket="t")) is None
    assert not changes_pause(Lock(), Paused(by="ann", reason="x", while_held="nobody"))
