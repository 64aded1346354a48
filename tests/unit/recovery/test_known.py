from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.recovery.known import Known, find_newer
from interlock.testing.clock import START


def seen(serial: int, *, lineage: str = "l", at_s: float | None = 0.0, digest: str = "") -> Known:
    at = None if at_s is None else START + timedelta(seconds=at_s)
    return Known(lineage=lineage, serial=serial, digest=digest or f"{lineage}{serial}", at=at, source="run r1")


def newer(*known: Known, serial: int = 3, at: datetime | None = START, digests: tuple[str, ...] = ()) -> int | None:
    found = find_newer(known, lineage="l", serial=serial, at=at, digests=frozenset({f"l{serial}", *digests}))
    return found.serial if found is not None else None


@pytest.mark.promise("P3")
def test_what_was_stored_later_and_is_no_version_any_more_was_lost() -> None:
    assert newer(seen(4, at_s=60)) == 4
    assert newer(seen(4, at_s=60), seen(5, at_s=90)) == 5
    assert newer(seen(1, lineage="other", at_s=60)) == 1, "a state of another lineage was stored there since"
    assert newer(seen(3, at_s=60, digest="other")) == 3, "another content of the same serial"


@pytest.mark.promise("P3")
def test_what_is_a_version_still_was_not_lost() -> None:
    assert newer(seen(4, at_s=60), digests=("l4",)) is None
    assert newer(seen(3)) is None
    assert newer() is None


@pytest.mark.promise("P3")
def test_who_puts_an_older_state_there_on_purpose_lost_nothing() -> None:
    assert newer(seen(4, at_s=-60)) is None
    assert newer(seen(9, lineage="other", at_s=-60)) is None


@pytest.mark.promise("P3")
@pytest.mark.parametrize(("at_s", "at"), [(0.0, START), (None, START), (60.0, None), (None, None)])
def test_within_one_second_and_without_times_the_serial_decides(at_s: float | None, at: datetime | None) -> None:
    assert newer(seen(4, at_s=at_s), at=at) == 4
    assert newer(seen(2, at_s=at_s), at=at) is None
    assert newer(seen(4, lineage="other", at_s=at_s), at=at) is None


@pytest.mark.promise("P3")
def test_where_nothing_is_stored_everything_known_is_lost_that_is_no_version() -> None:
    for at_s, digests in product((0.0, None), (frozenset[str](), frozenset({"l4"}))):
        found = find_newer([seen(4, at_s=at_s)], lineage="", serial=0, at=None, digests=digests)
        assert (found is None) == bool(digests)


@given(st.lists(st.integers(1, 30), max_size=8), st.integers(1, 30))
def test_a_state_that_only_grew_is_never_called_lost(serials: list[int], current: int) -> None:
    known = [seen(serial, at_s=float(serial)) for serial in serials if serial <= current]
    assert newer(*known, serial=current, at=START + timedelta(seconds=current)) is None
