"""The one way from an environment to an open home."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.audit import Head
from interlock.compose.homes import at_home, settings_here
from interlock.errors import UsageError
from interlock.home.embedded import open_home as open_embedded


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
