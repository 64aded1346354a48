"""A brief run of the chaos that `make chaos` makes for minutes: processes killed and stopped at random, one seed."""

from pathlib import Path

import pytest
from tests.chaos.trouble import Plan, make_trouble
from tests.chaos.verdict import judge

pytestmark = pytest.mark.e2e


def test_every_promise_holds_while_processes_are_killed_and_stopped_at_random(tmp_path: Path) -> None:
    story = make_trouble(tmp_path, Plan(seed=20261124, seconds=10.0, pipelines=3))
    assert judge(story) == []
    assert story.counts["writers killed"] > 0
    assert len(story.attempts) > 2
