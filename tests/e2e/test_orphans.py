"""Objects that were made and are in no state: each is written down, named, and taken over by the printed block."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.desk import Answer, Desk
from tests.s3_desk import S3Desk

from interlock.host import group_members
from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.faults import FaultKind, FaultRule
from interlock.simulator.provider.install import install
from interlock.testing.aws import LocalAws

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P3")]

MODULE = """
terraform {
  required_providers {
    genesyscloud = { source = "mypurecloud/genesyscloud" }
  }
}
provider "genesyscloud" {
  gateway {}
}
resource "genesyscloud_routing_queue" "support" {
  name = "Support"
}
"""
READ_BACK = FaultRule(kind=FaultKind.HANG, method="GET", path="/routing/queues/", seconds=60)
"""The queue is made, and the provider waits for its first look at it."""


@pytest.fixture
def served() -> Iterator[Served]:
    with serve_in_thread(Simulation()) as running:
        yield running


def provider_of(folder: Path, served: Served) -> dict[str, str]:
    """Return the environment in which a stand-in provider works on the organisation."""
    return {
        "TF_CLI_CONFIG_FILE": str(install(folder / "plugin", speed=50)),
        "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
        "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
        "GENESYSCLOUD_GATEWAY_HOST": served.host,
        "GENESYSCLOUD_GATEWAY_PORT": str(served.port),
    }


@pytest.fixture
def centre(tmp_path: Path, served: Served) -> Iterator[Desk]:
    desk = Desk(tmp_path, provider_of(tmp_path, served))
    desk.module("centre", MODULE)
    yield desk
    desk.close()


def made(served: Served, kind: str = "queue") -> dict[str, str]:
    """Return what is in the organisation: id to name."""
    return {str(each["id"]): str(each["name"]) for each in served.simulation.snapshot()[kind]}


def cut(centre: Desk, served: Served, *roles: str, rule: FaultRule = READ_BACK, kind: str = "queue") -> Answer:
    """Apply, and kill these processes when the object is there, its answer was heard, and the next one is not given."""
    served.simulation.faults.replace([rule])
    apply = centre.start("apply", centre.folder / "centre", "--state", "s", "--auto-approve")
    centre.until(lambda: made(served, kind), "the object")
    centre.until(lambda: [each.id for each in centre.ask(lambda home: home.creations.all()) if each.id], "its answer")
    processes = centre.until_phase("applying").processes
    for role in roles:
        if role == "plugin":
            for pid in group_members(processes["terraform"].pid):
                if pid != processes["terraform"].pid:
                    os.kill(pid, signal.SIGKILL)
        else:
            os.kill(processes[role].pid, signal.SIGKILL)
    ended = apply.wait()
    served.simulation.faults.replace([])
    return ended


def import_blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r'import \{\n  to = (\S+)\n  id = "([^"]+)"\n\}', text)


def test_a_killed_terraform_leaves_an_orphan_that_is_named_and_the_printed_block_takes_it_over(
    centre: Desk, served: Served
) -> None:
    ended = cut(centre, served, "terraform")
    [identifier] = made(served)
    assert ended.code == 131, ended.err
    assert f'genesyscloud_routing_queue "Support" (id {identifier})' in ended.err
    assert "interlock recover s --orphans" in ended.err

    again = centre.run("plan", centre.folder / "centre", "--state", "s")
    assert "genesyscloud_routing_queue.support repeats" in again.err
    assert identifier in again.err

    printed = centre.run("recover", "s", "--orphans")
    assert import_blocks(printed.out) == [("genesyscloud_routing_queue.support", identifier)]
    (centre.folder / "centre" / "orphans.tf").write_text(printed.out)
    taken = centre.apply_plain(centre.folder / "centre")
    assert taken.code == 0, taken.err
    assert "repeats" not in taken.err
    assert "1 imported, 0 added" in taken.err
    assert made(served) == {identifier: "Support"}
    assert centre.run("recover", "s", "--orphans", "--json").document["orphans"] == []


@pytest.mark.slow
def test_when_everything_is_killed_the_next_run_names_what_was_made(centre: Desk, served: Served) -> None:
    ended = cut(centre, served, "supervisor", "plugin", "terraform")
    [identifier] = made(served)
    spelled = f'genesyscloud_routing_queue "Support" (id {identifier})'
    assert spelled in ended.err, "the front end buries the run"
    assert "interlock recover s --orphans" in ended.err
    shown = centre.run("runs", "show", "latest")
    assert spelled in shown.out
    again = centre.run("plan", centre.folder / "centre", "--state", "s")
    assert spelled in again.err
    assert "genesyscloud_routing_queue.support repeats" in again.err


@pytest.mark.slow
def test_a_killed_provider_leaves_an_orphan_and_a_taken_name_is_no_missing_reference(
    centre: Desk, served: Served
) -> None:
    ended = cut(centre, served, "plugin")
    [identifier] = made(served)
    assert f"(id {identifier})" in ended.err
    again = centre.apply_plain(centre.folder / "centre")
    assert again.code == 34, again.err
    assert "next   interlock recover s --orphans" in again.err
    assert "missing reference" not in again.err


@pytest.mark.slow
@pytest.mark.promise("P9")
def test_a_stopped_creation_is_looked_at_and_the_plan_says_what_it_replaces_until_it_is_kept(
    centre: Desk, served: Served
) -> None:
    served.simulation.faults.replace([replace(READ_BACK, times=1)])
    apply = centre.start("apply", centre.folder / "centre", "--state", "s", "--auto-approve")
    centre.until(lambda: made(served), "the object")
    apply.signal(signal.SIGINT)
    stopped = apply.wait()
    assert stopped.code == 130, stopped.err
    assert "tainted: genesyscloud_routing_queue.support (there, as planned in " in stopped.err

    again = centre.run("plan", centre.folder / "centre", "--state", "s")
    [line] = [line for line in again.err.splitlines() if "tainted: genesyscloud_routing_queue.support (there" in line]
    assert "This plan makes a new one, with a new id" in line
    path = os.pathsep.join([str(Path(sys.executable).parent), centre.environ["PATH"]])
    typed = line.split("that is whole: ")[1]
    subprocess.run(["sh", "-ec", typed], check=True, cwd=centre.folder, env={**centre.environ, "PATH": path})
    kept = centre.run("plan", centre.folder / "centre", "--state", "s", "--detailed-exitcode")
    assert kept.code == 0, kept.err


def test_recover_names_tainted_objects_and_orphans_in_its_walk(centre: Desk, served: Served) -> None:
    cut(centre, served, "terraform")
    walked = centre.run("recover", "s", "--no-plan", "--json")
    steps = {step["step"]: step["text"] for step in walked.document["steps"]}
    assert "interlock recover s --orphans" in steps["orphans"]


@pytest.mark.slow
def test_on_s3_too_an_orphan_is_named_by_the_next_run_and_taken_over(
    tmp_path: Path, aws: LocalAws, served: Served
) -> None:
    desk = S3Desk(tmp_path, aws)
    desk.environ.update(provider_of(tmp_path, served))
    folder = desk.root(text=MODULE)
    served.simulation.faults.replace([READ_BACK])
    apply = desk.start("apply", folder, "--auto-approve")
    desk.until(lambda: [each.id for each in desk.ask(lambda home: home.creations.all()) if each.id], "its answer")
    processes = desk.until_phase("applying").processes
    for role in ("supervisor", "terraform"):
        os.kill(processes[role].pid, signal.SIGKILL)
    apply.wait()
    served.simulation.faults.replace([])
    [identifier] = made(served)
    again = desk.run("plan", folder)
    assert "genesyscloud_routing_queue.support repeats" in again.err, again.err
    printed = desk.run("recover", folder, "--orphans")
    assert import_blocks(printed.out) == [("genesyscloud_routing_queue.support", identifier)]
    (folder / "orphans.tf").write_text(printed.out)
    taken = desk.run("apply", folder, "--auto-approve")
    assert taken.code == 0, taken.err
    assert made(served) == {identifier: "Support"}
    assert desk.ask(lambda home: home.creations.all()) == []
    desk.close()
