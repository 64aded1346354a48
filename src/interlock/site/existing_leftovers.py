"""What dead runs of this machine left of a state that stays where it is; see `interlock.recovery.breaker.Leftovers`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from interlock.coordinator import Coordinator
from interlock.errors import InterlockError, StateInvalid
from interlock.existing import ExistingBackend, TerraformLock, find_reference
from interlock.lock import Holder
from interlock.run.settle import completed, following
from interlock.run.summary import find_summary
from interlock.site.own_leftovers import SAVED, OwnLeftovers, left_nothing, planned_deletions, take_unsaved
from interlock.site.succession import find_refusal, is_suspect, review_reason, spell
from interlock.site.witnessed import remember
from interlock.state import REVIEWER, parse_document


class ExistingLeftovers(OwnLeftovers, frozen=True, kw_only=True):
    """The runs of one home on one existing state.

    Attributes:
        backend: Where the state is.
        coordinator: The state's queue.
    """

    backend: ExistingBackend
    coordinator: Coordinator

    async def salvage(self, state: str, holder: Holder) -> str:
        """See `Leftovers.salvage`. Then deletes the dead run's own Terraform lock, so that plain Terraform can go on.

        The run's lock is still there while its state is written, so nobody can come in between.
        """
        locks = [lock for lock in await self.backend.read_locks() if _is_of(lock, holder.run)]
        try:
            done = await OwnLeftovers.salvage(self, state, holder)
        except InterlockError as error:
            done = f"its unsaved state could not be stored and is kept: {error.what} ({error.why})"
        for lock in locks:
            await self.backend.delete_lock(lock)
        return f"{done}; Terraform's lock {locks[0].id} was deleted" if locks else done

    async def _save(self, state: str, holder: Holder, folder: Path) -> str:
        kept = take_unsaved(folder)
        if kept is None:
            return await asyncio.to_thread(left_nothing, folder)
        body = completed(await asyncio.to_thread(kept.read_bytes), holder.run)
        current = await self.backend.read_state()
        # While its lock is there nobody else wrote; so what is stored under its serial the run itself stored.
        is_locked = any(_is_of(lock, holder.run) for lock in await self.backend.read_locks())
        body = following(body, current.body if current is not None and current.body and is_locked else None)
        allowed = await asyncio.to_thread(planned_deletions, folder)
        refusal = find_refusal(current, parse_document(body), allowed)
        if refusal is not None and not is_suspect(refusal):
            raise StateInvalid("it may not follow the stored state", why=refusal.why)
        if refusal is not None:
            summary = await asyncio.to_thread(find_summary, folder)
            reason = review_reason(refusal, holder.run, summary.directory if summary is not None else state)
            await self.coordinator.pause(state, by=REVIEWER, reason=reason)
        stored = await self.backend.write_state(body, expected=current)
        with suppress(InterlockError):  # it is a witness more, and the state is stored
            await remember(self.coordinator, state, stored, run=holder.run, token=holder.token)
        kept.unlink()
        (folder / SAVED).touch()
        held = f", suspect: {spell(refusal)}" if refusal is not None else ""
        return f"the state it could not save was stored as serial {parse_document(body).serial}{held}"


def _is_of(lock: TerraformLock, run: str) -> bool:
    reference = find_reference(lock.info)
    return reference is not None and bool(run) and reference.run == run
