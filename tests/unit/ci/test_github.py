from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.ci import Workflow
from interlock.ci.workflow import ANY_REF

Read = Callable[..., Workflow]
PATH = ".github/workflows/deploy.yml"


def lines(workflow: Workflow) -> list[tuple[str, str, int, int]]:
    return [
        (operation.verb, operation.span.path, operation.span.line, operation.span.column)
        for job in workflow.jobs
        for _, operation in job.operations()
    ]


def test_a_workflow_is_read_with_places(workflow_of: Read) -> None:
    text = """\
on: {push: {branches: [main]}, schedule: [{cron: '1 2 * * *'}]}
concurrency: {group: tf-prod, queue: max}
env: {A: x}
jobs:
  deploy:
    runs-on: ubuntu-24.04
    timeout-minutes: 30
    environment: {name: production}
    env: {B: y}
    steps:
      - name: Apply
        working-directory: infra
        env: {C: z}
        run: |
          echo hi
          terraform apply plan.bin
"""
    workflow = workflow_of(PATH, text)
    (job,) = workflow.jobs
    ((step, operation),) = job.operations()
    assert workflow.events == {"push", "schedule"}
    assert (job.name, job.span.line, job.limit and job.limit.seconds) == ("deploy", 5, 1800.0)
    assert job.environment is not None
    assert job.environment.text == "production"
    assert [variable.name for variable in (*job.variables, *step.variables)] == ["A", "B", "C"]
    assert (step.span.line, operation.span.line, operation.span.column) == (11, 16, 11)
    assert operation.directory == "infra"
    assert [(turn.key, turn.keeps_all, turn.span.line) for turn in job.turns] == [("tf-prod", True, 2)]


def test_workflow_and_job_turns_both_count(workflow_of: Read) -> None:
    text = """\
on: push
concurrency: outer-${{ github.ref }}
jobs:
  a:
    concurrency: {group: inner, cancel-in-progress: true}
    steps: [{run: terraform plan}]
"""
    turns = workflow_of(PATH, text).jobs[0].turns
    assert [(turn.key, turn.follows_ref, turn.cancels, turn.keeps_all) for turn in turns] == [
        ("outer-${{ github.ref }}", True, False, False),
        ("inner", False, True, False),
    ]


@pytest.mark.parametrize(
    ("on", "condition", "refs"),
    [
        ("{push: {branches: [main]}}", "", {"main"}),
        ("{push: {branches: [main, 'rel/**']}}", "", {"main", ANY_REF}),
        ("push", "", {ANY_REF}),
        ("{push: {tags: ['v*']}}", "", {ANY_REF}),
        ("[push, pull_request]", "github.ref == 'refs/heads/main'", {"main"}),
        ("{push: {branches: [main]}, pull_request: {}}", "github.event_name == 'push'", {"main"}),
        ("{push: {branches: [main]}, pull_request: {}}", "github.event_name != 'push'", {ANY_REF}),
        ("{push: {branches: [main]}, pull_request: {}}", "", {"main", ANY_REF}),
        ("push", "github.ref == 'refs/heads/a' || github.ref == 'refs/heads/b'", {ANY_REF}),
    ],
)
def test_refs_follow_triggers_and_plain_conditions(workflow_of: Read, on: str, condition: str, refs: set[str]) -> None:
    guard = f'    if: "{condition}"\n' if condition else ""
    text = f"on: {on}\njobs:\n  a:\n{guard}    steps: [{{run: terraform plan}}]\n"
    assert workflow_of(PATH, text).jobs[0].refs == refs


def test_a_steps_own_condition_narrows_its_refs(workflow_of: Read) -> None:
    text = "on: push\njobs: {a: {steps: [{run: terraform apply, if: \"github.ref == 'refs/heads/main'\"}]}}\n"
    (job,) = workflow_of(PATH, text).jobs
    assert job.refs_of(job.steps[0]) == {"main"}


def test_a_called_workflow_inherits_turns_and_inputs(workflow_of: Read) -> None:
    caller = """\
on: {push: {branches: [main]}}
jobs:
  x:
    uses: ./.github/workflows/reusable.yml
    with: {dir: infra, group: "tf-${{ github.ref }}"}
"""
    called = """\
on: {workflow_call: {inputs: {dir: {default: '.'}, group: {type: string}}}}
concurrency: {group: "${{ inputs.group }}", queue: max}
jobs:
  y:
    steps:
      - {run: terraform apply, working-directory: "${{ inputs.dir }}"}
"""
    others = {".github/workflows/reusable.yml": called}
    workflow = workflow_of(PATH, caller, others)
    (job,) = workflow.jobs
    assert (job.name, job.span.path, job.standalone) == ("x / y", ".github/workflows/reusable.yml", True)
    assert (job.turns[0].key, job.turns[0].follows_ref) == ("tf-${{ github.ref }}", True)
    assert next(job.operations())[1].directory == "infra"
    alone = workflow_of(".github/workflows/reusable.yml", called)
    assert not alone.jobs[0].standalone


def test_workflows_that_call_each_other_end(workflow_of: Read) -> None:
    text = "on: [push, workflow_call]\njobs: {a: {uses: ./.github/workflows/deploy.yml}}\n"
    assert workflow_of(PATH, text).jobs == ()


def test_a_composite_action_is_read_where_it_is_used_and_by_itself(workflow_of: Read) -> None:
    action = "name: x\nruns:\n  using: composite\n  steps:\n    - run: terraform apply\n      shell: bash\n"
    others = {".github/actions/tf/action.yml": action}
    used = workflow_of(PATH, "on: push\njobs: {a: {steps: [{uses: ./.github/actions/tf, if: always()}]}}\n", others)
    assert lines(used) == [("apply", ".github/actions/tf/action.yml", 5, 12)]
    assert used.jobs[0].steps[0].survives
    alone = workflow_of(".github/actions/tf/action.yml", action)
    assert lines(alone) == lines(used)
    assert not alone.jobs[0].standalone


def test_credentials_of_earlier_steps_are_known(workflow_of: Read) -> None:
    text = """\
on: push
jobs:
  a:
    steps:
      - uses: aws-actions/configure-aws-credentials@v4
      - uses: hashicorp/vault-action@v3
      - run: echo "TOKEN=$x" >> "$GITHUB_ENV"
      - run: terraform plan
"""
    aws, vault, export, _ = workflow_of(PATH, text).jobs[0].steps
    assert "AWS_SECRET_ACCESS_KEY" in aws.grants
    assert vault.grants_unknown
    assert export.grants == {"TOKEN"}


def test_artifacts_have_the_place_of_each_path(workflow_of: Read) -> None:
    text = """\
on: push
jobs:
  a:
    steps:
      - run: terraform plan -out=plan.bin
      - uses: actions/upload-artifact@v4
        with:
          path: |
            logs
            infra/plan.bin
"""
    (artifact,) = workflow_of(PATH, text).jobs[0].artifacts
    assert artifact.paths == ("logs", "infra/plan.bin")
    assert [(span.line, span.column) for span in artifact.spans] == [(9, 13), (10, 13)]


def test_a_retry_action_and_packaged_terraform_are_operations(workflow_of: Read) -> None:
    text = """\
on: push
jobs:
  a:
    steps:
      - uses: nick-fields/retry@v3
        with: {command: terraform apply -auto-approve}
      - uses: dflook/terraform-apply@v1
        with: {path: infra, auto_approve: true}
      - uses: gruntwork-io/terragrunt-action@v2
        with: {tg_command: run-all plan}
"""
    operations = [operation for _, operation in workflow_of(PATH, text).jobs[0].operations()]
    assert [(operation.verb, operation.by_task) for operation in operations] == [
        ("apply", False),
        ("apply", True),
        ("plan", True),
    ]
    assert operations[1].approved


@pytest.mark.parametrize("shell", ["pwsh", "python", "cmd"])
def test_other_shells_are_not_read_as_shell(workflow_of: Read, shell: str) -> None:
    text = f"on: push\njobs: {{a: {{steps: [{{run: terraform apply, shell: {shell}}}]}}}}\n"
    assert lines(workflow_of(PATH, text)) == []


@pytest.mark.parametrize(("text", "place"), [("jobs: [\n", (2, 1)), ("a: b: c\n", (1, 5)), ("x: &a [*a]\n", (1, 4))])
def test_a_broken_file_is_a_problem_with_a_place(workflow_of: Read, text: str, place: tuple[int, int]) -> None:
    workflow = workflow_of(PATH, text)
    assert [(problem.span.line, problem.span.column) for problem in workflow.problems] == [place]
    assert workflow.jobs == ()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "x",
        "jobs: x",
        "jobs: {a: 1}",
        "jobs: {a: {steps: {b: c}}}",
        "on: {push: x}\njobs: {a: {steps: [1, {run: []}]}}",
    ],
)
def test_a_file_of_another_shape_has_no_jobs_that_matter(workflow_of: Read, text: str) -> None:
    assert lines(workflow_of(PATH, text)) == []


def test_tf_cli_args_of_the_file_are_flags(workflow_of: Read) -> None:
    text = "on: push\nenv: {TF_CLI_ARGS_apply: -lock=false}\njobs: {a: {steps: [{run: terraform apply}]}}\n"
    ((_, operation),) = workflow_of(PATH, text).jobs[0].operations()
    assert operation.is_off("lock")
