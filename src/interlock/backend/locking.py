"""What the lock machine says, in Terraform's words. Pure.

Knows: standings of tickets, the protocol's outcomes.
"""

from __future__ import annotations

from datetime import datetime

from interlock.backend.protocol import Held
from interlock.coordinator.view import Standing
from interlock.lock import Freeze, Holder, Lock, Requested, Waiter, waiter_of
from interlock.terraform.lockinfo import LockInfo

PLAIN_LEASE_S = 86_400.0
"""Lease of a lock that a plain Terraform takes: the longest there is, because no heartbeat will ever renew it.

Its end only permits recovery to look for evidence; nothing breaks the lock by itself.
"""
PATIENCE_S = 40.0
"""Silence after which a client that polls is gone: its longest pause is 16 s, and a retry may get lost."""
RECONNECT_S = 5.0
"""How long the place of a held request is kept after its connection broke: Terraform retries after 1 and 2 seconds."""
_FIRST_PAUSE_S = 1.0
_SLACK_S = 6.0


def ask(info: LockInfo, who: str, *, polls: bool, patience_s: float = PATIENCE_S) -> Requested:
    """Return the request of a plain Terraform client. Its ticket is its lock id, which it repeats on every attempt."""
    return Requested(
        ticket=info.id,
        who=info.who or who,
        info=info.operation,
        lease_s=PLAIN_LEASE_S,
        patience_s=patience_s,
        lock_id=info.id,
        polls=polls,
    )


def patience_s(lock: Lock, lock_id: str, *, now: datetime) -> float:
    """Return how long to keep the place of a client that polls, from how long it has been polling.

    Terraform asks at 0, 1, 3, 7, 15, 31, 47 ... seconds: the next pause is about the time since the first attempt, at
    most 16 s. A client without `-lock-timeout` asks once and never again; the shorter the first patience, the sooner
    those behind it are served.
    """
    waiter = waiter_of(lock, lock_id=lock_id)
    waited_s = (now - waiter.joined_at).total_seconds() if waiter is not None else 0.0
    return min(PATIENCE_S, _SLACK_S + 2 * (max(waited_s, 0.0) + _FIRST_PAUSE_S))


def held(standing: Standing) -> Held:
    """Return who is in the way of a ticket that was not granted."""
    why = describe_freeze(standing.freeze)
    if standing.holders:
        holder = standing.holders[0]
        return Held(
            holder=lock_info(holder, standing.state),
            position=standing.position,
            since=holder.lease.granted_at,
            why=why,
        )
    if standing.ahead:
        first = standing.ahead[0]
        return Held(holder=lock_info(first, standing.state), position=standing.position, why=why or "its turn is next")
    nobody = LockInfo(id="interlock", operation="frozen" if why else "", who="nobody", path=standing.state)
    return Held(holder=nobody, position=standing.position, why=why)


def describe_freeze(freeze: Freeze | None) -> str:
    """Say why nobody is granted; empty without a freeze."""
    return f"frozen by {freeze.by}: {freeze.reason}" if freeze is not None else ""


def lock_info(party: Holder | Waiter, state: str) -> LockInfo:
    """Return the lock document of a party; a supervised run without a Terraform lock is named by its ticket."""
    at = party.lease.granted_at if isinstance(party, Holder) else party.joined_at
    run = f"run {party.run}" if party.run else ""
    return LockInfo(
        id=party.lock_id or party.ticket,
        operation=party.info,
        info=run,
        who=party.who,
        created=at.isoformat().replace("+00:00", "Z"),
        path=state,
    )
