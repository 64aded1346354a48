"""Wordings of backends, clouds and providers, one a category, beside the whole logs of the corpus."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from interlock.diagnosis import diagnose, read_text

WORDINGS: list[dict[str, Any]] = tomllib.loads((Path(__file__).parents[2] / "corpus" / "wordings.toml").read_text())[
    "wording"
]


@pytest.mark.parametrize("wording", WORDINGS, ids=lambda wording: wording["category"])
def test_each_wording_has_its_category(wording: dict[str, str]) -> None:
    causes = diagnose(read_text(wording["text"])).causes
    assert [cause.category.value for cause in causes][:1] == [wording["category"]]
