"""Tests of what a client may change in a ledger from which a server's own gateways draw too."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from interlock.gateway.ledger import (
    ACCOUNTS_MAX,
    CLOSED,
    SLICES_MAX,
    Account,
    Ledger,
    Slice,
    Turn,
    block,
    close,
    draw,
    read_ledger,
    settle_account,
)
from interlock.gateway.sharing import Around, LedgerPlace, SharedBudget, Sharing, shared_in
from interlock.gateway.takings import LATE_S, SERVERS, taken_back
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock

pytestmark = pytest.mark.promise("P7")

NOW = 1_000.0
SERVERS_OWN = f"{SERVERS}a/1"
TURN = Turn(name="apply", weight=4.0)


def shared() -> Ledger:
    """A ledger from which the server's gateway, a run with one of its own, and one that has ended have drawn."""
    ledger = settle_account(Ledger(), "org", allowed=600, window_s=60.0, now_s=NOW)
    for owner in (SERVERS_OWN, "run/1", f"{SERVERS}a/2", "run/2"):
        ledger, piece = draw(ledger, "org", owner=owner, want=1, now_s=NOW, turn=TURN)
        assert piece is not None
    for owner in (f"{SERVERS}a/2", "run/2"):
        ledger = close(ledger, "org", owner=owner, used=1, answered_s=NOW)
    return block(ledger, "org", until_s=NOW + 60.0)


def changed(**facts: object) -> Ledger:
    ledger = shared()
    return replace(ledger, accounts={"org": replace(ledger.accounts["org"], **facts)})  # type: ignore[arg-type]


def without(*owners: str) -> Ledger:
    return changed(slices=tuple(each for each in shared().accounts["org"].slices if each.owner not in owners))


def drawn(*slices: Slice) -> Ledger:
    return changed(slices=(*shared().accounts["org"].slices, *slices))


def test_all_that_an_honest_run_does_to_a_ledger_stands() -> None:
    before = replace(shared(), accounts={"org": replace(shared().accounts["org"], blocked_until_s=0.0)})
    now_s = NOW + 1.0
    settled = settle_account(before, "org", allowed=90, window_s=60.0, now_s=now_s)
    drawn, piece = draw(settled, "org", owner="run/3", want=2, now_s=now_s, turn=TURN)
    assert piece is not None
    closed = close(drawn, "org", owner="run/3", used=1, answered_s=now_s)
    other = settle_account(closed, "new", allowed=10, window_s=60.0, now_s=now_s)
    blocked = block(other, "org", until_s=now_s + 90.0)
    steps = [before, settled, drawn, closed, other, blocked]
    for old, new in pairwise(steps):
        assert taken_back(old, new, now_s=now_s) == ""
    late_s = NOW + 300.0
    assert (
        taken_back(blocked, settle_account(blocked, "org", allowed=90, window_s=60.0, now_s=late_s), now_s=late_s) == ""
    )
    assert taken_back(Ledger(), before, now_s=NOW) != "", "what the server drew is not made up"
    assert taken_back(Ledger(lost_at_s=NOW), Ledger(lost_at_s=NOW - 1.0), now_s=NOW) == ""


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(Ledger(), id="begun anew"),
        pytest.param(without(SERVERS_OWN), id="the server's open slice is gone"),
        pytest.param(without(CLOSED), id="what was used is gone"),
        pytest.param(
            changed(
                slices=(*without(SERVERS_OWN).accounts["org"].slices, Slice(owner=SERVERS_OWN, amount=0, free_at_s=2e9))
            ),
            id="given back",
        ),
        pytest.param(
            changed(slices=tuple(replace(each, free_at_s=NOW + 12.0) for each in shared().accounts["org"].slices)),
            id="free sooner",
        ),
        pytest.param(
            drawn(Slice(owner=f"{SERVERS}b/1", amount=9, free_at_s=NOW + 60.0)),
            id="in the server's name",
        ),
        pytest.param(drawn(Slice(owner="run/9", amount=-500, free_at_s=NOW + 60.0)), id="less than nothing"),
        pytest.param(
            drawn(*(Slice(owner=f"run/{each}", amount=1, free_at_s=NOW + 60.0) for each in range(9, SLICES_MAX))),
            id="full, so that nothing can be drawn",
        ),
        pytest.param(changed(blocked_until_s=0.0), id="a refusal is forgotten"),
        pytest.param(
            replace(
                shared(),
                accounts=shared().accounts
                | {str(each): Account(allowed=1, window_s=1.0) for each in range(ACCOUNTS_MAX)},
            ),
            id="full, so that further budgets are not shared",
        ),
    ],
)
def test_what_others_drew_is_not_taken_back(after: Ledger) -> None:
    assert taken_back(shared(), after, now_s=NOW) != ""


def test_what_frees_itself_in_a_moment_may_be_dropped_since_clocks_differ() -> None:
    account = shared().accounts["org"]
    at_s = max(each.free_at_s for each in account.slices) - LATE_S
    after = settle_account(shared(), "org", allowed=600, window_s=60.0, now_s=at_s + LATE_S)
    assert taken_back(shared(), after, now_s=at_s) == ""
    assert taken_back(shared(), after, now_s=at_s - 1.0) != ""


def test_a_ledger_that_was_lost_still_says_so() -> None:
    assert taken_back(Ledger(lost_at_s=NOW), Ledger(), now_s=NOW) != ""


class JudgedRecords(MemoryRecords):
    """Records in which nobody takes anything back, as a server judges its clients."""

    async def swap(self, key: str, *, expected: int | None, value: bytes | None) -> int:
        before = await self.get(key)
        if before is not None and before.version == expected:
            old, new = read_ledger(before.value), read_ledger(value or b"")
            assert old is not None
            assert new is not None
            assert taken_back(old, new, now_s=self.clock_of_all.now().timestamp()) == ""
        return await super().swap(key, expected=expected, value=value)

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.clock_of_all = clock


async def test_runs_with_a_gateway_of_their_own_share_a_budget_and_nothing_that_they_do_is_refused() -> None:
    clock = FakeClock()
    records = JudgedRecords(clock)
    users = []
    for process, weight in (("run/a", 4.0), ("run/b", 1.0)):
        turn = Turn(name=str(weight), weight=weight)
        around = Around(waiting=lambda _name, _lasts_s: 1000, turn=lambda turn=turn: turn)  # type: ignore[misc]
        shared = Sharing(LedgerPlace(records=records, clock=clock), key="gateway/o", process=process, around=around)
        budget = shared_in([shared])("organisation", 100, 60.0, None, clock.monotonic())
        assert isinstance(budget, SharedBudget)
        users.append((shared, budget))
    used = 0
    for second in range(150):
        for shared, budget in users:
            for _ in range(4):
                await shared._round()
                while budget.fits(1, clock.monotonic()):
                    budget.settle(budget.take(1, clock.monotonic()), clock.monotonic())
                    used += second < 59
        if second == 70:
            users[0][1].close_for(9.0, clock.monotonic())
        await clock.advance(1.0)
    assert 90 <= used <= 100
