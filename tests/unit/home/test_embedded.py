"""The home of embedded mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.home.embedded import open_home
from interlock.settings.values import Settings
from interlock.testing.home import memory_home


@pytest.mark.promise("P11")
async def test_who_only_looks_makes_no_database_and_sees_an_empty_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    async with open_home(settings, make=False) as home:
        assert await home.coordinator.states() == []
    assert not settings.database.exists()


async def test_a_bad_key_hinders_only_who_needs_the_audit_log(tmp_path: Path) -> None:
    home = memory_home(tmp_path, environ={"INTERLOCK_AUDIT_KEY": "x"})
    assert not await home.keeps("prod")
    with pytest.raises(UsageError):
        _ = home.audit


@pytest.mark.promise("P11")
async def test_a_state_is_found_by_the_lock_that_terraform_holds_on_it(tmp_path: Path) -> None:
    from interlock.lock import Requested

    home = memory_home(tmp_path)
    request = Requested(ticket="t", lock_id="l-1", who="bob", lease_s=30.0, patience_s=15.0)
    await home.coordinator.acquire("prod", request, timeout_s=0.0)
    assert (await home.state_of_lock("l-1"), await home.state_of_lock("l-2")) == ("prod", None)


def test_settings_of_a_folder_are_those_that_a_run_there_would_read(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text("version: 1\nrun:\n  max_deletes: 3\n")
    home = memory_home(tmp_path / "home")
    assert home.settings_in(tmp_path, {"HOME": str(tmp_path)}).max_deletes == 3
