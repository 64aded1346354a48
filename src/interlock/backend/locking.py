"""What the lock machine says, in Terraform's words. Pure.

Knows: standings of tickets, the protocol's outcomes.
"""

from __future__ import annotations

from datetime import datetime

from interlock.backend.protocol import Held
from interlock.coordinator.view import Standing
from interlock.errors import LeaseLost, command
from interlock.lock import Holder, Lock, Pause, Priority, Requested, holder_of, waiter_of
from interlock.terraform.lockinfo import LockInfo

PLANNING = "OperationTypePlan"
"""Terraform's word in the lock document of a plan."""
PLAIN_LEASE_S = 86_400.0
"""Lease of a lock that a plain Terraform takes: the longest there is, because no heartbeat will ever renew it.

Its end only permits recovery to look for evidence; nothing breaks the lock by itself.
"""
PATIENCE_S = 40.0
"""Silence after which a client that polls is gone: its longest pause is 16 s, and a retry may get lost."""
RECONNECT_S = 5.0
"""How long the place of a held request is kept after its connection broke: Terraform retries after 1 and 2 seconds."""
RETURN_S = 30.0
"""How long the place of a client is kept that a server which ends told to come back: a restart takes a few seconds."""
RETRY_AFTER_S = 2
"""When it shall come back. Terraform tries twice more after a 503: then, and two seconds later."""
HOLD_S_MIN = 5.0
"""How long a LOCK without `?wait=` is held while nothing moves: without `-lock-timeout` a client is told in seconds."""
HOLD_S_MAX = 50.0
"""How long it is held at most: proxies and load balancers cut a silent connection after 60 s by default."""
_FIRST_PAUSE_S = 1.0
_SLACK_S = 6.0


def ask(info: LockInfo, who: str, *, polls: bool, attempt: str, patience_s: float = PATIENCE_S) -> Requested:
    """Return the request of a plain Terraform client. Its ticket is its lock id, which it repeats on every attempt."""
    return Requested(
        ticket=info.id,
        who=info.who or who,
        info=info.operation,
        lease_s=PLAIN_LEASE_S,
        patience_s=patience_s,
        lock_id=info.id,
        polls=polls,
        attempt=attempt,
    )


def hold_s(lock: Lock, lock_id: str, *, now: datetime) -> float:
    """Return how long to hold a LOCK that names no `?wait=`, and again as long while the queue moves.

    Terraform has no time limit on LOCK, and a client that is held is there when its turn comes. One that comes back
    under the same id was started with `-lock-timeout`: it is held for twice as long as it has waited so far, so that
    it overruns its own time limit by no more than that.
    """
    return min(HOLD_S_MAX, max(HOLD_S_MIN, 2 * _waited_s(lock, lock_id, now=now)))


def patience_s(lock: Lock, lock_id: str, *, now: datetime) -> float:
    """Return how long to keep the place of a client that polls, from how long it has been polling.

    Terraform asks at 0, 1, 3, 7, 15, 31, 47 ... seconds: the next pause is about the time since the first attempt, at
    most 16 s. A client without `-lock-timeout` asks once and never again; the shorter the first patience, the sooner
    those behind it are served.
    """
    return min(PATIENCE_S, _SLACK_S + 2 * (_waited_s(lock, lock_id, now=now) + _FIRST_PAUSE_S))


def held(standing: Standing) -> Held:
    """Return who is in the way of a ticket that was not granted.

    Only a holder is shown as one. When nobody holds, the place in front of the queue is in `why`, and the document
    that Terraform wants to see says that nobody holds.
    """
    held_back = standing.waiter.held if standing.waiter is not None else ""
    why = "; ".join(part for part in (describe_pause(standing.pause), held_back) if part)
    if standing.holders:
        holder = standing.holders[0]
        return Held(
            holder=lock_info(holder, standing.state),
            position=standing.position,
            since=holder.lease.granted_at,
            why=why,
        )
    if standing.ahead and not why:
        why = f"{standing.ahead[0].who} is next"
    nobody = LockInfo(id="nobody-holds-it", operation="paused" if standing.pause else "", path=standing.state)
    return Held(holder=nobody, position=standing.position, why=why, is_free=True)


def check_may_change(state: str, lock: Lock, *, ticket: str | None, token: int | None, lock_id: str | None) -> None:
    """Refuse to change a state under a grant that was asked for to plan.

    Such a grant is given to who may only plan, inside a freeze too; so it is good for no more than it was asked for.

    Raises:
        LeaseLost: It is such a grant.
    """
    holder = holder_of(lock, ticket=ticket, token=token, lock_id=lock_id)
    if holder is not None and (holder.priority is not Priority.APPLY or holder.info == PLANNING):
        raise LeaseLost(
            f"state {state!r} was not changed",
            why=f"{holder.run or holder.who} took it to plan, and a plan changes no state",
            fix=command("apply", state),
            finding="planned-only",
            state=state,
        )


def describe_pause(pause: Pause | None) -> str:
    """Say why nobody is granted; empty without a pause."""
    return f"paused by {pause.by}: {pause.reason}" if pause is not None else ""


def lock_info(holder: Holder, state: str) -> LockInfo:
    """Return the lock document of a holder; a supervised run without a Terraform lock is named by its ticket."""
    run = f"run {holder.run}" if holder.run else ""
    return LockInfo(
        id=holder.lock_id or holder.ticket,
        operation=holder.info,
        info=run,
        who=holder.who,
        created=holder.lease.granted_at.isoformat().replace("+00:00", "Z"),
        path=state,
    )


def _waited_s(lock: Lock, lock_id: str, *, now: datetime) -> float:
    """Return how long the client with this id has been waiting; 0.0 when it is new, or a clock went back."""
    waiter = waiter_of(lock, lock_id=lock_id)
    return max((now - waiter.joined_at).total_seconds(), 0.0) if waiter is not None else 0.0
