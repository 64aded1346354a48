"""The journal's entries: written as ever, and read whatever version wrote them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock.cli.runs import _line
from interlock.errors import InterlockError, StateNotSaved
from interlock.run.entries import (
    KINDS,
    ApprovalEntry,
    DiagnosticEntry,
    EndEntry,
    PlanCounts,
    PlanEntry,
    ResourceEntry,
    StandingEntry,
    UnknownEntry,
    parse_entry,
)
from interlock.run.summary import Summary
from interlock.run.transcript import JOURNAL, Entry, Journal, read
from interlock.testing.clock import START, FakeClock

OLD = Path(__file__).parent / "journal_of_an_earlier_version.jsonl"
"""Written before entries had types: an apply, and one line of every other kind."""
LINES = OLD.read_bytes().splitlines()
LATER = {"plan-text", "outputs", "printed", "policy", "approval-asked"}
"""Kinds that no version of that time wrote."""


def spelled(line: bytes) -> str:
    entry = json.loads(line)
    return f"{entry['kind']}({','.join(entry['facts'])})"


def test_the_stored_journal_has_every_kind() -> None:
    assert {json.loads(line)["kind"] for line in LINES} == set(KINDS) - LATER


@pytest.mark.parametrize("line", LINES, ids=spelled)
def test_an_entry_of_an_earlier_version_is_read_and_would_be_written_again_byte_for_byte(line: bytes) -> None:
    entry = msgspec.json.decode(line, type=Entry)
    told = entry.told
    assert type(told) is KINDS[entry.kind]
    assert msgspec.json.encode(Entry(at=entry.at, kind=entry.kind, facts=told.facts())) == line


def test_runs_logs_print_an_old_journal_as_it_is(tmp_path: Path) -> None:
    from interlock.cli.view import as_json_line

    (tmp_path / JOURNAL).write_bytes(OLD.read_bytes())
    assert [as_json_line(entry).encode() for entry in read(tmp_path)] == LINES
    assert all(_line(entry) for entry in read(tmp_path))


def test_a_newer_versions_entries_are_shown_too(tmp_path: Path) -> None:
    from interlock.cli.view import as_json_line

    newer = [
        b'{"at":"2026-11-30T04:56:26Z","kind":"approved-by","facts":{"who":"ann"}}',
        b'{"at":"2026-11-30T04:56:26Z","kind":"granted","facts":{"token":1,"shard":"eu"}}',
    ]
    (tmp_path / JOURNAL).write_bytes(b"\n".join(newer) + b"\n")
    unknown, granted = read(tmp_path)
    assert unknown.told == UnknownEntry(kind="approved-by", values={"who": "ann"})
    assert granted.told.facts() == {"token": 1}
    assert [as_json_line(entry).encode() for entry in (unknown, granted)] == newer
    assert "who=ann" in _line(unknown)


@pytest.mark.parametrize(
    ("kind", "facts", "told"),
    [
        (
            "diagnostic",
            {"severity": "error", "summary": "s", "line": "three"},
            DiagnosticEntry(severity="error", summary="s", detail="", address="", file="", line=0),
        ),
        (
            "standing",
            {"position": 2, "since": 5, "holder": {"who": "ann"}, "ahead": None},
            {"position": 2, "since": None, "ahead": []},
        ),
        ("plan", {"counts": {"add": 1}, "empty": "no"}, {"counts": PlanCounts(add=1), "empty": False, "resources": []}),
        ("resource", {"address": "a.b", "elapsed_s": "long"}, {"address": "a.b", "elapsed_s": msgspec.UNSET}),
        ("end", {}, {"exit": 1, "code": ""}),
        ("end", {"exit": "0", "code": "success"}, {"exit": 1, "code": "success"}),
        ("approval", {"of": "ann"}, ApprovalEntry()),
    ],
)
def test_what_is_missing_or_spoiled_costs_only_itself(kind: str, facts: dict[str, Any], told: object) -> None:
    found = parse_entry(kind, facts)
    assert type(found) is KINDS[kind]
    if isinstance(told, dict):
        assert {name: getattr(found, name) for name in told} == told
    else:
        assert found == told


def test_an_entry_that_was_cut_is_nobody_elses(tmp_path: Path) -> None:
    summary = Summary(run="r", state="s", operation="apply", who="a", directory="d", phase="planning", started_at=START)
    journal = Journal(tmp_path, summary, FakeClock(), lambda: None)
    journal.tell(
        PlanEntry(
            counts=PlanCounts(), resources=[], left_out=0, outputs=["x" * (2 << 20)], drift=[], destroyed=0, empty=False
        )
    )
    journal.close()
    (entry,) = read(tmp_path)
    assert isinstance(entry.told, UnknownEntry)


@pytest.mark.parametrize(
    ("error", "in_flight"),
    [
        (StateNotSaved("cut", why="w", fix="f", in_flight=["a.b"]), ["a.b"]),
        (StateNotSaved("cut", fix="f", in_flight=("a.b", 1)), ["a.b", "1"]),
        (StateNotSaved("cut", fix="f", in_flight="a.b"), []),
    ],
)
def test_an_end_has_the_three_parts_of_its_failure(error: InterlockError, in_flight: list[str]) -> None:
    end = EndEntry.of(error)
    assert (end.exit, end.code, end.what, end.why, end.next) == (
        error.exit_status,
        error.code,
        error.what,
        error.why,
        error.fix,
    )
    assert end.in_flight == in_flight
    assert list(end.facts()) == ["exit", "code", "what", "why", "next", "in_flight"]


def test_what_is_not_given_is_not_written() -> None:
    begun = ResourceEntry(address="a.b", action="create", stage="start", done=0, total=1)
    assert list(begun.facts()) == ["address", "action", "stage", "done", "total"]
    assert list(EndEntry(exit=0, code="success").facts()) == ["exit", "code"]
    assert "foreign" not in StandingEntry(position=1).facts()
