"""Endpoints about the versions of states, and about writes that were refused.

The archive judges every write here, with the grant that it names, as if it came from Terraform itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec
from msgspec.structs import replace

from interlock.api.versions import (
    ASKED_BYTES_MAX,
    HEAD_HEADER,
    PAGE_MAX,
    VERSION_HEADER,
    ByGrant,
    Count,
    Framed,
    Grant,
    Kept,
    QuarantineAsked,
    Refused,
    Versions,
    WriteAsked,
    asked_in,
)
from interlock.audit.entry import Fact
from interlock.backend.locking import check_may_change
from interlock.coordinator import Coordinator, View
from interlock.coordinator.archive import QUARANTINE_DROPPED, StateArchive, Writer, Written
from interlock.coordinator.refusals import HeadMoved
from interlock.errors import InterlockError, LeaseLost, UsageError, command
from interlock.lock import Holder, Pause, holder_of
from interlock.rights import Right
from interlock.server.api.judging import check_writer, signed
from interlock.server.api.own_entries import NO_ENTRIES, OwnEntries, version_facts
from interlock.server.api.table import AnyEndpoint, Call, NoBody, OfState, Sent, acts, from_to, reads
from interlock.server.api.two_persons import Agree, digest_of, nobody_asked, push_act, restore_act
from interlock.site.act_entries import (
    CHAIN_REPAIRED,
    QUARANTINE_DISCARDED,
    QUEUE_RESUMED,
    STATE_REPAIRED,
    VERSIONS_PRUNED,
    discarded_facts,
    pruned_facts,
    repaired_facts,
)
from interlock.site.ref import own_address
from interlock.state import MAX_STATE_BYTES
from interlock.state.history import Quarantined, Retention, Version
from interlock.store import RecordDamaged

_WHOLE_MAX: Final = MAX_STATE_BYTES + ASKED_BYTES_MAX
_PUSHED: Final = "state-pushed"


class SomeVersions(OfState, frozen=True, kw_only=True):
    """Asks for versions, newest first.

    Attributes:
        below: Begin with the one before this number; 0 begins with the current one.
        limit: Most of them.
    """

    below: int = 0
    limit: Annotated[int, from_to(1, PAGE_MAX)] = PAGE_MAX


class OneVersion(OfState, frozen=True, kw_only=True):
    """Asks for the newest version that matches all that is given.

    Attributes:
        number: Its number.
        serial: Its serial in Terraform.
        digest: The beginning of its SHA-256.
    """

    number: int | None = None
    serial: int | None = None
    digest: str | None = None


class OfNumber(OfState, frozen=True, kw_only=True):
    """Asks about one version.

    Attributes:
        number: Its number.
    """

    number: int


class OfLineage(OfState, frozen=True, kw_only=True):
    """Asks about one lineage.

    Attributes:
        lineage: Which.
    """

    lineage: str


class OfRetention(OfState, frozen=True, kw_only=True):
    """Asks with rules of retention; see `Retention`."""

    newest: int = 50
    all_for_s: float = 14 * 86_400
    daily_for_s: float = 90 * 86_400
    weekly_for_s: float = 2 * 365 * 86_400

    @property
    def policy(self) -> Retention:
        """The rules."""
        return Retention(**{name: getattr(self, name) for name in Retention.__struct_fields__})


class OfEntry(OfState, frozen=True, kw_only=True):
    """Asks about one refused write.

    Attributes:
        id: Its id.
    """

    id: str


class _Archive:
    """Does what clients ask of the archive."""

    def __init__(self, coordinator: Coordinator, archive: StateArchive, agree: Agree, entries: OwnEntries) -> None:
        self._coordinator = coordinator
        self._archive = archive
        self._agree = agree
        self._entries = entries

    async def current(self, call: Call[OfState, NoBody]) -> Sent | None:
        """The current state, and its head."""
        found = await self._archive.current(call.query.state)
        if found is None:
            return None
        head, body = found
        return Sent(body=body, headers={HEAD_HEADER: msgspec.json.encode(head).decode(), "etag": f'"{head.digest}"'})

    async def list(self, call: Call[SomeVersions, NoBody]) -> Versions:
        """The versions of a state, newest first."""
        query = call.query
        if not 1 <= query.limit <= PAGE_MAX:
            raise UsageError("the versions were not listed", why=f"a page has 1 to {PAGE_MAX} versions")
        found: list[Version] = []
        async for version in self._archive.versions(query.state, below=query.below or None):
            found.append(version)
            if len(found) == query.limit:
                break
        return Versions(versions=tuple(found))

    async def one(self, call: Call[OneVersion, NoBody]) -> Version | None:
        """One version."""
        query = call.query
        return await self._archive.version(query.state, number=query.number, serial=query.serial, digest=query.digest)

    async def content(self, call: Call[OfNumber, NoBody]) -> Sent:
        """The state of a version."""
        version = await self._version(call.query.state, call.query.number)
        return Sent(body=await self._archive.read_version(call.query.state, version))

    async def highest_serial(self, call: Call[OfLineage, NoBody]) -> Count:
        """The highest serial of a lineage."""
        return Count(count=await self._archive.highest_serial(call.query.state, call.query.lineage))

    async def write(self, call: Call[OfState, Framed]) -> Written:
        """Write a state under a grant: a line of JSON, then the state."""
        asked, body = asked_in(call.body.line, WriteAsked), call.body.state
        state = call.query.state
        if asked.force:
            call.caller.check(Right.RESTORE, state)
        try:
            writer = await self._writer(call, asked.grant)
        except LeaseLost as error:  # its grant is to plan; what it made all the same is kept
            kept_for = asked.grant.writer(signed(asked.grant.who, call.caller))
            await self._archive.quarantine(state, body, writer=kept_for, error=error)
            raise
        before = await self._agree_to_write(call, asked, body)
        holder = _holder(before, writer)
        if asked.force or (holder is not None and not holder.run):
            writer = self._telling(_PUSHED, call, before, writer, {"forced": asked.force})
        return await self._archive.write(
            state, body, writer=writer, kind=asked.kind, note=asked.note, force=asked.force
        )

    async def delete(self, call: Call[OfState, ByGrant]) -> Written | None:
        """Make a state absent; its history stays."""
        writer = await self._writer(call, call.body.grant)
        before = await self._coordinator.view(call.query.state)
        writer = self._telling("state-deleted", call, before, writer, {})
        return await self._archive.delete(call.query.state, writer=writer, note=call.body.note)

    async def restore(self, call: Call[OfState, ByGrant]) -> Written:
        """Make an older version current again."""
        version = await self._version(call.query.state, call.body.number)
        writer = await self._writer(call, call.body.grant)
        await self._agree_to_restore(call, version)
        before = await self._coordinator.view(call.query.state)
        writer = self._telling("state-restored", call, before, writer, {"restored": version.number})
        return await self._archive.restore(call.query.state, version, writer=writer)

    async def accept(self, call: Call[OfState, ByGrant]) -> Version | None:
        """Let a suspect version stand."""
        writer, before = await self._writer(call, call.body.grant), await self._coordinator.view(call.query.state)
        writer = self._telling("state-accepted", call, before, writer, {})
        return await self._archive.accept(call.query.state, writer=writer)

    async def end_review(self, call: Call[OfState, NoBody]) -> None:
        """Resume a state that was paused for a suspect version."""

        async def before(pause: Pause, _version: int) -> None:
            await self._note(QUEUE_RESUMED, call, {"reason": pause.reason})

        await self._archive.end_review(call.query.state, by=signed("", call.caller), before=before)

    async def prunable(self, call: Call[OfRetention, NoBody]) -> Versions:
        """Versions whose bytes would be deleted."""
        return Versions(versions=await self._archive.prunable(call.query.state, call.query.policy))

    async def prune(self, call: Call[OfRetention, NoBody]) -> Versions:
        """Delete the bytes of old versions."""
        doomed = await self._archive.prunable(call.query.state, call.query.policy)
        if doomed:  # what a write meanwhile saves is pruned, or not, the next time
            await self._note(VERSIONS_PRUNED, call, pruned_facts(doomed))
        pruned = await self._archive.prune(call.query.state, call.query.policy)
        return Versions(versions=pruned)

    async def sweep(self, call: Call[OfState, NoBody]) -> Count:
        """Delete what killed writes left."""
        return Count(count=await self._archive.sweep(call.query.state))

    async def refused(self, call: Call[OfState, NoBody]) -> Refused:
        """The refused writes of a state, newest first."""
        state = call.query.state
        return Refused(
            entries=await self._archive.quarantined(state), dropped=await self._archive.quarantine_dropped(state)
        )

    async def refused_content(self, call: Call[OfEntry, NoBody]) -> Sent:
        """The bytes of a refused write."""
        entry, body = await self._archive.read_quarantined(call.query.state, call.query.id)
        return Sent(body=body, headers={VERSION_HEADER: msgspec.json.encode(entry).decode()})

    async def discard(self, call: Call[OfEntry, NoBody]) -> Quarantined:
        """Throw a refused write away."""
        state, id_ = call.query.state, call.query.id
        gone = next((each for each in await self._archive.quarantined(state) if each.id == id_), None)
        if gone is None:  # the answer may have been lost
            gone = await self._entries.recall(call.caller, f"discarded\n{state}\n{id_}", Quarantined)
            return gone if gone is not None else await self._archive.discard(state, id_)
        await self._entries.keep(call.caller, f"discarded\n{state}\n{id_}", gone)
        await self._note(QUARANTINE_DISCARDED, call, discarded_facts(gone))
        return await self._archive.discard(state, id_)

    async def quarantine(self, call: Call[OfState, Framed]) -> Kept:
        """Keep bytes that a run's own door refused."""
        asked, body = asked_in(call.body.line, QuarantineAsked), call.body.state
        error = (LeaseLost if asked.is_fenced else InterlockError)(asked.what, why=asked.why)
        error.facts = {"addresses": asked.addresses, **({"finding": asked.finding} if asked.finding else {})}
        writer = asked.grant.writer(signed(asked.grant.who, call.caller))
        entry = await self._archive.quarantine(call.query.state, body, writer=writer, error=error)
        dropped = error.facts.get(QUARANTINE_DROPPED)
        return Kept(entry=entry, dropped=dropped if isinstance(dropped, int) else 0)

    async def mend_chain(self, call: Call[OfState, NoBody]) -> Count:
        """Make a damaged record of a chain anew."""

        async def before(_state: str, _version: int) -> None:
            await self._note(STATE_REPAIRED, call, CHAIN_REPAIRED)

        return Count(count=int(await self._archive.mend_chain(call.query.state, before=before)))

    async def lost_head(self, call: Call[OfState, NoBody]) -> Version | None:
        """The version that a damaged record does not name any more."""
        return await self._archive.lost_head(call.query.state)

    async def reattach(self, call: Call[OfState, ByGrant]) -> None:
        """Make the lost version current again."""
        state, number = call.query.state, call.body.number
        writer = await self._writer(call, call.body.grant)
        view = await self._coordinator.view(state)
        holder, head = _holder(view, writer), view.head
        token = holder.token if holder is not None else None
        is_done = head is not None and (head.number, head.token) == (number, token)  # the answer was lost
        lost = await (self._version if is_done else self._lost)(state, number)
        await self._note(STATE_REPAIRED, call, {**repaired_facts("head", lost), "token": token})
        await self._archive.reattach(call.query.state, lost, writer=writer)

    async def rebuild(self, call: Call[OfNumber, NoBody]) -> Count:
        """Make an unreadable record anew."""
        state, number = call.query.state, call.query.number
        if await self._entries.recall(call.caller, f"rebuilt\n{state}\n{number}", Version) is not None:
            with suppress(RecordDamaged):
                if _number(await self._coordinator.view(state)) == number:
                    return Count(count=1)  # it is as it was asked for: the answer was lost
        lost = await self._lost(state, number)
        await self._entries.keep(call.caller, f"rebuilt\n{state}\n{number}", lost)

        async def before(made: Version, _version: int) -> None:
            await self._note(STATE_REPAIRED, call, repaired_facts("state", made))

        return Count(count=int(await self._archive.rebuild(state, lost, before=before)))

    def _telling(
        self, action: str, call: Call[Any, Any], before: View, writer: Writer, facts: Mapping[str, Fact]
    ) -> Writer:
        """Return the writer, who writes down which version a person makes current, before it is."""
        serial = before.head.serial if before.head is not None else None
        by = writer.who

        async def tell(made: Version, _replaced: int) -> None:
            said = {**facts, **version_facts(made, serial_before=serial)}
            await self._entries.write(action, call, said, subject=own_address(call.query.state), by=by)

        return replace(writer, before=tell)

    async def _note(self, action: str, call: Call[Any, Any], facts: Mapping[str, Fact]) -> None:
        by = signed("", call.caller)
        await self._entries.write(action, call, facts, subject=own_address(call.query.state), by=by)

    async def _writer(self, call: Call[OfState, ByGrant] | Call[OfState, Framed], grant: Grant) -> Writer:
        """Return who writes, after a look whether it is that one's own grant, and one to change the state.

        Raises:
            Forbidden: It is another's.
            LeaseLost: It is one to plan.
        """
        state, lock = call.query.state, (await self._coordinator.view(call.query.state)).lock
        check_writer(call.caller, state, lock, ticket=grant.ticket, token=grant.token, lock_id=grant.lock_id)
        check_may_change(state, lock, ticket=grant.ticket, token=grant.token, lock_id=grant.lock_id)
        return grant.writer(signed(grant.who, call.caller))

    async def _agree_to_write(self, call: Call[OfState, Framed], asked: WriteAsked, body: bytes) -> View:
        """Have another person agree to a state that no run made, or that is stored by force; return what is there.

        Without a current grant there is nothing to agree to: the archive refuses, and keeps the bytes.
        """
        state, grant = call.query.state, asked.grant
        view = await self._coordinator.view(state)
        holder = _holder(view, grant)
        if holder is None or (holder.run and not asked.force):
            return view
        digest = await digest_of(body)
        if view.head is None or view.head.digest != digest:  # the same again replaces nothing
            await self._agree(call.caller, push_act(state, digest, len(body), over=_number(view)))
        return view

    async def _agree_to_restore(self, call: Call[OfState, ByGrant], version: Version) -> None:
        state = call.query.state
        view, plan = await self._coordinator.view(state), await self._archive.plan_restore(state, version)
        act = restore_act(state, version, next_serial=plan.next_serial, over=_number(view))
        await self._agree(call.caller, act)

    async def _version(self, state: str, number: int) -> Version:
        found = await self._archive.version(state, number=number)
        if found is None:
            raise UsageError(f"state {state!r} has no version {number}", fix=command("state", "history", state))
        return found

    async def _lost(self, state: str, number: int) -> Version:
        """Return the version that a damaged record does not name. What a client says of it counts for nothing."""
        lost = await self._archive.lost_head(state)
        if lost is None or lost.number != number:
            raise HeadMoved(
                f"state {state!r} was not repaired", why="its record is not as it was when it was looked at"
            )
        return lost


def _holder(view: View, grant: Grant | Writer) -> Holder | None:
    return holder_of(view.lock, ticket=grant.ticket, token=grant.token, lock_id=grant.lock_id)


def _number(view: View) -> int:
    return view.head.number if view.head is not None else 0


def version_endpoints(
    coordinator: Coordinator, archive: StateArchive, agree: Agree = nobody_asked, entries: OwnEntries = NO_ENTRIES
) -> list[AnyEndpoint]:
    """Return the rows.

    Args:
        coordinator: Keeps heads and grants.
        archive: Keeps states.
        agree: See `Agree`.
        entries: Writes down what is done.
    """
    do = _Archive(coordinator, archive, agree, entries)
    return [*_reading(do), *_writing(do), *_refused_writes(do), *_mending(do)]


def _reading(do: _Archive) -> list[AnyEndpoint]:
    return [
        reads("/versions", do.list, right=Right.READ_STATE, query=SomeVersions, answer=Versions),
        reads("/versions/current", do.current, right=Right.READ_STATE, query=OfState, answer=bytes | None),
        reads("/versions/one", do.one, right=Right.READ_STATE, query=OneVersion, answer=Version | None),
        reads("/versions/content", do.content, right=Right.READ_STATE, query=OfNumber, answer=bytes),
        reads("/versions/highest-serial", do.highest_serial, right=Right.READ_STATE, query=OfLineage, answer=Count),
    ]


def _writing(do: _Archive) -> list[AnyEndpoint]:
    return [
        acts(
            "/versions", do.write, right=Right.APPLY, query=OfState, body=Framed, answer=Written, limit_bytes=_WHOLE_MAX
        ),
        acts("/versions/delete", do.delete, right=Right.APPLY, query=OfState, body=ByGrant, answer=Written | None),
        acts("/versions/restore", do.restore, right=Right.RESTORE, query=OfState, body=ByGrant, answer=Written),
        acts("/versions/accept", do.accept, right=Right.RESTORE, query=OfState, body=ByGrant, answer=Version | None),
        acts("/versions/end-review", do.end_review, right=Right.RESTORE, query=OfState, body=NoBody, answer=None),
        reads("/versions/prunable", do.prunable, right=Right.READ_STATE, query=OfRetention, answer=Versions),
        acts("/versions/prune", do.prune, right=Right.RESTORE, query=OfRetention, body=NoBody, answer=Versions),
        acts("/versions/sweep", do.sweep, right=Right.APPLY, query=OfState, body=NoBody, answer=Count),
    ]


def _refused_writes(do: _Archive) -> list[AnyEndpoint]:
    return [
        reads("/quarantine", do.refused, right=Right.READ_STATE, query=OfState, answer=Refused),
        reads("/quarantine/content", do.refused_content, right=Right.READ_STATE, query=OfEntry, answer=bytes),
        acts(
            "/quarantine",
            do.quarantine,
            right=Right.APPLY,
            query=OfState,
            body=Framed,
            answer=Kept,
            limit_bytes=_WHOLE_MAX,
        ),
        acts(
            "/quarantine",
            do.discard,
            method="DELETE",
            right=Right.RESTORE,
            query=OfEntry,
            body=NoBody,
            answer=Quarantined,
        ),
    ]


def _mending(do: _Archive) -> list[AnyEndpoint]:
    return [
        reads("/repair", do.lost_head, right=Right.READ_STATE, query=OfState, answer=Version | None),
        acts("/repair/chain", do.mend_chain, right=Right.RESTORE, query=OfState, body=NoBody, answer=Count),
        acts("/repair/head", do.reattach, right=Right.RESTORE, query=OfState, body=ByGrant, answer=None),
        acts("/repair/record", do.rebuild, right=Right.RESTORE, query=OfNumber, body=NoBody, answer=Count),
    ]
