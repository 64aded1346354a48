"""State versions: announced, brought, read. A hand.

A write goes through the same `StateArchive.write` as one over Terraform's own protocol: grant, lineage, serial,
content, and quarantine for what is refused. Here is only what the API adds to that:

- A version is announced first and its bytes follow. What is refused then is refused twice over: at the announcement,
  where the client prints our words, and again in the compare-and-swap that would have stored the bytes.
- What is refused at the announcement would leave us without the bytes, which may be the only record of real objects.
  So the client is first made to send them along: it does so when it is told that `state` is missing.
- After a refused write Terraform does not unlock. So its hold is ended here.
Source: docs/facts/servers.md#server-3 and #server-17; go-tfe `Upload`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from interlock.clock import Clock
from interlock.coordinator import Coordinator, View
from interlock.coordinator.archive import THREAD_BYTES_MIN, StateArchive, Writer, Written
from interlock.errors import InterlockError, LeaseLost, StateInvalid, UsageError, command
from interlock.listening.room import go_first
from interlock.lock import Holder, holder_of
from interlock.rights import Right
from interlock.rights.callers import Caller
from interlock.server.tfe.asked import Asked
from interlock.server.tfe.bodies import NewVersion, Unprocessable, read_new_version
from interlock.server.tfe.documents import Stored
from interlock.server.tfe.holds import hold_of, not_written
from interlock.server.tfe.names import NotFound, OutputId, VersionId, parse_version_id, ticket_prefix
from interlock.server.tfe.table import BASE
from interlock.server.tfe.uploads import Upload, UploadBook
from interlock.state.history import Version, VersionKind
from interlock.state.lineage import Footing, Refusal, is_question_of_content, judge
from interlock.state.outputs import StoredOutput, read_outputs

SNAPSHOT_S_MIN = 20.0
"""Terraform stores no state between lock and end sooner than this, so what is refused before is its last write."""
_SEND_IT_ALONG = "param is missing or the value is empty: state"
"""At these words a client sends the announcement again with the bytes inside (go-tfe `Upload`)."""
_T = TypeVar("_T")
Agree = Callable[[str, NewVersion, Caller], Awaitable[None]]
"""Has another person agree to the replacement of a state by somebody, where policies want two; else it raises."""


class Versions:
    """The state versions of workspaces.

    Args:
        coordinator: Keeps heads and grants.
        archive: Keeps states.
        uploads: The versions that were announced.
        clock: Of the store.
        agree: See `Agree`.
    """

    def __init__(
        self, coordinator: Coordinator, archive: StateArchive, uploads: UploadBook, clock: Clock, *, agree: Agree
    ) -> None:
        self._coordinator = coordinator
        self._archive = archive
        self._uploads = uploads
        self._clock = clock
        self._agree = agree

    # -- writing ----------------------------------------------------------------------------------------------------

    async def make(self, asked: Asked) -> Stored:
        """Take an announcement; with bytes inside, store them.

        Raises:
            LeaseLost: Who asks does not hold the state; the bytes are in quarantine.
            StateInvalid: It may not become current; the bytes are in quarantine.
            Unprocessable: The bytes are to be sent along.
        """
        if hold_of((await self._coordinator.view(asked.state)).lock, ticket_prefix(asked.caller.key, asked.session)):
            go_first()
        body = await asked.body()
        new = await _aside(read_new_version, body, size_bytes=len(body))
        view = await self._coordinator.view(asked.state)
        hold = hold_of(view.lock, ticket_prefix(asked.caller.key, asked.session))
        if hold is None:
            raise await self._unheld(asked, new, view)
        is_forced = await self._insists(asked, new, view)
        if new.body is None and not is_forced and _is_refused(view, new):
            raise Unprocessable(_SEND_IT_ALONG)
        if new.body is None:
            return await self._announce(asked, new, hold, is_forced=is_forced)
        _check_md5(new.body, new.md5)
        writer = Writer(who=asked.caller.who, ticket=hold.ticket, token=hold.token, lock_id=hold.lock_id)
        written = await self._write(asked.state, new.body, writer, is_forced=is_forced)
        return self._stored(asked.base, asked.state, written.version)

    async def admit(self, asked: Asked) -> Upload:
        """Return the upload for which an address is good; raises as `UploadBook.admit`."""
        found = parse_version_id(asked.named["version"])
        return await self._uploads.admit(found.state, found.upload, asked.named["secret"])

    async def upload(self, asked: Asked) -> None:
        """Take the bytes of an announced version.

        Raises:
            LeaseLost: The grant is not current any more, or the address was used for other bytes.
            StateInvalid: It may not become current.
            UsageError: The bytes are not those that were announced.
        """
        state, upload = parse_version_id(asked.named["version"]).state, await self.admit(asked)
        go_first()  # only who held the state was told the address
        body = await asked.body()
        sha256 = await _aside(_sha256, body, size_bytes=len(body))
        if upload.number:
            if upload.sha256 != sha256:
                raise LeaseLost(f"state {state!r} was not written", why="the address was used before", finding="used")
            return
        await _aside(lambda body: _check_md5(body, upload.md5), body, size_bytes=len(body))
        writer = Writer(who=upload.who, ticket=upload.ticket, token=upload.token, lock_id=upload.ticket)
        written = await self._write(state, body, writer, is_forced=upload.is_forced)
        await self._uploads.end(state, upload, number=written.version.number, sha256=sha256)

    async def _unheld(self, asked: Asked, new: NewVersion, view: View) -> InterlockError:
        """Return the refusal of a client that holds nothing; its bytes are kept when they are here."""
        if new.body is None:
            return Unprocessable(_SEND_IT_ALONG)
        error = not_written(asked.state, view.lock, ticket_prefix(asked.caller.key, asked.session))
        kept = await self._archive.quarantine(asked.state, new.body, writer=Writer(who=asked.caller.who), error=error)
        error.facts["quarantine"] = kept.id
        return error

    async def _insists(self, asked: Asked, new: NewVersion, view: View) -> bool:
        """Say whether a write is to be stored although it may not follow. Terraform insists in every migration.

        Raises:
            AuthenticationFailed: It would replace another state, and who asks may not restore.
            PolicyGate: Policies want two persons for that.
        """
        if not new.is_forced or not _is_refused(view, new):
            return False
        asked.caller.check(Right.RESTORE, asked.state)
        await self._agree(asked.state, new, asked.caller)
        return True

    async def _announce(self, asked: Asked, new: NewVersion, hold: Holder, *, is_forced: bool) -> Stored:
        upload, secret = await self._uploads.announce(
            asked.state, new, ticket=hold.ticket, token=hold.token, is_forced=is_forced, who=asked.caller.who
        )
        return self._awaited(asked, upload, secret)

    async def _write(self, state: str, body: bytes, writer: Writer, *, is_forced: bool) -> Written:
        try:
            kind, note = (VersionKind.PUSH, "pushed by force") if is_forced else (VersionKind.WRITE, "")
            return await self._archive.write(state, body, writer=writer, kind=kind, note=note, force=is_forced)
        except (LeaseLost, StateInvalid):
            await self._end_hold(state, writer)
            raise

    async def _end_hold(self, state: str, writer: Writer) -> None:
        """End the hold of a Terraform whose write was refused: it will not.

        One that may still be at work (it stores what it has now and then, and this may have been such a write) leaves
        the state paused: what it still makes, no state has.
        """
        with suppress(InterlockError):  # the refusal is what matters; a hold that stays is broken on evidence
            hold = holder_of((await self._coordinator.view(state)).lock, ticket=writer.ticket, token=writer.token)
            if hold is None:
                return
            age_s = (self._clock.now() - hold.lease.granted_at).total_seconds()
            if age_s >= SNAPSHOT_S_MIN:
                fix = f"{command('state', 'quarantine', 'ls', state)}, then {command('queue', 'resume', state)}"
                reason = f"a write of {writer.who} was refused while it was at work; {fix}"
                await self._coordinator.pause(state, by="interlock (refused write)", reason=reason)
            await self._coordinator.release(state, ticket=hold.ticket, token=hold.token)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def current(self, asked: Asked) -> Stored:
        """Return the current version.

        Raises:
            NotFound: There is none.
        """
        return self._stored(asked.base, asked.state, await self._current(asked.state))

    async def read(self, asked: Asked) -> Stored:
        """Return a version, also one whose bytes are awaited.

        Raises:
            NotFound: There is none.
        """
        found = parse_version_id(asked.named["version"])
        if not found.upload:
            return self._stored(asked.base, asked.state, await self._version(found))
        upload = await self._uploads.find(found.state, found.upload)
        if not upload.number:
            return self._awaited(asked, upload, "")
        version = await self._version(VersionId(state=found.state, number=upload.number))
        return self._stored(asked.base, found.state, version, as_id=found)

    async def all(self, asked: Asked) -> list[Stored]:
        """Return the versions of a state, newest first."""
        found = await self._archive.history(asked.state)
        return [self._stored(asked.base, asked.state, each) for each in found if not each.is_tombstone]

    async def bytes_of(self, version_id: VersionId) -> bytes:
        """Return the bytes of a version.

        Raises:
            NotFound: There is none.
        """
        version = await self._version(version_id)
        return await self._archive.read_version(version_id.state, version)

    async def outputs(self, version_id: VersionId) -> Mapping[OutputId, StoredOutput]:
        """Return the outputs of a version. Raises as `bytes_of`."""
        version = await self._version(version_id)
        body = await self._archive.read_version(version_id.state, version)
        found = await _aside(read_outputs, body, size_bytes=len(body))
        return {
            OutputId(state=version_id.state, number=version.number, name=name): each for name, each in found.items()
        }

    async def current_outputs(self, state: str) -> Mapping[OutputId, StoredOutput]:
        """Return the outputs of the current version.

        Raises:
            NotFound: There is none.
        """
        version = await self._current(state)
        return await self.outputs(VersionId(state=state, number=version.number))

    async def _current(self, state: str) -> Version:
        head = (await self._coordinator.view(state)).head
        found = None
        if head is None:
            await self._archive.current(state)  # raises when it only cannot be read
        elif head.digest:
            found = await self._archive.version(state, number=head.number)
        if found is None:
            raise NotFound(f"state {state!r} has no version")
        return found

    async def _version(self, version_id: VersionId) -> Version:
        number = version_id.number
        if version_id.upload:
            number = (await self._uploads.find(version_id.state, version_id.upload)).number
        found = await self._archive.version(version_id.state, number=number) if number else None
        if found is None or found.is_tombstone:
            raise NotFound(f"state {version_id.state!r} has no such version")
        return found

    def _stored(self, base: str, state: str, version: Version, *, as_id: VersionId | None = None) -> Stored:
        told = VersionId(state=state, number=version.number)
        return Stored(
            id=as_id or told,
            serial=version.serial,
            size_bytes=version.size_bytes,
            written_at=version.written_at,
            download_url=f"{base}{BASE}/state-versions/{told}/download",
        )

    def _awaited(self, asked: Asked, upload: Upload, secret: str) -> Stored:
        told = VersionId(state=asked.state, upload=upload.id)
        url = f"{asked.base}{BASE}/state-versions/{told}/upload/{secret}" if secret else ""
        return Stored(
            id=told,
            serial=upload.serial,
            size_bytes=0,
            written_at=upload.at,
            is_stored=False,
            upload_url=url,
            json_upload_url=f"{url}/json" if url else "",
        )


def _is_refused(view: View, new: NewVersion) -> bool:
    """Say whether lineage and serial alone speak against a version; what its content says is seen when it comes."""
    head = view.head
    current = None if head is None or not head.digest else Footing(lineage=head.lineage, serial=head.serial)
    candidate = Footing(lineage=new.lineage, serial=new.serial)
    if is_question_of_content(current, candidate):
        return False
    return isinstance(judge(current, candidate, is_same=False), Refusal)


def _check_md5(body: bytes, md5: str) -> None:
    if md5 and hashlib.md5(body, usedforsecurity=False).hexdigest() != md5:
        raise UsageError(
            "the state was damaged on the way",
            why="its bytes are not those that were announced (md5)",
            fix="send it again; look for a proxy that rewrites bodies",
        )


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def _aside(work: Callable[[bytes], _T], body: bytes, *, size_bytes: int) -> _T:
    """Work on something large in a thread; heartbeats go on meanwhile."""
    return await asyncio.to_thread(work, body) if size_bytes > THREAD_BYTES_MIN else work(body)
