"""The page of triggers says what the tests saw, and that the rest was not run."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "write_pipelines.py"))


def test_the_page_is_the_one_made_from_what_the_tests_saw() -> None:
    assert SCRIPT["PAGE"].read_text() == SCRIPT["page"](SCRIPT["read_cells"]()).rstrip("\n") + "\n"


def test_every_cell_that_was_seen_has_a_place_on_the_page() -> None:
    places = {
        (platform, trigger, home)
        for platform in SCRIPT["PLATFORMS"]
        for trigger in SCRIPT["TRIGGERS"]
        for home in SCRIPT["HOMES"]
    }
    seen = {
        (platform, trigger, home)
        for platform, triggers in SCRIPT["read_cells"]().items()
        for trigger, homes in triggers.items()
        for home in homes
    }
    assert seen
    assert seen <= places


def test_what_no_test_has_run_is_called_so() -> None:
    text = SCRIPT["page"]({"github": {"merged": {"own": "apply 0"}}})
    assert "| GitHub Actions | apply 0 | *not run* | *not run* |" in text
    assert "1 of 120 cells" in text
