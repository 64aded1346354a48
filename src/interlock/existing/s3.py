"""Terraform's `backend "s3"`: its state object, its locks in DynamoDB and beside the state, and its digest.

A hand. Writes the same items as Terraform, so plain Terraform stays out while we hold and reads what we wrote.
Source: docs/facts/terraform-s3.md; internal/backend/remote-state/s3/client.go of Terraform 1.11.4.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from interlock.clock import Clock
from interlock.errors import PROGRAM, THIS_STATE, InterlockError, LockHeld, UsageError, command
from interlock.existing.interface import (
    Description,
    Found,
    HeldTerraformLock,
    StateVersion,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
    md5_of,
)
from interlock.existing.opening import store_of
from interlock.existing.terraform_lock import foreign_lock, held_by
from interlock.ids import Ids
from interlock.store.aws import AwsAccess, AwsCaller, AwsKeys, AwsRole, Refused, connect_all
from interlock.terraform.lockinfo import LockInfo, render_lock_info

HISTORY_MAX = 10_000
"""Versions listed of one state; Terraform writes a few an apply."""

LOCK_SUFFIX = ".tflock"
DIGEST_SUFFIX = "-md5"
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_NO_VERSION = frozenset({"NoSuchVersion", "NoSuchKey", "404", "InvalidArgument", "MethodNotAllowed"})
_NOT_MET = frozenset({"PreconditionFailed", "412"})
_UNCONDITIONAL = frozenset({"NotImplemented", "InvalidArgument"})
_REFUSED = frozenset({"ConditionalCheckFailedException"})


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """Where one state and its locks are.

    Attributes:
        bucket: The bucket.
        key: The state object's whole name, workspace included.
        table: The DynamoDB table of locks and digests; None without one.
        use_lockfile: Whether Terraform locks with an object beside the state.
        kms_key: Key of SSE-KMS; None for what `encrypt` says.
        encrypt: Terraform's `encrypt`.
        acl: A canned ACL for new objects; None for none.
        customer_key: SSE-C, base64; a secret.
    """

    bucket: str
    key: str
    table: str | None = None
    use_lockfile: bool = False
    kms_key: str | None = None
    encrypt: bool = False
    acl: str | None = None
    customer_key: str | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """What Terraform calls the state in its locks: `bucket/key`."""
        return f"{self.bucket}/{self.key}"

    @property
    def locking(self) -> tuple[str, ...]:
        """Terraform's mechanisms in the order in which it takes them."""
        return (("lockfile",) if self.use_lockfile else ()) + (("dynamodb",) if self.table else ())

    def written(self) -> dict[str, Any]:
        """Return the arguments with which Terraform writes the state object."""
        arguments: dict[str, Any] = {"ContentType": "application/json", **self.read()}
        if self.acl:
            arguments["ACL"] = self.acl
        if self.encrypt and not self.customer_key:
            arguments["ServerSideEncryption"] = "aws:kms" if self.kms_key else "AES256"
            if self.kms_key:
                arguments["SSEKMSKeyId"] = self.kms_key
        return arguments

    def read(self) -> dict[str, Any]:
        """Return the arguments without which the state object cannot be read."""
        if not self.customer_key:
            return {}
        return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": self.customer_key}


def place_of(found: Found) -> S3Place:
    """Return where a found `backend "s3"` keeps its state.

    Raises:
        UsageError: A required setting is missing.
    """
    bucket, key = found.text("bucket"), found.text("key")
    if bucket is None or key is None:
        raise UsageError(
            'the configuration\'s backend "s3" is not complete',
            why="nothing gives " + " or ".join(name for name in ("bucket", "key") if found.text(name) is None),
            fix=f"{PROGRAM} init -backend-config=… once, or give the same flag after --",
        )
    key = key.strip("/")
    if found.workspace != "default":
        key = f"{found.text('workspace_key_prefix')}/{found.workspace}/{key}"
    return S3Place(
        bucket=bucket,
        key=key,
        table=found.text("dynamodb_table"),
        use_lockfile=found.is_true("use_lockfile"),
        kms_key=found.text("kms_key_id"),
        encrypt=found.is_true("encrypt"),
        acl=found.text("acl"),
        customer_key=found.text("sse_customer_key"),
    )


def _space_in(name: str, prefix: str, key: str) -> str:
    """Return the workspace whose state has this name in the bucket; empty when it is the name of something else."""
    space = name.removeprefix(prefix).removesuffix(f"/{key}")
    return space if name == f"{prefix}{space}/{key}" and "/" not in space else ""


def access_of(found: Found) -> AwsAccess:
    """Return how a found `backend "s3"` reaches AWS."""
    endpoints = {name: url for name in ("s3", "dynamodb", "sts") if (url := found.text(f"endpoints.{name}"))}
    return AwsAccess(
        region=found.text("region"),
        profile=found.text("profile"),
        endpoints=endpoints,
        path_style=found.is_true("use_path_style"),
        keys=_keys(found),
        role=_role(found),
        ca_bundle=found.text("custom_ca_bundle"),
        config_files=_texts(found, "shared_config_files"),
        credentials_files=_texts(found, "shared_credentials_files"),
    )


def _texts(found: Found, name: str) -> tuple[str, ...]:
    value = found.settings.get(name)
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else ()


def _keys(found: Found) -> AwsKeys | None:
    """Return keys given by the configuration or the environment; a profile named beside them wins in neither tool."""
    access_key, secret_key = found.text("access_key"), found.text("secret_key")
    if access_key is None or secret_key is None:
        return None
    return AwsKeys(access_key=access_key, secret_key=secret_key, token=found.text("token"))


def _role(found: Found) -> AwsRole | None:
    for prefix in ("assume_role", "assume_role_with_web_identity"):
        arn = found.text(f"{prefix}.role_arn")
        if arn is not None:
            return AwsRole(
                arn=arn,
                session=found.text(f"{prefix}.session_name") or "interlock",
                external_id=found.text(f"{prefix}.external_id"),
                token_file=found.text(f"{prefix}.web_identity_token_file") if prefix != "assume_role" else None,
            )
    return None


async def open_s3(found: Found, *, clock: Clock, ids: Ids) -> S3Backend:
    """Connect to the bucket, and the table when there is one.

    Raises:
        UsageError: A setting is missing, or boto3 is not installed.
    """
    place, access = place_of(found), access_of(found)
    services = ("s3",) if place.table is None else ("s3", "dynamodb")
    s3, *rest = await asyncio.to_thread(connect_all, services, access)
    return S3Backend(place, found=found, s3=s3, dynamodb=rest[0] if rest else None, clock=clock, ids=ids)


class S3Backend:
    """See `ExistingBackend`.

    Args:
        place: Where the state is.
        found: What discovery found, for `describe`.
        s3: The SDK's client.
        dynamodb: The SDK's client; None without a table.
        clock: For back-off.
        ids: For jitter.
    """

    def __init__(self, place: S3Place, *, found: Found, s3: Any, dynamodb: Any | None, clock: Clock, ids: Ids) -> None:
        self.place = place
        self.s3 = s3
        self.dynamodb = dynamodb
        self._found = found
        self._bucket = AwsCaller(place=f'S3 bucket "{place.bucket}"', remedy=_S3_REMEDY, clock=clock, ids=ids)
        self._table = AwsCaller(
            place=f'DynamoDB table "{place.table}"', remedy=_table_remedy(place.table), clock=clock, ids=ids
        )

    @property
    def store(self) -> str:
        """Which S3 this is; see `store_of`."""
        return store_of(self._found)

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests were sent, by operation."""
        return self._bucket.requests + self._table.requests

    def server_time_s(self) -> float | None:
        """Return AWS's own clock in seconds since 1970; None before the first answer."""
        return self._table.server_time_s() or self._bucket.server_time_s()

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(
            type="s3",
            address=f"s3://{self.place.path}",
            workspace=self._found.workspace,
            locking=self.place.locking,
            settings=self._found.origins,
            lock_path=self.place.path,
        )

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`. The objects are listed as `terraform workspace list` does."""
        key, prefix = str(self._found.text("key")).strip("/"), f"{self._found.text('workspace_key_prefix')}/"
        names = {key: "default"}
        marker: dict[str, Any] = {}
        listed: list[str] = []
        for start in (key, prefix):
            while True:
                page = await self._bucket.call(
                    self.s3.list_objects_v2, Bucket=self.place.bucket, Prefix=start, **marker
                )
                listed += [str(row["Key"]) for row in page.get("Contents", ())]
                marker = {"ContinuationToken": page["NextContinuationToken"]} if page.get("IsTruncated") else {}
                if not marker:
                    break
        names |= {one: space for one in listed if (space := _space_in(one, prefix, key))}
        return tuple(sorted({names[one] for one in listed if one in names}))

    async def billing_mode(self) -> str:
        """Return the table's billing mode: `PAY_PER_REQUEST` or `PROVISIONED`. One request; needs DescribeTable."""
        answer = await self._table.call(
            self.dynamodb.describe_table,  # type: ignore[union-attr] # only called with a table
            TableName=self.place.table,
        )
        return str(answer["Table"].get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"))

    # -- locks ------------------------------------------------------------------------------------------------------

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`. One request a mechanism."""
        found = await asyncio.gather(*(self._read_lock(mechanism) for mechanism in self.place.locking))
        return tuple(lock for lock in found if lock is not None)

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`."""
        if lock.mechanism == "dynamodb":
            await self._delete_item(lock)
        else:
            await self._delete_lockfile(lock)

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`. The order is Terraform's, so that we never hold one and wait for the other.

        A state whose configuration locks with nothing is not locked; then the locks are empty.
        """
        taken: list[TerraformLock] = []
        raw = render_lock_info(info)
        try:
            for mechanism in self.place.locking:
                taken.append(await self._take(mechanism, info, raw))  # noqa: PERF401 - what was taken must be known when the next fails
        except InterlockError:
            for lock in taken:
                await self.delete_lock(lock)
            raise
        return HeldTerraformLock(info=info, locks=tuple(taken))

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`. Each is tried even when another fails."""
        failures: list[InterlockError] = []
        for lock in held.locks:
            try:
                await self.delete_lock(lock)
            except TerraformLockMoved as moved:  # a look before each would be a request more
                if await self._is_there(lock.mechanism):
                    failures.append(moved)
            except InterlockError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _is_there(self, mechanism: str) -> bool:
        try:
            return await self._read_lock(mechanism) is not None
        except InterlockError:
            return True  # nobody knows

    def write_under(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.write_under`. A write names no lock."""

    async def _read_lock(self, mechanism: str) -> TerraformLock | None:
        return await (self._read_item() if mechanism == "dynamodb" else self._read_lockfile())

    async def _take(self, mechanism: str, info: LockInfo, raw: bytes) -> TerraformLock:
        """Take one lock; a refusal by our own earlier attempt, whose answer was lost, is success."""
        lock = await (self._put_item(raw) if mechanism == "dynamodb" else self._put_lockfile(raw))
        if lock is None or lock.raw != raw:
            raise held_by(lock, self.place.path) if lock is not None else _gone(self.place.path)
        assert lock.id == info.id
        return lock

    async def _read_item(self) -> TerraformLock | None:
        item = await self._item(self.place.path)
        if item is None:
            return None
        return self._item_lock(item)

    def _item_lock(self, item: Mapping[str, Any]) -> TerraformLock:
        raw = str(item.get("Info", {}).get("S", "")).encode()
        place = f'DynamoDB table "{self.place.table}", LockID {self.place.path}'
        return replace(foreign_lock(raw, mechanism="dynamodb", place=place), condition="" if raw else _odd_info(item))

    async def _put_item(self, raw: bytes) -> TerraformLock | None:
        """Write the lock item if there is none; return the one that is there now."""
        try:
            await self._table.call(
                self.dynamodb.put_item,  # type: ignore[union-attr] # only called with a table
                answers=_REFUSED,
                TableName=self.place.table,
                Item={"LockID": {"S": self.place.path}, "Info": {"S": raw.decode()}},
                ConditionExpression="attribute_not_exists(LockID)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except Refused as refusal:
            item = refusal.answer.get("Item")
            return self._item_lock(item) if item else await self._read_item()
        return self._item_lock({"Info": {"S": raw.decode()}})

    async def _delete_item(self, lock: TerraformLock) -> None:
        stored: Mapping[str, Any] = {"S": lock.raw.decode()}
        if lock.condition:  # no text: what is compared is what is there, when it still is what was judged
            item = await self._item(self.place.path) or {}
            if _odd_info(item) != lock.condition:
                raise _moved(lock, self._item_lock(item) if item else None)
            stored = item["Info"]
        condition: dict[str, Any] = (
            {
                "ConditionExpression": "#i = :i",
                "ExpressionAttributeNames": {"#i": "Info"},
                "ExpressionAttributeValues": {":i": stored},
            }
            if lock.raw or lock.condition
            else {"ConditionExpression": "attribute_not_exists(#i)", "ExpressionAttributeNames": {"#i": "Info"}}
        )
        try:
            await self._table.call(
                self.dynamodb.delete_item,  # type: ignore[union-attr] # only called with a table
                answers=_REFUSED,
                TableName=self.place.table,
                Key={"LockID": {"S": self.place.path}},
                **condition,
            )
        except Refused as refusal:
            current = await self._read_item()
            if current is None and refusal.may_be_ours:
                return
            raise _moved(lock, current) from None

    async def _read_lockfile(self) -> TerraformLock | None:
        try:
            answer = await self._bucket.call(
                self.s3.get_object, answers=_ABSENT, **self._lock_object(), **self.place.read()
            )
        except Refused:
            return None
        lock = self._file_lock(answer["Body"], str(answer.get("ETag", "")))
        return replace(lock, modified_at=answer.get("LastModified"))

    def _file_lock(self, raw: bytes, etag: str) -> TerraformLock:
        place = f"s3://{self.place.path}{LOCK_SUFFIX}"
        return replace(foreign_lock(raw, mechanism="lockfile", place=place), condition=etag)

    async def _put_lockfile(self, raw: bytes) -> TerraformLock | None:
        try:
            answer = await self._bucket.call(
                self.s3.put_object,
                answers=_NOT_MET,
                Body=raw,
                IfNoneMatch="*",
                **self._lock_object(),
                **self.place.written(),
            )
        except Refused:
            return await self._read_lockfile()
        return self._file_lock(raw, str(answer.get("ETag", "")))

    async def _delete_lockfile(self, lock: TerraformLock) -> None:
        current = await self._read_lockfile()
        if current is None or current.raw != lock.raw:
            raise _moved(lock, current)
        try:
            await self._bucket.call(
                self.s3.delete_object,
                answers=_NOT_MET | _ABSENT | _UNCONDITIONAL,
                IfMatch=current.condition,
                **self._lock_object(),
            )
        except Refused as refusal:
            if refusal.code in _UNCONDITIONAL:  # a service that cannot: what was read a moment ago must do
                await self._bucket.call(self.s3.delete_object, **self._lock_object())
                return
            now = await self._read_lockfile()
            if now is not None or not refusal.may_be_ours:
                raise _moved(lock, now) from None

    # -- state ------------------------------------------------------------------------------------------------------

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`. The object first, then the digest, as Terraform does."""
        try:
            answer = await self._bucket.call(
                self.s3.get_object, answers=_ABSENT, **self._state_object(), **self.place.read()
            )
        except Refused:
            digest = await self._read_digest()
            return None if not digest else StoredState(body=b"", digest_stored=digest, is_absent=True)
        body: bytes = answer["Body"]
        return StoredState(
            body=body,
            version_id=str(answer.get("VersionId", "")),
            modified_at=answer.get("LastModified"),
            digest_stored=await self._read_digest(),
            digest_computed=md5_of(body),
            condition=str(answer.get("ETag", "")),
        )

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`. The object under its ETag, then the digest under its old value."""
        there = expected is not None and not expected.is_absent
        condition = {"IfMatch": expected.condition} if expected and there else {"IfNoneMatch": "*"}
        try:
            await self._bucket.call(
                self.s3.put_object,
                answers=_NOT_MET | _ABSENT,
                Body=body,
                **self._state_object(),
                **self.place.written(),
                **condition,
            )
        except Refused as refusal:
            current = await self.read_state()
            if not (refusal.may_be_ours and current is not None and current.body == body):
                raise _state_moved(self.place.path) from None
        await self._put_digest(md5_of(body), old=expected.digest_stored if expected else None)
        stored = await self.read_state()
        if stored is None or stored.body != body:
            raise _state_moved(self.place.path)
        return stored

    async def repair_digest(self, *, expected: StoredState) -> StoredState:
        """See `ExistingBackend.repair_digest`."""
        current = await self.read_state()
        if current is None or (current.body, current.is_absent, current.digest_stored) != (
            expected.body,
            expected.is_absent,
            expected.digest_stored,
        ):
            raise _state_moved(self.place.path)
        if not current.digest_agrees:
            await self._put_digest("" if current.is_absent else current.digest_computed, old=current.digest_stored)
        return replace(current, digest_stored="" if current.is_absent else current.digest_computed)

    async def history(self) -> tuple[StateVersion, ...]:
        """See `ExistingBackend.history`."""
        rows: list[StateVersion] = []
        marker: dict[str, Any] = {}
        while len(rows) < HISTORY_MAX:
            page = await self._bucket.call(
                self.s3.list_object_versions, Bucket=self.place.bucket, Prefix=self.place.key, **marker
            )
            rows += self._rows(page)
            if not page.get("IsTruncated"):
                break
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        return tuple(sorted(rows, key=lambda row: (row.current, row.modified_at), reverse=True)[:HISTORY_MAX])

    def _rows(self, page: Mapping[str, Any]) -> list[StateVersion]:
        return [
            StateVersion(
                id=str(row["VersionId"]),
                modified_at=row.get("LastModified"),
                size=int(row.get("Size", 0)),
                current=bool(row.get("IsLatest")),
                is_deletion=deletion,
            )
            for kind, deletion in (("Versions", False), ("DeleteMarkers", True))
            for row in page.get(kind, ())
            if row["Key"] == self.place.key
        ]

    async def read_version(self, version_id: str) -> bytes:
        """See `ExistingBackend.read_version`."""
        try:
            answer = await self._bucket.call(
                self.s3.get_object,
                answers=_NO_VERSION,
                VersionId=version_id,
                **self._state_object(),
                **self.place.read(),
            )
        except Refused as refusal:
            raise UsageError(
                f"s3://{self.place.path} has no version {version_id}",
                why=refusal.code,
                fix=command("state", "history", THIS_STATE),
            ) from None
        return bytes(answer["Body"])

    async def close(self) -> None:
        """See `ExistingBackend.close`."""
        await asyncio.gather(self._bucket.close(), self._table.close())

    async def _item(self, lock_id: str) -> Mapping[str, Any] | None:
        answer = await self._table.call(
            self.dynamodb.get_item,  # type: ignore[union-attr] # only called with a table
            TableName=self.place.table,
            Key={"LockID": {"S": lock_id}},
            ConsistentRead=True,
        )
        item: Mapping[str, Any] | None = answer.get("Item")
        return item

    async def _read_digest(self) -> str | None:
        if self.place.table is None:
            return None
        item = await self._item(self.place.path + DIGEST_SUFFIX)
        return None if item is None else str(item.get("Digest", {}).get("S", ""))

    async def _put_digest(self, digest: str, *, old: str | None) -> None:
        """Store a digest if the old one is still there; Terraform reads an empty one as none."""
        if self.place.table is None or digest == old:
            return
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(LockID)"}
        if old is not None:
            condition = {
                "ConditionExpression": "attribute_not_exists(LockID) OR #d IN (:old, :new)",
                "ExpressionAttributeNames": {"#d": "Digest"},
                "ExpressionAttributeValues": {":old": {"S": old}, ":new": {"S": digest}},
            }
        if (
            old == ""
        ):  # Terraform reads an item without a digest, or with one that is not text, as it reads an empty one
            condition["ConditionExpression"] += " OR NOT attribute_type(#d, :text)"
            condition["ExpressionAttributeValues"][":text"] = {"S": "S"}
        try:
            await self._table.call(
                self.dynamodb.put_item,  # type: ignore[union-attr] # only called with a table
                answers=_REFUSED,
                TableName=self.place.table,
                Item={"LockID": {"S": self.place.path + DIGEST_SUFFIX}, "Digest": {"S": digest}},
                **condition,
            )
        except Refused:
            if await self._read_digest() != digest:
                raise _state_moved(self.place.path) from None

    def _state_object(self) -> dict[str, Any]:
        return {"Bucket": self.place.bucket, "Key": self.place.key}

    def _lock_object(self) -> dict[str, Any]:
        return {"Bucket": self.place.bucket, "Key": self.place.key + LOCK_SUFFIX}


def _odd_info(item: Mapping[str, Any]) -> str:
    """Spell an `Info` that is empty or no text, so that it is known again; empty when there is none."""
    return json.dumps(item["Info"], sort_keys=True, default=repr) if "Info" in item else ""


def _gone(path: str) -> LockHeld:
    return LockHeld(f"{path} was locked and freed while we tried", fix="try again", lock_id="", who="")


def _moved(lock: TerraformLock, current: TerraformLock | None) -> TerraformLockMoved:
    now = "it is not locked now" if current is None else f"{current.who or 'somebody'} holds it now ({current.id})"
    return TerraformLockMoved(
        f"lock {lock.id or '?'} is not there any more",
        why=f"{lock.place}: {now}; nothing was deleted",
        fix=command("lock", "show", THIS_STATE),
        lock_id=current.id if current else "",
    )


def _state_moved(path: str) -> TerraformLockMoved:
    return TerraformLockMoved(
        f"s3://{path} changed while it was to be written",
        why="somebody else wrote state or digest in between",
        fix=f"{command('state', 'history', THIS_STATE)}, then try again",
    )


_S3_REMEDY = "run fewer pipelines at once, or spread the states over several buckets"


def _table_remedy(table: str | None) -> str:
    return (
        "use on-demand billing, or raise the write and read capacity: "
        f"aws dynamodb update-table --table-name {table} --billing-mode PAY_PER_REQUEST"
    )
