"""Drift of every kind, made through the simulated organisation's API, found, decided each way, and clean afterwards."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.desk import Answer, Desk

from interlock.simulator import DEFAULT_CLIENT, OAuthClient, Simulation, Terms
from interlock.simulator.asgi import serve_in_thread
from interlock.simulator.provider.install import install

pytestmark = pytest.mark.e2e

ADMIN = OAuthClient(id="22222222-2222-4222-a222-222222222222", secret="by-hand", name="Ana in the admin UI")

HEAD = """
terraform {
  required_providers {
    genesyscloud = {
      source = "mypurecloud/genesyscloud"
    }
  }
}

provider "genesyscloud" {
  gateway {}
}
"""
MODULE = """
resource "genesyscloud_user" "ana" {
  email    = "ana@example.com"
  name     = "Ana"
  password = "not-for-anybody-1"
}

resource "genesyscloud_routing_queue" "orders" {
  name        = "Orders"
  description = "{description}"

  members {{
    user_id = genesyscloud_user.ana.id
  }}
}}

resource "genesyscloud_routing_queue" "returns" {{
  name        = "Returns"
  description = "Goods that come back"
}}

{wrapup}
resource "genesyscloud_flow" "welcome" {{
  filepath = "${{path.module}}/welcome.yaml"
}}
"""
WRAPUP = 'resource "genesyscloud_routing_wrapupcode" "done" {\n  name = "Done"\n}\n'
FLOW = "inboundCall:\n  name: Welcome\n  description: {}\n"


@dataclass
class Centre:
    """The organisation, a configuration for it, and somebody with an account of their own."""

    desk: Desk
    simulation: Simulation
    url: str
    folder: Path

    def write(self, description: str = "Online orders", wrapup: str = WRAPUP, extra: str = "") -> None:
        body = MODULE.replace("{description}", description).replace("{wrapup}", wrapup)
        (self.folder / "main.tf").write_text(HEAD + body.replace("{{", "{").replace("}}", "}") + extra)

    def write_flow(self, description: str) -> None:
        (self.folder / "welcome.yaml").write_text(FLOW.format(description))

    def apply(self, *words: object) -> Answer:
        return self.desk.run("apply", self.folder, "--state", "s", "--auto-approve", *words)

    def scan(self, *words: object) -> dict[str, Any]:
        answer = self.desk.run("drift", self.folder, "--state", "s", "--json", "--detailed-exitcode", *words)
        document: dict[str, Any] = answer.document
        assert answer.code == (2 if document["counts"]["open"] else 0), answer.err
        return document

    def decide(self, choice: str, *words: object) -> Answer:
        answer = self.desk.run("drift", choice, *words, "--state", "s", "--directory", self.folder)
        assert answer.code == 0, answer.err
        return answer

    def call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v2{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token()}"},
        )
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def edit(self, path: str, **fields: object) -> None:
        self.call("PUT", path, {**self.call("GET", path), **fields})

    def publish_elsewhere(self, description: str) -> None:
        job = self.call("POST", "/flows/jobs")
        upload = urllib.request.Request(
            job["presignedUrl"], method="PUT", data=FLOW.format(description).encode(), headers=job["headers"]
        )
        urllib.request.urlopen(upload).close()

    def id_of(self, kind: str, name: str) -> str:
        return next(str(each["id"]) for each in self.simulation.snapshot()[kind] if each["name"] == name)

    def named(self, kind: str, name: str) -> dict[str, Any]:
        return next(each for each in self.simulation.snapshot()[kind] if each["name"] == name)

    def _token(self) -> str:
        pair = base64.b64encode(f"{ADMIN.id}:{ADMIN.secret}".encode()).decode()
        request = urllib.request.Request(
            f"{self.url}/oauth/token",
            data=b"grant_type=client_credentials",
            headers={"Authorization": f"Basic {pair}"},
        )
        with urllib.request.urlopen(request) as answer:
            return str(json.load(answer)["access_token"])


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    simulation = Simulation(Terms(clients=(DEFAULT_CLIENT, ADMIN)))
    with serve_in_thread(simulation) as served:
        desk = Desk(
            tmp_path,
            {
                "TF_CLI_CONFIG_FILE": str(install(tmp_path / "plugin", speed=1000.0)),
                "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
                "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
                "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
                "GENESYSCLOUD_GATEWAY_HOST": served.host,
                "GENESYSCLOUD_GATEWAY_PORT": str(served.port),
            },
        )
        folder = tmp_path / "module"
        folder.mkdir()
        made = Centre(desk, simulation, f"http://{served.host}:{served.port}", folder)
        made.write()
        made.write_flow("first")
        applied = made.apply()
        assert applied.code == 0, applied.err
        yield made
        desk.close()


def by_address(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["address"]: each for each in document["findings"]}


def test_every_kind_of_drift_is_found_with_who_did_it(centre: Centre) -> None:
    untouched = centre.scan()
    assert (untouched["findings"], untouched["notes"]) == ([], [])

    queue = centre.id_of("queue", "Orders")
    centre.edit(f"/routing/queues/{queue}", description="Online and by phone")
    centre.call("DELETE", f"/routing/wrapupcodes/{centre.id_of('wrapupcode', 'Done')}")
    centre.publish_elsewhere("second")
    skill = centre.call("POST", "/routing/skills", {"name": "Fraud desk"})["id"]

    document = centre.scan("--unmanaged", "routing_skill,routing_queue")
    found = by_address(document)
    assert {address: each["kind"] for address, each in found.items()} == {
        "genesyscloud_routing_queue.orders": "changed",
        "genesyscloud_routing_wrapupcode.done": "gone",
        "genesyscloud_flow.welcome": "content",
        "genesyscloud_routing_skill.fraud_desk": "unmanaged",
    }, document
    by_whom = {each["kind"]: each["cause"]["who"] for each in found.values()}
    assert by_whom == {"changed": ADMIN.name, "gone": ADMIN.name, "unmanaged": ADMIN.name, "content": "system"}
    assert not any(each["cause"]["ours"] for each in found.values())
    (attribute,) = found["genesyscloud_routing_queue.orders"]["attributes"]
    assert (attribute["path"], attribute["before"], attribute["after"]) == (
        "description",
        "Online orders",
        "Online and by phone",
    )
    assert f'id = "{skill}"' in document["imports"]
    assert 'resource "genesyscloud_routing_skill" "fraud_desk"' in document["imports"]
    assert document["notes"] == []
    assert "not-for-anybody" not in json.dumps(document)

    gated = centre.desk.run("drift", centre.folder, "--state", "s", "--gate")
    assert gated.code == 40, gated.err
    assert "genesyscloud_flow.welcome" in gated.out


@pytest.mark.slow
@pytest.mark.promise("P8")
def test_the_gate_lets_an_apply_revert_only_what_somebody_decided_to_revert(centre: Centre) -> None:
    queue, former = centre.id_of("queue", "Orders"), centre.id_of("wrapupcode", "Done")
    centre.edit(f"/routing/queues/{queue}", description="by hand")
    ungated = centre.apply()
    assert ungated.code == 0, ungated.err
    assert "state unchanged" in ungated.err, "what was reverted never was in the state"
    centre.edit(f"/routing/queues/{queue}", description="by hand")
    centre.call("DELETE", f"/routing/wrapupcodes/{former}")
    refused = centre.apply("--drift-gate")
    assert refused.code == 40, refused.err
    assert "genesyscloud_routing_queue.orders description" in refused.err
    assert "genesyscloud_routing_wrapupcode.done (gone)" in refused.err
    assert centre.named("queue", "Orders")["description"] == "by hand"

    assert centre.scan()["counts"]["open"] == 2
    centre.decide("revert", "Done", queue, "--reason", "a mistake")
    centre.edit(f"/routing/queues/{queue}", description="by hand again")
    assert centre.apply("--drift-gate").code == 40, "the decision was about another value"
    centre.edit(f"/routing/queues/{queue}", description="by hand")
    reverted = centre.apply("--drift-gate")
    assert reverted.code == 0, reverted.err
    assert centre.named("queue", "Orders")["description"] == "Online orders"
    assert centre.id_of("wrapupcode", "Done") != former
    assert centre.scan()["findings"] == []


@pytest.mark.slow
def test_accepted_drift_is_clean_once_the_configuration_says_the_same(centre: Centre) -> None:
    centre.edit(f"/routing/queues/{centre.id_of('queue', 'Orders')}", description="by hand")
    centre.call("DELETE", f"/routing/wrapupcodes/{centre.id_of('wrapupcode', 'Done')}")
    assert centre.scan()["counts"]["open"] == 2

    told = centre.decide("accept", "--all")
    assert 'description = "by hand"' in told.out
    assert "from = genesyscloud_routing_wrapupcode.done" in told.out
    assert "main.tf:" in told.err
    assert centre.apply("--drift-gate").code == 40, "an accepted value stays"

    removed = told.out[told.out.index("removed {") :]
    centre.write(description="by hand", wrapup=removed[: removed.index("\n}\n") + 3])
    applied = centre.apply("--drift-gate")
    assert applied.code == 0, applied.err
    assert centre.scan()["findings"] == []


@pytest.mark.slow
def test_a_flow_that_was_published_elsewhere_is_neither_overlooked_nor_overwritten(centre: Centre) -> None:
    centre.publish_elsewhere("by hand")
    centre.write_flow("third")
    refused = centre.apply("--drift-gate")
    assert refused.code == 40, refused.err
    assert centre.named("flow", "Welcome")["description"] == "by hand"

    (finding,) = centre.scan()["findings"]
    assert (finding["kind"], finding["address"]) == ("content", "genesyscloud_flow.welcome")
    centre.decide("revert", "genesyscloud_flow.welcome")
    assert centre.apply("--drift-gate").code == 0
    assert centre.named("flow", "Welcome")["description"] == "third"

    centre.publish_elsewhere("better")
    assert centre.scan()["counts"]["content"] == 1
    centre.decide("accept", "genesyscloud_flow.welcome")
    assert centre.scan()["findings"] == []


@pytest.mark.slow
def test_what_is_imported_plans_clean_and_what_is_left_is_not_asked_about_again(centre: Centre) -> None:
    division = centre.call("POST", "/authorization/divisions", {"name": "Claims"})["id"]
    made = [
        centre.call("POST", "/routing/skills", {"name": "Fraud desk"}),
        centre.call("POST", "/routing/languages", {"name": "Dutch"}),
        centre.call("POST", "/routing/wrapupcodes", {"name": "Lost", "division": {"id": division}}),
        centre.call("POST", "/routing/queues", {"name": "Claims ${queue}", "division": {"id": division}}),
        centre.call("POST", "/users", {"name": "Ben", "email": "ben@example.com"}),
        centre.call("POST", "/groups", {"name": "Leads", "type": "official", "visibility": "public"}),
        centre.call(
            "POST",
            "/architect/schedules",
            {"name": "Open", "start": "2026-01-01T08:00:00.000000", "end": "2026-01-01T18:00:00.000000"},
        ),
    ]
    other = centre.call("POST", "/routing/skills", {"name": "Left alone"})["id"]
    document = centre.scan("--unmanaged", "all")
    assert document["counts"]["unmanaged"] == len(made) + 2
    assert document["notes"] == []

    centre.decide("accept", other, "--reason", "the partner's")
    centre.decide("import", "--all", "--out", centre.folder / "imported.tf")
    applied = centre.apply("--json")
    assert applied.code == 0, applied.err
    only_imports = {"add": 0, "change": 0, "remove": 0, "imports": len(made) + 1}
    assert applied.document["counts"] == only_imports, (centre.folder / "imported.tf").read_text()
    counts = centre.scan("--unmanaged", "all")["counts"]
    assert (counts["open"], counts["accepted"]) == (0, 1)
