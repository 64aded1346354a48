"""A state of Interlock's own backend, for a person's command: its versions, its review, its quarantine. A hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from interlock.amounts import amount
from interlock.errors import InterlockError, StateInvalid, UsageError, command
from interlock.policy.approval import Kind
from interlock.recovery.damage import UNDECIDED, Snapshot, judge_chain
from interlock.site.act_entries import (
    CHAIN_REPAIRED,
    QUARANTINE_DISCARDED,
    STATE_REPAIRED,
    VERSIONS_PRUNED,
    discarded_facts,
    pruned_facts,
    repaired_facts,
)
from interlock.site.holding import holding, is_review, settling
from interlock.site.intent import DELETIONS_ACCEPTED, STATE_ACCEPTED, STATE_RESTORED, find_intent
from interlock.site.interface import PlannedRepair, PlannedRestore
from interlock.site.moved import address_arriving_from, address_moved_to
from interlock.site.opening import plan_hint
from interlock.site.own_leftovers import OwnLeftovers
from interlock.site.ref import StateRef
from interlock.site.second_person import current_number, have_second_person, restore_of
from interlock.state import Finding, Version, VersionKind, content_digest, parse_content, refusing, verify_state

if TYPE_CHECKING:
    from interlock.audit.entry import Fact
    from interlock.coordinator.archive import Writer
    from interlock.coordinator.archive_interface import Archive
    from interlock.home.interface import Home
    from interlock.lock import Pause
    from interlock.run.surroundings import Seat
    from interlock.state import Document, Quarantined
    from interlock.state.history import Retention

_DIGEST_CHARS = 6  # of a digest that name a version; fewer could be a number


HISTORY_MAX = 1000
"""Links of our own chain that `verify` walks."""

_PUSHED = "state-pushed"


class OwnVersions:
    """See `interlock.site.interface.Versions`.

    Args:
        ref: The state.
        home: Where it is.

    Raises:
        UsageError: The key of the audit log is none.
    """

    def __init__(self, ref: StateRef, home: Home) -> None:
        self.ref = ref
        self.home = home
        self.log = home.audit

    @property
    def state(self) -> str:
        """Its name."""
        return self.ref.queue

    @property
    def archive(self) -> Archive:
        """Where its versions are."""
        return self.home.archive

    async def version(self, text: str | None) -> Version:
        """Return a version: a number, `serial:N`, the beginning of a digest; None for the current one.

        Raises:
            UsageError: There is no such version.
        """
        found = await self._meant(text)
        if found is None:
            what = f"state {self.state} has no version {text}" if text else f"state {self.state} is empty"
            raise UsageError(what, fix=f"{command('state', 'history', self.state)}    or: interlock state ls")
        return found

    async def _meant(self, text: str | None) -> Version | None:
        if text is not None and text.isdecimal():  # found at once, however long the history is
            return await self.archive.version(self.state, number=int(text))
        async for version in self.archive.versions(self.state):
            if text is None or _is_meant(version, text):
                return version
        return None

    async def body(self, text: str | None) -> bytes:
        """Return the bytes of a version."""
        return await self.archive.read_version(self.state, await self.version(text))

    async def document(self, text: str | None) -> Document:
        """Return a version as a document."""
        return parse_content(await self.body(text), f"state {self.state}")

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """Return two versions: by default the current one and the one before the run that wrote it."""
        newer = await self.version(second)
        older = first or str(await self._before_run(newer))
        return await self.document(older), await self.document(str(newer.number))

    async def _before_run(self, version: Version) -> int:
        """Return the number of the version before the run that wrote one: Terraform stores half an apply every 20 s.

        Raises:
            UsageError: There is none.
        """
        async for each in self.archive.versions(self.state):
            if each.number < version.number and not _is_same_run(each, version):
                return each.number
        raise UsageError(
            f"state {self.state} has no version before version {version.number}",
            why="it is of the first run that wrote this state" if version.run else "",
            fix=command("state", "history", self.state),
        )

    async def history(self, limit: int) -> Sequence[Version]:
        """See `Versions.history`."""
        return await self.archive.history(self.state, limit=limit)

    async def findings(self, text: str | None) -> tuple[Finding, ...]:
        """See `Versions.findings`. The archive refuses what other backends accept; its chain is walked all the same."""
        if text is not None:
            return verify_state(await self.body(text), thorough=True)
        lost = await self._lost()
        if lost is not None and (await self.archive.current(self.state)) is None:
            return (lost,)
        found = verify_state(await self.body(text), thorough=True)
        found = found if lost is None else (lost, *found)
        try:
            await self.archive.history(self.state, limit=HISTORY_MAX)
        except StateInvalid as error:
            found = (*found, Finding(code="bad-history", message=f"{error.what}: {error.why}"))
        else:
            found = (*found, *await self._losses())
        suspect = await self.suspect()
        if suspect is not None:
            found = (*found, *_suspects(suspect.suspect, command("state", "accept", self.state)))
        waiting = await self.archive.quarantined(self.state)
        if waiting:
            review = command("state", "quarantine", "ls", self.state)
            message = f"{amount(len(waiting), 'refused write waits', 'refused writes wait')} for review: {review}"
            found = (*found, Finding(code="quarantined", message=message, refuses=False))
        return found

    async def plan_restore(self, text: str | None) -> PlannedRestore:
        """See `Versions.plan_restore`: by default the newest whole version before the current one."""
        chosen = await self.version(text) if text else await self._newest_whole()
        plan = await self.archive.plan_restore(self.state, chosen)
        return PlannedRestore(chosen=chosen, label=f"version {chosen.number} (serial {chosen.serial})", plan=plan)

    async def _newest_whole(self) -> Version:
        current = await self._meant(None)
        async for version in self.archive.versions(self.state):
            if version == current or version.is_tombstone or version.suspect:
                continue
            # Half of what the current version's own run did: to go back there would orphan the other half.
            if current is None or current.suspect or not _is_same_run(version, current):
                with suppress(InterlockError):
                    body = await self.archive.read_version(self.state, version)
                    if not refusing(verify_state(body)):
                        return version
        raise UsageError(f"state {self.state} has no older whole version", fix=command("state", "history", self.state))

    async def restore(self, planned: PlannedRestore) -> int:
        """See `Versions.restore`."""
        assert isinstance(planned.chosen, Version)
        chosen, serial = planned.chosen, planned.plan.next_serial
        exact = restore_of(chosen, next_serial=serial, over=await current_number(self.home, self.state))
        what = f"restore {planned.label} of {self.state} as {serial}"
        await have_second_person(self.home, self.state, Kind.RESTORE, exact=exact, what=what)
        async with settling(self.home, self.state, "state restore", is_review) as seat:
            writer = self._telling(seat, STATE_RESTORED, {"restored": planned.chosen.number})
            written = await self.archive.restore(self.state, planned.chosen, writer=writer)
        await self._told(STATE_RESTORED, written.version, {"restored": planned.chosen.number})
        return written.version.serial

    async def suspect(self) -> Version | None:
        """Return the current version when it is suspect, else None."""
        versions = await self.archive.history(self.state, limit=1)
        return versions[0] if versions and versions[0].suspect else None

    async def accept(self) -> tuple[str, ...]:
        """See `Versions.accept`."""
        suspect = await self.suspect()
        # Also without one: a run that was killed in between left only the pause.
        async with settling(self.home, self.state, "state accept", is_review) as seat:
            accepted = await self.archive.accept(self.state, writer=self._telling(seat, STATE_ACCEPTED, {}))
        if accepted is not None:
            await self._told(STATE_ACCEPTED, accepted, {})
        return suspect.suspect if suspect is not None else ()

    async def accept_deletions(self) -> None:
        """See `Versions.accept_deletions`."""
        facts: dict[str, Fact] = {"content": content_digest(await self.document(None))}
        await self.log.append(DELETIONS_ACCEPTED, subject=self.ref.address, by=self.home.me, facts=facts)

    async def current(self) -> bytes | None:
        """See `Versions.current`."""
        found = await self.archive.current(self.state)
        return None if found is None else found[1]

    async def push(
        self, body: bytes, *, force: bool, note: str = "pushed by hand", back_from: str = ""
    ) -> Mapping[str, Any]:
        """See `Versions.push`."""

        def ends(pause: Pause) -> bool:
            comes_from = {address_moved_to(pause), address_arriving_from(pause)}
            return is_review(pause) or bool(back_from and back_from in comes_from)

        async with settling(self.home, self.state, "state push", ends) as seat:
            writer = self._telling(seat, _PUSHED, {"forced": force})
            written = await self.archive.write(
                self.state, body, writer=writer, kind=VersionKind.PUSH, force=force, note=note
            )
        if not written.repeated:
            await self._told(_PUSHED, written.version, {"forced": force})
        return {
            "version": written.version,
            "repeated": written.repeated,
            "repaired": written.repaired,
            "serial": written.version.serial,
        }

    async def plan_repair(self) -> PlannedRepair:
        """See `Versions.plan_repair`: of a record that no longer names its current version."""
        lost = await self.archive.lost_head(self.state)
        if lost is not None:
            text = f"version {lost.number} (serial {lost.serial}) was stored last"
            return PlannedRepair(
                text=f"{text} and is no longer named as the current one",
                target=lost,
                question=f"Make version {lost.number} of {self.state} current again?",
                warning="a run that is under way may lose its lock by this: end it first",
                outcome=f"next: {await plan_hint(self.ref, self.home)}",
            )
        if await self.archive.mend_chain(self.state, before=self._before_mending):
            return PlannedRepair(text="the record of the state's chain was damaged, and was made anew", is_done=True)
        return PlannedRepair(text="")

    async def repair(self, planned: PlannedRepair) -> None:
        """See `Versions.repair`."""
        assert isinstance(planned.target, Version)
        await self._reattach(planned.target)

    async def _reattach(self, version: Version) -> None:
        """Make the version current again that the state's damaged record no longer names.

        Under the lock, unless the record cannot be read: then the lock is lost with it, and whoever held it is fenced.
        """
        if await self.archive.rebuild(self.state, version, before=self._before_rebuilding):
            return
        async with holding(self.home, self.state, "state repair") as seat:
            await self._write_down(STATE_REPAIRED, {**repaired_facts("head", version), "token": seat.token})
            await self.archive.reattach(self.state, version, writer=self.writer(seat))

    async def _before_mending(self, _state: str, _version: int) -> None:
        await self._write_anew(STATE_REPAIRED, CHAIN_REPAIRED)

    async def _before_rebuilding(self, version: Version, _version: int) -> None:
        await self._write_anew(STATE_REPAIRED, repaired_facts("state", version))

    async def _write_anew(self, action: str, facts: Mapping[str, Fact]) -> None:
        """Write down what may be done again with the same facts, each time: an entry before must not stand for it."""
        if not self.home.approvals.writes_down:
            await self.log.append(action, subject=self.ref.address, by=self.home.me, facts=facts)

    async def prune(self, policy: Retention) -> tuple[Version, ...]:
        """Delete the bytes of the versions that the policy lets go; see `StateArchive.prune`."""
        doomed = await self.archive.prunable(self.state, policy)
        if doomed:
            await self._write_down(VERSIONS_PRUNED, pruned_facts(doomed))
        return await self.archive.prune(self.state, policy)

    async def discard(self, entry: Quarantined) -> None:
        """Forget a refused write, with its bytes."""
        await self._write_down(QUARANTINE_DISCARDED, discarded_facts(entry))
        await self.archive.discard(self.state, entry.id)

    async def quarantined(self, text: str) -> tuple[Quarantined, bytes]:
        """Return a refused write by its id or the beginning of it."""
        entries = await self.archive.quarantined(self.state)
        found = [entry for entry in entries if entry.id.startswith(text)]
        if len(found) != 1:
            raise UsageError(
                f"{len(found)} refused writes begin with {text!r}", fix=command("state", "quarantine", "ls", self.state)
            )
        return await self.archive.read_quarantined(self.state, found[0].id)

    async def quarantined_pair(self, text: str) -> tuple[Document, Document]:
        """Return the current state and a refused write."""
        refused = parse_content((await self.quarantined(text))[1], f"quarantine entry {text}")
        return await self.document(None), refused

    async def _write_down(self, action: str, facts: Mapping[str, Fact]) -> None:
        """Write down what is done next to this state; a server does that itself."""
        if not self.home.approvals.writes_down:
            await self.log.announce(action, subject=self.ref.address, by=self.home.me, facts=facts)

    async def note(self, action: str, made: Version, facts: Mapping[str, Fact]) -> None:
        """Write down what a person made current; the version itself says the same."""
        said: dict[str, Fact] = {**facts, "version": made.number, "serial": made.serial, "sha256": made.digest}
        await self.log.announce(action, subject=self.ref.address, by=self.home.me, facts=said)

    def _telling(self, seat: Seat, action: str, facts: Mapping[str, Fact]) -> Writer:
        """Return who writes under a grant, and writes down what becomes current before it does."""
        from msgspec.structs import replace

        async def tell(made: Version, _replaced: int) -> None:
            await self.note(action, made, facts)

        return replace(self.writer(seat), before=tell)

    async def _told(self, action: str, made: Version, facts: Mapping[str, Fact]) -> None:
        """Tell a server what was done; it has written it down itself, and does not write it twice."""
        if self.home.approvals.writes_down:
            await self.note(action, made, facts)

    async def _lost(self) -> Finding | None:
        """Name a state that a run saw stored and that is not a version any more, as in an older database."""
        leftovers = OwnLeftovers(runs=self.home.runs, archive=self.home.archive, clock=self.home.clock)
        try:
            lost = await leftovers.find_lost(self.state)
        except StateInvalid:
            return None  # the history is damaged, which is said below
        if lost is None:
            return None
        state = self.state
        latest = await self.archive.history(state, limit=1)
        back = f"What may still have it: a later copy of {self.home.settings.database}, or a file: "
        back += command("state", "push", "--state", state, "FILE")
        if latest:
            keep = command("state", "restore", state, "--version", str(latest[0].number))
            back += f"; when nothing has it, this keeps what is there: {keep}"
        text = f"{lost.spell()}, and the database does not have it: a newer state was lost. {back}"
        return Finding(code="state-lost", message=text)

    async def _losses(self) -> tuple[Finding, ...]:
        """Judge the last step of the chain. What a run of ours wrote was bounded by its plan when it was written."""
        latest = await self.archive.history(self.state, limit=2)
        if len(latest) < 2 or latest[0].run:  # noqa: PLR2004 - a step has two ends
            return ()
        bodies = [await self.body(str(version.number)) for version in reversed(latest)]
        steps = [
            Snapshot(id=str(version.number), at=version.written_at, body=body)
            for version, body in zip(reversed(latest), bodies, strict=True)
        ]
        intent = await find_intent(None, self.ref.address, self.home.runs, self.log)
        found = await asyncio.to_thread(judge_chain, steps, intent)
        return tuple(finding for finding in found.findings if finding.code in UNDECIDED)

    def writer(self, seat: Seat) -> Writer:
        """Return who writes under a grant."""
        from interlock.coordinator.archive import Writer

        return Writer(who=self.home.me, ticket=seat.ticket, token=seat.token)


def _suspects(addresses: tuple[str, ...], way: str) -> tuple[Finding, ...]:
    """Name what a suspect version lacks. A note and no fault: what an apply wrote is most likely the truth."""
    text = "the run that wrote this version dropped it although neither its plan nor its refresh took it out"
    return tuple(
        Finding(code="suspect", address=address, message=f"{text}: {way}", refuses=False) for address in addresses
    )


def _is_meant(version: Version, text: str) -> bool:
    if text.startswith("serial:"):
        return text == f"serial:{version.serial}"
    if text.isdecimal():
        return int(text) == version.number
    return len(text) >= _DIGEST_CHARS and version.digest.startswith(text)


def _is_same_run(one: Version, other: Version) -> bool:
    return bool(one.run) and one.run == other.run
