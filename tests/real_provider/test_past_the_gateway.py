"""What the provider asks without its SDK: at the region's own hosts, whatever gateway it was given.

A proxy leads those hosts to the simulated organisation, which speaks TLS there under a certificate that the provider is
told to trust.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.proxy import ForwardProxy, certificate, encrypting, proxying
from tests.real_provider.trial import Trial

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.real_provider]

HOSTS = ("api.mypurecloud.com", "apps.mypurecloud.com")
FLOW = "inboundCall:\n  name: Main\n  description: V1\n"
PAST = """
resource "genesyscloud_flow" "f" {
  filepath = "${path.module}/main.yaml"
}
resource "genesyscloud_script" "s" {
  script_name = "Greeting script"
  filepath    = "${path.module}/script.json"
}
data "genesyscloud_flow" "f" {
  name       = "Main"
  type       = "inboundcall"
  depends_on = [genesyscloud_flow.f]
}
output "same" {
  value = data.genesyscloud_flow.f.id == genesyscloud_flow.f.id
}
"""
EXPORT = """
resource "genesyscloud_tf_export" "all" {{
  directory                = "{folder}"
  include_state_file       = false
  export_format            = "hcl"
  include_filter_resources = ["genesyscloud_flow", "genesyscloud_script"]
}}
"""


@pytest.fixture
def proxy(trial: Trial, tmp_path: Path) -> Iterator[ForwardProxy]:
    """The way to the region's own hosts."""
    file = certificate(tmp_path, *HOSTS)
    with (
        encrypting(file, trial.port) as port,
        proxying(places={f"{host}:443": port for host in HOSTS}) as forward,
    ):
        trial.desk.environ |= {
            "HTTPS_PROXY": f"http://127.0.0.1:{forward.port}",
            "NO_PROXY": "127.0.0.1",
            "SSL_CERT_FILE": str(file),
        }
        yield forward


def past(trial: Trial, version: int = 1) -> Path:
    module = trial.write(PAST)
    (module / "main.yaml").write_text(FLOW.replace("V1", f"V{version}"))
    (module / "script.json").write_text(json.dumps({"pages": [], "version": version}))
    return module


def test_scripts_and_the_list_of_flows_work_past_the_gateway(trial: Trial, proxy: ForwardProxy) -> None:
    module = past(trial)
    trial.applied(module)
    outputs = trial.desk.run("state", "pull", "s").document["outputs"]
    assert [each["value"] for each in outputs.values()].count(True) == 1
    trial.unchanged(module)
    trial.applied(past(trial, 2))
    assert trial.names("script") == ["Greeting script"]
    export = trial.write(EXPORT.format(folder=trial.desk.folder / "exported"), "export")
    trial.applied(export, state="export")
    written = "".join(path.read_text() for path in (trial.desk.folder / "exported").glob("*.tf"))
    assert 'resource "genesyscloud_flow"' in written
    (script,) = (trial.desk.folder / "exported").rglob("script-*.json")
    assert script.name in written
    assert json.loads(script.read_text()) == {"pages": [], "version": 2}
    destroyed = trial.run("destroy", module, "--auto-approve")
    assert destroyed.code == 0, destroyed.err[-6000:]
    assert trial.names("script") == trial.names("flow") == []
    assert {head.split()[1] for head in proxy.heads} >= {f"{host}:443" for host in HOSTS}
