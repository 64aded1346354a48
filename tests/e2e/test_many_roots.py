"""Several roots in one command: order, failures, interrupts, prompts, and what a change touches. Real Terraform."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.desk import STEP_S, Answer, Desk

pytestmark = [pytest.mark.e2e, pytest.mark.on("local")]

BACKEND = 'terraform {{\n  backend "local" {{\n    path = "{name}.tfstate"\n  }}\n}}\n'
READS = """
data "terraform_remote_state" "before" {{
  backend = "local"
  config  = {{ path = "../{before}/{before}.tfstate" }}
}}
"""
MADE = """
variable "text" {{
  default = "{name}"
}}
resource "terraform_data" "made" {{
  input = "${{var.text}}{before}"
}}
output "way" {{
  value = terraform_data.made.output
}}
"""
SLOW = """
resource "terraform_data" "slow" {
  depends_on = [terraform_data.made]
  provisioner "local-exec" {
    command = "touch slow.begun && exec sleep 120"
  }
}
"""
FAILS = """
resource "terraform_data" "fails" {
  provisioner "local-exec" {
    command = "exit 7"
  }
}
"""


def root(desk: Desk, name: str, *, before: str = "", more: str = "") -> Path:
    seen = ">${data.terraform_remote_state.before.outputs.way}" if before else ""
    text = BACKEND.format(name=name) + (READS.format(before=before) if before else "")
    return desk.module(name, text + MADE.format(name=name, before=seen) + more)


@pytest.fixture
def chain(desk: Desk) -> Desk:
    """net <- app <- web, and solo, which none of them knows."""
    root(desk, "net")
    root(desk, "app", before="net")
    root(desk, "web", before="app")
    root(desk, "solo")
    write(desk, "web", "solo", "app", "net")
    return desk


def write(desk: Desk, *names: str, **more: Mapping[str, Any]) -> None:
    states = {name: {"directory": name, **more.get(name, {})} for name in names}
    (desk.folder / "interlock.yaml").write_text(json.dumps({"version": 1, "states": states}))


def outcomes(answer: Answer) -> dict[str, tuple[str, int | None]]:
    return {row["root"]: (row["outcome"], row["exit"]) for row in answer.document["roots"]}


def state(desk: Desk, name: str) -> Any:
    return json.loads((desk.folder / name / f"{name}.tfstate").read_text())


def apply_all(desk: Desk, *words: object) -> Answer:
    return desk.run("apply", "--all", "--auto-approve", "--first-apply", "--json", *words)


def test_roots_are_applied_in_the_order_in_which_they_read_each_other(chain: Desk) -> None:
    done = apply_all(chain)
    assert done.code == 0, done.err
    assert outcomes(done) == dict.fromkeys(["net", "solo", "app", "web"], ("done", 0))
    assert state(chain, "web")["outputs"]["way"]["value"] == "web>app>net"
    needs = {row["root"]: [need["root"] for need in row["needs"]] for row in done.document["roots"]}
    assert needs == {"net": [], "solo": [], "app": ["net"], "web": ["app"]}
    assert "app | plan: 1 to add" not in done.err, "with --json nothing but questions is shown"
    ended = {row["root"]: row["run"] for row in done.document["roots"]}
    assert (
        ended["net"]["ended_at"] <= ended["app"]["started_at"] <= ended["app"]["ended_at"] <= ended["web"]["started_at"]
    )

    gone = chain.run("destroy", "--all", "--auto-approve", "--json")
    assert gone.code == 0, gone.err
    assert next(row["root"] for row in gone.document["roots"]) == "web"
    ended = {row["root"]: row["run"] for row in gone.document["roots"]}
    assert (
        ended["web"]["ended_at"] <= ended["app"]["started_at"] <= ended["app"]["ended_at"] <= ended["net"]["started_at"]
    )
    assert state(chain, "net")["resources"] == []


@pytest.mark.promise("P8")
def test_a_failed_root_holds_back_those_behind_it_and_the_others_go_on(chain: Desk) -> None:
    root(chain, "app", before="net", more=FAILS)
    done = chain.run("apply", "--all", "--auto-approve", "--first-apply")
    assert done.code == 34
    rows = {line.split()[0]: line for line in done.out.splitlines() if line[:4] in {"net ", "solo", "app ", "web "}}
    assert "applied +1 ~0 -0" in rows["net"]
    assert "applied +1 ~0 -0" in rows["solo"]
    assert "failed: terraform" in rows["app"]
    assert "not started: app failed" in rows["web"]
    assert not (chain.folder / "web" / "web.tfstate").exists()
    assert "app:\nerror[terraform]" in done.err
    lines = [line for line in done.err.splitlines() if "terraform_data.made" in line]
    assert sorted(line.split(" | ")[0] for line in lines) == ["app", "net", "solo"], "each line says whose it is"


def test_plans_of_roots_that_read_what_is_not_applied_yet_say_so(chain: Desk) -> None:
    assert chain.run("apply", "app", "net", "--auto-approve", "--first-apply").code == 0
    done = chain.run("plan", "app", "net", "--detailed-exitcode", "--", "-var", "text=other")
    assert done.code == 2, done.err
    assert "planned +0 ~1 -0, before net is applied" in done.out
    assert "\n== app ==\n" in done.out


@pytest.mark.promise("P9")
@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_stops_all_runs_and_starts_no_more_and_everything_is_saved(
    chain: Desk, number: int, code: int
) -> None:
    for name in ("net", "solo"):
        root(chain, name, more=SLOW)
    started = chain.start("apply", "--all", "--auto-approve", "--first-apply", "--json")
    chain.until(lambda: len(working(chain)) == 2 or None, "both applies at work")
    started.signal(number)
    done = started.wait()
    assert done.code == code, done.err
    assert outcomes(done) == {
        "net": ("failed", code),
        "solo": ("failed", code),
        "app": ("held-back", None),
        "web": ("held-back", None),
    }
    for name in ("net", "solo"):
        assert "made" in {each["name"] for each in state(chain, name)["resources"]}
        assert not (chain.folder / name / f".{name}.tfstate.lock.info").exists()


def working(desk: Desk) -> list[Path]:
    """Return the marks of the roots whose slow resource is being made; OpenTofu writes the state only later."""
    return list(desk.folder.rglob("slow.begun"))


def test_a_person_is_asked_for_one_root_at_a_time(chain: Desk) -> None:
    process, terminal = chain.start_at_terminal("apply", "net", "solo", "app")
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(terminal, 4096)

    def take_question() -> str:
        nonlocal seen
        until(b"[y/N] ")
        asked, _, seen = seen.partition(b"[y/N] ")
        return asked.decode(errors="replace").splitlines()[-1].partition(":")[0].rpartition("\r")[2]

    first = take_question()
    os.write(terminal, b"yes\n" if first == "net" else b"no\n")
    second = take_question()
    assert {first, second} == {"net", "solo"}
    os.write(terminal, b"yes\n" if second == "net" else b"no\n")
    assert take_question() == "app", "it is planned when net is applied"
    os.write(terminal, b"yes\n")
    rest = b""
    try:
        while chunk := os.read(terminal, 4096):
            rest += chunk
    except OSError:
        pass
    assert process.wait(STEP_S) == 41, rest.decode(errors="replace")
    os.close(terminal)
    assert state(chain, "app")["outputs"]["way"]["value"] == "app>net"
    assert not (chain.folder / "solo" / "solo.tfstate").exists()


@pytest.mark.promise("P8")
def test_ctrl_c_at_a_question_stops_all_roots_and_changes_nothing(chain: Desk) -> None:
    process, terminal = chain.start_at_terminal("apply", "--all")
    seen = b""
    while b"[y/N] " not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    try:
        while chunk := os.read(terminal, 4096):
            seen += chunk
    except OSError:
        pass
    os.close(terminal)
    assert process.wait(STEP_S) == 130, seen.decode(errors="replace")
    assert not list(chain.folder.glob("*/*.tfstate"))
    assert b"app" in seen.rpartition(b"ROOT")[2], "the report names those that were not begun"


@pytest.mark.parametrize("command", [("plan",), ("apply", "--auto-approve"), ("destroy", "--auto-approve"), ("drift",)])
def test_roots_in_a_circle_are_refused_with_the_circle(chain: Desk, command: tuple[str, ...]) -> None:
    write(chain, "web", "solo", "app", "net", net={"depends_on": ["web"]})
    refused = chain.run(*command, "--all")
    assert refused.code == 3
    assert "roots need each other in a circle: app -> net -> web -> app" in refused.err
    assert "net needs web: interlock.yaml says so (depends_on)" in refused.err


def test_flags_of_one_root_are_refused_for_several_with_the_command_that_has_them(chain: Desk) -> None:
    for words, next_line in (
        (("plan", "--all", "--out", "x"), "name one folder with --out"),
        (("plan", "net", "app", "--state", "net"), "name one folder with --state"),
        (("apply", "--all", "--auto-approve", "--plan", "interlock.yaml"), "name one folder with --plan"),
        (("plan", "net", "--jobs", "2"), "add --all"),
        (("plan", "net", "--all"), "leave out --all"),
    ):
        refused = chain.run(*words)
        assert (refused.code, next_line in refused.err) == (3, True), refused.err


def test_drift_of_several_roots_is_one_report_in_no_order(chain: Desk) -> None:
    assert chain.run("apply", "net", "app", "--auto-approve", "--first-apply").code == 0
    found = chain.run("drift", "net", "app", "--json")
    assert found.code == 0, found.err
    assert outcomes(found) == dict.fromkeys(["net", "app"], ("done", 0))
    assert all(row["run"]["scan"]["findings"] == [] for row in found.document["roots"])


# -- a change ---------------------------------------------------------------------------------------------------------


def git(desk: Desk, *words: str) -> None:
    who = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *words], cwd=desk.folder, env={**desk.environ, **who}, check=True, capture_output=True)


@pytest.fixture
def repository(chain: Desk) -> Desk:
    module = chain.folder / "modules" / "text"
    module.mkdir(parents=True)
    (module / "main.tf").write_text('output "text" {\n  value = "x"\n}\n')
    with (chain.folder / "solo" / "main.tf").open("a") as file:
        file.write('module "text" {\n  source = "../modules/text"\n}\n')
    (chain.folder / "common").mkdir()
    (chain.folder / "common" / "eu.tfvars").write_text('text = "eu"\n')
    write(chain, "web", "solo", "app", "net", web={"reads": ["common/*.tfvars"]})
    (chain.folder / ".gitignore").write_text("home/\n*.tfstate*\n.terraform/\n")
    git(chain, "init", "-q", "-b", "main")
    git(chain, "add", "-A")
    git(chain, "commit", "-q", "-m", "begin")
    git(chain, "checkout", "-q", "-b", "work")
    return chain


def touched(desk: Desk, *words: str) -> dict[str, list[str]]:
    found = desk.run("roots", "--changed", *words, "--json")
    assert found.code == 0, found.err
    return {row["root"]: row["touched"]["why"] for row in found.document["roots"]}


def test_changed_finds_roots_by_module_by_var_file_and_by_what_they_read(repository: Desk) -> None:
    (repository.folder / "README.md").write_text("hello")
    nothing = repository.run("plan", "--changed", "main")
    assert (nothing.code, nothing.out) == (0, "")
    assert "nothing changed since main touches any of 4 roots" in nothing.err

    module = repository.folder / "modules" / "text" / "main.tf"
    module.write_text('output "text" {\n  value = "y"\n}\n')
    assert touched(repository) == {"solo": ["modules/text/main.tf (module text)"]}
    git(repository, "commit", "-q", "-a", "-m", "module")
    (repository.folder / "common" / "eu.tfvars").write_text('text = "de"\n')
    assert touched(repository) == {
        "solo": ["modules/text/main.tf (module text)"],
        "web": ["common/eu.tfvars (listed under reads)"],
    }
    git(repository, "commit", "-q", "-a", "-m", "values")
    (repository.folder / "net" / "eu.auto.tfvars").write_text('text = "eu"\n')
    assert touched(repository, "HEAD") == {
        "net": ["net/eu.auto.tfvars (its folder)"],
        "app": ["reads net, which is touched: data.terraform_remote_state.before (main.tf:7) reads its state"],
        "web": ["reads app, which is touched: data.terraform_remote_state.before (main.tf:7) reads its state"],
    }
    planned = repository.run("plan", "--changed=HEAD~1", "--json", "--jobs", "1")
    assert {row["root"] for row in planned.document["roots"]} == {"net", "app", "web"}
    assert planned.document["untouched"] == ["solo"]
    git(repository, "checkout", "-q", "main")
    git(repository, "clean", "-q", "-f")
    unclear = repository.run("plan", "--changed")
    assert unclear.code == 3
    assert "HEAD is on main itself" in unclear.err
