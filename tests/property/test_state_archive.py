"""Laws of the archive under random histories: no acknowledged version is lost (P3), no zombie is accepted (P4)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.coordinator.archive import StateArchive, Writer
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import InterlockError
from interlock.lock import Broken, Requested
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

_STATE = "prod"
_LAW = settings(max_examples=60, deadline=None)
_DEEDS = st.sampled_from(
    ["acquire", "write", "write stale", "write broken", "repeat", "break", "release", "zombie", "delete"]
)


def _body(serial: int, mark: int) -> bytes:
    instance = {"attributes": {"mark": mark}}
    row = {"mode": "managed", "type": "t", "name": "a", "provider": "provider.p", "instances": [instance]}
    return json.dumps({"version": 4, "serial": serial, "lineage": "l", "resources": [row]}).encode()


@dataclass
class _World:
    """Runs that come and go, and what each of them was told."""

    archive: StateArchive
    coordinator: LocalCoordinator
    runs: int = 0
    marks: int = 0
    holder: Writer | None = None
    zombies: list[Writer] = field(default_factory=list)
    acknowledged: list[bytes] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    last: bytes | None = None
    serial: int = 0

    async def do(self, deed: str) -> None:
        match deed:
            case "acquire" if self.holder is None:
                self.runs += 1
                ticket = f"t{self.runs}"
                standing = await self.coordinator.request(
                    _STATE, Requested(ticket=ticket, who="w", lease_s=60, patience_s=40)
                )
                assert standing.token
                self.holder = Writer(who="w", run=ticket, ticket=ticket, token=standing.token)
            case "write":
                await self._write(self.holder, self.serial + 1, accepted=self.holder is not None)
            case "write stale" if self.serial > 1 and self.last is not None:
                await self._write(self.holder, self.serial - 1, accepted=False)
            case "write broken":
                await self._send(self.holder, _body(self.serial + 1, 0)[:-9], accepted=False)
            case "repeat" if self.last is not None and self.holder is not None:
                written = await self.archive.write(_STATE, self.last, writer=self.holder)
                assert written.repeated
            case "break" | "release" if self.holder is not None and self.holder.ticket and self.holder.token:
                if deed == "break":
                    broken = Broken(ticket=self.holder.ticket, token=self.holder.token, by="r", reason="gone")
                    await self.coordinator.break_(_STATE, broken)
                else:
                    await self.coordinator.release(_STATE, self.holder.ticket, self.holder.token)
                self.zombies.append(self.holder)
                self.holder = None
            case "zombie" if self.zombies:
                await self._write(self.zombies[-1], self.serial + 1, accepted=False)
            case "delete" if self.holder is not None:
                await self.archive.delete(_STATE, writer=self.holder)
                self.last = None

    async def _write(self, writer: Writer | None, serial: int, *, accepted: bool) -> None:
        self.marks += 1
        await self._send(writer, _body(serial, self.marks), accepted=accepted)
        if accepted:
            self.serial = serial

    async def _send(self, writer: Writer | None, body: bytes, *, accepted: bool) -> None:
        try:
            await self.archive.write(_STATE, body, writer=writer or Writer(who="nobody"))
        except InterlockError:
            assert not accepted
            self.refused.append(body)
        else:
            assert accepted
            self.acknowledged.append(body)
            self.last = body

    async def check(self) -> None:
        history = await self.archive.history(_STATE)
        stored = [await self.archive.read_version(_STATE, version) for version in history if not version.is_tombstone]
        assert stored == self.acknowledged[::-1], "every acknowledged version is there, in order, and nothing else"
        assert [version.number for version in history] == list(range(len(history), 0, -1))
        assert all(new.token >= old.token for new, old in pairwise(history))
        current = await self.archive.current(_STATE)
        assert (current[1] if current is not None else None) == self.last
        entries = await self.archive.quarantined(_STATE)
        kept = {(await self.archive.read_quarantined(_STATE, entry.id))[1] for entry in entries}
        assert kept == set(self.refused), "every refused write is kept"


@pytest.mark.promise("P3", "P4", "P6")
@_LAW
@given(st.lists(_DEEDS, max_size=25))
def test_only_the_current_grant_writes_and_nothing_is_lost(deeds: list[str]) -> None:
    async def play() -> None:
        clock = FakeClock()
        records = MemoryRecords(clock=clock)
        coordinator = LocalCoordinator(records, clock, CountingIds())
        world = _World(StateArchive(coordinator, records, MemoryBlobs(), clock), coordinator)
        for deed in deeds:
            await world.do(deed)
        await world.check()

    asyncio.run(play())
