"""What every `RecordStore` and `BlobStore` must do, as test classes to inherit from.

For authors of stores. In your tests, with pytest, pytest-asyncio (`asyncio_mode = "auto"`) and hypothesis installed:

    class TestMyRecords(RecordStoreContract):
        @pytest.fixture
        async def record_store(self) -> AsyncIterator[RecordStore]: ...

Give `record_store_peer` too when two handles can be open on the same data; what one writes, the other must see. Give
`rewrite_record` and `rewrite_blob`, which change stored bytes behind the store's back. The suite never expects an empty
store: each test uses keys of its own.
"""
# ruff: noqa: S311 - seeded pseudo-randomness is the point
# ruff: noqa: D102 - a test's name is the sentence it proves
# ruff: noqa: PLR2004 - literal expectations are clearer than named ones

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.errors import BackendUnavailable, UsageError
from interlock.store import (
    KEY_BYTES_MAX,
    LIST_LIMIT_MAX,
    VALUE_BYTES_MAX,
    BlobDamaged,
    BlobMissing,
    BlobStore,
    Mismatch,
    Record,
    RecordStore,
    blob_digest,
)

PATIENCE_S = 20.0
"""How long a test waits for what must happen; only a failing test ever waits that long."""

_SETTLE_S = 0.03  # lets a waiter begin to wait; the result is the same when it has not
_ODD_KEYS = (
    "space in it",
    "percent%under_score",
    "quote\"'`",
    "slash//../x",
    "Grüße/日本/\U0001f600",
    "a:b#c?d&e=f+g",
    "\U0010ffff",
    "back\\slash*[x]",
)
_numbers = itertools.count()


def _namespace() -> str:
    """Return a key prefix that no other test of this process uses."""
    return f"t{next(_numbers)}-{random.SystemRandom().getrandbits(48):012x}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One swap of a random history; the expected version is picked from those seen, or is wrong."""

    key: str
    value: bytes | None
    is_current: bool


_steps = st.lists(
    st.builds(
        _Step,
        key=st.sampled_from(["a", "a/b", "a/b%", "ab", "b"]),
        value=st.none() | st.binary(max_size=40),
        is_current=st.sampled_from([True, True, True, False]),
    ),
    max_size=25,
)
_frugal = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,  # each example has keys of its own
        HealthCheck.differing_executors,  # each store's class runs the inherited test, on purpose
        HealthCheck.too_slow,  # a store may be a network away
    ],
)


Rewrite = Callable[[str, Callable[[bytes], bytes]], Awaitable[None]]
"""Changes the stored bytes of the record with this key, or of the blob with this digest, behind the store's back."""


class RecordStoreContract:
    """Inherit from this, and give the fixtures `record_store` and `rewrite_record`."""

    @pytest.fixture
    def record_store_peer(self, record_store: RecordStore) -> RecordStore:
        """Another handle on the same data; by default the same handle."""
        return record_store

    async def test_an_absent_key_reads_as_none(self, record_store: RecordStore) -> None:
        assert await record_store.get(_namespace() + "k") is None

    async def test_a_new_record_reads_back(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        version = await record_store.swap(key, expected=None, value=b"one")
        assert version > 0
        assert await record_store.get(key) == Record(key=key, version=version, value=b"one")

    async def test_a_replaced_record_has_another_version(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        first = await record_store.swap(key, expected=None, value=b"one")
        second = await record_store.swap(key, expected=first, value=b"one")
        assert second not in {0, first}
        assert await record_store.get(key) == Record(key=key, version=second, value=b"one")

    async def test_a_swap_on_an_old_version_is_refused_and_changes_nothing(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        first = await record_store.swap(key, expected=None, value=b"one")
        second = await record_store.swap(key, expected=first, value=b"two")
        for value in (b"three", None):
            with pytest.raises(Mismatch) as refusal:
                await record_store.swap(key, expected=first, value=value)
            assert refusal.value.current == Record(key=key, version=second, value=b"two")
        assert await record_store.get(key) == Record(key=key, version=second, value=b"two")

    async def test_a_key_is_not_made_twice(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        version = await record_store.swap(key, expected=None, value=b"one")
        with pytest.raises(Mismatch) as refusal:
            await record_store.swap(key, expected=None, value=b"two")
        assert refusal.value.current == Record(key=key, version=version, value=b"one")

    async def test_a_swap_of_an_absent_key_is_refused(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        for value in (b"one", None):
            with pytest.raises(Mismatch) as refusal:
                await record_store.swap(key, expected=7, value=value)
            assert refusal.value.current is None
        assert await record_store.get(key) is None

    async def test_a_deleted_record_is_absent(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        version = await record_store.swap(key, expected=None, value=b"one")
        assert await record_store.swap(key, expected=version, value=None) == 0
        assert await record_store.get(key) is None
        assert await record_store.list(key) == []
        with pytest.raises(Mismatch) as refusal:
            await record_store.swap(key, expected=version, value=b"two")
        assert refusal.value.current is None

    async def test_deleting_an_absent_key_as_absent_is_fine(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        assert await record_store.swap(key, expected=None, value=None) == 0
        version = await record_store.swap(key, expected=None, value=b"one")
        with pytest.raises(Mismatch):
            await record_store.swap(key, expected=None, value=None)
        assert (await record_store.get(key) or pytest.fail("gone")).version == version

    async def test_versions_never_repeat_even_after_a_deletion(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        versions = []
        for _ in range(6):
            versions.append(await record_store.swap(key, expected=None, value=b"x"))
            versions.append(await record_store.swap(key, expected=versions[-1], value=b"y"))
            await record_store.swap(key, expected=versions[-1], value=None)
        assert len(set(versions)) == len(versions)
        assert 0 not in versions

    async def test_empty_and_binary_values_read_back(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        version = None
        for value in (b"", bytes(range(256)), b"\x00"):
            version = await record_store.swap(key, expected=version, value=value)
            assert (await record_store.get(key) or pytest.fail("gone")).value == value

    async def test_the_largest_value_reads_back_and_a_larger_one_is_refused(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        largest = random.Random(1).randbytes(VALUE_BYTES_MAX)
        version = await record_store.swap(key, expected=None, value=largest)
        with pytest.raises(UsageError):
            await record_store.swap(key, expected=version, value=largest + b"x")
        assert await record_store.get(key) == Record(key=key, version=version, value=largest)

    async def test_odd_keys_are_kept_apart_and_read_back(self, record_store: RecordStore) -> None:
        prefix = _namespace()
        keys = [prefix + odd for odd in _ODD_KEYS]
        for key in keys:
            await record_store.swap(key, expected=None, value=key.encode())
        for key in keys:
            assert (await record_store.get(key) or pytest.fail(key)).value == key.encode()
            assert [record.key for record in await record_store.list(key)] == [key]
        assert [record.key for record in await record_store.list(prefix)] == sorted(keys)

    async def test_the_longest_key_works(self, record_store: RecordStore) -> None:
        key = _namespace().ljust(KEY_BYTES_MAX, "k")
        await record_store.swap(key, expected=None, value=b"one")
        assert (await record_store.get(key) or pytest.fail("gone")).value == b"one"
        assert len(await record_store.list(key)) == 1

    @pytest.mark.parametrize("key", ["", "k" * (KEY_BYTES_MAX + 1), "new\nline", "nul\0", "del\x7f", "half \ud800"])
    async def test_an_unusable_key_is_refused(self, record_store: RecordStore, key: str) -> None:
        with pytest.raises(UsageError):
            await record_store.get(key)
        with pytest.raises(UsageError):
            await record_store.swap(key, expected=None, value=b"one")
        with pytest.raises(UsageError):
            await record_store.watch(key, seen=None, timeout_s=0)

    async def test_a_list_has_the_keys_of_its_prefix_in_order(self, record_store: RecordStore) -> None:
        prefix = _namespace()
        for name in ("b", "a/2", "a/10", "a", "a_1", "a%1", "ab", "A"):
            await record_store.swap(prefix + name, expected=None, value=name.encode())
        for wanted, names in (
            ("", ["A", "a", "a%1", "a/10", "a/2", "a_1", "ab", "b"]),
            ("a/", ["a/10", "a/2"]),
            ("a%", ["a%1"]),
            ("a_", ["a_1"]),
            ("c", []),
        ):
            records = await record_store.list(prefix + wanted)
            assert [record.key for record in records] == [prefix + name for name in names]
            assert [record.value for record in records] == [name.encode() for name in names]

    async def test_a_list_is_read_page_by_page(self, record_store: RecordStore) -> None:
        prefix = _namespace()
        names = [f"{number:03}" for number in range(25)]
        for name in names:
            await record_store.swap(prefix + name, expected=None, value=b"x")
        found: list[str] = []
        after = ""
        while page := await record_store.list(prefix, after=after, limit=10):
            assert len(page) <= 10
            found += [record.key for record in page]
            after = page[-1].key
        assert found == [prefix + name for name in names]

    @pytest.mark.parametrize("limit", [0, -1, LIST_LIMIT_MAX + 1])
    async def test_a_list_without_a_sane_limit_is_refused(self, record_store: RecordStore, limit: int) -> None:
        with pytest.raises(UsageError):
            await record_store.list("", limit=limit)

    async def test_a_watch_returns_at_once_when_the_version_differs(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        assert await record_store.watch(key, seen=5, timeout_s=PATIENCE_S) is None
        version = await record_store.swap(key, expected=None, value=b"one")
        record = Record(key=key, version=version, value=b"one")
        assert await record_store.watch(key, seen=None, timeout_s=PATIENCE_S) == record
        assert await record_store.watch(key, seen=version + 1, timeout_s=PATIENCE_S) == record

    async def test_a_watch_gives_the_record_at_its_timeout(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        assert await record_store.watch(key, seen=None, timeout_s=0) is None
        version = await record_store.swap(key, expected=None, value=b"one")
        for timeout_s in (0, 0.02, -1):
            record = await record_store.watch(key, seen=version, timeout_s=timeout_s)
            assert record == Record(key=key, version=version, value=b"one")

    async def test_a_watch_is_woken_by_creation_change_and_deletion(
        self, record_store: RecordStore, record_store_peer: RecordStore
    ) -> None:
        key = _namespace() + "k"
        for writer in (record_store, record_store_peer):
            seen = None
            for value in (b"one", b"two", None):
                watch = asyncio.create_task(record_store.watch(key, seen=seen, timeout_s=PATIENCE_S))
                await asyncio.sleep(_SETTLE_S)
                version = await writer.swap(key, expected=seen, value=value)
                record = await asyncio.wait_for(watch, PATIENCE_S / 2)
                assert record == (None if value is None else Record(key=key, version=version, value=value))
                seen = version or None

    async def test_everybody_who_watches_is_woken(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        watches = [
            asyncio.create_task(record_store.watch(key, seen=None, timeout_s=PATIENCE_S)) for number in range(20)
        ]
        await asyncio.sleep(_SETTLE_S)
        await record_store.swap(key, expected=None, value=b"one")
        records = await asyncio.wait_for(asyncio.gather(*watches), PATIENCE_S / 2)
        assert [record and record.value for record in records] == [b"one"] * 20

    async def test_a_cancelled_watch_leaves_the_others_alone(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        gone = asyncio.create_task(record_store.watch(key, seen=None, timeout_s=PATIENCE_S))
        stays = asyncio.create_task(record_store.watch(key, seen=None, timeout_s=PATIENCE_S))
        await asyncio.sleep(_SETTLE_S)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        await record_store.swap(key, expected=None, value=b"one")
        assert (await asyncio.wait_for(stays, PATIENCE_S / 2) or pytest.fail("absent")).value == b"one"

    async def test_a_watch_of_a_prefix_tells_each_change(
        self, record_store: RecordStore, record_store_peer: RecordStore
    ) -> None:
        prefix = _namespace()
        seen = await record_store.watch_prefix(prefix, seen=-1, timeout_s=PATIENCE_S)
        assert await record_store.watch_prefix(prefix, seen=seen, timeout_s=0) == seen
        version: int | None = None
        for value in (b"one", b"two", None):
            watch = asyncio.create_task(record_store.watch_prefix(prefix, seen=seen, timeout_s=PATIENCE_S))
            await asyncio.sleep(_SETTLE_S)
            version = await record_store_peer.swap(prefix + "k", expected=version, value=value)
            found = await asyncio.wait_for(watch, PATIENCE_S / 2)
            assert found != seen
            seen = found

    async def test_a_watch_of_a_prefix_is_not_woken_by_other_keys(
        self, record_store: RecordStore, record_store_peer: RecordStore
    ) -> None:
        name = _namespace()
        seen = await record_store.watch_prefix(name + "/", seen=-1, timeout_s=PATIENCE_S)
        watch = asyncio.create_task(record_store.watch_prefix(name + "/", seen=seen, timeout_s=PATIENCE_S))
        await asyncio.sleep(_SETTLE_S)
        for number, writer in enumerate((record_store, record_store_peer)):
            await writer.swap(f"{name}{number}", expected=None, value=b"beside")
        await asyncio.sleep(_SETTLE_S)
        assert not watch.done()
        await record_store_peer.swap(f"{name}/k", expected=None, value=b"under")
        assert await asyncio.wait_for(watch, PATIENCE_S / 2) != seen

    async def test_a_watch_of_what_was_made_here_hears_of_its_removal_by_a_peer(
        self, record_store: RecordStore, record_store_peer: RecordStore
    ) -> None:
        name = _namespace()
        watch = asyncio.create_task(record_store.watch(f"{name}/k", seen=None, timeout_s=PATIENCE_S))
        await asyncio.sleep(_SETTLE_S)
        await record_store_peer.swap(f"{name}/other", expected=None, value=b"so that the key is looked at while absent")
        await asyncio.sleep(_SETTLE_S)
        made = await record_store.swap(f"{name}/k", expected=None, value=b"ours")
        assert await watch is not None
        watch = asyncio.create_task(record_store.watch(f"{name}/k", seen=made, timeout_s=PATIENCE_S))
        await asyncio.sleep(_SETTLE_S)
        await record_store_peer.swap(f"{name}/k", expected=made, value=None)
        assert await asyncio.wait_for(watch, PATIENCE_S / 2) is None

    async def test_a_peer_sees_what_was_written(
        self, record_store: RecordStore, record_store_peer: RecordStore
    ) -> None:
        key = _namespace() + "k"
        version = await record_store.swap(key, expected=None, value=b"one")
        record = Record(key=key, version=version, value=b"one")
        assert await record_store_peer.get(key) == record
        assert await record_store_peer.list(key) == [record]
        await record_store_peer.swap(key, expected=version, value=b"two")
        with pytest.raises(Mismatch):
            await record_store.swap(key, expected=version, value=b"three")

    async def test_a_swap_repeated_after_a_lost_reply_shows_that_it_had_happened(
        self, record_store: RecordStore
    ) -> None:
        key = _namespace() + "k"
        version = await record_store.swap(key, expected=None, value=b"one")
        written = await record_store.swap(key, expected=version, value=b"two")  # suppose that this reply got lost
        with pytest.raises(Mismatch) as refusal:
            await record_store.swap(key, expected=version, value=b"two")
        assert refusal.value.current == Record(key=key, version=written, value=b"two")

    async def test_no_increment_is_lost_between_eight_tasks(
        self, record_store: RecordStore, record_store_peer: RecordStore
    ) -> None:
        key = _namespace() + "k"
        stores = (record_store, record_store_peer)
        await asyncio.gather(*(count_up(stores[task % 2], key, times=2) for task in range(8)))
        assert (await record_store.get(key) or pytest.fail("gone")).value == b"16"

    async def test_only_one_of_many_creators_wins(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        outcomes = await asyncio.gather(
            *(record_store.swap(key, expected=None, value=b"%d" % task) for task in range(12)), return_exceptions=True
        )
        winners = [task for task, outcome in enumerate(outcomes) if isinstance(outcome, int)]
        assert len(winners) == 1
        current = await record_store.get(key)
        assert current == Record(key=key, version=int(str(outcomes[winners[0]])), value=b"%d" % winners[0])
        assert all(isinstance(outcome, int | Mismatch) for outcome in outcomes)

    @_frugal
    @given(steps=_steps)
    async def test_any_history_reads_like_a_dictionary(self, record_store: RecordStore, steps: list[_Step]) -> None:
        prefix = _namespace()
        model: dict[str, Record] = {}
        used: set[tuple[str, int]] = set()
        for step in steps:
            await _follow(record_store, prefix + step.key, step, model, used)
        records = sorted(model.values(), key=lambda record: record.key)
        assert await record_store.list(prefix) == records
        assert await record_store.list(prefix + "a/") == [
            record for record in records if record.key.startswith(prefix + "a/")
        ]

    @pytest.mark.promise("P3")
    async def test_a_damaged_record_is_refused_and_never_taken_for_an_absent_one(
        self, record_store: RecordStore, record_store_peer: RecordStore, rewrite_record: Rewrite
    ) -> None:
        prefix = _namespace()
        version = await record_store.swap(prefix + "k", expected=None, value=b'{"head": null}')
        damages = [_flipped(bit) for bit in range(0, 8 * 14, 9)] + [_DAMAGES["empty"], _DAMAGES["cut in half"]]
        for damage in damages:
            whole = await _rewritten(rewrite_record, prefix + "k", damage)
            for call in (
                record_store_peer.get(prefix + "k"),
                record_store_peer.list(prefix),
                record_store_peer.watch(prefix + "k", seen=version, timeout_s=0),
                record_store_peer.swap(prefix + "k", expected=None, value=b"new"),
            ):
                with pytest.raises(BackendUnavailable) as refusal:
                    await call
                assert refusal.value.fix
            await _rewritten(rewrite_record, prefix + "k", lambda _: whole)  # noqa: B023
        assert await record_store_peer.get(prefix + "k") == Record(
            key=prefix + "k", version=version, value=b'{"head": null}'
        )

    async def test_only_a_record_that_cannot_be_read_is_replaced(
        self, record_store: RecordStore, record_store_peer: RecordStore, rewrite_record: Rewrite
    ) -> None:
        key = _namespace() + "k"
        with pytest.raises(Mismatch):
            await record_store.replace_damaged(key, b"new")
        version = await record_store.swap(key, expected=None, value=b'{"head": null}')
        with pytest.raises(Mismatch) as refusal:
            await record_store.replace_damaged(key, b"new")
        assert refusal.value.current == Record(key=key, version=version, value=b'{"head": null}')
        for damage in (_flipped(8 * 13 + 3), _DAMAGES["empty"], _DAMAGES["cut in half"]):
            await _rewritten(rewrite_record, key, damage)
            again = await record_store_peer.replace_damaged(key, b"new")
            assert again != version
            assert await record_store.get(key) == Record(key=key, version=again, value=b"new")
            version = await record_store.swap(key, expected=again, value=b'{"head": null}')

    @pytest.mark.promise("P3")
    async def test_a_record_that_stands_under_another_key_is_refused(
        self, record_store: RecordStore, record_store_peer: RecordStore, rewrite_record: Rewrite
    ) -> None:
        prefix = _namespace()
        for name in ("one", "two"):
            await record_store.swap(prefix + name, expected=None, value=name.encode())
        other = await _rewritten(rewrite_record, prefix + "two", lambda stored: stored)
        await _rewritten(rewrite_record, prefix + "one", lambda _: other)
        with pytest.raises(BackendUnavailable):
            await record_store_peer.get(prefix + "one")

    async def test_a_closed_store_refuses_politely(self, record_store: RecordStore) -> None:
        key = _namespace() + "k"
        watch = asyncio.create_task(record_store.watch(key, seen=None, timeout_s=PATIENCE_S))
        await asyncio.sleep(_SETTLE_S)
        await record_store.close()
        await record_store.close()
        with pytest.raises(UsageError):
            await asyncio.wait_for(watch, PATIENCE_S / 2)
        for call in (
            record_store.get(key),
            record_store.swap(key, expected=None, value=b"x"),
            record_store.list(""),
            record_store.watch(key, seen=None, timeout_s=0),
            record_store.watch_prefix("", seen=-1, timeout_s=0),
        ):
            with pytest.raises(UsageError):
                await call


async def count_up(store: RecordStore, key: str, *, times: int) -> None:
    """Add one to the number in `key`, `times` times, against whoever does the same."""
    for _ in range(times):
        while True:
            record = await store.get(key)
            number = 0 if record is None else int(record.value)
            try:
                await store.swap(key, expected=record.version if record else None, value=b"%d" % (number + 1))
            except Mismatch:
                continue
            break


async def _follow(
    store: RecordStore, key: str, step: _Step, model: dict[str, Record], used: set[tuple[str, int]]
) -> None:
    """Do one step on the store and the model, and compare."""
    current = model.get(key)
    version = None if current is None else current.version
    expected = version if step.is_current else (version or 0) + 1
    if expected != version:
        with pytest.raises(Mismatch) as refusal:
            await store.swap(key, expected=expected, value=step.value)
        assert refusal.value.current == current
    else:
        written = await store.swap(key, expected=expected, value=step.value)
        model.pop(key, None)
        if step.value is None:
            assert written == 0
        else:
            assert written > 0
            assert (key, written) not in used
            used.add((key, written))
            model[key] = Record(key=key, version=written, value=step.value)
    assert await store.get(key) == model.get(key)


def _document(seed: int, lines: int) -> bytes:
    """Return a document that looks a little like a state: indented lines with ids."""
    chance = random.Random(seed)
    return b"".join(b'    "id": "%032x", "type": "queue",\n' % chance.getrandbits(128) for _ in range(lines))


async def _rewritten(rewrite: Rewrite, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """Change stored bytes; return those from before."""
    before: list[bytes] = []

    def changed(stored: bytes) -> bytes:
        before.append(stored)
        return change(stored)

    await rewrite(name, changed)
    return before[0]


def _flipped(bit: int) -> Callable[[bytes], bytes]:
    """Return what flips one bit, counted from the end."""
    return lambda stored: (
        stored[: ~(bit // 8)] + bytes([stored[~(bit // 8)] ^ 1 << bit % 8]) + stored[len(stored) - bit // 8 :]
    )


_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "one bit flipped": lambda stored: stored[:-3] + bytes([stored[-3] ^ 1]) + stored[-2:],
    "its header flipped": lambda stored: bytes([stored[0] ^ 0x40]) + stored[1:],
    "cut in half": lambda stored: stored[: len(stored) // 2],
    "empty": lambda _: b"",
    "zeroed": lambda stored: bytes(len(stored)),
}


class BlobStoreContract:
    """Inherit from this, and give the fixtures `blob_store` and `rewrite_blob`."""

    @pytest.mark.promise("P3")
    @pytest.mark.parametrize("damage", _DAMAGES.values(), ids=list(_DAMAGES))
    async def test_a_damaged_blob_is_refused_and_putting_its_bytes_again_repairs_it(
        self, blob_store: BlobStore, rewrite_blob: Rewrite, damage: Callable[[bytes], bytes]
    ) -> None:
        data = _namespace().encode() + _document(11, 300)
        digest = await blob_store.put(data)
        await rewrite_blob(digest, damage)
        with pytest.raises(BlobDamaged):
            await blob_store.get(digest)
        assert await blob_store.put(data) == digest
        assert await blob_store.get(digest) == data

    @pytest.mark.promise("P3")
    async def test_a_blob_is_repaired_though_the_one_that_it_is_like_is_damaged_too(
        self, blob_store: BlobStore, rewrite_blob: Rewrite
    ) -> None:
        versions = _versions(_namespace(), count=4)
        digests = await _put_chain(blob_store, versions)
        for digest in digests[:3]:
            await rewrite_blob(digest, _DAMAGES["cut in half"])
        for digest, version, before in zip(digests[::-1], versions[::-1], [*digests[2::-1], None], strict=True):
            assert await blob_store.put(version, like=before) == digest
            assert await blob_store.get(digest) == version
        for digest, version in zip(digests, versions, strict=True):
            assert await blob_store.get(digest) == version

    @pytest.mark.promise("P3")
    async def test_a_damaged_base_put_again_makes_those_written_from_it_readable(
        self, blob_store: BlobStore, rewrite_blob: Rewrite
    ) -> None:
        versions = _versions(_namespace(), count=3)
        digests = await _put_chain(blob_store, versions)
        await rewrite_blob(digests[0], _DAMAGES["zeroed"])
        assert await blob_store.put(versions[0]) == digests[0]
        assert [await blob_store.get(digest) for digest in digests] == versions

    @pytest.mark.promise("P3")
    async def test_many_may_repair_the_same_blob_at_once(self, blob_store: BlobStore, rewrite_blob: Rewrite) -> None:
        data = _namespace().encode() + random.Random(12).randbytes(300_000)
        digest = await blob_store.put(data)
        await rewrite_blob(digest, _DAMAGES["cut in half"])
        assert set(await asyncio.gather(*(blob_store.put(data) for _ in range(5)))) == {digest}
        assert await blob_store.get(digest) == data

    @pytest.mark.parametrize(
        "data", [b"", b"x", b"{}" * 5000, _document(1, 3000), random.Random(2).randbytes(300_000)], ids=len
    )
    async def test_a_blob_reads_back_under_its_digest(self, blob_store: BlobStore, data: bytes) -> None:
        digest = await blob_store.put(data)
        assert digest == blob_digest(data)
        assert await blob_store.get(digest) == data
        assert await blob_store.has(digest)
        assert await blob_store.size(digest) == len(data)

    async def test_a_blob_of_several_megabytes_reads_back(self, blob_store: BlobStore) -> None:
        data = random.Random(3).randbytes(9_000_001)
        digest = await blob_store.put(data)
        assert await blob_store.get(digest) == data

    async def test_putting_twice_changes_nothing(self, blob_store: BlobStore) -> None:
        data = _document(4, 100)
        assert await blob_store.put(data) == await blob_store.put(data)
        assert await blob_store.get(blob_digest(data)) == data

    async def test_many_may_put_the_same_blob_at_once(self, blob_store: BlobStore) -> None:
        data = random.Random(5).randbytes(5_000_000)
        assert set(await asyncio.gather(*(blob_store.put(data) for _ in range(4)))) == {blob_digest(data)}
        assert await blob_store.get(blob_digest(data)) == data

    async def test_a_missing_blob_is_reported_as_missing(self, blob_store: BlobStore) -> None:
        digest = blob_digest(_namespace().encode())
        assert not await blob_store.has(digest)
        with pytest.raises(BlobMissing):
            await blob_store.get(digest)
        with pytest.raises(BlobMissing):
            await blob_store.size(digest)

    async def test_a_deleted_blob_is_missing_and_may_come_back(self, blob_store: BlobStore) -> None:
        data = _namespace().encode()
        digest = await blob_store.put(data)
        await blob_store.delete(digest)
        await blob_store.delete(digest)
        assert not await blob_store.has(digest)
        with pytest.raises(BlobMissing):
            await blob_store.get(digest)
        assert await blob_store.put(data) == digest
        assert await blob_store.get(digest) == data

    @pytest.mark.parametrize("digest", ["", "abc", "A" * 64, "g" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
    async def test_what_is_no_digest_is_refused(self, blob_store: BlobStore, digest: str) -> None:
        for call in (
            blob_store.get(digest),
            blob_store.has(digest),
            blob_store.size(digest),
            blob_store.delete(digest),
            blob_store.put(b"x", like=digest),
        ):
            with pytest.raises(UsageError):
                await call

    async def test_a_blob_like_a_missing_one_is_stored_all_the_same(self, blob_store: BlobStore) -> None:
        data = _document(6, 50)
        digest = await blob_store.put(data, like="0" * 64)
        assert await blob_store.get(digest) == data

    async def test_a_blob_may_be_said_to_be_like_itself(self, blob_store: BlobStore) -> None:
        data = _document(7, 50)
        assert await blob_store.put(data, like=blob_digest(data)) == await blob_store.put(data, like=blob_digest(data))
        assert await blob_store.get(blob_digest(data)) == data

    @pytest.mark.parametrize("order", ["oldest first", "newest first", "shuffled"])
    async def test_a_chain_of_versions_survives_deletions_in_any_order(self, blob_store: BlobStore, order: str) -> None:
        versions = _versions(_namespace(), count=15)
        digests = await _put_chain(blob_store, versions)
        doomed = list(digests)
        if order == "newest first":
            doomed.reverse()
        if order == "shuffled":
            random.Random(8).shuffle(doomed)
        for count, digest in enumerate(doomed, start=1):
            await blob_store.delete(digest)
            kept = set(doomed[count:])
            if count % 4 != 1:  # a look is two calls for each version, which takes seconds on S3 after each deletion
                continue
            for version in versions:
                assert await blob_store.has(blob_digest(version)) == (blob_digest(version) in kept)
                if blob_digest(version) in kept:
                    assert await blob_store.get(blob_digest(version)) == version

    async def test_a_base_deleted_while_others_are_written_from_it_harms_none(self, blob_store: BlobStore) -> None:
        versions = _versions(_namespace(), count=6)
        base = await blob_store.put(versions[0])
        await asyncio.gather(*(blob_store.put(version, like=base) for version in versions[1:]), blob_store.delete(base))
        for version in versions[1:]:
            assert await blob_store.get(blob_digest(version)) == version

    async def test_a_closed_store_refuses_politely(self, blob_store: BlobStore) -> None:
        digest = await blob_store.put(b"x")
        await blob_store.close()
        await blob_store.close()
        for call in (
            blob_store.put(b"y"),
            blob_store.get(digest),
            blob_store.has(digest),
            blob_store.size(digest),
            blob_store.delete(digest),
        ):
            with pytest.raises(UsageError):
                await call


def _versions(name: str, *, count: int) -> list[bytes]:
    chance = random.Random(9)
    lines = [name.encode(), *_document(9, 400).splitlines(keepends=True)]
    versions = []
    for number in range(count):
        lines[chance.randrange(1, len(lines))] = b'    "changed": %d,\n' % number
        versions.append(b"".join(lines))
    return versions


async def _put_chain(store: BlobStore, versions: list[bytes]) -> list[str]:
    digests: list[str] = []
    for version in versions:
        digests.append(await store.put(version, like=digests[-1] if digests else None))
    return digests
