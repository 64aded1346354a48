"""Endpoints about runs: each tells of itself while it goes on, and everybody who may read its state can follow it."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Struct

from interlock.api.locks import WAIT_S_MAX
from interlock.api.runs import (
    CHUNK_BYTES_MAX,
    ENDED_HEADER,
    PAGE_MAX,
    SUMMARY_BYTES_MAX,
    JournalSize,
    StopAsked,
    StopRequests,
    ToldRun,
    ToldRuns,
    ToldSummary,
)
from interlock.audit.entry import Fact
from interlock.bounded import decode_json
from interlock.coordinator import Coordinator
from interlock.errors import UsageError, reason_of
from interlock.rights import Right
from interlock.rights.callers import Caller, may_do
from interlock.run.summary import Summary
from interlock.server.api.judging import signed
from interlock.server.api.own_entries import CANCELLED, NO_ENTRIES, OwnEntries
from interlock.server.api.run_book import KeptRun, RunBook, check_beginning, check_may_be_asked
from interlock.server.api.table import AnyEndpoint, Call, NoBody, OfState, Sent, acts, from_to, reads
from interlock.site.ref import own_address

_LOOKED_MAX: Final = 1000
"""Runs that one question looks at, however few of them are shown."""
_READ_MAX: Final = 4 * 1024 * 1024
_ONCE_MAX: Final = 100


class OfRun(OfState, frozen=True, kw_only=True):
    """Tells of a run.

    Attributes:
        run: Its id.
    """

    run: str


class PieceOfJournal(OfRun, frozen=True, kw_only=True):
    """Sends a piece of a journal.

    Attributes:
        offset: Where it begins.
    """

    offset: int


class StopsOfRun(OfRun, frozen=True, kw_only=True):
    """Asks who wants a run to stop.

    Attributes:
        seen: How many requests are known.
        wait_s: Seconds to wait while there are no more.
    """

    seen: int = 0
    wait_s: float = 0.0


class SomeRuns(Struct, frozen=True, kw_only=True):
    """Asks for runs, the newest first.

    Attributes:
        of: Only of this state; empty for all.
        begins: Only those whose ids begin so.
        before: The run behind which the page begins; empty for the newest.
        limit: Most of them.
    """

    of: str = ""
    begins: str = ""
    before: str = ""
    limit: Annotated[int, from_to(1, PAGE_MAX)] = 20


class FromJournal(Struct, frozen=True, kw_only=True):
    """Asks for what a journal says from somewhere on.

    Attributes:
        run: The run.
        offset: From where on.
        wait_s: Seconds to wait when there is nothing more yet.
    """

    run: str
    offset: int = 0
    wait_s: float = 0.0


class _Runs:
    """Does what clients ask of the record of runs."""

    def __init__(self, book: RunBook, entries: OwnEntries, beside: Coordinator | None) -> None:
        self._book = book
        self._entries = entries
        self._beside = beside

    async def tell(self, call: Call[OfRun, ToldSummary]) -> JournalSize:
        """Tell how a run stands."""
        query = call.query
        summary = _written_down(bytes(call.body.summary), query, call.caller)
        kept = await self._book.tell(query.run, query.state, call.caller.key, summary, ended=call.body.ended)
        return JournalSize(size=kept.size)

    async def append(self, call: Call[PieceOfJournal, bytes]) -> JournalSize:
        """Add to a run's journal."""
        query = call.query
        size = await self._book.append(query.run, query.state, call.caller.key, query.offset, call.body)
        return JournalSize(size=size)

    async def stop(self, call: Call[OfRun, StopAsked]) -> None:
        """Ask a run to stop safely, wherever it works; another request, some seconds later, may kill its Terraform."""
        run, state = call.query.run, call.query.state
        kept = await self._book.find(run)
        if kept is None or kept.owner != call.caller.key:
            call.caller.check(Right.FORCE_UNLOCK, state)
        if kept is None or kept.state != state:
            raise UsageError(f"state {state!r} has no run {run}", fix="interlock runs ls")
        if not 1 <= len(call.body.once) <= _ONCE_MAX:
            raise UsageError(f"run {kept.run} was not asked to stop", why=f"`once` has 1 to {_ONCE_MAX} characters")
        by = signed(call.body.by, call.caller)
        if any((each.by, each.once) == (by, call.body.once) for each in kept.stops):
            return  # the answer was lost
        check_may_be_asked(kept)
        facts: dict[str, Fact] = {"run": kept.run, "once": call.body.once}
        await self._entries.write(CANCELLED, call, facts, subject=await self._subject(kept), by=by)
        await self._book.ask_to_stop(kept.run, by=by, once=call.body.once)

    async def stops(self, call: Call[StopsOfRun, NoBody]) -> StopRequests:
        """Who wants the token's own run to stop, now or when somebody does."""
        query, wait_s = call.query, min(call.query.wait_s, WAIT_S_MAX)
        kept = await self._book.watch_stops(query.run, seen=query.seen, timeout_s=wait_s)
        if kept is not None and (kept.owner, kept.state) != (call.caller.key, query.state):
            raise UsageError(
                f"run {query.run} is another's", why="it was begun with another token, or on another state"
            )
        stops = kept.stops if kept is not None else ()
        return StopRequests(by=[each.by for each in stops[max(query.seen, 0) :]], count=len(stops))

    async def _subject(self, kept: KeptRun) -> str:
        """Return what names a run's state in the audit log; of one elsewhere the server knows the queue alone."""
        if self._beside is not None:
            lock = (await self._beside.view(kept.state)).lock
            if any(party.run == kept.run for party in (*lock.holders, *lock.waiters)):
                return kept.state
        return own_address(kept.state)

    async def list(self, call: Call[SomeRuns, NoBody]) -> ToldRuns:
        """Runs, the newest first."""
        query = call.query
        if not 1 <= query.limit <= PAGE_MAX:
            raise UsageError("the runs were not listed", why=f"a list has 1 to {PAGE_MAX} runs")
        check_beginning(query.before)
        check_beginning(query.begins)
        shown: list[KeptRun] = []
        looked, last = 0, ""
        async for kept in self._book.newest(of=query.of, before=query.before, begins=query.begins):
            if len(shown) == query.limit or looked == _LOOKED_MAX:
                return ToldRuns(runs=[_told(each) for each in shown], next=last)
            looked, last = looked + 1, kept.run
            if query.of in ("", kept.state) and may_do(call.caller, Right.READ_STATE, kept.state):
                shown.append(kept)
        return ToldRuns(runs=[_told(each) for each in shown])

    async def journal(self, call: Call[FromJournal, NoBody]) -> Sent:
        """A run's journal from somewhere on, now or when there is more."""
        query = call.query
        kept = await self._book.find(query.run)
        if kept is None:
            raise UsageError(f"run {query.run} is not known here", fix="interlock runs ls")
        call.caller.check(Right.READ_STATE, kept.state)
        if query.wait_s > 0:
            wait_s = min(query.wait_s, WAIT_S_MAX)
            kept = await self._book.watch(query.run, size=query.offset, timeout_s=wait_s) or kept
        body = await self._book.journal(kept, max(query.offset, 0), _READ_MAX)
        is_over = kept.ended and query.offset + len(body) >= kept.size
        return Sent(body=body, headers={ENDED_HEADER: "true" if is_over else "false"})


def _written_down(sent: bytes, query: OfRun, caller: Caller) -> bytes:
    """Return a summary as it is kept: of the run and state that the token was checked for, by that token's name.

    What nobody could read again would end every list of runs, of all who may see it.

    Raises:
        UsageError: It is none.
    """
    if len(sent) > SUMMARY_BYTES_MAX:
        raise UsageError(f"the summary of run {query.run} is too long")
    try:
        told = decode_json(sent, type=dict[str, msgspec.Raw])  # a newer release tells more than we know
        told |= {"run": _raw(query.run), "state": _raw(query.state)}
        who = decode_json(msgspec.json.encode(told), type=Summary).who
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"the summary of run {query.run} cannot be read", why=reason_of(error)) from error
    return msgspec.json.encode(told | {"who": _raw(signed(who, caller))})


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(text))


def _told(kept: KeptRun) -> ToldRun:
    return ToldRun(
        run=kept.run, state=kept.state, summary=msgspec.Raw(bytes(kept.summary)), size=kept.size, ended=kept.ended
    )


def run_endpoints(
    book: RunBook, entries: OwnEntries = NO_ENTRIES, beside: Coordinator | None = None
) -> list[AnyEndpoint]:
    """Return the rows.

    Args:
        book: The record of runs.
        entries: Writes down who stopped whose run.
        beside: The queues of states that are elsewhere.
    """
    runs = _Runs(book, entries, beside)
    return [
        reads("/runs", runs.list, right=None, query=SomeRuns, answer=ToldRuns),
        acts("/runs", runs.tell, method="PUT", right=Right.PLAN, query=OfRun, body=ToldSummary, answer=JournalSize),
        acts(
            "/runs/journal",
            runs.append,
            right=Right.PLAN,
            query=PieceOfJournal,
            body=bytes,
            answer=JournalSize,
            limit_bytes=CHUNK_BYTES_MAX,
        ),
        acts("/runs/stop", runs.stop, right=None, query=OfRun, body=StopAsked, answer=None),
        reads("/runs/stop", runs.stops, right=Right.PLAN, query=StopsOfRun, answer=StopRequests, waits=True),
        reads("/runs/journal", runs.journal, right=None, query=FromJournal, answer=bytes, waits=True),
    ]
