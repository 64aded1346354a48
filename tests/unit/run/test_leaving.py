"""What a run writes down before its apply, for whoever finds its remains."""

from pathlib import Path

import pytest

from interlock.run.leaving import (
    ALLOWED,
    EARLIER,
    clear_space,
    is_left,
    note_before_apply,
    note_space,
    read_allowed,
    take_from_space,
)


@pytest.mark.promise("P6")
def test_what_may_be_deleted_is_read_back(tmp_path: Path) -> None:
    assert read_allowed(tmp_path) is None, "the run never wrote it down"
    note_before_apply(tmp_path, errored=tmp_path / "errored.tfstate", allowed=frozenset({"a.b", 'a.b["ü"]'}))
    assert read_allowed(tmp_path) == frozenset({"a.b", 'a.b["ü"]'})
    assert (tmp_path / ALLOWED).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b"[1]", b'["\xff"]'])
def test_a_spoiled_note_allows_nothing_by_itself(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ALLOWED).write_bytes(content)
    assert read_allowed(tmp_path) is None


@pytest.mark.promise("P3")
def test_an_errored_state_that_lay_there_before_is_somebody_elses(tmp_path: Path) -> None:
    folder, errored = tmp_path / "run", tmp_path / "errored.tfstate"
    folder.mkdir()
    errored.write_text("older")
    note_before_apply(folder, errored=errored, allowed=frozenset())
    assert not is_left(errored, folder)
    errored.unlink()
    assert not is_left(errored, folder), "there is none"
    errored.write_text("newer, from the apply")
    assert is_left(errored, folder)


@pytest.mark.promise("P3")
def test_one_that_appears_only_during_the_apply_is_ours(tmp_path: Path) -> None:
    folder, errored = tmp_path / "run", tmp_path / "errored.tfstate"
    folder.mkdir()
    note_before_apply(folder, errored=errored, allowed=frozenset())
    assert not (folder / EARLIER).exists()
    errored.write_text("from the apply")
    assert is_left(errored, folder)
    (folder / EARLIER).write_text("{")
    assert is_left(errored, folder), "where nobody knows, nothing is thrown away"


def test_a_second_attempt_of_a_run_notes_again(tmp_path: Path) -> None:
    for allowed in ({"a.b"}, {"c.d"}):
        note_before_apply(tmp_path, errored=tmp_path / "errored.tfstate", allowed=frozenset(allowed))
    assert read_allowed(tmp_path) == frozenset({"c.d"})


@pytest.mark.promise("P3")
def test_what_a_workspace_holds_beyond_what_is_stored_is_found_and_nothing_else(tmp_path: Path) -> None:
    folder, file = tmp_path / "run", tmp_path / "terraform.tfstate.d" / "prod" / "terraform.tfstate"
    folder.mkdir()
    file.parent.mkdir(parents=True)
    assert take_from_space(folder) is None, "the run is in no workspace"
    note_space(folder, file, b"")
    assert take_from_space(folder) is None, "nothing is there"
    file.write_bytes(b"one")
    assert take_from_space(folder) == file
    note_space(folder, file, b"one")
    assert take_from_space(folder) is None, "it is what was stored"
    file.write_bytes(b"two")
    assert take_from_space(folder) == file
    clear_space(folder)
    assert not file.parent.parent.exists()
