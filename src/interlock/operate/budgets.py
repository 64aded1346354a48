"""What is used of the API limits now, as the runs of this machine share them. A hand: it reads the home's records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.gateway import identity
from interlock.gateway.ledger import from_bytes, occupied

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.store import RecordStore


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSeen:
    """One shared budget.

    Attributes:
        organisation: Id of the organisation; empty when its client was never asked for it.
        name: Of the budget.
        drawn: Calls of the window that runs have drawn: made, or about to be.
        allowed: Calls in a window.
        window_s: The window's length.
        closed_s: For how long nothing may be sent, as after a 429; 0.0 when it is open.
    """

    organisation: str
    name: str
    drawn: int
    allowed: int
    window_s: float
    closed_s: float


async def budgets(home: Home) -> list[BudgetSeen]:
    """Return the budgets that runs here used, sorted by organisation and name; those beside a bucket are not here."""
    records, now_s = home.budgets(""), home.clock.now().timestamp()
    names = {identity.ledger_key(known): known for known in await _organisations(records)}
    found = []
    for record in await records.list(identity.LEDGERS):
        if record.key.startswith(identity.ORGANISATIONS):
            continue
        for name, account in from_bytes(record.value, now_s=now_s).accounts.items():
            seen = BudgetSeen(
                organisation=names.get(record.key, ""),
                name=name,
                drawn=occupied(account, now_s),
                allowed=account.allowed,
                window_s=account.window_s,
                closed_s=max(account.blocked_until_s - now_s, 0.0),
            )
            found.append(seen)
    return sorted(found, key=lambda one: (one.organisation, one.name))


async def _organisations(records: RecordStore) -> set[str]:
    kept = [identity.read_known(record.value) for record in await records.list(identity.ORGANISATIONS)]
    return {known for known in kept if known}
