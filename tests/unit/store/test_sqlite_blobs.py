from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.store import BlobDamaged
from interlock.store.sqlite import SqliteStore
from interlock.store.sqlite_blobs import PART_BYTES, UPLOAD_S_MAX


def _ask(store: SqliteStore, question: str, *values: object) -> list[tuple[object, ...]]:
    return store._writer.submit(lambda connection: connection.execute(question, values).fetchall()).result()


def _text(changed: int) -> bytes:
    return b"".join(b"line %d of the document %s\n" % (line, b"!" if line == changed else b"") for line in range(5000))


async def test_a_version_like_another_takes_little_room(store: SqliteStore) -> None:
    whole = await store.blobs.put(os.urandom(1_000_000) + _text(0))
    data = await store.blobs.get(whole) + b"and more"
    await store.blobs.put(data, like=whole)
    ((bytes_kept,),) = _ask(
        store, "SELECT sum(length(data)) FROM parts JOIN blobs USING (upload) WHERE base = ?", whole
    )
    assert isinstance(bytes_kept, int)
    assert bytes_kept < 1000


async def test_parts_are_kept_small(store: SqliteStore) -> None:
    await store.blobs.put(os.urandom(2 * PART_BYTES))
    assert _ask(store, "SELECT count(*), max(length(data)) FROM parts") == [(3, PART_BYTES)]


async def test_an_upload_that_nobody_finished_is_swept_away(store: SqliteStore) -> None:
    now_s = SystemClock().now().timestamp()
    _ask(store, "INSERT INTO uploads (id, started_s) VALUES (71, ?)", now_s - UPLOAD_S_MAX - 1)
    _ask(store, "INSERT INTO uploads (id, started_s) VALUES (72, ?)", now_s)
    for upload in (71, 72):
        _ask(store, "INSERT INTO parts (upload, number, data) VALUES (?, 0, x'00')", upload)
    await store.blobs.put(b"next")
    assert _ask(store, "SELECT id FROM uploads") == [(72,)]
    assert _ask(store, "SELECT count(*) FROM parts WHERE upload = 71") == [(0,)]


async def test_deleting_leaves_no_bytes_behind(store: SqliteStore) -> None:
    first = await store.blobs.put(_text(1))
    second = await store.blobs.put(_text(2), like=first)
    third = await store.blobs.put(_text(3), like=second)
    for digest in (first, third, second):
        await store.blobs.delete(digest)
    for table in ("blobs", "parts", "uploads"):
        assert _ask(store, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE parts SET data = substr(data, 1, length(data) - 1)",
        "UPDATE parts SET data = x'00'",
        "DELETE FROM parts",
        "UPDATE parts SET data = CAST(substr(data, 1, 5) || x'ff' || substr(data, 7) AS BLOB)",
    ],
)
async def test_a_damaged_blob_is_reported_and_not_returned(store: SqliteStore, damage: str) -> None:
    digest = await store.blobs.put(_text(1))
    _ask(store, damage)
    with pytest.raises(BlobDamaged) as refusal:
        await store.blobs.get(digest)
    assert refusal.value.why
    assert refusal.value.fix


async def test_a_blob_with_other_bytes_of_the_same_form_is_reported(store: SqliteStore) -> None:
    one, two = await store.blobs.put(_text(1)), await store.blobs.put(_text(2))
    _ask(store, "UPDATE parts SET data = (SELECT data FROM parts AS p JOIN blobs USING (upload) WHERE digest = ?)", two)
    with pytest.raises(BlobDamaged, match="damaged"):
        await store.blobs.get(one)


async def test_a_chain_whose_base_vanished_is_reported(store: SqliteStore) -> None:
    first = await store.blobs.put(_text(1))
    second = await store.blobs.put(_text(2), like=first)
    _ask(store, "DELETE FROM blobs WHERE digest = ?", first)
    with pytest.raises(BlobDamaged) as refusal:
        await store.blobs.get(second)
    assert first in refusal.value.why


async def test_a_damaged_base_does_not_spread(store: SqliteStore) -> None:
    first = await store.blobs.put(_text(1))
    _ask(store, "UPDATE parts SET data = x'00'")
    second = await store.blobs.put(_text(2), like=first)
    assert await store.blobs.get(second) == _text(2)


async def test_a_base_is_not_deleted_when_its_dependent_cannot_be_written_anew(store: SqliteStore) -> None:
    first = await store.blobs.put(_text(1))
    second = await store.blobs.put(_text(2), like=first)
    _ask(store, "UPDATE parts SET data = x'00' WHERE upload = (SELECT upload FROM blobs WHERE digest = ?)", second)
    with pytest.raises(BlobDamaged):
        await store.blobs.delete(first)
    assert await store.blobs.get(first) == _text(1)


async def test_blobs_outlive_the_process(path: Path) -> None:
    store = await SqliteStore.open(path, clock=SystemClock())
    digest = await store.blobs.put(_text(1))
    await store.close()
    store = await SqliteStore.open(path, clock=SystemClock())
    assert await store.blobs.get(digest) == _text(1)
    await store.close()
