"""What only our own backend keeps of a state: suspects, refused writes, records that can be mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.coordinator.archive import Writer
from interlock.coordinator.names import key_of
from interlock.errors import LeaseLost, UsageError
from interlock.home.embedded import EmbeddedHome
from interlock.lock import Requested
from interlock.site.own_versions import OwnVersions
from interlock.site.which import own_ref
from interlock.state import VersionKind
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[EmbeddedHome]:
    home = memory_home(tmp_path)
    yield home
    await home.store.close()


@pytest.fixture
def versions(home: EmbeddedHome) -> OwnVersions:
    return OwnVersions(own_ref("prod"), home)


async def written(home: EmbeddedHome, body: bytes, **more: object) -> None:
    """Write as a run does."""
    ticket = home.coordinator.new_ticket()
    request = Requested(ticket=ticket, run="r1", who="me@here", lease_s=30.0, patience_s=15.0)
    grant = await home.coordinator.acquire("prod", request, timeout_s=1.0)
    writer = Writer(who="me@here", run="r1", ticket=ticket, token=grant.token, **more)  # type: ignore[arg-type]
    await home.archive.write("prod", body, writer=writer, kind=VersionKind.WRITE)
    await home.coordinator.release("prod", ticket=ticket, token=grant.token)


@pytest.mark.promise("P6")
async def test_a_suspect_version_is_named_and_stands_once_a_person_accepts_it(
    home: EmbeddedHome, versions: OwnVersions
) -> None:
    await versions.push(state(1, "a", "b"), force=False)
    await written(home, state(2, "a"), allowed_deletions=frozenset(), keeps_suspect=True)
    assert [each.address for each in await versions.findings(None) if each.code == "suspect"] == ["terraform_data.b"]
    assert (await home.coordinator.view("prod")).lock.pause is not None
    assert await versions.accept() == ("terraform_data.b",)
    assert (await home.coordinator.view("prod")).lock.pause is None
    assert await versions.accept() == ()


@pytest.mark.promise("P4")
async def test_the_refused_write_of_a_zombie_is_compared_with_what_is_current(
    home: EmbeddedHome, versions: OwnVersions
) -> None:
    await versions.push(state(1, "a"), force=False)
    with pytest.raises(LeaseLost):
        await home.archive.write("prod", state(2, "z"), writer=Writer(who="z", ticket="gone", token=1))
    (entry,) = await home.archive.quarantined("prod")
    current, refused = await versions.quarantined_pair(entry.id[:8])
    assert (current.serial, refused.serial) == (1, 2)
    with pytest.raises(UsageError, match="0 refused writes begin with"):
        await versions.quarantined("no-such")


@pytest.mark.promise("P3")
async def test_the_version_that_a_lost_record_no_longer_names_is_made_current_again(
    home: EmbeddedHome, versions: OwnVersions
) -> None:
    await versions.push(state(1, "a"), force=False)
    record = await home.store.records.get(key_of("prod"))
    assert record is not None
    await home.store.records.swap(key_of("prod"), expected=record.version, value=None)
    planned = await versions.plan_repair()
    assert planned.target is not None
    assert "version 1" in planned.question
    await versions.repair(planned)
    assert await versions.body(None) == state(1, "a")
    assert (await versions.plan_repair()).target is None


async def test_a_diff_and_a_restore_go_by_the_run_and_not_by_the_write(
    home: EmbeddedHome, versions: OwnVersions
) -> None:
    """Terraform stores what it has every 20 s, so an apply of a minute leaves three versions."""
    await versions.push(state(1, "a"), force=False)
    for body in (state(2, "a", "b"), state(3, "a", "b", "c")):
        await written(home, body)
    older, newer = await versions.pair(None, None)
    assert (older.serial, newer.serial) == (1, 3)
    assert (await versions.pair("2", None))[0].serial == 2
    planned = await versions.plan_restore(None)
    assert planned.label.startswith("version 1 ")


async def test_the_first_run_of_a_state_has_nothing_to_be_compared_with(
    home: EmbeddedHome, versions: OwnVersions
) -> None:
    for body in (state(1, "a"), state(2, "a", "b")):
        await written(home, body)
    with pytest.raises(UsageError, match="no version before version 2"):
        await versions.pair(None, None)
    assert [each.serial for each in await versions.pair("1", None)] == [1, 2]
