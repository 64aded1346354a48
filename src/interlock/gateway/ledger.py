"""Who of several processes may use how much of a shared budget: slices of its window, as a value that can be stored.

A process draws a slice before it sends and closes it when the last of its requests was answered, saying how much it
used. So one transaction covers many requests, and the sum of all open and recently closed slices never exceeds the
allowance: the rule of `budget.py`, one level up. A process that dies leaves its slice behind, which then frees itself
after the longest time that its requests could have taken.

Times are wall-clock seconds of one machine. The store is a file on that machine; nothing here compares two machines.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec

from interlock.bounded import decode_json
from interlock.gateway.budget import CLOCK_DRIFT, RESET_MAX_S

SCHEMA = 1
ACCOUNTS_MAX = 256
"""Most budgets in one ledger; further ones are not shared."""
SLICES_MAX = 512
"""Most slices of one budget; a draw beyond it waits."""
USABLE_SHARE = 1 / 60
USABLE_MAX_S = 1.0
"""A slice may be used for a sixtieth of the window, at most a second: that is what sharing costs in utilisation."""
ANSWER_MAX_S = 60.0
"""The longest time that a request may be under way; see `proxy.REPLY_S`."""


LOST = "lost"
"""Owner of the slice that stands for what nobody knows any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of a window.

    Attributes:
        owner: Process and number; unique.
        amount: Requests.
        free_at_s: When it counts no more.
    """

    owner: str
    amount: int
    free_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One shared budget.

    Attributes:
        allowed: Requests in a window.
        window_s: Its length.
        blocked_until_s: Closed for everybody until then.
        slices: What is drawn.
    """

    allowed: int
    window_s: float
    blocked_until_s: float = 0.0
    slices: tuple[Slice, ...] = ()


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
        account = replace(account, slices=before.slices, blocked_until_s=before.blocked_until_s)
    elif ledger.lost_at_s:
        lost = Slice(owner=LOST, amount=allowed, free_at_s=ledger.lost_at_s + _longest_s(account))
        account = replace(account, slices=(lost,))
    latest_s = now_s + _longest_s(account)
    slices = tuple(
        replace(each, free_at_s=min(each.free_at_s, latest_s)) for each in account.slices if each.free_at_s > now_s
    )
    blocked_until_s = min(account.blocked_until_s, now_s + RESET_MAX_S)
    return _with(ledger, name, replace(account, slices=slices, blocked_until_s=blocked_until_s))


def draw(ledger: Ledger, name: str, *, owner: str, want: int, now_s: float) -> tuple[Ledger, Slice | None]:
    """Draw up to `want` from an account.

    Returns:
        The ledger and the slice; None when nothing can be drawn now.
    """
    account = ledger.accounts.get(name)
    if account is None or now_s < account.blocked_until_s or len(account.slices) >= SLICES_MAX:
        return ledger, None
    amount = min(want, account.allowed - occupied(account, now_s))
    if amount < 1:
        return ledger, None
    piece = Slice(owner=owner, amount=amount, free_at_s=now_s + _longest_s(account))
    return _with(ledger, name, replace(account, slices=(*account.slices, piece))), piece


def close(ledger: Ledger, name: str, *, owner: str, used: int, answered_s: float) -> Ledger:
    """Give back what was not used; what was used counts until a window after the last answer."""
    account = ledger.accounts.get(name)
    if account is None:
        return ledger
    others = tuple(each for each in account.slices if each.owner != owner)
    if len(others) == len(account.slices) or used < 1:
        return _with(ledger, name, replace(account, slices=others))
    piece = Slice(owner=owner, amount=used, free_at_s=answered_s + account.window_s * (1.0 + CLOCK_DRIFT))
    return _with(ledger, name, replace(account, slices=(*others, piece)))


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
