from __future__ import annotations

import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, UsageError
from interlock.store import BlobDamaged, RecordDamaged, RecordStore
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.store.opening import MemoryStore, Store, open_store
from interlock.store.sealing import RING, RING_COPY, KeyMissing, MasterKey, RingLost, master_key
from interlock.store.vault import SealedBlobs, Vault, read_ring, vault_of, with_encryption

OLD, NEW, OTHER = (master_key(bytes((start + n) % 256 for n in range(32))) for start in (0, 40, 90))
SECRET = b'{"client_secret": "hush-hush-hush"}'
STATE = b'{"version": 4, "secret": "hush-hush-hush"}' * 50


@asynccontextmanager
async def opened(path: Path, *keys: MasterKey) -> AsyncIterator[Store]:
    store = await open_store(str(path), clock=SystemClock())
    try:
        yield await with_encryption(store, keys, clock=SystemClock())
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "interlock.db"


def vault(store: Store) -> Vault:
    found = vault_of(store)
    assert found is not None
    return found


def all_bytes(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


@pytest.mark.promise("P10")
async def test_nothing_that_is_secret_stands_in_the_files_of_an_encrypted_store(path: Path) -> None:
    async with opened(path, NEW) as store:
        await store.blobs.put(STATE)
        await store.records.swap("organisation/acme", expected=None, value=SECRET)
    assert b"hush" not in all_bytes(path)
    async with opened(path, NEW) as store:
        record = await store.records.get("organisation/acme")
        assert record is not None
        assert record.value == SECRET


@pytest.mark.promise("P10")
async def test_an_encrypted_store_is_not_opened_without_its_key(path: Path) -> None:
    async with opened(path, OLD) as store:
        await store.blobs.put(STATE)
    with pytest.raises(KeyMissing, match="no key is given") as caught:
        async with opened(path):
            pass
    assert OLD.id in caught.value.why
    assert (caught.value.exit_status, caught.value.http_status) == (3, 503)


async def test_a_wrong_key_is_called_wrong_and_not_the_store_damaged(path: Path) -> None:
    async with opened(path, OLD) as store:
        await store.blobs.put(STATE)
    with pytest.raises(KeyMissing, match="is the wrong one") as caught:
        async with opened(path, OTHER):
            pass
    assert OLD.id in caught.value.why
    assert OTHER.id in caught.value.why


async def test_what_was_stored_in_clear_is_read_beside_what_is_encrypted(path: Path) -> None:
    async with opened(path) as store:
        clear = await store.blobs.put(STATE)
        await store.records.swap("journal/run", expected=None, value=b"clear")
    async with opened(path, NEW) as store:
        sealed = await store.blobs.put(STATE + b" ", like=clear)
        assert await store.blobs.get(clear) == STATE
        assert await store.blobs.get(sealed) == STATE + b" "
        record = await store.records.get("journal/run")
        assert record is not None
        assert record.value == b"clear"
        tally = await vault(store).tally()
        assert (tally.current, tally.older, tally.clear) == (1, 0, 2)


async def test_a_rewrite_encrypts_the_rest_and_goes_on_where_it_was_stopped(path: Path) -> None:
    async with opened(path) as store:
        digests = [await store.blobs.put(STATE + b" " * n) for n in range(4)]
        digests.append(await store.blobs.put(STATE + b"x", like=digests[0]))
        await store.records.swap("journal/run", expected=None, value=b"hush-hush")
    for stop in (2, 99):
        async with opened(path, NEW) as store:
            rewriting = vault(store).rewrite()
            async for done in rewriting:
                if done == stop:
                    break
            await rewriting.aclose()  # type: ignore[attr-defined]
    async with opened(path, NEW) as store:
        tally = await vault(store).tally()
        assert (tally.current, tally.older, tally.clear) == (6, 0, 0)
        for number, digest in enumerate(digests[:4]):
            assert await store.blobs.get(digest) == STATE + b" " * number
        assert await store.blobs.get(digests[4]) == STATE + b"x"


@pytest.mark.promise("P3")
async def test_two_blobs_whose_bytes_are_exchanged_are_found(path: Path) -> None:
    async with opened(path, NEW) as store:
        one, two = await store.blobs.put(STATE), await store.blobs.put(STATE[:-1] + b" ")
    with closing(sqlite3.connect(path)) as connection:
        uploads = dict(connection.execute("SELECT digest, upload FROM blobs"))
        connection.execute("UPDATE blobs SET upload = -1 WHERE digest = ?", (one,))
        connection.execute("UPDATE blobs SET upload = ? WHERE digest = ?", (uploads[one], two))
        connection.execute("UPDATE blobs SET upload = ? WHERE digest = ?", (uploads[two], one))
        connection.commit()
    async with opened(path, NEW) as store:
        for digest in (one, two):
            with pytest.raises(BlobDamaged, match="is damaged"):
                await store.blobs.get(digest)


@pytest.mark.promise("P10")
async def test_a_credential_put_under_another_name_or_in_clear_is_refused(path: Path) -> None:
    async with opened(path, NEW) as store:
        await store.records.swap("organisation/acme", expected=None, value=SECRET)
        below = await store._store.records.get("organisation/acme")  # type: ignore[attr-defined]
        await store._store.records.swap("organisation/evil", expected=None, value=below.value)  # type: ignore[attr-defined]
        await store._store.records.swap("organisation/plain", expected=None, value=SECRET)  # type: ignore[attr-defined]
        for name in ("evil", "plain"):
            with pytest.raises(RecordDamaged):
                await store.records.get(f"organisation/{name}")


# -- rotation ---------------------------------------------------------------------------------------------------------


async def test_a_rotation_lets_both_keys_open_until_the_old_one_is_retired(path: Path) -> None:
    async with opened(path, OLD) as before, opened(path, OLD) as server:
        digest = await before.blobs.put(STATE)
        async with opened(path, NEW, OLD) as rotating:
            ring = await vault(rotating).rotate()
            assert set(ring.masters) == {OLD.id, NEW.id}
            newer = await rotating.blobs.put(STATE + b"1")
            await rotating.records.swap("organisation/acme", expected=None, value=SECRET)
        # A server that was started with the old key alone reads what the new data key sealed, and writes on.
        assert await server.blobs.get(newer) == STATE + b"1"
        assert await server.records.get("organisation/acme") is not None
        await server.blobs.put(STATE + b"2")
    async with opened(path, NEW) as store:
        assert await store.blobs.get(digest) == STATE
        assert (await vault(store).tally()).older == 1
        await vault(store).retire(OLD.id)
        assert await store.blobs.get(digest) == STATE
    with pytest.raises(KeyMissing, match="the wrong one"):
        async with opened(path, OLD):
            pass


async def test_the_key_in_use_and_one_that_alone_opens_something_are_not_retired(path: Path) -> None:
    async with opened(path, OLD) as store:
        for key in (OLD.id, "0" * 15, "oldkey"):
            with pytest.raises(UsageError, match=r"not retired|not the id of a key"):
                await vault(store).retire(key)
    async with opened(path, NEW, OLD) as store:  # before any rotation
        with pytest.raises(UsageError, match="not retired"):
            await vault(store).retire(OLD.id)
        assert await store.blobs.get(await store.blobs.put(STATE)) == STATE


async def test_a_key_is_not_retired_while_the_given_one_does_not_open_all_that_it_opens(path: Path) -> None:
    async with opened(path, OLD) as store:
        digest = await store.blobs.put(STATE)
    for key in (OTHER, NEW):  # two operators at once, each with a key of their own
        async with opened(path, key, OLD) as store:
            await vault(store).rotate()
    async with opened(path, OTHER, OLD) as store:
        with pytest.raises(UsageError, match="do not open all"):
            await vault(store).retire(OLD.id)
        await vault(store).rotate()
        await vault(store).retire(OLD.id)
    async with opened(path, OTHER) as store:
        assert await store.blobs.get(digest) == STATE


class _Dying:
    """Records whose user is killed at the n-th write: before it, or after it and before its answer."""

    def __init__(self, records: RecordStore, at: int, *, is_after: bool) -> None:
        self._records, self._at, self._is_after = records, at, is_after
        self.writes = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._records, name)

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        self.writes += 1
        if self.writes < self._at:
            return await self._records.swap(key, expected=expected, value=value)
        if self.writes == self._at and self._is_after:
            await self._records.swap(key, expected=expected, value=value)
        raise BackendUnavailable("killed")


@pytest.mark.parametrize(("at", "is_after"), list(itertools.product((1, 2), (False, True))))
@pytest.mark.parametrize("step", ["begin", "rotate", "retire"])
async def test_killed_at_any_line_a_change_of_keys_is_done_again(step: str, at: int, *, is_after: bool) -> None:
    records, blobs, clock = MemoryRecords(clock=SystemClock()), MemoryBlobs(), SystemClock()

    async def behind(keys: tuple[MasterKey, ...], through: object) -> Vault:
        made = Vault(MemoryStore(records=through, blobs=blobs, clock=clock), keys, clock)  # type: ignore[arg-type]
        await made.begin()
        return made

    sealed = b""
    if step != "begin":
        first = await behind((OLD,), records)
        sealed = first.seal(SECRET, b"name")
    if step == "retire":
        await (await behind((NEW, OLD), records)).rotate()
    dying = _Dying(records, at, is_after=is_after)

    async def change() -> None:
        dead = await behind((NEW, OLD), dying)
        await (dead.rotate() if step == "rotate" else dead.retire(OLD.id))

    with pytest.raises(BackendUnavailable, match="killed"):
        await change()

    again = await behind((NEW, OLD), records)
    if step == "rotate":
        await again.rotate()
    if step == "retire":
        await again.retire(OLD.id)
    one, two = await records.get(RING), await records.get(RING_COPY)
    assert one is not None
    assert two is not None
    assert one.value == two.value
    last = await behind((NEW,), records)
    assert not sealed or last.open(sealed, b"name") == SECRET


async def test_of_two_that_encrypt_a_store_at_once_both_use_the_same_data_key(path: Path) -> None:
    async with opened(path) as one, opened(path) as two:
        vaults = [Vault(each, [OLD], SystemClock()) for each in (one, two)]
        for each in vaults:
            assert await each.refresh() is None
        for each in vaults:
            await each.begin()
        assert vaults[0].current == vaults[1].current


# -- a damaged ring ---------------------------------------------------------------------------------------------------


def _damage(path: Path, *keys: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for key in keys:
            connection.execute("UPDATE records SET value = x'7b7d' WHERE key = ?", (key,))
        connection.commit()


@pytest.mark.parametrize("key", [RING, RING_COPY])
async def test_a_damaged_ring_is_read_from_its_copy_and_mended(path: Path, key: str) -> None:
    async with opened(path, OLD) as store:
        digest = await store.blobs.put(STATE)
    _damage(path, key)
    async with opened(path, OLD) as store:
        assert await store.blobs.get(digest) == STATE
    _damage(path, RING_COPY if key == RING else RING)
    async with opened(path, OLD) as store:
        assert await store.blobs.get(digest) == STATE


async def test_a_ring_that_is_deleted_comes_back_from_its_copy(path: Path) -> None:
    async with opened(path, OLD) as store:
        digest = await store.blobs.put(STATE)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM records WHERE key = ?", (RING,))
        connection.commit()
    async with opened(path, OLD) as store:
        assert await store.blobs.get(digest) == STATE
        assert await read_ring(store.records) is not None


async def test_two_damaged_rings_are_said_and_never_replaced_by_a_new_one(path: Path) -> None:
    async with opened(path, OLD) as store:
        await store.blobs.put(STATE)
    _damage(path, RING, RING_COPY)
    for keys in ((OLD,), ()):
        with pytest.raises(RingLost, match="data keys is damaged"):
            async with opened(path, *keys):
                pass


async def test_a_blob_of_a_data_key_that_the_ring_lacks_asks_for_a_key(path: Path) -> None:
    async with opened(path, OLD) as store:
        digest = await store.blobs.put(STATE)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM records WHERE key IN (?, ?)", (RING, RING_COPY))
        connection.commit()
    async with opened(path, OLD) as store:
        assert isinstance(store.blobs, SealedBlobs)
        with pytest.raises(KeyMissing, match="cannot be opened"):
            await store.blobs.get(digest)
    async with opened(path.with_name("other.db")) as store:
        assert vault_of(store) is None
