"""What a client may change in a ledger that it shares with the gateways of a server. Pure.

A client sends the whole ledger that there is to be. So that it takes its turn and no more, what the server's own
gateways drew stays, and so does what anybody used. What it does to the open slices of other clients nobody can judge:
who closes a slice is not told.
"""

from __future__ import annotations

from typing import Final

from interlock.gateway.budget import RESET_MAX_S
from interlock.gateway.ledger import ACCOUNTS_MAX, CLOSED, LOST, SLICES_MAX, Account, Ledger, Slice

SERVERS: Final = "server."
"""Begins the names under which the gateways of a server draw."""

ACCOUNTS_OF_CLIENTS_MAX: Final = ACCOUNTS_MAX // 2
"""Most budgets that clients may bring a ledger to: a full one shares no further budget, so nor would the server's."""

SLICES_OF_CLIENTS_MAX: Final = SLICES_MAX // 2
"""Most slices that clients may bring a budget to: from a full one nothing is drawn."""

LATE_S: Final = 10.0
"""By so much the clock of a client may differ from the server's, and its change arrive late."""


def taken_back(before: Ledger, after: Ledger, *, now_s: float) -> str:
    """Return what a client's change does that it may not do, as "takes back what was used"; else empty.

    Args:
        before: The ledger that it replaces.
        after: The ledger as it was sent.
        now_s: Of the server's clock.
    """
    if after.lost_at_s < before.lost_at_s - LATE_S:
        return "takes back the word that what was drawn is unknown"
    if len(after.accounts) > max(len(before.accounts), ACCOUNTS_OF_CLIENTS_MAX):
        return f"makes too many budgets: a ledger has {ACCOUNTS_OF_CLIENTS_MAX} from clients"
    for name, account in after.accounts.items():
        if what := _taken(before.accounts.get(name, _nothing(account)), account, now_s):
            return f"{what} (budget {name!r})"
    for name, account in before.accounts.items():
        if name not in after.accounts and (what := _taken(account, _nothing(account), now_s)):
            return f"{what} (budget {name!r})"
    return ""


def _nothing(account: Account) -> Account:
    return Account(allowed=account.allowed, window_s=account.window_s)


def _taken(before: Account, after: Account, now_s: float) -> str:
    if _is_opened(before, after, now_s):
        return "takes back the word that the organisation refuses calls"
    if any(each.amount < 0 for each in after.slices):
        return "takes back more than was drawn"
    if len(after.slices) > max(len(before.slices), SLICES_OF_CLIENTS_MAX):
        return f"makes too many slices: a budget has {SLICES_OF_CLIENTS_MAX} from clients"
    return _taken_slices(before, after, now_s)


def _is_opened(before: Account, after: Account, now_s: float) -> bool:
    """Say whether an account is open again that was closed for everybody."""
    until_s = min(before.blocked_until_s, now_s + RESET_MAX_S)
    return until_s > now_s + LATE_S and after.blocked_until_s < until_s - LATE_S


def _taken_slices(before: Account, after: Account, now_s: float) -> str:
    kept = {each.owner: each for each in after.slices if _is_servers(each)}
    known = {each.owner for each in before.slices}
    if any(owner != LOST and owner not in known for owner in kept):
        return "draws under a name of the server's own gateways"
    for each in _counting(before, now_s):
        if _is_servers(each) and not _is_kept(each, kept.get(each.owner)):
            return "takes back what the server's own gateways drew"
        if each.owner == CLOSED and _used(after, each.free_at_s - LATE_S) < _used(before, each.free_at_s):
            return "takes back what was used"
    return ""


def _counting(account: Account, now_s: float) -> list[Slice]:
    return [each for each in account.slices if each.free_at_s > now_s + LATE_S]


def _is_servers(each: Slice) -> bool:
    return each.owner.startswith(SERVERS) or each.owner == LOST


def _is_kept(before: Slice, after: Slice | None) -> bool:
    return after is not None and after.amount >= before.amount and after.free_at_s >= before.free_at_s - LATE_S


def _used(account: Account, from_s: float) -> int:
    """Return how much was used that counts until then at least. Closed slices are joined, never made less."""
    return sum(each.amount for each in account.slices if each.owner == CLOSED and each.free_at_s >= from_s)
