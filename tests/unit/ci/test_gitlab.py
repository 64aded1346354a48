from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.ci import Job, Workflow
from interlock.ci.gitlab import duration_s
from interlock.ci.workflow import ANY_REF

Read = Callable[..., Workflow]
PATH = ".gitlab-ci.yml"


def job(workflow: Workflow, name: str) -> Job:
    return next(found for found in workflow.jobs if found.name == name)


def lines(found: Job) -> list[tuple[str, str, int, int]]:
    return [(op.verb, op.span.path, op.span.line, op.span.column) for _, op in found.operations()]


TEXT = """\
include:
  - local: /ci/base.yml
  - component: gitlab.com/x/y@~latest
  - {project: a/b, file: c.yml}
  - remote: https://example.com/x.yml
default:
  image: hashicorp/terraform:1.9.0
.apply: &apply
  resource_group: tf-$CI_COMMIT_REF_SLUG
  retry: 2
  interruptible: true
plan:
  script:
    - !reference [.setup, script]
    - cd infra
    - terraform plan -out=plan.bin
  artifacts: {paths: [infra/plan.bin], access: developer}
apply:
  extends: .base
  <<: *apply
  needs: [plan]
  timeout: 1h 30m
  environment: {name: production}
  script: [[terraform apply plan.bin], ./x.sh]
  rules: [{if: '$CI_COMMIT_BRANCH == "main"'}]
"""
OTHERS = {
    "ci/base.yml": """\
.setup:
  script:
    - terraform init
.base:
  variables: {A: b, C: {value: d}}
  before_script: [echo hi]
  after_script: [interlock wait]
""",
    "x.sh": "#!/bin/bash\nterraform force-unlock -force x\n",
}


def test_includes_extends_anchors_and_references_are_resolved(workflow_of: Read) -> None:
    workflow = workflow_of(PATH, TEXT, OTHERS)
    assert [found.name for found in workflow.jobs] == ["plan", "apply"]
    assert lines(job(workflow, "plan")) == [("init", "ci/base.yml", 3, 7), ("plan", PATH, 16, 7)]
    assert lines(job(workflow, "apply")) == [
        ("apply", PATH, 24, 13),
        ("force-unlock", "x.sh", 2, 1),
        ("wait", "ci/base.yml", 7, 18),
    ]


def test_what_a_job_says_of_itself_is_read(workflow_of: Read) -> None:
    found = job(workflow_of(PATH, TEXT, OTHERS), "apply")
    (turn,) = found.turns
    assert (turn.key, turn.follows_ref, turn.keeps_all, turn.cancels) == ("tf-$CI_COMMIT_REF_SLUG", True, None, True)
    assert turn.cancel_span is not None
    assert (turn.span.line, turn.cancel_span.line) == (9, 11)
    assert found.limit is not None
    assert found.limit.seconds == 5400.0
    assert found.retries is not None
    assert found.retries.after_script_failure
    assert found.refs == {"main"}
    assert (found.receives, found.needs) == (True, ("plan",))
    assert [variable.name for variable in found.variables] == ["A", "C"]
    assert found.image is not None
    assert found.image.name == "hashicorp/terraform:1.9.0"
    assert [step.survives for step in found.steps] == [False, True]


def test_what_is_included_from_elsewhere_is_noted(workflow_of: Read) -> None:
    includes = workflow_of(PATH, TEXT, OTHERS).includes
    assert [(include.name, include.version, include.span.line) for include in includes] == [
        ("gitlab.com/x/y", "~latest", 3),
        ("a/b", "", 4),
    ]


def test_the_script_is_one_shell_so_cd_and_traps_go_on(workflow_of: Read) -> None:
    text = "a:\n  before_script: [cd infra]\n  script:\n    - trap 'kill -INT $p' INT\n    - terraform apply\n"
    ((_, operation),) = job(workflow_of(PATH, text), "a").operations()
    assert operation.directory == "infra"
    assert operation.signals == {"INT"}


@pytest.mark.parametrize(
    ("body", "restricted"),
    [("paths: [x], public: false", True), ("paths: [x], access: none", True), ("paths: [x]", False)],
)
def test_who_may_read_artifacts(workflow_of: Read, body: str, restricted: bool) -> None:
    (artifact,) = job(workflow_of(PATH, f"a: {{script: x, artifacts: {{{body}}}}}\n"), "a").artifacts
    assert artifact.restricted is restricted


@pytest.mark.parametrize(
    ("body", "refs"),
    [
        ("rules: [{if: '$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH'}]", {"$CI_DEFAULT_BRANCH"}),
        ("rules: [{if: '$CI_PIPELINE_SOURCE == \"merge_request_event\"'}]", {ANY_REF}),
        ("rules: [{if: '$X', when: never}, {if: '$CI_COMMIT_BRANCH == \"main\"'}]", {"main"}),
        ("only: [main]", {"main"}),
        ("only: [branches]", {ANY_REF}),
        ("stage: x", {ANY_REF}),
    ],
)
def test_refs_follow_rules(workflow_of: Read, body: str, refs: set[str]) -> None:
    assert job(workflow_of(PATH, f"a: {{script: x, {body}}}\n"), "a").refs == refs


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h 30m", 5400.0), ("90 minutes", 5400.0), ("2 hours", 7200.0), ("3600", 3600.0), ("soon", None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


def test_retry_after_infrastructure_failures_is_told_apart(workflow_of: Read) -> None:
    text = "a: {script: x, retry: {max: 2, when: [runner_system_failure]}}\nb: {script: x, retry: {max: 1}}\n"
    workflow = workflow_of(PATH, text)
    retries = [found.retries.after_script_failure for found in workflow.jobs if found.retries is not None]
    assert retries == [False, True]


def test_circles_end(workflow_of: Read) -> None:
    text = """\
include: [{local: .gitlab-ci.yml}]
a: {extends: b, script: !reference [b, script]}
b: {extends: a, script: !reference [a, script]}
"""
    assert [found.name for found in workflow_of(PATH, text).jobs] == ["a", "b"]


def test_a_broken_include_is_a_problem_in_its_own_file(workflow_of: Read) -> None:
    workflow = workflow_of(PATH, "include: /x.yml\na: {script: terraform plan}\n", {"x.yml": "a: [\n"})
    assert [problem.span.path for problem in workflow.problems] == ["x.yml"]
    assert len(workflow.jobs) == 1


def test_a_script_of_aliases_that_grow_for_ever_ends(workflow_of: Read) -> None:
    lines = ["a0: &a0 []"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 40)]
    text = "\n".join([*lines, "job: {script: [*a39, terraform plan]}\n"])
    assert job(workflow_of(PATH, text), "job").name == "job"
