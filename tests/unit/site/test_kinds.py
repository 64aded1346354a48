"""The table of what can be done with a state, by where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.existing import Found
from interlock.site.kinds import KINDS, WITH_QUEUE, Can, check_can, has_queue, kind_of
from interlock.site.ref import Existing, StateRef
from interlock.site.which import own_ref


def elsewhere(kind: str) -> StateRef:
    where = Existing(found=Found(type=kind))
    return StateRef(queue=f"{kind}/x", address=f"{kind}://x", where=where, directory=Path("/d"))


def test_our_own_backend_can_everything() -> None:
    own = own_ref("prod")
    for can in Can:
        check_can(own, can, "prod")
    assert has_queue(own)


@pytest.mark.parametrize("kind", ["s3", "local", "pg", "http", "remote", "never-heard-of"])
def test_what_a_backend_cannot_do_is_refused_with_what_it_can(kind: str) -> None:
    ref = elsewhere(kind)
    for can in set(Can) - kind_of(ref).can:
        with pytest.raises(UsageError) as raised:
            check_can(ref, can, "./app")
        assert "interlock " in raised.value.fix


def test_runs_work_where_a_row_names_what_keeps_the_queue() -> None:
    assert {name for name, kind in KINDS.items() if kind.queue is not None} == set(WITH_QUEUE)
    assert {"http", "local", "pg", "s3"} <= set(WITH_QUEUE)
    assert not has_queue(elsewhere("never-heard-of"))


def test_a_refusal_of_the_quarantine_names_the_folder_of_our_copies() -> None:
    with pytest.raises(UsageError, match="no quarantine") as raised:
        check_can(elsewhere("pg"), Can.QUARANTINE, "./app", kept=Path("/home/kept/x"))
    assert "/home/kept/x" in raised.value.why
