"""The rule of deletions against what real Terraforms did in every cell of the matrix (see `tests.matrix`)."""

from typing import Any

import pytest
from tests.matrix.cells import cells
from tests.matrix.recording import Record, judge, judge_by_events, read_records

from interlock.state import ObjectKey

RECORDS = read_records()
pytestmark = pytest.mark.promise("P6")


def test_what_terraform_wrote_after_its_own_plan_is_never_refused() -> None:
    assert {name: said for name, record in RECORDS.items() if (said := judge(record))} == {}


def test_every_cell_was_recorded_on_every_terraform() -> None:
    tools = {name.partition(" ")[0] for name in RECORDS}
    assert tools
    assert set(RECORDS) == {f"{tool} {cell}" for tool in tools for cell in cells()}


def test_the_events_of_a_plan_alone_would_refuse_good_applies() -> None:
    wrong = {name.partition(" ")[2] for name, record in RECORDS.items() if judge_by_events(record)}
    assert {"destroy × gone", "moved and destroy × none", "deposed × gone"} <= wrong


def test_what_neither_plan_nor_refresh_took_out_may_not_be_missing() -> None:
    for name, record in RECORDS.items():
        for lost in _kept(record):
            without = {**record, "after": [one for one in record["after"] if one != lost]}
            assert judge(without) != "" or _is_deleted(record, lost), (name, lost)


def _kept(record: Record) -> list[list[Any]]:
    """Return the managed objects that were stored before and are after."""
    return [one for one in record["after"] if one in record["stored"] and one[1] == "managed"]


def _is_deleted(record: Record, lost: list[Any]) -> bool:
    """Whether the plan deletes or replaces it: that this failed in this very cell is why it is still there."""
    changes = [event["change"] for event in record["events"] if event.get("change")]
    doomed = {change["resource"]["addr"] for change in changes if change["action"] in {"delete", "replace", "remove"}}
    return str(ObjectKey(*lost).address()) in doomed
