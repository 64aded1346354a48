import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import PlanStale, UsageError
from interlock.run.saved_plan import PlannedFrom, check_current, read_planned_from


def plan_bytes(state: bytes = b'{"version":4,"lineage":"l-1","serial":7}', name: str = "tfstate") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, state)
    return buffer.getvalue()


def test_a_plan_says_which_state_it_was_made_from() -> None:
    assert read_planned_from(plan_bytes()) == PlannedFrom(lineage="l-1", serial=7)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_plan_are_refused_with_an_error_not_a_crash(junk: bytes) -> None:
    with pytest.raises(UsageError, match="not a saved plan"):
        read_planned_from(junk)


def test_a_zip_without_a_state_is_no_plan() -> None:
    with pytest.raises(UsageError):
        read_planned_from(plan_bytes(name="other"))
    with pytest.raises(UsageError):
        read_planned_from(plan_bytes(b"[1"))


def test_a_plan_of_the_current_state_is_current() -> None:
    check_current(PlannedFrom(lineage="l", serial=3), lineage="l", serial=3)
    check_current(PlannedFrom(lineage="", serial=0), lineage="", serial=0)


@pytest.mark.parametrize("serial", [2, 4])
def test_a_plan_of_another_serial_is_stale_in_both_directions(serial: int) -> None:
    with pytest.raises(PlanStale, match="stale"):
        check_current(PlannedFrom(lineage="l", serial=3), lineage="l", serial=serial)


def test_a_plan_of_another_lineage_belongs_to_another_state() -> None:
    with pytest.raises(PlanStale, match="another state"):
        check_current(PlannedFrom(lineage="l", serial=3), lineage="m", serial=3)


def test_a_plan_made_from_nothing_is_stale_once_there_is_a_state() -> None:
    with pytest.raises(PlanStale):
        check_current(PlannedFrom(lineage="", serial=0), lineage="l", serial=1)
