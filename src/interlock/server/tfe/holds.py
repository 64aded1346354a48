"""Who a client of the TFE API is in the queue of a state. Pure.

It takes part like a plain Terraform: its ticket is its lock id. Terraform sends neither, so the ticket is made of the
token and the session; see `names.ticket_prefix`. A ticket is used once, so it ends with a number: how many had joined
the queue when it was made. Two copies of one request find the same number, or the ticket with which the other joined.
"""

from __future__ import annotations

from interlock.errors import InterlockError, LeaseLost, command
from interlock.instants import spelled
from interlock.lock import Departure, Holder, Lock, Stage

OPERATION = "cloud"
"""What the holder's operation is called: the client does not say whether it plans or applies."""


def hold_of(lock: Lock, prefix: str) -> Holder | None:
    """Return what a client holds."""
    return next((each for each in lock.holders if each.ticket.startswith(prefix)), None)


def ticket_for(lock: Lock, prefix: str) -> str:
    """Return the ticket with which a client asks: the one that it has, or else a new one."""
    here = next((each.ticket for each in (*lock.holders, *lock.waiters) if each.ticket.startswith(prefix)), None)
    return here or f"{prefix}{lock.arrivals}"


def ending_of(lock: Lock, prefix: str) -> Departure | None:
    """Return how a client's last ticket ended; None when none is remembered."""
    return next((each for each in reversed(lock.departed) if each.ticket.startswith(prefix)), None)


def not_written(state: str, lock: Lock, prefix: str) -> InterlockError:
    """Return why a client that holds nothing may not write."""
    ending = ending_of(lock, prefix)
    now = ", ".join(f"token {each.token} is held by {each.who}" for each in lock.holders[:3])
    if ending is None:
        return LeaseLost(
            f"state {state!r} was not written",
            why="; ".join(part for part in ("this Terraform has not locked it", now) if part),
            fix="leave out -lock=false",
            finding="no-lock",
            state=state,
        )
    why = "; ".join(part for part in (_how(ending), now) if part)
    fix = f"{command('state', 'quarantine', 'ls', state)}    shows what was refused; then start a new run"
    return LeaseLost(f"state {state!r} was not written", why=why, fix=fix, state=state)


def _how(ending: Departure) -> str:
    at = spelled(ending.at)
    by = f" by {ending.by}" if ending.by else ""
    because = f": {ending.reason}" if ending.reason else ""
    what = "was broken" if ending.how is Stage.BROKEN else "ended"
    return f"its lock (token {ending.token}) {what} at {at}{by}{because}"
