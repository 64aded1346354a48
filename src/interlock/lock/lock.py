"""One immutable record per state: who holds it, who waits, and what is remembered of those who left."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from msgspec import Struct

from interlock.lock.lease import FencingToken, Holder
from interlock.lock.spent import NOTHING_SPENT, Spent, is_spent
from interlock.lock.ticket import Ticket, Waiter

PARTIES_MAX = 1_000
"""Holders and waiters of one state together. A queue of days; beyond it a request is refused, not remembered."""

DEPARTED_KEPT = 32
"""Endings remembered in full per state: how, when, by whom. Of older ones only the names are kept (`spent.py`), so
that a late duplicate of a finished ticket's request is refused."""

SILENT_KEPT = 8
"""Waiters remembered that fell silent. They may come back, so nothing but a message is lost with them; and they must
not push out the endings of those that may not."""


class Stage(Enum):
    """Where a ticket stands with a state."""

    ABSENT = "absent"
    WAITING = "waiting"
    HOLDING = "holding"
    RELEASED = "released"
    WITHDRAWN = "withdrawn"
    BROKEN = "broken"
    SILENT = "silent"
    ENDED = "ended"
    """Released, withdrawn or broken so long ago that only the name is remembered."""


class Departure(Struct, frozen=True, kw_only=True):
    """How a ticket ended.

    Attributes:
        ticket: The ticket.
        lock_id: Terraform's lock id, if it had one.
        token: The fencing token that it held; 0 if it never held.
        how: `RELEASED`, `WITHDRAWN`, `BROKEN` or `SILENT`.
        at: When.
        by: Who ended it, when it was not the party itself.
        reason: Why, for people.
    """

    ticket: Ticket
    lock_id: str | None = None
    token: FencingToken = 0
    how: Stage
    at: datetime
    by: str = ""
    reason: str = ""


class Pause(Struct, frozen=True, kw_only=True):
    """No new grants are made while this stands; holders go on."""

    reason: str
    by: str
    since: datetime


class Lock(Struct, frozen=True, kw_only=True):
    """The lock of one state.

    Attributes:
        token: The highest fencing token ever granted or spent; only rises.
        holders: Who may act; no two claims among them conflict.
        waiters: Who waits, in order of service (`ticket.service_key`).
        arrivals: The last arrival number given out; only rises.
        pause: Why no grants are made, or None.
        departed: The latest endings, oldest first: at most `DEPARTED_KEPT`, and `SILENT_KEPT` of silent waiters.
        spent: The names of those that ended before.
    """

    token: FencingToken = 0
    holders: tuple[Holder, ...] = ()
    waiters: tuple[Waiter, ...] = ()
    arrivals: int = 0
    pause: Pause | None = None
    departed: tuple[Departure, ...] = ()
    spent: Spent = NOTHING_SPENT


NEW_LOCK = Lock()
"""The lock of a state that nobody ever asked for."""


def may_write(lock: Lock, token: FencingToken) -> bool:
    """Say whether a write that carries this fencing token may be accepted: its grant is current."""
    return any(holder.token == token for holder in lock.holders)


def holder_of(
    lock: Lock, *, ticket: Ticket | None = None, lock_id: str | None = None, token: FencingToken | None = None
) -> Holder | None:
    """Return the holder that matches every given criterion; None without a match or without a criterion."""
    if ticket is None and lock_id is None and token is None:
        return None
    for holder in lock.holders:
        if (
            ticket in (None, holder.ticket)
            and (lock_id is None or lock_id == holder.lock_id)
            and token in (None, holder.token)
        ):
            return holder
    return None


def waiter_of(lock: Lock, *, ticket: Ticket | None = None, lock_id: str | None = None) -> Waiter | None:
    """Return the waiter with this ticket, or else with this lock id."""
    by_ticket = next((waiter for waiter in lock.waiters if waiter.ticket == ticket), None)
    if by_ticket is not None or lock_id is None:
        return by_ticket
    return next((waiter for waiter in lock.waiters if waiter.lock_id == lock_id), None)


def departure_of(
    lock: Lock, *, ticket: Ticket | None = None, lock_id: str | None = None, token: FencingToken | None = None
) -> Departure | None:
    """Return how this ticket, or else the party with this lock id or this token, ended; the latest ending counts."""
    by_ticket = by_lock_id = by_token = None
    for departure in lock.departed:
        if departure.ticket == ticket:
            by_ticket = departure
        if lock_id is not None and departure.lock_id == lock_id:
            by_lock_id = departure
        if token and departure.token == token:
            by_token = departure
    return by_ticket or by_lock_id or by_token


def stage_of(lock: Lock, ticket: Ticket) -> Stage:
    """Return where this ticket stands."""
    if holder_of(lock, ticket=ticket) is not None:
        return Stage.HOLDING
    if waiter_of(lock, ticket=ticket) is not None:
        return Stage.WAITING
    departure = departure_of(lock, ticket=ticket)
    if departure is not None:
        return departure.how
    return Stage.ENDED if is_spent(lock.spent, ticket) else Stage.ABSENT
