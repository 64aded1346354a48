"""Who of several processes may use how much of a shared budget: slices of its window, as a value that can be stored.

A process draws a slice before it sends and closes it when the last of its requests was answered, saying how much it
used. So one transaction covers many requests, and the sum of all open and recently closed slices never exceeds the
allowance: the rule of `budget.py`, one level up. A process that dies leaves its slice behind, which then frees itself
after the longest time that its requests could have taken.

Pace and turns are shared too. An account gives out its rate evenly, with the burst of one budget, so that nobody
empties a window at its beginning and leaves a gap. And it remembers what each class got for its weight: while a class
that got less asks, the others wait, so an apply and a drift scan in two processes share as they do in one.

Times are wall-clock seconds of one machine. The store is a file on that machine; nothing here compares two machines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import msgspec

from interlock.bounded import decode_json
from interlock.gateway.budget import BURST_SHARE, CLOCK_DRIFT, RESET_MAX_S

SCHEMA = 1
ACCOUNTS_MAX = 256
"""Most budgets in one ledger; further ones are not shared."""
SLICES_MAX = 512
"""Most slices of one budget; a draw beyond it waits."""
_ROUNDING = 1e-6
USABLE_SHARE = 1 / 60
USABLE_MAX_S = 1.0
"""A slice may be used for a sixtieth of the window, at most a second: that is what sharing costs in utilisation."""
ANSWER_MAX_S = 60.0
"""The longest time that a request may be under way; see `proxy.REPLY_S`."""


ASKS_S = 0.5
"""For how long a class that asked and got nothing goes before others; it asks again sooner."""
IDLE_S = 2.0
"""A class that did not ask for so long saves up nothing."""
LAG_MAX = 8.0
"""Most that a class may be owed, in requests per unit of weight; as within one process."""

_ASKED_AGAIN_S = 0.25
_NEWCOMER = 1.0  # a class that begins to ask goes first once, so that equals do not wait for each other

CLOSED = ""
"""Owner of what was used and is not drawn any more."""
LOST = "lost"
"""Owner of the slice that stands for what nobody knows any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of a window.

    Attributes:
        owner: Process and number; unique.
        amount: Requests.
        free_at_s: When it counts no more.
        turn: The class that it was drawn for; empty when it did not matter.
        weight: Of that class.
    """

    owner: str
    amount: int
    free_at_s: float
    turn: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """For which class something is drawn.

    Attributes:
        name: Of the class.
        weight: Its share against the other classes.
    """

    name: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One shared budget.

    Attributes:
        allowed: Requests in a window.
        window_s: Its length.
        blocked_until_s: Closed for everybody until then.
        slices: What is drawn.
        level: What the pace gave at `level_at_s`; None for a full burst.
        level_at_s: When that was true.
        served: What each class got, divided by its weight.
        asked: When each class last asked.
    """

    allowed: int
    window_s: float
    blocked_until_s: float = 0.0
    slices: tuple[Slice, ...] = ()
    level: float | None = None
    level_at_s: float = 0.0
    served: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All shared budgets of one organisation.

    Attributes:
        schema: Version of this form.
        accounts: By name.
        lost_at_s: When a ledger that could not be read was begun anew; 0.0 for one that never was. What was drawn
            before is unknown, so a new account counts as drawn in full until what was drawn then is free at the latest.
    """

    schema: int = SCHEMA
    accounts: dict[str, Account] = field(default_factory=dict)
    lost_at_s: float = 0.0


def usable_s(window_s: float) -> float:
    """Return how long a slice may be used."""
    return min(window_s * USABLE_SHARE, USABLE_MAX_S)


def _longest_s(account: Account) -> float:
    return usable_s(account.window_s) + ANSWER_MAX_S + account.window_s


def occupied(account: Account, now_s: float) -> int:
    """Return how much of the window is drawn."""
    return sum(each.amount for each in account.slices if each.free_at_s > now_s)


def next_free_s(account: Account, now_s: float) -> float | None:
    """Return when the next slice frees itself; None when nothing is drawn."""
    return min((each.free_at_s for each in account.slices if each.free_at_s > now_s), default=None)


def settle_account(ledger: Ledger, name: str, *, allowed: int, window_s: float, now_s: float) -> Ledger:
    """Return the ledger with an account as this process knows it; each process learns a changed limit by itself.

    Slices that are over are dropped, and none is believed to be over later than possible, nor is an account believed to
    be closed for longer than one can be: so a clock that was set back costs at most one such time.
    """
    before = ledger.accounts.get(name)
    if before is None and len(ledger.accounts) >= ACCOUNTS_MAX:
        return ledger
    account = Account(allowed=allowed, window_s=window_s)
    if before is not None:
        account = replace(before, allowed=allowed, window_s=window_s)
    elif ledger.lost_at_s:
        lost = Slice(owner=LOST, amount=allowed, free_at_s=ledger.lost_at_s + _longest_s(account))
        account = replace(account, slices=(lost,))
    latest_s = now_s + _longest_s(account)
    slices = tuple(
        replace(each, free_at_s=min(each.free_at_s, latest_s)) for each in account.slices if each.free_at_s > now_s
    )
    blocked_until_s = min(account.blocked_until_s, now_s + RESET_MAX_S)
    return _with(ledger, name, replace(account, slices=slices, blocked_until_s=blocked_until_s))


def draw(
    ledger: Ledger, name: str, *, owner: str, want: int, now_s: float, turn: Turn | None = None, least: int = 1
) -> tuple[Ledger, Slice | None]:
    """Draw up to `want` and at least `least` from an account, for a class when one is named.

    A call that costs more than the pace ever gives at once goes on a full burst, and the pace makes up for it.

    Returns:
        The ledger and the slice; None when nothing can be drawn now. What asked is remembered either way.
    """
    account = ledger.accounts.get(name)
    if account is None or now_s < account.blocked_until_s or len(account.slices) >= SLICES_MAX:
        return ledger, None
    account = _ask(account, turn, now_s)
    amount = min(want, account.allowed - occupied(account, now_s))
    if turn is not None:
        level = level_at(account, now_s) + _ROUNDING
        amount = min(amount, max(math.floor(level), least if level >= _burst(account) else 0))
    if amount < least or not _is_turn(account, turn, now_s):
        return _with(ledger, name, account), None
    piece = Slice(owner=owner, amount=amount, free_at_s=now_s + _longest_s(account))
    if turn is not None:
        piece = replace(piece, turn=turn.name, weight=turn.weight)
        account = _serve(account, piece, amount, now_s)
    return _with(ledger, name, replace(account, slices=(*account.slices, piece))), piece


def level_at(account: Account, now_s: float) -> float:
    """Return how much the pace gives now. After a clock was set back it gives nothing for a window at most."""
    burst = _burst(account)
    if account.level is None:
        return burst
    passed_s = max(now_s - account.level_at_s, 0.0)
    if now_s < account.level_at_s - account.window_s:
        return burst
    return min(account.level + passed_s * account.allowed / account.window_s, burst)


def _burst(account: Account) -> float:
    """Half of one budget's burst, and at least what the rate gives between two askings of a process."""
    return max(account.allowed * BURST_SHARE / 2, account.allowed / account.window_s * _ASKED_AGAIN_S, 1.0)


def pace_wait_s(account: Account, now_s: float, least: int = 1) -> float:
    """Return when the pace gives so much; 0.0 for at once."""
    return max(min(float(least), _burst(account)) - level_at(account, now_s), 0.0) * account.window_s / account.allowed


def _ask(account: Account, turn: Turn | None, now_s: float) -> Account:
    """Note that a class asks. One that was idle starts where the others are, and nobody is owed without bound."""
    if turn is None:
        return account
    active = [account.served.get(each, 0.0) for each, at_s in account.asked.items() if _is_lately(at_s, now_s, IDLE_S)]
    mine = account.served.get(turn.name, 0.0)
    if active:
        is_active = _is_lately(account.asked.get(turn.name, -math.inf), now_s, IDLE_S)
        mine = max(mine, max(active) - LAG_MAX, mine if is_active else min(active) - _NEWCOMER)
    served = {**account.served, turn.name: mine}
    return replace(account, served=served, asked={**account.asked, turn.name: now_s})


def _is_turn(account: Account, turn: Turn | None, now_s: float) -> bool:
    if turn is None:
        return True
    mine = account.served[turn.name]
    others = [each for each, at_s in account.asked.items() if each != turn.name and _is_lately(at_s, now_s, ASKS_S)]
    return all(account.served.get(each, 0.0) >= mine for each in others)


def _serve(account: Account, piece: Slice, amount: int, now_s: float) -> Account:
    """Note what a class got, or with a negative amount gave back."""
    level = min(level_at(account, now_s) - amount, _burst(account))
    served = {**account.served, piece.turn: account.served.get(piece.turn, 0.0) + amount / piece.weight}
    return replace(account, served=served, level=level, level_at_s=max(now_s, account.level_at_s))


def _is_lately(at_s: float, now_s: float, within_s: float) -> bool:
    return abs(now_s - at_s) <= within_s


def close(ledger: Ledger, name: str, *, owner: str, used: int, answered_s: float) -> Ledger:
    """Give back what was not used; what was used counts until a window after the last answer."""
    account = ledger.accounts.get(name)
    if account is None:
        return ledger
    others = tuple(each for each in account.slices if each.owner != owner)
    for each in account.slices:
        if each.owner == owner and each.turn and used < each.amount:
            account = _serve(account, each, used - each.amount, answered_s)
    if len(others) == len(account.slices) or used < 1:
        return _with(ledger, name, replace(account, slices=others))
    free_at_s = answered_s + account.window_s * (1.0 + CLOCK_DRIFT)
    piece = Slice(owner=owner, amount=used, free_at_s=free_at_s)
    if any(each.owner == owner and each.turn for each in account.slices):
        others, piece = _joined(others, piece, usable_s(account.window_s) / 2)
    return _with(ledger, name, replace(account, slices=(*others, piece)))


def _joined(slices: tuple[Slice, ...], piece: Slice, step_s: float) -> tuple[tuple[Slice, ...], Slice]:
    """Join a closed slice with one that frees itself in the same step: the pace makes many small ones."""
    free_at_s = math.ceil(piece.free_at_s / step_s) * step_s
    same = [each for each in slices if each.owner == CLOSED and each.free_at_s == free_at_s]
    amount = piece.amount + sum(each.amount for each in same)
    return tuple(each for each in slices if each not in same), Slice(owner=CLOSED, amount=amount, free_at_s=free_at_s)


def block(ledger: Ledger, name: str, *, until_s: float) -> Ledger:
    """Close an account for everybody; a later end stays."""
    account = ledger.accounts.get(name)
    if account is None:
        return ledger
    return _with(ledger, name, replace(account, blocked_until_s=max(account.blocked_until_s, until_s)))


def _with(ledger: Ledger, name: str, account: Account) -> Ledger:
    return replace(ledger, accounts={**ledger.accounts, name: account})


def to_bytes(ledger: Ledger) -> bytes:
    """Spell a ledger as stored."""
    return msgspec.json.encode(ledger)


def from_bytes(raw: bytes, *, now_s: float) -> Ledger:
    """Read a stored ledger. One that cannot be read, or of another schema, is begun anew: budgets are not state."""
    try:
        ledger = decode_json(raw, type=Ledger)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Ledger(lost_at_s=now_s)
    return ledger if ledger.schema == SCHEMA else Ledger(lost_at_s=now_s)


def lost_until_s(ledger: Ledger, now_s: float) -> float:
    """Return until when something counts as drawn because nobody knows; 0.0 when nothing does."""
    slices = (each for account in ledger.accounts.values() for each in account.slices)
    return max((each.free_at_s for each in slices if each.owner == LOST and each.free_at_s > now_s), default=0.0)
