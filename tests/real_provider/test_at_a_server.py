"""The real provider at a server that keeps the OAuth client: no secret on the runner."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.proxy import certificate, encrypting, proxying
from tests.real_provider.trial import Trial
from tests.team import TOKEN, TeamServer, a_team

from interlock.simulator import DEFAULT_CLIENT
from interlock.store.sealing import spell_key

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.real_provider]

HOSTS = ("api.mypurecloud.com", "apps.mypurecloud.com", "login.mypurecloud.com")
KEY = spell_key(bytes(range(32)))
WORDS = ("--region", "us-east-1", "--client-id", DEFAULT_CLIENT.id, "--states", "**")


@pytest.fixture
def at_server(trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Trial, TeamServer]]:
    """A trial whose runs are at a server, which alone has the OAuth client."""
    monkeypatch.setenv("INTERLOCK_ENCRYPTION_KEY", KEY)
    for name in ("ID", "SECRET"):
        monkeypatch.delenv(f"GENESYSCLOUD_OAUTHCLIENT_{name}", raising=False)
    for name in [name for name in trial.desk.environ if name.startswith(("GENESYSCLOUD_", "INTERLOCK_UPSTREAM_"))]:
        trial.desk.environ.pop(name)
    with a_team(tmp_path, laptops=0) as (server, _):
        monkeypatch.delenv("INTERLOCK_ENCRYPTION_KEY")
        upstream = [f"--upstream-{each}=http://127.0.0.1:{trial.port}" for each in ("api", "login")]
        subprocess.run(
            [sys.executable, "-m", "interlock", "organisation", "add", "acme", *WORDS, *upstream],
            env={
                **os.environ,
                "INTERLOCK_HOME": str(server.home),
                "HOME": str(server.home),
                "INTERLOCK_ENCRYPTION_KEY": KEY,
            },
            input=DEFAULT_CLIENT.secret,
            text=True,
            check=True,
            timeout=60,
        )
        trial.desk.environ |= {"INTERLOCK_SERVER": server.url, "INTERLOCK_TOKEN": TOKEN}
        yield trial, server


@pytest.mark.promise("P10")
def test_the_sounds_of_prompts_are_sent_without_any_secret_on_the_runner(
    at_server: tuple[Trial, TeamServer],
) -> None:
    trial, _ = at_server
    trial.applied(trial.room("menus"), "--first-apply")
    trial.unchanged(trial.room("menus"))
    trial.applied(trial.room("menus", 2))
    sent = [entry.status for entry in trial.simulation.journal if entry.path.startswith("/uploads/")]
    assert sent == [200, 200]
    destroyed = trial.run("destroy", trial.room("menus", 2), "--auto-approve")
    assert destroyed.code == 0, destroyed.err[-6000:]
    assert trial.names("prompt") == []
    kept = [file for file in trial.desk.folder.rglob("*") if file.is_file() and "server" not in file.parts]
    assert not any(DEFAULT_CLIENT.secret.encode() in file.read_bytes() for file in kept)


SCRIPT = """
resource "genesyscloud_script" "s" {
  script_name = "Greeting script"
  filepath    = "${path.module}/script.json"
}
resource "genesyscloud_routing_skill" "s" {
  name = "Beside it"
}
"""
LOOKUP = """
data "genesyscloud_flow" "f" {
  name = "Main"
  type = "inboundcall"
}
"""
OWN_CLIENT = """
variable "client" {
  type      = object({ id = string, secret = string })
  sensitive = true
}
provider "genesyscloud" {
  alias              = "own"
  oauthclient_id     = var.client.id
  oauthclient_secret = var.client.secret
  aws_region         = "us-east-1"
  token_pool_size    = 2
}
"""


@pytest.mark.promise("P8")
def test_what_asks_past_the_gateways_is_refused_before_anything_is_changed_and_works_as_it_is_told(
    at_server: tuple[Trial, TeamServer], tmp_path: Path
) -> None:
    trial, _ = at_server
    module = trial.write(SCRIPT)
    (module / "script.json").write_text('{"pages": []}')
    looked_up = trial.run("plan", trial.write(LOOKUP, "lookup"), state="lookup")
    assert looked_up.code == 3, looked_up.err
    assert "data.genesyscloud_flow.f cannot work at this server" in looked_up.err
    for command, *more in (("plan",), ("apply", "--auto-approve", "--first-apply")):
        refused = trial.run(command, module, *more)
        assert refused.code == 3, refused.err
        assert "genesyscloud_script.s cannot work at this server" in refused.err
    assert trial.names("skill") == trial.names("script") == []

    file = certificate(tmp_path, *HOSTS)
    with encrypting(file, trial.port) as port, proxying(places={f"{host}:443": port for host in HOSTS}) as forward:
        trial.desk.environ |= {
            "HTTPS_PROXY": f"http://127.0.0.1:{forward.port}",
            "NO_PROXY": "127.0.0.1",
            "SSL_CERT_FILE": str(file),
            "INTERLOCK_UPSTREAM_API_US_EAST_1": f"http://127.0.0.1:{trial.port}",
            "INTERLOCK_UPSTREAM_LOGIN_US_EAST_1": f"http://127.0.0.1:{trial.port}",
            "TF_VAR_client": json.dumps({"id": DEFAULT_CLIENT.id, "secret": DEFAULT_CLIENT.secret}),
        }
        with_own = SCRIPT.replace('"s" {\n  script', '"s" {\n  provider    = genesyscloud.own\n  script')
        trial.applied(trial.write(OWN_CLIENT + with_own), "--first-apply")
        assert (trial.names("skill"), trial.names("script")) == (["Beside it"], ["Greeting script"])
        (printed,) = re.findall(r"interlock (plan .*--no-gateway)", looked_up.err)
        named = {"ID": DEFAULT_CLIENT.id, "SECRET": DEFAULT_CLIENT.secret}
        given = {f"GENESYSCLOUD_OAUTHCLIENT_{name}": value for name, value in named.items()}
        unfenced = trial.desk.run(*shlex.split(printed), environ={**given, "GENESYSCLOUD_REGION": "us-east-1"})
        assert unfenced.code == 34, unfenced.err
        assert {head.split()[1] for head in forward.heads} >= {f"{host}:443" for host in HOSTS}
