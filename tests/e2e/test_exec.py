"""`interlock exec`, `import`: commands of Terraform on a state, in turn, under the lock, versioned like an apply."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import Desk
from tests.e2e.test_cli_terminal import at_terminal
from tests.s3_desk import BOTH, S3Desk

from interlock.testing.aws import LocalAws

pytestmark = pytest.mark.e2e

TWO = """
resource "terraform_data" "one" { input = "1" }
resource "terraform_data" "two" { input = "2" }
output "secret" {
  value     = "s3cret-output"
  sensitive = true
}
"""
SECRET = "s3cret-output"


def addresses(desk: Desk, state: str = "s") -> set[str]:
    found = json.loads(desk.run("state", "pull", state).out)["resources"]
    return {f"{resource['type']}.{resource['name']}" for resource in found}


@pytest.fixture
def applied(desk: Desk) -> Path:
    module = desk.module(text=TWO)
    assert desk.run("apply", module, "--state", "s", "--auto-approve").code == 0
    return module


@pytest.mark.promise("P1", "P3", "P8")
def test_a_state_is_changed_by_terraforms_own_commands_each_a_run_and_a_version(desk: Desk, applied: Path) -> None:
    def done(*words: str) -> str:
        answer = desk.run("exec", applied, "--state", "s", "--", "terraform", *words)
        assert answer.code == 0, answer.err
        return answer.out

    assert "Successfully moved 1 object" in done("state", "mv", "terraform_data.two", "terraform_data.three")
    assert "tainted" in done("taint", "terraform_data.one")
    done("untaint", "terraform_data.one")
    assert "Successfully removed" in done("state", "rm", "terraform_data.three")
    assert desk.run("import", "terraform_data.two", "the-id", applied, "--state", "s").code == 0
    done("refresh")
    assert addresses(desk) == {"terraform_data.one", "terraform_data.two"}
    assert done("state", "list") == "terraform_data.one\nterraform_data.two\n"
    assert done("output", "-raw", "secret") == SECRET
    versions = desk.history()
    assert [version.serial for version in versions] == sorted({v.serial for v in versions}, reverse=True)
    assert len({version.run for version in versions}) == len(versions) >= 6
    assert {summary.operation for summary in desk.runs()} == {"apply", "exec", "read", "refresh"}
    assert desk.lock().holders == ()
    kept = "".join(path.read_text(errors="replace") for path in (desk.home / "runs").rglob("*") if path.is_file())
    assert SECRET not in kept


@pytest.mark.promise("P8")
def test_a_command_that_fails_says_so_by_its_exit_status_in_terraforms_words_and_nothing_is_changed(
    desk: Desk, applied: Path
) -> None:
    for words in (["state", "rm", "terraform_data.nono"], ["state", "show", "terraform_data.nono"]):
        answer = desk.run("exec", applied, "--state", "s", "--", "terraform", *words)
        assert answer.code in {3, 34}, answer.err
        assert "No matching objects" in answer.err or "No instance found" in answer.err
    assert len(desk.history()) == 1
    assert desk.lock().holders == ()


@pytest.mark.promise("P6", "P8")
def test_what_is_taken_out_of_a_protected_state_needs_a_word_and_a_move_needs_none(desk: Desk, applied: Path) -> None:
    (desk.folder / "interlock.yaml").write_text("version: 1\nstates:\n  s: {protected: true}\n")
    remove = ("exec", applied, "--state", "s", "--", "terraform", "state", "rm", "terraform_data.one")
    refused = desk.run(*remove)
    assert refused.code == 41, refused.err
    assert "terraform_data.one" in refused.err
    assert len(desk.history()) == 1
    moved = desk.run("exec", applied, "--state", "s", "--", "state", "mv", "terraform_data.two", "terraform_data.three")
    assert moved.code == 0, moved.err
    allowed = desk.run("exec", applied, "--state", "s", "--allow-destroy", *remove[4:])
    assert allowed.code == 0, allowed.err
    assert addresses(desk) == {"terraform_data.three"}


@pytest.fixture
def s3(tmp_path: Path, aws: LocalAws) -> Iterator[S3Desk]:
    made = S3Desk(tmp_path, aws)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.promise("P1", "P3")
def test_commands_work_on_a_state_in_s3_too(s3: S3Desk) -> None:
    module = s3.root(BOTH, text=TWO)
    assert s3.run("apply", module, "--auto-approve").code == 0
    for words in (["state", "mv", "terraform_data.two", "terraform_data.three"], ["state", "rm", "terraform_data.one"]):
        answer = s3.run("exec", module, "--", "terraform", *words)
        assert answer.code == 0, answer.err
    assert s3.run("exec", module, "--", "terraform", "state", "list").out == "terraform_data.three\n"
    assert s3.run("import", "terraform_data.two", "the-id", module).code == 0
    assert addresses(s3, str(module)) == {"terraform_data.three", "terraform_data.two"}
    assert s3.run("state", "verify", module).code == 0
    assert s3.run("plan", module, "--no-wait", "--brief").code == 0


@pytest.mark.promise("P8", "P9")
def test_a_console_holds_the_state_and_a_stop_gives_it_back(desk: Desk, applied: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "interlock", "exec", str(applied), "--state", "s", "--", "terraform", "console"],
        env=desk.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    console = desk.until(
        lambda: next((s for s in desk.runs() if "terraform" in s.processes and s.operation == "read"), None),
        "a console",
    )
    assert desk.run("plan", applied, "--state", "s", "--no-wait").code == 10
    process.send_signal(signal.SIGINT)
    desk.until(lambda: desk.journal(console.run, "interrupt") or None, "the stop, before its input ends too")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert desk.run("plan", applied, "--state", "s", "--no-wait").code == 0


def test_a_console_answers_what_is_typed_at_a_terminal_and_what_comes_through_a_pipe(desk: Desk, applied: Path) -> None:
    words = ("exec", applied, "--state", "s", "--", "terraform", "console")
    code, shown = at_terminal(desk, *words, answers=[(">", b"1 + 41\r"), ("42", b"exit\r")])
    assert code == 0, shown
    piped = subprocess.run(
        [sys.executable, "-m", "interlock", *map(str, words)],
        env=desk.environ, input="terraform_data.one.input\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (piped.returncode, piped.stdout) == (0, '"1"\n'), piped.stderr


@pytest.mark.promise("P4", "P5", "P9")
def test_a_command_whose_supervisor_is_killed_changes_nothing_and_the_next_run_gets_the_state(
    desk: Desk, applied: Path
) -> None:
    gate = desk.folder / "gate"
    gate.touch()
    wrapper = desk.folder / "terraform"
    real = shutil.which("terraform") or "terraform"
    look = f'case "$*" in *chdir=*trees*mv*) while [ -e {gate} ]; do sleep 0.05; done;; esac\n'
    wrapper.write_text(f'#!/bin/sh\n{look}exec {real} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    run = desk.start(
        "exec", applied, "--state", "s", "--terraform", wrapper,
        "--", "state", "mv", "terraform_data.one", "terraform_data.x",
    )  # fmt: skip
    summary = desk.until_phase("applying")
    desk.until(lambda: "terraform" in desk.summary(summary.run).processes or None, "its Terraform")
    os.kill(summary.processes["supervisor"].pid, signal.SIGKILL)
    gate.unlink()
    answer = run.wait()
    assert answer.code in {131, 143}, answer.err
    after = desk.run("plan", applied, "--state", "s")
    assert after.code == 0, after.err
    assert addresses(desk) == {"terraform_data.one", "terraform_data.two"}
    assert len(desk.history()) == 1


@pytest.mark.promise("P11")
def test_outputs_are_printed_as_terraform_prints_them_from_the_stored_state(desk: Desk, applied: Path) -> None:
    assert desk.run("output", "--state", "s").out == "secret = <sensitive>\n"
    assert desk.run("output", "--state", "s", "--raw", "secret").out == SECRET
    found = desk.run("output", "--state", "s", "--json").document
    assert found == {"secret": {"sensitive": True, "type": "string", "value": SECRET}}
    theirs = desk.run("exec", applied, "--state", "s", "--", "terraform", "output", "-json").document
    assert found == theirs
    assert desk.run("output", "nono", "--state", "s").code == 3
    assert desk.run("output", "--raw", "--state", "s").code == 3
    assert desk.run("output", "--state", "nowhere").code == 3
