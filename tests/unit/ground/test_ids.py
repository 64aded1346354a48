from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from interlock.ids import RandomIds, run_id

INSTANTS = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
CHANCE = st.integers(0, 2**35 - 1)


@given(INSTANTS, st.integers(1, 10**12), CHANCE, CHANCE)
def test_run_ids_sort_as_their_instants(at: datetime, later_ms: int, one: int, other: int) -> None:
    later = min(at + timedelta(milliseconds=later_ms), datetime(2900, 1, 1, tzinfo=UTC))
    assert run_id(at, one) < run_id(later, other)


def test_ids_are_short_safe_and_never_the_same() -> None:
    ids = RandomIds()
    drawn = {ids.fresh() for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(len(name) == 26 and name.isalnum() for name in drawn)
    assert len(ids.run(datetime(2026, 1, 1, tzinfo=UTC))) == 16
    assert len(ids.secret()) >= 43
