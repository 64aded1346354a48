from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

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
