from pathlib import Path

from interlock.diagnosis import Category
from interlock.diagnosis.causes import RULES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "causes.md"


def test_every_cause_is_documented_with_its_next_command() -> None:
    text = PAGE.read_text("utf-8")
    for category in Category:
        assert f"| `{category.value}` |" in text
        assert f"- `{category.value}`: " in text


def test_every_wording_with_an_answer_of_its_own_is_documented() -> None:
    text = PAGE.read_text("utf-8")
    for rule in RULES:
        for sign in rule.signs:
            assert not sign.meaning or f"| `{rule.category.value}` | {sign.meaning} |" in text
