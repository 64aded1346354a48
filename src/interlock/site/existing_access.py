"""A run's way to a state that stays where it is; see `interlock.run.surroundings.StateAccess`.

Terraform uses the configuration's own backend. For the whole run we hold Terraform's own lock, taken as
Terraform takes it, so that plain Terraform stays out between plan and apply too; the supervised Terraform is therefore
started with `-lock=false`. The lock names the run and its CI job in `Info`, which Terraform's own lock cannot.
What was stored is looked at after Terraform ended: the backend cannot refuse a write, so a bad one is reported and the
version before it is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from interlock.clock import Clock
from interlock.coordinator.interface import HeadKeeper
from interlock.coordinator.view import View
from interlock.errors import (
    THIS_STATE,
    InterlockError,
    LeaseLost,
    LockHeld,
    StateInvalid,
    UsageError,
    WaitTimeout,
    command,
)
from interlock.existing import (
    ExistingBackend,
    HeldTerraformLock,
    Reference,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
    find_reference,
    lock_id_of,
    render_reference,
)
from interlock.existing.interface import md5_of
from interlock.foreign_text import shell_word
from interlock.ids import Ids, terraform_id
from interlock.lock import Stage, may_write, stage_of
from interlock.recovery.known import Known, find_newer
from interlock.run.entries import Holding, NoteEntry, StandingEntry, spell_instant
from interlock.run.order import Operation, Order
from interlock.run.surroundings import Current, Seat, Tell
from interlock.site.own_leftovers import known_of_runs
from interlock.site.recognising import recognised
from interlock.site.succession import find_fault, find_refusal, is_suspect, parsed, review_reason, spell
from interlock.site.witnessed import find_lost, known_of_head, note_last, remember
from interlock.state import (
    REVIEWER,
    Refusal,
    empty_document,
    parse_state,
    refusing,
    render_document,
    verify_state,
)
from interlock.store.blobs import blob_digest
from interlock.store.polling import Polling
from interlock.terraform.command import HttpBackend
from interlock.terraform.lockinfo import LockInfo
from interlock.terraform.versions import ToolVersion

_VERSIONS_READ = 30  # newest versions among which the owner of a digest is looked for

BEFORE = "before.tfstate"
"""In the run's folder: the state as it was before a write that must not stand."""

_OPERATIONS = {
    Operation.PLAN: "OperationTypePlan",
    Operation.DRIFT: "OperationTypePlan",
    Operation.APPLY: "OperationTypeApply",
    Operation.DESTROY: "OperationTypeApply",
    Operation.REFRESH: "OperationTypeRefresh",
    Operation.EXEC: "OperationTypeApply",
    Operation.READ: "OperationTypePlan",
}


@dataclass(slots=True, kw_only=True)
class ExistingAccess:
    """See `StateAccess`.

    Attributes:
        backend_hand: The backend.
        coordinator: The queue, which knows how earlier runs ended.
        order: The run.
        run_folder: The run's folder.
        store: Which of several stores that may each have a state at this address; see `StateRef.store`.
        own_workspace: Terraform's workspace.
        begins_empty: A state that is not there yet is begun by storing an empty one, as this backend's `init` would.
        version: Of the run's Terraform, for the lock and for what it could not read by itself.
        clock: For waiting, and for the lock's `Created`.
        ids: For the lock id.
    """

    backend_hand: ExistingBackend
    coordinator: HeadKeeper
    order: Order
    run_folder: Path
    store: str
    own_workspace: str
    begins_empty: bool = False
    version: ToolVersion
    clock: Clock
    ids: Ids
    _seat: Seat | None = None
    _held: HeldTerraformLock | None = None
    _lock_id: str = ""
    _before: StoredState | None = None
    _now: StoredState | None = None
    _allowed: frozenset[str] = field(default_factory=frozenset)
    _accepted: Current | None = None
    _refused: InterlockError | None = None
    _suspect: tuple[str, ...] = ()
    _looked: View | None = None
    _is_size_told: bool = False

    # -- what Terraform is told ---------------------------------------------------------------------------------------

    @property
    def backend(self) -> HttpBackend | None:
        """See `StateAccess.backend`."""
        return None

    @property
    def workspace(self) -> str:
        """See `StateAccess.workspace`. Always named, so that no choice of the folder gets in between."""
        return self.own_workspace

    @property
    def lock(self) -> bool | None:
        """See `StateAccess.lock`."""
        return False

    @property
    def files(self) -> tuple[int, ...]:
        """See `StateAccess.files`."""
        return self._held.files if self._held is not None else ()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Be there for Terraform as long as the context lasts; here its own backend is."""
        yield

    async def may_initialise(self) -> bool:
        """See `StateAccess.may_initialise`. `init` begins a missing workspace, under Terraform's lock."""
        return not self.begins_empty or await self.backend_hand.read_state() is not None

    # -- the turn -----------------------------------------------------------------------------------------------------

    def admit(self, seat: Seat) -> None:
        """See `StateAccess.admit`. The seat keeps out who queues with us; `enter` keeps out the others."""
        self._seat = seat

    async def enter(self, tell: Tell, *, timeout_s: float | None) -> None:
        """See `StateAccess.enter`.

        Raises:
            WaitTimeout: Somebody who does not queue with us held the state for too long.
            StateInvalid: What is stored is not a whole state, or its digest is another one; Terraform would fail too.
        """
        self._held = await self._take_lock(tell, timeout_s)
        self._before = self._now = await self.backend_hand.read_state()
        await self._check_not_gone()  # before a workspace is made, which would look like a state that follows
        if self.begins_empty and (self._before is None or self._before.is_absent):
            self._check_may_make_workspace()
            await self._make_workspace()
        self._check_sound()
        await self._check_not_lost()
        self._tell_size(tell)
        await asyncio.to_thread(note_last, self.run_folder, self._before)

    async def leave(self) -> None:
        """See `StateAccess.leave`. Also deletes a lock of ours whose taking seemed to fail: it may be there."""
        with suppress(TerraformLockMoved):  # somebody forced it; what is there now is not ours
            if self._held is not None:
                await self.backend_hand.give_lock(self._held)
        if self._held is None and self._lock_id:
            for lock in await self.backend_hand.read_locks():
                if self._is_ours(lock):
                    with suppress(TerraformLockMoved):
                        await self.backend_hand.delete_lock(lock)
        self._lock_id, self._held = "", None

    async def close(self) -> None:
        """See `StateAccess.close`. The site closes what it opened."""

    async def _take_lock(self, tell: Tell, timeout_s: float | None) -> HeldTerraformLock:
        info = self._info()
        until_s = None if timeout_s is None else self.clock.monotonic() + timeout_s
        said: tuple[str, ...] | None = None
        locks: tuple[TerraformLock, ...] = ()
        for pause_s in chain([0.0], Polling().waits_s()):
            if not locks:  # else each look would be a write that is paid for and refused
                self._lock_id = info.id
                with suppress(LockHeld):  # who it is is read next
                    return await self.backend_hand.take_lock(info)
            locks = recognised(await self.backend_hand.read_locks(), self.run_folder.parent)
            if locks and await self._clear(locks, tell):
                locks = ()
                continue
            if locks and (ids := tuple(lock.id for lock in locks)) != said:
                said = ids
                tell(_standing(locks[0]))
            if until_s is not None and self.clock.monotonic() >= until_s:
                raise _waited_too_long(self.order.state, locks)
            await self.clock.sleep(pause_s)
        raise AssertionError("a pace has no end")

    def _is_ours(self, lock: TerraformLock) -> bool:
        """Say whether this run took it; some backends give it an id of their own."""
        reference = find_reference(lock.info)
        return lock.id == self._lock_id or (reference is not None and reference.run == self.order.run)

    def _info(self) -> LockInfo:
        """Return the lock document; everything is as Terraform writes it, only `Info` says more."""
        return LockInfo(
            id=lock_id_of(self.order.run),
            operation=_OPERATIONS[self.order.operation],
            info=render_reference(Reference(run=self.order.run, job=self.order.job or "")),
            who=self.order.who,
            version=str(self.version),
            created=self.clock.now().isoformat().replace("+00:00", "Z"),
            path=self.backend_hand.describe().lock_path,
        )

    async def _clear(self, locks: tuple[TerraformLock, ...], tell: Tell) -> bool:
        """Delete locks of runs of ours that the queue knows to be over; say whether there were any.

        A run gives Terraform's lock back before its grant, and a grant is only broken when everything that acted for
        the run is gone. So a lock whose run was released or broken was left behind.
        """
        over = [lock for lock in locks if await self._is_over(lock)]
        for lock in over:
            try:
                await self.backend_hand.delete_lock(lock)
            except TerraformLockMoved:
                continue
            text = f"deleted Terraform's lock {lock.id} ({lock.mechanism}), left behind by an ended run"
            tell(NoteEntry(text=text))
        return bool(over)

    async def _is_over(self, lock: TerraformLock) -> bool:
        reference = find_reference(lock.info)
        if reference is None or reference.run == self.order.run:
            return False
        view = await self.coordinator.view(self.order.state)
        return stage_of(view.lock, reference.run) in (Stage.RELEASED, Stage.BROKEN)

    def _check_may_make_workspace(self) -> None:
        """Refuse to begin a workspace in clear that OpenTofu is to find encrypted, which it would not read.

        Raises:
            UsageError: Only tofu can begin it.
        """
        if self.order.encrypted:
            program, where = Path(self.order.terraform or "tofu").name, shell_word(f"-chdir={self.order.directory}")
            raise UsageError(
                f"the workspace {self.own_workspace} has no state yet, and it is to be encrypted",
                why=f"only tofu with its key can begin an encrypted state ({self.order.encrypted})",
                fix=f"{program} {where} "
                + ("init" if self.own_workspace == "default" else f"workspace new {shell_word(self.own_workspace)}"),
            )

    async def _make_workspace(self) -> None:
        """Store the empty state of a new workspace, as `terraform init` would, but under the lock that we hold."""
        body = render_document(empty_document(lineage=terraform_id(self.ids), terraform_version=str(self.version)))
        self._before = self._now = await self.backend_hand.write_state(body, expected=self._before)

    def _check_sound(self) -> None:
        stored = self._before
        if stored is None:
            return
        if not stored.digest_agrees:
            computed = "there is no state" if stored.is_absent else f"the state's is {stored.digest_computed}"
            raise StateInvalid(
                "the digest in DynamoDB is not that of the stored state",
                why=f"digest {stored.digest_stored}, {computed}; a writer could not store one of the two",
                fix=f"{command('recover', self.order.directory)}    or: "
                f"{command('state', 'verify', self.order.directory)}",
                state=self.order.state,
            )
        if findings := refusing(verify_state(stored.body)):
            raise StateInvalid(
                "the stored state is not whole",
                why="; ".join(finding.message for finding in findings[:3]),
                fix=command("state", "restore", self.order.directory),
                state=self.order.state,
            )

    async def _check_not_gone(self) -> None:
        """Refuse to plan against nothing where there was a state: everything in it would be made a second time.

        Raises:
            StateInvalid: A run, or the queue, saw a state stored.
        """
        if self._before is not None:
            return
        seen = find_newer(await self._known(), lineage="", serial=0, at=None, digests=frozenset())
        if seen is not None:
            raise StateInvalid(
                "the state is gone",
                why=f"{seen.spell()}, and nothing is stored now; a run would make everything again",
                fix=command("state", "verify", self.order.directory),
                state=self.order.state,
            )

    async def _known(self) -> list[Known]:
        """Return what the queue, and the runs of this machine, saw stored."""
        head = (await self.coordinator.view(self.order.state)).head
        of_runs = await asyncio.to_thread(known_of_runs, self.run_folder.parent, self.order.state, self.store)
        return [*known_of_head(head), *of_runs]

    async def _check_not_lost(self) -> None:
        """Refuse to plan against an older state whose newer version was deleted: it would make again what that had.

        Raises:
            StateInvalid: A run, or the queue, saw a newer state stored, which is not a version any more.
        """
        if self._before is None or self._before.is_absent:
            return
        lost = await find_lost(self.backend_hand, self._before, await self._known())
        if lost is not None:
            raise StateInvalid(
                "a newer state than the stored one was deleted",
                why=f"{lost.spell()}; serial {current_of(self._before).serial}, which is there now, is older",
                fix=command("state", "verify", self.order.directory),
                state=self.order.state,
            )

    def _tell_size(self, tell: Tell) -> None:
        """Say once that plain Terraform of the run's own version could not read the state, since it is so large.

        It is stored all the same: a state that is not stored in mid-apply is lost.
        """
        if self._now is None or self._now.parts == 1 or self.version.reads_kubernetes_parts or self._is_size_told:
            return
        self._is_size_told = True
        readers = f"runs read it, and Terraform from 1.6 on; plain {self.version.title} cannot"
        tell(NoteEntry(text=f"the state is in {self._now.parts} Secrets, since one takes 1 MiB: {readers}"))

    # -- what was written ---------------------------------------------------------------------------------------------

    def allow_deletions(self, addresses: frozenset[str]) -> None:
        """See `StateAccess.allow_deletions`."""
        self._allowed = addresses

    def accepted(self) -> Current | None:
        """See `StateAccess.accepted`."""
        return self._accepted

    def refused(self) -> InterlockError | None:
        """See `StateAccess.refused`."""
        return self._refused

    def suspect(self) -> tuple[str, ...]:
        """See `StateAccess.suspect`."""
        return self._suspect

    def unsaved(self) -> bytes | None:
        """See `StateAccess.unsaved`."""
        return None

    async def current(self) -> Current:
        """See `StateAccess.current`. As last seen: nobody else writes while we hold."""
        if self._held is None:
            self._now = await self.backend_hand.read_state()
        return current_of(self._now)

    async def stored(self) -> bytes | None:
        """See `StateAccess.stored`. As last seen, likewise."""
        return _body(self._now) or None

    async def rest(self) -> None:
        """See `StateAccess.rest`. Terraform writes past us; what the backend acknowledged is there."""

    async def settle(self, tell: Tell) -> None:
        """See `StateAccess.settle`.

        Raises:
            LeaseLost: The grant was taken away while we could not notice, so what is stored now may be somebody else's.
        """
        await self._check_granted()
        before, after = self._now, await self.backend_hand.read_state()
        if _body(after) != _body(before):
            await self._judge(before, after)
        if after is not None and not after.digest_agrees and self._refused is None:
            await self._check_half_written(before, after)
            after = await self.backend_hand.repair_digest(expected=after)
            tell(NoteEntry(text="Terraform could not store the digest of its state in DynamoDB; it was stored now"))
        self._now = after

    async def push(self, document: bytes, allowed: frozenset[str] | None) -> Current:
        """See `StateAccess.push`. Under Terraform's lock, which we hold, and only in the place of what we read."""
        await self._check_granted()
        own = self._accepted is not None
        refusal = find_refusal(self._now, parse_state(document), allowed, own=own)
        if refusal is not None and not is_suspect(refusal):
            raise StateInvalid(
                "the state that Terraform left may not follow the stored one",
                why=refusal.why,
                fix=command("state", "diff", THIS_STATE),
                state=self.order.state,
            )
        if refusal is not None:
            await self._hold_for_review(refusal, self._now)
        if _body(self._now) != document:
            self._now = await self.backend_hand.write_state(document, expected=self._now)
        self._accepted = current_of(self._now)
        await self._remember(self._now)
        return self._accepted

    async def _remember(self, stored: StoredState | None) -> None:
        """Write beside the lock what this run stored: whoever comes next sees that it was there, should it be deleted.

        Raises:
            LeaseLost: The grant is not current any more.
        """
        assert self._seat is not None
        assert stored is not None
        await asyncio.to_thread(note_last, self.run_folder, stored)
        try:
            looked, self._looked = self._looked or await self.coordinator.view(self.order.state), None
            await remember(
                self.coordinator,
                self.order.state,
                stored,
                before=looked.head,
                run=self.order.run,
                token=self._seat.token,
                now=self.clock.now(),
            )
        except LeaseLost:
            raise
        except InterlockError:
            return  # it is a witness more, and the state is stored

    async def _check_granted(self) -> None:
        """Ask the queue whether our grant is current: the backend fences nobody, and we may have been stopped.

        Raises:
            LeaseLost: It is not.
        """
        assert self._seat is not None
        self._looked = view = await self.coordinator.view(self.order.state)
        if not may_write(view.lock, self._seat.token):
            raise LeaseLost(
                f"the grant of token {self._seat.token} is not current any more",
                why="it was taken away while the run could not notice; what is stored now may be another run's",
                fix=command("runs", "show", self.order.run),
                state=self.order.state,
            )

    async def _check_half_written(self, before: StoredState | None, after: StoredState) -> None:
        """Say that the digest is that of an earlier write, as when Terraform could store its state and not the digest.

        Raises:
            StateInvalid: It is that of no version that is kept: a state was deleted, of which it is the evidence.
        """
        wanted = after.digest_stored
        if before is not None and wanted == before.digest_computed:
            return
        listed = [version for version in await self.backend_hand.history() if not version.is_deletion]
        if any(version.id in ("", "null") for version in listed):
            return  # the bucket keeps no versions, so nothing can be said
        for version in listed[:_VERSIONS_READ]:
            if md5_of(await self.backend_hand.read_version(version.id)) == wanted:
                return
        raise StateInvalid(
            "the digest in DynamoDB is that of no stored version",
            why=f"digest {wanted}; a state that was written was deleted",
            fix=command("state", "verify", self.order.directory),
            state=self.order.state,
        )

    async def _judge(self, before: StoredState | None, after: StoredState | None) -> None:
        refusal = find_fault(before, after, self._allowed, own=bool(self.order.encrypted))
        if refusal is None:
            await self._accept(after)
        elif is_suspect(refusal):
            # Terraform has acted and stored what it knows. To call it wrong, and name the state before it as the one to
            # restore, would bring dead objects back after a good destroy.
            await self._hold_for_review(refusal, before)
            await self._accept(after)
        else:
            self._refuse(refusal, before)

    async def _accept(self, after: StoredState | None) -> None:
        self._accepted = current_of(after)
        await self._remember(after)

    def _refuse(self, refusal: Refusal, before: StoredState | None) -> None:
        why, named = spell(refusal), self._keep(before)
        version = before.version_id if before is not None and before.version_id not in ("", "null") else ""
        restore = command("state", "restore", self.order.directory, *(["--version", version] if version else []))
        self._refused = StateInvalid(
            "the state that is stored now must not stand",
            why=f"{why}; the state before is kept as {named}" if named else why,
            fix=restore if named else command("state", "history", self.order.directory),
            state=self.order.state,
        )

    async def _hold_for_review(self, refusal: Refusal, before: StoredState | None) -> None:
        """Let nobody in who queues with us, until a person has looked. Plain Terraform cannot be kept out."""
        self._keep(before)
        self._suspect = refusal.addresses
        reason = review_reason(refusal, self.order.run, self.order.directory)
        await self.coordinator.pause(self.order.state, by=REVIEWER, reason=reason)

    def _keep(self, before: StoredState | None) -> str:
        """Keep the state as it was before; say where it is, empty when there was none."""
        if before is None or not before.body:
            return ""
        kept = self.run_folder / BEFORE
        kept.touch(mode=0o600)
        kept.write_bytes(before.body)
        return f"version {before.version_id}, and {kept}" if before.version_id not in ("", "null") else str(kept)


def _body(stored: StoredState | None) -> bytes:
    return b"" if stored is None else stored.body


def current_of(stored: StoredState | None) -> Current:
    """Return what a run needs of what is stored."""
    document = parsed(stored)
    if stored is None or document is None:
        return Current()
    digest = blob_digest(stored.body)
    return Current(lineage=document.lineage, serial=document.serial, digest=digest, at=stored.modified_at)


def _standing(lock: TerraformLock) -> StandingEntry:
    """Return who is in the way of the first in the queue, as the entry of any other wait."""
    reference = find_reference(lock.info)
    info = f"{lock.operation or 'an operation'}, lock {lock.id or '?'} ({lock.mechanism})"
    holder = Holding(
        who=lock.who or "somebody unknown",
        run=reference.run if reference else "",
        info=info if reference else f"plain terraform: {info}",
    )
    return StandingEntry(position=1, holder=holder, since=spell_instant(lock.created_at), foreign=lock.id)


def _waited_too_long(state: str, locks: tuple[TerraformLock, ...]) -> WaitTimeout:
    lock = locks[0] if locks else TerraformLock(id="", mechanism="")  # taken and freed again and again while we looked
    return WaitTimeout(
        f'gave up waiting for state "{state}", which {lock.who or "somebody unknown"} holds with Terraform\'s own lock',
        why=f"{lock.operation or 'an operation'} since {lock.created or 'an unknown time'}, lock id {lock.id or '?'}",
        fix=f"{command('lock', 'explain', THIS_STATE)}    or a longer --wait",
        state=state,
        lock_id=lock.id,
    )
