from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.errors import BackendUnavailable
from interlock.run import saving
from interlock.run.saving import Left, check_room, find_left, keep_copy, offer, room_needed
from interlock.store import StoreGone
from interlock.testing.clock import FakeClock


def state(serial: int) -> bytes:
    head = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l"}
    return json.dumps({**head, "outputs": {}, "resources": []}).encode()


@pytest.mark.promise("P3")
def test_the_newest_of_file_and_memory_is_what_was_left(tmp_path: Path) -> None:
    file = tmp_path / "errored.tfstate"
    assert find_left(None, None) is None
    assert find_left(None, state(3)) == Left(body=state(3), path=None)
    for cut in (b"", state(4)[:40]):
        file.write_bytes(cut)
        assert find_left(file, state(3)) == Left(body=state(3), path=None)
        assert find_left(file, None) == Left(body=cut, path=file)
    file.write_bytes(state(4))
    assert find_left(file, state(3)) == Left(body=state(4), path=file)
    assert find_left(file, state(4)) == Left(body=state(4), path=file)
    assert find_left(file, state(5)) == Left(body=state(5), path=None)


def test_a_copy_goes_to_the_first_place_that_takes_all_of_it_and_touches_nothing_of_anybodys(tmp_path: Path) -> None:
    theirs = tmp_path / "errored.tfstate"
    theirs.write_text("theirs")
    free = tmp_path / "free.tfstate"
    assert keep_copy(b"x", iter([tmp_path / "none" / "a", theirs, free])) == free
    assert (free.read_bytes(), free.stat().st_mode & 0o077) == (b"x", 0)
    assert theirs.read_text() == "theirs"
    assert keep_copy(b"x", iter([theirs])) is None


def test_a_copy_that_was_not_written_is_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_is_written", lambda _handle, _body: False)
    assert keep_copy(b"x", iter([tmp_path / "a", tmp_path / "b"])) is None
    assert list(tmp_path.iterdir()) == []


def test_the_room_that_an_apply_needs_grows_with_its_state() -> None:
    assert room_needed(0) == saving.ROOM_BYTES
    assert room_needed(10) == saving.ROOM_BYTES + 40


@pytest.mark.promise("P3")
def test_an_apply_with_too_little_room_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_room(tmp_path, 0)
    monkeypatch.setattr(saving, "ROOM_BYTES", 1 << 62)
    with pytest.raises(BackendUnavailable, match="not started"):
        check_room(tmp_path, 0)


async def test_a_store_that_is_gone_is_not_asked_again() -> None:
    asked = 0

    async def push() -> None:
        nonlocal asked
        asked += 1
        raise StoreGone("the database is gone")

    with pytest.raises(StoreGone):
        await offer(push, clock=FakeClock(), patience_s=120.0, tell=lambda _entry: None, where="")
    assert asked == 1


def test_a_limit_on_the_size_of_files_is_too_little_room_as_well(tmp_path: Path) -> None:
    program = "import resource, sys\nfrom pathlib import Path\nfrom interlock.run.saving import check_room\n"
    limited = "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); check_room(Path(sys.argv[1]), 1)"
    done = subprocess.run(
        [sys.executable, "-c", program + limited, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "too little room" in done.stderr
