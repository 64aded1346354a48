"""The one way from an environment to an open home."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.audit import Head
from interlock.compose.homes import at_home, check_not_left_here, settings_here
from interlock.errors import UsageError
from interlock.home.embedded import open_home as open_embedded
from interlock.site.moved import moved_to
from interlock.site.own import OwnSite
from interlock.site.which import own_ref
from interlock.store.sealing import spell_key
from interlock.testing.site_contract import state


async def test_a_command_works_in_the_home_that_its_environment_names(tmp_path: Path) -> None:
    environ = {"INTERLOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    told: list[Head] = []
    async with at_home(environ, directory=tmp_path, make=False) as home:
        assert home.settings.home == tmp_path / "home"
    assert not (tmp_path / "home").exists(), "who only looks makes nothing"
    async with at_home(environ, directory=tmp_path, told=told.append) as home:
        await home.audit.append("force-unlock", subject="interlock:prod", by=home.me, facts={})
    assert [head.number for head in told] == [1]
    assert (tmp_path / "home" / "interlock.db").exists()


@pytest.mark.promise("P11")
async def test_nothing_goes_past_a_server(tmp_path: Path) -> None:
    environ = {"INTERLOCK_SERVER": "https://interlock.example", "HOME": str(tmp_path), "INTERLOCK_TOKEN": "t" * 20}
    async with at_home(environ, directory=tmp_path) as home:
        assert home.place == "https://interlock.example"
    with pytest.raises(UsageError, match="not past it"):
        async with open_embedded(settings_here(environ, tmp_path)):
            pass
    assert not (tmp_path / ".local").exists(), "no database was made beside it"


@pytest.mark.promise("P10")
async def test_a_server_beyond_this_machine_is_spoken_to_over_tls_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="secrets"):
        settings_here({"INTERLOCK_SERVER": "http://interlock.example", "HOME": str(tmp_path)}, tmp_path)


async def test_a_server_without_a_token_is_not_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no token") as caught:
        async with at_home(
            {"INTERLOCK_SERVER": "https://interlock.example", "HOME": str(tmp_path)}, directory=tmp_path
        ):
            pass
    assert "interlock login https://interlock.example" in caught.value.fix


@pytest.mark.promise("P11")
async def test_a_state_in_the_store_of_this_machine_is_not_begun_anew_at_a_server(tmp_path: Path) -> None:
    key = {"INTERLOCK_ENCRYPTION_KEY": spell_key(bytes(range(32)))}
    alone = {"INTERLOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    at_server = {**alone, "INTERLOCK_SERVER": "https://interlock.example", "INTERLOCK_TOKEN": "t" * 20}
    settings = settings_here(at_server, tmp_path)
    await check_not_left_here("prod", tmp_path, settings, at_server)
    assert not settings.database.exists()
    async with open_embedded(settings_here(alone, tmp_path), environ={**alone, **key}) as home:
        site = OwnSite(own_ref("prod"), home)
        await site.versions.push(state(1, "a"), force=False)
        await check_not_left_here("other", tmp_path, settings, {**at_server, **key})
        with pytest.raises(UsageError, match="is in the store of this machine") as refused:
            await check_not_left_here("prod", tmp_path, settings, {**at_server, **key})
        assert refused.value.fix == "interlock state import prod"
        await check_not_left_here("prod", tmp_path, settings, at_server)  # it cannot be read without its key
        await home.coordinator.pause("prod", by="ann", reason=moved_to("interlock:prod at https://interlock.example"))
        await check_not_left_here("prod", tmp_path, settings, {**at_server, **key})
