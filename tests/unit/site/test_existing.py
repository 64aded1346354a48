from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, UsageError
from interlock.existing import Found
from interlock.ids import RandomIds
from interlock.site.existing import SharedClock, open_site, own_backend, with_billing
from interlock.site.finding import find_existing, state_of
from interlock.source.tree import Tool
from interlock.store.dynamodb import DynamoRecords
from interlock.store.s3 import S3Records
from interlock.testing.aws import LocalAws
from interlock.testing.clock import FakeClock


def found(aws: LocalAws, **settings: object) -> Found:
    base = {"bucket": "b", "key": "k.tfstate", "region": "us-east-1", "workspace_key_prefix": "env:"}
    endpoints = {"endpoints.s3": aws.url, "endpoints.dynamodb": aws.url, "use_path_style": True}
    return Found(type="s3", settings={**base, **endpoints, **settings})


async def test_the_queue_is_in_the_table_or_else_in_the_bucket(aws: LocalAws, tmp_path: Path) -> None:
    table, bucket = aws.new_table(), aws.new_bucket()
    with_table = found(aws, bucket=bucket, dynamodb_table=table)
    async with open_site(with_table, tmp_path, clock=SystemClock(), ids=RandomIds()) as site:
        assert isinstance(site.records, DynamoRecords)
        await site.coordinator.pause(site.state, by="me", reason="test")
    items = aws.dynamodb.scan(TableName=table)["Items"]
    assert any(item["LockID"]["S"] == f"interlock::state/{site.state}" for item in items)
    async with open_site(found(aws, bucket=bucket), tmp_path, clock=SystemClock(), ids=RandomIds()) as site:
        assert isinstance(site.records, S3Records)
        await site.coordinator.pause(site.state, by="me", reason="test")
    names = [row["Key"] for row in aws.s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert names == [f".interlock/records/state/{site.state}"]


async def test_a_throttled_tables_billing_mode_decides_the_remedy(aws: LocalAws, tmp_path: Path) -> None:
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
        async with open_site(place, tmp_path, clock=SystemClock(), ids=RandomIds()) as site:
            better = await with_billing(error, site)
            assert better.exit_status == 30
            assert f"billing mode {mode}" in better.why
            assert word in better.fix
            other = BackendUnavailable("the bucket cannot be reached", why="timeout")
            assert await with_billing(other, site) is other


def test_what_init_would_record_differently_is_initialised_anew(aws: LocalAws, tmp_path: Path) -> None:
    (tmp_path / "x.tfbackend").write_text('bucket = "b"\n')
    place = found(aws)
    first = own_backend(place, tmp_path, {}, ("-backend-config=x.tfbackend",))
    assert own_backend(place, tmp_path, {}, ("-backend-config=x.tfbackend",)) == first
    (tmp_path / "x.tfbackend").write_text('bucket = "c"\n')
    assert own_backend(place, tmp_path, {}, ("-backend-config=x.tfbackend",)) != first
    assert own_backend(replace(place, workspace="green"), tmp_path, {}, ()) != own_backend(place, tmp_path, {}, ())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "terraform.tfstate").write_text("{}")
    recorded = own_backend(place, tmp_path, {"TF_DATA_DIR": "data"}, ())
    assert (recorded.recorded, "{}" in repr(recorded)) == (b"{}", False)


@pytest.mark.parametrize(
    ("block", "is_site"),
    [("", False), ('backend "http" {}', False), ('backend "s3" {\nbucket = "b"\nkey = "k"\n}', True)],
)
def test_only_a_backend_of_their_own_makes_a_site(tmp_path: Path, block: str, is_site: bool) -> None:
    (tmp_path / "main.tf").write_text(f"terraform {{\n{block}\n}}\n")
    assert (find_existing(tmp_path, {}, (), Tool.TERRAFORM) is not None) is is_site


def test_a_backend_that_runs_cannot_use_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text('terraform {\n  backend "gcs" {\n    bucket = "b"\n  }\n}\n')
    with pytest.raises(UsageError, match='backend "gcs"'):
        find_existing(tmp_path, {}, (), Tool.TERRAFORM)
    with pytest.raises(UsageError, match="not complete"):
        state_of(Found(type="s3"))


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
