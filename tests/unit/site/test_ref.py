"""A reference to a state, as plain values."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.existing import Found
from interlock.ids import RandomIds
from interlock.site.ref import Existing, Own, StateRef, is_lock_id, is_run_id, own_address
from interlock.testing.clock import START


def test_a_state_on_which_runs_cannot_work_can_be_looked_at_and_refuses_runs() -> None:
    refusal = UsageError("runs cannot use backend gcs yet")
    where = Existing(found=Found(type="gcs"), refusal=refusal)
    ref = StateRef(queue="gcs/x", address="gcs://x", where=where, directory=Path("/d"))
    assert (ref.is_own, ref.found.type, ref.root_module) == (False, "gcs", Path("/d"))
    with pytest.raises(UsageError) as raised:
        ref.for_runs()
    assert raised.value is refusal
    own = StateRef(queue="prod", address=own_address("prod"), where=Own())
    assert (own.for_runs(), own.store) == (own, "")


def test_ids_of_runs_and_locks_are_told_by_their_form() -> None:
    run = RandomIds().run(START)
    lock = "6a3a2b1c-0000-4000-8000-123456789abc"
    assert (is_run_id(run), is_lock_id(run)) == (True, False)
    assert (is_run_id(lock), is_lock_id(lock)) == (False, True)
    assert not is_run_id("prod")
    assert not is_lock_id(lock.upper())
