"""A state goes from one store of ours to another with its history, and a kill at any write leaves one place open."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import UsageError
from interlock.home.embedded import EmbeddedHome
from interlock.ids import RandomIds
from interlock.lock import Broken
from interlock.operate.moving import move, plan_move
from interlock.settings.values import Settings
from interlock.site.interface import Site
from interlock.site.moved import address_moved_to, check_not_moved, name_of
from interlock.site.own import OwnSite
from interlock.site.which import own_ref
from interlock.state import VersionKind
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.store.opening import MemoryStore
from interlock.testing.site_contract import COMMAND, state

pytestmark = pytest.mark.promise("P1", "P3", "P11")
NAME = "prod/app"


class _KilledError(BaseException):
    """What ends the process of a command; nothing that it would still do is done."""


@dataclass(slots=True)
class Life:
    """Of a process: it is killed when it has written so often, just before its next write."""

    writes: int | None = None
    over: bool = False
    done: int = field(default=0)

    def count(self) -> None:
        if self.over or self.done == self.writes:
            self.over = True
            raise _KilledError
        self.done += 1


class Mortal:
    """A store as the process has it."""

    def __init__(self, real: Any, life: Life) -> None:
        self._real = real
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in {"swap", "put", "delete"}:
            return found

        async def write(*words: Any, **named: Any) -> Any:
            self._life.count()
            return await found(*words, **named)

        return write


@dataclass(slots=True)
class Place:
    """One store, which outlives the processes that use it."""

    folder: Path
    records: MemoryRecords
    blobs: MemoryBlobs

    def site(self, life: Life) -> Site:
        clock, ids = SystemClock(), RandomIds()
        records = cast("MemoryRecords", Mortal(self.records, life))
        blobs = cast("MemoryBlobs", Mortal(self.blobs, life))
        home = EmbeddedHome(
            Settings(home=self.folder),
            MemoryStore(records=records, blobs=blobs, clock=clock),
            LocalCoordinator(records, clock, ids),
            clock=clock,
            ids=ids,
        )
        return OwnSite(own_ref(NAME), home)


def place(folder: Path) -> Place:
    folder.mkdir()
    return Place(folder, MemoryRecords(clock=SystemClock()), MemoryBlobs())


@pytest.fixture
def both(tmp_path: Path) -> tuple[Place, Place]:
    return place(tmp_path / "one"), place(tmp_path / "other")


async def is_open(site: Site) -> bool:
    """Say whether a run would be let in, to a state that is there."""
    assert site.coordinator is not None
    view = await site.coordinator.view(NAME)
    return view.head is not None and view.lock.pause is None


async def bodies(site: Site) -> list[bytes]:
    archive = site.own.archive
    return [
        await archive.read_version(NAME, each) if not each.is_tombstone else b""
        for each in reversed(await archive.history(NAME))
    ]


async def recover(site: Site) -> None:
    """Break what a dead process holds."""
    assert site.coordinator is not None
    for holder in (await site.coordinator.view(NAME)).lock.holders:
        await site.coordinator.break_(NAME, Broken(ticket=holder.ticket, token=holder.token, by="r", reason="gone"))


async def filled(site: Site, most: int = 5) -> list[bytes]:
    """Store some versions, two of them by force."""
    all_of_them = [state(1, "a"), state(2, "a", "b"), state(7, "c", lineage="two"), state(4, "a"), state(5, "a", "d")]
    for number, body in enumerate(all_of_them[:most]):
        await site.versions.push(body, force=number in {2, 3})
    return all_of_them[:most]


async def test_a_state_goes_there_and_back_with_its_versions(both: tuple[Place, Place]) -> None:
    one, other = (each.site(Life()) for each in both)
    there = await filled(one)
    planned = await plan_move(one, other)
    assert planned is not None
    assert (planned.content.serial, planned.stored) == (5, False)
    moved = await move(one, other)
    assert moved.brought is not None
    assert (moved.brought.versions, moved.brought.left) == (4, 0)
    assert await bodies(other) == there
    first = (await other.own.archive.history(NAME))[-1]
    assert first.kind is VersionKind.IMPORT
    assert first.note.startswith(f"version 1 of {name_of(one, other)}, push by ")
    assert (await is_open(one), await is_open(other)) == (False, True)
    await _check_refused(one, name_of(other, one))
    again = await plan_move(one, other)
    assert again is not None
    assert again.done
    await other.versions.push(state(6, "a", "e"), force=False)
    back = await move(other, one)
    assert back.brought is not None
    assert back.brought.versions == 0
    assert await bodies(one) == [*there, state(6, "a", "e")]
    assert (await is_open(one), await is_open(other)) == (True, False)
    await _check_refused(other, name_of(one, other))


async def _check_refused(site: Site, address: str) -> None:
    assert site.coordinator is not None
    view = await site.coordinator.view(NAME)
    assert address_moved_to(view.lock.pause) == address
    with pytest.raises(UsageError) as raised:
        check_not_moved(view, site.ref)
    assert address in raised.value.what
    assert COMMAND.search(raised.value.fix)


async def test_a_history_is_left_when_a_person_says_so(both: tuple[Place, Place]) -> None:
    one, other = (each.site(Life()) for each in both)
    there = await filled(one)
    moved = await move(one, other, history=False)
    assert moved.brought is None
    assert await bodies(other) == there[-1:]


async def test_two_states_of_one_name_stay_as_they_are(both: tuple[Place, Place]) -> None:
    one, other = (each.site(Life()) for each in both)
    await one.versions.push(state(3, "a"), force=False)
    await other.versions.push(state(3, "b", lineage="theirs"), force=False)
    for attempt in (plan_move, move):
        with pytest.raises(UsageError, match="has content already") as raised:
            await attempt(one, other)
        assert COMMAND.search(raised.value.fix)
    assert (await is_open(one), await is_open(other)) == (True, True)


async def test_killed_at_any_write_at_most_one_place_is_open_and_the_same_command_finishes(tmp_path: Path) -> None:
    writes = 0
    while True:
        pair = place(tmp_path / f"one{writes}"), place(tmp_path / f"other{writes}")
        there = await filled(pair[0].site(Life()), 3)
        life = Life(writes=writes)
        with suppress(_KilledError):
            await move(pair[0].site(life), pair[1].site(life))
        one, other = (each.site(Life()) for each in pair)
        await _finish(one, other, there)
        if not life.over:
            break
        writes += 1
    assert writes > 20, "each of them was tried"


async def _finish(one: Site, other: Site, there: list[bytes]) -> None:
    is_open_there = await is_open(other)
    assert not (await is_open(one) and is_open_there)
    assert not is_open_there or (await bodies(other))[-1] == there[-1], "nobody works on an old version"
    await recover(one)
    await recover(other)
    planned = await plan_move(one, other)
    assert planned is not None
    if not planned.done:
        await move(one, other)
    assert await bodies(other) == there
    assert (await is_open(one), await is_open(other)) == (False, True)
