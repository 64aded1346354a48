import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from interlock.host import name_process
from interlock.run.stop_marker import has_marker, leave_marker
from interlock.testing.clock import START

US = name_process(os.getpid())


@pytest.mark.promise("P9")
def test_only_the_first_may_signal_a_process(tmp_path: Path) -> None:
    assert not has_marker(tmp_path, US)
    assert leave_marker(tmp_path, US, by="the supervisor", now=START)
    assert not leave_marker(tmp_path, US, by="recovery", now=START)
    assert has_marker(tmp_path, US)


@pytest.mark.promise("P9")
def test_the_marker_and_its_name_are_on_disk_before_anybody_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    leave_marker(tmp_path, US, by="x", now=START)
    (marker,) = tmp_path.iterdir()
    assert synced == [marker.stat().st_ino, tmp_path.stat().st_ino]


def test_another_command_of_the_run_and_a_later_process_of_that_pid_have_markers_of_their_own(tmp_path: Path) -> None:
    leave_marker(tmp_path, US, by="x", now=START)
    for other in (replace(US, pid=US.pid + 1), replace(US, started="Sun Nov 29 2026")):
        assert leave_marker(tmp_path, other, by="x", now=START)


def test_the_marker_names_process_asker_and_time(tmp_path: Path) -> None:
    leave_marker(tmp_path, US, by="the supervisor of run r1", now=START)
    (marker,) = tmp_path.iterdir()
    text = marker.read_text()
    assert all(word in text for word in (str(US.pid), US.started, "the supervisor of run r1", "2026-01-01"))
    assert marker.stat().st_mode & 0o077 == 0


def test_the_marker_of_an_earlier_version_holds_for_the_whole_run(tmp_path: Path) -> None:
    (tmp_path / "asked-to-stop").touch()
    assert has_marker(tmp_path, US)
    assert not leave_marker(tmp_path, US, by="x", now=START)


def test_a_marker_that_cannot_be_kept_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        leave_marker(tmp_path / "nowhere", US, by="x", now=START)
