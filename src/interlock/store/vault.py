"""A store whose secrets are encrypted: blobs, and the records that hold any. A hand: it draws keys and reads the ring.

Everything else sees a `Store` like any other. Blobs are sealed below `packing.py`, so digests, sizes, differences and
what is stored once stay as they are; of the records those under `SEALED_PREFIXES`. What was stored in clear before is
still read, and stays so until `Vault.rewrite`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, UsageError, command
from interlock.store.before import Before, nothing_before
from interlock.store.blobs import BlobHead, BlobStore
from interlock.store.checksums import RecordDamaged
from interlock.store.fault import Fault
from interlock.store.opening import Store
from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record, RecordStore
from interlock.store.sealing import (
    HOW,
    ID_BYTES,
    KEY_BYTES,
    NONCE_BYTES,
    RING,
    RING_COPY,
    Drawn,
    KeyMissing,
    MasterKey,
    Ring,
    RingLost,
    Sealer,
    Unsealable,
    is_key_id,
    is_sealed_value,
    key_id_of,
    key_of_value,
    not_retired,
    open_text,
    open_value,
    opened_keys,
    ring_from_bytes,
    ring_lost,
    ring_to_bytes,
    seal_text,
    seal_value,
    with_key,
    without_master,
    wrapped_by,
    wrong_key,
)

SEALED_PREFIXES = ("organisation/", "hook/", "journal/")
"""Records that hold credentials, or what runs printed. Their keys stay readable."""

ALWAYS_SEALED = ("organisation/", "hook/")
"""Of these, one in clear is not read: whoever can write to the store could put another one in its place."""

_SWAPS_MAX = 20
_STATUS = command("encryption", "status")
_T = TypeVar("_T")


@runtime_checkable
class SealableBlobs(Protocol):
    """What a blob store that keeps packed blobs can do beside a `BlobStore`.

    Attributes:
        sealer: Seals what is written from now on; None writes in clear.
    """

    sealer: Sealer | None

    async def heads(self, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[BlobHead]:
        """Return stored blobs in order of their digests, those behind `after`."""
        ...

    async def renew(self, digest: str) -> bool:
        """Write a blob as `put` would write it now; False when it is so already, or not there.

        Raises:
            BlobDamaged: It cannot be read.
        """
        ...


class Tally(Struct, frozen=True, kw_only=True):
    """What a store holds in which form.

    Attributes:
        current: Blobs and records sealed by the newest data key.
        older: Sealed by an older one.
        clear: Not sealed.
    """

    current: int
    older: int
    clear: int


class Vault:
    """The data keys of a store. A `Sealer`.

    Args:
        store: The store as it is without encryption.
        masters: The operator's keys; the first one wraps.
        clock: For when a key was made.
    """

    def __init__(self, store: Store, masters: Sequence[MasterKey], clock: Clock) -> None:
        self._store = store
        self._masters = tuple(masters)
        self._clock = clock
        self._ring: Ring | None = None
        self._keys: dict[bytes, bytes] = {}

    @property
    def ring(self) -> Ring:
        """The ring as it was last read."""
        assert self._ring is not None, "a vault is opened before it is used"
        return self._ring

    async def begin(self) -> None:
        """Read the ring; make it when the store has none.

        Raises:
            KeyMissing: None of the keys opens it.
            RingLost: It is damaged, and so is its copy.
        """
        ring = await self.refresh()
        if ring is None:
            await self._change(lambda found: found or self._with_new_key(found))
        else:
            await self._keep_copy(ring)

    async def refresh(self) -> Ring | None:
        """Read the ring again: another process may have changed it."""
        ring = await read_ring(self._store.records)
        if ring is not None:
            self._adopt(ring)
        return ring

    def _adopt(self, ring: Ring) -> None:
        self._keys = opened_keys(ring, self._masters)
        self._ring = ring

    # -- sealing, from any thread --------------------------------------------------------------------------------------

    @property
    def current(self) -> bytes:
        """See `Sealer.current`."""
        return bytes.fromhex(self.ring.current.id)

    def seal(self, plain: bytes | memoryview, bound: bytes) -> bytes:
        """See `Sealer.seal`."""
        key_id = self.current
        return seal_text(plain, key=self._keys[key_id], key_id=key_id, nonce=os.urandom(NONCE_BYTES), bound=bound)

    def open(self, sealed: bytes | memoryview, bound: bytes) -> bytes:
        """See `Sealer.open`."""
        key_id = key_id_of(sealed)
        key = self._keys.get(key_id)
        if key is None:
            raise unknown_data_key(key_id)
        return open_text(sealed, key=key, bound=bound)

    # -- changing the ring ---------------------------------------------------------------------------------------------

    async def rotate(self, *, before: Before[Ring] = nothing_before) -> Ring:
        """Wrap every data key by the first master key too, and make a new data key, which seals from now on.

        Servers that have only the old master key go on: the new data key is wrapped by both. Doing it again after
        it was killed at any line does no harm.

        Args:
            before: Called with the keys before they are written.
        """
        return await self._change(self._rotated, before)

    async def retire(self, master_id: str, *, before: Before[Ring] = nothing_before) -> Ring:
        """Take away what one master key wrapped. It opens nothing here any more, also not an older copy of the ring.

        Doing it again after it was killed at any line does no harm: of a key that opens nothing here there is nothing
        to take away.

        Args:
            master_id: Names the key.
            before: Called with the keys before they are written.

        Raises:
            UsageError: It is not the id of a key, or is that of the key in use, or without it the other given keys do
                not open everything.
        """
        if not is_key_id(master_id):
            raise UsageError(f"{master_id[:40]!r} is not the id of a key", fix=_STATUS)
        if master_id == self._masters[0].id:
            raise UsageError(f"key {master_id} is not retired", why="it is the first of those given", fix=_STATUS)
        return await self._change(lambda ring: self._without(ring or self.ring, master_id), before)

    def _without(self, ring: Ring, master_id: str) -> Ring:
        """Return the ring without a master key; see `retire`.

        Two rotations at once, with two new keys, leave data keys that only the old one and one of them open: whoever
        has the other would lock themselves out.
        """
        after = without_master(ring, master_id)
        try:
            opened_keys(after, [each for each in self._masters if each.id != master_id])
        except KeyMissing as error:
            raise not_retired(master_id, "the other given keys do not open all that it opens") from error
        return after

    def _rotated(self, ring: Ring | None) -> Ring:
        return self._with_new_key(self._wrapped(ring or self.ring))

    def _wrapped(self, ring: Ring) -> Ring:
        plain = opened_keys(ring, self._masters)
        return wrapped_by(ring, self._masters[0], plain, [os.urandom(NONCE_BYTES) for _ in ring.keys])

    def _with_new_key(self, ring: Ring | None) -> Ring:
        """Return the ring with a new data key, wrapped by those given keys that open all the others."""
        known = self._masters[:1] if ring is None else [each for each in self._masters if each.id in ring.masters]
        drawn = Drawn(id=os.urandom(ID_BYTES), value=os.urandom(KEY_BYTES))
        return with_key(ring, drawn, [(each, os.urandom(NONCE_BYTES)) for each in known], at=self._clock.now())

    async def _change(self, change: Callable[[Ring | None], Ring], before: Before[Ring] = nothing_before) -> Ring:
        records = self._store.records
        for _ in range(_SWAPS_MAX):
            record = await records.get(RING)
            known = None if record is None else ring_from_bytes(record.value)
            after = change(known)
            if after != known:
                await before(after, 0 if record is None else record.version)
                try:
                    expected = None if record is None else record.version
                    await records.swap(RING, expected=expected, value=ring_to_bytes(after))
                except Mismatch:
                    continue
            # A data key seals nothing before both records have it.
            await self._keep_copy(after)
            self._adopt(after)
            return after
        raise BackendUnavailable("the data keys of the store changed all the time", fix="try again")

    async def _keep_copy(self, ring: Ring) -> None:
        """Make the second record equal to the first one. What is newer there came from a later change, and stays."""
        records, value = self._store.records, ring_to_bytes(ring)
        for _ in range(_SWAPS_MAX):
            try:
                record = await records.get(RING_COPY)
            except RecordDamaged:
                try:
                    await records.replace_damaged(RING_COPY, value)
                except Mismatch:
                    continue
                return
            if record is not None and (record.value == value or ring_from_bytes(record.value).number > ring.number):
                return
            try:
                await records.swap(RING_COPY, expected=None if record is None else record.version, value=value)
            except Mismatch:
                continue
            return

    # -- what is stored ------------------------------------------------------------------------------------------------

    async def tally(self) -> Tally:
        """Count what is stored in which form."""
        found = [each async for each in self._blob_heads()] + [each async for each in self._record_heads()]
        current = sum(1 for _, key in found if key == self.current)
        clear = sum(1 for _, key in found if key is None)
        return Tally(current=current, older=len(found) - current - clear, clear=clear)

    async def rewrite(self) -> AsyncIterator[int]:
        """Write anew what is in clear or sealed by an older data key; yield how many were written so far.

        It goes on where it was killed: what is sealed by the newest data key is left as it is.
        """
        done = 0
        async for digest, key in self._blob_heads():
            if key != self.current and await cast("SealableBlobs", self._store.blobs).renew(digest):
                done += 1
                yield done
        async for name, key in self._record_heads():
            if key != self.current and await self._renew_record(name):
                done += 1
                yield done

    async def _blob_heads(self) -> AsyncIterator[tuple[str, bytes | None]]:
        blobs = self._store.blobs
        if not isinstance(blobs, SealableBlobs):
            return
        after = ""
        while heads := await blobs.heads(after=after):
            for head in heads:
                yield head.digest, head.sealed_by
            after = heads[-1].digest

    async def _record_heads(self) -> AsyncIterator[tuple[str, bytes | None]]:
        for prefix in SEALED_PREFIXES:
            after = ""
            while found := await self._store.records.list(prefix, after=after):
                for record in found:
                    yield record.key, key_of_value(record.value) if is_sealed_value(record.value) else None
                after = found[-1].key

    async def _renew_record(self, key: str) -> bool:
        """Seal a record anew. Who changed it meanwhile has sealed it too."""
        sealed = SealedRecords(self._store.records, self)
        record = await sealed.get(key)
        if record is None:
            return False
        try:
            await sealed.swap(key, expected=record.version, value=record.value)
        except Mismatch:
            return False
        return True


class SealedBlobs:
    """See `BlobStore`: blobs of a store whose sealer is a vault.

    Args:
        blobs: They seal and open by themselves.
        vault: Read again when a blob names a data key that another process made.
    """

    def __init__(self, blobs: BlobStore, vault: Vault) -> None:
        self._blobs = blobs
        self._vault = vault

    async def put(self, data: bytes, *, like: str | None = None) -> str:
        """See `BlobStore.put`."""
        return await self._with_keys(lambda: self._blobs.put(data, like=like))

    async def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        return await self._with_keys(lambda: self._blobs.get(digest))

    async def has(self, digest: str) -> bool:
        """See `BlobStore.has`."""
        return await self._blobs.has(digest)

    async def delete(self, digest: str) -> None:
        """See `BlobStore.delete`. Those that build on it are written anew, so it needs keys too."""
        await self._with_keys(lambda: self._blobs.delete(digest))

    async def size(self, digest: str) -> int:
        """See `BlobStore.size`."""
        return await self._blobs.size(digest)

    async def close(self) -> None:
        """See `BlobStore.close`."""
        await self._blobs.close()

    async def _with_keys(self, work: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await work()
        except KeyMissing:
            await self._vault.refresh()
            return await work()


class SealedRecords:
    """See `RecordStore`: the values of some records are sealed, the others pass.

    Args:
        records: What keeps them.
        vault: Seals them.
    """

    def __init__(self, records: RecordStore, vault: Vault) -> None:
        self._records = records
        self._vault = vault

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`."""
        return await self._plain(await self._records.get(key))

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """See `RecordStore.swap`."""
        try:
            return await self._records.swap(key, expected=expected, value=self._sealed(key, value))
        except Mismatch as error:
            raise await self._told(error, expected) from error

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """See `RecordStore.replace_damaged`."""
        try:
            return await self._records.replace_damaged(key, self._sealed(key, value) or b"")
        except Mismatch as error:
            raise await self._told(error, None) from error

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`."""
        found = await self._records.list(prefix, after=after, limit=limit)
        return [cast("Record", await self._plain(record)) for record in found]

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """See `RecordStore.watch`."""
        return await self._plain(await self._records.watch(key, seen=seen, timeout_s=timeout_s))

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """See `RecordStore.watch_prefix`."""
        return await self._records.watch_prefix(prefix, seen=seen, timeout_s=timeout_s)

    async def close(self) -> None:
        """See `RecordStore.close`."""
        await self._records.close()

    def _sealed(self, key: str, value: bytes | None) -> bytes | None:
        if value is None or not key.startswith(SEALED_PREFIXES):
            return value
        return seal_value(key, value, self._vault)

    async def _told(self, error: Mismatch, expected: int | None) -> Mismatch:
        return Mismatch(error.key, expected=expected, current=await self._plain(error.current))

    async def _plain(self, record: Record | None) -> Record | None:
        if record is None or not record.key.startswith(SEALED_PREFIXES):
            return record
        if not is_sealed_value(record.value):
            if record.key.startswith(ALWAYS_SEALED):
                raise RecordDamaged(record.key, why="it must be encrypted, and is in clear")
            return record
        try:
            try:
                value = open_value(record.key, record.value, self._vault)
            except KeyMissing:
                await self._vault.refresh()
                value = open_value(record.key, record.value, self._vault)
        except Unsealable as error:
            raise RecordDamaged(record.key, why=str(error)) from error
        return replace(record, value=value)


class SealedStore:
    """A store behind a vault. What only some kinds of store have, such as the place of a database, is asked of it."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self.vault = vault
        self.records: RecordStore = SealedRecords(store.records, vault)
        self.blobs: BlobStore = SealedBlobs(store.blobs, vault)

    @property
    def clock(self) -> Clock:
        """See `Store.clock`."""
        return self._store.clock

    async def keep_room(self) -> bool:
        """See `Store.keep_room`."""
        return await self._store.keep_room()

    async def faults(self) -> tuple[Fault, ...]:
        """See `Store.faults`."""
        return await self._store.faults()

    async def close(self) -> None:
        """See `Store.close`."""
        await self._store.close()

    def __getattr__(self, name: str) -> Any:
        """Return what only this kind of store has."""
        return getattr(self._store, name)


async def with_encryption(store: Store, masters: Sequence[MasterKey], *, clock: Clock) -> Store:
    """Return the store as it is to be used: behind a vault when it is encrypted, or is to be from now on.

    Args:
        store: The opened store.
        masters: The operator's keys; none leaves a store in clear that is so.
        clock: For when a key was made.

    Raises:
        KeyMissing: The store is encrypted and none of the keys opens it.
        RingLost: The record of its data keys is damaged.
    """
    if not masters:
        ring = await read_ring(store.records)
        if ring is not None:
            raise wrong_key(ring, ())
        return store
    vault = Vault(store, masters, clock)
    await vault.begin()
    if isinstance(store.blobs, SealableBlobs):
        store.blobs.sealer = vault
    return SealedStore(store, vault)


async def read_ring(records: RecordStore) -> Ring | None:
    """Return the ring of a store, or its copy where the first record is damaged or gone; None in clear.

    Raises:
        RingLost: Both are damaged.
    """
    try:
        record = await records.get(RING)
        if record is not None:
            return ring_from_bytes(record.value)
    except (RecordDamaged, RingLost):
        pass
    return await _mended(records)


async def _mended(records: RecordStore) -> Ring | None:
    """Return the ring from its copy, and write the first record anew from it."""
    try:
        copy = await records.get(RING_COPY)
    except RecordDamaged as error:
        raise ring_lost("its copy is damaged too") from error
    if copy is None:
        return None if await _is_absent(records) else _lost()
    ring = ring_from_bytes(copy.value)
    try:
        await records.swap(RING, expected=None, value=copy.value)
    except RecordDamaged:
        await _replaced(records, copy.value)
    except Mismatch:
        pass  # another process mended it, or its bytes are not a ring: the copy is what counts
    return ring


async def _replaced(records: RecordStore, value: bytes) -> None:
    try:
        await records.replace_damaged(RING, value)
    except Mismatch:
        return  # another process was first


async def _is_absent(records: RecordStore) -> bool:
    try:
        return await records.get(RING) is None
    except RecordDamaged:
        return False


def _lost() -> Ring:
    raise ring_lost("there is no copy of it")


def unknown_data_key(key_id: bytes) -> KeyMissing:
    """Return the error of a text that was sealed by a data key that the ring does not have."""
    return KeyMissing(
        "something in the store cannot be opened",
        why=f"data key {key_id.hex()} sealed it, and the store's ring does not have that one",
        fix=HOW,
    )


def vault_of(store: Store) -> Vault | None:
    """Return the vault of a store; None for one in clear."""
    return store.vault if isinstance(store, SealedStore) else None
