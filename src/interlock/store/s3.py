"""Records and blobs as objects in an S3 bucket.

A hand. Both live under a prefix of their own, `.interlock/` by default, where no state key of Terraform is.

Blobs are packed (`packing.py`, without differences: room is cheap there and a chain would make deletions dear) under
`<prefix>blobs/<digest>`. Records are for set-ups without a DynamoDB table, as Terraform's `use_lockfile` is: an object
`<prefix>records/<key>` is written only under `If-None-Match: *` or `If-Match: <ETag>`. Its body begins with the
version, a number drawn by chance, so no two bodies and no two ETags are equal, and a write whose reply got lost is
recognised; then comes the checksum (`checksums.py`), which objects of format 1 lack. A deleted record stays as a short
object that says so, because not every S3-compatible service deletes conditionally.

A bucket with versioning keeps every write of a record; give the prefix a lifecycle rule for old versions. Needed
permissions: ListBucket, GetObject, PutObject, DeleteObject; without ListBucket, S3 calls an absent object forbidden.
"""

from __future__ import annotations

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, UsageError
from interlock.ids import Ids
from interlock.store.aws import AwsCaller, Refused
from interlock.store.blobs import BlobDamaged, BlobMissing, blob_digest, check_blob, check_digest
from interlock.store.checksums import SUM_BYTES, RecordDamaged, record_sum
from interlock.store.packing import HEADER_BYTES, Unpackable, pack, read_header, unpack
from interlock.store.polled import PolledWatch
from interlock.store.polling import Pace, Polling
from interlock.store.records import (
    LIST_LIMIT_MAX,
    Mismatch,
    Record,
    check_key,
    check_limit,
    check_prefix,
    check_value,
)

PREFIX_BYTES_MAX = 400
"""Longest prefix; an object name has 1024 bytes, which also hold a key."""

DEFAULT_PREFIX = ".interlock/"

_VERSION_BITS = 52  # exact in every JSON reader
_HEADER = struct.Struct("<3sBBQ")
_MAGIC = b"ILR"
_FORMAT_WITHOUT_SUM, _FORMAT = 1, 2
_LIVE, _DELETED = 0, 1
_ETAGS_MAX = 4096
_SWAP_ATTEMPTS_MAX = 10  # each is lost only against another write of the same record
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_NOT_MET = frozenset({"PreconditionFailed", "412"})
_REMEDY = "run fewer pipelines at once, or spread the states over several buckets"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """Where objects are kept, and how.

    Attributes:
        bucket: The bucket's name.
        prefix: Before every object's name; ends with a slash.
        kms_key: Encrypt with this KMS key; None for the bucket's default.
    """

    bucket: str
    prefix: str = DEFAULT_PREFIX
    kms_key: str | None = None

    def __post_init__(self) -> None:
        """Refuse a prefix under which a key may not fit.

        Raises:
            UsageError: It is too long, or does not end with a slash.
        """
        if len(self.prefix.encode()) > PREFIX_BYTES_MAX or (self.prefix and not self.prefix.endswith("/")):
            raise UsageError(
                "a prefix in an S3 bucket is not usable",
                why=f"it must end with a slash and have at most {PREFIX_BYTES_MAX} bytes",
                fix="name another one, such as .interlock/",
            )

    def object(self, name: str) -> dict[str, Any]:
        """Return the arguments that name an object."""
        return {"Bucket": self.bucket, "Key": self.prefix + name}

    def encryption(self) -> dict[str, Any]:
        """Return the arguments that encrypt an object."""
        return {} if self.kms_key is None else {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """An object as it is: its ETag, its version, and its value (None: deleted)."""

    etag: str
    version: int
    value: bytes | None


class S3Records:
    """A `RecordStore` of objects that are written conditionally.

    Args:
        client: The SDK's client, from `aws.connect("s3", ...)`.
        place: Bucket and prefix.
        polling: How often to look for a change.
    """

    def __init__(self, client: Any, *, place: S3Place, polling: Pace | None = None, clock: Clock, ids: Ids) -> None:
        self._client = client
        self._place = place
        self._caller = AwsCaller(place=f'S3 bucket "{place.bucket}"', remedy=_REMEDY, clock=clock, ids=ids)
        self._watch = PolledWatch(clock=clock, polling=polling or Polling(), fraction=self._caller.fraction)
        self._etags: OrderedDict[str, tuple[int, str]] = OrderedDict()

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests were sent, by operation."""
        return self._caller.requests

    def server_time_s(self) -> float | None:
        """Return what AWS's clock says now, in seconds since 1970; None before its first answer."""
        return self._caller.server_time_s()

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`. One request."""
        check_key(key)
        return _record(key, await self._read(key))

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """See `RecordStore.swap`. One conditional write, and a read when this process did not see the version."""
        check_key(key)
        check_value(key, value)
        try:
            return await self._swap(key, expected, value)
        finally:
            self._watch.ring(key)

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """See `RecordStore.replace_damaged`. A read and a conditional write."""
        check_key(key)
        check_value(key, value)
        version = self._caller.draw(_VERSION_BITS) + 1
        for _ in range(_SWAP_ATTEMPTS_MAX):
            found = await self._object_of(key)
            try:
                current = None if found is None else _record(key, self._stored(key, *found))
            except BackendUnavailable:
                if found is not None and await self._write(key, version, value, etag=found[1]):
                    self._watch.ring(key)
                    return version
                continue
            if current is not None and current.version == version:  # our own write, whose reply got lost
                return version
            raise Mismatch(key, expected=None, current=current)
        raise self._restless(key)

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`. One request for a thousand names, and one for each record, deleted ones too."""
        check_prefix(prefix)
        check_prefix(after)
        check_limit(limit)
        self._caller.check_open()
        records: list[Record] = []
        while len(records) < limit:
            names = await self._names(prefix, after=after, limit=limit)
            if not names:
                break
            found = await asyncio.gather(*map(self.get, names))
            records += [record for record in found if record is not None]
            after = names[-1]
        return records[:limit]

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """See `RecordStore.watch`. Looks at the pace of `polling`."""
        check_key(key)
        return await self._watch.record(key, self.get, seen=seen, timeout_s=timeout_s)

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """See `RecordStore.watch_prefix`. Each look costs as much as a list."""
        check_prefix(prefix)
        return await self._watch.prefix(lambda: self._all(prefix), seen=seen, timeout_s=timeout_s)

    async def close(self) -> None:
        """See `RecordStore.close`."""
        self._watch.ring_all()
        await self._caller.close()

    async def _all(self, prefix: str) -> Sequence[Record]:
        records: list[Record] = []
        while page := await self.list(prefix, after=records[-1].key if records else ""):
            records += page
            if len(page) < LIST_LIMIT_MAX:
                break
        return records

    async def _swap(self, key: str, expected: int | None, value: bytes | None) -> int:
        version = self._caller.draw(_VERSION_BITS) + 1
        known = self._etags.get(key)
        etag = known[1] if known and known[0] == expected else None
        is_seen = etag is not None or (expected is None and value is not None)  # try to create without reading first
        for _ in range(_SWAP_ATTEMPTS_MAX):
            if is_seen and await self._write(key, version, value, etag=etag):
                return 0 if value is None else version
            current = await self._read(key)
            if current is not None and current.version == version:  # our own write, whose reply got lost
                return 0 if value is None else version
            record = _record(key, current)
            if (None if record is None else record.version) != expected:
                raise Mismatch(key, expected=expected, current=record)
            if record is None and value is None:
                return 0
            etag = None if current is None else current.etag
            is_seen = True
        raise self._restless(key)

    async def _write(self, key: str, version: int, value: bytes | None, *, etag: str | None) -> bool:
        """Write the record if the object has this ETag (None: if there is no object); say whether it was written."""
        kind = _DELETED if value is None else _LIVE
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            answer = await self._caller.call(
                self._client.put_object,
                answers=_NOT_MET | _ABSENT,
                Body=_HEADER.pack(_MAGIC, _FORMAT, kind, version) + record_sum(key, version, value) + (value or b""),
                **self._object(key),
                **self._place.encryption(),
                **condition,
            )
        except Refused:
            return False
        self._remember(key, version, answer["ETag"])
        return True

    async def _read(self, key: str) -> _Stored | None:
        found = await self._object_of(key)
        if found is None:
            return None
        stored = self._stored(key, *found)
        self._remember(key, stored.version, stored.etag)
        return stored

    async def _object_of(self, key: str) -> tuple[bytes, str] | None:
        """Return the bytes that stand for a record, and their ETag; None when there is no object."""
        try:
            answer = await self._caller.call(self._client.get_object, answers=_ABSENT, **self._object(key))
        except Refused:
            return None
        return answer["Body"], answer["ETag"]

    def _stored(self, key: str, body: bytes, etag: str) -> _Stored:
        version, value = self._unpacked(key, body)
        return _Stored(etag=etag, version=version, value=value)

    def _unpacked(self, key: str, body: bytes) -> tuple[int, bytes | None]:
        """Return version and value of an object, None for a deleted record.

        Raises:
            RecordDamaged: It is not what was written.
            BackendUnavailable: It is none of ours, or of a newer release.
        """
        if len(body) < _HEADER.size or not body.startswith(_MAGIC):
            raise self._damaged(key)
        _, form, kind, version = _HEADER.unpack_from(body)
        if form not in {_FORMAT, _FORMAT_WITHOUT_SUM} or kind not in {_LIVE, _DELETED}:
            raise self._damaged(key)
        start = _HEADER.size + (SUM_BYTES if form == _FORMAT else 0)
        value = body[start:] if kind == _LIVE else None
        if form == _FORMAT and body[_HEADER.size : start] != record_sum(key, version, value):
            raise RecordDamaged(key)
        if kind == _DELETED and body[start:]:  # else a damaged kind would make a record seem absent
            raise RecordDamaged(key, why="it says that it was deleted, and has a value all the same")
        return version, value

    async def _names(self, prefix: str, *, after: str, limit: int) -> Sequence[str]:
        """Return keys of this prefix behind `after`, in order; S3 sorts by UTF-8 too."""
        start = {"StartAfter": self._object(after)["Key"]} if after else {}
        answer = await self._caller.call(
            self._client.list_objects_v2,
            Bucket=self._place.bucket,
            Prefix=self._object(prefix)["Key"],
            MaxKeys=limit,
            **start,
        )
        root = len(self._object("")["Key"])
        return [found["Key"][root:] for found in answer.get("Contents", ())]

    def _object(self, key: str) -> dict[str, Any]:
        return self._place.object(f"records/{key}")

    def _remember(self, key: str, version: int, etag: str) -> None:
        self._etags[key] = (version, etag)
        self._etags.move_to_end(key)
        if len(self._etags) > _ETAGS_MAX:
            self._etags.popitem(last=False)

    def _restless(self, key: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"record {key!r} was not written",
            why=f"it changed {_SWAP_ATTEMPTS_MAX} times in between",
            fix="try again",
            key=key,
        )

    def _damaged(self, key: str) -> BackendUnavailable:
        name = self._object(key)["Key"]
        return BackendUnavailable(
            f'an object of S3 bucket "{self._place.bucket}" is damaged',
            why=f"{name} was not written by this version of Interlock",
            fix=f"look at it: aws s3 cp 's3://{self._place.bucket}/{name}' -",
            object=name,
        )


class S3Blobs:
    """A `BlobStore` of packed objects.

    Args:
        client: The SDK's client, from `aws.connect("s3", ...)`.
        place: Bucket and prefix.
    """

    def __init__(self, client: Any, *, place: S3Place, clock: Clock, ids: Ids) -> None:
        self._client = client
        self._place = place
        self._caller = AwsCaller(place=f'S3 bucket "{place.bucket}"', remedy=_REMEDY, clock=clock, ids=ids)

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests were sent, by operation."""
        return self._caller.requests

    async def put(self, data: bytes, *, like: str | None = None) -> str:
        """See `BlobStore.put`. `like` is ignored. A read, and a write unless the same bytes came back."""
        check_blob(data, like=like)
        digest = await self._caller.run(lambda: blob_digest(data))
        if not await self._can_read(digest):  # else a bucket with versioning would keep the same bytes twice
            packed = await self._caller.run(lambda: pack(data))
            await self._caller.call(
                self._client.put_object, Body=packed, **self._object(digest), **self._place.encryption()
            )
        return digest

    async def _can_read(self, digest: str) -> bool:
        """Say whether `get` would give the blob. An object of this name may hold anything, so it is read."""
        try:
            await self.get(digest)
        except (BlobMissing, BlobDamaged):
            return False
        return True

    async def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        packed = await self._read(digest)
        return await self._caller.run(lambda: _unpacked(digest, packed))

    async def has(self, digest: str) -> bool:
        """See `BlobStore.has`."""
        check_digest(digest)
        try:
            await self._caller.call(self._client.head_object, answers=_ABSENT, **self._object(digest))
        except Refused:
            return False
        return True

    async def delete(self, digest: str) -> None:
        """See `BlobStore.delete`. A bucket with versioning keeps the old version."""
        check_digest(digest)
        await self._caller.call(self._client.delete_object, **self._object(digest))

    async def size(self, digest: str) -> int:
        """See `BlobStore.size`. Reads the header alone."""
        head = await self._read(digest, Range=f"bytes=0-{HEADER_BYTES - 1}")
        try:
            return read_header(head).plain_bytes
        except Unpackable as error:
            raise BlobDamaged(digest, why=str(error)) from error

    async def close(self) -> None:
        """See `BlobStore.close`."""
        await self._caller.close()

    async def _read(self, digest: str, **arguments: Any) -> bytes:
        check_digest(digest)
        try:
            answer = await self._caller.call(
                self._client.get_object, answers=_ABSENT, **self._object(digest), **arguments
            )
        except Refused:
            raise BlobMissing(digest) from None
        return bytes(answer["Body"])

    def _object(self, digest: str) -> dict[str, Any]:
        return self._place.object(f"blobs/{digest}")


def _record(key: str, stored: _Stored | None) -> Record | None:
    if stored is None or stored.value is None:
        return None
    return Record(key=key, version=stored.version, value=stored.value)


def _unpacked(digest: str, packed: bytes) -> bytes:
    try:
        data = unpack(packed)
    except Unpackable as error:
        raise BlobDamaged(digest, why=str(error)) from error
    if blob_digest(data) != digest:
        raise BlobDamaged(digest)
    return data
