"""Histories of states on S3 and DynamoDB: the archive with its pages, damaged and missing objects."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator

import pytest

from interlock.clock import SystemClock
from interlock.coordinator import chain
from interlock.coordinator.archive import StateArchive, Writer
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import BackendUnavailable
from interlock.ids import RandomIds
from interlock.lock import Requested
from interlock.store import RecordStore
from interlock.store.dynamodb import DynamoRecords
from interlock.store.polling import Polling
from interlock.store.s3 import S3Blobs, S3Place, S3Records
from interlock.testing.aws import LocalAws

QUICK = Polling(first_s=0.01, most_s=0.05)
STATE = "prod/routing"
COUNT = 11
PAGE = 4


class _Room:
    """An archive on AWS, and a grant to write with."""

    def __init__(self, aws: LocalAws, records: RecordStore, place: S3Place) -> None:
        self.aws = aws
        self.place = place
        self.records = records
        self.blobs = S3Blobs(aws.s3, place=place, clock=SystemClock(), ids=RandomIds())
        self.coordinator = LocalCoordinator(records, clock=SystemClock(), ids=RandomIds())
        self.archive = StateArchive(self.coordinator, records, self.blobs, SystemClock())
        self.writer = Writer(who="ann")

    async def hold(self) -> None:
        request = Requested(ticket="t", who="ann", info="", lease_s=600.0, patience_s=600.0)
        grant = await self.coordinator.acquire(STATE, request, timeout_s=10.0)
        self.writer = Writer(who="ann", ticket=grant.ticket, token=grant.token)

    async def write(self, serial: int) -> None:
        await self.archive.write(STATE, _state(serial), writer=self.writer)

    async def pages(self) -> list[str]:
        """Return the digests of all pages, newest first."""
        end = await chain.Chain(self.records, self.blobs).end(STATE)
        found = [end.page] if end is not None and end.page else []
        while found and (before := chain._decode_page(await self.blobs.get(found[-1])).before):
            found.append(before)
        return found

    async def close(self) -> None:
        await self.records.close()
        await self.blobs.close()


@pytest.fixture(params=["dynamodb", pytest.param("s3", marks=pytest.mark.slow)])
async def room(aws: LocalAws, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Room]:
    monkeypatch.setattr(chain, "PAGE", PAGE)
    place = S3Place(bucket=aws.new_bucket())
    records: RecordStore = S3Records(aws.s3, place=place, polling=QUICK, clock=SystemClock(), ids=RandomIds())
    if request.param == "dynamodb":
        table = aws.new_table()
        records = DynamoRecords(aws.dynamodb, table=table, polling=QUICK, clock=SystemClock(), ids=RandomIds())
    room = _Room(aws, records, place)
    await room.hold()
    for serial in range(1, COUNT + 1):
        await room.write(serial)
    yield room
    await room.close()


def _state(serial: int) -> bytes:
    return json.dumps({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l"}).encode()


async def _check_whole(room: _Room, count: int) -> None:
    history = await room.archive.history(STATE)
    assert [version.number for version in history] == list(range(count, 0, -1))
    for number in (1, PAGE, PAGE + 1, count - 1, count):
        found = await room.archive.version(STATE, number=number)
        assert found is not None
        assert await room.archive.read_version(STATE, found) == _state(number)


@pytest.mark.promise("P3")
async def test_a_history_with_pages_is_read_back_whole(room: _Room) -> None:
    assert len(await room.pages()) == COUNT // PAGE
    await _check_whole(room, COUNT)


@pytest.mark.promise("P3")
async def test_pages_that_are_missing_or_damaged_cost_time_and_nothing_else(room: _Room) -> None:
    newest, oldest = await room.pages()
    room.aws.s3.delete_object(**room.place.object(f"blobs/{oldest}"))
    await _check_whole(room, COUNT)
    room.aws.s3.put_object(**room.place.object(f"blobs/{newest}"), Body=b"damaged")
    for serial in range(COUNT + 1, COUNT + PAGE + 1):
        await room.write(serial)
    await _check_whole(room, COUNT + PAGE)
    await room.archive.index(STATE)
    await _check_whole(room, COUNT + PAGE)


@pytest.mark.promise("P3")
async def test_a_damaged_current_version_is_told_and_mended_by_its_bytes(room: _Room) -> None:
    current = (await room.archive.history(STATE, limit=1))[0]
    chance = random.Random(20261129)
    for body in (b"", b"damaged", chance.randbytes(200)):
        room.aws.s3.put_object(**room.place.object(f"blobs/{current.blob}"), Body=body)
        with pytest.raises(BackendUnavailable):
            await room.archive.current(STATE)
        written = await room.archive.write(STATE, _state(COUNT), writer=room.writer)
        assert (written.repeated, written.repaired) == (True, True)
        await _check_whole(room, COUNT)
