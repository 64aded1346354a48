"""A configuration with a `proxy` block of its own: its run's gateway goes through that proxy, and tells it nothing."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.desk import Answer, Desk
from tests.proxy import ForwardProxy, certificate, encrypting, proxying

from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.install import install

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P10")]

HOSTS = ("api.mypurecloud.com", "login.mypurecloud.com")
LOGIN = "carrier:s3cret-of-the-proxy"
REQUIRED = 'terraform {\n  required_providers {\n    genesyscloud = { source = "mypurecloud/genesyscloud" }\n  }\n}\n'
SKILL = 'resource "genesyscloud_routing_skill" "a" {\n  name = "through"\n}\n'
AUTH = '    auth {\n      username = "carrier"\n      password = var.password\n    }\n'
REAL = "terraform-provider-genesyscloud"


def provider(port: object, auth: str = AUTH, more: str = "") -> str:
    block = f'  proxy {{\n    protocol = "http"\n    host = "127.0.0.1"\n    port = "{port}"\n{auth}  }}\n'
    return f'variable "password" {{\n  sensitive = true\n}}\nprovider "genesyscloud" {{\n{more}{block}}}\n'


@dataclass(frozen=True)
class World:
    """An organisation behind TLS that only the proxy reaches, under the names of the region us-east-1."""

    desk: Desk
    organisation: Served
    proxy: ForwardProxy

    def apply(self, text: str, environ: dict[str, str] | None = None) -> Answer:
        module = self.desk.module("centre", REQUIRED + text)
        values = {"TF_VAR_password": "s3cret-of-the-proxy", **(environ or {})}
        return self.desk.run("apply", module, "--state", "s", "--auto-approve", environ=values)

    @property
    def skills(self) -> set[str]:
        return {str(each["name"]) for each in self.organisation.simulation.snapshot()["skill"]}

    def seen(self) -> str:
        """Return everything that the proxy could read, with what went through its tunnels."""
        return bytes(self.proxy.seen + self.proxy.through).decode("latin-1")


def plugin(folder: Path, kind: str) -> Path:
    if kind == "stand-in":
        return install(folder, speed=1000)
    found = shutil.which(REAL)
    if found is None:
        pytest.skip(f"{REAL} is not on PATH")
    rc = folder.parent / "real.tfrc"
    overrides = f'dev_overrides {{ "mypurecloud/genesyscloud" = "{Path(found).parent}" }}'
    rc.write_text(f"provider_installation {{\n  {overrides}\n  direct {{}}\n}}\n")
    return rc


@pytest.fixture(params=["stand-in", "real"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    pem = certificate(tmp_path, *HOSTS)
    config = plugin(tmp_path / "plugin", request.param)
    with (
        serve_in_thread(Simulation()) as organisation,
        encrypting(pem, organisation.port) as port,
        proxying(LOGIN, {f"{host}:443": port for host in HOSTS}) as proxy,
    ):
        environ = {
            "TF_CLI_CONFIG_FILE": str(config),
            "SSL_CERT_FILE": str(pem),
            "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
            "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
            "GENESYSCLOUD_REGION": "us-east-1",
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"), ""),
        }
        desk = Desk(tmp_path, environ)
        yield World(desk, organisation, proxy)
        desk.close()


def test_a_run_goes_through_its_own_proxy_which_sees_hosts_and_its_own_password_alone(world: World) -> None:
    answer = world.apply(provider(world.proxy.port) + SKILL)
    assert answer.code == 0, answer.err
    assert world.skills == {"through"}
    assert world.desk.journal(kind="gateway")[-1].facts["sent"] > 0
    assert {head.split()[1] for head in world.proxy.heads} == {f"{host}:443" for host in HOSTS}
    hidden = [DEFAULT_CLIENT.secret, "Bearer", "/r/", "oauth/token", "through"]
    assert [each for each in hidden if each in world.seen()] == []
    kept = b"".join(path.read_bytes() for path in (world.desk.home / "runs").rglob("*") if path.is_file())
    assert b"s3cret-of-the-proxy" not in kept
    assert "s3cret-of-the-proxy" not in answer.out + answer.err


def test_a_proxy_that_refuses_the_password_ends_the_run_with_that_reason(world: World) -> None:
    answer = world.apply(provider(world.proxy.port) + SKILL, {"TF_VAR_password": "wrong"})
    assert answer.code == 32, answer.err
    assert f"the proxy 127.0.0.1:{world.proxy.port} refuses its user and password (407)" in answer.err
    assert "wrong" not in answer.err
    assert world.skills == set()


def test_a_proxy_that_is_gone_ends_the_run_with_that_reason(world: World) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answer = world.apply(provider(port) + SKILL)
    assert answer.code == 30, answer.err
    assert f"the proxy 127.0.0.1:{port} cannot be reached" in answer.err
    assert world.desk.journal(kind="plan") == []


def test_a_proxy_of_the_environment_is_the_gateways_too(world: World) -> None:
    proxy = f"http://carrier:s3cret-of-the-proxy@127.0.0.1:{world.proxy.port}"
    answer = world.apply(SKILL, {"HTTPS_PROXY": proxy, "https_proxy": proxy})
    assert answer.code == 0, answer.err
    assert world.skills == {"through"}
    assert "s3cret-of-the-proxy" not in answer.out + answer.err
