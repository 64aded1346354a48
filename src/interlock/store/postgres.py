"""Records and blobs in PostgreSQL: for a team, with any number of servers on one database.

A hand. Reads that come together are one question, and so are writes: all that wait are one statement and one commit.
A swap locks its row, compares its version and writes, in that one statement; so the order of swaps is strict, and a
server that is stopped or vanishes in the middle leaves no transaction open. Nobody who waits has a connection.

A version is a number that no other process has, and never one twice. A statement whose connection broke is repeated:
when it had been done, the record has just that version.

One event loop uses a store.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, LiteralString, TypeAlias

from msgspec import Struct

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, InterlockError
from interlock.ids import Ids, draw_from
from interlock.store.checksums import RecordDamaged, record_sum
from interlock.store.doorbell import Doorbell
from interlock.store.fault import FAULTS_MAX, Fault
from interlock.store.gathering import Gathering
from interlock.store.memory import store_is_closed
from interlock.store.postgres_bell import Bell, Hearing
from interlock.store.postgres_blobs import PostgresBlobs
from interlock.store.postgres_clock import DatabaseClock
from interlock.store.postgres_place import PostgresPlace
from interlock.store.postgres_schema import Migration, check_database
from interlock.store.postgres_session import Connection, Session, Sessions, crowded
from interlock.store.record_rows import behind, checked_row
from interlock.store.records import (
    KEY_BYTES_MAX,
    LIST_LIMIT_MAX,
    Mismatch,
    Record,
    check_key,
    check_limit,
    check_prefix,
    check_value,
)

WAITING_MAX = 20_000
"""Questions of one kind that wait at most; more would only take memory of a server whose database is away."""
SWAP_ATTEMPTS_MAX = 10
BLOBS_AT_ONCE = 2
"""Blobs read or written at once; each takes up to about three times its size in memory."""
Faults: TypeAlias = "list[Fault]"
Rows: TypeAlias = "Sequence[tuple[Any, ...]]"
_VERSION_BITS = 52  # exact in every JSON reader
_VERSIONS = 1 << _VERSION_BITS
_LAST = "\U0010ffff" * KEY_BYTES_MAX  # behind every key


class PostgresStore:
    """Both stores of one database.

    Attributes:
        records: The `RecordStore`.
        blobs: The `BlobStore`.
        clock: The database's, by which its servers decide.
        warnings: What an operator should know about the database's settings.
    """

    def __init__(self, place: PostgresPlace, *, clock: Clock, ids: Ids, warnings: Sequence[str] = ()) -> None:
        self.place = place
        self.clock = DatabaseClock(clock)
        self.warnings = tuple(warnings)
        self.records = PostgresRecords(place, clock=self.clock, ids=ids)
        self.blobs = PostgresBlobs(
            Sessions(BLOBS_AT_ONCE, lambda: Session(place, purpose="blobs", clock=clock)), place=place
        )

    @classmethod
    async def open(cls, place: PostgresPlace, *, clock: Clock, ids: Ids) -> PostgresStore:
        """Open the store; in a database without any of our tables they are made.

        Raises:
            UsageError: The database is newer than this program, lacks tables, or is set up so that it loses writes.
            AuthenticationFailed: It refused us.
            BackendUnavailable: It cannot be reached.
        """
        session, migration = Session(place, purpose="open", clock=clock), Migration(place, clock=clock)
        try:
            warnings = await check_database(session, place)
            if await migration.is_unmade():
                await migration.run()
            await migration.check()
        finally:
            await migration.close()
            await session.close()
        store = cls(place, clock=clock, ids=ids, warnings=warnings)
        await store.records.read_clock()
        return store

    @property
    def hearing(self) -> Hearing:
        """How well changes of other servers are heard."""
        return self.records.hearing

    @property
    def counts(self) -> Counts:
        """What records have cost so far."""
        return self.records.counts

    async def keep_room(self) -> bool:
        """See `Store.keep_room`. The disk is the database's."""
        return True

    async def faults(self) -> tuple[Fault, ...]:
        """See `Store.faults`. Reads every record."""
        found = [Fault(what=f"the database {self.place.shown}: {warning}") for warning in self.warnings]
        return (*found, *(await self.records.damaged())[:FAULTS_MAX])

    async def close(self) -> None:
        """Finish what was handed in, wake all waiters with an error, and hang up."""
        await self.records.close()
        await self.blobs.close()


class Counts(Struct, kw_only=True):
    """What a process has asked of its database: whatever waits together is one question.

    Attributes:
        reads: Statements that read records.
        writes: Statements that change records; each is a commit.
    """

    reads: int = 0
    writes: int = 0


class _Swap(Struct, frozen=True, kw_only=True):
    """A swap that waits for its turn; `version` is that of the value, if it has one."""

    key: str
    expected: int | None
    value: bytes | None
    version: int


class PostgresRecords:
    """A `RecordStore` in the table `records`."""

    def __init__(self, place: PostgresPlace, *, clock: DatabaseClock, ids: Ids) -> None:
        self.counts = Counts()
        self._place = place
        self._clock = clock
        self._versions = itertools.count(draw_from(ids)(_VERSION_BITS))
        self._doorbell = Doorbell(clock=clock)
        self._reader = Session(place, purpose="read", clock=clock)
        self._writer = Session(place, purpose="write", clock=clock)
        self._bell = Bell(place, self._doorbell, me=ids.fresh(), clock=clock, looker=self._reader)
        self._gets: Gathering[str, Record | None] = Gathering(
            self._get_all, most=WAITING_MAX, full=lambda: crowded(place, WAITING_MAX)
        )
        self._swaps: Gathering[_Swap, int] = Gathering(
            self._swap_all,
            about=lambda swap: swap.key,
            weigh=lambda swap: len(swap.value or b""),
            most=WAITING_MAX,
            full=lambda: crowded(place, WAITING_MAX),
        )
        self._closed = False

    @property
    def hearing(self) -> Hearing:
        """How well changes of other servers are heard."""
        return self._bell.hearing

    async def read_clock(self) -> None:
        """Set the clock by the database."""
        await self._read([])

    async def get(self, key: str) -> Record | None:
        """See `RecordStore.get`."""
        check_key(key)
        self._check_open()
        return await self._gets.submit(key)

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        """See `RecordStore.swap`. When the caller is cancelled meanwhile, the swap may still happen."""
        check_key(key)
        check_value(key, value)
        self._check_open()
        swap = _Swap(key=key, expected=expected, value=value, version=self._new_version())
        return await self._swaps.submit(swap)

    async def replace_damaged(self, key: str, value: bytes) -> int:
        """See `RecordStore.replace_damaged`. Writes in the place of just the bytes that were read."""
        check_key(key)
        check_value(key, value)
        self._check_open()
        version = self._new_version()
        found = (await self._read([key])).get(key)
        try:
            current = None if found is None else _record(found)
        except RecordDamaged:
            words = (version, value, record_sum(key, version, value), *(found or ()))
            if not await self._writer.ask(self._question(_REPLACE, words)):
                return await self.replace_damaged(key, value)  # others were faster; what they wrote can be read
            self._bell.tell([key])
            return version
        raise Mismatch(key, expected=None, current=current)

    async def list(self, prefix: str, *, after: str = "", limit: int = LIST_LIMIT_MAX) -> list[Record]:
        """See `RecordStore.list`."""
        check_prefix(prefix)
        check_prefix(after)
        check_limit(limit)
        self._check_open()
        rows = await self._rows(_LIST, (prefix, after, _end(prefix), limit))
        return [_record(row) for row in rows]

    async def watch(self, key: str, *, seen: int | None, timeout_s: float) -> Record | None:
        """See `RecordStore.watch`."""
        check_key(key)
        until = self._clock.monotonic() + timeout_s
        with self._doorbell.hung(key) as bell, self._bell.kept():
            while True:
                record = await self.get(key)
                version = None if record is None else record.version
                self._doorbell.saw(key, version)
                left_s = until - self._clock.monotonic()
                if version != seen or left_s <= 0:
                    return record
                await self._doorbell.rung(bell, timeout_s=left_s)

    async def watch_prefix(self, prefix: str, *, seen: int, timeout_s: float) -> int:
        """See `RecordStore.watch_prefix`. The number stands for the keys and versions; each look reads them all."""
        check_prefix(prefix)
        until = self._clock.monotonic() + timeout_s
        with self._doorbell.hung_for_all_of(prefix) as bell, self._bell.kept():
            while True:
                self._check_open()
                ((number,),) = await self._rows(_NUMBER, (prefix, _end(prefix)))
                left_s = until - self._clock.monotonic()
                if int(number) != seen or left_s <= 0:
                    return int(number)
                await self._doorbell.rung(bell, timeout_s=left_s)

    async def damaged(self) -> Sequence[Fault]:
        """Read every record; return those that are not what was written, at most `FAULTS_MAX`."""
        found: Faults = []
        after = ""
        while len(found) < FAULTS_MAX and (rows := await self._rows(_LIST, ("", after, _end(""), LIST_LIMIT_MAX))):
            for row in rows:
                try:
                    _record(row)
                except RecordDamaged as error:
                    found.append(Fault(what=f"{error.what}: {error.why}", key=error.key))
            after = str(rows[-1][0])
        return found

    async def close(self) -> None:
        """See `RecordStore.close`."""
        self._closed = True
        self._doorbell.ring_all()
        await self._swaps.close()
        await self._gets.close()
        await self._bell.close()
        await self._reader.close()
        await self._writer.close()

    def _new_version(self) -> int:
        """Return a version that no record has: each process counts on from a number that it drew."""
        return next(self._versions) % _VERSIONS + 1

    def _check_open(self) -> None:
        if self._closed:
            raise store_is_closed()

    # -- many at once -----------------------------------------------------------------------------------------------

    async def _get_all(self, keys: Sequence[str]) -> Sequence[Record | Exception | None]:
        rows = await self._read(keys)
        return [_record_or_damage(rows.get(key)) for key in keys]

    async def _swap_all(self, swaps: Sequence[_Swap]) -> Sequence[int | Exception]:
        """Do all of them that can be done, in one commit, and say of the others why not."""
        answers: dict[str, int | Exception] = {}
        left = list(swaps)
        for _ in range(SWAP_ATTEMPTS_MAX):
            done, is_repeated = await self._write(left)
            self._bell.tell(list(done))
            answers |= {swap.key: _version(swap) for swap in left if swap.key in done}
            left = [swap for swap in left if swap.key not in done]
            if not left:
                break
            found = await self._get_all([swap.key for swap in left])
            again = []
            for swap, current in zip(left, found, strict=True):
                outcome = _outcome(swap, current, is_repeated=is_repeated)
                if outcome is None:  # it was changed back meanwhile, or came to be
                    again.append(swap)
                else:
                    answers[swap.key] = outcome
            left = again
        return [answers.get(swap.key, _restless(swap.key)) for swap in swaps]

    async def _write(self, swaps: Sequence[_Swap]) -> tuple[set[str], bool]:
        """Do in one statement what can be done; return the keys that were written, and whether it was sent twice."""
        question = self._question(*(_one(swaps[0]) if len(swaps) == 1 else _many(swaps)))
        sent = 0

        async def count(connection: Connection) -> Rows:
            nonlocal sent
            sent += 1
            self.counts.writes += 1
            return await question(connection)

        rows = await self._writer.ask(count)
        return {str(key) for (key,) in rows}, sent > 1

    async def _read(self, keys: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """Return the rows of these keys by key, as key, version, value and sum; set the clock."""
        asked_s = self._clock.monotonic()
        rows = await self._rows(_READ, (list(set(keys)),))
        self._clock.learn(rows[0][4], asked_s=asked_s)  # there is one row at least
        return {str(row[0]): row[:4] for row in rows if row[0] is not None}

    async def _rows(self, text: LiteralString, words: Any) -> Rows:
        self.counts.reads += 1
        return await self._reader.ask(self._question(text, words))

    def _question(self, text: LiteralString, words: Any) -> Callable[[Connection], Coroutine[Any, Any, Rows]]:
        sql = text.replace("{schema}", self._place.quoted)

        async def question(connection: Connection) -> Rows:
            async with connection.cursor(binary=True) as cursor:
                await cursor.execute(sql, words)
                return await cursor.fetchall()

        return question


_READ: LiteralString = """
SELECT r.key, r.version, r.value, r.sum, clock_timestamp()
  FROM (SELECT 1) AS one LEFT JOIN {schema}.records AS r ON r.key = ANY(%s::text[])
"""
# Two bounds instead of LIKE: they use the index, and no character of a key has a special meaning.
_LIST: LiteralString = """
SELECT key, version, value, sum FROM {schema}.records
 WHERE key >= %s AND key > %s AND key < %s ORDER BY key LIMIT %s
"""
_NUMBER: LiteralString = """
SELECT (coalesce(bit_xor(version), 0) # (count(*) << 52)) & 9223372036854775807 FROM {schema}.records
 WHERE key >= %s AND key < %s
"""
_REPLACE: LiteralString = """
UPDATE {schema}.records SET version = %s, value = %s, sum = %s
 WHERE key = %s AND version = %s AND value = %s AND sum = %s RETURNING key
"""
# An expected version of 0 is none: no record has it. The arrays are sent in binary, which costs a tenth of the time.
# `found` locks the rows in the order of their keys, so that two servers never wait for each other, and returns each as
# it is when the lock is had. The rest only touches rows that are locked, and those that are not there.
_SWAP: LiteralString = """
WITH asked AS MATERIALIZED (
  SELECT * FROM unnest(%(keys)b::text[], %(expected)b::bigint[], %(removes)b::boolean[], %(versions)b::bigint[],
                       %(values)b::bytea[], %(sums)b::bytea[]) AS one (key, expected, removes, version, value, sum)
), found AS MATERIALIZED (
  SELECT key, version FROM {schema}.records WHERE key = ANY(%(keys)b::text[]) ORDER BY key FOR UPDATE
), changed AS (
  UPDATE {schema}.records AS r SET version = asked.version, value = asked.value, sum = asked.sum
    FROM asked JOIN found ON found.key = asked.key AND found.version = asked.expected
   WHERE r.key = found.key AND NOT asked.removes RETURNING r.key
), removed AS (
  DELETE FROM {schema}.records AS r USING asked JOIN found ON found.key = asked.key AND found.version = asked.expected
   WHERE r.key = found.key AND asked.removes RETURNING r.key
), made AS (
  INSERT INTO {schema}.records (key, version, value, sum)
  SELECT key, version, value, sum FROM asked
   WHERE expected = 0 AND NOT removes AND NOT EXISTS (SELECT FROM found WHERE found.key = asked.key)
   ORDER BY key ON CONFLICT DO NOTHING RETURNING key
)
SELECT key FROM changed UNION ALL SELECT key FROM removed UNION ALL SELECT key FROM made
"""


# For a swap that comes alone, as most do at a quiet server: a fifth less work for the database, and a quarter for us.
# An UPDATE that waited for its row compares the version again, so the meaning is the same.
_CHANGE_ONE: LiteralString = """
UPDATE {schema}.records SET version = %b, value = %b, sum = %b WHERE key = %s AND version = %b RETURNING key
"""
_REMOVE_ONE: LiteralString = "DELETE FROM {schema}.records WHERE key = %s AND version = %b RETURNING key"
_MAKE_ONE: LiteralString = """
INSERT INTO {schema}.records (key, version, value, sum) VALUES (%s, %b, %b, %b) ON CONFLICT DO NOTHING RETURNING key
"""


def _one(swap: _Swap) -> tuple[LiteralString, Any]:
    """Return the statement for one swap, and its values."""
    if swap.value is None:
        return _REMOVE_ONE, (swap.key, swap.expected or 0)
    sum_ = record_sum(swap.key, swap.version, swap.value)
    if swap.expected is None:
        return _MAKE_ONE, (swap.key, swap.version, swap.value, sum_)
    return _CHANGE_ONE, (swap.version, swap.value, sum_, swap.key, swap.expected)


def _many(swaps: Sequence[_Swap]) -> tuple[LiteralString, Any]:
    """Return the statement for several swaps, and its values."""
    values = [swap.value or b"" for swap in swaps]
    return _SWAP, {
        "keys": [swap.key for swap in swaps],
        "expected": [swap.expected or 0 for swap in swaps],
        "removes": [swap.value is None for swap in swaps],
        "versions": [swap.version for swap in swaps],
        "values": values,
        "sums": [record_sum(swap.key, swap.version, value) for swap, value in zip(swaps, values, strict=True)],
    }


def _end(prefix: str) -> str:
    """Return a text that sorts behind all keys of a prefix."""
    return behind(prefix) or _LAST


def _record(row: tuple[Any, ...]) -> Record:
    key, version, value, sum_ = row[:4]
    return checked_row(key, version, value, sum_)


def _record_or_damage(row: tuple[Any, ...] | None) -> Record | Exception | None:
    if row is None:
        return None
    try:
        return _record(row)
    except RecordDamaged as error:
        return error


def _version(swap: _Swap) -> int:
    return 0 if swap.value is None else swap.version


def _outcome(swap: _Swap, current: Record | Exception | None, *, is_repeated: bool) -> int | Exception | None:
    """Return how a swap ended that wrote nothing in the last attempt; None when it is to be tried again."""
    if isinstance(current, Exception):
        return current
    version = None if current is None else current.version
    if version == swap.version:  # our own write, whose reply got lost
        return swap.version
    if version != swap.expected:
        return _unknown(swap.key) if is_repeated else Mismatch(swap.key, expected=swap.expected, current=current)
    return 0 if current is None and swap.value is None else None


def _unknown(key: str) -> InterlockError:
    return BackendUnavailable(
        f"whether record {key!r} was written is not known",
        why="the connection to the database broke meanwhile, and since then somebody else wrote it",
        fix="read the record again and decide anew",
        key=key,
    )


def _restless(key: str) -> InterlockError:
    return BackendUnavailable(
        f"record {key!r} was not written",
        why=f"it changed {SWAP_ATTEMPTS_MAX} times in between",
        fix="try again",
        key=key,
    )
