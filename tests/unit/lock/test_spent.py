from __future__ import annotations

from datetime import UTC, datetime, timedelta

from interlock.lock.spent import GENERATION_MAX, NOTHING_SPENT, REMEMBERED_S, is_spent, spend

T0 = datetime(2026, 11, 24, tzinfo=UTC)


def test_a_name_is_remembered_once() -> None:
    spent = spend(NOTHING_SPENT, ["a", "b", "a"], now=T0)
    assert is_spent(spent, "a")
    assert is_spent(spent, "b")
    assert not is_spent(spent, "c")
    assert spend(spent, ["a"], now=T0) is spent


def test_names_are_remembered_by_age() -> None:
    spent = spend(NOTHING_SPENT, ["a"], now=T0)
    half = timedelta(seconds=REMEMBERED_S / 2)
    spent = spend(spent, ["b"], now=T0 + half - timedelta(seconds=1))
    spent = spend(spent, ["c"], now=T0 + half)
    assert all(is_spent(spent, name) for name in "abc")
    spent = spend(spent, ["d"], now=T0 + 2 * half)
    assert [is_spent(spent, name) for name in "abcd"] == [False, False, True, True]


def test_names_are_bounded_by_size() -> None:
    spent = NOTHING_SPENT
    for n in range(5 * GENERATION_MAX):
        spent = spend(spent, [f"t{n}"], now=T0)
    assert len(spent.newer) + len(spent.older) <= 2 * 8 * GENERATION_MAX
    assert is_spent(spent, f"t{4 * GENERATION_MAX}")
    assert not is_spent(spent, "t0")


def test_a_clock_that_was_ahead_does_not_keep_a_generation_for_ever() -> None:
    spent = spend(NOTHING_SPENT, ["a"], now=T0 + timedelta(days=900))
    assert spend(spent, ["b"], now=T0).since == T0


def test_a_name_is_not_found_across_two_others() -> None:
    spent = spend(NOTHING_SPENT, [f"n{n}" for n in range(200)], now=T0)
    assert sum(is_spent(spent, f"other{n}") for n in range(2000)) == 0
