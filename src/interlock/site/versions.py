"""One state of any backend, for the commands under `interlock state`: the same questions to all of them. A hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec.structs import replace

from interlock.audit.entry import Fact
from interlock.audit.log import AuditLog
from interlock.errors import StateInvalid, UsageError, command
from interlock.home.interface import Home
from interlock.recovery.damage import UNDECIDED, Snapshot, judge_chain
from interlock.site.existing import Site
from interlock.site.existing_versions import ExistingVersions, Planned, StoredVersion, open_existing_versions
from interlock.site.intent import DELETIONS_ACCEPTED, STATE_ACCEPTED, find_intent
from interlock.site.opening import has_queue, open_site_of
from interlock.site.own_leftovers import OwnLeftovers
from interlock.site.own_versions import OwnVersions
from interlock.site.ref import StateRef, own_address
from interlock.site.which import resolve
from interlock.state import (
    REVIEWER,
    Document,
    Finding,
    RestorePlan,
    Version,
    content_digest,
    find_deletions,
    parse_document,
    verify_state,
)
from interlock.state.history import MAX_SUSPECT

HISTORY_MAX = 1000
"""Links of our own chain that `verify` walks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restore that was planned, or done.

    Attributes:
        chosen: What is restored, as plain values.
        label: The same for people.
        plan: What happens.
        serial: Serial that became current; None while it is only planned.
        planned: What the room needs to do it.
    """

    chosen: Version | StoredVersion
    label: str
    plan: RestorePlan
    planned: Planned | None = None


class Room(Protocol):
    """One state, wherever it is. Everything may raise what its backend raises."""

    async def body(self, text: str | None) -> bytes:
        """Return the bytes of a version; None means the current one."""
        ...

    async def document(self, text: str | None) -> Document:
        """Return a version as a document."""
        ...

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """Return two versions: by default the current one and the one before."""
        ...

    async def rows(self, limit: int) -> Sequence[Version] | Sequence[StoredVersion]:
        """Return versions, newest first."""
        ...

    async def findings(self, text: str | None) -> tuple[Finding, ...]:
        """Return what is wrong with the state, or with one version of it."""
        ...

    async def planned(self, text: str | None) -> Restored:
        """Plan a restore; by default of the newest whole version."""
        ...

    async def restored(self, plan: Restored) -> int:
        """Do what was planned; return the serial that is current now."""
        ...

    async def accepted(self) -> tuple[str, ...]:
        """End the review of a suspect version, which stands; return what it lacks, nothing when it was not suspect."""
        ...

    async def accept_deletions(self) -> None:
        """Write down that what is gone from the current state was meant to go."""
        ...

    async def pushed(self, body: bytes, *, force: bool) -> Mapping[str, Any]:
        """Store a document; return what was stored, as plain values with `serial` and `repeated`."""
        ...


class OwnRoom:
    """See `Room`; for Interlock's own backend.

    Args:
        room: The state.
        log: Where decisions are written down.
    """

    def __init__(self, room: OwnVersions, ref: StateRef, log: AuditLog) -> None:
        self.room = room
        self.ref = ref
        self.home = room.home
        self.log = log

    async def body(self, text: str | None) -> bytes:
        """See `Room.body`."""
        return await self.room.body(text)

    async def document(self, text: str | None) -> Document:
        """See `Room.document`."""
        return await self.room.document(text)

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """See `Room.pair`."""
        return await self.room.pair(first, second)

    async def rows(self, limit: int) -> Sequence[Version]:
        """See `Room.rows`."""
        return await self.room.archive.history(self.room.state, limit=limit)

    async def findings(self, text: str | None) -> tuple[Finding, ...]:
        """See `Room.findings`. The archive refuses what a foreign backend accepts; its chain is walked all the same."""
        if text is not None:
            return verify_state(await self.room.body(text), thorough=True)
        lost = await self._lost()
        if lost is not None and (await self.room.archive.current(self.room.state)) is None:
            return (lost,)
        found = verify_state(await self.room.body(text), thorough=True)
        found = found if lost is None else (lost, *found)
        try:
            await self.room.archive.history(self.room.state, limit=HISTORY_MAX)
        except StateInvalid as error:
            found = (*found, Finding(code="bad-history", message=f"{error.what}: {error.why}"))
        else:
            found = (*found, *await self._losses())
        suspect = await self.room.suspect()
        if suspect is not None:
            found = (*found, *_suspects(suspect.suspect, command("state", "accept", self.room.state)))
        waiting = await self.room.archive.quarantined(self.room.state)
        if waiting:
            review = command("state", "quarantine", "ls", self.room.state)
            message = f"{len(waiting)} refused writes wait for review: {review}"
            found = (*found, Finding(code="quarantined", message=message, refuses=False))
        return found

    async def planned(self, text: str | None) -> Restored:
        """See `Room.planned`."""
        chosen, plan = await self.room.plan_restore(text)
        return Restored(chosen=chosen, label=f"version {chosen.number} (serial {chosen.serial})", plan=plan)

    async def restored(self, plan: Restored) -> int:
        """See `Room.restored`."""
        assert isinstance(plan.chosen, Version)
        written = await self.room.restore(plan.chosen)
        await self._note("state-restored", written.version, {"restored": plan.chosen.number})
        return written.version.serial

    async def _note(self, action: str, made: Version, facts: Mapping[str, Fact]) -> None:
        """Write down what a person made current; the version itself says the same."""
        said: dict[str, Fact] = {**facts, "version": made.number, "serial": made.serial, "sha256": made.digest}
        await self.log.append(action, subject=own_address(self.room.state), by=self.home.me, facts=said)

    async def accept_deletions(self) -> None:
        """See `Room.accept_deletions`."""
        facts: dict[str, Fact] = {"content": content_digest(await self.document(None))}
        await self.log.append(DELETIONS_ACCEPTED, subject=own_address(self.room.state), by=self.home.me, facts=facts)

    async def _lost(self) -> Finding | None:
        """Name a state that a run saw stored and that is not a version any more, as in an older database."""
        leftovers = OwnLeftovers(runs=self.home.runs, archive=self.home.archive, clock=self.home.clock)
        try:
            lost = await leftovers.find_lost(self.room.state)
        except StateInvalid:
            return None  # the history is damaged, which is said below
        if lost is None:
            return None
        state = self.room.state
        latest = await self.room.archive.history(state, limit=1)
        back = f"What may still have it: a later copy of {self.home.settings.database}, or a file: "
        back += command("state", "push", "--state", state, "FILE")
        if latest:
            keep = command("state", "restore", state, "--version", str(latest[0].number))
            back += f"; when nothing has it, this keeps what is there: {keep}"
        text = f"{lost.spell()}, and the database does not have it: a newer state was lost. {back}"
        return Finding(code="state-lost", message=text)

    async def _losses(self) -> tuple[Finding, ...]:
        """Judge the last step of the chain. What a run of ours wrote was bounded by its plan when it was written."""
        latest = await self.room.archive.history(self.room.state, limit=2)
        if len(latest) < 2 or latest[0].run:  # noqa: PLR2004 - a step has two ends
            return ()
        bodies = [await self.room.body(str(version.number)) for version in reversed(latest)]
        steps = [
            Snapshot(id=str(version.number), at=version.written_at, body=body)
            for version, body in zip(reversed(latest), bodies, strict=True)
        ]
        intent = await find_intent(None, own_address(self.room.state), self.home.runs, self.log)
        found = await asyncio.to_thread(judge_chain, steps, intent)
        return tuple(finding for finding in found.findings if finding.code in UNDECIDED)

    async def accepted(self) -> tuple[str, ...]:
        """See `Room.accepted`."""
        suspect = await self.room.suspect()
        await self.room.accept()  # also without one: a run that was killed in between left only the pause
        return suspect.suspect if suspect is not None else ()

    async def pushed(self, body: bytes, *, force: bool) -> Mapping[str, Any]:
        """See `Room.pushed`."""
        written = await self.room.push(body, force=force)
        if not written.repeated:
            await self._note("state-pushed", written.version, {"forced": force})
        return {
            "version": written.version,
            "repeated": written.repeated,
            "repaired": written.repaired,
            "serial": written.version.serial,
        }


class ForeignStateRoom:
    """See `Room`; for an existing backend.

    Args:
        room: The state.
    """

    def __init__(self, room: ExistingVersions) -> None:
        self.room = room
        self.ref = room.ref
        self.home = room.home

    async def body(self, text: str | None) -> bytes:
        """See `Room.body`."""
        return await self.room.body(text)

    async def document(self, text: str | None) -> Document:
        """See `Room.document`."""
        return await self.room.document(text)

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """See `Room.pair`."""
        return await self.room.pair(first, second)

    async def rows(self, limit: int) -> Sequence[StoredVersion]:
        """See `Room.rows`."""
        return await self.room.versions(limit=limit)

    async def findings(self, text: str | None) -> tuple[Finding, ...]:
        """See `Room.findings`."""
        found = await self.room.verify(text)
        reason = await self._review() if text is None else ""
        if not reason:
            return found
        held = (replace(each, refuses=each.refuses and each.code != "phantom-deletion") for each in found)
        return (*held, Finding(code="suspect", message=reason, refuses=False))  # the review decides, not a repair

    async def planned(self, text: str | None) -> Restored:
        """See `Room.planned`. Of a state under review, the newest version that has what the review misses."""
        planned = await self.room.plan_restore(text if text is not None else await self._before_review())
        chosen = planned.chosen
        name = f"version {chosen.number} ({chosen.id}, serial {chosen.serial})"
        return Restored(chosen=chosen, label=name if chosen.number else chosen.id, plan=planned.plan, planned=planned)

    async def restored(self, plan: Restored) -> int:
        """See `Room.restored`."""
        assert plan.planned is not None
        stored = await self.room.restore(plan.planned)
        await self._end_review()
        return parse_document(stored.body).serial

    async def accepted(self) -> tuple[str, ...]:
        """See `Room.accepted`. The backend keeps no descriptions of versions, so only the queue knows of a review."""
        reason = await self._review()
        if not reason:
            return ()
        # Not simply the version before: Terraform may have written again after the write that dropped something.
        before, current = await self.room.pair(await self._before_review(), None)
        lacks = sorted(find_deletions(before, current))[:MAX_SUSPECT]
        facts: dict[str, Fact] = {"reason": reason, "lacks": lacks}
        await self.room.log.append(STATE_ACCEPTED, subject=self.room.address, by=self.home.me, facts=facts)
        await self._end_review()
        return tuple(lacks)

    async def _before_review(self) -> str | None:
        """Return the version that a review would go back to; None without a review, or when no version has more."""
        if not await self._review():
            return None
        current = await self.room.document(None)
        for version in await self.room.versions():
            is_older = version.whole and version.number and not version.current
            if is_older and find_deletions(await self.room.document(version.id), current):
                return version.id
        return None

    async def _review(self) -> str:
        """Return why the queue of this state is paused for review; empty when it is not, or has none."""
        queue = await self.room.queue()
        pause = queue.lock.pause if queue is not None else None
        return pause.reason if pause is not None and pause.by == REVIEWER else ""

    async def _end_review(self) -> None:
        found = self._site()
        if found is not None and await self._review():
            async with found as site:
                await site.coordinator.resume(site.state, by=self.home.me)

    def _site(self) -> AbstractAsyncContextManager[Site] | None:
        """Return the state with its queue; None where runs have none."""
        ref = self.room.ref
        return open_site_of(ref, self.room.home) if has_queue(ref) else None

    async def accept_deletions(self) -> None:
        """See `Room.accept_deletions`."""
        await self.room.accept_deletions(by=self.home.me)

    async def pushed(self, body: bytes, *, force: bool) -> Mapping[str, Any]:
        """See `Room.pushed`."""
        document, repeated = await self.room.push(body, force=force)
        await self._end_review()
        return {"repeated": repeated, "serial": document.serial}


def _suspects(addresses: tuple[str, ...], way: str) -> tuple[Finding, ...]:
    """Name what a suspect version lacks. A note and no fault: what an apply wrote is most likely the truth."""
    text = "the run that wrote this version dropped it although neither its plan nor its refresh took it out"
    return tuple(
        Finding(code="suspect", address=address, message=f"{text}: {way}", refuses=False) for address in addresses
    )


@asynccontextmanager
async def open_room(text: str, home: Home, environ: Mapping[str, str]) -> AsyncIterator[OwnRoom | ForeignStateRoom]:
    """Open the state that a person names for as long as the context lasts.

    Args:
        text: What the person typed.
        home: Where it is looked up.
        environ: Says where backends are.
    """
    ref = await resolve(text, home, environ)
    if ref.is_own:
        yield OwnRoom(OwnVersions(state=ref.queue, home=home), ref, home.audit)
        return
    async with open_existing_versions(text, ref, home) as room:
        yield ForeignStateRoom(room)


def own_room(room: OwnRoom | ForeignStateRoom, subject: str) -> OwnVersions:
    """Return the room of our own backend, for what only that has.

    Raises:
        UsageError: The state is elsewhere.
    """
    if isinstance(room, ForeignStateRoom):
        kept = [kept.path for kept in room.room.keep.kept(room.room.address)]
        raise UsageError(
            f"{subject} has no quarantine, and none of its versions can be pruned here",
            why=f"its backend, {room.room.address}, refuses no writes and keeps its versions itself"
            + (f"; states that were replaced are in {kept[0].parent}" if kept else ""),
            fix=command("state", "history", subject),
        )
    return room.room
