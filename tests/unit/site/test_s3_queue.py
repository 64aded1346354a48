from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable
from interlock.existing import Found
from interlock.existing.opening import open_backend
from interlock.ids import RandomIds
from interlock.site.s3_queue import S3Queue
from interlock.site.shared_queue import SharedClock
from interlock.store.dynamodb import DynamoRecords
from interlock.store.s3 import S3Records
from interlock.testing.aws import LocalAws
from interlock.testing.clock import FakeClock


def found(aws: LocalAws, **settings: object) -> Found:
    base = {"bucket": "b", "key": "k.tfstate", "region": "us-east-1", "workspace_key_prefix": "env:"}
    endpoints = {"endpoints.s3": aws.url, "endpoints.dynamodb": aws.url, "use_path_style": True}
    return Found(type="s3", settings={**base, **endpoints, **settings})


async def everybody_may(*_: object) -> None:
    pass


@asynccontextmanager
async def opened(found: Found) -> AsyncIterator[S3Queue]:
    backend = await open_backend(found, Path(), clock=SystemClock(), ids=RandomIds())
    queue = S3Queue(backend, found, clock=SystemClock(), ids=RandomIds(), check_may=everybody_may)
    yield queue
    await queue.close()
    await backend.close()


async def test_the_queue_is_in_the_table_or_else_in_the_bucket(aws: LocalAws) -> None:
    table, bucket = aws.new_table(), aws.new_bucket()
    with_table = found(aws, bucket=bucket, dynamodb_table=table)
    async with opened(with_table) as queue:
        assert isinstance(queue.records, DynamoRecords)
        await queue.coordinator.pause("s", by="me", reason="test")
    items = aws.dynamodb.scan(TableName=table)["Items"]
    assert any(item["LockID"]["S"] == "interlock::state/s" for item in items)
    async with opened(found(aws, bucket=bucket)) as queue:
        assert isinstance(queue.records, S3Records)
        await queue.coordinator.pause("s", by="me", reason="test")
    names = [row["Key"] for row in aws.s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert names == [".interlock/records/state/s"]


async def test_a_throttled_tables_billing_mode_decides_the_remedy(aws: LocalAws) -> None:
    name = f"{aws.new_table()}-provisioned"
    aws.dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
        ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    )
    error = BackendUnavailable("the table is throttled", why="ThrottlingException on 10 attempts", fix="?")
    for table, mode, word in ((name, "PROVISIONED", "update-table"), (aws.new_table(), "PAY_PER_REQUEST", "fewer")):
        place = found(aws, dynamodb_table=table)
        async with opened(place) as queue:
            better = await queue.explained(error)
            assert better.exit_status == 30
            assert f"billing mode {mode}" in better.why
            assert word in better.fix
            other = BackendUnavailable("the bucket cannot be reached", why="timeout")
            assert await queue.explained(other) is other


@pytest.mark.promise("P2")
def test_one_wrong_answer_far_ahead_does_not_stop_the_shared_clock() -> None:
    told = [1000.0, 1000.0 + 86_400, 1001.0, 1000.5]
    clock = SharedClock(lambda: told.pop(0), FakeClock())
    instants = [clock.now().timestamp() for _ in range(4)]
    assert instants == [1000.0, 1000.0 + 86_400, 1001.0, 1001.0]


def test_the_shared_clock_is_awss_and_never_goes_back() -> None:
    own, told = FakeClock(), [None, 1000.4, 1000.0, 1002.0]
    clock = SharedClock(lambda: told.pop(0), own)
    assert clock.now() == own.now()
    instants = [clock.now() for _ in range(3)]
    assert instants == [datetime.fromtimestamp(second, UTC) for second in (1000.4, 1000.4, 1002.0)]
    assert clock.monotonic() == own.monotonic()
    assert instants[0] < own.now() - timedelta(days=1)
