"""A brief run of the chaos that `make chaos` makes for minutes: processes killed and stopped at random, one seed."""

from pathlib import Path

import pytest
from tests.chaos.trouble import Plan, Story, make_trouble
from tests.chaos.verdict import judge, unchecked
from tests.desk import Desk

pytestmark = pytest.mark.e2e


BRIEF = Plan(seed=20261124, seconds=6.0, pipelines=3)
LONG = Plan(seed=20261125, seconds=25.0, pipelines=3)


@pytest.mark.promise("P1", "P2", "P3", "P4", "P5", "P6", "P8", "P9")
@pytest.mark.parametrize("plan", [BRIEF, pytest.param(LONG, marks=pytest.mark.slow)], ids=["brief", "long"])
def test_every_promise_holds_while_processes_are_killed_and_stopped_at_random(plan: Plan, tmp_path: Path) -> None:
    story = make_trouble(tmp_path, plan)
    assert judge(story) == []
    assert story.counts["writers killed"] > 0
    assert len(story.attempts) > 2


def test_a_chaos_in_which_nothing_happened_is_no_success(tmp_path: Path) -> None:
    told = list(unchecked(Story(desk=Desk(tmp_path), plan=Plan(seed=1, seconds=1.0, pipelines=1)), []))
    assert len(told) == 4
    assert any("a killed writer's commit" in line for line in told)
