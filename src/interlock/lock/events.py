"""Facts told to the machine. Each is checked where it is built, so the machine need not check again."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from interlock.errors import UsageError
from interlock.lock.claim import WHOLE_STATE, Claim
from interlock.lock.lease import FencingToken
from interlock.lock.ticket import NOBODY_SAID, Attempt, Priority, Ticket

ID_MAX = 256
"""Characters in a ticket, run id or lock id."""
TEXT_MAX = 1_024
"""Characters in a free text (`who`, `info`, `by`, `reason`)."""
LEASE_S_MIN, LEASE_S_MAX = 1.0, 86_400.0
"""Seconds of a lease: below one a heartbeat cannot keep up, above a day recovery would come too late."""
PATIENCE_S_MIN, PATIENCE_S_MAX = 0.5, 3_600.0
"""Seconds of silence that a waiter may be allowed."""


class Requested(Struct, frozen=True, kw_only=True):
    """A party asks for the lock, for the first time or again.

    Attributes:
        ticket: Its ticket; the same one on every repetition.
        run: The run's id, or empty.
        who: Person or machine.
        info: The operation, for people.
        claim: What it needs.
        priority: Its class.
        lease_s: Seconds of validity after each renewal.
        patience_s: Silence after which it is dropped from the queue.
        lock_id: Terraform's lock id, if known now.
        queue: False takes no place in the queue when it cannot be granted now.
        polls: The party asks again from time to time instead of listening. While it waits it is only granted by
            an event of its own: a grant that nobody hears of would strand the lock.
        attempt: The attempt that will be told of the grant. When it fails, it may be called off by `Withdrawn` or
            `Disconnected`, and nothing that another attempt was told of is touched.
        held: Why a new ticket does not want its turn yet; see `HeldBack`. Of one that waits already it says something
            only with a lock id, as a server asks for a plain Terraform: each time anew.
        through: The reason of a pause that does not hold this party back, since it settles what the pause is for: to
            end the pause first would leave the state open if the party died before it was done. Empty for none.
    """

    ticket: Ticket
    run: str = ""
    who: str
    info: str = ""
    claim: Claim = WHOLE_STATE
    priority: Priority = Priority.APPLY
    lease_s: float
    patience_s: float
    lock_id: str | None = None
    queue: bool = True
    polls: bool = False
    attempt: Attempt = NOBODY_SAID
    held: str = ""
    through: str = ""

    def __post_init__(self) -> None:
        _check_id("ticket", self.ticket)
        _check_text("reason", self.held)
        _check_text("attempt", self.attempt, limit=ID_MAX)
        _check_id("lock id", self.lock_id)
        _check_text("run id", self.run, limit=ID_MAX)
        check_run_id(self.run)
        _check_text("who", self.who)
        _check_text("info", self.info)
        _check_text("through", self.through)
        _check_seconds("lease", self.lease_s, low=LEASE_S_MIN, high=LEASE_S_MAX)
        _check_seconds("patience", self.patience_s, low=PATIENCE_S_MIN, high=PATIENCE_S_MAX)


class Renewed(Struct, frozen=True, kw_only=True):
    """A holder's heartbeat, or a waiter's sign of life (which knows no token)."""

    ticket: Ticket
    token: FencingToken | None = None


class Released(Struct, frozen=True, kw_only=True):
    """A holder gives its grant back. Named by ticket, or by lock id; the token must match when it is given."""

    ticket: Ticket | None = None
    lock_id: str | None = None
    token: FencingToken | None = None

    def __post_init__(self) -> None:
        if self.ticket is None and self.lock_id is None:
            raise UsageError("nothing to release was named", fix="name a ticket or a lock id")


class Withdrawn(Struct, frozen=True, kw_only=True):
    """A party leaves the queue.

    Attributes:
        ticket: Who leaves.
        attempt: The attempt that is called off. It leaves the queue, or gives the grant back, if no other attempt of
            this ticket waits or was told; the name of a ticket alone never takes a grant away. Empty when somebody
            else withdraws the ticket: that takes out a waiter, and is refused for a holder.
        by: Who withdrew it, when somebody else did.
        reason: Why, for people.
    """

    ticket: Ticket
    attempt: Attempt = NOBODY_SAID
    by: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        _check_id("ticket", self.ticket)
        _check_text("by", self.by)
        _check_text("reason", self.reason)


class Disconnected(Struct, frozen=True, kw_only=True):
    """The way back to this attempt is gone, and its party may come again by another.

    If no other attempt of the ticket is left, its waiter keeps its place but counts as absent, and a grant of which
    nobody was told goes back to that place.

    Attributes:
        ticket: Whose attempt it was.
        attempt: Which.
        patience_s: How long its place is kept.
    """

    ticket: Ticket
    attempt: Attempt
    patience_s: float

    def __post_init__(self) -> None:
        _check_id("attempt", self.attempt)
        _check_seconds("patience", self.patience_s, low=PATIENCE_S_MIN, high=PATIENCE_S_MAX)


class StillWaiting(Struct, frozen=True, kw_only=True):
    """One sign of life for all these waiters: those of one process, so that a crowd costs one write."""

    tickets: frozenset[Ticket]


class Broken(Struct, frozen=True, kw_only=True):
    """Recovery takes exactly this grant away, after a verdict of `gone`."""

    ticket: Ticket
    token: FencingToken
    by: str
    reason: str

    def __post_init__(self) -> None:
        _check_text("by", self.by)
        _check_text("reason", self.reason)


class Elapsed(Struct, frozen=True, kw_only=True):
    """Time has passed: drop silent waiters, announce lapsed leases.

    Attributes:
        doubts_clients: A server starts, and whoever listened to the one before may be gone: no plain client is granted
            until it speaks. One that listens to another server speaks at once.
        server: The server that is gone: only who listened to it alone is doubted. Empty for any.
    """

    doubts_clients: bool = False
    server: str = ""


class Paused(Struct, frozen=True, kw_only=True):
    """Make no new grants.

    Attributes:
        by: Who wants it.
        reason: Why, for people.
        instead_of: The reason of the pause that this one replaces, in one step; any other pause stands.
        while_held: The ticket that must hold for it; empty for anybody's pause. A command that was stopped and lost its
            grant must not change what its successor does.
    """

    by: str
    reason: str
    instead_of: str = ""
    while_held: Ticket = ""

    def __post_init__(self) -> None:
        _check_text("by", self.by)
        _check_text("reason", self.reason)
        _check_text("reason", self.instead_of)


class Resumed(Struct, frozen=True, kw_only=True):
    """Make grants again.

    Attributes:
        by: Who wants it.
        reason: Of the pause that is ended; another one stands. Empty for any.
        while_held: See `Paused.while_held`.
    """

    by: str
    reason: str = ""
    while_held: Ticket = ""

    def __post_init__(self) -> None:
        _check_text("by", self.by)
        _check_text("reason", self.reason)


class Bumped(Struct, frozen=True, kw_only=True):
    """Put this waiter at the front of the queue."""

    ticket: Ticket
    by: str = ""

    def __post_init__(self) -> None:
        _check_text("by", self.by)


class HeldBack(Struct, frozen=True, kw_only=True):
    """A waiter does not want its turn until it says so, or wants it again.

    It keeps its place, and whoever is behind it does not wait for it: a maintenance window of one holds up nobody else.

    Attributes:
        ticket: Who.
        reason: Why, for people; empty when it wants its turn.
    """

    ticket: Ticket
    reason: str = ""

    def __post_init__(self) -> None:
        _check_text("reason", self.reason)


class LockIdBound(Struct, frozen=True, kw_only=True):
    """Terraform inside a supervised run took its own lock: its id now names the grant too."""

    ticket: Ticket
    token: FencingToken
    lock_id: str

    def __post_init__(self) -> None:
        _check_id("lock id", self.lock_id)


class LockIdUnbound(Struct, frozen=True, kw_only=True):
    """Terraform inside a supervised run gave its own lock back; the run keeps its grant."""

    ticket: Ticket
    token: FencingToken
    lock_id: str


Event: TypeAlias = (
    Requested
    | Renewed
    | Released
    | Withdrawn
    | Disconnected
    | StillWaiting
    | Broken
    | Elapsed
    | Paused
    | Resumed
    | Bumped
    | HeldBack
    | LockIdBound
    | LockIdUnbound
)


def _check_id(name: str, value: str | None) -> None:
    if value is None:
        return
    if not value:
        raise UsageError(f"the {name} is empty", fix=f"give a {name} of 1 to {ID_MAX} characters")
    _check_text(name, value, limit=ID_MAX)


def check_run_id(run: str) -> str:
    """Return the id of a run that may be in a lock.

    Whoever recovers it looks for a folder of that name among the runs of their own machine, and clears what is in it: a
    path would lead them out of there.

    Raises:
        UsageError: It is no name of a folder.
    """
    if run.startswith(".") or "/" in run or "\\" in run or "\0" in run:
        raise UsageError(
            "the run id is refused", why=f"{run[:80]!a} is a path, and no name", fix="give it no separator"
        )
    return run


def _check_text(name: str, value: str, *, limit: int = TEXT_MAX) -> None:
    if len(value) > limit:
        raise UsageError(
            f"the {name} is too long", why=f"{len(value)} characters, {limit} are allowed", fix="shorten it"
        )
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise UsageError(f"the {name} is not text", why="it holds half a surrogate pair", fix="send valid Unicode")


def _check_seconds(name: str, value: float, *, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN fails this too
        raise UsageError(
            f"the {name} is out of bounds", why=f"{value} s", fix=f"choose between {low:g} and {high:g} seconds"
        )
