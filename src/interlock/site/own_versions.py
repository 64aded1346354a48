"""One state of embedded mode, for a person's command."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.errors import InterlockError, UsageError, command
from interlock.site.holding import holding

if TYPE_CHECKING:
    from interlock.coordinator.archive import StateArchive, Writer, Written
    from interlock.home.interface import Home
    from interlock.run.surroundings import Seat
    from interlock.state import Document, Quarantined, RestorePlan, Version


_DIGEST_CHARS = 6  # of a digest that name a version; fewer could be a number


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnVersions:
    """One state of embedded mode, for a person's command."""

    state: str
    home: Home

    @property
    def archive(self) -> StateArchive:
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
        from interlock.state import parse_document

        return parse_document(await self.body(text))

    async def pair(self, first: str | None, second: str | None) -> tuple[Document, Document]:
        """Return two versions: by default the current one and the one before."""
        newer = await self.version(second)
        older = first or str(max(newer.number - 1, 1))
        return await self.document(older), await self.document(str(newer.number))

    async def plan_restore(self, text: str | None) -> tuple[Version, RestorePlan]:
        """Return what a restore would do; by default of the newest whole version before the current one."""
        chosen = await self.version(text) if text else await self._newest_whole()
        return chosen, await self.archive.plan_restore(self.state, chosen)

    async def _newest_whole(self) -> Version:
        from interlock.state import refusing, verify_state

        current = await self._meant(None)
        async for version in self.archive.versions(self.state):
            if version != current and not version.is_tombstone and not version.suspect:
                with suppress(InterlockError):
                    body = await self.archive.read_version(self.state, version)
                    if not refusing(verify_state(body)):
                        return version
        raise UsageError(f"state {self.state} has no older whole version", fix=command("state", "history", self.state))

    async def restore(self, version: Version) -> Written:
        """Make a version current again, under the lock."""
        async with holding(self.home, self.state, "state restore", settles_review=True) as seat:
            return await self.archive.restore(self.state, version, writer=self._writer(seat))

    async def suspect(self) -> Version | None:
        """Return the current version when it is suspect, else None."""
        versions = await self.archive.history(self.state, limit=1)
        return versions[0] if versions and versions[0].suspect else None

    async def accept(self) -> Version | None:
        """Let a suspect current version stand and end its review; None when it is not suspect."""
        async with holding(self.home, self.state, "state accept", settles_review=True) as seat:
            return await self.archive.accept(self.state, writer=self._writer(seat))

    async def push(self, body: bytes, *, force: bool) -> Written:
        """Store a document as the next version, under the lock."""
        from interlock.state import VersionKind

        async with holding(self.home, self.state, "state push", settles_review=True) as seat:
            return await self.archive.write(
                self.state, body, writer=self._writer(seat), kind=VersionKind.PUSH, force=force, note="pushed by hand"
            )

    async def reattach(self, version: Version) -> None:
        """Make the version current again that the state's damaged record no longer names.

        Under the lock, unless the record cannot be read: then the lock is lost with it, and whoever held it is fenced.
        """
        from interlock.coordinator.names import key_of
        from interlock.store import Mismatch

        with suppress(Mismatch):
            record = self.archive.rebuilt_record(version)
            await self.home.store.records.replace_damaged(key_of(self.state), record)
            return
        async with holding(self.home, self.state, "state repair") as seat:
            await self.archive.reattach(self.state, version, writer=self._writer(seat))

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
        from interlock.state import parse_document

        return await self.document(None), parse_document((await self.quarantined(text))[1])

    def _writer(self, seat: Seat) -> Writer:
        from interlock.coordinator.archive import Writer

        return Writer(who=self.home.me, ticket=seat.ticket, token=seat.token)


def _is_meant(version: Version, text: str) -> bool:
    if text.startswith("serial:"):
        return text == f"serial:{version.serial}"
    if text.isdecimal():
        return int(text) == version.number
    return len(text) >= _DIGEST_CHARS and version.digest.startswith(text)
