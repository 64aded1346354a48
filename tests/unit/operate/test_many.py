"""Several roots in one command: what may start when, what is held back, and the one exit status."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.cli.status import table
from interlock.operate.many import GOOD, Schedule, make_schedule, worst

CHAIN = make_schedule(["net", "solo", "app", "web"], [("app", "net"), ("web", "app")], jobs=2)
STATUSES = [status.exit for status in table()]


def test_a_root_starts_when_all_that_it_needs_has_ended_well() -> None:
    assert CHAIN.startable(set(), {}) == ("net", "solo")
    assert CHAIN.startable({"net", "solo"}, {}) == ()
    assert CHAIN.startable({"solo"}, {"net": 0}) == ("app",)
    assert CHAIN.startable(set(), {"net": 2, "solo": 0, "app": 0}) == ("web",)


def test_a_failed_root_holds_back_those_behind_it_and_no_others() -> None:
    ended = {"net": 34}
    assert CHAIN.held_back(ended) == {"app": "net", "web": "net"}
    assert CHAIN.startable(set(), ended) == ("solo",)
    assert CHAIN.held_back({"net": 0, "app": 41}) == {"web": "app"}


def test_when_all_is_destroyed_what_needs_others_comes_first() -> None:
    back = make_schedule(["net", "app", "web"], [("app", "net"), ("web", "app")], jobs=4, reverse=True)
    assert back.startable(set(), {}) == ("web",)
    assert back.held_back({"web": 41}) == {"app": "web", "net": "web"}


@given(st.data())
def test_every_root_is_started_once_or_held_back_and_never_more_than_allowed(data: st.DataObject) -> None:
    names = [f"r{number}" for number in range(data.draw(st.integers(1, 7)))]
    pairs = [(later, earlier) for earlier, later in itertools.combinations(names, 2) if data.draw(st.booleans())]
    schedule: Schedule = make_schedule(
        names, pairs, jobs=data.draw(st.integers(1, 4)), reverse=data.draw(st.booleans())
    )
    running: set[str] = set()
    ended: dict[str, int] = {}
    started: list[str] = []
    while True:
        for name in schedule.startable(running, ended):
            assert all(ended.get(before) in GOOD for before in schedule.after[name])
            running.add(name)
            started.append(name)
        assert len(running) <= schedule.jobs
        if not running:
            break
        done = data.draw(st.sampled_from(sorted(running)))
        running.remove(done)
        ended[done] = data.draw(st.sampled_from([0, 0, 2, 34]))
    held = schedule.held_back(ended)
    assert sorted([*started, *held]) == sorted(names)
    assert all(ended[root] not in GOOD for root in held.values())


@pytest.mark.promise("P8")
def test_the_exit_status_of_several_runs_is_that_of_the_worst_by_one_order() -> None:
    assert worst([]) == 0
    for one in STATUSES:
        assert worst([one]) == one, "each status of the table has a place in the order"
    for first, second in itertools.product(STATUSES, repeat=2):
        found = worst([first, second])
        assert found in {first, second}
        assert found == worst([second, first])
    for some in itertools.combinations(STATUSES, 3):
        assert worst(some) == worst([worst(some[:2]), some[2]])


@pytest.mark.promise("P8")
def test_no_failure_is_hidden_by_success_by_changes_or_by_an_interruption() -> None:
    saved = {130, 143}
    for failed in set(STATUSES) - GOOD - saved:
        assert worst([0, failed, 2, 130, 143]) == failed
        if failed != 131:
            assert worst([failed, 131]) == 131, "a state that is not saved comes before everything"
    for stopped in saved:
        assert worst([0, stopped, 2]) == stopped
    assert worst([0, 2, 0]) == 2
    assert worst([0, 77]) == 1
