"""The picture of a run's phases is the table that the supervisor keeps to."""

import re
from pathlib import Path

from interlock.run.phases import HOLDING, STEPS, Phase

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "a-run.md"


def test_the_picture_of_the_phases_has_every_legal_step_and_no_other() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", PAGE.read_text("utf-8"), re.MULTILINE))
    assert drawn == {(start.value, end.value) for start, ends in STEPS.items() for end in ends}


def test_the_table_says_of_each_phase_whether_it_holds_the_state() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (yes|no) \|$", PAGE.read_text("utf-8"), re.MULTILINE))
    assert rows == {phase.value: "yes" if phase in HOLDING else "no" for phase in Phase}
