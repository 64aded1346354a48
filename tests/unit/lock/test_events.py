from __future__ import annotations

import pytest

from interlock.errors import UsageError
from interlock.lock.events import ID_MAX, LEASE_S_MAX, TEXT_MAX, LockIdBound, Paused, Released, Requested, Withdrawn


def request(
    *, ticket: str = "t", who: str = "w", lease_s: float = 60, patience_s: float = 40, lock_id: str | None = None
) -> Requested:
    return Requested(ticket=ticket, who=who, lease_s=lease_s, patience_s=patience_s, lock_id=lock_id)


def test_a_request_within_its_bounds_is_accepted() -> None:
    assert request(ticket="t" * ID_MAX, who="w" * TEXT_MAX, lease_s=LEASE_S_MAX).queue


def test_a_ticket_must_not_be_empty_nor_endless() -> None:
    for ticket in ("", "t" * (ID_MAX + 1)):
        with pytest.raises(UsageError, match="ticket"):
            request(ticket=ticket)


def test_a_lock_id_must_not_be_empty() -> None:
    with pytest.raises(UsageError, match="lock id"):
        request(lock_id="")
    with pytest.raises(UsageError, match="lock id"):
        LockIdBound(ticket="t", token=1, lock_id="")


@pytest.mark.parametrize("lease_s", [0.0, -1.0, LEASE_S_MAX + 1, float("nan"), float("inf")])
def test_a_lease_out_of_bounds_is_refused(lease_s: float) -> None:
    with pytest.raises(UsageError, match="lease"):
        request(lease_s=lease_s)


@pytest.mark.parametrize("run", ["/home/anna/app", "../app", ".", "..", "a/b", "..\\app", "a\0b"])
def test_the_id_of_a_run_is_no_path(run: str) -> None:
    with pytest.raises(UsageError, match="run id"):
        Requested(ticket="t", run=run, who="w", lease_s=60, patience_s=40)


def test_a_patience_out_of_bounds_is_refused() -> None:
    with pytest.raises(UsageError, match="patience"):
        request(patience_s=0)


def test_texts_are_bounded() -> None:
    with pytest.raises(UsageError, match="who"):
        request(who="w" * (TEXT_MAX + 1))
    with pytest.raises(UsageError, match="reason"):
        Paused(by="anna", reason="r" * (TEXT_MAX + 1))
    with pytest.raises(UsageError, match="by"):
        Withdrawn(ticket="t", by="b" * (TEXT_MAX + 1))


def test_half_a_surrogate_pair_is_refused_because_it_could_not_be_stored() -> None:
    with pytest.raises(UsageError, match="not text"):
        request(who="\ud800")
    assert request(who="Jürgen 😀").who == "Jürgen 😀"


def test_a_release_names_something() -> None:
    with pytest.raises(UsageError):
        Released()
