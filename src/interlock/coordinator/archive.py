"""The versions of every state: written under the grant that is current, chained, kept, restored and pruned. A hand.

A write stores its bytes, then a description that names the description before it, and then moves the head of the
state in one compare-and-swap together with the check of the fencing token. Killed before the swap, nothing happened
but blobs that nobody names, which a later write or `prune` sweeps away (`unfinished.py`); killed after it, everything
has happened. What is refused is kept in quarantine.

Knows: stores, the coordinator's heads, state documents.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote

from msgspec import Struct, structs
from msgspec.structs import replace

from interlock.amounts import amount
from interlock.clock import Clock
from interlock.coordinator.chain import MAX_HISTORY, Chain
from interlock.coordinator.interface import HeadKeeper
from interlock.coordinator.names import key_of
from interlock.coordinator.record import Head, StateRecord, decode
from interlock.coordinator.record import encode as encode_record
from interlock.coordinator.refusals import HeadMoved, lease_lost
from interlock.coordinator.unfinished import Attempt, Unfinished
from interlock.coordinator.view import View
from interlock.errors import (
    BackendUnavailable,
    InterlockError,
    LeaseLost,
    StateInvalid,
    Superseded,
    UsageError,
    command,
)
from interlock.ids import Ids, RandomIds
from interlock.listening.room import take_room
from interlock.lock import NEW_LOCK, Pause, holder_of
from interlock.state.encrypted import AnyDocument, EncryptedDocument, parse_state
from interlock.state.history import (
    MAX_SUSPECT,
    REVIEWER,
    Quarantined,
    Retention,
    Version,
    VersionKind,
    decode_quarantined,
    encode,
    plan_pruning,
)
from interlock.state.lineage import (
    Footing,
    Refusal,
    Step,
    footing,
    is_question_of_content,
    is_written_again,
    judge,
    judge_deletions,
    says_same,
)
from interlock.state.restore import RestorePlan, plan_restore
from interlock.state.verify import refusing, verify_document
from interlock.store import (
    BlobDamaged,
    BlobMissing,
    BlobStore,
    Mismatch,
    Record,
    RecordDamaged,
    RecordStore,
    blob_digest,
)
from interlock.store.before import Before, nothing_before

MAX_ATTEMPTS = 8  # swaps that may be lost to others before a write gives up; a state has one writer at a time
MAX_QUARANTINE = 500  # refused writes kept of one state; a zombie that never tires must not fill the disk
MAX_QUARANTINE_BYTES = 1 << 30  # likewise; of the states, which are stored smaller
UNFINISHED_S = 86_400.0  # far longer than a writer takes from noting a write to storing it, also a stopped one
QUARANTINE_S = 180 * 86_400.0  # nobody reviews what is older
THREAD_BYTES_MIN = 1024 * 1024  # parsing less takes about a millisecond
TOKENS_SKIPPED = 1_000_000  # more grants than anybody makes between two versions of a state
QUARANTINE_DROPPED = "quarantine_dropped"  # among the facts of a refusal
_ADDRESSES_KEPT = 100
_ASKED_TOGETHER = 64  # questions to a store, which may be a network away
_ADDRESSES_SAID = 5  # in one sentence
_REVIEW_CHARS = 600  # of a reason; the lock takes 1024 characters, and the name of a state may be long
_QUARANTINE = "quarantine/"
_DROPPED = "quarantine-dropped/"
_A = TypeVar("_A")
_T = TypeVar("_T")


class Writer(Struct, frozen=True, kw_only=True):
    """Who writes, and by what right.

    Attributes:
        who: Whose credentials.
        run: The run, or empty.
        ticket: Ticket of the grant; one of the three that name a grant must be given.
        token: Fencing token of the grant.
        lock_id: Terraform's lock id of the grant.
        allowed_deletions: Managed instances that may disappear; see `judge_deletions`. None: not bound to a plan.
        keeps_suspect: What only the rule of deletions speaks against is stored as suspect and the state is paused,
            instead of refused. For what a running apply writes: it may be the only record of what exists now.
        before: Told each version right before it is made current, when all that could refuse it here was asked.
    """

    who: str
    run: str = ""
    ticket: str | None = None
    token: int | None = None
    lock_id: str | None = None
    allowed_deletions: frozenset[str] | None = None
    keeps_suspect: bool = False
    before: Before[Version] = nothing_before


class Written(Struct, frozen=True, kw_only=True):
    """An accepted write.

    Attributes:
        version: The version that is current now.
        repeated: Whether it was there already: the request came twice.
        repaired: Whether the bytes of the current version could not be read any more, and were written anew.
    """

    version: Version
    repeated: bool = False
    repaired: bool = False


class _Request(Struct, frozen=True, kw_only=True):
    """One write on its way."""

    state: str
    body: bytes
    writer: Writer
    kind: VersionKind
    note: str
    force: bool
    digest: str


class StateArchive:
    """Keeps the versions of all states.

    Args:
        coordinator: Keeps the heads and the grants.
        records: Where quarantine entries go.
        blobs: Where states and descriptions go.
        clock: For the time of writing.
        ids: For salts, see `Version.salt`.
        audit_head: Returns the head of the audit log, see `Version.audit`; empty when there is none.
    """

    def __init__(
        self,
        coordinator: HeadKeeper,
        records: RecordStore,
        blobs: BlobStore,
        clock: Clock,
        ids: Ids | None = None,
        audit_head: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._audit_head = audit_head
        self._ids = ids or RandomIds()
        self._coordinator = coordinator
        self._records = records
        self._blobs = blobs
        self._clock = clock
        self._chain = Chain(records, blobs)
        self._unfinished = Unfinished(records)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def current(self, state: str) -> tuple[Head, bytes] | None:
        """Return the current state and its head; None when there is no state or it was deleted.

        Raises:
            BackendUnavailable: The bytes cannot be read. That is never the same as absent.
        """
        head = await self._head(state)
        if head is None or not head.digest:
            return None
        return head, await self._read_living(state, await self._describe(head.meta_digest))

    async def history(self, state: str, *, limit: int = MAX_HISTORY) -> tuple[Version, ...]:
        """Return the versions of a state, newest first, at most `limit`.

        Raises:
            StateInvalid: A link of the chain is broken.
        """
        found: list[Version] = []
        async for version in self.versions(state):
            found.append(version)
            if len(found) == limit:
                break
        return tuple(found)

    async def versions(self, state: str, *, below: int | None = None) -> AsyncIterator[Version]:
        """Yield the versions of a state, newest first. Raises as `history`.

        Args:
            state: State name.
            below: Begin with the version before this one; None begins with the current one.
        """
        head = await self._head(state)
        digest = "" if head is None else head.meta_digest
        if digest and below is not None:
            above = await self._chain.find(state, digest, below)
            digest = "" if above is None else above.parent
        if digest:
            async for version in self._chain.walk(state, digest):
                yield version

    async def version(
        self, state: str, *, number: int | None = None, serial: int | None = None, digest: str | None = None
    ) -> Version | None:
        """Return the newest version that matches every criterion given; None when there is none.

        Args:
            state: State name.
            number: Its version number; found at once, the others by looking at all that are newer.
            serial: Its serial in Terraform.
            digest: Its SHA-256, or the beginning of it (at least 6 digits).
        """
        head = await self._head(state)
        if head is None:
            return None
        if number is not None:
            found = await self._chain.find(state, head.meta_digest, number)
            return found if found is not None and _matches(found, number, serial, digest) else None
        async for version in self._chain.walk(state, head.meta_digest):
            if _matches(version, number, serial, digest):
                return version
        return None

    async def index(self, state: str) -> None:
        """Make the pages of a state's history anew (see `chain.py`); they only make it quicker to search."""
        head = await self._head(state)
        if head is not None:
            await self._chain.rebuild(state, head.meta_digest)

    async def mend_chain(self, state: str, *, before: Before[str] = nothing_before) -> bool:
        """Make the record of a state's chain anew when it is damaged; say whether it was.

        Args:
            state: State name.
            before: Told the state when its record is seen to be damaged, before it is made anew.
        """
        try:
            await self._chain.end(state)
        except RecordDamaged:
            await before(state, 0)
            await self.index(state)
            return True
        return False

    async def read_version(self, state: str, version: Version) -> bytes:
        """Return the bytes of a version.

        Raises:
            UsageError: It is a tombstone, or its bytes were pruned.
        """
        if version.is_tombstone:
            raise UsageError(f"version {version.number} of {state!r} has no state", why="it records a deletion")
        try:
            return await self._read_body(state, version)
        except BlobDamaged as error:
            what = f"version {version.number} of state {state!r} is damaged"
            raise _damaged(what, error, fix=_ways_back(state)) from error
        except BlobMissing as error:
            raise UsageError(
                f"version {version.number} of {state!r} is no longer stored",
                why="the retention policy pruned its bytes",
                fix=f"{command('state', 'history', state)}    shows the versions that are kept",
            ) from error

    # -- writing ----------------------------------------------------------------------------------------------------

    async def write(
        self,
        state: str,
        body: bytes,
        *,
        writer: Writer,
        kind: VersionKind = VersionKind.WRITE,
        note: str = "",
        force: bool = False,
    ) -> Written:
        """Make a document the current version of a state.

        Args:
            state: State name.
            body: The document.
            writer: Who writes, and by what right.
            kind: `WRITE` for Terraform; `PUSH` and `IMPORT` for people.
            note: Why, for people.
            force: Accept another lineage, and a serial that is not higher. The document must be whole all the same.

        Raises:
            LeaseLost: The grant is not current; the bytes are in quarantine.
            StateInvalid: The document is broken, or may not follow the current one; the bytes are in quarantine.
            BackendUnavailable: The outcome is unknown; the same write may be repeated.
        """
        digest = await _aside(_sha256, body, size_bytes=len(body))
        return await self._write(
            _Request(state=state, body=body, writer=writer, kind=kind, note=note, force=force, digest=digest)
        )

    async def delete(self, state: str, *, writer: Writer, note: str = "") -> Written | None:
        """Make a state absent; its history stays and any version can be restored. None when it is absent already.

        Raises:
            LeaseLost: The grant is not current.
            HeadMoved: Somebody wrote a version meanwhile.
        """
        view = await self._coordinator.view(state)
        head = view.head
        if head is None or not head.digest:
            return None
        token = _check_right(view, writer)
        last = await self._describe(head.meta_digest)
        version = replace(
            last,
            number=last.number + 1,
            kind=VersionKind.DELETE,
            digest="",
            blob="",
            who=writer.who,
            run=writer.run,
            token=token,
            written_at=self._clock.now(),
            size_bytes=0,
            resources=0,
            encrypted=False,
            parent=head.meta_digest,
            note=note,
            audit=await self._audit(),
        )
        return await self._move_head(state, version, head, writer)

    async def plan_restore(self, state: str, version: Version) -> RestorePlan:
        """Plan to make `version` current again.

        Raises:
            StateInvalid: The version cannot be restored.
            UsageError: Its bytes are gone.
        """
        target = parse_state(await self.read_version(state, version))
        return plan_restore(
            current=await self._current_document(state),
            target=target,
            highest_serial=await self.highest_serial(state, target.lineage),
        )

    async def highest_serial(self, state: str, lineage: str) -> int:
        """Return the highest serial that the history of a state knows of a lineage; 0 for none."""
        head = await self._head(state)
        return await self._chain.highest_serial(state, "" if head is None else head.meta_digest, lineage)

    async def restore(self, state: str, version: Version, *, writer: Writer) -> Written:
        """Make an older version current again, under a serial above every known one. Asked twice, it is done once.

        Raises:
            LeaseLost: The grant is not current.
            StateInvalid: The version cannot be restored.
        """
        note = f"restored version {version.number} (serial {version.serial})"
        done = await self._done(state, writer, VersionKind.RESTORE)
        if done is not None and done.note == note:
            return Written(version=done, repeated=True)
        plan = await self.plan_restore(state, version)
        force = plan.lineage_changes or version.encrypted  # an encrypted one keeps its serial
        return await self.write(state, plan.body(), writer=writer, kind=VersionKind.RESTORE, note=note, force=force)

    async def accept(self, state: str, *, writer: Writer) -> Version | None:
        """Let a suspect current version stand, as a version of its own that says who did; None when it is not suspect.

        Raises:
            LeaseLost: The grant is not current.
            HeadMoved: Somebody wrote a version meanwhile.
        """
        if (done := await self._done(state, writer, VersionKind.ACCEPT)) is not None:
            return done
        view = await self._coordinator.view(state)
        head = view.head
        last = await self._describe(head.meta_digest) if head is not None else None
        if head is None or last is None or not last.suspect:
            return None
        version = replace(
            last,
            number=last.number + 1,
            kind=VersionKind.ACCEPT,
            who=writer.who,
            run=writer.run,
            token=_check_right(view, writer),
            written_at=self._clock.now(),
            parent=head.meta_digest,
            note=f"accepted version {last.number}, which lacks {', '.join(last.suspect[:_ADDRESSES_SAID])}",
            suspect=(),
            audit=await self._audit(),
        )
        return (await self._move_head(state, version, head, writer)).version

    async def _done(self, state: str, writer: Writer, kind: VersionKind) -> Version | None:
        """Return the current version when this very grant made it, as `kind`: the answer was lost then."""
        view = await self._coordinator.view(state)
        holder = holder_of(view.lock, ticket=writer.ticket, token=writer.token, lock_id=writer.lock_id)
        if view.head is None or holder is None:
            return None
        last = await self._describe(view.head.meta_digest)
        return last if (last.kind, last.token) == (kind, holder.token) else None

    async def end_review(self, state: str, *, by: str, before: Before[Pause] = nothing_before) -> None:
        """Resume a state that was paused for its suspect version; a person's pause stays.

        Args:
            state: State name.
            by: Who ends it.
            before: Told the pause, before it is ended.
        """
        pause = (await self._coordinator.view(state)).lock.pause
        if pause is not None and pause.by == REVIEWER:
            await before(pause, 0)
            await self._coordinator.resume(state, by=by, reason=pause.reason)

    async def prunable(self, state: str, policy: Retention) -> tuple[Version, ...]:
        """Return the versions whose bytes `prune` would delete, oldest first; those that are gone do not count."""
        doomed = plan_pruning(await self.history(state), policy, now=self._clock.now())
        stored: list[Version] = []
        for start in range(0, len(doomed), _ASKED_TOGETHER):
            some = doomed[start : start + _ASKED_TOGETHER]
            there = await asyncio.gather(*(self._blobs.has(version.blob) for version in some))
            stored += [version for version, is_there in zip(some, there, strict=True) if is_there]
        return tuple(stored)

    async def prune(self, state: str, policy: Retention) -> tuple[Version, ...]:
        """Delete the bytes of versions that the policy lets go; descriptions stay. Call it under the state's lock.

        Returns:
            The versions whose bytes were deleted, oldest first. Stops early when somebody writes meanwhile.
        """
        before = (await self._coordinator.view(state)).head
        doomed = await self.prunable(state, policy)
        pruned: list[Version] = []
        for version in doomed:
            if (await self._coordinator.view(state)).head != before:
                break  # the new version may need the very bytes that we were about to delete
            await self._blobs.delete(version.blob)
            pruned.append(version)
        return tuple(pruned)

    # -- quarantine -------------------------------------------------------------------------------------------------

    async def quarantined(self, state: str) -> tuple[Quarantined, ...]:
        """Return the refused writes of a state, newest first."""
        entries: list[Quarantined] = []
        after = ""
        while page := await self._records.list(_quarantine_key(state, ""), after=after):
            entries += [decode_quarantined(record.value) for record in page]
            after = page[-1].key
        return tuple(sorted(entries, key=lambda entry: entry.at, reverse=True))

    async def quarantine_dropped(self, state: str) -> int:
        """Return how many refused writes of a state were removed, oldest first, to keep within the limits."""
        record = await self._records.get(_DROPPED + quote(state, safe=""))
        return 0 if record is None else _count(record)

    async def read_quarantined(self, state: str, entry_id: str) -> tuple[Quarantined, bytes]:
        """Return one refused write and its bytes.

        Raises:
            UsageError: There is no such entry.
        """
        _, entry = await self._quarantined(state, entry_id)
        await take_room(entry.size_bytes)
        return entry, _unwrap(entry.id, await self._blobs.get(entry.blob))

    async def _quarantined(self, state: str, entry_id: str) -> tuple[Record, Quarantined]:
        record = await self._records.get(_quarantine_key(state, entry_id))
        if record is None:
            raise UsageError(
                f"quarantine of {state!r} has no entry {entry_id[:40]!r}",
                fix=command("state", "quarantine", "ls", state),
            )
        return record, decode_quarantined(record.value)

    async def discard(self, state: str, entry_id: str) -> Quarantined:
        """Throw one refused write away.

        Raises:
            UsageError: There is no such entry.
        """
        key = _quarantine_key(state, entry_id)
        record, entry = await self._quarantined(state, entry_id)
        try:
            await self._records.swap(key, expected=record.version, value=None)
        except Mismatch as mismatch:
            if mismatch.current is not None:  # the same write was refused again meanwhile, and needs its bytes
                raise
        await self._blobs.delete(entry.blob)
        return entry

    async def quarantine(self, state: str, body: bytes, *, writer: Writer, error: InterlockError) -> Quarantined:
        """Keep a refused write. The same bytes of the same grant make one entry, however often they are sent.

        The oldest entries make room for it when there are too many (`MAX_QUARANTINE`, `MAX_QUARANTINE_BYTES`,
        `QUARANTINE_S`); `error` tells how many were removed.
        """
        entry = _entry(state, body, writer, error, at=self._clock.now())
        entry = replace(entry, blob=await self._blobs.put(_wrap(entry.id, body)))
        key = _quarantine_key(state, entry.id)
        try:
            await self._records.swap(key, expected=None, value=encode(entry))
        except Mismatch as mismatch:
            if mismatch.current is not None:
                return decode_quarantined(mismatch.current.value)
        except RecordDamaged:
            await self._records.replace_damaged(key, encode(entry))
        dropped = 0
        with suppress(BackendUnavailable):  # a damaged entry, say: who is refused must hear of the refusal all the same
            dropped = await self._trim_quarantine(state, entry)
        say_dropped(error, dropped)
        return entry

    async def _trim_quarantine(self, state: str, newest: Quarantined) -> int:
        """Remove the oldest entries beyond the limits; return how many.

        Never the newest, whatever the clock says: after it was set back, what was refused just now seems the oldest.
        """
        entries = [newest, *(entry for entry in await self.quarantined(state) if entry.id != newest.id)]
        kept_bytes = 0
        doomed: list[Quarantined] = []
        for number, entry in enumerate(entries):
            kept_bytes += entry.size_bytes
            is_old = (self._clock.now() - entry.at).total_seconds() > QUARANTINE_S
            if number and (number >= MAX_QUARANTINE or kept_bytes > MAX_QUARANTINE_BYTES or is_old):
                doomed.append(entry)
        removed = 0
        for entry in doomed:
            with suppress(UsageError, Mismatch):  # somebody else removed it, and counts it
                await self.discard(state, entry.id)
                removed += 1
        if removed:
            await self._count_dropped(state, removed)
        return removed

    async def _count_dropped(self, state: str, more: int) -> None:
        key = _DROPPED + quote(state, safe="")
        for _ in range(MAX_ATTEMPTS):
            record = await self._records.get(key)
            number = more + (0 if record is None else _count(record))
            expected = None if record is None else record.version
            with suppress(Mismatch):
                await self._records.swap(key, expected=expected, value=str(number).encode())
                return

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _write(self, request: _Request) -> Written:
        try:
            _check_right(await self._coordinator.view(request.state), request.writer)  # before any work for a zombie
            document = await _aside(_verified, request, size_bytes=len(request.body))
            for _ in range(MAX_ATTEMPTS):
                written = await self._attempt(request, document)
                if written is not None:
                    return written
        except (LeaseLost, Superseded, StateInvalid) as error:
            kept = await self.quarantine(request.state, request.body, writer=request.writer, error=error)
            error.facts["quarantine"] = kept.id
            error.fix = error.fix or f"{command('state', 'quarantine', 'ls', request.state)}    lists the refused bytes"
            raise
        raise BackendUnavailable(
            f"state {request.state!r} was not written",
            why=f"others moved its head {MAX_ATTEMPTS} times meanwhile",
            fix="try again",
        )

    async def _attempt(self, request: _Request, document: AnyDocument) -> Written | None:
        """Write once against the head as it is now. None: the head moved meanwhile."""
        view = await self._coordinator.view(request.state)
        token = _check_right(view, request.writer)
        if view.head is None:
            await self._refuse_orphaned_chain(request.state)
        last = await self._describe(view.head.meta_digest) if view.head is not None else None
        living = last if last is not None and not last.is_tombstone else None
        if not request.force:
            _check_stays_encrypted(request, document, living)
        step = Step.NEXT if request.force else await self._judge(request, document, living)
        if living is not None and (step is Step.SAME or request.digest == living.digest):
            assert view.head is not None
            await self._chain.extend(request.state, living.number, view.head.meta_digest)
            return Written(version=living, repeated=True, repaired=await self._repaired(request, living))
        doubt = None if request.force else await self._judge_deletions(request, document, living)
        content, version = await _aside(
            lambda salt: _content(request, document, last, token=token, salt=salt, at=self._clock.now()),
            self._ids.fresh(),
            size_bytes=len(request.body),
        )
        parent = view.head.meta_digest if view.head is not None else ""
        suspect = doubt.addresses[:MAX_SUSPECT] if doubt is not None else ()
        version = replace(version, parent=parent, suspect=suspect, audit=await self._audit())
        attempt = await self._begin(request.state, view, version)
        await self._blobs.put(content, like=last.blob if last is not None and last.blob else None)
        if suspect:  # before the head moves: killed in between, nobody builds on it unseen
            await self._coordinator.pause(request.state, by=REVIEWER, reason=_say_review(request, suspect))
        try:
            written = await self._move_head(request.state, version, view.head, request.writer)
        except (HeadMoved, LeaseLost) as lost:
            await self._sweep(request.state, version)
            if isinstance(lost, HeadMoved):
                return None
            raise
        self._unfinished.end(request.state, attempt)
        if not suspect and living is not None and living.suspect:
            await self.end_review(request.state, by=request.writer.who)
        return written

    async def _begin(self, state: str, view: View, version: Version) -> Attempt:
        """Note what a write is going to store, and sweep away what killed ones left. It never stops a write."""
        meta = blob_digest(encode(version))
        attempt = Attempt(
            token=version.token, number=version.number, blob=version.blob, meta=meta, at=version.written_at
        )
        with suppress(InterlockError):  # then what it leaves when it is killed stays stored
            noted = await self._unfinished.note(state, attempt)
            if any(_is_fenced(view, each) and not each.swept for each in noted):
                await self.sweep(state)
        return attempt

    async def sweep(self, state: str) -> int:
        """Delete what killed writes left: stored under grants that are not current any more, and named by no version.

        What a fenced writer that still lives stores after this is swept by itself, when its swap is refused, or, should
        it be killed before that, by a later call: a write stays noted for `UNFINISHED_S`.

        Returns:
            How many writes had left something.
        """
        view = await self._coordinator.view(state)
        fenced = [each for each in await self._unfinished.all(state) if _is_fenced(view, each)]
        # The head is read after that: whatever a fenced write could do, it had done by then.
        head = (await self._coordinator.view(state)).head if fenced else None
        if head is None:  # of a state that has none, nobody can say what its versions name
            return 0
        named = await self._named_since(state, head, min(each.number for each in fenced))
        left = [each for each in fenced if not named & {each.blob, each.meta}]
        found = [each for each in left if await self._blobs.has(each.blob) or await self._blobs.has(each.meta)]
        for each in found:
            await self._blobs.delete(each.meta)
            await self._blobs.delete(each.blob)
        named_ones = [each for each in fenced if each not in left]
        old = [each for each in left if (self._clock.now() - each.at).total_seconds() > UNFINISHED_S]
        await self._unfinished.mark(state, over=[*named_ones, *old], swept=left)
        return len(found)

    async def _named_since(self, state: str, head: Head, number: int) -> frozenset[str]:
        """Return the digests that versions from `number` on name. Raises as `history`."""
        named = {head.meta_digest}
        async for version in self._chain.walk(state, head.meta_digest):
            named |= {version.blob, version.parent}
            if version.number < number:
                break
        return frozenset(named)

    async def _sweep(self, state: str, version: Version) -> None:
        """Delete what an attempt stored whose swap was refused. Its salt is its own: nobody else names these bytes.

        Unless the swap had happened all the same: its reply was lost, and then others moved the head further.
        """
        meta = blob_digest(encode(version))
        with suppress(InterlockError):  # left over then; what matters is the answer to the write
            if not await self._is_in_chain(state, meta, version.number):
                await self._blobs.delete(meta)
                await self._blobs.delete(version.blob)

    async def _is_in_chain(self, state: str, meta: str, number: int) -> bool:
        head = (await self._coordinator.view(state)).head
        digest = head.meta_digest if head is not None else ""
        while digest and digest != meta:
            version = await self._describe(digest)
            digest = version.parent if version.number > number else ""
        return digest == meta

    async def _repaired(self, request: _Request, living: Version) -> bool:
        """Make sure that a version that is said to be stored already can be read; say whether it had to be written.

        The digest in a description only says what should be stored. Whoever repeats a write may hold the last copy.
        """
        if request.digest != living.digest:  # only spelled differently: it was read to find that out
            return False
        try:
            await self._read_body(request.state, living)
        except (BlobMissing, BlobDamaged):
            await self._blobs.put(_wrap(request.state, request.body, living.salt))
            return True
        return False

    async def _judge(self, request: _Request, document: AnyDocument, living: Version | None) -> Step:
        """Apply the rules of lineage and serial.

        Raises:
            StateInvalid: The document may not follow.
        """
        current = None if living is None else Footing(lineage=living.lineage, serial=living.serial)
        is_same = living is not None and await self._is_same(request, document, living)
        if not is_same and living is not None and _is_own_again(request, document, living):
            return Step.NEXT
        return _accepted(judge(current, footing(document), is_same=is_same), request.state)

    async def _judge_deletions(
        self, request: _Request, document: AnyDocument, living: Version | None
    ) -> Refusal | None:
        """Apply the rule of deletions; return what speaks against a document that is stored all the same.

        Raises:
            StateInvalid: It drops more than it may, and this writer's doubtful documents are not kept.
        """
        allowed = request.writer.allowed_deletions
        if living is None or allowed is None:
            return None
        base = await self._find_base(living, request.writer)
        if base.is_tombstone:
            return None
        before = await self._read_living(request.state, base)
        refusal = await _aside(
            lambda body: judge_deletions(parse_state(body), document, allowed), before, size_bytes=len(before)
        )
        if refusal is not None and not request.writer.keeps_suspect:
            raise _refused(refusal, request.state)
        return refusal

    async def _find_base(self, living: Version, writer: Writer) -> Version:
        """Return what deletions are counted from: the last version that this run did not itself write as suspect.

        Else what one write dropped would be forgotten by the next, and what comes back would stay suspect.
        """
        base = living
        while base.suspect and base.parent and base.run and (base.run, base.token) == (writer.run, writer.token):
            base = await self._describe(base.parent)
        return base

    async def _is_same(self, request: _Request, document: AnyDocument, living: Version) -> bool:
        """Whether a document is the current one again; that is read only when its bytes are others."""
        stands = Footing(lineage=living.lineage, serial=living.serial)
        if request.digest == living.digest or not is_question_of_content(stands, footing(document)):
            return request.digest == living.digest
        body = await self._read_living(request.state, living)
        return await _aside(lambda text: says_same(parse_state(text), document), body, size_bytes=len(body))

    async def _audit(self) -> str:
        return await self._audit_head() if self._audit_head is not None else ""

    async def _move_head(self, state: str, version: Version, head: Head | None, writer: Writer) -> Written:
        meta = await self._blobs.put(encode(version))
        await writer.before(version, 0 if head is None else head.number)
        await self._coordinator.update_head(
            state,
            expected_head=head,
            new_head=_head(version, meta),
            ticket=writer.ticket,
            token=writer.token,
            lock_id=writer.lock_id,
        )
        await self._chain.extend(state, version.number, meta)  # before anybody is told
        return Written(version=version)

    async def _current_document(self, state: str) -> AnyDocument | None:
        """Return the current document for comparing; None when it is absent or broken (that is why one restores)."""
        try:
            found = await self.current(state)
            return parse_state(found[1]) if found is not None else None
        except (StateInvalid, BackendUnavailable):
            return None

    async def _head(self, state: str) -> Head | None:
        """Return the head of a state; None before its first version.

        Raises:
            BackendUnavailable: There is none although versions were acknowledged. Unreadable is not absent.
        """
        head = (await self._coordinator.view(state)).head
        if head is None:
            await self._refuse_orphaned_chain(state)
        return head

    async def _refuse_orphaned_chain(self, state: str) -> None:
        end = await self._chain.end(state)
        if end is not None:
            raise BackendUnavailable(
                f"the record of state {state!r} is damaged: it names no version",
                why=f"{amount(end.number, 'version of it was', 'versions of it were')} stored",
                fix=command("state", "repair", state),
                state=state,
            )

    async def lost_head(self, state: str) -> Version | None:
        """Return the version that was acknowledged last when the state's record names none, or cannot be read.

        None when all is well.
        """
        with suppress(RecordDamaged):
            if (await self._coordinator.view(state)).head is not None:
                return None
        end = await self._chain.end(state)
        return await self._chain.describe(end.meta) if end is not None else None

    async def reattach(self, state: str, version: Version, *, writer: Writer) -> Head | None:
        """Make the version that `lost_head` returned current again, and let fencing tokens go on above those it knew.

        Raises:
            LeaseLost: The grant is not current.
            HeadMoved: There is a head after all.
        """
        view = await self._coordinator.view(state)
        token = _check_right(view, writer)
        head = structs.replace(_head(version, blob_digest(encode(version))), token=token)
        found = await self._coordinator.update_head(
            state,
            expected_head=None,
            new_head=head,
            ticket=writer.ticket,
            token=writer.token,
            lock_id=writer.lock_id,
        )
        await self._raise_token(state, version.token)
        return found

    async def rebuild(self, state: str, version: Version, *, before: Before[Version] = nothing_before) -> bool:
        """Make a state's record anew, with the version that `lost_head` returned; say whether it could not be read.

        Nobody holds after it. Which grants were made since that version was stored is not known, so the next token is
        far above its own.

        Args:
            state: State name.
            version: The version.
            before: Told it when the record is seen to be damaged, before it is made anew.
        """
        if not await self._is_unreadable(state):
            return False
        await before(version, 0)
        lock = structs.replace(NEW_LOCK, token=version.token + TOKENS_SKIPPED)
        record = encode_record(StateRecord(lock=lock, head=_head(version, blob_digest(encode(version)))))
        with suppress(Mismatch):
            await self._records.replace_damaged(key_of(state), record)
            return True
        return False

    async def _is_unreadable(self, state: str) -> bool:
        try:
            await self._records.get(key_of(state))
        except RecordDamaged:
            return True
        return False

    async def _raise_token(self, state: str, token: int) -> None:
        """Let the next grant have a token above `token`: a run from before the damage must stay fenced."""
        for _ in range(MAX_ATTEMPTS):
            record = await self._records.get(key_of(state))
            stored = decode(record.value) if record is not None else None
            if record is None or stored is None or stored.lock.token >= token:
                return
            raised = structs.replace(stored, lock=structs.replace(stored.lock, token=token))
            with suppress(Mismatch):
                await self._records.swap(key_of(state), expected=record.version, value=encode_record(raised))
                return

    async def _describe(self, meta_digest: str) -> Version:
        return await self._chain.describe(meta_digest)

    async def _read_living(self, state: str, version: Version) -> bytes:
        """Return the bytes of the current version. That they are missing is damage: unreadable is not absent."""
        try:
            return await self._read_body(state, version)
        except BlobMissing as error:
            raise _damaged(
                f"the current version of state {state!r} is missing", error, fix=_ways_back(state)
            ) from error
        except BlobDamaged as error:
            raise _damaged(
                f"the current version of state {state!r} is damaged", error, fix=_ways_back(state)
            ) from error

    async def _read_body(self, state: str, version: Version) -> bytes:
        await take_room(version.size_bytes)
        return _unwrap(state, await self._blobs.get(version.blob), version.salt)


def say_dropped(error: InterlockError, dropped: int) -> None:
    """Let the refusal of a write tell that older refused writes were removed to make room for its bytes."""
    if dropped:
        error.facts[QUARANTINE_DROPPED] = dropped
        error.why = f"{error.why}; {dropped} older refused writes were removed to make room".removeprefix("; ")


def _damaged(what: str, error: BlobMissing | BlobDamaged, *, fix: str = "interlock doctor") -> BackendUnavailable:
    return BackendUnavailable(what, why=error.what, fix=fix)


def _ways_back(state: str) -> str:
    push = command("state", "push", "FILE", "--state", state)
    return f"{command('state', 'restore', state)}    or, with a good copy: {push}"


def _check_right(view: View, writer: Writer) -> int:
    """Return the token of the writer's grant. Only an early answer: the swap that moves the head checks it again.

    Raises:
        LeaseLost: The grant is not current.
    """
    holder = holder_of(view.lock, ticket=writer.ticket, token=writer.token, lock_id=writer.lock_id)
    if holder is None:
        raise lease_lost(view.state, view.lock, ticket=writer.ticket, lock_id=writer.lock_id)
    return holder.token


async def _aside(work: Callable[[_A], _T], argument: _A, *, size_bytes: int) -> _T:
    """Do work on a large document beside the event loop, so that heartbeats go on; a small one is quicker at once."""
    return work(argument) if size_bytes < THREAD_BYTES_MIN else await asyncio.to_thread(work, argument)


def _matches(version: Version, number: int | None, serial: int | None, digest: str | None) -> bool:
    return (
        number in (None, version.number)
        and serial in (None, version.serial)
        and (digest is None or (len(digest) >= 6 and version.digest.startswith(digest)))  # noqa: PLR2004 - as git does
    )


def _verified(request: _Request) -> AnyDocument:
    """Read the document and refuse a broken one."""
    document = parse_state(request.body)
    broken = refusing(verify_document(document))
    if not broken:
        return document
    first = broken[0]
    more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
    raise StateInvalid(
        f"state {request.state!r} was not written",
        why=f"{first.message}{more}",
        finding=first.code,
        addresses=sorted({finding.address for finding in broken if finding.address}),
    )


def _content(
    request: _Request, document: AnyDocument, last: Version | None, *, token: int, salt: str, at: datetime
) -> tuple[bytes, Version]:
    """Return the bytes that a write stores, and their description."""
    content = _wrap(request.state, request.body, salt)
    return content, Version(
        number=last.number + 1 if last is not None else 1,
        kind=request.kind,
        digest=request.digest,
        blob=blob_digest(content),
        serial=document.serial,
        lineage=document.lineage,
        who=request.writer.who,
        run=request.writer.run,
        token=token,
        written_at=at,
        size_bytes=len(request.body),
        resources=0 if isinstance(document, EncryptedDocument) else document.instance_count(),
        note=request.note,
        salt=salt,
        encrypted=isinstance(document, EncryptedDocument),
    )


def _is_fenced(view: View, attempt: Attempt) -> bool:
    """Say whether a write can never move the head any more: no current grant has its token, and no later one will."""
    return attempt.token <= view.lock.token and all(holder.token != attempt.token for holder in view.lock.holders)


def _is_own_again(request: _Request, document: AnyDocument, living: Version) -> bool:
    """Say whether a file that a run left may take the place of what the same run stored under the same grant."""
    mark = (request.writer.run, request.writer.token)
    if request.kind is not VersionKind.PUSH or not living.run or (living.run, living.token) != mark:
        return False
    stands = Footing(lineage=living.lineage, serial=living.serial)
    return is_written_again(stands, document, encrypted=living.encrypted)


def _check_stays_encrypted(request: _Request, document: AnyDocument, living: Version | None) -> None:
    """Refuse a person's file in clear in the place of an encrypted state: `tofu state pull` prints it decrypted.

    What a run writes is as its configuration says, also when that takes the encryption away.

    Raises:
        StateInvalid: It is one.
    """
    is_by_hand = request.kind is VersionKind.PUSH and not request.writer.run
    if is_by_hand and living is not None and living.encrypted and not isinstance(document, EncryptedDocument):
        raise decrypted(f"state {request.state!r} was not written")


def decrypted(what: str) -> StateInvalid:
    """Return the refusal of a file in clear that would take the place of an encrypted state."""
    return StateInvalid(
        what,
        why="the current state is encrypted and this one is not: its secrets would be stored in clear",
        fix="tofu state push FILE    with the key encrypts it; --force stores it in clear",
        finding="decrypted",
    )


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _accepted(judged: Step | Refusal, state: str) -> Step:
    if isinstance(judged, Refusal):
        raise _refused(judged, state)
    return judged


def _refused(refusal: Refusal, state: str) -> StateInvalid:
    shown = ", ".join(refusal.addresses[:3])
    return StateInvalid(
        f"state {state!r} was not written",
        why=f"{refusal.why}: {shown}" if shown else refusal.why,
        finding=refusal.code,
        addresses=list(refusal.addresses),
    )


def _say_review(request: _Request, suspect: tuple[str, ...]) -> str:
    """Say why a state is paused, and what ends it: whoever waits for it reads this."""
    named = ", ".join(suspect[:_ADDRESSES_SAID]) + (", …" if len(suspect) > _ADDRESSES_SAID else "")
    what = f"run {request.writer.run} wrote a state without {named}, which neither its plan nor its refresh took out"
    return f"{what[:_REVIEW_CHARS]}: {command('state', 'accept', request.state)}"


def _head(version: Version, meta_digest: str) -> Head:
    return Head(
        number=version.number,
        digest=version.digest,
        serial=version.serial,
        lineage=version.lineage,
        size_bytes=version.size_bytes,
        written_at=version.written_at,
        token=version.token,
        run=version.run,
        meta_digest=meta_digest,
    )


def _entry(state: str, body: bytes, writer: Writer, error: InterlockError, *, at: datetime) -> Quarantined:
    digest = _sha256(body)
    right = f"{writer.run} {writer.ticket} {writer.token} {writer.lock_id}"
    addresses = error.facts.get("addresses")
    document = _find_document(body)
    return Quarantined(
        id=hashlib.sha256(f"{state}\n{right}\n{digest}".encode()).hexdigest()[:20],
        state=state,
        reason=str(error.facts.get("finding", "fenced" if isinstance(error, LeaseLost) else error.code)),
        why=error.why or error.what,
        who=writer.who,
        run=writer.run,
        token=writer.token or 0,
        digest=digest,
        size_bytes=len(body),
        serial=document.serial if document is not None else None,
        lineage=document.lineage if document is not None else None,
        at=at,
        addresses=tuple(addresses[:_ADDRESSES_KEPT]) if isinstance(addresses, list) else (),
    )


def _find_document(body: bytes) -> AnyDocument | None:
    try:
        return parse_state(body)
    except StateInvalid:
        return None


def _quarantine_key(state: str, entry_id: str) -> str:
    # The name is quoted, so that listing `prod` does not find what belongs to `prod/routing`.
    return f"{_QUARANTINE}{quote(state, safe='')}/{entry_id}"


def _wrap(owner: str, body: bytes, salt: str = "") -> bytes:
    """Mark bytes with their owner, so that equal bytes of two owners are two blobs, which are pruned independently."""
    return _mark(owner, salt) + body


def _unwrap(owner: str, data: bytes, salt: str = "") -> bytes:
    mark = _mark(owner, salt)
    if not data.startswith(mark):
        raise BackendUnavailable(
            "stored bytes belong to another state", why=f"they are not marked as those of {owner!r}"
        )
    return data[len(mark) :]


def _mark(owner: str, salt: str) -> bytes:
    return f"interlock {quote(owner, safe='/')}{salt and f' {salt}'}\n".encode()


def _count(record: Record) -> int:
    if not record.value.isdigit():
        raise BackendUnavailable(f"record {record.key!r} is damaged", why="it holds no number", fix="interlock doctor")
    return int(record.value)
