"""The runs of a team, kept in a store: one record a run, `run/<id>`, and its journal in pieces. A hand.

The run itself works where somebody started it, and sends its journal while it grows. A piece is named by where it
begins, so one that is sent twice is there once, and one whose predecessor was lost is asked for again.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bounded import decode_json
from interlock.clock import Clock
from interlock.errors import BackendUnavailable, UsageError, command, reason_of
from interlock.ids import run_id
from interlock.instants import Instant
from interlock.server.api.newest import newest_pages
from interlock.server.api.run_index import RunIndex
from interlock.store import Mismatch, Record, RecordStore
from interlock.store.records import LIST_LIMIT_MAX

STOPS_MAX: Final = 20
"""Most requests to stop one run."""
JOURNAL_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one run; what goes beyond stays where the run works."""
KEPT: Final = 1000
"""Newest runs that are kept, however old."""
KEPT_FOR: Final = timedelta(days=30)
SWEEP_EVERY_S: Final = 600.0
"""How often old runs are looked for, at most."""
_SWEEP: Final = 200
_RUNS: Final = "run/"
_PIECES: Final = "run-journal/"
_ID: Final = re.compile(r"[0-9a-z]{8,40}\Z", re.ASCII)
_BEGINNING: Final = re.compile(r"[0-9a-z]{0,40}\Z", re.ASCII)
_ATTEMPTS: Final = 8
_AHEAD: Final = timedelta(days=1)
"""How far a machine's clock may be ahead; an id of a later time would be the newest run of all states for good."""


class Stop(Struct, frozen=True, kw_only=True):
    """Somebody wants a run to stop.

    Attributes:
        by: Who.
        once: Names the request.
        at: When.
    """

    by: str
    once: str
    at: Instant


class KeptRun(Struct, frozen=True, kw_only=True):
    """What is kept of a run.

    Attributes:
        run: Its id, which sorts by time.
        state: Its state.
        owner: Whose token it is told with; nobody else adds to it.
        summary: As the run's folder has it, in JSON.
        size: Bytes of its journal.
        ended: Whether it has ended.
        told_at: When it was told of last.
        stops: Who wants it to stop, in order.
        schema: Version of this form.
    """

    run: str
    state: str
    owner: str
    summary: msgspec.Raw
    size: int = 0
    ended: bool = False
    told_at: Instant
    stops: tuple[Stop, ...] = ()
    schema: int = 1


class RunBook:
    """Keeps them.

    Args:
        records: Where.
        clock: Of the store.
    """

    def __init__(self, records: RecordStore, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._sweep_due_s = float("-inf")
        self._index = RunIndex(records, runs=_RUNS)

    async def tell(self, run: str, state: str, owner: str, summary: bytes, *, ended: bool) -> KeptRun:
        """Keep the newest summary of a run.

        Raises:
            UsageError: The id is none, or of a time to come, or it is another's run, or of another state.
        """
        now = self._clock.now()
        fresh = KeptRun(run=run, state=state, owner=owner, summary=msgspec.Raw(summary), ended=ended, told_at=now)
        if run > run_id(now + _AHEAD, chance=0):
            raise UsageError(f"run {run} would begin in the future", why="ids of runs begin with their time")
        if await self.find(run) is None:
            await self._index.add(run, state)
            with suppress(Mismatch):
                await self._records.swap(_key(run), expected=None, value=msgspec.json.encode(fresh))
                await self._tidy(now)
                return fresh
        return await self._change_own(
            run, state, owner, lambda kept: replace(kept, summary=fresh.summary, ended=ended, told_at=now)
        )

    async def _tidy(self, now: datetime) -> None:
        """Do what is due for other runs. What cannot be done, as beside a damaged record, refuses no new run."""
        with suppress(BackendUnavailable):
            await self._forget_old(now)
        with suppress(BackendUnavailable):
            await self._index.step(_state_of)

    async def append(self, run: str, state: str, owner: str, offset: int, piece: bytes) -> int:
        """Add a piece of a run's journal behind what is there; return how much is there now.

        A piece that is there already, or that leaves a gap, changes nothing.

        Raises:
            UsageError: There is no such run, it is another's, or its journal is too long.
        """
        kept = await self._own(run, state, owner)
        if kept.size != offset or not piece:
            return kept.size
        if offset + len(piece) > JOURNAL_BYTES_MAX:
            raise UsageError(f"the journal of run {run} is too long", why=f"{JOURNAL_BYTES_MAX} bytes of it are kept")
        try:
            await self._records.swap(_piece(run, offset), expected=None, value=piece)
        except Mismatch as error:  # the answer was lost, or a server died before the size was noted
            piece = error.current.value if error.current is not None else b""
        end = offset + len(piece)
        changed = await self._change_own(run, state, owner, lambda kept: replace(kept, size=max(kept.size, end)))
        return changed.size

    async def ask_to_stop(self, run: str, *, by: str, once: str) -> None:
        """Keep a request to stop a run, once.

        Raises:
            UsageError: It is not known, has ended, or was asked too often.
        """
        stop = Stop(by=by, once=once, at=self._clock.now())

        def change(kept: KeptRun) -> KeptRun:
            if any((each.by, each.once) == (by, once) for each in kept.stops):
                return kept
            check_may_be_asked(kept)
            return replace(kept, stops=(*kept.stops, stop))

        await self._change(run, change)

    async def find(self, run: str) -> KeptRun | None:
        """Return a run; None when it is not known."""
        if not _ID.match(run):
            raise UsageError(f"{run[:40]!a} is not the id of a run", fix="interlock runs ls")
        record = await self._records.get(_key(run))
        return None if record is None else _kept(record)

    async def newest(self, *, of: str = "", before: str = "", begins: str = "") -> AsyncIterator[KeptRun]:
        """Yield every run that can be read, the newest first. What is not asked for is not read, but for a page.

        Args:
            of: Only those of this state; "" for all. Others are yielded too while the index of older runs is made.
            before: The run behind which to begin; "" begins with the newest.
            begins: Only those whose ids begin so.
        """
        latest = run_id(self._clock.now() + _AHEAD, chance=0)  # hardly one is of a later time
        if of and await self._index.is_whole():
            async for run in self._index.newest(of, before=before, begins=begins, latest=latest):
                record = await self._records.get(_key(run))
                kept = None if record is None else _kept_or_none(record)
                if kept is not None:
                    yield kept
            return
        async for page in newest_pages(self._records, _RUNS, before=before, begins=begins, latest=latest):
            for record in page:
                kept = _kept_or_none(record)
                if kept is not None:
                    yield kept

    async def journal(self, kept: KeptRun, offset: int, limit: int) -> bytes:
        """Return a part of a run's journal.

        Args:
            kept: The run.
            offset: Where it begins.
            limit: Most bytes of it.
        """
        found = bytearray()
        begin = offset
        async for start, piece in self._pieces(kept.run):
            end = start + len(piece)
            if end <= begin or start >= kept.size:
                continue
            found += piece[begin - start :]
            begin = end
            if len(found) >= limit:
                break
        return bytes(found[:limit])

    async def watch(self, run: str, *, size: int, timeout_s: float) -> KeptRun | None:
        """Return a run as soon as its journal is longer than `size` or it has ended, or after `timeout_s` seconds."""
        return await self._watch(run, lambda kept: kept is None or kept.size > size or kept.ended, timeout_s)

    async def watch_stops(self, run: str, *, seen: int, timeout_s: float) -> KeptRun | None:
        """Return a run as soon as more than `seen` asked it to stop or it has ended, or after `timeout_s` seconds.

        One that is not known yet is waited for too: it asks before it has told of itself.
        """
        return await self._watch(
            run, lambda kept: kept is not None and (len(kept.stops) > seen or kept.ended), timeout_s
        )

    async def _watch(self, run: str, is_it: Callable[[KeptRun | None], bool], timeout_s: float) -> KeptRun | None:
        until_s = self._clock.monotonic() + timeout_s
        while True:
            record = await self._records.get(_key(run))
            kept = None if record is None else _kept(record)
            left_s = until_s - self._clock.monotonic()
            if is_it(kept) or left_s <= 0:
                return kept
            seen = None if record is None else record.version
            await self._records.watch(_key(run), seen=seen, timeout_s=left_s)

    async def _pieces(self, run: str) -> AsyncIterator[tuple[int, bytes]]:
        after = ""
        prefix = f"{_PIECES}{run}/"
        while page := await self._records.list(prefix, after=after, limit=16):
            for record in page:
                yield int(record.key.removeprefix(prefix)), record.value
            after = page[-1].key

    async def _own(self, run: str, state: str, owner: str) -> KeptRun:
        kept = await self.find(run)
        if kept is None:
            raise _unknown(run)
        if (kept.owner, kept.state) != (owner, state):
            raise UsageError(f"run {run} is not changed", why="it was begun with another token, or on another state")
        return kept

    async def _change_own(self, run: str, state: str, owner: str, change: Callable[[KeptRun], KeptRun]) -> KeptRun:
        await self._own(run, state, owner)  # neither ever changes
        return await self._change(run, change)

    async def _change(self, run: str, change: Callable[[KeptRun], KeptRun]) -> KeptRun:
        for _ in range(_ATTEMPTS):
            record = await self._records.get(_key(run))
            if record is None:
                raise _unknown(run)
            kept = _kept(record)
            after = change(kept)
            if after == kept:
                return kept
            with suppress(Mismatch):
                await self._records.swap(_key(run), expected=record.version, value=msgspec.json.encode(after))
                return after
        raise BackendUnavailable(f"run {run} was not written down", why="others wrote all the time", fix="try again")

    async def _forget_old(self, now: datetime) -> None:
        """Let go of runs that ended long ago, now and then; what fails or is too much, the next time does."""
        if self._clock.monotonic() < self._sweep_due_s:
            return
        self._sweep_due_s = self._clock.monotonic() + SWEEP_EVERY_S
        await self._index.look_again(now)
        records = await self._records.list(_RUNS, limit=_SWEEP)
        known = [kept for kept in map(_kept_or_none, records) if kept is not None]
        old = [kept for kept in known if now - kept.told_at > KEPT_FOR]
        if not old:
            return
        spare = len(records) + await self._count_after(records[-1].key, most=KEPT) - KEPT
        for kept in old[: max(spare, 0)]:
            await self._forget(kept)

    async def _count_after(self, key: str, *, most: int) -> int:
        count = 0
        while count < most and (page := await self._records.list(_RUNS, after=key, limit=LIST_LIMIT_MAX)):
            count, key = count + len(page), page[-1].key
        return min(count, most)

    async def _forget(self, kept: KeptRun) -> None:
        async for start, _ in self._pieces(kept.run):
            await self._drop(_piece(kept.run, start))
        await self._index.remove(kept.run, kept.state)
        await self._drop(_key(kept.run))

    async def _drop(self, key: str) -> None:
        record = await self._records.get(key)
        if record is not None:
            with suppress(Mismatch):
                await self._records.swap(key, expected=record.version, value=None)


def check_beginning(text: str) -> None:
    """Refuse what no id of a run begins with; empty is fine.

    Raises:
        UsageError: It is none.
    """
    if not _BEGINNING.match(text):
        raise UsageError(f"no run's id begins with {text[:40]!a}", fix="interlock runs ls")


def check_may_be_asked(kept: KeptRun) -> None:
    """Refuse to ask a run to stop that cannot hear it.

    Raises:
        UsageError: It has ended, or was asked too often.
    """
    show = command("runs", "show", kept.run)
    if kept.ended:
        raise UsageError(f"run {kept.run} has ended already", fix=show)
    if len(kept.stops) >= STOPS_MAX:
        raise UsageError(f"run {kept.run} was asked to stop {STOPS_MAX} times", fix=show)


def _unknown(run: str) -> UsageError:
    return UsageError(f"run {run} is not known", fix="interlock runs ls")


def _kept(record: Record) -> KeptRun:
    """Return what a record says.

    Raises:
        BackendUnavailable: It has another form.
    """
    try:
        return decode_json(record.value, type=KeptRun)
    except (msgspec.MsgspecError, ValueError) as error:
        run = record.key.removeprefix(_RUNS)
        raise BackendUnavailable(f"the record of run {run} cannot be read", why=reason_of(error)) from error


def _kept_or_none(record: Record) -> KeptRun | None:
    """Return what a record says; None when it has another form: that of a stranger hides no run of anybody else."""
    with suppress(BackendUnavailable):
        return _kept(record)
    return None


def _state_of(record: Record) -> str | None:
    kept = _kept_or_none(record)
    return None if kept is None else kept.state


def _key(run: str) -> str:
    return _RUNS + run


def _piece(run: str, offset: int) -> str:
    return f"{_PIECES}{run}/{offset:012d}"
