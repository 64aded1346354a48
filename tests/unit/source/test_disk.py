"""Files that are written for a person."""

import stat
from pathlib import Path

import pytest

from interlock.source.disk import write_file


def test_a_plan_is_kept_where_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.touch(mode=0o644)
    write_file(path, b"plan")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"plan", 0o600)


def test_a_folder_named_instead_of_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path, b"plan")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
