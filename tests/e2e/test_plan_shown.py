"""What a plan and an apply show: Terraform's own rendering, whole, in order, masked, and the same again later."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.desk import Desk
from tests.e2e.test_cli_terminal import at_terminal

pytestmark = pytest.mark.e2e

MANY = """
variable "round" { default = 1 }
variable "credential" {
  sensitive = true
  default   = "s3cret-of-the-variable"
}
resource "terraform_data" "many" {
  count = 75
  input = { number = count.index, round = var.round }
}
resource "terraform_data" "secret" {
  input = var.credential
}
output "numbers" { value = [1, { two = "2" }] }
output "credential" {
  value     = terraform_data.secret.output
  sensitive = true
}
"""
SECRET = "s3cret-of-the-variable"


def plain_plan(desk: Desk, module: Path) -> str:
    """Return what plain Terraform prints as its plan of the same files, with a state of its own."""
    copy = desk.folder / "copy"
    shutil.copytree(module, copy)
    terraform = [shutil.which("terraform") or "terraform"]
    for words in (["init"], ["plan", "-out=p"]):
        subprocess.run([*terraform, *words], cwd=copy, env=desk.environ, check=True, capture_output=True)
    shown = subprocess.run(
        [*terraform, "show", "-no-color", "p"], cwd=copy, env=desk.environ, check=True, capture_output=True, text=True
    )
    return shown.stdout


@pytest.mark.promise("P10")
def test_a_plan_is_printed_as_terraform_prints_it_and_an_apply_shows_it_and_its_outputs(desk: Desk) -> None:
    module = desk.module(text=MANY)
    planned = desk.run("plan", module, "--state", "s")
    assert planned.code == 0, planned.err
    assert planned.out == plain_plan(desk, module)
    assert planned.out.count("will be created") == 76
    assert desk.run("runs", "show", "latest", "--plan").out == planned.out

    brief = desk.run("plan", module, "--state", "s", "--brief")
    rows = brief.out.splitlines()
    assert rows[:3] == [f"  + terraform_data.many[{number}]" for number in range(3)]
    assert len(rows) == 78
    assert "input" not in brief.out

    applied = desk.run("apply", module, "--state", "s", "--auto-approve")
    assert applied.code == 0, applied.err
    assert applied.out.startswith(planned.out)
    assert applied.out.endswith(
        '\nOutputs:\n\ncredential = <sensitive>\nnumbers = [\n  1,\n  {\n    "two" = "2"\n  },\n]\n'
    )

    again = desk.run("apply", module, "--state", "s", "--auto-approve", "--json", "--", "-var=round=2")
    document = again.document
    assert [row["address"] for row in document["plan"]["resources"]][:2] == [
        "terraform_data.many[0]",
        "terraform_data.many[1]",
    ]
    changed = document["plan"]["resources"][2]["attributes"]
    assert {"path": "input.round", "before": 1, "after": "2"}.items() <= changed[0].items()
    assert document["outputs"] == {"credential": "(sensitive value)", "numbers": [1, {"two": "2"}]}
    kept = "".join(path.read_text(errors="replace") for path in (desk.home / "runs").rglob("*") if path.is_file())
    for shown in (planned.out, brief.out, applied.out, applied.err, json.dumps(document), again.err, kept):
        assert SECRET not in shown


def test_a_terminal_shows_the_plan_in_colours_and_a_run_without_a_plan_says_so(desk: Desk) -> None:
    module = desk.module(text='resource "terraform_data" "one" {}\n')
    code, shown = at_terminal(desk, "plan", module)
    assert code == 0, shown
    assert "\x1b[32m+\x1b[0m resource" in shown
    assert "will be created" in re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert desk.run("apply", module, "--auto-approve").code == 0
    assert desk.run("apply", module, "--auto-approve").code == 0
    none = desk.run("runs", "show", "latest", "--plan")
    assert none.code == 3
    assert "has no plan to show" in none.err
