"""A failure that passes begins again from a fresh plan; every other one ends the run with its own exit status."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.desk import Desk

from interlock.simulator import DEFAULT_CLIENT, FaultKind, FaultRule, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.install import install
from interlock.simulator.provider.provider import CRASH

pytestmark = pytest.mark.e2e

SKILL = 'resource "genesyscloud_routing_skill" "s" {\n  name = "s"\n}\n'
BROKEN = FaultRule(kind=FaultKind.SERVER_ERROR, status=501, method="POST", path="/routing/skills")


@pytest.fixture
def served() -> Iterator[Served]:
    with serve_in_thread(Simulation()) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, served: Served) -> Iterator[Desk]:
    environ = {
        "TF_CLI_CONFIG_FILE": str(install(tmp_path / "plugin", speed=1000)),
        "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
        "GENESYSCLOUD_GATEWAY_PROTOCOL": "http",
        "GENESYSCLOUD_GATEWAY_HOST": served.host,
        "GENESYSCLOUD_GATEWAY_PORT": str(served.port),
    }
    made = Desk(tmp_path, environ)
    yield made
    made.close()


@pytest.fixture
def centre(desk: Desk) -> Path:
    versions = Path(__file__).parents[2] / "examples" / "contact-center" / "versions.tf"
    folder = desk.module("centre", SKILL)
    shutil.copy(versions, folder)
    return folder


def once(served: Served) -> None:
    served.simulation.faults.replace((replace(BROKEN, times=1),))


def test_a_failure_of_the_api_that_passes_ends_in_success_from_a_fresh_plan(
    desk: Desk, centre: Path, served: Served
) -> None:
    once(served)
    answer = desk.apply_plain(centre)
    assert answer.code == 0, answer.err
    assert len(desk.journal(kind="retry")) == 1
    assert len(desk.journal(kind="plan")) == 2
    assert [skill["name"] for skill in served.simulation.snapshot()["skill"]] == ["s"]


@pytest.mark.promise("P8")
def test_without_retries_it_is_told_as_what_it_is(desk: Desk, centre: Path, served: Served) -> None:
    once(served)
    answer = desk.apply_plain(centre, "--retries", "0")
    assert answer.code == 34, answer.err
    assert "genesyscloud_routing_skill.s" in answer.err


@pytest.mark.slow
def test_a_failure_that_stays_is_tried_as_often_as_ordered_and_no_more(
    desk: Desk, centre: Path, served: Served
) -> None:
    served.simulation.faults.replace((BROKEN,))
    answer = desk.apply_plain(centre, "--retries", "2")
    assert answer.code == 34, answer.err
    assert len(desk.journal(kind="plan")) == 3


@pytest.mark.promise("P7")
def test_an_apply_that_cannot_meet_its_deadline_changes_nothing(desk: Desk, centre: Path, served: Served) -> None:
    (centre / "many.tf").write_text(
        'resource "genesyscloud_routing_wrapupcode" "w" {\n  count = 40\n  name  = "w${count.index}"\n}\n'
    )
    answer = desk.apply_plain(centre, "--deadline", "1s")
    assert answer.code == 31, answer.err
    assert served.simulation.snapshot()["skill"] == []


def crash(desk: Desk, *, after: int) -> dict[str, str]:
    """Let the provider crash once when it is configured, `after` so many times that it is well."""
    file = desk.folder / "crash"
    file.write_text(str(after))
    return {CRASH: str(file)}


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    "after", [pytest.param(0, id="in the plan"), pytest.param(1, id="in the apply", marks=pytest.mark.slow)]
)
def test_a_provider_that_crashes_while_it_is_configured_is_tried_once_more(
    desk: Desk, centre: Path, served: Served, after: int
) -> None:
    words = ("apply", centre, "--state", "s", "--auto-approve")
    answer = desk.run(*words, environ=crash(desk, after=after))
    assert answer.code == 0, answer.err
    assert len(desk.journal(kind="retry")) == 1
    assert [skill["name"] for skill in served.simulation.snapshot()["skill"]] == ["s"]


@pytest.mark.promise("P8", "P10")
def test_the_advice_of_a_crash_names_the_file_that_has_its_stack_trace(desk: Desk, centre: Path) -> None:
    words = ("apply", centre, "--state", "s", "--auto-approve", "--retries", "0")
    answer = desk.run(*words, environ={**crash(desk, after=0), "TF_LOG": "error"})  # else OpenTofu prints none
    assert answer.code == 34, answer.err
    named = re.search(r"less (\S+)    has the stack trace", answer.err)
    assert named is not None, answer.err
    assert "concurrent map writes" in Path(named[1]).read_text()
