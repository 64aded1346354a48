import json
import tracemalloc
from collections.abc import Iterator

from interlock.diagnosis.message import Kind, Message
from interlock.diagnosis.reader import MAX_BLOCK_LINES, MAX_HEREDOC_LINES, read_events, read_messages, read_text
from interlock.terraform.events import Diagnostic, Severity, Unparsed

BOXED = """\
╷
│ Error: Failed to delete division Banking: API Error: 400 - Scope may not be
│ deleted because it has objects in it.
│ \n│   with genesyscloud_auth_division.Banking,
│   on main.tf line 3, in resource "genesyscloud_auth_division" "Banking":
│    3:   name = "429 Too Many Requests"
│ \n│ More about it
│ on two lines.
╵
"""


def errors(text: str) -> list[Message]:
    return [message for message in read_text(text) if message.kind is Kind.ERROR]


def test_a_boxed_error_becomes_one_message_with_its_resource() -> None:
    (error,) = errors("before\n" + BOXED + "after\n")
    assert error.summary == (
        "Failed to delete division Banking: API Error: 400 - Scope may not be deleted because it has objects in it."
    )
    assert error.address == "genesyscloud_auth_division.Banking"
    assert error.text.endswith("More about it on two lines.")
    assert error.lines[0].number == 3


def test_the_users_own_source_is_left_out_of_an_error() -> None:
    assert "429" not in errors(BOXED)[0].text


def test_an_unboxed_error_ends_with_the_next_statement() -> None:
    text = (
        "Error: Saved plan is stale\n\nThe plan is old.\n\nReleasing state lock. This may take a few moments...\n429\n"
    )
    assert errors(text)[0].text == "Error: Saved plan is stale The plan is old."


def test_two_errors_are_two_messages() -> None:
    assert [error.summary for error in errors("Error: a\n\nx\n\nError: b\n")] == ["a", "b"]
    assert len(errors(BOXED + BOXED)) == 2


def test_the_pieces_of_an_error_lead_back_to_its_lines() -> None:
    error = errors(BOXED)[0]
    place = error.text.index("deleted because")
    shown = [line.text.strip() for line in error.lines_at((place, place + 10))]
    assert shown == [
        "Error: Failed to delete division Banking: API Error: 400 - Scope may not be",
        "deleted because it has objects in it.",
    ]


def test_words_in_an_output_printed_as_heredoc_are_no_error() -> None:
    assert not errors("report = <<EOT\nError: Failed to save state\nEOT\n")
    assert errors("report = <<EOT\nx\nEOT\nError: y\n")


def test_a_heredoc_without_end_does_not_hide_the_rest_for_ever() -> None:
    assert errors("report = <<EOT\n" + "x\n" * MAX_HEREDOC_LINES + "Error: y\n")


def test_what_output_raw_prints_is_no_error() -> None:
    assert not errors("$ terraform output -raw report\nError: Failed to save state\n")


def test_indented_words_are_no_error() -> None:
    assert not errors('      + report = "x"\n          Error: Failed to save state\n')


def test_a_success_and_the_beginning_of_changes_are_messages() -> None:
    kinds = [(message.kind, message.text) for message in read_text("x.y: Creating...\nApply complete! Resources: 1\n")]
    assert kinds == [(Kind.BEGUN, "x.y (create)"), (Kind.SUCCESS, "apply")]


def test_an_error_never_holds_more_than_its_limit() -> None:
    error = errors("Error: x\n" + "line\n" * 5000)[0]
    assert len(error.lines) <= MAX_BLOCK_LINES


def test_json_events_are_read_inside_ci_noise() -> None:
    line = json.dumps(
        {
            "@level": "error",
            "@message": "Error: a",
            "type": "diagnostic",
            "diagnostic": {"severity": "error", "summary": "a", "detail": "b\nc", "address": "x.y"},
        }
    )
    (error,) = errors(f"2026-11-24T07:10:00.1234567Z {line}\n")
    assert (error.summary, error.text, error.address) == ("a", "Error: a b c", "x.y")


def test_typed_events_and_text_between_them_are_read() -> None:
    events = [
        Unparsed(message="Error: Too many command line arguments"),
        Unparsed(message=""),
        Diagnostic(severity=Severity.ERROR, summary="Saved plan is stale", detail="old"),
        Diagnostic(severity=Severity.WARNING, summary="Deprecated Parameter"),
    ]
    read = list(read_events(events))
    assert [message.kind for message in read] == [Kind.ERROR, Kind.ERROR, Kind.WARNING]
    assert read[0].summary == "Too many command line arguments"


def test_utf16_is_read() -> None:
    data = "Error: Saved plan is stale\r\n".encode("utf-16")
    assert [message.summary for message in read_messages([data[:7], data[7:]])] == ["Saved plan is stale"]


def test_a_validation_report_is_read() -> None:
    report = {"valid": False, "diagnostics": [{"severity": "error", "summary": "Unsupported argument"}]}
    assert [error.summary for error in errors(json.dumps(report, indent=2))] == ["Unsupported argument"]
    assert not errors('{"valid": tru')
    assert not errors('{"diagnostics": 7}')


def quiet(mebibytes: int) -> Iterator[bytes]:
    piece = b"genesyscloud_user.agent: Refreshing state... [id=3e9f1f0a-0000-4d1b-9c53-000000000000]\n" * 12_000
    for _ in range(mebibytes):
        yield piece


def test_a_long_log_needs_no_more_memory_than_a_short_one() -> None:
    tracemalloc.start()
    found = list(read_messages(quiet(20)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not found
    assert peak < 16 * 1024 * 1024


def test_the_line_numbers_survive_skipping() -> None:
    text = "noise\n" * 5000 + "Error: x\n\n" + "noise\n" * 10 + "Terraform will stop\n" + "noise\n" * 70 + "Error: y\n"
    assert [error.lines[0].number for error in errors(text)] == [5001, 5084]


def test_a_line_without_end_is_cut() -> None:
    found = list(read_messages([b"x" * 700_000] * 5 + [b"\nError: y\n"]))
    assert [message.summary for message in found] == ["y"]
