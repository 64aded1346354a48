from datetime import UTC, datetime

import pytest

from interlock.diagnosis.noise import undress


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Error: x", "Error: x"),
        ("2026-11-24T07:10:00.1234567Z Error: x", "Error: x"),
        ("2026-11-24T07:10:00.123456Z 01O Error: x", "Error: x"),
        ("2026-11-24T07:10:00.123456Z 00E+Error: x", "Error: x"),
        ("deploy\tTerraform Plan\t2026-11-24T07:10:00.1234567Z Error: x", "Error: x"),
        ("[2026-11-24T07:10:00.123Z] Error: x", "Error: x"),
        ("15:20:01  Error: x", "Error: x"),
        ("07:30:01.100 STDERR [prod/routing] terraform: Error: x", "Error: x"),
        ("##[error]Error: x", "Error: x"),
        ("::error file=a.tf,line=3::Error: x", "Error: x"),
        ("\x1b[31m│\x1b[0m \x1b[0m\x1b[1m\x1b[31mError: \x1b[0m\x1b[0m\x1b[1mx\x1b[0m", "Error: x"),
        ("[31m│[0m [0m[1m[31mError: [0m[0m[1mx[0m", "Error: x"),
        ("â”‚ Error: x", "Error: x"),
        ("Γöé Error: x", "Error: x"),
        ("section_start:1764000000:step_script\r\x1b[0KError: x", "Error: x"),
        ("progress 10%\rprogress 100%\rError: x\r", "Error: x"),
        ("Error: x   ", "Error: x"),
        ("\ufeffError: x", "Error: x"),
        ("", ""),
    ],
)
def test_what_the_way_to_us_added_is_stripped(raw: str, text: str) -> None:
    assert undress(raw).text == text


def test_the_instant_and_the_mark_of_the_ci_system_are_kept() -> None:
    clean = undress("2026-11-24T07:10:00.1234567Z ##[error]│ Error: x")
    assert clean.at == datetime(2026, 11, 24, 7, 10, 0, 123456, tzinfo=UTC)
    assert (clean.mark, clean.box) == ("error", "│")


def test_a_line_of_terraforms_own_log_is_told_apart() -> None:
    clean = undress("2026-01-13T10:16:16.240Z [ERROR] provider.x: panic: y")
    assert (clean.debug, clean.text) == ("ERROR", "provider.x: panic: y")


def test_indentation_is_content() -> None:
    assert undress("        Error: a heredoc's line").text == "        Error: a heredoc's line"


def test_an_impossible_time_is_no_time() -> None:
    assert undress("2026-99-24T07:10:00Z Error: x").at is None
