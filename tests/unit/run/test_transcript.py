from pathlib import Path

import pytest

from interlock.run.entries import ApprovalEntry, NoteEntry, PhaseEntry, UnknownEntry
from interlock.run.summary import Summary, as_plain, find_summary, pace_s, recent, write_summary
from interlock.run.transcript import JOURNAL, Entry, Journal, Reader, append, read
from interlock.testing.clock import START, FakeClock


def summary(run: str = "r1", **changes: object) -> Summary:
    values: dict[str, object] = {"state": "s", "operation": "apply", "who": "a@b", "directory": "/d", "phase": "queued"}
    return Summary(run=run, started_at=START, **{**values, **changes})  # type: ignore[arg-type]  # checked by msgspec


@pytest.fixture
def rings() -> list[int]:
    return []


@pytest.fixture
def journal(tmp_path: Path, rings: list[int]) -> Journal:
    return Journal(tmp_path, summary(), FakeClock(), lambda: rings.append(1))


def test_an_entry_is_readable_at_once_and_rings(journal: Journal, tmp_path: Path, rings: list[int]) -> None:
    reader = Reader(tmp_path)
    assert list(reader.new()) == []
    journal.tell(PhaseEntry(phase="queued"))
    assert [(entry.kind, entry.facts, entry.at) for entry in reader.new()] == [("phase", {"phase": "queued"}, START)]
    assert list(reader.new()) == []
    assert rings == [1]


def test_a_torn_line_is_left_for_later_and_a_spoiled_one_is_passed_over(journal: Journal, tmp_path: Path) -> None:
    journal.tell(ApprovalEntry())
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'spoiled\n{"kind":"\xff"}\n{"at":"20')
    reader = Reader(tmp_path)
    assert [entry.kind for entry in reader.new()] == ["approval"]
    assert list(reader.new()) == []


def test_an_entry_that_is_too_long_is_cut_not_lost(journal: Journal, tmp_path: Path) -> None:
    journal.tell(NoteEntry(text="x" * (2 << 20)))
    (entry,) = read(tmp_path)
    assert entry.kind == "note"
    assert entry.told == UnknownEntry(kind="note", values=entry.facts)
    assert set(entry.facts) == {"cut"}


def test_a_journal_that_cannot_be_written_does_not_end_the_run(journal: Journal) -> None:
    journal.close()
    journal.tell(PhaseEntry(phase="applying"))  # its file is closed, as it would fail on a full disk


def test_somebody_else_may_add_the_end(journal: Journal, tmp_path: Path) -> None:
    journal.tell(ApprovalEntry())
    append(tmp_path, Entry(at=START, kind="end", facts={"exit": 143}))
    assert [entry.kind for entry in read(tmp_path)] == ["approval", "end"]


def test_the_summary_follows_and_is_private(journal: Journal, tmp_path: Path) -> None:
    journal.change(phase="applying", token=7)
    found = find_summary(tmp_path)
    assert found is not None
    assert (found.phase, found.token) == ("applying", 7)
    assert (tmp_path / "summary.json").stat().st_mode & 0o077 == 0
    assert as_plain(found)["token"] == 7


def test_an_unreadable_summary_is_none(tmp_path: Path) -> None:
    assert find_summary(tmp_path) is None
    for spoiled in (b"{", b'{"state":"\xff"}'):
        (tmp_path / "summary.json").write_bytes(spoiled)
        assert find_summary(tmp_path) is None


def test_the_newest_runs_come_first_and_only_of_the_state_asked_for(tmp_path: Path) -> None:
    for number, state in enumerate(["s", "t", "s", "s"]):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        write_summary(folder, summary(folder.name, state=state))
    (tmp_path / "run9").mkdir()
    assert [found.run for found in recent(tmp_path, limit=2, state="s")] == ["run3", "run2"]
    assert [found.run for found in recent(tmp_path, limit=9)] == ["run3", "run2", "run1", "run0"]
    assert recent(tmp_path / "none", limit=9) == []


def test_the_pace_is_the_median_of_the_holds_that_went_well() -> None:
    def held(seconds: float, exit_status: int) -> Summary:
        from datetime import timedelta

        return summary(held_at=START, released_at=START + timedelta(seconds=seconds), exit=exit_status)

    assert pace_s([held(10, 0), held(2, 0), held(3, 2), held(99, 34)]) == 3.0
    assert pace_s([held(99, 34), summary()]) is None
    assert summary(held_at=START).held_s is None
