from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from interlock.recovery.keep import Keep

NOW = datetime(2026, 11, 24, 3, 0, 0, 5, tzinfo=UTC)


def test_what_is_kept_is_found_again_newest_first_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "kept")
    first = keep.save("s3://b/app", b"one", now=NOW)
    second = keep.save("s3://b/app", b"two", now=NOW + timedelta(hours=1))
    assert [kept.path for kept in keep.kept("s3://b/app")] == [second, first]
    assert keep.kept("s3://b/app")[1].at == NOW
    assert first.read_bytes() == b"one"
    assert first.stat().st_mode & 0o077 == 0


def test_the_same_bytes_are_kept_once(tmp_path: Path) -> None:
    keep = Keep(tmp_path)
    assert keep.save("a", b"one", now=NOW) == keep.save("a", b"one", now=NOW + timedelta(hours=1))
    assert len(keep.kept("a")) == 1


def test_states_of_two_addresses_that_look_alike_are_kept_apart(tmp_path: Path) -> None:
    keep = Keep(tmp_path)
    keep.save("s3://b/app", b"one", now=NOW)
    assert keep.kept("s3:--b-app") == []
    assert keep.kept("../../etc") == []
    assert keep.save("../../etc", b"x", now=NOW).is_relative_to(tmp_path)


@pytest.mark.promise("P3")
def test_other_bytes_under_the_same_digits_are_not_taken_for_a_copy(tmp_path: Path) -> None:
    keep = Keep(tmp_path)
    first = keep.save("a", b"one", now=NOW)
    first.chmod(0o600)
    first.write_bytes(b"two")  # a disk that lost what it had, or a collision of twelve digits
    second = keep.save("a", b"one", now=NOW + timedelta(hours=1))
    assert second != first
    assert second.read_bytes() == b"one"


@pytest.mark.promise("P3", "P5")
def test_a_copy_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is broken after this returned: a name without bytes, after a power failure, would be no copy."""
    steps, fsync, replace = list[str](), os.fsync, Path.replace

    def synced(handle: int) -> None:
        steps.append("fsync")
        fsync(handle)

    def named(draft: Path, target: Path) -> Path:
        steps.append("name")
        return replace(draft, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", named)
    Keep(tmp_path).save("a", b"one", now=NOW)
    assert steps[:2] == ["fsync", "name"]
