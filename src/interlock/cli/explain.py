"""`interlock explain`: the root cause in a Terraform or CI log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from interlock.cli import view
from interlock.errors import UsageError, fill_in

if TYPE_CHECKING:
    from interlock.diagnosis import Cause, Diagnosis
    from interlock.diagnosis.message import Line

app = typer.Typer()

CHUNK_BYTES: Final = 1024 * 1024  # read at a time; a log of any length takes a few of these


@app.command()
def explain(
    log: Annotated[str, typer.Argument(metavar="[LOG|-]", help="The log; - or nothing reads standard input.")] = "-",
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Name what went wrong in a log: root cause first, the deciding lines, whether a retry is safe, the next command.

    Reads the output of Terraform and OpenTofu, plain or -json, and logs of GitHub, GitLab, Azure and Jenkins.
    """
    from interlock.diagnosis import diagnose, read_messages

    with _opened(log) as stream:
        diagnosis = diagnose(read_messages(_chunks(stream, log)))
    document = {"outcome": _outcome(diagnosis), "causes": [_document(cause) for cause in diagnosis.causes]}
    view.emit(document, json=json, human=lambda: _show(diagnosis))


@contextmanager
def _opened(log: str) -> Iterator[IO[bytes]]:
    """Open the log, or standard input."""
    if log == "-":
        if sys.stdin.isatty():
            raise UsageError("there is no log to explain", fix="name a file, or pipe a log into: interlock explain -")
        yield sys.stdin.buffer
        return
    try:
        stream = Path(log).open("rb")  # noqa: SIM115 - closed below; errors of opening are told apart from those of use
    except OSError as error:
        raise _unreadable(log, error.strerror or "it cannot be opened") from error
    with stream:
        yield stream


def _chunks(stream: IO[bytes], log: str) -> Iterator[bytes]:
    """Yield the log in pieces; refuse what is not text."""
    first = True
    while chunk := _read(stream, log):
        if first and b"\0" in chunk and not chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _unreadable(log, "it is not text")
        first = False
        yield chunk


def _read(stream: IO[bytes], log: str) -> bytes:
    try:
        return stream.read(CHUNK_BYTES)
    except OSError as error:
        raise _unreadable(log, error.strerror or "reading failed") from error


def _unreadable(log: str, why: str) -> UsageError:
    name = "standard input" if log == "-" else log
    return UsageError(f"the log {name} cannot be read", why=why, fix="name a text file, or - for standard input")


def _document(cause: Cause) -> dict[str, object]:
    from interlock.diagnosis.message import masked

    return {
        "category": cause.category.value,
        "summary": cause.summary,
        "retry": cause.retry.value,
        "lines": [masked(line.text.strip()) for line in cause.lines],
        "next": fill_in(cause.next, "."),
        **({"in_flight": [masked(each) for each in cause.facts.in_flight]} if cause.is_cut_off else {}),
    }


def _outcome(diagnosis: Diagnosis) -> str:
    if diagnosis.failed:
        return "failed"
    return "succeeded" if diagnosis.succeeded else "not-seen"


_RETRY: Final = {
    "safe": "safe: nothing was changed",
    "after-replan": "only after a new plan: something may have been changed",
    "no": "no: it would fail again or do harm until somebody has acted",
}


def _show(diagnosis: Diagnosis) -> None:
    for place, cause in enumerate(diagnosis.causes):
        _say(cause, first=place == 0)
    if diagnosis.causes:
        return
    if not diagnosis.failed:
        view.say("Nothing went wrong in this log." if diagnosis.succeeded else _NOT_SEEN)
        return
    view.say("This log shows a failure, but none of the known causes.")
    for error in diagnosis.unknown:
        _say_lines(error)


_NOT_SEEN: Final = (
    "No outcome seen: this log shows no error, and no command or job that ended well. It may be cut off, or be no log "
    "of Terraform; give the whole log of the job."
)


def _say_lines(lines: Iterable[Line]) -> None:
    from interlock.diagnosis.message import masked

    for line in lines:
        if line.text.strip():
            view.say(f"  line {line.number:<6} {masked(line.text.strip())}")


def _say(cause: Cause, *, first: bool) -> None:
    from interlock.diagnosis.message import masked

    role = (
        "root cause"
        if first
        else "reason"
        if cause.is_reason
        else "follows from it"
        if cause.is_consequence
        else "also"
    )
    times = f", {cause.count} times" if cause.count > 1 else ""
    where = f" ({cause.facts.address})" if cause.facts.address else ""
    known = {
        "api says": cause.facts.api_message,
        "correlation": cause.facts.correlation_id,
        "in flight": masked(", ".join(cause.facts.in_flight)),
        "exit status": f"{cause.error.exit_status}: {cause.error.meaning.partition(' (')[0]}"
        if cause.is_cut_off
        else "",
    }
    view.say(f"{role}: {cause.category.value}{where}: {cause.summary}{times}")
    _say_lines(cause.lines)
    for name, value in known.items():
        if value:
            view.say(f"  {name:<11} {value}")
    view.say(f"  retry       {_RETRY[cause.retry.value]}")
    view.say(f"  next        {fill_in(cause.next, '.')}")
    view.say("")
