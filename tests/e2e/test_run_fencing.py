"""A run that lost its grant changes neither the state nor the organisation, even when its provider wakes up late."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import Desk

from interlock.host import group_members
from interlock.lock import Broken
from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.install import install

pytestmark = [pytest.mark.e2e, pytest.mark.on("own")]

EXAMPLE = Path(__file__).parents[2] / "examples" / "contact-center"
STATE = "centre"


@pytest.fixture
def served() -> Iterator[Served]:
    with serve_in_thread(Simulation()) as running:
        yield running


@pytest.fixture
def centre(tmp_path: Path, served: Served) -> Iterator[Desk]:
    environ = {
        "TF_CLI_CONFIG_FILE": str(install(tmp_path / "plugin", speed=4)),
        "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
        "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
        "GENESYSCLOUD_GATEWAY_HOST": served.host,
        "GENESYSCLOUD_GATEWAY_PORT": str(served.port),
    }
    desk = Desk(tmp_path, environ)
    shutil.copytree(EXAMPLE, tmp_path / "centre")
    yield desk
    desk.close()


def plugins_of(terraform: int) -> list[int]:
    return [pid for pid in group_members(terraform) if pid != terraform]


@pytest.mark.promise("P4")
def test_a_provider_that_wakes_up_after_its_grant_was_broken_changes_nothing(centre: Desk, served: Served) -> None:
    organisation = served.simulation
    apply = centre.start("apply", centre.folder / "centre", "--state", STATE, "--auto-approve")
    centre.until(lambda: organisation.snapshot().get("queue"), "the first queue")
    run = centre.summary()
    plugins = plugins_of(run.processes["terraform"].pid)
    assert plugins, "no provider runs"
    for pid in plugins:
        os.kill(pid, signal.SIGSTOP)
    broken = Broken(ticket=run.run, token=run.token or 0, by="operator", reason="verified by hand")
    centre.ask(lambda embedded: embedded.coordinator.break_(STATE, broken))
    centre.until(lambda: centre.journal(run.run, "lease-lost"), "the supervisor's notice")
    before = organisation.snapshot()
    for pid in plugins:
        os.kill(pid, signal.SIGCONT)
    answer = apply.wait()
    assert answer.code == 12, answer.err
    assert organisation.snapshot() == before
    assert centre.history(STATE) == []
    assert {entry.reason for entry in centre.quarantined(STATE)} == {"fenced"}
    # whether it called again at all depends on where it was stopped; that calls are refused: test_gateway.py
