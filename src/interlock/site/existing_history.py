"""What is stored of a state in an existing backend, and what is wrong with it: chain, digest, locks. A hand."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from interlock.audit.entry import Entry as AuditEntry
from interlock.audit.interface import Audit
from interlock.coordinator import Coordinator, View
from interlock.errors import InterlockError, StateInvalid, UsageError, command
from interlock.existing import ExistingBackend, StateVersion, StoredState
from interlock.home.interface import Home
from interlock.recovery.damage import Chain, Snapshot, judge_chain, read_whole
from interlock.recovery.keep import Keep
from interlock.recovery.known import Known, find_newer
from interlock.recovery.witnesses import lock as lock_witness
from interlock.site.intent import find_intent
from interlock.site.own_leftovers import known_of_runs
from interlock.site.ref import StateRef
from interlock.site.traces import find_traces
from interlock.site.witnessed import find_lost, known_of_head
from interlock.state import (
    REVIEWER,
    AnyDocument,
    Document,
    EncryptedDocument,
    Finding,
    parse_content,
    parse_state,
    verify_state,
)

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
        encrypted: OpenTofu encrypted it.
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
    encrypted: bool = False


@dataclass(slots=True, kw_only=True)
class ExistingHistory:
    """One state in its backend, looked at for a person's command.

    Attributes:
        subject: What the person named.
        ref: Where it is.
        backend: The same, opened.
        home: Ours.
        keep: Where what is replaced is kept.
        log: The audit log.
        coordinator: The queue beside it; None where there is none.
    """

    subject: str
    ref: StateRef
    backend: ExistingBackend
    home: Home
    keep: Keep
    log: Audit
    coordinator: Coordinator | None = None
    _bodies: dict[str, bytes] = field(default_factory=dict, init=False)

    @property
    def address(self) -> str:
        """The state's address."""
        return self.backend.describe().address

    # -- reading ----------------------------------------------------------------------------------------------------

    async def history(self, limit: int = VERSIONS_MAX) -> list[StoredVersion]:
        """Return the versions newest first: those of the store, then files that we kept. Reads at most `limit`."""
        listed = await self.backend.history()
        total, found, read_bytes = len(listed), [], 0
        for position, entry in enumerate(listed[:limit]):
            read_bytes += entry.size
            body = None if entry.is_deletion or read_bytes > CHAIN_BYTES_MAX else await self.read(entry.id)
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
        versions = await self.history(limit=1 if text is None else 10 * VERSIONS_MAX)
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
        return await self.read((await self.version(text)).id)

    async def document(self, text: str | None) -> Document:
        """Return a version as a document."""
        return parse_content(await self.body(text), self.subject)

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """Return two versions: by default the current one and the one before it that can be read."""
        newer = await self.document(second)
        if first is not None:
            return await self.document(first), newer
        versions = [one for one in await self.history() if not one.current and one.whole]
        if not versions:
            raise UsageError(
                f"{self.subject} has no older whole version", fix=command("state", "history", self.subject)
            )
        return parse_content(await self.read(versions[0].id), f"version {versions[0].id} of {self.subject}"), newer

    # -- judging ----------------------------------------------------------------------------------------------------

    async def findings(self, text: str | None) -> tuple[Finding, ...]:
        """See `Versions.findings`."""
        found = await self.verify(text)
        reason = await self.review() if text is None else ""
        if not reason:
            return found
        held = (replace(each, refuses=each.refuses and each.code != "phantom-deletion") for each in found)
        return (*held, Finding(code="suspect", message=reason, refuses=False))  # the review decides, not a repair

    async def review(self) -> str:
        """Return why the queue of this state is paused for review; empty when it is not, or has none."""
        queue = await self.queue()
        pause = queue.lock.pause if queue is not None else None
        return pause.reason if pause is not None and pause.by == REVIEWER else ""

    async def verify(self, text: str | None) -> tuple[Finding, ...]:
        """Return everything that is wrong with the state: itself, its chain of versions, its digest, its locks.

        Args:
            text: Only this version, by itself; None for the current one with everything around it.
        """
        if text is not None:
            return verify_state(await self.body(text), thorough=True)
        stored = await self.backend.read_state()
        chain = await self.chain()
        if stored is None:
            return (*await self._about_absence(), *await self._about_locks())
        about = await self.about_what_is_missing(stored, is_sound=chain.is_current_sound)
        findings = [*about, *chain.findings, *await self._about_locks()]
        if not stored.is_absent:
            findings = [*verify_state(stored.body, thorough=True), *findings]
        return tuple(findings)

    async def queue(self) -> View | None:
        """Return the queue of our runs beside this state; None where there is none, or it may not be read."""
        if self.coordinator is None:
            return None
        try:
            return await self.coordinator.view(self.ref.queue)
        except InterlockError:  # who only uses plain Terraform needs no right to our queue
            return None

    # -- inside -----------------------------------------------------------------------------------------------------

    async def read(self, version_id: str) -> bytes:
        """Return the bytes of a version by the store's name of it; each is read once."""
        if version_id not in self._bodies:
            self._bodies[version_id] = await self.backend.read_version(version_id)
        return self._bodies[version_id]

    async def chain(self) -> Chain:
        """Return the judgement on what the backend lists: which versions are sound."""
        versions = [one for one in await self.history() if one.number and not one.is_deletion and one.digest]
        snapshots = [Snapshot(id=one.id, at=one.at, body=self._bodies[one.id]) for one in reversed(versions)]
        intent = await find_intent(self.ref.root_module, self.address, self.home.runs, self.log)
        return await asyncio.to_thread(judge_chain, snapshots, intent)

    async def known(self) -> list[Known]:
        """Return what was seen stored here: by runs of this machine, by the queue, by whoever made our copies."""
        queue = await self.queue()
        known = await asyncio.to_thread(self._copies, await self.log.entries(subject=self.address))
        if queue is not None:
            runs = await asyncio.to_thread(known_of_runs, self.home.runs, queue.state, self.ref.store)
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

    async def about_what_is_missing(self, stored: StoredState, *, is_sound: bool) -> list[Finding]:
        """Say what the digest beside the state, and those who saw it, know of a state that is not there."""
        about = self._about_digest(stored, await self.history(), is_sound=is_sound)
        if any(finding.code == "state-lost" for finding in about):
            return about
        lost = await find_lost(self.backend, stored, await self.known())
        if lost is None:
            return about
        document = readable(stored)
        there = f"serial {document.serial}, which is there now, is older" if document is not None else "nothing is left"
        again = command("state", "restore", self.subject, "--version", (await self.version(None)).id)
        text = f"{lost.spell()}; {there}"
        return [*about, self._lost(text, stored, None, digest=lost.digest, otherwise=again)]

    async def _about_absence(self) -> list[Finding]:
        """Say that there is no state. Where something knows of one, it was lost; else only a person can tell."""
        traces = find_traces("", directory=self.ref.root_module, runs=self.home.runs, serial=0)
        kept = self.keep.kept(self.address)
        known = find_newer(await self.known(), lineage="", serial=0, at=None, digests=frozenset())
        if kept or traces or known is not None:
            text = f"{self.address} has no state"
            if known is not None:
                text += f"; {known.spell()}"
            if kept:
                text += f"; our newest copy is {kept[0].path}"
            if any(version.number and not version.is_deletion for version in await self.history()):
                text += f"; a version is kept, and comes back with: {command('state', 'restore', self.subject)}"
            begin = f"{command('state', 'accept', self.subject)}    begins an empty state"
            return [self._lost(text, None, None, code="state-gone", otherwise=begin)]
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
        code: str = "state-lost",
        digest: str = "",
        otherwise: str = "",
    ) -> Finding:
        """Name a state that was there and is not any more, and what may still have it.

        A digest names the last write. When a bucket that keeps versions has none of that digest, the write was deleted:
        to make the digest that of an older state would only remove the evidence, and the next plan would make again
        what the lost state had.
        """
        document = readable(stored)
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
        lost = text if code == "state-gone" else f"{text}: a newer state was deleted"
        return Finding(code=code, message=f"{lost}. What may still have it: {where}{give_up}")

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
        encrypted=isinstance(document, EncryptedDocument),
    )


def _count(document: AnyDocument | None) -> int | None:
    return document.instance_count() if isinstance(document, Document) else None


def _parsed(body: bytes) -> AnyDocument | None:
    try:
        return parse_state(body)
    except StateInvalid:
        return None


def readable(stored: StoredState | None) -> AnyDocument | None:
    """Return the current document; None when there is none, or it is damaged: that is why one restores."""
    return read_whole(stored.body) if stored is not None and not stored.is_absent else None


def _is_meant(version: StoredVersion, text: str) -> bool:
    if text.startswith("serial:"):
        return text == f"serial:{version.serial}"
    if text.isdecimal():
        return int(text) == version.number
    long_enough = len(text) >= _DIGEST_CHARS
    return version.id == text or (long_enough and (version.digest.startswith(text) or version.id.startswith(text)))
