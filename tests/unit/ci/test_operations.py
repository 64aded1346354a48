from __future__ import annotations

import pytest

from interlock.ci.document import SourceText
from interlock.ci.operations import Operation, Reading, Tool, read


def reading(text: str, directory: str = "") -> Reading:
    return read(text, SourceText("s.sh", text).span, directory=directory)


def only(text: str, directory: str = "") -> Operation:
    found = reading(text, directory).operations
    assert len(found) == 1
    return found[0]


def test_verb_flags_and_arguments_are_told_apart() -> None:
    operation = only("terraform -chdir=infra apply -lock-timeout 5m -auto-approve -var 'a=b' plan.bin", "repo")
    assert (operation.tool, operation.verb, operation.directory) == (Tool.TERRAFORM, "apply", "repo/infra")
    assert {flag.name: flag.value for flag in operation.flags} == {
        "chdir": "infra",
        "lock-timeout": "5m",
        "auto-approve": None,
        "var": "a=b",
    }
    assert operation.plan_file == "plan.bin"
    assert operation.approved


@pytest.mark.parametrize(
    ("text", "verb", "plan"),
    [
        ("tofu plan -out=x", "plan", "x"),
        ("terraform plan -out x", "plan", "x"),
        ("terraform apply", "apply", None),
        ("interlock apply . --state p --plan x --auto-approve", "apply", "x"),
        ("interlock plan . --out x", "plan", "x"),
        ("terragrunt run-all apply --terragrunt-non-interactive", "apply", None),
        ("terraform state mv a b", "state mv", None),
        ("terraform workspace select prod", "workspace select", None),
        ("terraform force-unlock -force 1", "force-unlock", None),
        ("sudo -E timeout 5m terraform destroy", "destroy", None),
        ("aws-vault exec prod -- terraform apply", "apply", None),
        ("env A=b terraform apply", "apply", None),
        ("docker run --rm -v $PWD:/w hashicorp/terraform:1.9.0 apply", "apply", None),
        ('bash -c "terraform apply x"', "apply", "x"),
        ("./bin/terraform apply", "apply", None),
        ("$TF apply", "apply", None),
    ],
)
def test_terraform_is_found_behind_wrappers(text: str, verb: str, plan: str | None) -> None:
    operation = only(text)
    assert (operation.verb, operation.plan_file) == (verb, plan)


@pytest.mark.parametrize("text", ["echo terraform apply", "terraform", "grep terraform apply.log", "cat terraform/x"])
def test_mentions_are_no_operations(text: str) -> None:
    assert reading(text).operations == ()


def test_a_verb_of_any_form_is_read() -> None:
    assert only("terraform 'a b'").verb == "a b"
    assert only("terraform fmt${{ x y").verb == "fmt${{ x y}}"


def test_flags_of_the_environment_belong_to_their_verb() -> None:
    text = "export TF_CLI_ARGS_apply='-lock=false'\nterraform plan\nTF_CLI_ARGS=-no-color terraform apply"
    plan, apply = reading(text).operations
    assert plan.flag("lock") is None
    assert apply.is_off("lock")
    assert apply.has("no-color")


def test_the_place_is_the_programs_name() -> None:
    span = only("cd x &&\n  sudo terraform apply").span
    assert (span.path, span.line, span.column) == ("s.sh", 2, 8)


def test_cd_moves_later_commands() -> None:
    assert only("cd infra\ncd ../other\nterraform plan").directory == "other"
    assert only("(cd infra && true)\nterraform plan").directory == ""


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("exec terraform apply", True),
        ("terraform apply", False),
        ("exec sudo terraform apply", False),
        ("exec timeout 1h terraform apply", True),
        ('exec bash -c "terraform apply"', True),
        ('exec bash -c "terraform apply; echo done"', False),
        ("exec bash -c 'exec terraform apply'", True),
        ("(exec terraform apply)", False),
    ],
)
def test_exec_puts_terraform_in_the_shells_place(text: str, reached: bool) -> None:
    assert only(text).replaces_shell is reached


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        ("until terraform apply; do :; done", False),
        ("until terraform apply; do sleep 9; done", True),
        ("while ! terraform apply; do sleep 1; done", True),
        ("for i in 1 2 3; do terraform apply && break; done", False),
        ("terraform apply x || terraform apply x", False),
        ("for d in a b; do terraform -chdir=$d apply; done", None),
        ("terraform apply || exit 1", None),
    ],
)
def test_retries_are_told_from_loops_over_modules(text: str, waits: bool | None) -> None:
    retry = reading(text).operations[-1].retry
    assert (None if retry is None else retry.waits) is waits


def test_somebody_who_types_yes_is_seen() -> None:
    assert only("yes yes | terraform apply").approved
    assert only("echo yes | terraform apply").approved
    assert not only("cat x | terraform apply").approved


def test_calls_of_scripts_and_make_are_noted() -> None:
    calls = reading("./deploy.sh prod && bash scripts/x.sh; make -C infra apply; source env.sh; /usr/bin/id").calls
    assert [(call.kind, call.name, call.folder) for call in calls] == [
        ("script", "./deploy.sh", ""),
        ("script", "scripts/x.sh", ""),
        ("make", "apply", "infra"),
        ("script", "env.sh", ""),
    ]


@pytest.mark.parametrize(
    ("text", "locks", "writes"),
    [
        ("terraform plan", True, False),
        ("terraform plan -lock=false", False, False),
        ("terraform apply", True, True),
        ("terraform state push x", True, True),
        ("terraform init", False, False),
        ("terraform output", False, False),
    ],
)
def test_what_locks_and_what_writes(text: str, locks: bool, writes: bool) -> None:
    operation = only(text)
    assert (operation.takes_lock, operation.writes_state) == (locks, writes)
