"""What the gateway makes of limits that nobody documented, against a simulated API in virtual time.

The numbers are deterministic: everything follows from the seed, which a failure prints with its case.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.simulation.api_limits import Case, Outcome, cases, run

CASES = {case.name: case for case in cases()}


def tried(name: str, seconds: float, *, seed: int = 1, skip_s: float = 30.0) -> Outcome:
    case: Case = replace(CASES[name], seconds=seconds, skip_s=skip_s)
    return run(case, seed)


@pytest.mark.promise("P7")
@pytest.mark.parametrize("name", ["one 429, Retry-After 5", "one 429 without Retry-After", "one 429, Retry-After 0"])
def test_one_bare_429_is_forgotten_within_ten_seconds(name: str) -> None:
    got = tried(name, 70.0)
    assert got.recovery_s is not None
    assert got.recovery_s <= 10.0, name
    assert got.share >= 0.95, name


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("10 a second", 0.85),
        pytest.param("10 a second, Retry-After 0", 0.85, marks=pytest.mark.slow),
        ("10 in any second (sliding)", 0.8),
        ("8 at once, no Retry-After", 0.9),
        ("2 a second of one endpoint", 0.7),
    ],
)
def test_a_limit_of_seconds_or_of_requests_at_once_gives_nearly_all_of_its_rate(name: str, share: float) -> None:
    got = tried(name, 90.0)
    assert got.share >= share, (name, got.share)
    assert got.refused_share <= 0.04, (name, got.refused_share)


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    "kind", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("fixed", "clock")), "sliding"]
)
def test_a_limit_of_a_minute_is_learned_and_then_kept(kind: str) -> None:
    got = tried(f"600 a minute, {kind}", 300.0, skip_s=180.0)
    assert got.share >= 0.85, (kind, got.share)
    assert got.refused_share <= 0.02, (kind, got.refused_share)


@pytest.mark.slow
@pytest.mark.promise("P7")
@pytest.mark.parametrize(("says", "share"), [("absent", 0.93), ("lying, too long", 0.8)])
def test_a_limit_of_a_minute_is_used_although_its_refusals_say_nothing_or_too_much(says: str, share: float) -> None:
    got = run(CASES[f"600 a minute, clock, Retry-After {says}"], 1)
    assert got.share >= share, (says, got.share)
    assert got.refused_share <= 0.01, (says, got.refused_share)


def test_the_same_seed_gives_the_same_world() -> None:
    one, two = (tried("10 a second", 40.0, seed=7, skip_s=10.0) for _ in range(2))
    assert one == two
