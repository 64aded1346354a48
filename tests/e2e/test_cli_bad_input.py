"""What a stranger gets wrong: three parts, the right exit status, one JSON document, and nothing lost."""

from pathlib import Path

import pytest
from tests.desk import Answer, Desk
from tests.program import is_tofu

pytestmark = pytest.mark.e2e

ONE = 'resource "terraform_data" "kept" {}\n'


def refused(answer: Answer) -> str:
    """Return what a refused command said, after checking its form."""
    assert answer.code == 3, answer
    lines = answer.err.splitlines()
    assert [line[:9] for line in lines[-3:]] == ["error[usa", "  why    ", "  next   "], answer.err
    assert "Traceback" not in answer.err
    return answer.err


def test_a_plan_that_cannot_be_kept_is_refused_before_anything_runs(desk: Desk) -> None:
    module = desk.module(text=ONE)
    for out in (desk.folder / "nowhere" / "p.tfplan", desk.folder):
        assert "a plan cannot be kept in" in refused(desk.run("plan", module, "--out", out))
    assert desk.runs() == []


@pytest.mark.promise("P11")
def test_a_folder_of_opentofu_files_is_no_empty_configuration_to_terraform(desk: Desk) -> None:
    folder = desk.folder / "module"
    folder.mkdir()
    (folder / "main.tofu").write_text(ONE)
    applied = desk.run("apply", folder, "--auto-approve")
    if is_tofu():
        assert (applied.code, "1 added" in applied.err) == (0, True), applied.err
    else:
        assert "holds only OpenTofu's files" in refused(applied)


@pytest.mark.promise("P11")
@pytest.mark.parametrize("words", [("plan", "."), ("queue", "ls"), ("state", "ls"), ("runs", "ls"), ("lock", "ls")])
def test_a_server_without_a_token_is_not_gone_past(desk: Desk, words: tuple[str, ...]) -> None:
    module = desk.module(text=ONE)
    named = desk.run(*words, cwd=module, environ={"INTERLOCK_SERVER": "https://interlock.example.com"})
    assert "interlock login https://interlock.example.com" in refused(named)
    (module / "interlock.yaml").write_text("server: https://interlock.example.com\n")
    assert "interlock.yaml may not set `server`" in refused(desk.run(*words, cwd=module))


@pytest.mark.parametrize(
    "name",
    ["-ütf8 ☎ a'b$(c)", *(pytest.param(name, marks=pytest.mark.slow) for name in ("uni ütf8 ☎", "a'b$(c)", "-dash"))],
)
def test_any_folder_name_will_do_also_through_a_link(desk: Desk, name: str) -> None:
    module = desk.module(name, text=ONE)
    link = desk.folder / "link ü"
    link.symlink_to(module)
    assert desk.run("apply", module, "--auto-approve").code == 0
    for folder in (link, Path("link ü"), module):
        assert desk.run("plan", folder, "--detailed-exitcode").code == 0, folder


def test_what_is_no_utf8_is_refused_before_anything_is_made(desk: Desk) -> None:
    """It was a defect of ours, and a run's folder without an order stayed behind."""
    module = desk.module(text='variable "x" {}\n')
    for words in (
        ("plan", module, "--", "-var=x=s3cr3t\udcff"),
        ("plan", "x\udcff", "--state", "s"),
        ("doctor", "x\udcff"),
    ):
        (module / "x\udcff").mkdir(exist_ok=True)
        (module / "x\udcff" / "main.tf").touch()
        said = refused(desk.run(*words, cwd=module))
        assert "not UTF-8: '\\udcff'" in said
        assert "s3cr3t" not in said
    assert desk.runs() == []


def test_a_configuration_in_json_alone_is_one(desk: Desk) -> None:
    module = desk.folder / "module"
    module.mkdir()
    (module / "main.tf.json").write_text('{"resource": {"terraform_data": {"kept": {}}}}')
    assert desk.run("plan", module, "--detailed-exitcode").code == 2


def test_doctor_says_that_a_configuration_cannot_be_read_and_where(desk: Desk) -> None:
    refused(desk.run("doctor", "nowhere"))
    broken = desk.module(text='resource "terraform_data" "kept" {\n')
    told = desk.run("doctor", broken, "--json")
    assert told.code == 1
    assert [row["text"] for row in told.document["checks"] if row["result"] == "problem"] == [
        f"{broken}/main.tf:1:1: the closing brace is missing for what begins here"
    ]
    empty = desk.folder / "empty"
    empty.mkdir()
    assert "holds no Terraform configuration" in desk.run("doctor", empty).out
    (empty / "interlock.yaml").write_text(f"version: 1\nstates: {{s: {{directory: {broken.name}}}}}\n")
    assert (
        f"interlock doctor {empty / broken.name}    interlock.yaml lists 1 root module" in desk.run("doctor", empty).out
    )
