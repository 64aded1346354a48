"""How much of a limit that nobody documented the gateway uses, and how soon it forgets a single 429.

In virtual time (`tests/simulation/api_limits.py`), so the same seed gives the same numbers on any machine. The baseline
is the share that the first rule reached, which took the count at any refusal for the limit (measured at commit b926e1b,
with 60 clients, for ten minutes of which two were left out).
"""

from __future__ import annotations

from tests.simulation.api_limits import Case, cases, run

from benchmarks import Row, compared

FIRST_RULE = {
    "one 429, Retry-After 5": 0.72,
    "one 429 without Retry-After": 0.72,
    "one 429, Retry-After 0": 0.72,
    "a 429 every 97 s, Retry-After 3": 0.98,
    "10 a second": 0.06,
    "10 a second, no Retry-After": 0.06,
    "10 a second, Retry-After 0": 0.07,
    "10 in any second (sliding)": 0.06,
    "8 at once": 0.01,
    "8 at once, no Retry-After": 0.01,
    "8, then 4, at once": 0.02,
    "10, then 5 a second": 0.09,
    "10, then 30 a second": 0.03,
    "600 a minute, fixed": 0.96,
    "600 a minute, clock": 1.0,
    "600 a minute, sliding": 0.96,
    "600 a minute, clock, Retry-After a date": 1.0,
    "600 a minute, clock, Retry-After absent": 1.0,
    "600 a minute, clock, Retry-After zero": 1.0,
    "600 a minute, clock, Retry-After huge": 0.3,
    "600 a minute, clock, Retry-After lying, too short": 1.0,
    "600 a minute, clock, Retry-After lying, too long": 0.99,
    "600, then 300 a minute": 0.99,
    "600, then 1800 a minute": 0.81,
    "600 a minute, others take 4 a second": 0.99,
    "20 a second, others take 8 a second": 0.06,
    "120 a minute of one endpoint": 0.97,
    "2 a second of one endpoint": 0.17,
}


def measure() -> list[Row]:
    return [row for case in cases() for row in _rows(case)]


def _rows(case: Case) -> list[Row]:
    got = run(case)
    rows = [
        compared(f"{case.name}: share of the rate", got.share, "", baseline=FIRST_RULE[case.name]),
        Row(name=f"{case.name}: 429s of the API", value=100 * got.refused_share, unit="%"),
        Row(name=f"{case.name}: 429s that clients saw", value=float(got.seen), unit="answers"),
    ]
    if got.recovery_s is not None:
        rows.append(Row(name=f"{case.name}: back at the rate after", value=got.recovery_s, unit="s"))
    return rows
