"""What dead runs of this machine left of a state that stays where it is; see `interlock.recovery.breaker.Leftovers`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from interlock import __version__
from interlock.coordinator.interface import HeadKeeper
from interlock.errors import InterlockError, StateInvalid
from interlock.existing import (
    ExistingBackend,
    Reference,
    StoredState,
    TerraformLock,
    find_reference,
    lock_id_of,
    render_reference,
)
from interlock.lock import Holder
from interlock.recovery.witnesses.process import parse_name
from interlock.run.settle import completed, following
from interlock.run.summary import find_summary
from interlock.site.hold_record import find_hold
from interlock.site.own_leftovers import SAVED, OwnLeftovers, left_nothing, planned_deletions, take_unsaved
from interlock.site.recognising import recognised
from interlock.site.succession import find_refusal, is_suspect, review_reason, spell
from interlock.site.witnessed import is_last, remember
from interlock.state import REVIEWER, parse_state
from interlock.terraform.lockinfo import LockInfo


class ExistingLeftovers(OwnLeftovers, frozen=True, kw_only=True):
    """The runs of one home on one existing state.

    Attributes:
        backend: Where the state is.
        coordinator: The state's queue.
    """

    backend: ExistingBackend
    coordinator: HeadKeeper

    async def salvage(self, state: str, holder: Holder) -> str:
        """See `Leftovers.salvage`. Then deletes the dead run's own Terraform lock, so that plain Terraform can go on.

        The run's lock is still there while its state is written, so nobody can come in between.
        """
        locks = await self._locks_of(holder)
        try:
            done = await OwnLeftovers.salvage(self, state, holder)
        except InterlockError as error:
            done = f"its unsaved state could not be stored and is kept: {error.what} ({error.why})"
        for lock in locks:
            await self.backend.delete_lock(lock)
        return f"{done}; Terraform's lock {locks[0].id} was deleted" if locks else done

    async def _stored(self, state: str) -> bytes | None:  # noqa: ARG002 - there is one state where this backend is
        found = await self.backend.read_state()
        return None if found is None else found.body

    async def _save(self, state: str, holder: Holder, folder: Path) -> str:
        kept = take_unsaved(folder)
        if kept is None:
            return await asyncio.to_thread(left_nothing, folder)
        body = completed(await asyncio.to_thread(kept.read_bytes), holder.run)
        async with self._locked(holder) as is_locked:
            return await self._store(state, holder, folder, kept=kept, body=body, is_locked=is_locked)

    @asynccontextmanager
    async def _locked(self, holder: Holder) -> AsyncIterator[bool]:
        """Write under the dead run's own lock; where that ended with the run, under one of ours.

        Yields:
            Whether its lock is still there, so that nobody else wrote.

        Raises:
            LockHeld: It is not, and somebody else has it by now.
        """
        if locks := await self._locks_of(holder):
            self.backend.write_under(locks[0])
            yield True
            return
        info = LockInfo(
            id=lock_id_of(f"{holder.run}:recovery"),
            operation="OperationTypeApply",
            info=render_reference(Reference(run=holder.run)),
            who=holder.who,
            version=f"interlock-{__version__}",
            created=self.clock.now().isoformat().replace("+00:00", "Z"),
            path=self.backend.describe().lock_path,
        )
        held = await self.backend.take_lock(info)
        try:
            yield False
        finally:
            await self.backend.give_lock(held)

    async def _locks_of(self, holder: Holder) -> list[TerraformLock]:
        locks = await self.backend.read_locks()
        if not holder.run:  # a person's command: its lock names the same process
            hold = find_hold(self.runs.parent, holder.ticket)
            return [lock for lock in locks if hold is not None and parse_name(lock.info) == hold[1]]
        return [lock for lock in recognised(locks, self.runs) if _is_of(lock, holder.run)]

    async def _store(
        self, state: str, holder: Holder, folder: Path, *, kept: Path, body: bytes, is_locked: bool
    ) -> str:
        current = await self.backend.read_state()
        if not is_locked and not await asyncio.to_thread(is_last, folder, current):
            # Its lock ended with it, so somebody may have come in between: serials of two branches say nothing then.
            raise StateInvalid("it may not follow the stored state", why="somebody wrote that when its lock had ended")
        # While its lock is there nobody else wrote; so what is stored under its serial the run itself stored.
        is_its = current is not None and (is_locked or await self._is_stored_by(state, holder, current))
        body = following(body, current.body or None if current is not None and is_its else None)
        allowed = await asyncio.to_thread(planned_deletions, folder)
        refusal = find_refusal(current, parse_state(body), allowed, own=is_its)
        if refusal is not None and not is_suspect(refusal):
            raise StateInvalid("it may not follow the stored state", why=refusal.why)
        if refusal is not None:
            summary = await asyncio.to_thread(find_summary, folder)
            reason = review_reason(refusal, holder.run, summary.directory if summary is not None else state)
            await self.coordinator.pause(state, by=REVIEWER, reason=reason)
        stored = await self.backend.write_state(body, expected=current)
        with suppress(InterlockError):  # it is a witness more, and the state is stored
            before = (await self.coordinator.view(state)).head
            run, token, now = holder.run, holder.token, self.clock.now()
            await remember(self.coordinator, state, stored, before=before, run=run, token=token, now=now)
        kept.unlink()
        (folder / SAVED).touch()
        held = f", suspect: {spell(refusal)}" if refusal is not None else ""
        return f"the state it could not save was stored as serial {parse_state(body).serial}{held}"

    async def _is_stored_by(self, state: str, holder: Holder, current: StoredState) -> bool:
        head = (await self.coordinator.view(state)).head
        digest = hashlib.sha256(current.body).hexdigest()
        return head is not None and (head.run, head.token, head.digest) == (holder.run, holder.token, digest)


def _is_of(lock: TerraformLock, run: str) -> bool:
    reference = find_reference(lock.info)
    return reference is not None and bool(run) and reference.run == run
