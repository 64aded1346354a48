"""Tests of logging in to a server, and out."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.served import TOKEN, served

from interlock.compose.homes import settings_here
from interlock.compose.login import log_in, log_out, logged_in
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError
from interlock.home.login import HEARTBEAT_S, LEASE_S, Login, login_file, store_login
from interlock.server.api.about import about_endpoints


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


async def test_a_login_is_tried_and_kept_for_its_owner_alone(environ: dict[str, str], tmp_path: Path) -> None:
    async with served(about_endpoints()) as url:
        found = await log_in(f"{url}/", f"{TOKEN}\n", environ)
    assert (found.server, found.who) == (url, "token")
    assert stat.S_IMODE(login_file(environ).stat().st_mode) == 0o600
    settings = settings_here(environ, tmp_path)
    assert settings.server == url
    assert settings.token is not None
    assert settings.token.value == TOKEN
    assert TOKEN not in repr(settings)
    assert (settings.lease_s, settings.heartbeat_s) == (LEASE_S, HEARTBEAT_S)


async def test_a_token_that_the_server_does_not_take_is_not_kept(environ: dict[str, str]) -> None:
    async with served(about_endpoints()) as url:
        with pytest.raises(AuthenticationFailed):
            await log_in(url, "another-token", environ)
    assert logged_in(environ) is None


@pytest.mark.parametrize(
    ("url", "token", "error"),
    [
        ("http://interlock.example", "t", UsageError),
        ("http://127.0.0.1:9", "", UsageError),
        ("http://127.0.0.1:9", "t", BackendUnavailable),
    ],
)
async def test_nothing_is_kept_of_a_login_that_failed(
    environ: dict[str, str], url: str, token: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await log_in(url, token, environ)
    assert not login_file(environ).exists()


def test_who_logs_out_works_on_this_machine_again(environ: dict[str, str], tmp_path: Path) -> None:
    store_login(Login(server="https://a.example", token="t"), environ)
    assert log_out(environ) == "https://a.example"
    assert settings_here(environ, tmp_path).server is None
    assert log_out(environ) is None


@pytest.mark.promise("P10")
def test_a_token_goes_to_no_other_server_than_the_one_it_is_for(environ: dict[str, str], tmp_path: Path) -> None:
    store_login(Login(server="https://a.example", token="t"), environ)
    settings = settings_here({**environ, "INTERLOCK_SERVER": "https://b.example"}, tmp_path)
    assert (settings.server, settings.token) == ("https://b.example", None)


@pytest.mark.promise("P10")
def test_a_login_that_others_may_read_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    store_login(Login(server="https://a.example", token="t"), environ).chmod(0o644)
    with pytest.raises(UsageError, match="open to others"):
        settings_here(environ, tmp_path)
    assert log_out(environ) == "", "it can be forgotten all the same"
