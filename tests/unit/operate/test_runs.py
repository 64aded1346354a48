"""Runs of a home: found and judged abandoned."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from interlock.errors import BackendUnavailable, UsageError
from interlock.host import ProcessName, name_process
from interlock.lock import Requested
from interlock.operate.runs import bring_next, cancel_run, find_run, is_abandoned, runs_of
from interlock.run.summary import Summary, write_summary
from interlock.testing.clock import START, FakeClock
from interlock.testing.home import memory_home

if TYPE_CHECKING:
    from interlock.home.interface import Home


def a_run(runs: Path, run: str, state: str = "prod", **more: object) -> Path:
    (runs / run).mkdir(parents=True)
    summary = Summary(
        run=run, state=state, operation="plan", who="me", directory="/d", phase="applying", started_at=START
    )
    for name, value in more.items():
        setattr(summary, name, value)
    write_summary(runs / run, summary)
    return runs / run


def test_a_run_is_named_by_the_beginning_of_its_id_when_that_is_one(tmp_path: Path) -> None:
    for run in ("0aaa", "0abb", "0bbb"):
        a_run(tmp_path, run)
    assert find_run(tmp_path, "0b").name == "0bbb"
    assert find_run(tmp_path, "latest").name == "0bbb"
    with pytest.raises(UsageError, match="2 runs begin with"):
        find_run(tmp_path, "0a")
    with pytest.raises(UsageError, match="no run 'x'"):
        find_run(tmp_path / "none", "x")


@pytest.mark.promise("P11")
async def test_the_runs_of_a_state_are_found_by_any_word_for_it(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    for run, state in (("0aaa", "prod"), ("0abb", "test")):
        a_run(home.runs, run, state)
    for word in ("prod", "interlock:prod"):
        assert [one.run for one in await runs_of(word, home, {}, limit=5)] == ["0aaa"]


@pytest.mark.promise("P5")
def test_a_run_is_abandoned_only_when_its_supervisor_is_certainly_gone(tmp_path: Path) -> None:
    me = name_process(os.getpid())
    gone = ProcessName(**{**{name: getattr(me, name) for name in me.__struct_fields__}, "started": "1"})
    assert not is_abandoned(a_run(tmp_path, "0aaa", processes={"supervisor": me}))
    assert is_abandoned(a_run(tmp_path, "0abb", processes={"supervisor": gone}))
    assert not is_abandoned(a_run(tmp_path, "0abc", processes={"supervisor": gone}, exit=0))


def test_a_run_that_ended_or_whose_supervisor_is_gone_is_not_asked_to_stop(tmp_path: Path) -> None:
    a_run(tmp_path, "0aaa", exit=0)
    with pytest.raises(UsageError, match="has ended already"):
        cancel_run(tmp_path, "0aaa", FakeClock())


class SilentRecord:
    """A server's record of one run that says nothing more."""

    def __init__(self) -> None:
        self.asked = 0

    async def journal(self, *_: object, **__: object) -> tuple[bytes, bool]:
        self.asked += 1
        return b"", False


@pytest.mark.promise("P8")
async def test_nobody_waits_for_ever_for_a_run_whose_state_was_taken_from_it(tmp_path: Path) -> None:
    home = memory_home(tmp_path)
    record = SilentRecord()
    far = SimpleNamespace(coordinator=home.coordinator, beside=home.beside, team_runs=record)
    folder = a_run(tmp_path / "followed", "0aaa")
    journal = folder / "journal.jsonl"
    journal.write_text("")
    assert not await bring_next(cast("Home", far), folder), "it may be on its way into the queue"
    journal.write_text('{"at":"2026-01-01T00:00:00Z","kind":"granted","facts":{"token":1}}\n')
    request = Requested(ticket="t", run="0aaa", who="me", lease_s=60.0, patience_s=60.0)
    seat = await home.coordinator.acquire("prod", request, timeout_s=1.0)
    assert not await bring_next(cast("Home", far), folder), "it holds"
    await home.coordinator.release("prod", ticket=seat.ticket, token=seat.token)
    record.asked = 0
    with pytest.raises(BackendUnavailable, match="has not told how it ended"):
        await bring_next(cast("Home", far), folder)
    assert record.asked == 2, "one that ended well has the time of two questions to say so"
