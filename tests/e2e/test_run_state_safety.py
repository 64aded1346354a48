"""What ends up in the state: everything that was done, nothing that was dropped, and no secret anywhere else."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import SLEEPER, Answer, Desk

pytestmark = [pytest.mark.e2e, pytest.mark.on("own")]

DOCTORED = Path(__file__).with_name("doctored_terraform.py")


def doctored(desk: Desk, module: Path, way: str, round_: int) -> Answer:
    """Apply with a Terraform whose writes are doctored."""
    script = desk.folder / "terraform-doctored"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {DOCTORED} "$@"\n')
    script.chmod(0o755)
    words = ("apply", module, "--state", "s", "--auto-approve", "--terraform", script, "--", f"-var=round={round_}")
    return desk.run(*words, environ={"DOCTOR": way})


def names(desk: Desk) -> set[str]:
    return {resource["name"] for resource in json.loads(desk.run("state", "pull", "s").out)["resources"]}


def work_id(desk: Desk) -> str:
    resources = json.loads(desk.run("state", "pull", "s").out)["resources"]
    return next(str(r["instances"][0]["attributes"]["id"]) for r in resources if r["name"] == "work")


@pytest.mark.promise("P3")
@pytest.mark.parametrize("rounds", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_state_that_terraform_could_not_save_is_stored_from_errored_tfstate(
    desk: Desk, module: Path, rounds: int
) -> None:
    if rounds == 2:
        assert desk.applied(module).code == 0
    saved = doctored(desk, module, "fail", rounds)
    assert saved.code == 0, saved.err
    assert "it was stored from errored.tfstate" in saved.err
    assert desk.history()[0].kind.value == "push"
    assert desk.history()[0].run == desk.summary().run
    assert not list(desk.folder.rglob("errored.tfstate"))
    assert desk.run("plan", module, "--state", "s", "--detailed-exitcode", "--", f"-var=round={rounds}").code == 0


@pytest.mark.promise("P6")
def test_a_write_that_drops_what_the_plan_keeps_is_stored_as_suspect_and_held_until_a_person_accepts_it(
    desk: Desk, module: Path
) -> None:
    assert desk.applied(module).code == 0
    before = work_id(desk)
    held = doctored(desk, module, "drop", 2)
    assert held.code == 23, held.err
    assert "terraform_data.kept" in held.err
    assert work_id(desk) != before  # nothing of what the apply did is lost
    assert names(desk) == {"work"}
    assert desk.quarantined() == []
    assert desk.lock().holders == ()
    shown = desk.run("queue", "ls", "s")
    assert "interlock state accept s" in shown.out + shown.err
    assert "(suspect)" in desk.run("state", "history", "s").out
    verified = desk.run("state", "verify", "s")
    assert (verified.code, "[suspect] terraform_data.kept" in verified.out) == (0, True)
    waiting = desk.applied(module, "--wait", "0.3s", round_=3)
    assert waiting.code == 10, waiting.err  # nobody builds on it unseen
    accepted = desk.run("state", "accept", "s", "--yes")
    assert accepted.code == 0, accepted.err
    assert desk.lock().pause is None
    assert [version.kind.value for version in desk.history()[:2]] == ["accept", "write"]
    assert desk.applied(module, round_=3).code == 0


@pytest.mark.promise("P6")
def test_a_suspect_version_is_put_right_by_restoring_the_one_before(desk: Desk, module: Path) -> None:
    assert desk.applied(module).code == 0
    assert doctored(desk, module, "drop", 2).code == 23
    restored = desk.run("state", "restore", "s", "--yes")
    assert restored.code == 0, restored.err
    assert names(desk) == {"kept", "work"}
    assert desk.lock().pause is None
    assert desk.lock().holders == ()


@pytest.mark.promise("P8")
def test_an_errored_state_that_lay_in_the_folder_before_is_left_alone_and_a_new_one_is_stored(desk: Desk) -> None:
    module = desk.module(text='terraform {\n  backend "http" {}\n}\n' + SLEEPER)
    assert desk.applied(module).code == 0
    old = module / "errored.tfstate"
    old.write_text('{"version": 4, "serial": 90, "lineage": "of-long-ago"}')
    before = old.read_bytes()
    applied = desk.applied(module, round_=2)
    assert applied.code == 0, applied.err
    assert old.read_bytes() == before
    saved = doctored(desk, module, "fail", 3)  # now Terraform itself leaves one there
    assert saved.code == 0, saved.err
    assert "it was stored from errored.tfstate" in saved.err
    assert not old.exists()


SECRETS = """
variable "password" {
  sensitive = true
}

resource "terraform_data" "secret" {
  provisioner "local-exec" {
    command     = "tr '\\\\0' '\\\\n' < /proc/$PPID/cmdline > argv.txt; env | grep TF_HTTP_ADDRESS > address.txt"
    environment = { PASSWORD = var.password }
  }
}

resource "terraform_data" "failing" {
  depends_on = [terraform_data.secret]
  provisioner "local-exec" {
    command     = "exit 1"
    environment = { PASSWORD = var.password }
  }
}

output "code" {
  value     = var.password
  sensitive = true
}
"""


def texts(desk: Desk) -> Iterator[tuple[str, bytes]]:
    """Yield every file of the home but the stores (states are kept there) and the raw output of Terraform."""
    for path in desk.home.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name.split(".")[0] != "interlock":
            yield str(path.relative_to(desk.home)), path.read_bytes()


@pytest.mark.promise("P10")
def test_no_secret_leaves_the_state(desk: Desk) -> None:
    module = desk.module(text=SECRETS)
    environ = {"TF_VAR_password": "very-secret-value", "INTERLOCK_TOKEN": "very-secret-token"}
    failed = desk.run("apply", module, "--state", "s", "--auto-approve", "--json", environ=environ)
    assert failed.code == 34, failed.err
    address = (module / "address.txt").read_text().partition("=")[2].strip()
    secret = address.split("/")[-2]
    assert len(secret) > 40
    words = (module / "argv.txt").read_text()
    assert "-chdir=" in words
    shown = desk.run("runs", "show", "latest", "--json").out + desk.run("runs", "logs", "latest", "--json").out
    shown += desk.run("state", "show", "s").out + desk.run("state", "show", "s", "--json").out
    assert "terraform_data.secret" in shown
    hidden = [secret, "very-secret-value", "very-secret-token"]
    places = {"argv": words, "stdout": failed.out, "stderr": failed.err, "shown": shown}
    for place, text in places.items():
        assert [one for one in hidden if one in text] == [], place
    for name, body in texts(desk):
        assert [one for one in hidden if one.encode() in body] == [], name
    assert desk.home.stat().st_mode & 0o077 == 0
    assert (desk.home / "interlock.db").stat().st_mode & 0o077 == 0
