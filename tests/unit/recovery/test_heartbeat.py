from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from interlock.lock.claim import WHOLE_STATE
from interlock.lock.lease import Holder, Lease
from interlock.lock.ticket import Priority
from interlock.recovery import Says
from interlock.recovery.witnesses import heartbeat
from interlock.recovery.witnesses.heartbeat import Watch

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def holder(token: int = 1, beat: int = 0) -> Holder:
    lease = Lease(lease_s=6.0, granted_at=NOW, renewed_at=NOW, beat=beat)
    return Holder(
        ticket="t",
        run="r",
        who="me@here",
        info="apply",
        claim=WHOLE_STATE,
        priority=Priority.APPLY,
        lock_id=None,
        token=token,
        lease=lease,
    )


def test_a_heartbeat_stands_still_only_as_long_as_we_have_watched_it() -> None:
    watch = Watch()
    assert watch.look(holder(), monotonic_s=100.0) == 0.0
    assert watch.look(holder(), monotonic_s=104.0) == 4.0
    assert watch.look(holder(beat=1), monotonic_s=105.0) == 0.0
    assert watch.look(holder(beat=1), monotonic_s=111.0) == 6.0


def test_another_grant_is_watched_from_its_own_beginning() -> None:
    watch = Watch()
    watch.look(holder(), monotonic_s=0.0)
    assert watch.look(holder(token=2), monotonic_s=50.0) == 0.0


def test_wall_clocks_do_not_matter() -> None:
    watch = Watch()
    old = holder()
    ancient = replace(old, lease=replace(old.lease, renewed_at=datetime(1999, 1, 1, tzinfo=UTC)))
    assert watch.look(ancient, monotonic_s=0.0) == 0.0


def test_a_whole_lease_without_a_heartbeat_is_silence_and_less_is_nothing() -> None:
    assert heartbeat.testify(holder(), 6.0, source="s", now=NOW).says is Says.SILENT
    assert heartbeat.testify(holder(), 5.9, source="s", now=NOW).says is Says.NOTHING


def test_a_heartbeat_that_moved_is_life() -> None:
    assert heartbeat.moved(source="s", now=NOW).says is Says.ALIVE
