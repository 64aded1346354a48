"""Records in the DynamoDB table in which Terraform keeps its locks.

A hand. The table has only the partition key `LockID`. Our items begin with `interlock:`; Terraform's are
`<bucket>/<key>` and `<bucket>/<key>-md5`, and no bucket name contains a colon, so they can never be the same.

    LockID          interlock:<namespace>:<key>
    Version         a number drawn by chance for each write (52 bits)
    Value           the bytes
    Sum             their checksum, see `checksums.py`; items of earlier releases have none
    ExpirationTime  seconds since 1970, renewed by each write; only when the store was given `expires_s`

Since a version is drawn before the write, a write whose reply got lost is recognised by it: when the repeated
request is refused and the stored version is ours, the first one had succeeded. A deletion leaves nothing to recognise;
when its reply got lost and the item is gone, it counts as done.

The names of all keys of a namespace are kept in one more item, `interlock-keys:<namespace>`, written in the same
transaction as a record that is made or deleted (not by the swaps in between). So a list costs one request and one more
a record, never a scan of the table, and GetItem, PutItem and DeleteItem are all permissions that are needed
(transactions ask for no others). That item never expires; keys whose record was removed by the table's TTL are dropped
from it by the next list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import zstandard

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, UsageError
from interlock.ids import Ids
from interlock.store.aws import AwsCaller, Refused
from interlock.store.checksums import check_record, record_sum
from interlock.store.polled import PolledWatch, RecordsWatchedByLooking
from interlock.store.polling import Pace, Polling
from interlock.store.records import (
    LIST_LIMIT_MAX,
    VALUE_BYTES_MAX,
    Mismatch,
    Record,
    check_key,
    check_limit,
    check_prefix,
    check_value,
)

NAMESPACE_BYTES_MAX = 256

_VERSION_BITS = 52  # exact in every JSON reader; two of a million versions of one key collide once in 9,000 such keys
_NAMES_BYTES_MAX = 64 * 1024 * 1024  # of the names when expanded; a damaged item must not exhaust memory
_CREATE_ATTEMPTS_MAX = 20  # each is lost only against another creation or deletion in the same namespace
_REFUSED = frozenset({"ConditionalCheckFailedException"})
_CANCELLED = frozenset({"TransactionCanceledException"})
_CHECK_FAILED = "ConditionalCheckFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """The names of all keys of the namespace, and the version of the item that holds them (None: no item)."""

    version: int | None
    keys: frozenset[str]


class DynamoRecords(RecordsWatchedByLooking):
    """A `RecordStore` in a DynamoDB table with the partition key `LockID` (a string).

    Args:
        client: The SDK's client, from `aws.connect("dynamodb", ...)`.
        table: The table's name.
        namespace: Keeps apart what must not meet in one table, such as the buckets that share it.
        expires_s: How long after its last write the table's TTL may remove a record, or what says so for a value; None
            for never. Must be longer than any lease. A removed record starts anew, so do not let records expire whose
            history matters.
    """

    def __init__(
        self,
        client: Any,
        *,
        table: str,
        namespace: str = "",
        expires_s: float | Callable[[bytes], float | None] | None = None,
        polling: Pace | None = None,
        clock: Clock,
        ids: Ids,
    ) -> None:
        _check_namespace(namespace)
        self._client = client
        self._table = table
        self._prefix = f"interlock:{quote(namespace, safe='/')}:"
        self._names_id = f"interlock-keys:{quote(namespace, safe='/')}"
        self._expires_s = expires_s
        self._clock = clock
        self._caller = AwsCaller(place=f'DynamoDB table "{table}"', remedy=_remedy(table), clock=clock, ids=ids)
        super().__init__(PolledWatch(clock=clock, polling=polling or Polling(), fraction=self._caller.fraction))

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests were sent, by operation."""
        return self._caller.requests

    def server_time_s(self) -> float | None:
        """Return what AWS's clock says now, in seconds since 1970; None before its first answer."""
        return self._caller.server_time_s()

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`. One strongly consistent read."""
        check_key(key)
        return self._record(key, await self._item(self._prefix + key))

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """See `RecordStore.swap`. One conditional write; making and deleting a key are a read and a transaction."""
        check_key(key)
        check_value(key, value)
        try:
            if expected is None:
                return await self._delete_absent(key) if value is None else await self._create(key, value)
            return await (self._delete(key, expected) if value is None else self._replace(key, expected, value))
        finally:
            self._watch.ring(key)

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """See `RecordStore.replace_damaged`. A read and a conditional write."""
        check_key(key)
        check_value(key, value)
        item = await self._item(self._prefix + key)
        try:
            current = self._record(key, item)
        except BackendUnavailable:
            version = self._caller.draw(_VERSION_BITS) + 1
            await self._put_over(self._written(key, version, value), (item or {}).get("Version"))
            self._watch.ring(key)
            return version
        raise Mismatch(key, expected=None, current=current)

    async def _put_over(self, item: dict[str, Any], version: object) -> None:
        """Write an item over a damaged one that still has the version it was seen with; None: it has none.

        Raises:
            Mismatch: Somebody was first.
        """
        names = {"#v": "Version"}
        condition: dict[str, Any] = {"ConditionExpression": "#v = :v", "ExpressionAttributeValues": {":v": version}}
        if version is None:
            condition = {"ConditionExpression": "attribute_not_exists(#v)"}
        put = {"TableName": self._table, "Item": item, "ExpressionAttributeNames": names, **condition}
        try:
            await self._caller.call(self._client.put_item, answers=_REFUSED, **put)
        except Refused:
            key = str(item["LockID"]["S"]).removeprefix(self._prefix)
            current = await self.get(key)
            if current is None or str(current.version) != item["Version"]["N"]:
                raise Mismatch(key, expected=None, current=current) from None

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`. One request, and one for each record."""
        check_prefix(prefix)
        check_prefix(after)
        check_limit(limit)
        names = await self._read_names()
        wanted = sorted(key for key in names.keys if key.startswith(prefix) and key > after)
        records: list[Record] = []
        gone: set[str] = set()
        for start in range(0, len(wanted), limit):
            page = wanted[start : start + limit - len(records)]
            found = await asyncio.gather(*map(self.get, page))
            records += [record for record in found if record is not None]
            gone.update(key for key, record in zip(page, found, strict=True) if record is None)
            if len(records) >= limit:
                break
        if gone:
            await self._forget(names, gone)
        return records

    async def close(self) -> None:
        """See `RecordStore.close`."""
        await self._watch.close()
        await self._caller.close()

    async def _delete_absent(self, key: str) -> int:
        current = await self.get(key)
        if current is not None:
            raise Mismatch(key, expected=None, current=current)
        return 0

    async def _replace(self, key: str, expected: int, value: bytes) -> int:
        version = self._caller.draw(_VERSION_BITS) + 1
        try:
            await self._caller.call(
                self._client.put_item,
                answers=_REFUSED,
                TableName=self._table,
                Item=self._written(key, version, value),
                **_if_version(expected),
            )
        except Refused as refusal:
            current = await self._current(key, refusal.answer.get("Item"))
            if current is None or current.version != version:
                raise Mismatch(key, expected=expected, current=current) from None
        return version

    async def _create(self, key: str, value: bytes) -> int:
        version = self._caller.draw(_VERSION_BITS) + 1
        put = {"Put": {"TableName": self._table, "Item": self._written(key, version, value), **_if_absent()}}
        for attempt in range(_CREATE_ATTEMPTS_MAX):
            names = await self._read_names()
            try:
                await self._together(put, names, names.keys | {key})
            except Refused as refusal:
                if _refused_first(refusal):
                    current = await self._current(key, _first_item(refusal))
                    if current is not None and current.version == version:
                        return version
                    raise Mismatch(key, expected=None, current=current) from None
                await self._make_way(attempt)
            else:
                return version
        raise self._crowded(key)

    async def _delete(self, key: str, expected: int) -> int:
        delete = {
            "Delete": {"TableName": self._table, "Key": {"LockID": {"S": self._prefix + key}}, **_if_version(expected)}
        }
        may_be_ours = False
        for attempt in range(_CREATE_ATTEMPTS_MAX):
            names = await self._read_names()
            try:
                await self._together(delete, names, names.keys - {key})
            except Refused as refusal:
                may_be_ours = may_be_ours or refusal.may_be_ours
                if _refused_first(refusal):
                    current = await self._current(key, _first_item(refusal))
                    if current is None and may_be_ours:
                        return 0
                    raise Mismatch(key, expected=expected, current=current) from None
                await self._make_way(attempt)
            else:
                return 0
        raise self._crowded(key)

    async def _together(self, change: dict[str, Any], names: _Names, keys: frozenset[str]) -> None:
        """Make or delete a record together with the item of all names."""
        await self._caller.call(
            self._client.transact_write_items,
            answers=_CANCELLED,
            TransactItems=[change, {"Put": self._put_names(names, keys)}],
        )

    async def _make_way(self, attempt: int) -> None:
        await self._clock.sleep(self._caller.fraction() * min(1.0, 0.02 * 2**attempt))

    async def _current(self, key: str, item: Mapping[str, Any] | None) -> Record | None:
        """Return the record that refused us: from the answer, or else by asking."""
        return self._record(key, item) if item else await self.get(key)

    async def _item(self, lock_id: str) -> Mapping[str, Any] | None:
        answer = await self._caller.call(
            self._client.get_item, TableName=self._table, Key={"LockID": {"S": lock_id}}, ConsistentRead=True
        )
        item: Mapping[str, Any] | None = answer.get("Item")
        return item

    def _record(self, key: str, item: Mapping[str, Any] | None) -> Record | None:
        if item is None:
            return None
        try:
            stored, sum_ = int(item["Version"]["N"]), bytes(item["Sum"]["B"]) if "Sum" in item else None
            version, value = check_record(key, stored, bytes(item["Value"]["B"]), sum_)
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(self._prefix + key) from error
        return Record(key=key, version=version, value=value)

    def _written(self, key: str, version: int, value: bytes) -> dict[str, Any]:
        item = {
            "LockID": {"S": self._prefix + key},
            "Version": {"N": str(version)},
            "Value": {"B": value},
            "Sum": {"B": record_sum(key, version, value)},
        }
        expires_s = self._expires_s(value) if callable(self._expires_s) else self._expires_s
        if expires_s is not None:
            now_s = self._caller.server_time_s() or self._clock.now().timestamp()
            item["ExpirationTime"] = {"N": str(int(now_s + expires_s))}
        return item

    async def _read_names(self) -> _Names:
        item = await self._item(self._names_id)
        if item is None:
            return _Names(version=None, keys=frozenset())
        try:
            return _Names(version=int(item["Version"]["N"]), keys=_unpack_names(bytes(item["Names"]["B"])))
        except (KeyError, TypeError, ValueError, zstandard.ZstdError) as error:
            raise self._damaged(self._names_id) from error

    def _put_names(self, names: _Names, keys: frozenset[str]) -> dict[str, Any]:
        packed = _pack_names(keys)
        if len(packed) > VALUE_BYTES_MAX:
            raise UsageError(
                f'DynamoDB table "{self._table}" holds too many records',
                why=f"the names of {len(keys)} keys do not fit into one item",
                fix="delete what is no longer needed, or use a server: interlock serve",
            )
        item = {
            "LockID": {"S": self._names_id},
            "Version": {"N": str(self._caller.draw(_VERSION_BITS) + 1)},
            "Names": {"B": packed},
        }
        condition = _if_absent() if names.version is None else _if_version(names.version)
        return {"TableName": self._table, "Item": item, **condition}

    async def _forget(self, names: _Names, gone: set[str]) -> None:
        """Drop keys whose record the table's TTL removed; when something was made meanwhile, the next list does it."""
        try:
            put = self._put_names(names, names.keys - gone)
            await self._caller.call(self._client.put_item, answers=_REFUSED, **put)
        except Refused:
            return

    def _crowded(self, key: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"record {key!r} was not written",
            why=f"others made or deleted records in the same table {_CREATE_ATTEMPTS_MAX} times in between",
            fix="try again",
            key=key,
        )

    def _damaged(self, lock_id: str) -> BackendUnavailable:
        return BackendUnavailable(
            f'an item of DynamoDB table "{self._table}" is damaged',
            why=f"{lock_id} was not written by this version of Interlock",
            fix="look at it: aws dynamodb get-item, and delete it if nobody needs it",
            lock_id=lock_id,
        )


def _if_absent() -> dict[str, Any]:
    return {
        "ConditionExpression": "attribute_not_exists(LockID)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _if_version(version: int) -> dict[str, Any]:
    return {
        "ConditionExpression": "#v = :v",  # a placeholder, because names may become reserved words
        "ExpressionAttributeNames": {"#v": "Version"},
        "ExpressionAttributeValues": {":v": {"N": str(version)}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _refused_first(refusal: Refused) -> bool:
    reasons = refusal.answer.get("CancellationReasons") or [{}]
    return bool(reasons[0].get("Code") == _CHECK_FAILED)


def _first_item(refusal: Refused) -> Mapping[str, Any] | None:
    item: Mapping[str, Any] | None = refusal.answer["CancellationReasons"][0].get("Item")
    return item


def _pack_names(keys: frozenset[str]) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(
        "\n".join(sorted(keys)).encode()
    )  # keys have no control characters


def _unpack_names(packed: bytes) -> frozenset[str]:
    text = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_NAMES_BYTES_MAX).decode()
    return frozenset(text.split("\n")) if text else frozenset()


def _check_namespace(namespace: str) -> None:
    if namespace:
        check_key(namespace)
    if len(namespace.encode()) > NAMESPACE_BYTES_MAX:
        raise UsageError(
            "a namespace is not usable",
            why=f"it is longer than {NAMESPACE_BYTES_MAX} bytes",
            fix="name a shorter one",
        )


def _remedy(table: str) -> str:
    return (
        "use on-demand billing, or raise the write and read capacity: "
        f"aws dynamodb update-table --table-name {table} --billing-mode PAY_PER_REQUEST"
    )
