"""The stores on AWS against moto's HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from interlock.clock import SystemClock
from interlock.ids import RandomIds
from interlock.store import BlobStore, RecordStore
from interlock.store.dynamodb import DynamoRecords
from interlock.store.polling import Polling
from interlock.store.s3 import S3Blobs, S3Place, S3Records
from interlock.testing.aws import LocalAws
from interlock.testing.store_contract import BlobStoreContract, RecordStoreContract, Rewrite

QUICK = Polling(first_s=0.01, most_s=0.05)


@pytest.fixture(scope="module")
def table(aws: LocalAws) -> str:
    return aws.new_table()


@pytest.fixture(scope="module")
def place(aws: LocalAws) -> S3Place:
    return S3Place(bucket=aws.new_bucket())


def _dynamo(aws: LocalAws, table: str) -> DynamoRecords:
    return DynamoRecords(aws.dynamodb, table=table, polling=QUICK, clock=SystemClock(), ids=RandomIds())


def _s3(aws: LocalAws, place: S3Place) -> S3Records:
    return S3Records(aws.s3, place=place, polling=QUICK, clock=SystemClock(), ids=RandomIds())


class TestDynamoRecords(RecordStoreContract):
    @pytest.fixture
    async def record_store(self, aws: LocalAws, table: str) -> RecordStore:
        return _dynamo(aws, table)

    @pytest.fixture
    def record_store_peer(self, aws: LocalAws, table: str) -> RecordStore:
        return _dynamo(aws, table)

    @pytest.fixture
    def rewrite_record(self, aws: LocalAws, table: str) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            place = {"TableName": table, "Key": {"LockID": {"S": f"interlock::{key}"}}}
            item = aws.dynamodb.get_item(**place, ConsistentRead=True)["Item"]
            item["Value"] = {"B": change(bytes(item["Value"]["B"]))}
            aws.dynamodb.put_item(TableName=table, Item=item)

        return rewrite


class TestS3Records(RecordStoreContract):
    @pytest.fixture
    async def record_store(self, aws: LocalAws, place: S3Place) -> RecordStore:
        return _s3(aws, place)

    @pytest.fixture
    def record_store_peer(self, aws: LocalAws, place: S3Place) -> RecordStore:
        return _s3(aws, place)

    @pytest.fixture
    def rewrite_record(self, aws: LocalAws, place: S3Place) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            name = place.object(f"records/{key}")
            aws.s3.put_object(**name, Body=change(aws.s3.get_object(**name)["Body"].read()))

        return rewrite


class TestS3Blobs(BlobStoreContract):
    @pytest.fixture
    def bucket(self, aws: LocalAws) -> str:
        return aws.new_bucket()

    @pytest.fixture
    async def blob_store(self, aws: LocalAws, bucket: str) -> AsyncIterator[BlobStore]:
        store = S3Blobs(aws.s3, place=S3Place(bucket=bucket), clock=SystemClock(), ids=RandomIds())
        yield store
        await store.close()

    @pytest.fixture
    def rewrite_blob(self, aws: LocalAws, bucket: str) -> Rewrite:
        async def rewrite(digest: str, change: Callable[[bytes], bytes]) -> None:
            name = S3Place(bucket=bucket).object(f"blobs/{digest}")
            stored = aws.s3.get_object(**name)["Body"].read()
            aws.s3.put_object(**name, Body=change(stored))

        return rewrite
