"""The chain of a state's versions, its end, and pages that make it quick to search. A hand: it reads and writes stores.

A description names the description before it, so the chain itself needs no index, only one read a link. Every `PAGE`
versions their descriptions are put together into a page, an immutable blob that names the page before it and one
further back (a skip list with two links a page, after Myers, 1983: the k-th version is found in the logarithm of their
number). Pages are derived: one that is missing or does not fit is passed over link by link, and `rebuild` makes all of
them anew.

One small record a state, `chain/<state>`, says which version was acknowledged last and which page is the last. It is
written after the head of the state and before the write is acknowledged. So a state whose own record is gone or says
that there is no version, although versions were acknowledged, is recognised as damaged instead of as new.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.errors import BackendUnavailable, InterlockError, StateInvalid, reason_of
from interlock.state.history import Version, check_link, decode_version
from interlock.store import BlobDamaged, BlobMissing, BlobStore, Mismatch, RecordDamaged, RecordStore, blob_digest

PAGE = 64
"""Descriptions in a page: some 10 KB stored, and at most so many single reads before the first page is reached."""
MAX_HISTORY = 1_000_000  # links walked in one go; more is a broken chain
SCHEMA = 1
_ATTEMPTS = 8
_PREFIX = "chain/"


class End(Struct, frozen=True, kw_only=True):
    """What is remembered of a chain.

    Attributes:
        number: Of the version that was acknowledged last.
        meta: Digest of its description.
        page: Digest of the last page; empty before the first.
        page_number: Number of the last version in it.
        page_meta: Digest of the description of that.
        schema: Version of this form.
    """

    number: int
    meta: str
    page: str = ""
    page_number: int = 0
    page_meta: str = ""
    schema: int = SCHEMA


class Page(Struct, frozen=True, kw_only=True):
    """`PAGE` descriptions, oldest first, and the way to older ones.

    Attributes:
        number: Number of the last version in it.
        entries: The stored forms of the descriptions.
        before: Digest of the page before; empty in the first.
        skip: Digest of a page further back; empty in the first.
        skip_number: Its number.
        highest: The highest serial of each lineage, in this page and all before.
    """

    number: int
    entries: tuple[bytes, ...]
    before: str
    skip: str
    skip_number: int
    highest: dict[str, int]


class Chain:
    """The chains of all states.

    Args:
        records: Where the ends are.
        blobs: Where descriptions and pages are.
    """

    def __init__(self, records: RecordStore, blobs: BlobStore) -> None:
        self._records = records
        self._blobs = blobs

    async def end(self, state: str) -> End | None:
        """Return what is remembered of a state's chain; None when no version of it was ever acknowledged.

        Raises:
            BackendUnavailable: It cannot be read.
        """
        record = await self._records.get(_key(state))
        return None if record is None else _decode_end(record.value)

    async def extend(self, state: str, number: int, meta: str) -> None:
        """Remember a version before it is acknowledged; an older one than is remembered changes nothing.

        A record that is damaged is begun anew: the version is current, which is all that it must say.
        """
        for _ in range(_ATTEMPTS):
            try:
                record = await self._records.get(_key(state))
            except RecordDamaged:
                await self._begin_anew(state, End(number=number, meta=meta))
                continue
            before = None if record is None else _decode_end(record.value)
            if before is not None and before.number >= number:
                return
            after = End(number=number, meta=meta) if before is None else replace(before, number=number, meta=meta)
            if number % PAGE == 0 and number - PAGE == after.page_number:
                with suppress(InterlockError):  # a page that is missing is made by the next `rebuild`
                    after = await self._with_page(after)
            with suppress(Mismatch):
                expected = None if record is None else record.version
                await self._records.swap(_key(state), expected=expected, value=msgspec.json.encode(after))
                return

    async def describe(self, meta: str) -> Version:
        """Return one description.

        Raises:
            BackendUnavailable: It is missing or damaged.
        """
        return decode_version(await self._read(meta))

    async def walk(self, state: str, meta: str) -> AsyncIterator[Version]:
        """Yield the versions from one on, newest first, each checked against the one after it.

        Raises:
            StateInvalid: A link is broken.
        """
        newer: Version | None = None
        async for stored in self._stored(await self._readable_end(state), meta):
            version = decode_version(stored)
            fault = check_link(newer, version) if newer is not None else ""
            if fault:
                raise StateInvalid("the history of a state is broken", why=fault, finding="bad-history")
            yield version
            newer = version

    async def find(self, state: str, meta: str, number: int) -> Version | None:
        """Return the version with this number at or before the one described by `meta`; None when there is none."""
        end = await self._readable_end(state)
        while meta and number > 0:
            page = await self._joined(end, meta)
            if page is not None and number <= page.number:
                return await self._find_in(page, number) or await self._find_slowly(state, meta, number)
            version = await self.describe(meta)
            if version.number <= number:
                return version if version.number == number else None
            if end is None or version.number <= end.page_number or version.number > end.page_number + 4 * PAGE:
                return await self._find_slowly(state, meta, number)
            meta = version.parent
        return None

    async def highest_serial(self, state: str, meta: str, lineage: str) -> int:
        """Return the highest serial ever stored for a lineage; 0 when there is none."""
        end = await self._readable_end(state)
        highest = 0
        while meta:
            page = await self._joined(end, meta)
            if page is not None:
                return max(highest, page.highest.get(lineage, 0))
            version = await self.describe(meta)
            if version.lineage == lineage:
                highest = max(highest, version.serial)
            meta = version.parent
        return highest

    async def rebuild(self, state: str, meta: str) -> None:
        """Make all pages anew from the chain that ends in `meta`."""
        stored = [entry async for entry in self._stored(None, meta)][::-1]
        end = End(number=len(stored), meta=meta)
        page: Page | None = None
        for start in range(0, len(stored) - PAGE + 1, PAGE):
            page = await self._next_page(page, end.page, tuple(stored[start : start + PAGE]))
            end = await self._with(end, page)
        for _ in range(_ATTEMPTS):
            try:
                record = await self._records.get(_key(state))
            except RecordDamaged:
                await self._begin_anew(state, end)
                continue
            now = end
            if record is not None:
                kept = _decode_end(record.value)
                newest = kept if kept.number >= end.number else end
                now = replace(newest, page=end.page, page_number=end.page_number, page_meta=end.page_meta)
            with suppress(Mismatch):
                expected = None if record is None else record.version
                await self._records.swap(_key(state), expected=expected, value=msgspec.json.encode(now))
                return

    async def _begin_anew(self, state: str, end: End) -> None:
        with suppress(Mismatch):  # somebody else did
            await self._records.replace_damaged(_key(state), msgspec.json.encode(end))

    async def _find_in(self, page: Page, number: int) -> Version | None:
        with suppress(InterlockError, msgspec.MsgspecError, IndexError):
            while number <= page.number - len(page.entries):
                page = _decode_page(await self._blobs.get(page.skip if number <= page.skip_number else page.before))
            version = decode_version(page.entries[number - page.number - 1])
            return version if version.number == number else None
        return None

    async def _find_slowly(self, state: str, meta: str, number: int) -> Version | None:
        """Walk, and make the pages if there are none that help: the next search is quick then."""
        links = 0
        async for version in self.walk(state, meta):
            links += 1
            if version.number <= number:
                if links > 4 * PAGE:
                    with suppress(InterlockError):
                        await self.rebuild(state, meta)
                return version if version.number == number else None
        return None

    async def _stored(self, end: End | None, meta: str, *, limit: int = MAX_HISTORY) -> AsyncIterator[bytes]:
        """Yield stored descriptions from `meta` on, out of pages where they fit."""
        for _ in range(limit):
            page = await self._joined(end, meta)
            while page is not None:
                for entry in reversed(page.entries):
                    if blob_digest(entry) != meta:
                        break
                    yield entry
                    meta = decode_version(entry).parent
                page = await self._page(page.before, meta)
            if not meta:
                return
            stored = await self._read(meta)
            yield stored
            meta = decode_version(stored).parent

    async def _joined(self, end: End | None, meta: str) -> Page | None:
        """Return the last page if its newest description is `meta`."""
        return await self._page(end.page, meta) if end is not None and end.page_meta == meta else None

    async def _page(self, digest: str, meta: str) -> Page | None:
        """Return a page whose newest description is `meta`; None when there is none, it is damaged, or another one."""
        if not digest or not meta:
            return None
        try:
            page = _decode_page(await self._blobs.get(digest))
        except (BlobMissing, BlobDamaged, msgspec.MsgspecError):
            return None
        return page if page.entries and blob_digest(page.entries[-1]) == meta else None

    async def _with_page(self, end: End) -> End:
        """Return the end with a page of the last `PAGE` versions."""
        entries = [entry async for entry in self._stored(None, end.meta, limit=PAGE)][::-1]
        before = None if not end.page else _decode_page(await self._blobs.get(end.page))
        page = await self._next_page(before, end.page, tuple(entries))
        return await self._with(end, page)

    async def _with(self, end: End, page: Page) -> End:
        digest = await self._blobs.put(_encode_page(page))
        return replace(end, page=digest, page_number=page.number, page_meta=blob_digest(page.entries[-1]))

    async def _next_page(self, before: Page | None, digest: str, entries: tuple[bytes, ...]) -> Page:
        highest: dict[str, int] = dict(before.highest) if before is not None else {}
        for entry in entries:
            version = decode_version(entry)
            highest[version.lineage] = max(highest.get(version.lineage, 0), version.serial)
        skip, skip_number = await self._skip(before, digest)
        return Page(
            number=decode_version(entries[-1]).number,
            entries=entries,
            before=digest,
            skip=skip,
            skip_number=skip_number,
            highest=highest,
        )

    async def _skip(self, before: Page | None, digest: str) -> tuple[str, int]:
        """Choose the page to skip to: two skips of one length become one of twice the length."""
        if before is None:
            return "", 0
        if before.skip:
            further = _decode_page(await self._blobs.get(before.skip))
            if before.number - before.skip_number == further.number - further.skip_number:
                return further.skip or before.skip, further.skip_number if further.skip else before.skip_number
        return digest, before.number

    async def _read(self, meta: str) -> bytes:
        try:
            return await self._blobs.get(meta)
        except (BlobMissing, BlobDamaged) as error:
            raise BackendUnavailable(
                "the description of a version is missing or damaged", why=error.what, fix="interlock doctor"
            ) from error

    async def _readable_end(self, state: str) -> End | None:
        try:
            return await self.end(state)
        except BackendUnavailable:  # it only makes things quicker here; the chain says the same
            return None


def _key(state: str) -> str:
    return _PREFIX + quote(state, safe="")


def _decode_end(value: bytes) -> End:
    try:
        data = decode_json(value, type=dict[str, object])
        if set(End.__struct_fields__) - set(data):
            raise msgspec.ValidationError("a field is missing")
        end = msgspec.convert(data, End)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackendUnavailable(
            "the record of a state's chain cannot be read", why=reason_of(error), fix="interlock doctor"
        ) from error
    if end.schema > SCHEMA:
        raise BackendUnavailable("a newer Interlock wrote the record of a state's chain", fix="upgrade Interlock")
    return end


def _encode_page(page: Page) -> bytes:
    return msgspec.msgpack.encode(page)


def _decode_page(stored: bytes) -> Page:
    return msgspec.msgpack.decode(stored, type=Page)
