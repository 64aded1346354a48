"""A team at one server: whatever one does, the others see, and it never matters when the server goes away."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import slow_provider
from tests.desk import Desk
from tests.team import TeamServer, a_team

from interlock.testing.postgres import why_not

pytestmark = pytest.mark.e2e

Team = tuple[TeamServer, list[Desk]]
LONG = {"INTERLOCK_LEASE": "60s", "INTERLOCK_HEARTBEAT": "0.3s"}


ON_POSTGRES = pytest.param(
    "postgresql", marks=[pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
)


@pytest.fixture(params=["sqlite", ON_POSTGRES])
def team(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Team]:
    store = None
    if request.param == "postgresql":
        store = f"{request.getfixturevalue('postgres').url}&schema=s{uuid.uuid4().hex[:12]}"
    with a_team(tmp_path, laptops=2, store=store) as (server, desks):
        yield server, desks


@pytest.mark.promise("P11")
def test_two_laptops_work_on_one_state(team: Team) -> None:
    _, (anna, bob) = team
    applied = anna.applied(anna.module())
    assert applied.code == 0, applied.err
    versions = bob.run("state", "history", "s", "--json").document["versions"]
    assert len({version["run"] for version in versions}) == 1
    assert "as " in versions[0]["who"], "the token's own name stands behind what the client says"
    assert not (bob.home / "interlock.db").exists()
    assert not (anna.home / "interlock.db").exists()
    again = bob.applied(bob.module(), round_=2)
    assert again.code == 0, again.err
    assert len({version["run"] for version in anna.run("state", "history", "s", "--json").document["versions"]}) == 2
    assert anna.run("state", "verify", "s").code == 0
    assert anna.run("queue", "ls").code == 0
    doctor = bob.run("doctor", "module")
    assert "127.0.0.1" in doctor.out, doctor.err


@pytest.mark.promise("P2")
def test_runs_of_two_laptops_take_turns(team: Team) -> None:
    _, (anna, bob) = team
    anna.module()
    gate = anna.gate()
    first = anna.apply(anna.folder / "module", f"-var=gate={gate}")
    anna.until_phase("applying")
    second = bob.apply(bob.module(), round_=2)
    anna.until(lambda: anna.run("queue", "ls", "--json").document["states"][0]["waiters"], "the second one waits")
    gate.unlink()
    assert first.wait().code == 0
    assert second.wait().code == 0
    assert len({version["run"] for version in anna.run("state", "history", "s", "--json").document["versions"]}) == 2


@pytest.mark.promise("P10")
def test_a_run_is_followed_from_another_laptop_while_it_goes_on(team: Team) -> None:
    _, (anna, bob) = team
    anna.module()
    gate = anna.gate()
    applying = anna.apply(anna.folder / "module", f"-var=gate={gate}")
    anna.until_phase("applying")
    run = anna.summary().run
    listed = bob.until(lambda: bob.run("runs", "ls", "--json").document["runs"], "the run is told of")
    assert [each["run"] for each in listed] == [run]
    following = bob.start("runs", "logs", "-f", run, "--json")
    bob.until(lambda: bob.run("runs", "show", run, "--json").document["phase"] == "applying", "its phase is told")
    waiting = bob.start("wait", run)
    gate.unlink()
    assert applying.wait().code == 0
    assert waiting.wait().code == 0
    followed = [json.loads(line)["kind"] for line in following.wait().out.splitlines()]
    assert followed[-1] == "end"
    assert followed == [entry.kind for entry in anna.journal()]
    assert bob.run("runs", "show", "latest", "--json").document["exit"] == 0


@pytest.mark.promise("P9")
def test_a_run_is_cancelled_from_another_laptop_stops_safely_and_says_by_whom(team: Team) -> None:
    _, (anna, bob) = team
    slow = anna.folder / "slow"
    slow.mkdir()
    anna.environ.update(slow_provider.install(slow))
    (slow / "gate").touch()
    applying = anna.start("apply", anna.module(text=slow_provider.MODULE), "--state", "s", "--auto-approve")
    anna.until(lambda: slow_provider.begun(slow), "Terraform works")
    run = anna.until_working().run
    bob.until(lambda: bob.run("runs", "show", run, "--json").document["phase"] == "applying", "its phase is told")
    waiting = bob.start("wait", run)
    cancelled = bob.run("runs", "cancel", run, "--json")
    assert cancelled.code == 0, cancelled.err
    assert cancelled.document["done"] == "stop"
    anna.until(lambda: slow_provider.is_stopping(slow) or None, "Terraform has heard it")
    (slow / "gate").unlink()
    assert applying.wait().code == 143, "as after `runs cancel` on its own machine"
    assert waiting.wait().code == 143
    (end,) = anna.journal(kind="end")
    assert " cancelled it; Terraform stopped and saved its state" in str(end.facts["why"])
    (interrupt,) = anna.journal(kind="interrupt")
    assert (interrupt.facts["cause"], interrupt.facts["action"]) == ("cancelled", "stop")
    assert str(interrupt.facts["by"]) in str(end.facts["why"])
    told = [each for each in bob.run("audit", "ls", "--json").document["entries"] if each["action"] == "run-cancelled"]
    assert [(each["by"], each["facts"]["run"]) for each in told] == [(interrupt.facts["by"], run)]
    assert not bob.run("queue", "ls", "--json").document["states"][0]["holders"]
    assert bob.run("state", "pull", "s").code == 0, "what was made is stored"
    assert bob.run("runs", "cancel", run).code == 3, "it has ended"


@pytest.mark.promise("P8")
def test_a_run_whose_supervisor_was_killed_ends_for_everybody(team: Team) -> None:
    _, (anna, bob) = team
    anna.module()
    gate = anna.gate()
    anna.environ.update({"INTERLOCK_LEASE": "2s", "INTERLOCK_HEARTBEAT": "0.3s"})
    applying = anna.apply(anna.folder / "module", f"-var=gate={gate}")
    anna.until_phase("applying")
    run = anna.summary().run
    bob.until(lambda: bob.run("runs", "show", run, "--json").document["phase"] == "applying", "its phase is told")
    waiting = bob.start("wait", run)
    anna.stop_supervisor(anna.summary())
    gate.unlink()
    code = applying.wait().code
    assert code in (131, 143)
    assert waiting.wait().code == code
    assert bob.run("runs", "show", run, "--json").document["exit"] == code
    assert [each["run"] for each in bob.run("status", "--json").document["runs"]] == [run]


@pytest.mark.promise("P8")
@pytest.mark.parametrize("words", [["queue", "ls"], ["state", "ls"], ["lock", "ls"], ["plan", "module"]])
def test_a_wrong_token_is_said_with_a_status_of_its_own(team: Team, words: list[str]) -> None:
    anna = team[1][0]
    anna.module()
    answer = anna.run(*words, environ={"INTERLOCK_TOKEN": "a-wrong-token-of-nobody"})
    assert answer.code == 32, answer.err
    assert "interlock login http://127.0.0.1" in answer.err


@pytest.mark.promise("P8")
def test_a_server_that_is_away_is_said_with_a_status_of_its_own(team: Team) -> None:
    server, (anna, _) = team
    server.end()
    answer = anna.run("queue", "ls")
    assert answer.code == 30, answer.err
    assert "doctor" in answer.err


@pytest.mark.promise("P3")
def test_a_server_that_is_killed_and_started_again_costs_a_run_nothing(team: Team) -> None:
    server, (anna, bob) = team
    anna.module()
    gate = anna.gate()
    applying = anna.start("apply", "module", "--state", "s", "--auto-approve", "--", f"-var=gate={gate}", environ=LONG)
    anna.until_phase("applying")
    server.end()
    anna.until(lambda: [e for e in anna.journal(kind="note") if "heartbeat" in str(e.facts)], "a heartbeat failed")
    gate.unlink()  # Terraform takes its lock, or writes its state, while there is no server
    server.start()
    answer = applying.wait()
    assert answer.code == 0, answer.err
    versions = bob.run("state", "history", "s", "--json").document["versions"]
    assert len({version["digest"] for version in versions}) == len(versions), "nothing was stored twice"
    assert not bob.run("queue", "ls", "--json").document["states"][0]["holders"]


@pytest.mark.slow
@pytest.mark.promise("P9")
def test_a_server_that_is_away_for_longer_than_the_lease_stops_a_run_and_its_state_is_kept(team: Team) -> None:
    server, (anna, bob) = team
    anna.module()
    gate = anna.gate()
    applying = anna.apply(anna.folder / "module", f"-var=gate={gate}")
    anna.until_phase("applying")
    anna.until(lambda: anna.journal(kind="resource"), "Terraform holds its own lock, and works")
    server.end()
    anna.until(
        lambda: [e for e in anna.journal(kind="interrupt") if e.facts["cause"] == "server-away"], "the run is stopped"
    )
    gate.unlink()
    answer = applying.wait()
    assert answer.code == 131, answer.err
    server.start()
    recovered = anna.run("recover", "s", "--yes")
    assert recovered.code == 0, recovered.err
    history = bob.run("state", "history", "s", "--json").document["versions"]
    assert history, "what Terraform had made is stored"


@pytest.mark.slow
@pytest.mark.promise("P1")
def test_a_server_that_stands_still_for_a_while_costs_a_run_nothing(team: Team) -> None:
    server, (anna, bob) = team
    anna.module()
    gate = anna.gate()
    applying = anna.start("apply", "module", "--state", "s", "--auto-approve", "--", f"-var=gate={gate}", environ=LONG)
    anna.until_phase("applying")
    server.pause()
    gate.unlink()
    time.sleep(3)  # the run writes its state into the silence
    server.go_on()
    answer = applying.wait()
    assert answer.code == 0, answer.err
    assert bob.run("state", "verify", "s").code == 0
