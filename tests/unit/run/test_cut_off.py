import json
import shlex
from pathlib import Path

import pytest

from interlock.errors import LeaseLost, StateNotSaved
from interlock.run.cut_off import also_cut, drop_saved, find_cut, find_trace
from interlock.run.process import Ended
from interlock.run.stage import Outcome
from interlock.terraform.events import Action, AnyEvent, Apply, Diagnostic, Log, Resource, Severity, Stage, Unparsed
from interlock.terraform.interruption import read_interruption

STARTED = Apply(stage=Stage.START, resource=Resource(address="t.a"), action=Action.CREATE)
COMPLETED = Apply(stage=Stage.COMPLETE, resource=Resource(address="t.b"), action=Action.CREATE, id="i7")
ERRORED = Apply(stage=Stage.ERRORED, resource=Resource(address="t.a"), action=Action.CREATE)
STOPPING = Log(message="Stopping operation...")
CUT = Diagnostic(severity=Severity.ERROR, summary="operation canceled")
GONE = Diagnostic(severity=Severity.ERROR, summary="Plugin did not respond", detail="the ApplyResourceChange call")


def outcome(*events: AnyEvent, code: int = 1, text: str = "") -> Outcome:
    return Outcome(ended=Ended(code=code), events=list(events), text=text, interruption=read_interruption(events))


def find(found: Outcome) -> StateNotSaved | None:
    return find_cut(found, state="s", directory="/d/with space", run_folder=Path("/home/runs/r1"))


def test_a_stop_that_saved_is_not_cut_off() -> None:
    halted = Diagnostic(severity=Severity.ERROR, summary="execution halted")
    assert find(outcome(STARTED, STOPPING, COMPLETED, halted)) is None


@pytest.mark.promise("P8")
@pytest.mark.parametrize("number", [1, 9, 15])
def test_a_terraform_that_any_signal_killed_is_not_saved(number: int) -> None:
    cut = find(outcome(STARTED, COMPLETED, code=-number))
    assert cut is not None
    assert cut.exit_status == 131
    assert "t.a (create)" in cut.why
    assert "t.b (id i7)" in cut.why
    assert cut.facts["in_flight"] == ["t.a (create)"]


def test_before_the_first_operation_nothing_could_be_lost() -> None:
    assert find(outcome(code=-9)) is None
    assert find(outcome(CUT)) is None


@pytest.mark.promise("P8")
def test_a_second_signal_is_not_saved() -> None:
    cut = find(outcome(STARTED, STOPPING, COMPLETED, CUT))
    assert cut is not None
    assert "second time" in cut.what
    assert "t.b (id i7)" in cut.why  # Terraform saved when it began to stop, and this came later


@pytest.mark.promise("P8")
def test_a_killed_provider_is_not_called_a_crash_and_a_crashed_one_is_not_called_killed() -> None:
    cut = find(outcome(STARTED, ERRORED, GONE))
    assert cut is not None
    assert "killed" in cut.what
    assert find(outcome(STARTED, ERRORED, GONE, text="Stack trace from the terraform-provider-x plugin:\n")) is None
    assert find(outcome(STARTED, ERRORED, GONE, Unparsed(message="panic: boom"))) is None


def test_the_next_command_runs_as_printed() -> None:
    cut = find(outcome(STARTED, code=-9))
    assert cut is not None
    command = cut.fix.split("    ")[0]
    assert shlex.split(command) == ["interlock", "plan", "--state", "s", "/d/with space"]


def test_a_lost_lease_decides_the_exit_status_and_names_what_was_cut_off() -> None:
    cut = find(outcome(STARTED, CUT))
    assert cut is not None
    lost = also_cut(LeaseLost("fenced", why="token 8 holds it", fix="f"), cut)
    assert lost.exit_status == 12
    assert "token 8" in lost.why
    assert "t.a (create)" in lost.why


@pytest.mark.promise("P8")
def test_only_what_the_stored_state_has_under_the_same_id_counts_as_saved() -> None:
    state = {
        "version": 4,
        "serial": 2,
        "lineage": "l",
        "resources": [
            {
                "mode": "managed",
                "type": "t",
                "name": "a",
                "provider": "p",
                "instances": [
                    {"index_key": 0, "attributes": {"id": "i0"}},
                    {"index_key": 1, "attributes": {"id": "old"}},
                    {"index_key": 2, "attributes": {"id": 7}},
                    {"index_key": 3, "deposed": "d1", "attributes": {"id": "i3"}},
                ],
            }
        ],
    }
    unsaved = {"t.a[0]": "i0", "t.a[1]": "new", "t.a[2]": "7", "t.a[3]": "i3", "t.b": ""}
    drop_saved(unsaved, json.dumps(state).encode())
    assert set(unsaved) == {"t.a[1]", "t.a[2]", "t.a[3]", "t.b"}
    drop_saved(unsaved, None)
    assert len(unsaved) == 4


def test_the_file_that_has_the_trace_of_a_crash_is_found_and_the_runs_own_journal_is_not_it(tmp_path: Path) -> None:
    assert find_trace(tmp_path) is None
    (tmp_path / "plan.jsonl").write_text('{"@message": "Plan: 1 to add"}\n')
    (tmp_path / "journal.jsonl").write_text("fatal error: concurrent map writes\n")
    assert find_trace(tmp_path) is None
    (tmp_path / "apply.err").write_text("warning\nfatal error: concurrent map writes\n")
    assert find_trace(tmp_path) == tmp_path / "apply.err"
    logged = "2026-11-30T19:22:49.458Z [ERROR] provider.terraform-provider-x: fatal error: concurrent map writes\n"
    (tmp_path / "apply.err").write_text(logged)  # OpenTofu with TF_LOG
    assert find_trace(tmp_path) == tmp_path / "apply.err"
    (tmp_path / "apply.err").write_text("")
    (tmp_path / "apply.jsonl").write_text('{"@message":"Stack trace from the terraform-provider-x plugin:"}\n')
    assert find_trace(tmp_path) == tmp_path / "apply.jsonl"
