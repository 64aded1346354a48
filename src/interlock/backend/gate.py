"""A supervised run's own way to its state: an address of its own, bound to its grant. A hand.

Terraform inside a run never queues: the run holds the grant already. Its LOCK only binds Terraform's lock id to the
grant, its UNLOCK only unbinds it, and each write is fenced by the grant's token and checked against the plan.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from msgspec.structs import replace

from interlock.backend.locking import held
from interlock.backend.protocol import (
    Absent,
    Answer,
    Delete,
    Done,
    Found,
    Give,
    Held,
    Intent,
    Outcome,
    Read,
    Take,
    Taken,
    Write,
    answer,
    check_md5,
    read_intent,
    refused,
)
from interlock.coordinator.archive import THREAD_BYTES_MIN, Writer, Written
from interlock.coordinator.archive_interface import Archive
from interlock.coordinator.interface import Coordinator
from interlock.coordinator.refusals import lease_lost
from interlock.coordinator.view import standing_of
from interlock.errors import BackendUnavailable, InterlockError, LeaseLost, PolicyGate, UsageError
from interlock.ids import Ids
from interlock.lock import LockIdBound, LockIdUnbound, RefuseReason, holder_of
from interlock.state import may_hold_nothing, parse_state
from interlock.state.history import Version, VersionKind
from interlock.terraform.lockinfo import LockInfo

_T = TypeVar("_T")


class Visits:
    """The connections that clients have to a gate."""

    def __init__(self) -> None:
        self._open = 0
        self._alone = asyncio.Event()
        self._alone.set()

    @contextmanager
    def visited(self) -> Iterator[None]:
        """While entered, a client has a connection; see `until_alone`."""
        self._open += 1
        self._alone.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._alone.set()

    async def until_alone(self, timeout_s: float) -> None:
        """Wait until every connection is over and what it had sent is dealt with, at most `timeout_s` seconds.

        A Terraform that was cut off ends while its last write is on the way.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._alone.wait()


class Gate(Protocol):
    """What a run's own Terraform asks. Everything may raise what is told to it as a refusal."""

    @property
    def state(self) -> str:
        """State name, for refusals."""
        ...

    @property
    def visits(self) -> Visits:
        """Who is there."""
        ...

    async def read(self) -> Outcome:
        """Answer GET."""
        ...

    async def take(self, info: LockInfo) -> Outcome:
        """Answer LOCK."""
        ...

    async def give(self, lock_id: str | None) -> Outcome:
        """Answer UNLOCK."""
        ...

    async def write(self, body: bytes, lock_id: str | None) -> Outcome:
        """Answer POST."""
        ...


class RunGate:
    """What one run may do with one state. A `Gate`.

    Args:
        coordinator: Keeps the grant.
        archive: Keeps the state.
        state: State name.
        run: Run id.
        who: Whose run it is.
        read_only: Refuse writes: a plan has nothing to write.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        archive: Archive,
        *,
        state: str,
        run: str,
        who: str,
        read_only: bool = False,
        plans_first: bool = False,
    ) -> None:
        self._coordinator = coordinator
        self._archive = archive
        self._read_only = read_only
        self._plans = plans_first
        self._writer = Writer(who=who, run=run)
        self._pinned: bytes | None = None
        self._accepted: Version | None = None
        self._refused: InterlockError | None = None
        self._unsaved: bytes | None = None
        self._given: set[str] = set()
        self.visits = Visits()
        self.state = state

    # -- for the supervisor -----------------------------------------------------------------------------------------

    def admit(self, *, ticket: str, token: int) -> None:
        """From now on accept locks and writes under this grant; before, only reads."""
        self._writer = replace(self._writer, ticket=ticket, token=token)

    def allow_deletions(self, addresses: frozenset[str], *, applying: bool = False) -> None:
        """Judge every state that lacks a managed object which is not in `addresses` (promise P6).

        Args:
            addresses: See `judge_deletions`.
            applying: Store it as suspect, since Terraform has acted; else refuse it.
        """
        self._writer = replace(self._writer, allowed_deletions=addresses, keeps_suspect=applying)
        self._plans = self._plans and not applying

    def permit_writes(self) -> None:
        """End read-only: the run goes from its plan to its apply."""
        self._read_only = False

    def pin(self, body: bytes | None) -> None:
        """Answer reads with this document until the run has written one itself; None reads what is current."""
        self._pinned = body

    def accepted(self) -> Version | None:
        """Return the last version that this run wrote; None when it wrote none."""
        return self._accepted

    def refused(self) -> InterlockError | None:
        """Return why the last write was refused; None when it was accepted or there was none."""
        return self._refused

    def unsaved(self) -> bytes | None:
        """Return the body of the last write that the store could not take; None when there is none."""
        return self._unsaved

    async def push(self, body: bytes, allowed: frozenset[str] | None, *, kind: VersionKind) -> Version:
        """Write a document that Terraform left behind, under this run's grant.

        Raises:
            LeaseLost: The grant is not current; the bytes are in quarantine.
            StateInvalid: It may not follow the current one; the bytes are in quarantine.
        """
        writer = replace(self._writer, allowed_deletions=allowed, keeps_suspect=True)
        return self._note(await self._archive.write(self.state, body, writer=writer, kind=kind)).version

    # -- for Terraform ----------------------------------------------------------------------------------------------

    async def read(self) -> Outcome:
        """Answer GET."""
        if self._pinned is not None:
            return Found(body=self._pinned)
        current = await self._archive.current(self.state)
        return Found(body=current[1]) if current is not None else Absent()

    async def take(self, info: LockInfo) -> Outcome:
        """Answer LOCK: bind Terraform's lock id to the grant. Repeating it is fine.

        Raises:
            LeaseLost: The run's grant is not current.
        """
        if self._writer.ticket is None or self._writer.token is None:
            return await self._in_the_way()
        bind = LockIdBound(ticket=self._writer.ticket, token=self._writer.token, lock_id=info.id)
        decision = await self._coordinator.apply_event(self.state, bind)
        if decision.refused is None:
            return Taken(info=info)
        if decision.refused.reason is RefuseReason.OTHER_LOCK_ID:
            return await self._in_the_way()
        raise lease_lost(self.state, decision.lock, ticket=self._writer.ticket)

    async def give(self, lock_id: str | None) -> Outcome:
        """Answer UNLOCK: unbind the lock id. The run keeps its grant until its supervisor gives it back.

        Raises:
            LeaseLost: The run's grant is not current.
        """
        if self._writer.ticket is None or self._writer.token is None or lock_id is None:
            return Done(note="nothing was locked")
        unbind = LockIdUnbound(ticket=self._writer.ticket, token=self._writer.token, lock_id=lock_id)
        decision = await self._coordinator.apply_event(self.state, unbind)
        if decision.refused is None:
            self._given.add(lock_id)
            return Done()
        if decision.refused.reason is RefuseReason.OTHER_LOCK_ID:
            return await self._in_the_way()
        raise lease_lost(self.state, decision.lock, ticket=self._writer.ticket)

    async def write(self, body: bytes, lock_id: str | None) -> Outcome:
        """Answer POST.

        Raises:
            LeaseLost: The grant is not current, or the lock id is not the one bound to it.
            StateInvalid: The document may not become current.
            PolicyGate: The run only reads.
        """
        try:
            if self._read_only:
                raise PolicyGate(f"state {self.state!r} was not written", why="this run only plans")
            await self._check_lock_id(lock_id, body)
            if self._plans and await self._is_of_nothing(body):
                return Done(note="nothing is stored, and nothing was to be")
            self._note(await self._archive.write(self.state, body, writer=self._writer))
        except InterlockError as error:
            self._refused = error
            if isinstance(error, BackendUnavailable):
                self._unsaved = body  # Terraform's own file may be on the same full disk
            if isinstance(error, PolicyGate):
                await self._archive.quarantine(self.state, body, writer=self._writer, error=error)
            raise
        return Done()

    async def _is_of_nothing(self, body: bytes) -> bool:
        """Say whether this is the empty state that Terraform writes when the plan of a new state is interrupted.

        Stored, it would be version 1 of a state that nobody applied, and a saved plan of the new state would be stale.
        It holds nothing that could be lost; whoever lost the grant is refused all the same. Of an encrypted one that is
        known without a look: before an apply nothing was made.
        """
        view = await self._coordinator.view(self.state)
        is_current = holder_of(view.lock, ticket=self._writer.ticket, token=self._writer.token) is not None
        if view.head is not None or not is_current:
            return False
        return may_hold_nothing(parse_state(body))

    async def _check_lock_id(self, lock_id: str | None, body: bytes) -> None:
        """Refuse a lock id that is not bound to the grant: another Terraform found this address.

        One that was bound to it before is the run's own: a Terraform that is signalled twice unlocks first, and then
        writes what its providers still completed. The grant is the run's until its supervisor gives it back.
        """
        view = await self._coordinator.view(self.state)
        holder = holder_of(view.lock, ticket=self._writer.ticket, token=self._writer.token)
        is_late = holder is not None and holder.lock_id is None and lock_id in self._given
        if lock_id is None or holder is None or holder.lock_id == lock_id or is_late:
            return  # without a grant the archive refuses; without an id the grant's token fences
        error = LeaseLost(
            f"state {self.state!r} was not written",
            why="the lock id is not the one that is bound to this run's grant",
            finding="other-lock-id",
        )
        kept = await self._archive.quarantine(self.state, body, writer=self._writer, error=error)
        error.facts["quarantine"] = kept.id
        raise error

    async def _in_the_way(self) -> Held:
        view = await self._coordinator.view(self.state)
        return held(standing_of(self.state, view.lock, self._writer.ticket or ""))

    def _note(self, written: Written) -> Written:
        self._accepted, self._refused, self._pinned, self._unsaved = written.version, None, None, None
        return written


async def answer_request(gate: Gate, method: str, query: Mapping[str, str], body: bytes, *, md5: str | None) -> Answer:
    """Answer one request of a run's own Terraform, whatever it is; hashing a large state leaves heartbeats alone."""
    try:
        await _aside(lambda: check_md5(md5, body), size_bytes=len(body))
        outcome = await perform(gate, read_intent(method, query, body), body)
    except InterlockError as error:
        return answer(refused(method, error.naming(gate.state)))
    size_bytes = len(outcome.body) if isinstance(outcome, Found) else 0
    return await _aside(lambda: answer(outcome), size_bytes=size_bytes)


async def perform(gate: Gate, intent: Intent, body: bytes) -> Outcome:
    """Do what a request to a run's address wants."""
    match intent:
        case Read():
            return await gate.read()
        case Write():
            return await gate.write(body, intent.lock_id)
        case Take():
            return await gate.take(intent.info)
        case Give():
            return await gate.give(intent.lock_id)
        case Delete():
            raise UsageError("a supervised run does not delete its state", fix="interlock destroy")


async def _aside(work: Callable[[], _T], *, size_bytes: int) -> _T:
    """Work on something large in a thread."""
    return await asyncio.to_thread(work) if size_bytes > THREAD_BYTES_MIN else work()


class RunGates:
    """The gates that are open, by the secret in their address.

    Secrets are kept as digests, so that looking one up takes no time that tells anything about it.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._gates: dict[bytes, RunGate] = {}

    def open(self, gate: RunGate) -> str:
        """Open a gate; return the secret, which belongs into `/run/<secret>/state` and nowhere else."""
        secret = self._ids.secret()
        self._gates[_digest(secret)] = gate
        return secret

    def find(self, secret: str) -> RunGate | None:
        """Return the gate behind a secret, or None."""
        return self._gates.get(_digest(secret))

    def close(self, secret: str) -> None:
        """Close a gate; closing twice is fine."""
        self._gates.pop(_digest(secret), None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
