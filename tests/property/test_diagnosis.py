"""Laws of the log reader: it never fails, whatever it is given, and its work grows with the log's length."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.diagnosis import classify, diagnose, read_messages, read_text
from interlock.diagnosis.cause import BACKEND
from interlock.diagnosis.causes import RULES
from interlock.diagnosis.message import MAX_MESSAGE_CHARS, Kind, Message
from interlock.errors import InterlockError

CORPUS = Path(__file__).parents[1] / "corpus" / "logs"
LINES = sorted(
    {line for path in CORPUS.glob("*.log") for line in path.read_bytes().decode("utf-8", "replace").splitlines()[:40]}
)
PIECES = (
    st.sampled_from(LINES)
    | st.sampled_from(
        [
            "╷",
            "│ ",
            "╵",
            "",
            "Error: ",
            "<<EOT",
            "EOT",
            "##[error]",
            '{"@level"',
            "\x1b[31m",
            "\r",
            "Apply complete! Resources: ",
        ]
    )
    | st.text(max_size=30)
)


@settings(deadline=None)  # the machine may be busy; nothing here is a matter of time
@given(st.lists(PIECES, max_size=60), st.booleans())
def test_any_mixture_of_lines_is_diagnosed(lines: list[str], joined: bool) -> None:
    text = ("" if joined else "\n").join(lines)
    assert isinstance(classify(text), InterlockError)


@settings(deadline=None)  # the machine may be busy; nothing here is a matter of time
@given(st.binary(max_size=2000))
def test_any_bytes_are_diagnosed(data: bytes) -> None:
    assert diagnose(read_messages([data])) is not None


@settings(deadline=None)  # the machine may be busy; nothing here is a matter of time
@given(st.lists(PIECES, max_size=40), st.integers(1, 200))
def test_how_a_log_is_cut_into_pieces_changes_nothing(lines: list[str], size: int) -> None:
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert diagnose(read_messages(pieces)) == diagnose(read_messages([data]))


@settings(deadline=None)  # the machine may be busy; nothing here is a matter of time
@given(st.lists(PIECES, max_size=30))
def test_a_job_that_succeeded_has_no_causes(lines: list[str]) -> None:
    text = "\n".join(line for line in lines if "<<" not in line and "@level" not in line)
    assert diagnose(read_text(text + "\n\nApply complete! Resources: 1 added.\n\nJob succeeded\n")).causes == ()


@settings(deadline=None)  # the machine may be busy; nothing here is a matter of time
@given(
    st.sampled_from(
        ["a", "(", "permission ", "with x.y", "API Error: 409 - ", '"', "\\", "in use by ", "- ", "[a:b:c, "]
    )
)
def test_repetition_does_not_make_a_pattern_explode(word: str) -> None:
    message = Message(kind=Kind.ERROR, text=("Error: " + word * MAX_MESSAGE_CHARS)[:MAX_MESSAGE_CHARS])
    diagnosis = diagnose([message])
    assert diagnosis.failed
    assert BACKEND.search(message.text) is None
    assert len(RULES) == 32
