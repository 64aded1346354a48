"""Lock, unlock and force-unlock of a workspace. A hand.

LOCK is held open until its turn comes, by the very mechanism of Terraform's own protocol (`backend/held_lock.py`). A
client that was answered 409 would show its user his own lock as the one in the way; so giving up is 423, with who holds
it, the place, and the next command.
Source: docs/facts/servers.md; hashicorp/terraform internal/cloud/state.go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from interlock.backend.asgi import Service
from interlock.backend.held_lock import Connection, GrantAnswer, HeldLocks, Hold, check_still
from interlock.backend.lock_request import LockRequest
from interlock.backend.protocol import Held, Outcome, Refused, Take, Taken, describe
from interlock.bounded import read_json
from interlock.coordinator import Coordinator
from interlock.errors import InterlockError, LockHeld, WaitTimeout, command
from interlock.foreign_text import one_line
from interlock.lock import Lock, Stage
from interlock.rights.callers import Caller, Tokens, check_run
from interlock.server.tfe.asked import Asked
from interlock.server.tfe.holds import OPERATION, ending_of, hold_of, ticket_for
from interlock.server.tfe.names import ticket_prefix
from interlock.terraform.lockinfo import LockInfo

Breaker = Callable[[str, Caller], Awaitable[str]]
"""Breaks the lock of a state for somebody, on proof that its holder is gone; returns what was done, or raises."""
_TERRAFORMS_REASON = "Locked by Terraform"  # every Terraform says so
_REASON_CHARS = 200


class NotLocked(InterlockError):
    """Nobody holds what is to be unlocked. The client says so in its own words."""

    code = "not-locked"
    http_status = 409


class WorkspaceLocks:
    """The locks of workspaces.

    Args:
        coordinator: Keeps locks and queues.
        locks: The requests that are held.
        about: Names attempts.
        tokens: Is asked again after a long wait.
        breaker: See `Breaker`.
        hold: What holds changes back. Whether a client plans or applies it does not say, so it holds every client.
        wait_s: How long a request is held at most.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        locks: HeldLocks,
        about: Service,
        tokens: Tokens,
        *,
        breaker: Breaker,
        hold: Hold,
        wait_s: float,
    ) -> None:
        self._hold = hold
        self._coordinator = coordinator
        self._locks = locks
        self._about = about
        self._tokens = tokens
        self._breaker = breaker
        self._wait_s = wait_s

    async def lock(self, asked: Asked, granted: Callable[[], Awaitable[Response]]) -> Response:
        """Hold the request until its turn comes.

        Args:
            asked: The request.
            granted: Makes the answer to a request that was granted.

        Raises:
            WaitTimeout: The time is up.
            InterlockError: It cannot be had.
        """
        check_run(asked.caller, "")
        reason = _reason(await asked.body())
        lock = (await self._coordinator.view(asked.state)).lock
        ticket = ticket_for(lock, ticket_prefix(asked.caller.key, asked.session))
        info = LockInfo(id=ticket, operation=reason, who=asked.caller.who, path=asked.state)
        wish = Take(info=info, wait_s=self._wait_s)
        attempt = self._about.new_attempt()
        request = LockRequest(wish=wish, who=asked.caller.who, attempt=attempt, returns=False)

        async def leave() -> None:
            await self._locks.leave(asked.state, request)

        async with Connection(asked.request) as connection:
            outcome = await self._locks.take(asked.state, request, connection, self._hold)
            if outcome is None:
                return Response(status_code=400)  # goes to nobody
            if not isinstance(outcome, Taken):
                raise self._not_granted(asked.state, outcome)
            await check_still(self._tokens, asked.credentials, leave)
            return GrantAnswer(await granted(), leave)

    async def unlock(self, asked: Asked) -> None:
        """Give the lock back. Repeating it is fine; a version that is awaited does not stand in the way.

        Raises:
            LockHeld: Somebody else holds it.
            NotLocked: Nobody does.
        """
        prefix = ticket_prefix(asked.caller.key, asked.session)
        lock = (await self._coordinator.view(asked.state)).lock
        hold = hold_of(lock, prefix)
        if hold is not None:
            await self._coordinator.release(asked.state, ticket=hold.ticket, token=hold.token)
            return
        ending = ending_of(lock, prefix)
        if ending is not None and ending.how is Stage.RELEASED:
            return
        raise _not_unlocked(asked.state, lock)

    async def force_unlock(self, asked: Asked) -> str:
        """Break the lock when its holder is provably gone; return what was done.

        Raises:
            LockHeld: It is not.
            NotLocked: Nobody holds it.
        """
        lock = (await self._coordinator.view(asked.state)).lock
        if not lock.holders:
            raise _not_unlocked(asked.state, lock)
        return await self._breaker(asked.state, asked.caller)

    def _not_granted(self, state: str, outcome: Outcome) -> InterlockError:
        if isinstance(outcome, Refused):
            return outcome.error
        assert isinstance(outcome, Held)
        return WaitTimeout(
            f"state {state!r} was not locked after a wait of {self._wait_s:g} s",
            why=describe(outcome),
            fix=command("queue", "ls", state),
            state=state,
        )


def _reason(body: bytes) -> str:
    """Return what somebody says to lock for. Clients send it in two forms."""
    try:
        sent = read_json(body) if body.strip() else {}
    except ValueError:
        return OPERATION
    data = sent.get("data") if isinstance(sent, dict) else None
    attributes = data.get("attributes") if isinstance(data, dict) else sent
    reason = attributes.get("reason") if isinstance(attributes, dict) else None
    said = one_line(reason, limit=_REASON_CHARS) if isinstance(reason, str) else ""
    return OPERATION if said in ("", _TERRAFORMS_REASON) else said


def _not_unlocked(state: str, lock: Lock) -> InterlockError:
    if not lock.holders:
        return NotLocked(f"state {state!r} is not locked")
    holder = lock.holders[0]
    return LockHeld(
        f"state {state!r} was not unlocked",
        why=f"it is held by {holder.who}{f', run {holder.run}' if holder.run else ''}, and not by this Terraform",
        fix=f"{command('force-unlock', state)}    shows the evidence first, then unlocks",
        state=state,
    )
