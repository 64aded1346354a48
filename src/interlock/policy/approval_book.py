"""Requests for approval, kept in a store: records, and the plans as blobs. A hand.

A decision is a compare-and-swap on what was read: of two persons who decide at once, the second is judged anew on what
the first said.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, InterlockError, UsageError, command
from interlock.policy.approval import OPEN, Approval, Decision, Kind, Standing, decode, encode, is_for, standing
from interlock.policy.approval import decided as with_decision
from interlock.policy.approval import replaced as with_replaced
from interlock.policy.approval import used as with_use
from interlock.store.before import Before, nothing_before
from interlock.store.blobs import BlobStore, blob_digest
from interlock.store.records import LIST_LIMIT_MAX, Mismatch, Record, RecordStore

_PREFIX = "approval/"
_SWAPS_MAX = 50  # lost swaps; each is somebody else's decision
KEPT = timedelta(days=90)
"""How long a request that is over can be looked at; the audit log has it for good."""
_ID_MAX = 100


class ApprovalBook:
    """Asks, decides, uses.

    Args:
        records: Where requests are kept.
        blobs: Where plans are kept.
        clock: Of the store.
    """

    def __init__(self, records: RecordStore, blobs: BlobStore, clock: Clock) -> None:
        self._records = records
        self._blobs = blobs
        self._clock = clock

    @property
    def writes_down(self) -> bool:
        """See `Approvals.writes_down`: whoever acts on a store writes it down."""
        return False

    def now(self) -> datetime:
        """Return the store's time, by which requests become too old."""
        return self._clock.now()

    async def keep(self, plan: bytes, approval: Approval) -> None:
        """Keep the plan file that an open request names.

        Raises:
            UsageError: The request is over, or names another one: nobody could find it, or delete it.
        """
        current = await self.get(approval.id)
        names = current.plan is not None and current.plan.blob == blob_digest(plan)
        if not names or standing(current, self.now()) not in OPEN:
            raise UsageError(f"request {approval.id} is not for this plan", fix=command("approvals", "ls"))
        await self._blobs.put(plan)

    async def plan(self, approval: Approval) -> bytes:
        """Return the kept plan of a request.

        Raises:
            UsageError: It has none.
            InterlockError: The store has lost it.
        """
        if approval.plan is None:
            raise UsageError(f"request {approval.id} has no plan", fix=command("approvals", "show", approval.id))
        return await self._blobs.get(approval.plan.blob)

    async def ask(self, approval: Approval, *, before: Before[Approval] = nothing_before) -> Approval:
        """Write a new request down, and return it. Asking again with the same one is fine.

        Raises:
            UsageError: There is another one of this name.
        """
        value = encode(approval)
        there = await self._record(approval.id)
        if there is None:
            await before(approval, 0)
        try:
            await self._records.swap(_key(approval.id), expected=None, value=value)
        except Mismatch as error:
            if error.current is None or error.current.value != value:
                raise UsageError(f"there is a request {approval.id} already", fix=command("approvals", "ls")) from error
        await self._sweep()
        return approval

    async def find(self, name: str) -> Approval | None:
        """Return a request; None when there is none of this name.

        Raises:
            StateInvalid: It cannot be read.
        """
        record = await self._record(name)
        return None if record is None else decode(record.value, name)

    async def get(self, name: str) -> Approval:
        """Return a request.

        Raises:
            UsageError: There is none of this name.
            StateInvalid: It cannot be read.
        """
        found = await self.find(name)
        if found is None:
            raise _unknown(name)
        return found

    async def all(self) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
        """Return every request, the oldest first, and the names of those that cannot be read."""
        found: list[Approval] = []
        unreadable: list[str] = []
        after = ""
        while page := await self._records.list(_PREFIX, after=after, limit=LIST_LIMIT_MAX):
            for record in page:
                name = record.key.removeprefix(_PREFIX)
                try:
                    found.append(decode(record.value, name))
                except InterlockError:
                    unreadable.append(name)
            after = page[-1].key
        return tuple(sorted(found, key=lambda one: one.asked_at)), tuple(unreadable)

    async def find_open(self, kind: Kind, state: str, digest: str) -> Approval | None:
        """See `Approvals.find_open`."""
        now = self.now()
        found, _ = await self.all()
        fits = [one for one in found if (one.kind, one.state) == (kind, state) and is_for(one, digest)]
        open_ones = [one for one in fits if standing(one, now) in OPEN]
        return max(open_ones, key=lambda one: (standing(one, now) is Standing.APPROVED, one.asked_at), default=None)

    async def decide(
        self, name: str, decision: Decision, *, digest: str = "", before: Before[Approval] = nothing_before
    ) -> Approval:
        """Add what a person said; see `approval.decided` for what it raises."""
        after = await self._change(name, lambda one: with_decision(one, decision, digest=digest), before)
        if standing(after, self.now()) is Standing.REJECTED:
            await self._drop_plan(after)
        return after

    async def use(self, name: str, *, by: str, digest: str, before: Before[Approval] = nothing_before) -> Approval:
        """Use a request up, before anything is changed; see `approval.used` for what it raises.

        Its plan goes, since nobody can apply it again; the run has it. A failure at that costs nothing but room.
        """
        after = await self._change(name, lambda one: with_use(one, by=by, digest=digest, now=self.now()), before)
        with suppress(InterlockError):
            await self._drop_plan(after)
        return after

    async def replace(self, name: str, *, by: str) -> Approval:
        """Let another request take the place of this one."""
        after = await self._change(name, lambda one: with_replaced(one, by=by))
        await self._drop_plan(after)
        return after

    async def _change(
        self, name: str, change: Callable[[Approval], Approval], before: Before[Approval] = nothing_before
    ) -> Approval:
        for _ in range(_SWAPS_MAX):
            record = await self._record(name)
            if record is None:
                raise _unknown(name)
            known = decode(record.value, name)
            after = change(known)
            if after is known:
                return after
            await before(after, record.version)
            value = encode(after)
            try:
                await self._records.swap(record.key, expected=record.version, value=value)
            except Mismatch as error:
                if error.current is None or error.current.value != value:  # else our own swap, whose answer was lost
                    continue
            return after
        raise BackendUnavailable(
            f"request {name} was not changed",
            why="others changed it all the time",
            fix=command("approvals", "show", name),
        )

    async def _record(self, name: str) -> Record | None:
        is_name = 0 < len(name) <= _ID_MAX and name.isascii() and name.replace("-", "").isalnum()
        return await self._records.get(_key(name)) if is_name else None

    async def _drop_plan(self, approval: Approval) -> None:
        """Delete the plan of a request that is over, unless an open one has the very same bytes."""
        if approval.plan is None:
            return
        blob, now = approval.plan.blob, self.now()
        others, _ = await self.all()
        shared = any(one.plan is not None and one.plan.blob == blob and standing(one, now) in OPEN for one in others)
        if not shared:
            await self._blobs.delete(blob)

    async def _sweep(self) -> None:
        """Let go of plans that are too old, and of requests that were over long ago. What fails, the next one does."""
        with suppress(InterlockError):
            now = self.now()
            found, _ = await self.all()
            for one in found:
                if standing(one, now) is Standing.EXPIRED:  # else its plan went when it was over
                    await self._drop_plan(one)
                if now - one.expires_at > KEPT and standing(one, now) not in OPEN:
                    await self._drop_plan(one)
                    await self._forget(one)

    async def _forget(self, approval: Approval) -> None:
        record = await self._record(approval.id)
        if record is not None:
            with suppress(Mismatch):
                await self._records.swap(record.key, expected=record.version, value=None)


def _key(name: str) -> str:
    return _PREFIX + name


def _unknown(name: str) -> UsageError:
    return UsageError(f"there is no request {name[:40]!a} for approval", fix=command("approvals", "ls"))
