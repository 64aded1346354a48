"""A run at a glance: written in one step, and read whatever version wrote it."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.run.summary import SUMMARY, Summary, find_summary, pace_s, recent, store_summary, write_summary
from interlock.testing.clock import START


def summary(**values: object) -> Summary:
    told = {"run": "r", "state": "s", "operation": "apply", "who": "a", "directory": "d", "phase": "queued", **values}
    return Summary(started_at=START, **told)  # type: ignore[arg-type]  # checked by msgspec


@pytest.mark.promise("P5")
@pytest.mark.parametrize(
    ("starting", "says"), [("", ""), ("apply", "it was starting terraform apply"), (None, "an older Interlock")]
)
def test_a_record_says_that_a_process_may_be_missing_in_it(starting: str | None, says: str) -> None:
    gap = summary(starting=starting).gap
    assert says in gap
    assert bool(gap) is bool(says)


def test_a_record_of_an_older_version_says_nothing_of_what_it_did_not_write(tmp_path: Path) -> None:
    old = {
        "run": "r",
        "state": "s",
        "operation": "apply",
        "who": "a",
        "directory": "d",
        "phase": "ended",
        "started_at": "2026-11-24T08:00:00Z",
        "a_field_of_a_newer_one": 1,
    }
    (tmp_path / SUMMARY).write_text(json.dumps(old))
    found = find_summary(tmp_path)
    assert found is not None
    assert (found.starting, found.seen, found.store, found.in_flight) == (None, None, None, [])


@pytest.mark.parametrize(
    ("released", "ended", "held_s"), [(3.0, 9.0, 3.0), (None, 9.0, 9.0), (None, None, None), (3.0, None, 3.0)]
)
def test_a_hold_ends_when_the_state_is_given_back_or_the_run_ended(
    released: float | None, ended: float | None, held_s: float | None
) -> None:
    def at(seconds: float | None) -> object:
        return None if seconds is None else START + timedelta(seconds=seconds)

    assert summary(held_at=START, released_at=at(released), ended_at=at(ended)).held_s == held_s
    assert summary(released_at=at(released), ended_at=at(ended)).held_s is None, "it never held"


def test_it_is_replaced_in_one_step_and_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    store_summary(tmp_path, summary(phase="planning"))
    folder = tmp_path / "none"
    write_summary(folder, summary())
    with pytest.raises(OSError, match="none"):
        store_summary(folder, summary())
    assert [path.name for path in tmp_path.iterdir()] == [SUMMARY]
    found = find_summary(tmp_path)
    assert found is not None
    assert found.phase == "planning"


def test_a_pace_is_of_the_latest_holds_that_went_well() -> None:
    def held(seconds: float, status: int) -> Summary:
        return summary(held_at=START, released_at=START + timedelta(seconds=seconds), exit=status)

    assert pace_s([held(2, 0), held(4, 2), held(900, 34)]) == 3.0
    assert pace_s([held(1, 0)] * 20 + [held(99, 0)] * 40) == 1.0
    assert pace_s([summary(), held(9, 1)]) is None


def test_runs_are_listed_newest_first_past_what_cannot_be_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        write_summary(tmp_path / name, summary(run=name, state="t" if name == "b" else "s"))
    (tmp_path / "d").mkdir()
    assert [found.run for found in recent(tmp_path, limit=9)] == ["c", "b", "a"]
    assert [found.run for found in recent(tmp_path, limit=9, state="s")] == ["c", "a"]
