from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.ci import Workflow
from interlock.ci.workflow import ANY_REF

Read = Callable[..., Workflow]
PATH = "azure-pipelines.yml"

TEXT = """\
trigger: [main]
pr: [main]
variables:
  - name: X
    value: y
stages:
  - stage: plan
    jobs:
      - job: plan
        steps:
          - task: TerraformTaskV4@4
            inputs:
              command: plan
              commandOptions: -out=tfplan -lock=false
              workingDirectory: $(System.DefaultWorkingDirectory)/infra
          - publish: infra/tfplan
  - stage: apply
    lockBehavior: sequential
    condition: and(succeeded(), eq(variables['Build.SourceBranch'], 'refs/heads/main'))
    jobs:
      - deployment: apply
        environment: prod
        timeoutInMinutes: 60
        strategy: {runOnce: {deploy: {steps: [{template: t/apply.yml, parameters: {dir: infra}}]}}}
"""
TEMPLATE = """\
parameters: [{name: dir, default: x}]
steps:
  - ${{ if eq(1,1) }}:
    - bash: |
        terraform apply -auto-approve
      workingDirectory: ${{ parameters.dir }}
      condition: always()
"""


def test_stages_jobs_tasks_and_templates_are_read(workflow_of: Read) -> None:
    workflow = workflow_of(PATH, TEXT, {"t/apply.yml": TEMPLATE})
    plan, apply = workflow.jobs
    assert workflow.events == {"push", "pull_request"}
    ((_, planned),) = plan.operations()
    assert (planned.verb, planned.plan_file, planned.directory, planned.by_task) == ("plan", "tfplan", "infra", True)
    lock = planned.flag("lock")
    assert lock is not None
    assert (lock.span.line, lock.span.column) == (14, 43)
    assert plan.artifacts[0].paths == ("infra/tfplan",)
    ((step, applied),) = apply.operations()
    assert (applied.span.path, applied.span.line, applied.span.column) == ("t/apply.yml", 5, 9)
    assert (applied.directory, step.survives) == ("infra", True)


def test_what_a_deployment_says_of_itself_is_read(workflow_of: Read) -> None:
    plan, apply = workflow_of(PATH, TEXT, {"t/apply.yml": TEMPLATE}).jobs
    assert apply.environment is not None
    assert (apply.environment.text, apply.environment.span.line) == ("prod", 22)
    assert apply.limit is not None
    assert apply.limit.seconds == 3600.0
    assert [(turn.keeps_all, turn.span.line) for turn in apply.turns] == [(True, 18)]
    assert plan.refs == {"main", ANY_REF}
    assert apply.refs == {"main"}
    assert (plan.receives, apply.receives) == (False, True)
    assert [variable.name for variable in apply.variables] == ["X"]


def test_an_apply_task_approves_itself(workflow_of: Read) -> None:
    text = "trigger: [main]\nsteps: [{task: TerraformTaskV4@4, inputs: {command: apply}}]\n"
    ((_, operation),) = workflow_of(PATH, text).jobs[0].operations()
    assert operation.approved
    assert operation.plan_file is None


@pytest.mark.parametrize(
    "step",
    [
        "script: terraform apply",
        "task: Bash@3, inputs: {targetType: inline, script: terraform apply}",
        "task: AzureCLI@2, inputs: {scriptType: bash, inlineScript: terraform apply}",
        "task: AWSShellScript@1, inputs: {inlineScript: terraform apply}",
        "task: Bash@3, inputs: {filePath: x.sh}",
    ],
)
def test_scripts_of_tasks_are_read(workflow_of: Read, step: str) -> None:
    workflow = workflow_of(PATH, f"steps: [{{{step}}}]\n", {"x.sh": "terraform apply\n"})
    assert [operation.verb for _, operation in workflow.jobs[0].operations()] == ["apply"]


@pytest.mark.parametrize("step", ["pwsh: terraform apply", "powershell: terraform apply", "task: Other@1"])
def test_other_steps_are_not_read_as_shell(workflow_of: Read, step: str) -> None:
    assert not workflow_of(PATH, f"steps: [{{{step}}}]\n").uses_terraform


def test_a_template_leaves_turns_and_limits_to_others(workflow_of: Read) -> None:
    assert (
        not workflow_of(PATH, "parameters: {a: b}\njobs: [{job: x, steps: [{script: terraform apply}]}]\n")
        .jobs[0]
        .standalone
    )


def test_templates_that_include_each_other_end(workflow_of: Read) -> None:
    assert workflow_of(PATH, "steps: [{template: azure-pipelines.yml}]\n").jobs[0].steps == ()


def test_extends_is_followed(workflow_of: Read) -> None:
    others = {"base.yml": "stages: [{stage: a, jobs: [{job: b, steps: [{bash: terraform plan}]}]}]\n"}
    assert workflow_of(PATH, "trigger: none\nextends: {template: base.yml}\n", others).uses_terraform


def test_a_broken_template_is_a_problem_in_its_own_file(workflow_of: Read) -> None:
    workflow = workflow_of(PATH, "steps: [{template: x.yml}]\n", {"x.yml": "steps: [\n"})
    assert [problem.span.path for problem in workflow.problems] == ["x.yml"]


def test_conditional_lists_of_aliases_that_grow_for_ever_end(workflow_of: Read) -> None:
    lines = ["x0: &a0 [{bash: terraform plan}]"]
    for level in range(1, 40):
        below = ", ".join([f"{{'${{{{ if a }}}}': *a{level - 1}}}"] * 9)
        lines.append(f"x{level}: &a{level} [{below}]")
    text = "\n".join(["trigger: none", *lines, "steps: *a39\n"])
    assert len(workflow_of(PATH, text).jobs) == 1
