"""Endpoints about books that decide nothing about a state: known states, creations, drift, and budgets.

A client reads and swaps single records, and only of these books: who holds a state and which version is current are in
no book. Which state a record is about is told by its key, or by what it says; the token needs its rights on that state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Struct

from interlock.api.books import Blob, Swap, Swapped, ToldFault, ToldFaults, ToldRecord, ToldRecords, told_record
from interlock.api.locks import WAIT_S_MAX
from interlock.bounded import decode_json
from interlock.creations.creation import Creation
from interlock.drift.finding import decode_scan
from interlock.errors import InterlockError, UsageError
from interlock.gateway.identity import ORGANISATIONS, read_known
from interlock.gateway.ledger import Ledger, from_bytes, read_ledger
from interlock.gateway.takings import LATE_S, taken_back
from interlock.rights import Right
from interlock.rights.callers import Caller, may_do
from interlock.rights.roles import EVERY_STATE
from interlock.rights.token import Forbidden
from interlock.server.api.serving import NotFound
from interlock.server.api.table import AnyEndpoint, Call, NoBody, NoQuery, Sent, acts, from_to, reads
from interlock.store import Mismatch, Record
from interlock.store.opening import Store

SCAN_BYTES_MAX: Final = 64 * 1024 * 1024
PAGE_MAX: Final = 500
_DRIFT, _KNOWN, _MADE, _BUDGETS = "drift/", "known/", "made/", "gateway/"


class OfRecord(Struct, frozen=True, kw_only=True):
    """Asks for one record.

    Attributes:
        key: Its name.
        seen: The version that is known, for waiting; 0 for none.
        wait_s: Seconds to wait for another one; 0 answers at once.
        state: On whose behalf a budget is drawn from; not needed for other books.
    """

    key: str
    seen: int = 0
    wait_s: float = 0.0
    state: str = ""


class OfRecords(Struct, frozen=True, kw_only=True):
    """Asks for a page of records.

    Attributes:
        prefix: What their names begin with.
        after: The name after which the page begins.
        limit: Most on the page.
    """

    prefix: str
    after: str = ""
    limit: Annotated[int, from_to(1, PAGE_MAX)] = PAGE_MAX


class OnBehalf(Struct, frozen=True, kw_only=True):
    """Acts for one state; see `OfRecord.state`."""

    state: str = ""


class OfBlob(Struct, frozen=True, kw_only=True):
    """Asks for stored bytes.

    Attributes:
        blob: Their name.
    """

    blob: str


def _named(key: str, _value: bytes | None) -> str:
    return key.partition("/")[2]


def _made_for(_key: str, value: bytes | None) -> str:
    """Return the state of a creation; every state, when it cannot be read."""
    try:
        return decode_json(value or b"", type=Creation).state or EVERY_STATE
    except (msgspec.MsgspecError, ValueError):
        return EVERY_STATE


_STATE_OF: Final[Mapping[str, Callable[[str, bytes | None], str]]] = {
    _DRIFT: _named,
    _KNOWN: _named,
    _MADE: _made_for,
}
"""The books, and which state each of their records is about."""


async def no_clients() -> frozenset[str]:
    """Return nothing, as where the server keeps no OAuth client."""
    return frozenset()


class _Books:
    """Does what clients ask of the books."""

    def __init__(self, store: Store, clients: Callable[[], Awaitable[frozenset[str]]]) -> None:
        self._records = store.records
        self._blobs = store.blobs
        self._clock = store.clock
        self._clients = clients

    async def look(self, call: Call[OfRecord, NoBody]) -> ToldRecord | None:
        """One record of a book, now or when it has changed."""
        query = call.query
        _book_of(query.key)
        if query.wait_s > 0:
            wait_s = min(query.wait_s, WAIT_S_MAX)
            record = await self._records.watch(query.key, seen=query.seen or None, timeout_s=wait_s)
        else:
            record = await self._records.get(query.key)
        if record is None:
            return None
        _check(call.caller, Right.READ_STATE, record.key, record.value)
        return told_record(record, now_s=self._now_s())

    async def list(self, call: Call[OfRecords, NoBody]) -> ToldRecords:
        """Records of a book."""
        query = call.query
        _book_of(query.prefix)
        if not 1 <= query.limit <= PAGE_MAX:
            raise UsageError("the records were not listed", why=f"a page has 1 to {PAGE_MAX} records")
        page = await self._records.list(query.prefix, after=query.after, limit=query.limit)
        seen = [told_record(record) for record in page if _may_see(call.caller, record)]
        return ToldRecords(records=seen, next=page[-1].key if len(page) == query.limit else "")

    async def swap(self, call: Call[OnBehalf, Swap]) -> Swapped:
        """Replace a record of a book if its version is the expected one."""
        asked = call.body
        await self._check_writer(call, asked)
        try:
            if asked.is_damaged and asked.value is not None:
                version = await self._records.replace_damaged(asked.key, asked.value)
            else:
                version = await self._records.swap(asked.key, expected=asked.expected, value=asked.value)
            return Swapped(version=version, now_s=self._now_s())
        except Mismatch as error:
            current = None if error.current is None else told_record(error.current)
            return Swapped(current=current, now_s=self._now_s())

    def _now_s(self) -> float:
        return self._clock.now().timestamp()

    async def _check_writer(self, call: Call[OnBehalf, Swap], asked: Swap) -> None:
        """Refuse who may not write what is there, or what is to be there."""
        if _book_of(asked.key) == _BUDGETS:
            await self._check_may_draw(call, asked)
            return
        values = [asked.value] if asked.value is not None else []
        if not asked.is_damaged and (before := await self._records.get(asked.key)) is not None:
            values.append(before.value)
        for value in values:
            _check(call.caller, Right.PLAN, asked.key, value)

    async def _check_may_draw(self, call: Call[OnBehalf, Swap], asked: Swap) -> None:
        """Refuse what takes back what others drew from a budget, and a client that would move.

        All runs of an organisation draw from one record, and each client writes the whole of it: also for the gateway
        through which the server's own runs apply.
        """
        call.caller.check(Right.PLAN, call.query.state or EVERY_STATE)
        if asked.key.startswith(ORGANISATIONS):
            await self._check_belongs(asked)
            return
        after, now_s = read_ledger(asked.value or b""), self._clock.now().timestamp()
        if after is None:
            raise UsageError("the budget was not changed", why="what was sent is not a record of a budget")
        before = await self._ledger(asked, now_s)
        taken = "" if before is None else taken_back(before, after, now_s=now_s)
        if taken:
            why = f"it {taken}; a clock that is more than {LATE_S:.0f} s wrong does that too"
            raise Forbidden("the budget was not changed", why=why)

    async def _ledger(self, asked: Swap, now_s: float) -> Ledger | None:
        """Return what a change replaces; None where it was made from another record, and so will not land."""
        if asked.is_damaged:
            return Ledger(lost_at_s=now_s)
        record = await self._records.get(asked.key)
        if (None if record is None else record.version) != asked.expected:
            return None
        return Ledger() if record is None else from_bytes(record.value, now_s=now_s)

    async def _check_belongs(self, asked: Swap) -> None:
        """Refuse another word on where an OAuth client belongs, and any on one that the server keeps."""
        if not read_known(asked.value or b""):
            raise UsageError("the record was not changed", why="what was sent does not name an organisation")
        if asked.expected is not None or asked.key in await self._clients():
            raise Forbidden(
                "the record was not changed",
                why="an OAuth client never moves to another organisation, and the server knows its own",
            )

    async def keep_scan(self, call: Call[NoQuery, bytes]) -> Blob:
        """Keep a scan for drift."""
        call.caller.check(Right.PLAN, _scanned(call.body))
        return Blob(digest=await self._blobs.put(call.body))

    async def scan(self, call: Call[OfBlob, NoBody]) -> Sent:
        """A scan for drift."""
        body = await self._scan(call, Right.READ_STATE)
        return Sent(body=body)

    async def drop_scan(self, call: Call[OfBlob, NoBody]) -> None:
        """Throw a scan away."""
        await self._scan(call, Right.PLAN)
        await self._blobs.delete(call.query.blob)

    async def _scan(self, call: Call[OfBlob, NoBody], right: Right) -> bytes:
        """Return a scan: nothing else that is stored may be read, or deleted, by its name."""
        try:
            body = await self._blobs.get(call.query.blob)
            state = _scanned(body)
        except InterlockError as error:
            raise NotFound("there is no scan under this name") from error
        call.caller.check(right, state)
        return body


def _scanned(body: bytes) -> str:
    return decode_scan(body).state


def _book_of(key: str) -> str:
    """Return the book that a key, or the beginning of keys, belongs to.

    Raises:
        NotFound: It is in none of the books.
    """
    for book in (*_STATE_OF, _BUDGETS):
        if key.startswith(book):
            return book
    raise NotFound("there is no such book", why=f"records begin with {', '.join((*_STATE_OF, _BUDGETS))}")


def _check(caller: Caller, right: Right, key: str, value: bytes | None) -> None:
    book = _book_of(key)
    if book != _BUDGETS:
        caller.check(right, _STATE_OF[book](key, value))


def _may_see(caller: Caller, record: Record) -> bool:
    book = _book_of(record.key)
    return book == _BUDGETS or may_do(caller, Right.READ_STATE, _STATE_OF[book](record.key, record.value))


class _Whole:
    """Looks at the whole store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def faults(self, _call: Call[NoQuery, NoBody]) -> ToldFaults:
        """What is wrong in the store."""
        return ToldFaults(faults=[ToldFault(what=each.what, key=each.key) for each in await self._store.faults()])


def book_endpoints(store: Store, clients: Callable[[], Awaitable[frozenset[str]]] = no_clients) -> list[AnyEndpoint]:
    """Return the rows.

    Args:
        store: Where the books are.
        clients: Which records say where OAuth clients belong that the server keeps.
    """
    books = _Books(store, clients)
    return [
        reads("/books", books.look, right=None, query=OfRecord, answer=ToldRecord | None, waits=True),
        reads("/books/all", books.list, right=None, query=OfRecords, answer=ToldRecords),
        acts("/books", books.swap, right=None, query=OnBehalf, body=Swap, answer=Swapped),
        acts("/scans", books.keep_scan, right=None, query=NoQuery, body=bytes, answer=Blob, limit_bytes=SCAN_BYTES_MAX),
        reads("/scans", books.scan, right=None, query=OfBlob, answer=bytes),
        acts("/scans", books.drop_scan, method="DELETE", right=None, query=OfBlob, body=NoBody, answer=None),
        reads("/store/faults", _Whole(store).faults, right=Right.ADMINISTER, query=NoQuery, answer=ToldFaults),
    ]
