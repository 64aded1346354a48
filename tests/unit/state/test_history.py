from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from interlock.errors import StateInvalid
from interlock.state import Quarantined, Retention, Version, VersionKind, current_at, highest_serial, plan_pruning
from interlock.state.history import MAX_DESCRIPTION_BYTES, check_link, decode_quarantined, decode_version, encode

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def _version(number: int, *, age_h: float = 0, **more: object) -> Version:
    made = Version(
        number=number,
        digest=f"d{number}",
        serial=number,
        lineage="l",
        who="ann",
        written_at=NOW - timedelta(hours=age_h),
        size_bytes=10,
    )
    return replace(made, **more)


def test_descriptions_survive_storing() -> None:
    version = _version(3, token=7, run="r", parent="p", kind=VersionKind.RESTORE, note="why")
    assert decode_version(encode(version)) == version
    entry = Quarantined(
        id="q", state="s", reason="fenced", why="w", who="ann", digest="d", size_bytes=1, at=NOW, addresses=("t.a",)
    )
    assert decode_quarantined(encode(entry)) == entry


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"number":"\xff"}', b"x" * (MAX_DESCRIPTION_BYTES + 1)])
def test_a_broken_description_is_refused(data: bytes) -> None:
    with pytest.raises(StateInvalid):
        decode_version(data)


def test_a_description_of_a_newer_interlock_is_refused() -> None:
    with pytest.raises(StateInvalid, match="cannot be read"):
        decode_version(encode(replace(_version(1), schema=99)))


def test_the_chain_knows_its_rules() -> None:
    older = _version(4, token=5)
    assert check_link(_version(5, token=5), older) == ""
    assert "follows version" in check_link(_version(6), older)
    assert "token" in check_link(_version(5, token=4), older)
    assert "lineage" in check_link(_version(5, lineage="m"), older)
    assert "serial" in check_link(_version(5, serial=4), older)
    assert check_link(_version(5, serial=1, lineage="m"), replace(older, kind=VersionKind.DELETE)) == ""
    assert check_link(_version(5, serial=1, lineage="m", kind=VersionKind.RESTORE), older) == ""


def test_the_version_current_at_an_instant_is_found() -> None:
    versions = [_version(number, age_h=10 - number) for number in (1, 2, 3)]
    assert current_at(versions, NOW) == versions[2]
    assert current_at(versions, NOW - timedelta(hours=8)) == versions[1]
    assert current_at(versions, NOW - timedelta(hours=10)) is None


def test_the_highest_serial_of_a_lineage_is_found() -> None:
    versions = [_version(1, serial=9), _version(2, serial=4), _version(3, serial=30, lineage="m")]
    assert highest_serial(versions, "l") == 9
    assert highest_serial(versions, "n") == 0


def test_retention_thins_out_with_age() -> None:
    versions = [_version(200 - age, age_h=age * 6) for age in range(200)]  # four a day for 50 days
    policy = Retention(newest=2, all_for_s=86_400, daily_for_s=10 * 86_400, weekly_for_s=30 * 86_400)
    pruned = {version.number for version in plan_pruning(versions, policy, now=NOW)}
    kept = [version for version in versions if version.number not in pruned]
    assert {200, 199, 198, 197, 196} <= {version.number for version in kept}
    assert len(kept) == 5 + 9 + 3, "the last day in full, then one a day, then one a week"
    assert plan_pruning(versions, policy, now=NOW)[0].number == 1


def test_the_newest_version_is_never_pruned() -> None:
    policy = Retention(newest=0, all_for_s=0, daily_for_s=0, weekly_for_s=0)
    old = [_version(number, age_h=9_000) for number in (1, 2)]
    assert [version.number for version in plan_pruning(old, policy, now=NOW)] == [1]


def test_bytes_that_a_kept_version_needs_stay() -> None:
    policy = Retention(newest=1, all_for_s=0, daily_for_s=0, weekly_for_s=0)
    versions = [_version(1, age_h=9, digest="same"), _version(2, age_h=8), _version(3, age_h=7, digest="same")]
    assert [version.number for version in plan_pruning(versions, policy, now=NOW)] == [2]
