from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interlock.drift import audit
from interlock.drift.audit import CLOCKS, UnderWay, find_cause, interval, place, query, read_events
from interlock.drift.finding import Cause, Kind

OURS = "client-terraform"


def row(
    at: datetime, *, client: str = "other", action: str = "Update", who: str = "Ana", changed: str = "description"
) -> Any:
    return {
        "eventDate": at.isoformat().replace("+00:00", "Z"),
        "action": action,
        "user": {"id": "u", "name": who},
        "client": {"id": client},
        "entity": {"id": "q-1", "name": "Q"},
        "propertyChanges": [{"property": changed, "oldValues": [], "newValues": []}],
    }


def cause(
    rows: list[Any], since: datetime | None, kind: Kind = Kind.CHANGED, root: str = "description"
) -> Cause | None:
    return find_cause(read_events(rows), obj="q-1", kind=kind, roots=frozenset({root}), our_client=OURS, since=since)


def test_the_newest_stranger_who_touched_the_attribute_is_named(now: datetime) -> None:
    rows = [
        row(now, who="Run", client=OURS),
        row(now - timedelta(minutes=1), who="Ben", changed="name"),
        row(now - timedelta(minutes=2), who="Ana"),
        row(now - timedelta(minutes=3), who="Eve"),
    ]
    found = cause(rows, None)
    assert found is not None
    assert (found.who, found.ours) == ("Ana", False)


def test_properties_are_matched_whatever_their_spelling(now: datetime) -> None:
    rows = [row(now, who="Ben", changed="name"), row(now - timedelta(hours=1), who="Ana", changed="mediaSettings")]
    found = cause(rows, None, root="media_settings_call")
    assert found is not None
    assert found.who == "Ana"


def test_what_is_older_than_the_state_caused_nothing(now: datetime) -> None:
    assert cause([row(now - timedelta(hours=3))], now) is None
    assert cause([row(now - timedelta(minutes=30))], now) is not None, "clocks differ, and runs read before they write"


def test_a_deletion_causes_what_is_gone_and_nothing_else_does(now: datetime) -> None:
    rows = [row(now, action="Update"), row(now - timedelta(minutes=1), action="Delete", who="Ben")]
    gone = cause(rows, None, Kind.GONE)
    assert gone is not None
    assert gone.who == "Ben"
    updated = cause(rows, None)
    assert updated is not None
    assert updated.who == "Ana"
    assert cause(rows, None, Kind.UNMANAGED) is None


def test_our_own_client_is_named_when_nobody_else_was_there(now: datetime) -> None:
    found = cause([row(now, client=OURS, who="Run")], None)
    assert found is not None
    assert found.ours


def test_the_interval_begins_before_the_last_write_and_is_bounded(now: datetime) -> None:
    since, until, cut = interval(since=now - timedelta(days=2), now=now, whole=False)
    assert (since, cut) == (now - timedelta(days=2) - audit.OVERLAP, False)
    assert until > now
    assert interval(since=now - timedelta(days=99), now=now, whole=False)[2]
    assert interval(since=now, now=now, whole=True)[0] == now - timedelta(days=audit.MAX_DAYS)
    assert query(since, until)["interval"] == "2026-11-22T08:00:00.000Z/2026-11-24T09:05:00.000Z"


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "entity", "user"]), inner),
    max_leaves=8,
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["entity", "eventDate", "user", "client", "propertyChanges"]), json_values)
    )
)
def test_events_of_any_shape_are_read_or_passed_over(rows: Any) -> None:
    assert all(event.entity for event in read_events(rows))
    assert read_events("nonsense") == []


def test_a_change_with_terraforms_client_belongs_to_a_run_only_while_one_was_under_way(now: datetime) -> None:
    hour = timedelta(hours=1)
    times = [
        UnderWay(run="r2", begun=now - hour, ended=None),
        UnderWay(run="r1", begun=now - 3 * hour, ended=now - 2 * hour),
    ]

    def placed(at: datetime, *, ours: bool = True, since: datetime | None = now - 9 * hour) -> tuple[str, bool]:
        found = place(Cause(who="Terraform", client=OURS, at=at, ours=ours), times, known_since=since)
        return found.run, found.outside

    assert placed(now) == ("r2", False)
    assert placed(now - 2.5 * hour) == ("r1", False)
    assert placed(now - 2 * hour + CLOCKS) == ("r1", False), "two clocks"
    assert placed(now - 1.5 * hour) == ("", True)
    assert placed(now - 9.5 * hour) == ("", False), "records of runs do not reach so far"
    assert placed(now - 1.5 * hour, since=None) == ("", False), "nothing is known of runs"
    assert placed(now - 1.5 * hour, ours=False) == ("", False)
