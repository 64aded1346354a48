from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from interlock.clock import SystemClock
from interlock.errors import LockHeld, UsageError
from interlock.existing import ExistingBackend, Found, StoredState, TerraformLockMoved
from interlock.existing.interface import md5_of
from interlock.existing.s3 import S3Backend, S3Place, access_of, place_of
from interlock.ids import RandomIds
from interlock.terraform.lockinfo import LockInfo
from interlock.testing.aws import LocalAws

KEY = "app/terraform.tfstate"
BODY = b'{"version": 4, "serial": 1, "lineage": "l", "resources": []}'
NEXT = BODY.replace(b'"serial": 1', b'"serial": 2')

Make = Callable[..., S3Backend]


def info(name: str = "mine") -> LockInfo:
    return LockInfo(id=name, operation="OperationTypeApply", who="me@here", version="1.11.4", created="now", path="p")


@pytest.fixture
async def make(aws: LocalAws) -> AsyncIterator[Make]:
    made: list[S3Backend] = []
    bucket, table = aws.new_bucket(), aws.new_table()
    aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def new(*, lockfile: bool = False, with_table: bool = True) -> S3Backend:
        place = S3Place(bucket=bucket, key=KEY, table=table if with_table else None, use_lockfile=lockfile)
        dynamodb = aws.dynamodb if with_table else None
        backend = S3Backend(
            place, found=Found(type="s3"), s3=aws.s3, dynamodb=dynamodb, clock=SystemClock(), ids=RandomIds()
        )
        made.append(backend)
        return backend

    yield new
    for backend in made:
        await backend.close()


WAYS: list[dict[str, Any]] = [{}, {"lockfile": True}, {"lockfile": True, "with_table": False}]


@pytest.mark.parametrize("way", WAYS)
async def test_a_lock_is_taken_seen_refused_to_others_and_given_back(make: Make, way: dict[str, Any]) -> None:
    backend: ExistingBackend = make(**way)
    assert await backend.read_locks() == ()
    held = await backend.take_lock(info())
    seen = await backend.read_locks()
    assert [lock.id for lock in seen] == ["mine"] * len(backend.describe().locking)
    assert tuple(lock.mechanism for lock in seen) == backend.describe().locking
    with pytest.raises(LockHeld) as refusal:
        await backend.take_lock(info("other"))
    assert refusal.value.facts["lock_id"] == "mine"
    assert [lock.id for lock in await backend.read_locks()] == ["mine"] * len(seen)
    await backend.give_lock(held)
    assert await backend.read_locks() == ()
    await backend.give_lock(held)


async def test_when_the_second_lock_is_refused_the_first_is_given_back(make: Make) -> None:
    theirs = make()
    await theirs.take_lock(info("theirs"))
    both = make(lockfile=True)
    with pytest.raises(LockHeld):
        await both.take_lock(info())
    assert [(lock.id, lock.mechanism) for lock in await both.read_locks()] == [("theirs", "dynamodb")]


@pytest.mark.parametrize("way", WAYS)
async def test_only_the_lock_that_was_read_is_deleted(make: Make, way: dict[str, Any]) -> None:
    backend = make(**way)
    held = await backend.take_lock(info())
    seen = await backend.read_locks()
    await backend.give_lock(held)
    for lock in seen:
        with pytest.raises(TerraformLockMoved):
            await backend.delete_lock(lock)
    await backend.take_lock(info("newer"))
    for lock in seen:
        with pytest.raises(TerraformLockMoved) as moved:
            await backend.delete_lock(lock)
        assert moved.value.facts["lock_id"] == "newer"
    assert {lock.id for lock in await backend.read_locks()} == {"newer"}


@pytest.mark.promise("P5")
@pytest.mark.parametrize("way", WAYS)
async def test_a_lock_that_took_the_place_of_ours_is_left_alone_and_said(make: Make, way: dict[str, Any]) -> None:
    backend = make(**way)
    held = await backend.take_lock(info())
    for lock in await backend.read_locks():
        await backend.delete_lock(lock)  # as somebody forced it
    await backend.take_lock(info("theirs"))
    with pytest.raises(TerraformLockMoved):
        await backend.give_lock(held)
    assert {lock.id for lock in await backend.read_locks()} == {"theirs"}


async def test_a_lock_document_that_cannot_be_read_still_locks_and_can_be_deleted(aws: LocalAws, make: Make) -> None:
    backend = make()
    for attributes in ({"Info": {"S": "{"}}, {}):
        item = {"LockID": {"S": backend.place.path}, **attributes}
        aws.dynamodb.put_item(TableName=backend.place.table, Item=item)
        (lock,) = await backend.read_locks()
        assert lock.unreadable
        with pytest.raises(LockHeld):
            await backend.take_lock(info())
        await backend.delete_lock(lock)
        assert await backend.read_locks() == ()


@pytest.mark.promise("P5")
@pytest.mark.parametrize(
    "value", [{"S": ""}, {"N": "5"}, {"NULL": True}, {"B": b"\xff"}, {"M": {"a": {"S": "x"}}}, {"S": '["\\ud800"]'}]
)
async def test_a_lock_item_whose_info_is_no_text_still_locks_and_exactly_it_can_be_deleted(
    aws: LocalAws, make: Make, value: dict[str, Any]
) -> None:
    backend = make()
    item = {"LockID": {"S": backend.place.path}, "Info": value}
    aws.dynamodb.put_item(TableName=backend.place.table, Item=item)
    (lock,) = await backend.read_locks()
    assert lock.unreadable
    with pytest.raises(LockHeld):
        await backend.take_lock(info())
    aws.dynamodb.put_item(TableName=backend.place.table, Item={**item, "Info": {"S": "another"}})
    with pytest.raises(TerraformLockMoved):
        await backend.delete_lock(lock)
    aws.dynamodb.put_item(TableName=backend.place.table, Item=item)
    await backend.delete_lock(lock)
    assert await backend.read_locks() == ()


@pytest.mark.parametrize("attributes", [{}, {"Digest": {"N": "5"}}, {"Digest": {"NULL": True}}, {"Digest": {"S": ""}}])
async def test_a_digest_item_without_a_digest_is_written_over(
    aws: LocalAws, make: Make, attributes: dict[str, Any]
) -> None:
    backend = make()
    first = await backend.write_state(BODY, expected=None)
    item = {"LockID": {"S": f"{backend.place.path}-md5"}, **attributes}
    aws.dynamodb.put_item(TableName=backend.place.table, Item=item)
    seen = await backend.read_state()
    assert seen is not None
    second = await backend.write_state(NEXT, expected=seen)
    assert (first.body, second.body, second.digest_stored) == (BODY, NEXT, md5_of(NEXT))


async def test_a_state_is_written_with_its_digest_and_only_in_the_place_of_what_was_read(make: Make) -> None:
    backend = make()
    assert await backend.read_state() is None
    first = await backend.write_state(BODY, expected=None)
    assert (first.body, first.digest_stored, first.digest_agrees) == (BODY, md5_of(BODY), True)
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(NEXT, expected=None)
    second = await backend.write_state(NEXT, expected=first)
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(BODY, expected=first)
    assert (await backend.read_state()) == second
    history = await backend.history()
    assert [(version.id, version.current) for version in history] == [
        (second.version_id, True),
        (first.version_id, False),
    ]
    assert await backend.read_version(first.version_id) == BODY
    with pytest.raises(UsageError):
        await backend.read_version("nonsense")


async def test_a_digest_is_repaired_only_while_state_and_digest_are_as_they_were_read(
    aws: LocalAws, make: Make
) -> None:
    backend = make()
    await backend.write_state(BODY, expected=None)
    item = {"LockID": {"S": backend.place.path + "-md5"}, "Digest": {"S": "f" * 32}}
    aws.dynamodb.put_item(TableName=backend.place.table, Item=item)
    seen = await backend.read_state()
    assert seen is not None
    assert not seen.digest_agrees
    repaired = await backend.repair_digest(expected=seen)
    assert repaired.digest_agrees
    with pytest.raises(TerraformLockMoved):
        await backend.repair_digest(expected=seen)


async def test_a_digest_without_a_state_is_seen_and_repaired(aws: LocalAws, make: Make) -> None:
    backend = make()
    item = {"LockID": {"S": backend.place.path + "-md5"}, "Digest": {"S": "f" * 32}}
    aws.dynamodb.put_item(TableName=backend.place.table, Item=item)
    seen = await backend.read_state()
    assert seen == StoredState(body=b"", digest_stored="f" * 32, is_absent=True)
    assert not seen.digest_agrees
    assert (await backend.repair_digest(expected=seen)).digest_agrees
    assert await backend.read_state() is None


async def test_a_deleted_state_stays_in_the_history(aws: LocalAws, make: Make) -> None:
    backend = make(with_table=False)
    await backend.write_state(BODY, expected=None)
    aws.s3.delete_object(Bucket=backend.place.bucket, Key=KEY)
    aws.s3.put_object(Bucket=backend.place.bucket, Key=KEY + ".tflock", Body=b"{}")
    deletion, version = await backend.history()
    assert (deletion.is_deletion, deletion.current, version.current) == (True, True, False)
    assert json.loads(await backend.read_version(version.id))["serial"] == 1


def found(**settings: object) -> Found:
    workspace = str(settings.pop("workspace", "default"))
    return Found(type="s3", settings={"workspace_key_prefix": "env:", **settings}, workspace=workspace)


def test_the_place_of_a_workspace_is_where_terraform_has_it() -> None:
    assert place_of(found(bucket="b", key="/k")).path == "b/k"
    assert place_of(found(bucket="b", key="a/k", workspace="green")).path == "b/env:/green/a/k"
    with pytest.raises(UsageError, match="not complete"):
        place_of(found(bucket="b"))


def test_writes_are_encrypted_as_terraform_encrypts_them() -> None:
    plain = {"ContentType": "application/json"}
    assert place_of(found(bucket="b", key="k")).written() == plain
    assert place_of(found(bucket="b", key="k", encrypt=True)).written()["ServerSideEncryption"] == "AES256"
    with_key = place_of(found(bucket="b", key="k", encrypt="true", kms_key_id="arn")).written()
    assert (with_key["ServerSideEncryption"], with_key["SSEKMSKeyId"]) == ("aws:kms", "arn")
    customer = place_of(found(bucket="b", key="k", encrypt=True, sse_customer_key="hush"))
    assert customer.written() == plain | customer.read()
    assert "hush" not in repr(customer)


def test_access_takes_keys_roles_and_endpoints_and_shows_no_secret() -> None:
    settings = {"access_key": "a", "secret_key": "hush", "token": "hush", "endpoints.s3": "http://x"}
    access = access_of(found(region="r", use_path_style=True, **{"assume_role.role_arn": "arn"}, **settings))
    assert access.keys is not None
    assert access.role is not None
    assert (access.role.arn, access.role.session, access.path_style) == ("arn", "interlock", True)
    assert "hush" not in repr(access)
