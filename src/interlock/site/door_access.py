"""A run's way to a state elsewhere through an address of the run's own; see `interlock.run.surroundings.StateAccess`.

On some backends a write must name the lock (`?ID=` of GitLab, the lease of a blob), or the lock is one of the session
that took it (PostgreSQL): Terraform cannot write under a lock that we hold. So it talks to us, by `backend "http"` on a
loopback port, and only we talk to the backend: each write is fenced by the grant, checked against the plan, made in
the place of exactly what was there, and read back, before Terraform hears that it was done. A run whose supervisor is
dead can write nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from interlock.backend.gate import Visits
from interlock.backend.loopback import serve_run
from interlock.backend.protocol import Absent, Done, Found, Outcome, Taken
from interlock.errors import BackendUnavailable, InterlockError, LeaseLost, LockHeld, StateInvalid, command
from interlock.existing import StoredState, TerraformLockMoved
from interlock.run.surroundings import Current, Seat, Tell
from interlock.site.existing_access import ExistingAccess, current_of
from interlock.site.succession import find_refusal, is_suspect, spell
from interlock.state import AnyDocument, may_hold_nothing, parse_state, refusing, verify_state
from interlock.terraform.command import HttpBackend
from interlock.terraform.lockinfo import LockInfo

REST_S: Final = 10.0  # for what a Terraform that has ended had sent; its connections end with it
_STATE_OF_BACKEND: Final = "the state was written by somebody else while the run held it"


@dataclass(slots=True, kw_only=True)
class DoorAccess(ExistingAccess):
    """See `StateAccess`, and `interlock.backend.gate.Gate`."""

    visits: Visits = field(default_factory=Visits)
    _http: HttpBackend | None = None
    _is_applying: bool = False
    _bound: str | None = None
    _given: set[str] = field(default_factory=set)
    _tried: bytes | None = None
    _unsaved: bytes | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See `ExistingAccess.opened`."""
        secret = self.ids.secret()
        async with serve_run(self, secret) as port:
            address = f"http://127.0.0.1:{port}/run/{secret}/state"
            # Refused means that this process is dead; retrying twice, as is Terraform's habit, only delays recovery.
            self._http = HttpBackend(
                address=address, lock_address=address, unlock_address=address, retry_max=1, retry_wait_min_s=1
            )
            yield

    # -- what Terraform is told ---------------------------------------------------------------------------------------

    @property
    def backend(self) -> HttpBackend | None:
        """See `StateAccess.backend`."""
        return self._http

    @property
    def workspace(self) -> str:
        """See `StateAccess.workspace`. The protocol that Terraform speaks with us has only `default`."""
        return ""

    @property
    def lock(self) -> bool | None:
        """See `StateAccess.lock`. Terraform locks at our address, with its own id."""
        return None

    @property
    def state(self) -> str:
        """See `Gate.state`."""
        return self.order.state

    async def may_initialise(self) -> bool:
        """See `StateAccess.may_initialise`. `init` reads the state; where that cannot be done it waits for the turn."""
        try:
            await self.backend_hand.read_state()
        except InterlockError:
            return False
        return True

    def admit(self, seat: Seat) -> None:
        """See `StateAccess.admit`. Also when an empty state was begun: from then on nothing is applied yet."""
        ExistingAccess.admit(self, seat)
        self._allowed, self._is_applying = frozenset(), False

    def allow_deletions(self, addresses: frozenset[str]) -> None:
        """See `StateAccess.allow_deletions`."""
        self._allowed = addresses
        self._is_applying = True

    # -- for Terraform ------------------------------------------------------------------------------------------------

    async def read(self) -> Outcome:
        """Answer GET: what is stored; while we hold, what was stored when we last looked or wrote."""
        stored = self._now if self._held is not None else await self.backend_hand.read_state()
        return Absent() if stored is None or stored.is_absent or not stored.body else Found(body=stored.body)

    async def take(self, info: LockInfo) -> Outcome:
        """Answer LOCK: bind Terraform's lock id to the run, which holds the backend's lock already.

        Raises:
            LockHeld: The run has not its turn yet, or another Terraform found this address.
            LeaseLost: The run's grant is not current.
        """
        if self._held is None or self._bound not in (None, info.id):
            raise LockHeld(f"state {self.state} is not this Terraform's to lock", why="the run has it, or waits for it")
        await self._check_granted()
        self._bound = info.id
        return Taken(info=info)

    async def give(self, lock_id: str | None) -> Outcome:
        """Answer UNLOCK. The backend's lock stays until the run is over."""
        if lock_id is not None and lock_id == self._bound:
            self._bound = None
            self._given.add(lock_id)
        return Done()

    async def write(self, body: bytes, lock_id: str | None) -> Outcome:
        """Answer POST.

        Raises:
            LeaseLost: The grant is not current, or the lock id is not the one bound to the run.
            StateInvalid: The document may not become current.
            BackendUnavailable: The backend did not take it.
        """
        async with self._turn:
            try:
                return await self._write(body, lock_id)
            except InterlockError as error:
                self._refused = error
                if isinstance(error, BackendUnavailable):
                    self._unsaved = body  # Terraform's own file may be on a full disk
                raise

    async def _write(self, body: bytes, lock_id: str | None) -> Outcome:
        if self._held is None or lock_id not in (None, self._bound, *self._given):
            raise LeaseLost(f"state {self.state} was not written", why="the lock id is not one of this run's Terraform")
        await self._check_granted()
        document = await asyncio.to_thread(_whole, body)
        if not self._is_applying and self._now is None and may_hold_nothing(document):
            return Done(note="nothing is stored, and nothing was to be")
        refusal = await asyncio.to_thread(find_refusal, self._now, document, self._allowed)
        if refusal is not None and not (self._is_applying and is_suspect(refusal)):
            raise StateInvalid(f"state {self.state} was not written", why=spell(refusal), finding=refusal.code)
        if refusal is not None:
            await self._hold_for_review(refusal, self._now)
        await self._store(body)
        return Done()

    async def _store(self, body: bytes) -> None:
        if self._now is None or self._now.body != body:
            self._now = await self._replace(body)
        self._refused, self._unsaved, self._tried = None, None, None
        self._accepted = current_of(self._now)
        await self._remember(self._now)

    async def _replace(self, body: bytes) -> StoredState:
        """Write in the place of what was there; a write of ours whose answer was lost is what was there, too."""
        earlier, self._tried = self._tried, body
        try:
            return await self.backend_hand.write_state(body, expected=self._now)
        except TerraformLockMoved:
            there = await self.backend_hand.read_state()
            if there is None or there.body not in (body, earlier):
                raise
            return there if there.body == body else await self.backend_hand.write_state(body, expected=there)

    # -- after Terraform ----------------------------------------------------------------------------------------------

    def unsaved(self) -> bytes | None:
        """See `StateAccess.unsaved`."""
        return self._unsaved

    async def rest(self) -> None:
        """See `StateAccess.rest`."""
        await self.visits.until_alone(REST_S)

    async def settle(self, tell: Tell) -> None:
        """See `StateAccess.settle`. Every write was judged when it came; here it is seen that it still stands.

        Raises:
            LeaseLost: The grant was taken away while we could not notice.
        """
        await self._check_granted()
        self._tell_size(tell)
        after = await self.backend_hand.read_state()
        there, ours = (after.body if after else b""), (self._now.body if self._now else b"")
        if there == ours:
            return
        if self._tried is not None and there == self._tried:
            await self._store(
                there
            )  # stored, and the answer was lost: Terraform keeps it as unsaved, which is right too
            return
        self._keep(self._now)
        self._refused = StateInvalid(
            "the state that is stored now is not the one that this run wrote",
            why=_STATE_OF_BACKEND,
            fix=command("state", "history", self.order.directory),
            state=self.state,
        )

    async def push(self, document: bytes, allowed: frozenset[str] | None) -> Current:
        """See `StateAccess.push`."""
        async with self._turn:
            if self._tried is not None and self._refused is not None:
                there = await self.backend_hand.read_state()
                if there is not None and there.body == self._tried:
                    self._now = there
            done = await ExistingAccess.push(self, document, allowed)
            self._refused, self._unsaved, self._tried = None, None, None
            return done


def _whole(body: bytes) -> AnyDocument:
    """Return a document that is whole.

    Raises:
        StateInvalid: It is not.
    """
    document = parse_state(body)
    if findings := refusing(verify_state(body)):
        raise StateInvalid("the state was not written", why="; ".join(finding.message for finding in findings[:3]))
    return document
