from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from interlock.lock.claim import WHOLE_STATE
from interlock.lock.lease import Holder, Lease, has_lapsed, renew
from interlock.lock.ticket import Priority

T0 = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HOLDER = Holder(
    ticket="t",
    run="r",
    who="w",
    info="",
    claim=WHOLE_STATE,
    priority=Priority.APPLY,
    lock_id=None,
    token=7,
    lease=Lease(lease_s=60, granted_at=T0, renewed_at=T0),
)


def test_a_lease_lapses_when_its_seconds_are_over() -> None:
    assert not has_lapsed(HOLDER, T0 + timedelta(seconds=59))
    assert has_lapsed(HOLDER, T0 + timedelta(seconds=60))


def test_a_renewal_extends_the_lease_and_beats() -> None:
    renewed = renew(HOLDER, T0 + timedelta(seconds=50))
    assert renewed.lease.beat == 1
    assert not has_lapsed(renewed, T0 + timedelta(seconds=109))
    assert renewed.lease.granted_at == T0


def test_a_renewal_by_a_clock_that_went_back_beats_and_shortens_nothing() -> None:
    renewed = renew(HOLDER, T0 - timedelta(seconds=59))
    assert renewed.lease.beat == 1
    assert renewed.lease.renewed_at == T0


@pytest.mark.promise("P5")
def test_a_heartbeat_of_a_clock_that_was_a_day_ahead_keeps_no_dead_lease_valid() -> None:
    ahead = renew(HOLDER, T0 + timedelta(days=1))
    assert has_lapsed(ahead, T0 + timedelta(seconds=60)), "recovery may look for evidence at once"
    again = renew(ahead, T0 + timedelta(seconds=61))
    assert again.lease.renewed_at == T0 + timedelta(seconds=61)
    assert not has_lapsed(again, T0 + timedelta(seconds=62))


@pytest.mark.parametrize(("seconds", "lapsed"), [(-60, False), (-61, True), (0, False), (59.9, False), (60, True)])
def test_a_renewal_is_believed_up_to_one_lease_ahead(seconds: float, lapsed: bool) -> None:
    assert has_lapsed(HOLDER, T0 + timedelta(seconds=seconds)) is lapsed
