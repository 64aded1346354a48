from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from interlock.recovery import Conclusion, Evidence, Says, judge
from interlock.recovery.verdict import weigh

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def say(says: Says, text: str = "", how_to: str = "") -> Evidence:
    return Evidence(witness="w", says=says, text=text or says.value, source="s", observed_at=NOW, how_to=how_to)


ROWS = [
    # alive, gone, silent, could not see -> verdict; every combination, written by hand from the rules
    (True, True, True, True, "alive"),
    (True, True, True, False, "alive"),
    (True, True, False, True, "alive"),
    (True, True, False, False, "alive"),
    (True, False, True, True, "alive"),
    (True, False, True, False, "alive"),
    (True, False, False, True, "alive"),
    (True, False, False, False, "alive"),
    (False, True, True, True, "gone"),
    (False, True, True, False, "gone"),
    (False, True, False, True, "undecided"),
    (False, True, False, False, "undecided"),
    (False, False, True, True, "undecided"),
    (False, False, True, False, "undecided"),
    (False, False, False, True, "undecided"),
    (False, False, False, False, "undecided"),
]
KINDS = (Says.ALIVE, Says.GONE, Says.SILENT, Says.NOTHING)


@pytest.mark.promise("P5")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row)))
@pytest.mark.parametrize("facts", [0, 2])
def test_every_row_of_the_truth_table_holds_in_any_order_with_and_without_facts(
    row: tuple[bool, bool, bool, bool, str], facts: int
) -> None:
    evidence = [say(kind) for kind, said in zip(KINDS, row[:4], strict=True) if said]
    evidence += [say(Says.FACT)] * facts
    for order in itertools.permutations(evidence):
        assert judge(order).conclusion is Conclusion(row[4])


@pytest.mark.promise("P5")
def test_more_of_the_same_testimony_changes_nothing() -> None:
    assert judge([say(Says.SILENT)] * 50).conclusion is Conclusion.UNDECIDED
    assert judge([say(Says.NOTHING)] * 50).conclusion is Conclusion.UNDECIDED
    assert judge([say(Says.GONE)] * 50).conclusion is Conclusion.UNDECIDED


@pytest.mark.promise("P5")
def test_blindness_never_leads_to_gone() -> None:
    for others in itertools.chain.from_iterable(itertools.combinations(KINDS[:3], n) for n in range(4)):
        blind = judge([*map(say, others), say(Says.NOTHING)])
        assert blind.conclusion is judge([*map(say, others)]).conclusion


def test_the_reasons_are_those_that_decided() -> None:
    evidence = [say(Says.GONE, "no process"), say(Says.SILENT, "stood still"), say(Says.NOTHING, "API is down")]
    assert judge(evidence).reasons == ("no process", "stood still")
    assert judge([*evidence, say(Says.ALIVE, "it runs")]).reasons == ("it runs",)


def test_undecided_says_how_to_get_each_missing_fact_once() -> None:
    verdict = judge([say(Says.SILENT), say(Says.NOTHING, "a", "look there"), say(Says.NOTHING, "b", "look there")])
    assert verdict.missing == ("look there",)
    assert judge([say(Says.GONE)]).missing == (
        "its lease or lock has not stood still for the whole watch yet; wait and look again",
    )
    assert judge([]).missing == ("nothing shows whether the holder's process still runs",)


@pytest.mark.promise("P5")
@pytest.mark.parametrize("has_gap", [False, True])
@pytest.mark.parametrize("record", [Says.ALIVE, Says.GONE, Says.NOTHING])
@pytest.mark.parametrize("kernel", [Says.ALIVE, Says.GONE, Says.NOTHING])
def test_the_kernel_and_the_record_of_a_run_together(kernel: Says, record: Says, has_gap: bool) -> None:
    expected = {
        (Says.NOTHING, Says.GONE): Says.NOTHING if has_gap else Says.GONE,
        (Says.NOTHING, Says.NOTHING): Says.NOTHING,
        (Says.GONE, Says.GONE): Says.GONE,
        (Says.GONE, Says.NOTHING): Says.GONE,
    }
    assert weigh(kernel, record, has_gap=has_gap) is expected.get((kernel, record), Says.ALIVE)
