"""What the caller must do after a decision, in the order given."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from interlock.lock.lease import FencingToken
from interlock.lock.ticket import Ticket


class RefuseReason(Enum):
    """Why an event changed nothing."""

    HELD = "held"
    """Others hold, or wait in front, and the party did not want to wait."""
    PAUSED = "paused"
    """No grants are made now, and the party did not want to wait."""
    QUEUE_FULL = "queue-full"
    """`lock.PARTIES_MAX` is reached."""
    ENDED = "ended"
    """The ticket was released, withdrawn or broken before; a new attempt needs a new ticket."""
    NOT_HOLDING = "not-holding"
    """The event needs a holder and the ticket is none."""
    NOT_WAITING = "not-waiting"
    """The event needs a waiter and the ticket is none."""
    STALE_TOKEN = "stale-token"  # noqa: S105 - a reason, not a secret
    """The event carries another fencing token than the grant."""
    OTHER_LOCK_ID = "other-lock-id"
    """Another Terraform lock id is bound to the grant, or this one belongs to another party."""


class Notice(Enum):
    """What an announcement is about."""

    UNCHANGED = "unchanged"
    """A duplicate: what the event says was true already."""
    RELEASED = "released"
    WITHDRAWN = "withdrawn"
    RETURNED = "returned"
    """A grant of which nobody was told went back to its place in the queue."""
    DROPPED = "dropped"
    """A silent waiter lost its place."""
    LAPSED = "lapsed"
    """A holder's lease ran out; recovery may begin. The holder still holds."""
    PAUSED = "paused"
    RESUMED = "resumed"
    BUMPED = "bumped"
    LOCK_ID_BOUND = "lock-id-bound"
    LOCK_ID_UNBOUND = "lock-id-unbound"


class Grant(Struct, frozen=True, kw_only=True):
    """Tell the party that it holds, with this fencing token. May repeat for the same grant."""

    ticket: Ticket
    token: FencingToken


class Queued(Struct, frozen=True, kw_only=True):
    """Tell the party that it waits.

    Attributes:
        ticket: The waiter.
        position: 1 for the first in order of service.
        ahead: Tickets of the waiters served before it.
    """

    ticket: Ticket
    position: int
    ahead: tuple[Ticket, ...]


class Refuse(Struct, frozen=True, kw_only=True):
    """Tell the sender that nothing was changed.

    Attributes:
        ticket: Whom the event named (for a release by lock id of an unknown holder: empty).
        reason: Why.
        blockers: Tickets in the way: conflicting holders, then conflicting waiters in front.
    """

    ticket: Ticket
    reason: RefuseReason
    blockers: tuple[Ticket, ...] = ()


class Wake(Struct, frozen=True, kw_only=True):
    """Ask this waiter for a sign of life; it has been silent for half its patience."""

    ticket: Ticket


class Revoke(Struct, frozen=True, kw_only=True):
    """Fence this grant everywhere: state writes, and calls through the gateway."""

    ticket: Ticket
    token: FencingToken
    reason: str


class Announce(Struct, frozen=True, kw_only=True):
    """Tell whoever listens (audit log, journal, dashboard) what happened."""

    notice: Notice
    ticket: Ticket = ""
    token: FencingToken = 0
    by: str = ""
    reason: str = ""


Effect: TypeAlias = Grant | Queued | Refuse | Wake | Revoke | Announce
