"""Every log of tests/corpus/logs, with the causes that must be found in it."""

import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from interlock.diagnosis import Category, Cause, Diagnosis, diagnose, error_of, read_messages, read_text
from interlock.errors import InterlockError, fill_in

CORPUS = Path(__file__).parents[2] / "corpus" / "logs"
ENTRIES: list[dict[str, Any]] = tomllib.loads((CORPUS / "expected.toml").read_text("utf-8"))["log"]


@cache
def read(name: str) -> Diagnosis:
    return diagnose(read_messages([(CORPUS / name).read_bytes()]))


def named(cause: Cause) -> dict[str, str]:
    facts = cause.facts
    return {
        "address": facts.address,
        "correlation_id": facts.correlation_id,
        "permission": facts.permission,
        "other": facts.other,
        "lock_id": facts.lock.id if facts.lock else "",
    }


def outcome(diagnosis: Diagnosis) -> str:
    if diagnosis.failed:
        return "failed"
    return "succeeded" if diagnosis.succeeded else "not-seen"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_each_log_gives_its_causes_root_first(entry: dict[str, Any]) -> None:
    diagnosis = read(entry["file"])
    assert [cause.category.value for cause in diagnosis.causes] == entry["causes"]
    assert [cause.retry.value for cause in diagnosis.causes] == entry["retry"]
    assert outcome(diagnosis) == entry.get("outcome", "failed")
    if diagnosis.causes:
        assert entry["next"] in fill_in(diagnosis.causes[0].next, ".")
    for name, value in entry.get("facts", {}).items():
        assert named(diagnosis.causes[0])[name] == value


def test_each_cause_shows_its_lines_and_the_next_command() -> None:
    for file, cause in ((entry["file"], cause) for entry in ENTRIES for cause in read(entry["file"]).causes):
        assert cause.lines, file
        assert all(line.number >= 1 for line in cause.lines), file
        assert cause.next, file


def test_the_pieces_in_which_a_log_arrives_do_not_matter() -> None:
    for file in (entry["file"] for entry in ENTRIES):
        data = (CORPUS / file).read_bytes()
        pieces = [data[start : start + 97] for start in range(0, len(data), 97)]
        assert diagnose(read_messages(pieces)) == read(file), file


def test_apply_and_explain_agree() -> None:
    for entry in (entry for entry in ENTRIES if entry["causes"]):
        error = error_of(read(entry["file"]))
        assert isinstance(error, InterlockError), entry["file"]
        assert error.what, entry["file"]
        assert error.fix, entry["file"]
        expected = "state-not-saved" if "state-not-saved" in entry["causes"] else entry["causes"][0]
        assert error.facts["category"] == expected, entry["file"]


def test_every_log_is_listed_with_its_source_and_every_entry_has_its_log() -> None:
    files = {path.name for path in CORPUS.iterdir()} - {"expected.toml"}
    assert files == {entry["file"] for entry in ENTRIES}
    assert all(entry["source"] for entry in ENTRIES)
    assert len(ENTRIES) >= 160


def test_the_corpus_is_balanced() -> None:
    """A classifier that names one cause for everything must not look good here."""
    found = Counter(entry["causes"][0] if entry["causes"] else entry["outcome"] for entry in ENTRIES)
    assert max(found.values()) < len(ENTRIES) / 6


def test_every_category_has_a_log() -> None:
    found = Counter(cause for entry in ENTRIES for cause in entry["causes"])
    assert {category.value for category in Category} - set(found) == set()


def test_joining_all_failed_logs_still_ends() -> None:
    text = "\n".join((CORPUS / entry["file"]).read_bytes().decode("utf-8", "replace") for entry in ENTRIES)
    assert diagnose(read_text(text * 3)) is not None
