"""What waiting costs on DynamoDB and S3: requests a minute, and the time from a release to the waiter that sees it.

Against moto on this machine, so a request takes some milliseconds; the pace of looking is the real one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol

from benchmarks import Row
from interlock.clock import SystemClock
from interlock.ids import RandomIds
from interlock.store import Record
from interlock.store.dynamodb import DynamoRecords
from interlock.store.s3 import S3Place, S3Records
from interlock.testing.aws import LocalAws, local_aws

HOLD_S = 2.0
ROUNDS = 8
LONG_WAIT_S = 30.0
HEARTBEAT_S = 10.0


class _Records(Protocol):
    """A record store that counts."""

    @property
    def requests(self) -> Mapping[str, int]: ...
    async def get(self, key: str) -> Record | None: ...
    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int: ...
    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None: ...
    async def close(self) -> None: ...


def measure() -> list[Row]:
    with local_aws() as aws:
        return asyncio.run(_measure(aws))


async def _measure(aws: LocalAws) -> list[Row]:
    table, place = aws.new_table(), S3Place(bucket=aws.new_bucket())

    def dynamo() -> _Records:
        return DynamoRecords(aws.dynamodb, table=table, clock=SystemClock(), ids=RandomIds())

    def s3() -> _Records:
        return S3Records(aws.s3, place=place, clock=SystemClock(), ids=RandomIds())

    measured = await asyncio.gather(_rows("DynamoDB", dynamo(), dynamo()), _rows("S3", s3(), s3()))
    return [row for rows in measured for row in rows]


async def _rows(name: str, holder: _Records, waiter: _Records) -> list[Row]:
    hand_overs_s = [await _hand_over_s(holder, waiter, f"short{number}") for number in range(ROUNDS)]
    quiet = await _requests_a_minute(holder, waiter, "quiet", heartbeat_s=LONG_WAIT_S)
    beating = await _requests_a_minute(holder, waiter, "beating", heartbeat_s=HEARTBEAT_S)
    for store in (holder, waiter):
        await store.close()
    mean_s = sum(hand_overs_s) / len(hand_overs_s)
    return [
        Row(name=f"{name}: hand-over after a hold of {HOLD_S:.0f} s, mean", value=mean_s, unit="s", aim="under 0.5"),
        Row(name=f"{name}: the same, longest", value=max(hand_overs_s), unit="s"),
        Row(name=f"{name}: requests of a waiter, quiet record", value=quiet, unit="per minute", aim="under 60"),
        Row(
            name=f"{name}: the same, heartbeat every {HEARTBEAT_S:.0f} s",
            value=beating,
            unit="per minute",
            aim="under 90",
        ),
    ]


async def _hand_over_s(holder: _Records, waiter: _Records, key: str) -> float:
    version = await holder.swap(key, expected=None, value=b"held")
    watch = asyncio.create_task(waiter.watch(key, seen=version, timeout_s=60))
    await asyncio.sleep(HOLD_S)
    await holder.swap(key, expected=version, value=b"released")
    released = time.perf_counter()
    await watch
    return time.perf_counter() - released


async def _requests_a_minute(holder: _Records, waiter: _Records, key: str, *, heartbeat_s: float) -> float:
    version = await holder.swap(key, expected=None, value=b"held")
    before = sum(waiter.requests.values())
    watch = asyncio.create_task(_watch_on(waiter, key))
    for _ in range(int(LONG_WAIT_S / heartbeat_s)):
        await asyncio.sleep(heartbeat_s)
        version = await holder.swap(key, expected=version, value=b"held")
    spent = sum(waiter.requests.values()) - before
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    return spent * 60 / LONG_WAIT_S


async def _watch_on(waiter: _Records, key: str) -> None:
    record = await waiter.get(key)
    while record is not None:
        record = await waiter.watch(key, seen=record.version, timeout_s=600)
