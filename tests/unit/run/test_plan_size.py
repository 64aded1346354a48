"""How large what a plan file holds may be; looked at before anything is unpacked."""

import io
import zipfile
from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.run import plan_size
from interlock.run.plan_size import check_plan_file, check_size

LIMITS = {"MAX_ENTRIES": 3, "MAX_ENTRY_BYTES": 1 << 20, "MAX_CONFIGURATION_BYTES": 100, "MAX_FILE_BYTES": 4096}


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in LIMITS.items():
        monkeypatch.setattr(plan_size, name, limit)


def plan(entries: dict[str, int]) -> bytes:
    """Return a zip whose entries hold so many zeros; they take nearly no bytes in the file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, size_bytes in entries.items():
            archive.writestr(name, b"0" * size_bytes)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({"tfplan": 10, "tfstate": 1 << 20, "tfconfig/a": 100}, None),
        ({str(number): 0 for number in range(4)}, "more than 3 entries"),
        ({"tfstate": (1 << 20) + 1}, "an entry has more than 1 MiB"),
        ({"tfconfig/a": 60, "tfconfig/b": 41}, "its configuration has more than"),
        ({"tfstate": 101}, None),
    ],
)
def test_a_plan_with_more_than_any_plan_is_refused_unread(
    tmp_path: Path, entries: dict[str, int], why: str | None
) -> None:
    path = tmp_path / "plan"
    path.write_bytes(plan(entries))
    with zipfile.ZipFile(path) as archive:
        if why is None:
            check_size(archive)
            check_plan_file(path)
            return
        with pytest.raises(UsageError) as refused:
            check_size(archive)
    assert why in (refused.value.why or "")
    with pytest.raises(UsageError):
        check_plan_file(path)


def test_a_file_that_is_too_large_is_not_even_opened(tmp_path: Path) -> None:
    (tmp_path / "plan").write_bytes(b"x" * 4097)
    with pytest.raises(UsageError, match="too large"):
        check_plan_file(tmp_path / "plan")


def test_what_is_no_zip_is_left_for_its_reader_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "sealed").write_bytes(b"encrypted by OpenTofu")
    check_plan_file(tmp_path / "sealed")
    with pytest.raises(UsageError, match="cannot be read"):
        check_plan_file(tmp_path / "none")
