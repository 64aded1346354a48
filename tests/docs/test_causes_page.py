from pathlib import Path

from interlock.diagnosis import Category

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "causes.md"


def test_every_cause_is_documented_with_its_next_command() -> None:
    text = PAGE.read_text("utf-8")
    for category in Category:
        assert f"| `{category.value}` |" in text
        assert f"- `{category.value}`: " in text
