"""A real supervised run while it works, seen by somebody else on the machine: its ports, processes and files."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import Desk, Started, tree
from tests.security.strangers import SHUT, as_nobody, every_request, knock

from interlock.run.summary import Summary
from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.install import install

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at processes and sockets through /proc"),
]
CENTRE = """
terraform {
  required_providers {
    genesyscloud = { source = "mypurecloud/genesyscloud" }
  }
}
variable "gate" {
  type = string
}
provider "genesyscloud" {
  gateway {}
}
resource "genesyscloud_routing_skill" "home" {
  name = "Home"
}
resource "terraform_data" "waits" {
  depends_on = [genesyscloud_routing_skill.home]
  provisioner "local-exec" {
    command = <<-EOT
      cat interlock_override.tf; echo $GENESYSCLOUD_OAUTHCLIENT_SECRET $TF_HTTP_ADDRESS
      i=0; while [ -e '${var.gate}' ] && [ $i -lt 1200 ]; do i=$((i+1)); sleep 0.05; done
    EOT
  }
}
"""
OURS = {
    "INTERLOCK_TOKEN": "hush-token-of-the-server",
    "INTERLOCK_AUDIT_KEY": "hush-key-of-the-audit-log-0123456789",
    "INTERLOCK_PLAN_KEY": "hush-plan-key-0123456789abcdef",
}
LISTEN = "0A"


class Scene:
    """A run that holds its state and waits inside its apply."""

    def __init__(self, desk: Desk, served: Served) -> None:
        self.desk, self.served, self.gate = desk, served, desk.gate()
        module = desk.module("centre", CENTRE)
        words = ("apply", module, "--state", "s", "--auto-approve", "--", f"-var=gate={self.gate}")
        self.started: Started = desk.start(*words)
        self.run: Summary = desk.until(self._working, "a run whose local-exec waits")
        self.supervisor = self.run.processes["supervisor"].pid
        self.pids = [pid for pid in tree(self.supervisor) if Path(f"/proc/{pid}").exists()]

    def _working(self) -> Summary | None:
        for summary in self.desk.runs():
            begun = [entry for entry in self.desk.journal(summary.run, "resource") if entry.facts["stage"] == "start"]
            if any("terraform_data" in str(entry.facts) for entry in begun):
                return summary
        return None

    def environ(self, pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/environ").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # a program that Terraform started has ended meanwhile
            return ""

    def secrets(self) -> tuple[str, str]:
        """Return the secrets of the run's state address and of its gateway's prefix."""
        address = next(found for pid in self.pids if (found := re.search(r"/run/([^/]+)/state", self.environ(pid))))
        override = next((self.desk.home / "trees").rglob("interlock_override.tf")).read_text()
        prefix = re.search(r'"/r/[^/]+/([^"]+)"', override)
        assert prefix is not None
        return address[1], prefix[1]

    def ports(self) -> list[int]:
        """Return every TCP port on which the run's own processes listen, and check that all are on loopback."""
        own = {inode for pid in self.pids for inode in _sockets(pid)}
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        rows6 = [row.split() for row in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
        listening = [row[1] for row in rows + rows6 if row[3] == LISTEN and row[9] in own]
        assert {address.split(":")[0] for address in listening} == {"0100007F"}
        return [int(address.split(":")[1], 16) for address in listening]


def _sockets(pid: int) -> Iterator[str]:
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # a short-lived child, such as a git, that has ended and listens on nothing
        return
    for link in links:
        try:
            target = str(link.readlink())
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            yield target[len("socket:[") : -1]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as text, serve_in_thread(Simulation()) as served:
        folder = Path(text)
        folder.chmod(0o755)  # so that it is the home that shuts others out, and not where tests are kept
        environ = {
            "TF_CLI_CONFIG_FILE": str(install(folder / "plugin", speed=1000)),
            "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
            "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
            "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
            "GENESYSCLOUD_GATEWAY_HOST": served.host,
            "GENESYSCLOUD_GATEWAY_PORT": str(served.port),
            "TF_LOG": "trace",
            "TF_LOG_PATH": str(folder / "terraform.log"),
            **OURS,
        }
        desk = Desk(folder, environ)
        try:
            scene = Scene(desk, served)
            yield scene
        finally:
            desk.close()


@pytest.mark.promise("P4")
@pytest.mark.promise("P10")
def test_every_port_of_a_run_is_shut_to_strangers_whatever_they_send(scene: Scene) -> None:
    before = scene.served.simulation.snapshot()
    ports = scene.ports()
    assert len(ports) == 2  # its state's and its gateway's; a third one is tried too, and belongs into the table
    paths = ["/api/v2/organizations/me", "/oauth/token", "/healthz", "/readyz", "/run/x/state", "/state/s"]
    for port in ports:
        heard = knock(port, every_request(port, paths))
        assert {each.status for each in heard} <= SHUT, port
        assert not any(secret.encode() in each.answer for each in heard for secret in scene.secrets())
    assert scene.served.simulation.snapshot() == before


@pytest.mark.promise("P10")
def test_no_command_line_of_the_machine_shows_a_secret_of_a_run(scene: Scene) -> None:
    secrets = [*scene.secrets(), DEFAULT_CLIENT.secret, *OURS.values()]
    shown = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_text(errors="replace")
        except OSError:  # ended meanwhile
            continue
        shown += [line for secret in secrets if secret in line]
    assert shown == []


@pytest.mark.promise("P10")
def test_what_terraform_executes_gets_neither_our_secrets_nor_the_oauth_clients(scene: Scene) -> None:
    children = [pid for pid in scene.pids if pid != scene.supervisor]
    assert len(children) >= 2  # Terraform and its local-exec
    for pid in children:
        environ = scene.environ(pid)
        assert [secret for secret in (*OURS.values(), DEFAULT_CLIENT.secret) if secret in environ] == []


@pytest.mark.promise("P10")
def test_the_secrets_of_a_run_are_in_no_file_but_the_override_and_the_plan_that_name_its_gateway(scene: Scene) -> None:
    address, prefix = scene.secrets()
    files = [path for path in scene.desk.home.rglob("*") if path.is_file() and not path.is_symlink()]
    content = {path: text for path in files if (text := _content(path)) is not None}
    found = {path.name for path, text in content.items() if prefix.encode() in text}
    until_ended = {"apply.jsonl", "trace.log"}  # of Terraform's output, which is cleaned when the command is over
    until_ended |= {"told.jsonl", "rendered.jsonl"}  # read beside the apply, and deleted when they were read
    assert found <= {"interlock_override.tf", "plan.tfplan", *until_ended}
    never = (address, DEFAULT_CLIENT.secret, *OURS.values())
    written = {path: text for path, text in content.items() if path.name not in until_ended}
    assert [path for path, text in written.items() for secret in never if secret.encode() in text] == []
    assert stat.S_IMODE(scene.desk.home.stat().st_mode) == 0o700


@pytest.mark.promise("P10")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second Unix user")
def test_another_unix_user_reads_neither_the_environment_nor_a_file_of_a_run(scene: Scene) -> None:
    wanted = [f"/proc/{pid}/{name}" for pid in scene.pids for name in ("environ", "mem", "fd")]
    wanted += [str(path) for path in scene.desk.home.rglob("*")] + [str(scene.desk.home)]
    assert as_nobody(lambda: [path for path in [*wanted, str(scene.desk.folder)] if _opens(path)]) == [
        str(scene.desk.folder)
    ]


def _content(path: Path) -> bytes | None:
    """Return a file's bytes; None when it was deleted meanwhile: the run goes on."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _opens(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


@pytest.mark.promise("P10")
def test_what_terraform_quotes_of_the_way_to_the_api_is_hidden_where_it_is_shown_and_kept(scene: Scene) -> None:
    """The local-exec prints what a provider quotes when a call fails: the address with the run's prefix."""
    placeholder = next(
        found[1]
        for pid in scene.pids
        if pid != scene.supervisor and (found := re.search(r"OAUTHCLIENT_SECRET=([^\0]+)", scene.environ(pid)))
    )
    never = (placeholder, *scene.secrets())
    scene.gate.unlink()
    answer = scene.started.wait()
    assert answer.code == 0, answer.err
    shown = answer.out + answer.err + scene.desk.run("runs", "logs", scene.run.run).out
    assert [secret for secret in never if secret in shown] == []
    log = scene.desk.folder / "terraform.log"
    assert "/state" in log.read_text() or "(address)" in log.read_text(), "Terraform logged its calls"
    files = [log, *(path for path in scene.desk.run_folder(scene.run.run).rglob("*") if path.is_file())]
    assert [path for path in files for secret in never if secret.encode() in path.read_bytes()] == []
    assert "path_value" in scene.desk.run_folder(scene.run.run).joinpath("apply.jsonl").read_text()
