"""The archive of a server, as its clients have it. A hand.

Nothing is judged here: a state is sent with the grant under which it is written, and the server says what became of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Final

from interlock.api.versions import (
    HEAD_HEADER,
    PAGE_MAX,
    VERSION_HEADER,
    ByGrant,
    Count,
    Grant,
    Kept,
    QuarantineAsked,
    Refused,
    Versions,
    WriteAsked,
    line_of,
)
from interlock.coordinator.archive import THREAD_BYTES_MIN, Writer, Written, say_dropped
from interlock.coordinator.chain import MAX_HISTORY
from interlock.coordinator.names import check_state_name
from interlock.coordinator.record import Head
from interlock.errors import BackendUnavailable, InterlockError, LeaseLost, StateInvalid
from interlock.home.line import BULK_S, Line
from interlock.state.encrypted import AnyDocument, parse_state
from interlock.state.history import Quarantined, Retention, Version, VersionKind
from interlock.state.restore import RestorePlan, plan_restore
from interlock.store.before import Before, nothing_before

_VERSIONS: Final = "/versions"
_QUARANTINE: Final = "/quarantine"


class ServerArchive:
    """See `Archive`.

    Args:
        line: The way to the server.
    """

    def __init__(self, line: Line) -> None:
        self._line = line

    async def current(self, state: str) -> tuple[Head, bytes] | None:
        """See `Archive.current`. What came is compared with the digest that the head names."""
        reply = await self._line.ask("GET", f"{_VERSIONS}/current", _of(state), wait_s=BULK_S)
        if HEAD_HEADER not in reply.headers:
            return None
        head: Head = self._line.read(reply.headers[HEAD_HEADER].encode(), Head)
        await _check(state, reply.body, head.digest)
        return head, reply.body

    async def history(self, state: str, *, limit: int = MAX_HISTORY) -> tuple[Version, ...]:
        """See `Archive.history`."""
        found: list[Version] = []
        async for version in self.versions(state, page=min(limit, PAGE_MAX)):
            found.append(version)
            if len(found) == limit:
                break
        return tuple(found)

    async def versions(self, state: str, *, page: int = PAGE_MAX) -> AsyncIterator[Version]:
        """See `Archive.versions`."""
        below = 0
        while True:
            query = {**_of(state), "below": below or None, "limit": page}
            told: Versions = await self._line.ask_for(Versions, "GET", _VERSIONS, query)
            for version in told.versions:
                yield version
            if len(told.versions) < page:
                return
            below = told.versions[-1].number

    async def version(
        self, state: str, *, number: int | None = None, serial: int | None = None, digest: str | None = None
    ) -> Version | None:
        """See `Archive.version`."""
        query = {**_of(state), "number": number, "serial": serial, "digest": digest}
        found: Version | None = await self._line.ask_for(Version, "GET", f"{_VERSIONS}/one", query)
        return found

    async def read_version(self, state: str, version: Version) -> bytes:
        """See `Archive.read_version`."""
        query = {**_of(state), "number": version.number}
        reply = await self._line.ask("GET", f"{_VERSIONS}/content", query, wait_s=BULK_S)
        await _check(state, reply.body, version.digest)
        return reply.body

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
        """See `Archive.write`. Sent again when its answer is lost: one state under one grant is one write."""
        asked = WriteAsked(grant=Grant.of(writer), kind=kind, note=note, force=force)
        written: Written = await self._line.ask_for(
            Written, "POST", _VERSIONS, _of(state), body=(line_of(asked), body), wait_s=BULK_S
        )
        return written

    async def delete(self, state: str, *, writer: Writer, note: str = "") -> Written | None:
        """See `Archive.delete`."""
        asked = ByGrant(grant=Grant.of(writer), note=note)
        found: Written | None = await self._line.ask_for(
            Written, "POST", f"{_VERSIONS}/delete", _of(state), sends=asked, wait_s=BULK_S
        )
        return found

    async def plan_restore(self, state: str, version: Version) -> RestorePlan:
        """See `Archive.plan_restore`: what is shown. The server plans again when it restores."""
        target = parse_state(await self.read_version(state, version))
        query = {**_of(state), "lineage": target.lineage}
        highest: Count = await self._line.ask_for(Count, "GET", f"{_VERSIONS}/highest-serial", query)
        current = await self._current_document(state)
        return plan_restore(current=current, target=target, highest_serial=highest.count)

    async def restore(self, state: str, version: Version, *, writer: Writer) -> Written:
        """See `Archive.restore`."""
        asked = ByGrant(grant=Grant.of(writer), number=version.number)
        written: Written = await self._line.ask_for(
            Written, "POST", f"{_VERSIONS}/restore", _of(state), sends=asked, wait_s=BULK_S
        )
        return written

    async def accept(self, state: str, *, writer: Writer) -> Version | None:
        """See `Archive.accept`."""
        asked = ByGrant(grant=Grant.of(writer))
        found: Version | None = await self._line.ask_for(
            Version, "POST", f"{_VERSIONS}/accept", _of(state), sends=asked, wait_s=BULK_S
        )
        return found

    async def end_review(self, state: str, *, by: str) -> None:  # noqa: ARG002 - the token says who
        """See `Archive.end_review`."""
        await self._line.ask("POST", f"{_VERSIONS}/end-review", _of(state))

    async def prunable(self, state: str, policy: Retention) -> tuple[Version, ...]:
        """See `Archive.prunable`."""
        return await self._retained("GET", "prunable", state, policy)

    async def prune(self, state: str, policy: Retention) -> tuple[Version, ...]:
        """See `Archive.prune`."""
        return await self._retained("POST", "prune", state, policy)

    async def _retained(self, method: str, what: str, state: str, policy: Retention) -> tuple[Version, ...]:
        rules = {name: getattr(policy, name) for name in policy.__struct_fields__}
        told: Versions = await self._line.ask_for(
            Versions, method, f"{_VERSIONS}/{what}", {**_of(state), **rules}, wait_s=BULK_S
        )
        return told.versions

    async def sweep(self, state: str) -> int:
        """See `Archive.sweep`."""
        return await self._count("POST", f"{_VERSIONS}/sweep", _of(state))

    async def quarantined(self, state: str) -> tuple[Quarantined, ...]:
        """See `Archive.quarantined`."""
        return (await self._refused(state)).entries

    async def quarantine_dropped(self, state: str) -> int:
        """See `Archive.quarantine_dropped`."""
        return (await self._refused(state)).dropped

    async def _refused(self, state: str) -> Refused:
        told: Refused = await self._line.ask_for(Refused, "GET", _QUARANTINE, _of(state))
        return told

    async def read_quarantined(self, state: str, entry_id: str) -> tuple[Quarantined, bytes]:
        """See `Archive.read_quarantined`."""
        query = {**_of(state), "id": entry_id}
        reply = await self._line.ask("GET", f"{_QUARANTINE}/content", query, wait_s=BULK_S)
        entry: Quarantined = self._line.read(reply.headers.get(VERSION_HEADER, "").encode(), Quarantined)
        await _check(state, reply.body, entry.digest)
        return entry, reply.body

    async def discard(self, state: str, entry_id: str) -> Quarantined:
        """See `Archive.discard`."""
        entry: Quarantined = await self._line.ask_for(
            Quarantined, "DELETE", _QUARANTINE, {**_of(state), "id": entry_id}
        )
        return entry

    async def quarantine(self, state: str, body: bytes, *, writer: Writer, error: InterlockError) -> Quarantined:
        """See `Archive.quarantine`."""
        addresses = error.facts.get("addresses")
        asked = QuarantineAsked(
            grant=Grant.of(writer),
            what=error.what,
            why=error.why,
            finding=str(error.facts.get("finding", "" if isinstance(error, LeaseLost) else error.code)),
            addresses=[str(each) for each in addresses] if isinstance(addresses, list) else [],
            is_fenced=isinstance(error, LeaseLost),
        )
        kept: Kept = await self._line.ask_for(
            Kept, "POST", _QUARANTINE, _of(state), body=(line_of(asked), body), wait_s=BULK_S
        )
        say_dropped(error, kept.dropped)
        return kept.entry

    async def mend_chain(self, state: str, *, before: Before[str] = nothing_before) -> bool:
        """See `Archive.mend_chain`."""
        del before  # the server writes it down
        return bool(await self._count("POST", "/repair/chain", _of(state)))

    async def lost_head(self, state: str) -> Version | None:
        """See `Archive.lost_head`."""
        found: Version | None = await self._line.ask_for(Version, "GET", "/repair", _of(state))
        return found

    async def reattach(self, state: str, version: Version, *, writer: Writer) -> Head | None:
        """See `Archive.reattach`."""
        asked = ByGrant(grant=Grant.of(writer), number=version.number)
        await self._line.ask_for(Count, "POST", "/repair/head", _of(state), sends=asked)
        found = await self.current(state)
        return None if found is None else found[0]

    async def rebuild(self, state: str, version: Version, *, before: Before[Version] = nothing_before) -> bool:
        """See `Archive.rebuild`."""
        del before  # the server writes it down
        return bool(await self._count("POST", "/repair/record", {**_of(state), "number": version.number}))

    async def _count(self, method: str, path: str, query: dict[str, object]) -> int:
        told: Count = await self._line.ask_for(Count, method, path, query)
        return told.count

    async def _current_document(self, state: str) -> AnyDocument | None:
        """Return the current document for comparing; None when it is absent or broken (that is why one restores)."""
        try:
            found = await self.current(state)
            return parse_state(found[1]) if found is not None else None
        except (StateInvalid, BackendUnavailable):
            return None


def _of(state: str) -> dict[str, object]:
    return {"state": check_state_name(state)}


async def _check(state: str, body: bytes, digest: str) -> None:
    """Refuse bytes that changed on their way.

    Raises:
        BackendUnavailable: They did.
    """
    if len(body) < THREAD_BYTES_MIN:
        found = hashlib.sha256(body).hexdigest()
    else:
        found = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
    if found != digest:
        raise BackendUnavailable(f"state {state!r} did not arrive as it is stored", fix="try again")
