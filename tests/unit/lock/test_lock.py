from __future__ import annotations

from interlock.lock import NEW_LOCK, departure_of, holder_of, may_write, stage_of, waiter_of
from interlock.lock.lock import Stage


def test_a_new_lock_has_nobody() -> None:
    assert holder_of(NEW_LOCK, ticket="a") is None
    assert waiter_of(NEW_LOCK, lock_id="L") is None
    assert departure_of(NEW_LOCK, lock_id="L") is None
    assert stage_of(NEW_LOCK, "a") is Stage.ABSENT
    assert not may_write(NEW_LOCK, 0)


def test_naming_nobody_finds_nobody() -> None:
    assert holder_of(NEW_LOCK) is None
