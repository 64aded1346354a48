"""Weak secrets, open files, an open proxy and greedy peers at what `interlock serve` and `interlock gateway` open."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from interlock.audit.signing import parse_key
from interlock.cli import view
from interlock.cli.main import COMMANDS
from interlock.compose.serving import _server_token
from interlock.errors import UsageError
from interlock.gateway.oauth import Credentials
from interlock.gateway.oauth import Secret as GatewaySecret
from interlock.gateway.service import Address, Gateway, Terms
from interlock.gateway.tunnel import Tunnel
from interlock.gateway.uploads import Target, may_tunnel
from interlock.listening.guests import PEER_SHARE, Guests, peer_of
from interlock.settings.values import Secret, Settings
from interlock.trust.secret_file import _check_private, read_secret_file

GOOD = "4Yq0xVd2m9QeT7bLs1Zr"
"""Stands for a token; it opens nothing."""


def settings(tmp_path: Path, token: str | None = None) -> Settings:
    return Settings(home=tmp_path / "home", token=None if token is None else Secret(value=token))


@pytest.mark.promise("P10")
@pytest.mark.parametrize("token", ["a", "", "0123456789abcde", "a" * 64, "changemechangeme", "secretsecretsecret"])
def test_a_token_that_can_be_guessed_opens_no_server(tmp_path: Path, token: str) -> None:
    with pytest.raises(UsageError, match="can be guessed") as refused:
        _server_token(settings(tmp_path, token), None)
    assert refused.value.exit_status == 3
    assert refused.value.fix.startswith("env -u INTERLOCK_TOKEN interlock serve")
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(token)
    with pytest.raises(UsageError, match="can be guessed") as refused:
        _server_token(settings(tmp_path), str(path))
    subprocess.run(["sh", "-c", refused.value.fix], check=True)
    assert len(_server_token(settings(tmp_path), str(path))[0]) > 40
    assert _server_token(settings(tmp_path, GOOD), None)[0] == GOOD


@pytest.mark.promise("P10")
@pytest.mark.parametrize("key", ["", "short", "k" * 64, "0123" * 16])
def test_a_key_that_can_be_guessed_signs_no_audit_log(key: str) -> None:
    with pytest.raises(UsageError, match="can be guessed"):
        parse_key(key, said_by="INTERLOCK_AUDIT_KEY")


@pytest.mark.promise("P10")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_token_file_that_others_can_read_or_write_is_refused_with_the_command_that_closes_it(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "to ken"
    path.write_text(GOOD)
    path.chmod(mode)
    with pytest.raises(UsageError, match="open to others") as refused:
        _server_token(settings(tmp_path), str(path))
    assert (refused.value.exit_status, GOOD in str(refused.value)) == (3, False)
    subprocess.run(shlex.split(refused.value.fix), check=True)
    assert _server_token(settings(tmp_path), str(path))[0] == GOOD


@pytest.mark.promise("P10")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another Unix user")
def test_a_token_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(GOOD)
    os.chown(path, 65534, 65534)
    with pytest.raises(UsageError, match="is not yours"):
        read_secret_file(path, what="the file with the server's token")


@pytest.mark.promise("P10")
def test_a_planted_link_does_not_receive_the_token_that_the_server_makes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "server-token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="exists"):
        _server_token(settings(tmp_path), None)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.promise("P10")
def test_the_gateway_refuses_a_secret_file_that_others_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_text("the-client-secret")
    path.chmod(0o644)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", "id")
    words = ["--listen", "127.0.0.1:0", "--region", "eu-central-1", "--secret-file", str(path)]
    answer = run_gateway(words)
    assert isinstance(answer, UsageError)
    assert answer.fix == f"chmod 600 {path}"


def test_a_mounted_secret_of_root_that_nobody_in_the_container_can_change_has_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    kubernetes = os.stat_result((0o100440, 1, 1, 1, 0, 2000, 10, 0, 0, 0))
    with pytest.raises(UsageError, match="open to others") as refusal:
        _check_private(kubernetes, Path("/run/secrets/token"), "the file with the server's token")
    assert refusal.value.fix.startswith("(umask 077; cat /run/secrets/token > ")


def run_gateway(words: list[str]) -> BaseException | None:
    from interlock.cli import gateway

    assert "gateway" in COMMANDS
    return CliRunner().invoke(gateway.app, words).exception


@pytest.mark.promise("P10")
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_the_upload_proxy_does_not_listen_beyond_this_machine(host: str) -> None:
    with pytest.raises(UsageError, match="may not listen on") as refused:
        await Tunnel("mypurecloud.de").start(host)
    assert refused.value.exit_status == 3


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "host",
    [
        *("ec2-18-1-2-3.compute-1.amazonaws.com", "x.execute-api.eu-west-1.amazonaws.com", "amazonaws.com"),
        *("s3.evil.example", "evils3.amazonaws.com.evil.example", "sts.amazonaws.com", "x.elb.amazonaws.com"),
        *("s3.ec2-18-1-2-3.compute-1.amazonaws.com", "xs3.amazonaws.com", "mypurecloud.de.", "apps.mypurecloud.com"),
    ],
)
def test_the_upload_proxy_reaches_nobody_elses_machines_at_amazon(host: str) -> None:
    assert not may_tunnel(Target(host=host, port=443), domain="mypurecloud.de")
    assert not may_tunnel(Target(host="evil.com", port=443), domain="com")


@pytest.mark.parametrize(
    "host",
    [
        *("b.s3.amazonaws.com", "s3.eu-central-1.amazonaws.com", "b.c.s3.eu-central-1.amazonaws.com"),
        *("b.s3-eu-west-1.amazonaws.com", "b.s3.dualstack.eu-west-1.amazonaws.com", "b.s3-accelerate.amazonaws.com"),
    ],
)
def test_the_upload_proxy_reaches_amazons_storage(host: str) -> None:
    assert may_tunnel(Target(host=host, port=443), domain="mypurecloud.de")


@pytest.mark.promise("P10")
async def test_a_gateway_that_lets_everybody_log_in_does_not_listen_beyond_this_machine() -> None:
    url = "http://127.0.0.1:1"
    credentials = Credentials(client_id="id", secret=GatewaySecret("s"))
    gateway = Gateway(Terms(api_url=url, login_url=url, credentials=credentials, open_login=True))
    with pytest.raises(UsageError, match="may not listen on"):
        await gateway.start("0.0.0.0")


def test_one_peer_beyond_this_machine_keeps_nobody_else_out() -> None:
    guests, ended = Guests(8), list[str]()

    def close(name: str) -> Callable[[], None]:
        return lambda: ended.append(name)

    for number in range(8 // PEER_SHARE):
        assert guests.enter(f"greedy{number}", close(f"greedy{number}"), peer="192.0.2.1")
        guests.begin(f"greedy{number}")
    assert not guests.enter("more", close("more"), peer="192.0.2.1")
    assert guests.enter("other", close("other"), peer="192.0.2.2")
    assert guests.enter("local", close("local"))
    guests.end("greedy0", close("greedy0"))
    assert guests.enter("more", close("more"), peer="192.0.2.1")
    assert ended == ["greedy0"]


def test_peers_are_told_apart_by_address_and_an_ipv6_network_is_one() -> None:
    addresses = [("192.0.2.1", 1), ("::ffff:192.0.2.1", 2, 0, 0), ("2001:db8::1", 3, 0, 0), ("2001:db8::2", 4, 0, 0)]
    assert len({peer_of(each) for each in addresses}) == 2
    assert {peer_of(each) for each in [("127.0.0.1", 1), ("::1", 1, 0, 0), ("", 0), None, "x"]} == {""}


@pytest.mark.parametrize(("host", "is_said"), [("192.0.2.1", True), ("127.0.0.1", False)])
def test_the_gateway_beyond_loopback_says_that_it_speaks_in_clear(
    monkeypatch: pytest.MonkeyPatch, host: str, *, is_said: bool
) -> None:
    from interlock.cli import gateway

    async def listens(_gateway: Gateway, _host: str, _port: int) -> Address:
        return Address(host=host, port=8181)

    said: list[str] = []
    monkeypatch.setattr(view, "note", said.append)
    monkeypatch.setattr("interlock.listening.ending.Ending.wait", _at_once)
    monkeypatch.setattr(Gateway, "start", listens)
    monkeypatch.setattr(Gateway, "check_login", _no_trouble)
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_ID", "id")
    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", "some-secret")
    words = ["--listen", f"{host}:8181", "--region", "eu-central-1"]
    assert CliRunner().invoke(gateway.app, words).exit_code == 0
    assert any("in clear" in line for line in said) is is_said


async def _at_once(_ending: object) -> None:
    pass


async def _no_trouble(_gateway: object) -> str:
    return ""
