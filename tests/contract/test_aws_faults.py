"""The stores on AWS when calls fail, replies get lost, others meddle, and what they cost."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, InterlockError, UsageError
from interlock.ids import RandomIds
from interlock.store import BlobDamaged, Mismatch, Record, RecordStore, blob_digest
from interlock.store.dynamodb import DynamoRecords
from interlock.store.opening import open_store
from interlock.store.polling import Polling
from interlock.store.s3 import S3Blobs, S3Place, S3Records
from interlock.testing.aws import LocalAws

SEED = int(os.environ.get("INTERLOCK_TEST_SEED", "20261124"))
QUICK = Polling(first_s=0.01, most_s=0.05)


class _HurriedClock(SystemClock):
    """Back-off in a fiftieth of its time."""

    async def sleep(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s / 50)


class _Faulty:
    """A client whose calls are throttled, do not arrive, or arrive and lose their reply."""

    def __init__(self, client: Any, chance: random.Random) -> None:
        self._client = client
        self._chance = chance

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            fate = self._chance.random()
            if fate < 0.05:
                response: Any = {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
                raise ClientError(response, name)
            if fate < 0.1:
                raise ConnectTimeoutError(endpoint_url="http://x")
            try:
                return operation(**arguments)
            finally:
                if fate < 0.25:  # ten attempts in a row fail once in a million calls
                    raise ReadTimeoutError(endpoint_url="http://x")

        call.__name__ = name
        return call


@pytest.fixture(scope="module")
def table(aws: LocalAws) -> str:
    return aws.new_table()


@pytest.fixture
def place(aws: LocalAws) -> S3Place:
    return S3Place(bucket=aws.new_bucket())


@pytest.fixture
async def dynamo(aws: LocalAws, table: str, request: pytest.FixtureRequest) -> AsyncIterator[DynamoRecords]:
    store = _dynamo(aws.dynamodb, table, namespace=request.node.name)
    yield store
    await store.close()


@pytest.fixture
async def s3(aws: LocalAws, place: S3Place) -> AsyncIterator[S3Records]:
    store = _s3(aws.s3, place)
    yield store
    await store.close()


def _dynamo(client: Any, table: str, **options: Any) -> DynamoRecords:
    return DynamoRecords(client, table=table, polling=QUICK, clock=_HurriedClock(), ids=RandomIds(), **options)


def _s3(client: Any, place: S3Place) -> S3Records:
    return S3Records(client, place=place, polling=QUICK, clock=_HurriedClock(), ids=RandomIds())


async def _follow(store: RecordStore, chance: random.Random, *, steps: int) -> None:
    """Do a random history that only we write, and compare each outcome exactly."""
    model: dict[str, Record] = {}
    for _ in range(steps):
        key = chance.choice(["a", "b", "c/d"])
        value = None if chance.random() < 0.3 else chance.randbytes(20)
        current = model.get(key)
        version = await store.swap(key, expected=current.version if current else None, value=value)
        model.pop(key, None)
        if value is not None:
            model[key] = Record(key=key, version=version, value=value)
        assert await store.get(key) == model.get(key)
        with pytest.raises(Mismatch) as refusal:
            await store.swap(key, expected=1, value=b"never")
        assert refusal.value.current == model.get(key)
    assert await store.list("") == [model[key] for key in sorted(model)]


@pytest.mark.promise("P3")
@pytest.mark.parametrize("round_number", [0, pytest.param(1, marks=pytest.mark.slow)])
async def test_a_table_that_loses_replies_loses_no_write(aws: LocalAws, table: str, round_number: int) -> None:
    print("seed", SEED)  # noqa: T201
    chance = random.Random(SEED + round_number)
    store = _dynamo(_Faulty(aws.dynamodb, chance), table, namespace=f"faulty {round_number}")
    await _follow(store, chance, steps=25)
    await store.close()


@pytest.mark.promise("P3")
@pytest.mark.parametrize("round_number", [0, pytest.param(1, marks=pytest.mark.slow)])
async def test_a_bucket_that_loses_replies_loses_no_write(aws: LocalAws, place: S3Place, round_number: int) -> None:
    print("seed", SEED)  # noqa: T201
    chance = random.Random(SEED + round_number)
    store = _s3(_Faulty(aws.s3, chance), place)
    await _follow(store, chance, steps=25)
    await store.close()


@pytest.mark.promise("P3")
async def test_blobs_survive_lost_replies(aws: LocalAws, place: S3Place) -> None:
    chance = random.Random(SEED)
    store = S3Blobs(_Faulty(aws.s3, chance), place=place, clock=_HurriedClock(), ids=RandomIds())
    for size in (0, 10, 100_000):
        data = chance.randbytes(size)
        digest = await store.put(data)
        assert await store.get(digest) == data
        assert await store.size(digest) == size
        await store.delete(digest)
        assert not await store.has(digest)
    await store.close()


def _items(aws: LocalAws, table: str) -> dict[str, Any]:
    return {item["LockID"]["S"]: item for item in aws.dynamodb.scan(TableName=table)["Items"]}


async def test_our_items_are_never_terraforms(aws: LocalAws) -> None:
    table = aws.new_table()
    store = _dynamo(aws.dynamodb, table, namespace="bucket/env:")
    await store.swap("state/prod", expected=None, value=b"x")
    assert sorted(_items(aws, table)) == ["interlock-keys:bucket/env%3A", "interlock:bucket/env%3A:state/prod"]
    await store.close()


async def test_namespaces_do_not_see_each_other(aws: LocalAws, table: str) -> None:
    one, two = _dynamo(aws.dynamodb, table, namespace="n"), _dynamo(aws.dynamodb, table, namespace="n:a")
    await one.swap("a:k", expected=None, value=b"one")
    assert await two.get("k") is None
    assert await two.list("") == []
    for store in (one, two):
        await store.close()


async def test_records_expire_only_when_asked_and_each_write_renews_them(aws: LocalAws) -> None:
    table = aws.new_table()
    lasting, passing = _dynamo(aws.dynamodb, table, namespace="l"), _dynamo(aws.dynamodb, table, expires_s=86400)
    now_s = SystemClock().now().timestamp()
    await lasting.swap("k", expected=None, value=b"x")
    version = await passing.swap("k", expected=None, value=b"x")
    first = int(_items(aws, table)["interlock::k"]["ExpirationTime"]["N"])
    assert first >= now_s + 86399
    await passing.swap("k", expected=version, value=b"y")
    assert int(_items(aws, table)["interlock::k"]["ExpirationTime"]["N"]) >= first
    for lock_id in ("interlock:l:k", "interlock-keys:", "interlock-keys:l"):
        assert "ExpirationTime" not in _items(aws, table)[lock_id]
    for store in (lasting, passing):
        await store.close()


async def test_a_record_removed_by_the_tables_expiry_is_absent_and_may_be_made_again(aws: LocalAws) -> None:
    table = aws.new_table()
    store = _dynamo(aws.dynamodb, table)
    versions = {key: await store.swap(key, expected=None, value=b"x") for key in ("a", "b")}
    aws.dynamodb.delete_item(TableName=table, Key={"LockID": {"S": "interlock::a"}})
    assert [record.key for record in await store.list("")] == ["b"]
    assert (await store._read_names()).keys == {"b"}
    with pytest.raises(Mismatch) as refusal:
        await store.swap("a", expected=versions["a"], value=b"y")
    assert refusal.value.current is None
    assert await store.swap("a", expected=None, value=b"z") != versions["a"]
    assert [record.key for record in await store.list("")] == ["a", "b"]
    await store.close()


async def test_what_the_table_costs(dynamo: DynamoRecords) -> None:
    async def spent(work: Any) -> dict[str, int]:
        before = dict(dynamo.requests)
        await work
        return {
            name: count - before.get(name, 0) for name, count in dynamo.requests.items() if count != before.get(name)
        }

    assert await spent(dynamo.swap("k", expected=None, value=b"x")) == {"get_item": 1, "transact_write_items": 1}
    version = (await dynamo.get("k") or pytest.fail("absent")).version
    assert await spent(dynamo.get("k")) == {"get_item": 1}
    assert await spent(dynamo.swap("k", expected=version, value=b"y")) == {"put_item": 1}
    assert await spent(_refused(dynamo.swap("k", expected=version, value=b"z"))) == {"put_item": 1}
    assert await spent(dynamo.list("")) == {"get_item": 2}


async def _refused(swap: Any) -> None:
    with pytest.raises(Mismatch):
        await swap


async def test_what_the_bucket_costs(s3: S3Records, aws: LocalAws, place: S3Place) -> None:
    version = await s3.swap("k", expected=None, value=b"x")
    version = await s3.swap("k", expected=version, value=b"y")
    assert s3.requests == {"put_object": 2}
    other = _s3(aws.s3, place)
    await other.swap("k", expected=version, value=b"z")
    assert other.requests == {"get_object": 1, "put_object": 1}
    await other.close()


async def test_an_item_that_is_not_ours_is_reported(dynamo: DynamoRecords, aws: LocalAws, table: str) -> None:
    await dynamo.swap("k", expected=None, value=b"x")
    for item in ({}, {"Version": {"N": "1"}}, {"Version": {"S": "x"}, "Value": {"B": b""}}):
        aws.dynamodb.put_item(TableName=table, Item={"LockID": {"S": dynamo._prefix + "k"}, **item})
        with pytest.raises(BackendUnavailable, match="damaged") as failure:
            await dynamo.get("k")
        assert failure.value.fix
    aws.dynamodb.put_item(
        TableName=table,
        Item={"LockID": {"S": dynamo._names_id}, "Version": {"N": "1"}, "Names": {"B": b"nonsense"}},
    )
    with pytest.raises(BackendUnavailable, match="damaged"):
        await dynamo.list("")


async def test_an_object_that_is_not_ours_is_reported(s3: S3Records, aws: LocalAws, place: S3Place) -> None:
    aws.s3.put_object(Body=b"nonsense", **place.object("records/k"))
    with pytest.raises(BackendUnavailable, match="damaged") as failure:
        await s3.get("k")
    assert failure.value.fix
    with pytest.raises(BackendUnavailable, match="damaged"):
        await s3.swap("k", expected=None, value=b"x")


async def test_an_object_copied_by_hand_keeps_its_record_writable(s3: S3Records, aws: LocalAws, place: S3Place) -> None:
    version = await s3.swap("k", expected=None, value=b"x")
    s3._etags["k"] = (version, '"another"')  # as after a copy that encrypts anew: same body, other ETag
    await s3.swap("k", expected=version, value=b"y")
    assert (await s3.get("k") or pytest.fail("absent")).value == b"y"


@pytest.mark.promise("P3")
async def test_a_damaged_blob_is_reported(aws: LocalAws, place: S3Place) -> None:
    store = S3Blobs(aws.s3, place=place, clock=SystemClock(), ids=RandomIds())
    digest = await store.put(b"x" * 1000)
    other = await store.put(b"y" * 1000)
    for body in (b"", b"nonsense" * 10, aws.s3.get_object(**place.object(f"blobs/{other}"))["Body"].read()):
        aws.s3.put_object(Body=body, **place.object(f"blobs/{digest}"))
        with pytest.raises(BlobDamaged):
            await store.get(digest)
    await store.close()


async def test_a_missing_table_or_bucket_is_reported(aws: LocalAws) -> None:
    for store in (_dynamo(aws.dynamodb, "nowhere"), _s3(aws.s3, S3Place(bucket="nowhere"))):
        for call in (store.get("k"), store.swap("k", expected=None, value=b"x"), store.list("")):
            with pytest.raises(UsageError, match="does not exist") as failure:
                await call
            assert failure.value.fix == "create it: interlock bootstrap aws"
        await store.close()


async def test_a_table_with_another_key_is_reported(aws: LocalAws) -> None:
    aws.dynamodb.create_table(
        TableName="other-key",
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    store = _dynamo(aws.dynamodb, "other-key")
    with pytest.raises(InterlockError) as failure:
        await store.get("k")
    assert failure.value.fix
    await store.close()


@pytest.mark.parametrize("prefix", ["no-slash", "x" * 500 + "/"])
def test_an_unusable_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError):
        S3Place(bucket="b", prefix=prefix)


@pytest.mark.parametrize("namespace", ["n" * 300, "new\nline"])
def test_an_unusable_namespace_is_refused(aws: LocalAws, namespace: str) -> None:
    with pytest.raises(UsageError):
        _dynamo(aws.dynamodb, "t", namespace=namespace)


@pytest.mark.parametrize("with_table", [True, False])
async def test_a_url_opens_bucket_and_table(aws: LocalAws, with_table: bool) -> None:
    url = f"s3://{aws.new_bucket()}/some/prefix?region=us-east-1&endpoint={aws.url}"
    if with_table:
        url += f"&table={aws.new_table()}"
    store = await open_store(url, clock=SystemClock())
    await store.records.swap("k", expected=None, value=b"x")
    assert await store.blobs.put(b"y") == blob_digest(b"y")
    assert isinstance(store.records, DynamoRecords if with_table else S3Records)
    await store.close()


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///x", "s3://b:1/x", "s3://u:secret@b/x", "s3://b/x?tabel=y", "s3://b/x?table=", "dynamodb://t"],
)
async def test_a_url_that_is_not_understood_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as failure:
        await open_store(url, clock=SystemClock())
    assert failure.value.fix
    assert "secret" not in str(failure.value)
