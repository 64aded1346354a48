"""The page of backends says of each what tests show, and lists every backend on which runs work."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from interlock.existing.opening import OPENED
from interlock.site.kinds import KINDS, WITH_QUEUE, Way

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.promise("P11")


@pytest.fixture(scope="module")
def writer() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "write_backends.py"))


def test_what_is_said_to_hold_on_a_backend_a_test_shows(writer: dict[str, Any]) -> None:
    assert writer["unshown"](writer["collect"]()) == []


def test_the_page_is_the_one_that_the_marks_make(writer: dict[str, Any]) -> None:
    text = writer["PAGE"].read_text("utf-8")
    assert text == writer["page"](writer["collect"]()), "run python scripts/write_backends.py"


def test_every_backend_on_which_runs_work_has_a_row_and_no_other_is_said_to(writer: dict[str, Any]) -> None:
    types = {row for row in writer["ROWS"] if row not in {"own", "gitlab"}}
    assert types | {"remote"} == set(WITH_QUEUE)
    assert not set(writer["REFUSED"]) & set(WITH_QUEUE)
    assert set(WITH_QUEUE) <= set(OPENED)
    assert {name for name, kind in KINDS.items() if kind.way is Way.DOOR} == {
        "http",
        "pg",
        "azurerm",
        "consul",
        "kubernetes",
    }


def test_the_pages_name_the_same_backends_as_the_table(writer: dict[str, Any]) -> None:
    where = (ROOT / "docs" / "explanation" / "where-the-state-is.md").read_text("utf-8")
    adapters = (ROOT / "docs" / "reference" / "adapters.md").read_text("utf-8")
    for name in WITH_QUEUE:
        assert f"`{name}`" in where, name
        assert f"`{name}`" in adapters, name
    for name in writer["REFUSED"]:
        assert f"`{name}`" not in where.split("| refused")[0], name
