"""What `status` says of the API limits."""

from pathlib import Path

from interlock.gateway import identity
from interlock.gateway.ledger import Account, Ledger, Slice, to_bytes
from interlock.operate.budgets import BudgetSeen, budgets
from interlock.testing.home import memory_home


async def test_a_budget_is_shown_with_its_organisation_what_is_drawn_and_how_long_it_is_closed(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    now_s = home.clock.now().timestamp()
    drawn = (Slice(owner="a", amount=40, free_at_s=now_s + 9), Slice(owner="b", amount=7, free_at_s=now_s - 1))
    account = Account(allowed=300, window_s=60.0, slices=drawn, blocked_until_s=now_s + 5)
    ledger = to_bytes(Ledger(accounts={"token": account}))
    await home.store.records.swap(identity.ledger_key("org-1"), expected=None, value=ledger)
    await identity.keep_known(home.store.records, "https://api", "client", "org-1")
    assert await budgets(home) == [
        BudgetSeen(organisation="org-1", name="token", drawn=40, allowed=300, window_s=60.0, closed_s=5.0)
    ]


async def test_a_damaged_ledger_is_no_budget_and_no_failure(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    await home.store.records.swap(identity.LEDGERS + "x", expected=None, value=b"{")
    assert await budgets(home) == []
