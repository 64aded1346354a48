"""The example configuration, by the real Terraform, against the simulated organisation."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.program import unwrapped

from interlock.simulator import DEFAULT_CLIENT, Delays, LoginLimit, Simulation, Terms
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.compare import differences
from interlock.simulator.provider.install import install

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[2] / "examples" / "contact-center"


@pytest.fixture
def served() -> Iterator[Served]:
    with serve_in_thread(Simulation()) as running:
        yield running


class Terraform:
    """The real binary in a copy of the example."""

    def __init__(self, folder: Path, served: Served, speed: float = 1000.0) -> None:
        self.folder = folder / "contact-center"
        shutil.copytree(EXAMPLE, self.folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TF_CLI_CONFIG_FILE": str(install(folder / "plugin", speed=speed)),
            "CHECKPOINT_DISABLE": "1",
            "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
            "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
            "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
            "GENESYSCLOUD_GATEWAY_HOST": served.host,
            "GENESYSCLOUD_GATEWAY_PORT": str(served.port),
        }

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["terraform", *arguments, "-no-color"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def state(self) -> dict[str, object]:
        document: dict[str, object] = json.loads((self.folder / "terraform.tfstate").read_text())
        return document


@pytest.fixture
def terraform(tmp_path: Path, served: Served) -> Terraform:
    return Terraform(tmp_path, served)


def test_the_example_applies_plans_clean_changes_and_is_destroyed(terraform: Terraform, served: Served) -> None:
    applied = terraform.run("apply", "-auto-approve")
    assert applied.returncode == 0, applied.stderr
    organisation = served.simulation.snapshot()
    assert {kind: len(organisation[kind]) for kind in ("skill", "queue", "user")} == {
        "skill": 6,
        "queue": 4,
        "user": 12,
    }
    assert differences(organisation, terraform.state()) == []

    planned = terraform.run("plan", "-detailed-exitcode")
    assert planned.returncode == 0, planned.stdout + planned.stderr

    changed = terraform.run("apply", "-auto-approve", "-var", "greeting_round=2")
    assert "0 added, 4 changed, 0 destroyed" in changed.stdout, changed.stdout + changed.stderr
    assert differences(served.simulation.snapshot(), terraform.state()) == []

    destroyed = terraform.run("destroy", "-auto-approve")
    assert destroyed.returncode == 0, destroyed.stderr
    left = served.simulation.snapshot()
    assert {kind: items for kind, items in left.items() if items and kind != "division"} == {}
    assert [division["name"] for division in left["division"]] == ["Home"]


@pytest.mark.slow
def test_an_organisation_whose_reads_are_late_and_whose_logins_are_few_gives_the_same_result(tmp_path: Path) -> None:
    terms = Terms(
        speed=100.0,
        delays=Delays(read_s=5.0, list_s=10.0),
        login_limit=LoginLimit(allowed=12, window_s=60.0),
    )
    with serve_in_thread(Simulation(terms)) as late:
        terraform = Terraform(tmp_path, late, speed=100.0)
        applied = terraform.run("apply", "-auto-approve")
        assert applied.returncode == 0, applied.stderr
        assert terraform.run("plan", "-detailed-exitcode").returncode == 0
        assert differences(late.simulation.snapshot(), terraform.state()) == []
        assert late.simulation.statuses[404] > 0


def test_the_example_is_formatted_as_terraform_would(terraform: Terraform) -> None:
    assert terraform.run("fmt", "-check", "-recursive").returncode == 0


def test_configuring_the_provider_mints_one_token_and_its_pool_for_each_walk(
    terraform: Terraform, served: Served
) -> None:
    terraform.run("apply", "-auto-approve", "-target", "genesyscloud_auth_division.retail")
    assert served.simulation.login.granted == 2 * (1 + 10)


def test_an_error_of_the_api_is_reported_in_the_words_of_the_real_provider(terraform: Terraform) -> None:
    (terraform.folder / "twin.tf").write_text(
        'resource "genesyscloud_routing_wrapupcode" "twin" {\n  name = "Resolved"\n}\n'
        'resource "genesyscloud_routing_wrapupcode" "other" {\n'
        '  name       = "resolved"\n  depends_on = [genesyscloud_routing_wrapupcode.twin]\n}\n'
    )
    failed = terraform.run("apply", "-auto-approve", "-target", "genesyscloud_routing_wrapupcode.other")
    text = unwrapped(failed.stderr)
    assert failed.returncode == 1
    assert "Failed to create wrap-up code resolved error: API Error: 409 - A wrapupcode with the name" in text
    assert '"resourceType": "genesyscloud_routing_wrapupcode", "method": "POST"' in text
