"""Records and blobs as objects in an S3 bucket.

A hand. Both live under a prefix of their own, `.interlock/` by default, where no state key of Terraform is.

Blobs are packed (`packing.py`, without differences: room is cheap there and a chain would make deletions dear) under
`<prefix>blobs/<digest>`. Records are for set-ups without a DynamoDB table, as Terraform's `use_lockfile` is: an object
`<prefix>records/<key>` is written only under `If-None-Match: *` or `If-Match: <ETag>` (`conditional.py`).

A bucket with versioning keeps every write of a record; give the prefix a lifecycle rule for old versions. Needed
permissions: ListBucket, GetObject, PutObject, DeleteObject; without ListBucket, S3 calls an absent object forbidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.clock import Clock
from interlock.errors import UsageError
from interlock.ids import Ids
from interlock.store.aws import AwsCaller, Refused
from interlock.store.blobs import BlobDamaged, BlobHead, BlobMissing, blob_digest, check_blob, check_digest
from interlock.store.conditional import ConditionalRecords
from interlock.store.packing import (
    HEAD_BYTES,
    HEADER_BYTES,
    Unpackable,
    pack,
    read_header,
    seal_packed,
    sealed_by,
    unpack_chain,
)
from interlock.store.polling import Pace, Polling
from interlock.store.records import LIST_LIMIT_MAX
from interlock.store.sealing import Sealer

PREFIX_BYTES_MAX = 400
"""Longest prefix; an object name has 1024 bytes, which also hold a key."""

DEFAULT_PREFIX = ".interlock/"

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


class S3Records(ConditionalRecords):
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
        super().__init__(
            title=f'S3 bucket "{place.bucket}"',
            polling=polling or Polling(),
            clock=clock,
            draw=self._caller.draw,
        )

    @property
    def requests(self) -> Mapping[str, int]:
        """How many requests were sent, by operation."""
        return self._caller.requests

    def server_time_s(self) -> float | None:
        """Return what AWS's clock says now, in seconds since 1970; None before its first answer."""
        return self._caller.server_time_s()

    async def close(self) -> None:
        """See `RecordStore.close`."""
        await super().close()
        await self._caller.close()

    async def _object_of(self, key: str) -> tuple[bytes, str] | None:
        try:
            answer = await self._caller.call(self._client.get_object, answers=_ABSENT, **self._object(key))
        except Refused:
            return None
        return answer["Body"], answer["ETag"]

    async def _put(self, key: str, body: bytes, *, mark: str | None) -> str | None:
        condition = {"IfNoneMatch": "*"} if mark is None else {"IfMatch": mark}
        try:
            answer = await self._caller.call(
                self._client.put_object,
                answers=_NOT_MET | _ABSENT,
                Body=body,
                **self._object(key),
                **self._place.encryption(),
                **condition,
            )
        except Refused:
            return None
        return str(answer["ETag"])

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

    def _where(self, key: str) -> str:
        return str(self._object(key)["Key"])

    def _look_at(self, key: str) -> str:
        return f"look at it: aws s3 cp 's3://{self._place.bucket}/{self._where(key)}' -"

    def _object(self, key: str) -> dict[str, Any]:
        return self._place.object(f"records/{key}")


class S3Blobs:
    """A `BlobStore` of packed objects; `SealableBlobs` too.

    Args:
        client: The SDK's client, from `aws.connect("s3", ...)`.
        place: Bucket and prefix.
    """

    def __init__(self, client: Any, *, place: S3Place, clock: Clock, ids: Ids) -> None:
        self.sealer: Sealer | None = None
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
            await self._write(digest, data)
        return digest

    async def _write(self, digest: str, data: bytes) -> None:
        packed = await self._caller.run(lambda: seal_packed(pack(data), digest, self.sealer))
        await self._caller.call(
            self._client.put_object, Body=packed, **self._object(digest), **self._place.encryption()
        )

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
        return await self._caller.run(lambda: _unpacked(digest, packed, self.sealer))

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

    async def heads(self, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[BlobHead]:
        """See `SealableBlobs.heads`. A request for each."""
        start = {"StartAfter": self._object(after)["Key"]} if after else {}
        prefix = self._object("")["Key"]
        answer = await self._caller.call(
            self._client.list_objects_v2, Bucket=self._place.bucket, Prefix=prefix, MaxKeys=limit, **start
        )
        digests = [found["Key"].removeprefix(prefix) for found in answer.get("Contents", ())]
        return [BlobHead(digest=digest, sealed_by=sealed_by(await self._start_of(digest))) for digest in digests]

    async def renew(self, digest: str) -> bool:
        """See `SealableBlobs.renew`."""
        if self.sealer is None or sealed_by(await self._start_of(digest)) == self.sealer.current:
            return False
        await self._write(digest, await self.get(digest))
        return True

    async def _start_of(self, digest: str) -> bytes:
        return await self._read(digest, Range=f"bytes=0-{HEAD_BYTES - 1}")

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


def _unpacked(digest: str, packed: bytes, sealer: Sealer | None) -> bytes:
    try:
        data, _ = unpack_chain(digest, [packed], sealer)
    except Unpackable as error:
        raise BlobDamaged(digest, why=str(error)) from error
    if blob_digest(data) != digest:
        raise BlobDamaged(digest)
    return data
