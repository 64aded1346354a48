"""What a value becomes in a file is what every reader of that file reads back."""

from __future__ import annotations

import io
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from interlock.ci.quoting import bare_text, checked_spelling, expression_text, job_word, shell_word, yaml_scalar
from interlock.errors import UsageError

WORDS = (
    *("null", "Null", "~", "", "true", "True", "no", "NO", "off", "y", "N", "1", "1.0", "0o17", "017", "0x1F", "1e3"),
    *("1_000", "12:30:45", "2026-11-30", "2026-11-30T12:00:00Z", ".inf", ".NaN", "=", "<<", "-", "?", ":", "- a"),
    *("*a", "&a", "!a", "%a", "@a", "`a", "a: b", "a #b", "#b", "[a]", "{a}", ",", "|", ">", "'", '"', "a\\b", " a "),
    *("a\nb", "a\tb", "\x85", "\u2028", "\ufeff", "\U0001f600", "---", "...", "a:", "\x00", "\x1b]52;c;\x07"),
)
TEXTS = st.text(st.characters(exclude_characters="$", exclude_categories=["Cs"]), max_size=30)


def read(text: str, version: tuple[int, int]) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.version = version
    return reader.load(io.StringIO(text))


def same_in_every_reader(value: str) -> None:
    spelled = yaml_scalar(value)
    for version in ((1, 1), (1, 2)):
        for text in (f"key: {spelled}\n", f"key: {spelled} # comment\n"):
            assert read(text, version) == {"key": value}
        assert read(f"key: [{spelled}, x]\n", version) == {"key": [value, "x"]}
        assert read(f"- {spelled}\n", version) == [value]


@pytest.mark.parametrize("value", WORDS)
def test_a_name_that_yaml_takes_for_something_else_stays_a_name(value: str) -> None:
    same_in_every_reader(value)


@given(TEXTS)
def test_any_text_is_read_back_as_that_text(value: str) -> None:
    same_in_every_reader(value)


@given(st.integers())
def test_a_number_stays_a_number(value: int) -> None:
    assert read(f"key: {yaml_scalar(value)}", (1, 2)) == {"key": value}


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "value", ["${{ secrets.X }}", "$(X)", "$[ variables.X ]", "$X", "$$", "a$b", "$[[ inputs.x ]]"]
)
def test_what_a_ci_system_would_evaluate_goes_into_no_file(value: str) -> None:
    for spell in (yaml_scalar, expression_text, bare_text, job_word):
        with pytest.raises(UsageError):
            spell(value)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=8))
@settings(max_examples=25, deadline=None)
def test_a_shell_reads_each_word_back(values: list[str]) -> None:
    script = "printf '%s\\0' x " + " ".join(shell_word(value) for value in values)
    result = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert result.stdout.split(b"\0")[1:-1] == [value.encode() for value in values]


def test_a_quote_ends_no_text_of_an_expression() -> None:
    assert expression_text("a'b") == "'a''b'"
    with pytest.raises(UsageError):
        expression_text("a\nb")


def test_a_text_that_nobody_spelled_gets_into_no_template() -> None:
    assert checked_spelling(yaml_scalar("no")) == '"no"'
    for value in ("text", True, None):
        with pytest.raises(TypeError):
            checked_spelling(value)


def test_words_of_jobs_and_comments_are_plain() -> None:
    assert job_word("prod-routing_1") == "prod-routing_1"
    assert bare_text("17 4 * * 1-5") == "17 4 * * 1-5"
    for value in ("", "A b", "a\nb", "-a"):
        with pytest.raises(UsageError):
            job_word(value)
    for value in ('a"b', "a\nb", "a'"):
        with pytest.raises(UsageError):
            bare_text(value)
