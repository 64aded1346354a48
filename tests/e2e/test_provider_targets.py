"""Every provider configuration reaches its own organisation, whatever the run's gateway takes over (P11)."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.desk import Answer, Desk

from interlock.simulator import DEFAULT_CLIENT, Simulation, Terms
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.oauth import OAuthClient
from interlock.simulator.provider.install import install

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P11")]

OTHER = OAuthClient(id="b2c3d4e5-0000-4000-8000-00000000000b", secret="secret-of-the-other", name="Other")
REQUIRED = """
terraform {
  required_providers {
    genesyscloud = { source = "mypurecloud/genesyscloud" }
  }
}
"""
TWO = f"""{REQUIRED}
variable "other_secret" {{
  type      = string
  sensitive = true
}}
provider "genesyscloud" {{
  gateway {{}}
}}
provider "genesyscloud" {{
  alias              = "other"
  aws_region         = "eu-west-2"
  oauthclient_id     = "{OTHER.id}"
  oauthclient_secret = var.other_secret
}}
resource "genesyscloud_routing_skill" "home" {{
  name = "Home"
}}
resource "genesyscloud_routing_skill" "other" {{
  provider = genesyscloud.other
  name     = "Other"
}}
"""


@dataclass(frozen=True)
class World:
    """Two organisations with a client each; the environment's is `home`, region eu-west-2 is `other`."""

    desk: Desk
    home: Served
    other: Served

    def apply(self, text: str, *words: str, environ: dict[str, str] | None = None) -> Answer:
        module = self.desk.module("centre", text)
        return self.desk.run("apply", module, "--state", "s", "--auto-approve", *words, environ=environ)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    theirs = Simulation(Terms(seed=2, clients=(OTHER,)))
    with serve_in_thread(Simulation()) as home, serve_in_thread(theirs) as other:
        environ = {
            "TF_CLI_CONFIG_FILE": str(install(tmp_path / "plugin", speed=1000)),
            "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
            "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
            "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
            "GENESYSCLOUD_GATEWAY_HOST": home.host,
            "GENESYSCLOUD_GATEWAY_PORT": str(home.port),
            "INTERLOCK_UPSTREAM_API_EU_WEST_2": other.url,
            "INTERLOCK_UPSTREAM_LOGIN_EU_WEST_2": other.url,
            "TF_VAR_other_secret": OTHER.secret,
        }
        desk = Desk(tmp_path, environ)
        yield World(desk, home, other)
        desk.close()


def skills(served: Served) -> set[str]:
    return {str(each["name"]) for each in served.simulation.snapshot()["skill"]}


def test_an_alias_with_its_own_client_and_region_creates_in_its_own_organisation(world: World) -> None:
    answer = world.apply(TWO)
    assert answer.code == 0, answer.err
    assert skills(world.home) == {"Home"}
    assert skills(world.other) == {"Other"}


def test_a_block_with_a_wrong_client_of_its_own_is_refused_as_by_plain_terraform(world: World) -> None:
    text = REQUIRED + (
        'provider "genesyscloud" {\n  oauthclient_id = "nobody"\n  oauthclient_secret = "x"\n  gateway {}\n}\n'
        'resource "genesyscloud_routing_skill" "home" {\n  name = "Home"\n}\n'
    )
    answer = world.apply(text)
    assert answer.code == 32, answer.err
    assert skills(world.home) == set()


@pytest.mark.slow
def test_a_saved_plan_brings_its_own_client_and_is_refused_for_another_organisation(world: World) -> None:
    text = TWO.replace(f'oauthclient_id     = "{OTHER.id}"', "oauthclient_id     = var.other_id")
    text += 'variable "other_id" {\n  default = "nobody"\n}\n'
    module, plan = world.desk.module("centre", text), world.desk.folder / "p"
    planned = world.desk.run("plan", module, "--state", "s", "--out", plan, "--", f"-var=other_id={OTHER.id}")
    assert planned.code == 0, planned.err
    elsewhere = {
        "GENESYSCLOUD_GATEWAY_PORT": str(world.other.port),
        "GENESYSCLOUD_OAUTHCLIENT_ID": OTHER.id,
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": OTHER.secret,
    }
    words = ("apply", module, "--state", "s", "--auto-approve", "--plan", plan)
    refused = world.desk.run(*words, environ=elsewhere)
    assert (refused.code, "another organisation" in refused.err) == (21, True), refused.err
    assert (skills(world.home), skills(world.other)) == (set(), set())
    applied = world.desk.run(*words)
    assert applied.code == 0, applied.err
    assert (skills(world.home), skills(world.other)) == ({"Home"}, {"Other"})


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".tf.json").replace("_tf", ".tf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_local_names_json_files_and_modules_lead_where_plain_terraform_would(world: World) -> None:
    folder = world.desk.folder / "many"
    required = {"gc": {"source": "mypurecloud/genesyscloud"}}
    providers = [
        {"gateway": {}},
        {"alias": "other", "aws_region": "eu-west-2", "oauthclient_id": OTHER.id, "oauthclient_secret": OTHER.secret},
    ]
    calls = {
        "both": {"source": "./both", "providers": {"genesyscloud.here": "gc", "genesyscloud.there": "gc.other"}},
        "plain": {"source": "./plain"},
        "legacy": {"source": "./legacy"},
    }
    main = {"terraform": {"required_providers": required}, "provider": {"gc": providers}, "module": calls}
    aliases = "configuration_aliases = [genesyscloud.here, genesyscloud.there]"
    two_required = REQUIRED.replace('genesyscloud" }', f'genesyscloud"\n      {aliases}\n    }}')
    gateway = f'host = "127.0.0.1"\n    port = "{world.other.port}"\n    protocol = "http"'
    legacy = (
        f'provider "genesyscloud" {{\n  oauthclient_id = "{OTHER.id}"\n  oauthclient_secret = "{OTHER.secret}"\n'
        f"  gateway {{\n    {gateway}\n  }}\n}}\n"
    )
    write(
        folder,
        main_json=json.dumps(main),
        both__main_tf=two_required + skill("here", "genesyscloud.here") + skill("there", "genesyscloud.there"),
        plain__main_tf=REQUIRED + skill("plain"),
        legacy__main_tf=REQUIRED + legacy + skill("legacy"),
    )
    answer = world.desk.run("apply", folder, "--state", "s", "--auto-approve")
    assert answer.code == 0, answer.err
    assert skills(world.home) == {"here", "plain"}
    assert skills(world.other) == {"there", "legacy"}
    assert "bypasses the gateway" in answer.err
    counts = world.desk.journal(kind="gateway")[-1].facts
    assert counts["fenced"] == 0
    assert counts["sent"] > 0


def skill(name: str, provider: str = "") -> str:
    named = f"  provider = {provider}\n" if provider else ""
    return f'resource "genesyscloud_routing_skill" "{name}" {{\n{named}  name = "{name}"\n}}\n'


@pytest.mark.slow
def test_an_access_token_is_honoured_and_a_bad_one_is_refused(world: World) -> None:
    """The client of the environment is one that nobody knows: only the token can let the run in."""
    text = REQUIRED + 'variable "token" {}\nprovider "genesyscloud" {\n  access_token = var.token\n  gateway {}\n}\n'
    environ = {"GENESYSCLOUD_OAUTHCLIENT_ID": "nobody", "GENESYSCLOUD_OAUTHCLIENT_SECRET": "x"}
    good = world.apply(text + skill("a"), environ={**environ, "TF_VAR_token": token_of(world.home, DEFAULT_CLIENT)})
    assert good.code == 0, good.err
    assert "provider genesyscloud bypasses the gateway" in good.err
    assert skills(world.home) == {"a"}
    bad = world.apply(text + skill("a") + skill("b"), environ={"TF_VAR_token": "no-such-token"})
    assert bad.code == 32, bad.err
    assert skills(world.home) == {"a"}


def token_of(served: Served, client: OAuthClient) -> str:
    basic = base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
    request = urllib.request.Request(
        f"{served.url}/oauth/token",
        data=b"grant_type=client_credentials",
        headers={"Authorization": f"Basic {basic}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["access_token"])


def test_a_root_module_that_only_calls_modules_goes_through_the_gateway_too(world: World) -> None:
    """Its resources' provider is declared in the module alone, so the override must declare it for the root."""
    folder = world.desk.folder / "calls"
    environ = {"INTERLOCK_UPSTREAM_API": world.home.url, "INTERLOCK_UPSTREAM_LOGIN": world.home.url}
    write(folder, main_tf='module "m" {\n  source = "./m"\n}\n', m__main_tf=REQUIRED + skill("inside"))
    answer = world.desk.run("apply", folder, "--state", "s", "--auto-approve", environ=environ)
    assert answer.code == 0, answer.err
    assert skills(world.home) == {"inside"}
    assert world.desk.journal(kind="gateway")


@pytest.mark.slow
def test_a_client_in_ephemeral_variables_leads_plan_and_apply_to_the_same_organisation(world: World) -> None:
    """No plan holds such values: they are given again, by the same flags or when the saved plan is applied."""
    text = (
        'variable "id" {\n  ephemeral = true\n}\nvariable "secret" {\n  ephemeral = true\n}\n'
        'provider "genesyscloud" {\n  aws_region = "eu-west-2"\n'
        "  oauthclient_id = var.id\n  oauthclient_secret = var.secret\n}\n"
    )
    values = (f"-var=id={OTHER.id}", "-var", f"secret={OTHER.secret}")
    applied = world.apply(REQUIRED + text + skill("a"), "--", *values)
    assert applied.code == 0, applied.err
    module, plan = world.desk.module("centre", REQUIRED + text + skill("b")), world.desk.folder / "p"
    planned = world.desk.run("plan", module, "--state", "s", "--out", plan, "--", *values)
    assert planned.code == 0, planned.err
    again = world.desk.run("apply", module, "--state", "s", "--auto-approve", "--plan", plan, "--", *values)
    assert again.code == 0, again.err
    assert (skills(world.home), skills(world.other)) == (set(), {"b"})


@pytest.mark.slow
def test_a_client_that_only_terraform_can_read_is_learned_from_the_providers_own_login(world: World) -> None:
    """Our reading of a configuration knows no `file()`; a saved plan holds no such value either."""
    text = (
        f'provider "genesyscloud" {{\n  aws_region = "eu-west-2"\n  oauthclient_id = "{OTHER.id}"\n'
        '  oauthclient_secret = trimspace(file("${path.module}/secret.txt"))\n}\n'
    )
    module = world.desk.module("centre", REQUIRED + text + skill("a"))
    (module / "secret.txt").write_text(OTHER.secret + "\n")
    applied = world.desk.run("apply", module, "--state", "s", "--auto-approve")
    assert applied.code == 0, applied.err
    assert "past the gateway" not in applied.err
    assert world.desk.journal(kind="gateway")[-1].facts["sent"] > 0
    world.desk.module("centre", REQUIRED + text + skill("b"))
    plan = world.desk.folder / "p"
    planned = world.desk.run("plan", module, "--state", "s", "--out", plan)
    assert planned.code == 0, planned.err
    again = world.desk.run("apply", module, "--state", "s", "--auto-approve", "--plan", plan)
    assert again.code == 0, again.err
    assert (skills(world.home), skills(world.other)) == (set(), {"b"})
    (module / "secret.txt").write_text("wrong")
    refused = world.desk.run("plan", module, "--state", "s")
    assert refused.code == 32, refused.err


def test_a_gateway_of_its_own_is_reached_through_the_runs_gateway(world: World) -> None:
    """It stands before another organisation than the one of the environment: it decides, and the run is fenced."""
    gateway = f'protocol = "http"\n    host = "127.0.0.1"\n    port = "{world.other.port}"'
    text = (
        f'provider "genesyscloud" {{\n  oauthclient_id = "{OTHER.id}"\n  oauthclient_secret = "{OTHER.secret}"\n'
        f"  gateway {{\n    {gateway}\n  }}\n}}\n"
    )
    environ = {"INTERLOCK_UPSTREAM_API": world.home.url, "INTERLOCK_UPSTREAM_LOGIN": world.home.url}
    answer = world.apply(REQUIRED + text + skill("a"), environ=environ)
    assert answer.code == 0, answer.err
    assert (skills(world.home), skills(world.other)) == (set(), {"a"})
    assert "past the gateway" not in answer.err
    assert world.desk.journal(kind="gateway")[-1].facts["sent"] > 0
