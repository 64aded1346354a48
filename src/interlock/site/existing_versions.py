"""One state in an existing backend: its versions, what is wrong with them, and how it is put right. A hand.

What is replaced is kept first, as a file under the home, whatever the backend keeps itself. Every write happens under
Terraform's own lock and only over exactly the state that was looked at before.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from interlock import __version__
from interlock.audit.entry import Entry as AuditEntry
from interlock.audit.entry import Fact
from interlock.audit.log import AuditLog
from interlock.coordinator import View
from interlock.errors import InterlockError, StateInvalid, UsageError, command
from interlock.existing import ExistingBackend, StateVersion, StoredState
from interlock.existing.opening import open_backend, store_of
from interlock.home.interface import Home
from interlock.host import name_own_process
from interlock.recovery.damage import Chain, Snapshot, judge_chain, read_whole
from interlock.recovery.keep import Keep
from interlock.recovery.known import Known, find_newer
from interlock.recovery.witnesses import lock as lock_witness
from interlock.recovery.witnesses.process import render_name
from interlock.settings.values import Settings
from interlock.site.intent import DELETIONS_ACCEPTED, find_intent
from interlock.site.opening import has_queue, open_site_of
from interlock.site.own_leftovers import known_of_runs
from interlock.site.ref import StateRef
from interlock.site.traces import find_traces
from interlock.site.witnessed import find_lost, known_of_head
from interlock.state import (
    Document,
    Finding,
    Refusal,
    RestorePlan,
    content_digest,
    judge_successor,
    parse_document,
    plan_restore,
    refusing,
    verify_state,
)
from interlock.terraform.lockinfo import build_lock_info

VERSIONS_MAX = 30
"""Newest versions whose bytes are read to judge the chain; each costs a request."""

CHAIN_BYTES_MAX = 512 * 1024 * 1024
"""Bytes read to judge the chain; of very large states fewer versions are looked at."""

_UNVERSIONED = frozenset({"", "null"})
"""Ids of versions in a bucket that keeps none: there a digest of nothing that is kept says nothing."""

_DIGEST_CHARS = 6  # of a digest or an id that name a version


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """One version of a foreign state.

    Attributes:
        number: 1 for the oldest that the store lists; a kept file has 0.
        id: The store's name of it, or `kept:DIGEST` for a file of ours.
        at: When it was written; None when that is not known.
        size_bytes: Its size.
        current: Terraform reads it now.
        is_deletion: It marks a deletion and has no bytes.
        whole: It may be restored; None when its bytes were not read.
        serial: Of the document; None when it cannot be read.
        lineage: Likewise.
        resources: Managed objects; None when it cannot be read.
        digest: SHA-256 of the bytes; empty when they were not read.
    """

    number: int
    id: str
    at: datetime | None
    size_bytes: int
    current: bool = False
    is_deletion: bool = False
    whole: bool | None = None
    serial: int | None = None
    lineage: str = ""
    resources: int | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A restore that was planned, and what it was planned on.

    Attributes:
        chosen: The version.
        plan: What would happen.
        stored: The state as it was read for the plan.
    """

    chosen: StoredVersion
    plan: RestorePlan
    stored: StoredState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What would make Terraform accept the stored state.

    Attributes:
        text: For people.
        stored: The state whose digest would be written; None when there is nothing to repair.
    """

    text: str
    stored: StoredState | None = None


@dataclass(slots=True)
class ExistingVersions:
    """One foreign state, for a person's command.

    Attributes:
        subject: What the person named.
        ref: Where it is.
        backend: The same, opened.
        home: Ours.
        keep: Where what is replaced is kept.
        log: The audit log.
    """

    subject: str
    ref: StateRef
    backend: ExistingBackend
    home: Home
    keep: Keep
    log: AuditLog
    _bodies: dict[str, bytes] = field(default_factory=dict, init=False)

    @property
    def address(self) -> str:
        """The state's address."""
        return self.backend.describe().address

    # -- reading ----------------------------------------------------------------------------------------------------

    async def versions(self, *, limit: int = VERSIONS_MAX) -> list[StoredVersion]:
        """Return the versions newest first: those of the store, then files that we kept. Reads at most `limit`."""
        listed = await self.backend.history()
        total, found, read_bytes = len(listed), [], 0
        for position, entry in enumerate(listed[:limit]):
            read_bytes += entry.size
            body = None if entry.is_deletion or read_bytes > CHAIN_BYTES_MAX else await self._read(entry.id)
            found.append(_described(entry, body, number=total - position))
        known = {version.digest for version in found}
        for kept in await asyncio.to_thread(self.keep.kept, self.address):
            body = await asyncio.to_thread(kept.path.read_bytes)
            if hashlib.sha256(body).hexdigest() not in known:
                entry = StateVersion(id=f"kept:{kept.digest}", modified_at=kept.at, size=len(body), current=False)
                self._bodies[entry.id] = body
                found.append(_described(entry, body, number=0))
        return found

    async def version(self, text: str | None) -> StoredVersion:
        """Return a version: a number, `serial:N`, the store's id, the beginning of a digest; None for the current one.

        Raises:
            UsageError: There is no such version.
        """
        versions = await self.versions(limit=1 if text is None else 10 * VERSIONS_MAX)
        found = [one for one in versions if (one.current if text is None else _is_meant(one, text))]
        if not found:
            what = f"{self.subject} has no version {text}" if text else f"{self.subject} has no state"
            raise UsageError(what, fix=command("state", "history", self.subject))
        return found[0]

    async def body(self, text: str | None) -> bytes:
        """Return the bytes of a version."""
        if text is None:
            stored = await self.backend.read_state()
            if stored is None or stored.is_absent:
                raise UsageError(f"{self.subject} has no state", fix=command("state", "history", self.subject))
            return stored.body
        return await self._read((await self.version(text)).id)

    async def document(self, text: str | None) -> Document:
        """Return a version as a document."""
        return parse_document(await self.body(text))

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """Return two versions: by default the current one and the one before it that can be read."""
        newer = await self.document(second)
        if first is not None:
            return await self.document(first), newer
        versions = [one for one in await self.versions() if not one.current and one.whole]
        if not versions:
            raise UsageError(
                f"{self.subject} has no older whole version", fix=command("state", "history", self.subject)
            )
        return parse_document(await self._read(versions[0].id)), newer

    # -- judging ----------------------------------------------------------------------------------------------------

    async def verify(self, text: str | None) -> tuple[Finding, ...]:
        """Return everything that is wrong with the state: itself, its chain of versions, its digest, its locks.

        Args:
            text: Only this version, by itself; None for the current one with everything around it.
        """
        if text is not None:
            return verify_state(await self.body(text), thorough=True)
        stored = await self.backend.read_state()
        chain = await self._chain()
        if stored is None:
            return (*await self._about_absence(), *await self._about_locks())
        about = await self._about_what_is_missing(stored, is_sound=chain.is_current_sound)
        findings = [*about, *chain.findings, *await self._about_locks()]
        if not stored.is_absent:
            findings = [*verify_state(stored.body, thorough=True), *findings]
        return tuple(findings)

    async def plan_restore(self, text: str | None) -> Planned:
        """Plan to make a version current again; by default the newest that is whole and follows from sound ones.

        Raises:
            UsageError: There is no such version, or the current one is sound and none was named.
            StateInvalid: It cannot be restored.
        """
        chosen = await self.version(text) if text is not None else await self._newest_sound()
        stored = await self.backend.read_state()
        body = await self._read(chosen.id)
        if faults := refusing(verify_state(body)):
            raise StateInvalid(
                f"version {chosen.id} cannot be restored",
                why=faults[0].message,
                fix=command("state", "history", self.subject),
            )
        target = parse_document(body)
        plan = plan_restore(
            current=_readable(stored), target=target, highest_serial=await self._highest_serial(target.lineage)
        )
        return Planned(chosen=chosen, plan=plan, stored=stored)

    async def plan_repair(self) -> Repair:
        """Say what would make the stored digest agree again.

        Raises:
            StateInvalid: The state itself is damaged or not the right one, so its digest must not be made to agree.
        """
        stored = await self.backend.read_state()
        if stored is None or stored.digest_agrees:
            return Repair(text="the digest agrees with the state, or the backend keeps none")
        chain = await self._chain()
        about = await self._about_what_is_missing(stored, is_sound=chain.is_current_sound)
        if lost := [finding for finding in about if finding.code == "state-lost"]:
            raise StateInvalid(
                f"the digest of {self.subject} was not repaired",
                why=lost[0].message,
                fix=command("state", "history", self.subject),
            )
        if stored.is_absent or not chain.is_current_sound:
            why = "the state object is gone" if stored.is_absent else "it is damaged, or not the successor of the last"
            raise StateInvalid(
                f"the digest of {self.subject} was not repaired",
                why=f"{why}; a digest that agrees would only hide that",
                fix=command("state", "restore", self.subject),
            )
        text = (
            f"the digest would change from {stored.digest_stored} to {stored.digest_computed}, that of the whole state"
        )
        return Repair(text=text, stored=stored)

    # -- changing ---------------------------------------------------------------------------------------------------

    async def restore(self, planned: Planned) -> StoredState:
        """Write the planned document under Terraform's lock, and the digest beside it.

        Raises:
            LockHeld: Somebody holds the lock.
            TerraformLockMoved: The state changed since the plan was made.
        """
        facts: dict[str, Fact] = {"version": planned.chosen.id, "serial": planned.plan.next_serial}
        return await self._replace(planned.plan.body(), planned.stored, action="state-restored", facts=facts)

    async def plan_push(self, body: bytes, *, force: bool) -> tuple[StoredState | None, Document]:
        """Check that a document may become current; return what it would replace.

        Raises:
            StateInvalid: It is damaged, or may not follow the current state.
        """
        if faults := refusing(verify_state(body)):
            raise StateInvalid("the file was not pushed", why=faults[0].message, fix="interlock state verify FILE")
        document = parse_document(body)
        stored = await self.backend.read_state()
        current = _readable(stored)
        if current is None and stored is not None and not stored.is_absent:
            chain = await self._chain()
            current = read_whole(chain.newest_sound.body) if chain.newest_sound is not None else None
        verdict = judge_successor(current, document)
        if isinstance(verdict, Refusal) and not force:
            raise StateInvalid(
                "the file was not pushed",
                why=verdict.why,
                fix=f"{command('state', 'diff', self.subject)}; --force accepts another lineage or serial",
                finding=verdict.code,
            )
        return stored, document

    async def push(self, body: bytes, *, force: bool) -> tuple[Document, bool]:
        """Store a document as it is under Terraform's lock; say whether it was there already."""
        stored, document = await self.plan_push(body, force=force)
        if stored is not None and stored.body == body and stored.digest_agrees:
            return document, True
        await self._replace(body, stored, action="state-pushed", facts={"serial": document.serial, "forced": force})
        return document, False

    async def repair(self, repair: Repair) -> StoredState:
        """Write the digest of exactly the state that was verified."""
        assert repair.stored is not None
        async with self._holding("state-repair"):
            done = await self.backend.repair_digest(expected=repair.stored)
        facts: dict[str, Fact] = {"before": repair.stored.digest_stored, "after": repair.stored.digest_computed}
        await self.log.append("digest-repaired", subject=self.address, by=self.home.me, facts=facts)
        return done

    async def accept_deletions(self, *, by: str) -> None:
        """Write down that what is gone from the current state was meant to go, so that it is not asked again."""
        facts: dict[str, Fact] = {"content": content_digest(await self.document(None))}
        await self.log.append(DELETIONS_ACCEPTED, subject=self.address, by=by, facts=facts)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _replace(
        self, body: bytes, stored: StoredState | None, *, action: str, facts: Mapping[str, Fact]
    ) -> StoredState:
        """Keep what is there, write under the lock, look at it again, and record it."""
        kept: Path | None = None
        if stored is not None and not stored.is_absent:
            kept = await asyncio.to_thread(self.keep.save, self.address, stored.body, now=self.home.clock.now())
        async with self._holding(action):
            done = await self.backend.write_state(body, expected=stored)
        if done.body != body or not done.digest_agrees:
            raise StateInvalid(
                f"{self.subject} is not what was written",
                why="somebody wrote state or digest at the same time",
                fix=command("state", "verify", self.subject),
            )
        # What we wrote is kept too: where the backend keeps one version, ours may be the only other copy.
        await asyncio.to_thread(self.keep.save, self.address, body, now=self.home.clock.now())
        recorded = {**facts, "replaced": str(kept) if kept else None, "sha256": hashlib.sha256(body).hexdigest()}
        await self.log.append(action, subject=self.address, by=self.home.me, facts=recorded)
        return done

    @asynccontextmanager
    async def _holding(self, what: str) -> AsyncIterator[None]:
        """Hold Terraform's lock."""
        info = build_lock_info(
            id=self.home.ids.fresh(),
            operation=what,
            who=self.home.me,
            version=f"interlock-{__version__}",
            now=self.home.clock.now(),
            path=self.address,
        )
        named = replace(info, info=render_name(name_own_process()))
        held = await self.backend.take_lock(named)
        try:
            yield
        finally:
            await self.backend.give_lock(held)

    async def _read(self, version_id: str) -> bytes:
        if version_id not in self._bodies:
            self._bodies[version_id] = await self.backend.read_version(version_id)
        return self._bodies[version_id]

    async def _chain(self) -> Chain:
        versions = [one for one in await self.versions() if one.number and not one.is_deletion and one.digest]
        snapshots = [Snapshot(id=one.id, at=one.at, body=self._bodies[one.id]) for one in reversed(versions)]
        intent = await find_intent(self.ref.root_module, self.address, self.home.runs, self.log)
        return await asyncio.to_thread(judge_chain, snapshots, intent)

    async def _newest_sound(self) -> StoredVersion:
        chain = await self._chain()
        stored = await self.backend.read_state()
        is_there = stored is not None and not stored.is_absent
        if chain.is_current_sound and is_there:
            raise UsageError(
                f"the current state of {self.subject} is whole and follows from the one before",
                why="so there is nothing to restore by itself",
                fix=f"{command('state', 'history', self.subject)}; then name one: --version",
            )
        if chain.newest_sound is not None:
            return await self.version(chain.newest_sound.id)
        kept = [one for one in await self.versions() if one.whole and not one.current]
        if not kept:
            raise UsageError(f"{self.subject} has no whole version", fix=command("state", "history", self.subject))
        return kept[0]

    async def _highest_serial(self, lineage: str) -> int:
        serials = [one.serial for one in await self.versions() if one.lineage == lineage and one.serial is not None]
        lost = [one.serial for one in await self._known() if one.lineage == lineage]
        return max([*serials, *lost], default=0)

    async def queue(self) -> View | None:
        """Return the queue of our runs beside this state; None where there is none, or it may not be read."""
        if not has_queue(self.ref):
            return None
        try:
            async with open_site_of(self.ref, self.home) as site:
                return await site.coordinator.view(site.state)
        except InterlockError:  # who only uses plain Terraform needs no right to our queue
            return None

    async def _known(self) -> list[Known]:
        """Return what was seen stored here: by runs of this machine, by the queue, by whoever made our copies."""
        queue = await self.queue()
        known = await asyncio.to_thread(self._copies, await self.log.entries(subject=self.address))
        if queue is not None:
            runs = await asyncio.to_thread(known_of_runs, self.home.runs, queue.state, store_of(self.ref.found))
            known += [*known_of_head(queue.head), *runs]
        return known

    def _copies(self, entries: Sequence[AuditEntry]) -> list[Known]:
        """Return our copies, but those of what was put aside on purpose: by a restore, by a push that was forced."""
        replaced = {str(entry.facts.get("replaced")) for entry in entries}
        forced = [entry.at for entry in entries if entry.facts.get("forced")]
        found = []
        for kept in self.keep.kept(self.address):
            body = kept.path.read_bytes()
            aside = str(kept.path) in replaced or any(at >= kept.at for at in forced)
            document = None if aside else read_whole(body)
            if document is not None:  # when it was stored is not known, only that it was
                digest, source = hashlib.sha256(body).hexdigest(), str(kept.path)
                found.append(
                    Known(lineage=document.lineage, serial=document.serial, digest=digest, at=None, source=source)
                )
        return found

    async def _about_what_is_missing(self, stored: StoredState, *, is_sound: bool) -> list[Finding]:
        """Say what the digest beside the state, and those who saw it, know of a state that is not there."""
        about = self._about_digest(stored, await self.versions(), is_sound=is_sound)
        if any(finding.code == "state-lost" for finding in about):
            return about
        lost = await find_lost(self.backend, stored, await self._known())
        if lost is None:
            return about
        document = _readable(stored)
        there = f"serial {document.serial}, which is there now, is older" if document is not None else "nothing is left"
        again = command("state", "restore", self.subject, "--version", (await self.version(None)).id)
        text = f"{lost.spell()}; {there}"
        return [*about, self._lost(text, stored, None, digest=lost.digest, otherwise=again)]

    async def _about_absence(self) -> list[Finding]:
        """Say that there is no state. Where something knows of one, it was lost; else only a person can tell."""
        traces = find_traces("", directory=self.ref.root_module, runs=self.home.runs, serial=0)
        kept = self.keep.kept(self.address)
        known = find_newer(await self._known(), lineage="", serial=0, at=None, digests=frozenset())
        if kept or traces or known is not None:
            text = f"{self.address} has no state"
            if known is not None:
                text += f"; {known.spell()}"
            if kept:
                text += f"; our newest copy is {kept[0].path}"
            return [self._lost(text, None, None)]
        text = (
            f"{self.address} has no state: nothing was ever stored, or it was lost (an object, a file or a row is gone)"
        )
        return [Finding(code="no-state", message=text, refuses=False)]

    def _about_digest(
        self, stored: StoredState | None, versions: Sequence[StoredVersion], *, is_sound: bool
    ) -> list[Finding]:
        if stored is None or stored.digest_agrees:
            return []
        named = next((one for one in versions if self._md5(one) == stored.digest_stored), None)
        if stored.is_absent:
            if named is None or not named.number:
                text = f"the state object is gone, and no version that is kept has its digest {stored.digest_stored}"
                return [self._lost(text, stored, named)]
            text = f"the state object is gone, its digest {stored.digest_stored} is left: "
            text += command("state", "restore", self.subject)
            return [Finding(code="state-missing", message=text)]
        text = f"the table's digest is {stored.digest_stored}, the state's is {stored.digest_computed}"
        if named is None or not named.number:
            if any(one.number and one.id not in _UNVERSIONED for one in versions):
                return [self._lost(f"{text}, and it is that of no version that the bucket has", stored, named)]
            cause = "it is that of no version that is kept"
        else:
            version = f"version {named.id}, serial {named.serial}"
            cause = f"it is that of {version}, so state and digest were not written together"
        # A digest that agrees with a damaged state would only hide that.
        fix = command("state", "repair", self.subject) if is_sound else command("state", "restore", self.subject)
        return [Finding(code="digest-mismatch", message=f"{text}; {cause}: {fix}")]

    def _lost(
        self,
        text: str,
        stored: StoredState | None,
        copy: StoredVersion | None,
        *,
        digest: str = "",
        otherwise: str = "",
    ) -> Finding:
        """Name a state that was there and is not any more, and what may still have it.

        A digest names the last write. When a bucket that keeps versions has none of that digest, the write was deleted:
        to make the digest that of an older state would only remove the evidence, and the next plan would make again
        what the lost state had.
        """
        document = _readable(stored)
        serial = document.serial if document is not None else 0
        if not digest:
            digest = (stored.digest_stored or "") if stored is not None else ""
        traces = find_traces(digest, directory=self.ref.root_module, runs=self.home.runs, serial=serial)
        places = [f"our copy: {command('state', 'restore', self.subject, '--version', copy.id)}"] if copy else []
        places += [
            f"{trace.text}: {command('state', 'push', '--state', self.subject, trace.path)}"
            if trace.is_it
            else trace.text
            for trace in traces
        ]
        where = "; ".join(places) or "nothing on this machine; look for backups, replicas of the bucket, other homes"
        give_up = f"; when nothing has it, or it was deleted on purpose: {otherwise}" if otherwise else ""
        message = f"{text}: a newer state was deleted. What may still have it: {where}{give_up}"
        return Finding(code="state-lost", message=message)

    def _md5(self, version: StoredVersion) -> str:
        body = self._bodies.get(version.id)
        return hashlib.md5(body, usedforsecurity=False).hexdigest() if body is not None else ""

    async def _about_locks(self) -> list[Finding]:
        try:
            locks = await self.backend.read_locks()
        except InterlockError as error:
            return [Finding(code="lock-unknown", message=f"the lock cannot be read: {error.what}", refuses=False)]
        odd = lock_witness.describe(locks, self.backend.describe().locking, now=self.home.clock.now())
        findings = [Finding(code="odd-lock", message=item.text, refuses=False) for item in odd]
        if locks:
            who = locks[0].who or "somebody unknown"
            since = locks[0].created or "an unknown time"
            text = f"held by {who} since {since}: {command('lock', 'explain', self.subject)}"
            findings.append(Finding(code="locked", message=text, refuses=False))
        return findings


@asynccontextmanager
async def open_existing_versions(subject: str, ref: StateRef, home: Home) -> AsyncIterator[ExistingVersions]:
    """Open a foreign state for as long as the context lasts."""
    backend = await open_backend(ref.found, ref.root_module, clock=home.clock, ids=home.ids)
    try:
        yield ExistingVersions(
            subject=subject, ref=ref, backend=backend, home=home, keep=keep_of(home.settings), log=home.audit
        )
    finally:
        await backend.close()


def _described(entry: StateVersion, body: bytes | None, *, number: int) -> StoredVersion:
    document = _parsed(body) if body is not None else None
    return StoredVersion(
        number=number,
        id=entry.id,
        at=entry.modified_at,
        size_bytes=entry.size if body is None else len(body),
        current=entry.current,
        is_deletion=entry.is_deletion,
        whole=None if body is None else read_whole(body) is not None,
        serial=document.serial if document is not None else None,
        lineage=document.lineage if document is not None else "",
        resources=_count(document),
        digest=hashlib.sha256(body).hexdigest() if body is not None else "",
    )


def _count(document: Document | None) -> int | None:
    return document.instance_count() if document is not None else None


def _parsed(body: bytes) -> Document | None:
    try:
        return parse_document(body)
    except StateInvalid:
        return None


def _readable(stored: StoredState | None) -> Document | None:
    """Return the current document; None when there is none, or it is damaged: that is why one restores."""
    return read_whole(stored.body) if stored is not None and not stored.is_absent else None


def _is_meant(version: StoredVersion, text: str) -> bool:
    if text.startswith("serial:"):
        return text == f"serial:{version.serial}"
    if text.isdecimal():
        return int(text) == version.number
    long_enough = len(text) >= _DIGEST_CHARS
    return version.id == text or (long_enough and (version.digest.startswith(text) or version.id.startswith(text)))


__all__ = ["ExistingVersions", "Planned", "Repair", "StoredVersion", "open_existing_versions"]


def keep_of(settings: Settings) -> Keep:
    """Return where replaced states are kept."""
    return Keep(settings.home / "kept")
