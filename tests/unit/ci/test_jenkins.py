from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ci import Job, Workflow, read
from interlock.ci.workflow import ANY_REF
from interlock.source.tree import MemoryTree

Read = Callable[..., Workflow]
PATH = "Jenkinsfile"

TEXT = """\
// terraform apply in a comment is nothing
pipeline {
  agent { docker { image 'hashicorp/terraform:latest' } }
  options {
    disableConcurrentBuilds(abortPrevious: true)
    timeout(time: 2, unit: 'HOURS')
  }
  environment {
    TF_IN_AUTOMATION = '1'
    KEY = credentials('key')
  }
  stages {
    stage('Plan') {
      steps {
        dir('infra') {
          sh 'terraform plan -out=tfplan'
        }
        archiveArtifacts artifacts: 'infra/tfplan, logs/**'
      }
    }
    stage('Apply') {
      when { branch 'main' }
      steps {
        lock(resource: 'prod') {
          withCredentials([usernamePassword(usernameVariable: 'A_ID', passwordVariable: 'A_SECRET')]) {
            retry(3) {
              sh(script: '''
                cd infra
                terraform apply -auto-approve tfplan
              ''', label: 'apply')
            }
          }
        }
      }
    }
  }
  post {
    always { sh "interlock wait" }
  }
}
"""


def only(workflow: Workflow) -> Job:
    (job,) = workflow.jobs
    return job


def test_sh_steps_are_found_with_their_places(workflow_of: Read) -> None:
    job = only(workflow_of(PATH, TEXT))
    found = [(op.verb, op.span.line, op.span.column, op.directory) for _, op in job.operations()]
    assert found == [("plan", 16, 15, "infra"), ("apply", 29, 17, "infra"), ("wait", 38, 18, "")]


def test_what_is_around_a_step_belongs_to_it(workflow_of: Read) -> None:
    job = only(workflow_of(PATH, TEXT))
    plan, apply, wait = job.steps
    assert [variable.name for variable in apply.variables] == ["A_ID", "A_SECRET"]
    assert plan.variables == ()
    assert (plan.survives, wait.survives) == (False, True)
    assert job.refs_of(plan) == {ANY_REF}
    assert job.refs_of(apply) == {"main"}
    retry = apply.operations[0].retry
    assert retry is not None
    assert (retry.waits, retry.span.line) == (False, 26)


def test_what_the_pipeline_says_of_itself_is_read(workflow_of: Read) -> None:
    job = only(workflow_of(PATH, TEXT))
    assert [(turn.key, turn.cancels, turn.span.line) for turn in job.turns] == [("", True, 5), ("prod", False, 24)]
    assert job.limit is not None
    assert (job.limit.seconds, job.limit.span.line) == (7200.0, 6)
    assert [variable.name for variable in job.variables] == ["TF_IN_AUTOMATION", "KEY"]
    assert job.image is not None
    assert (job.image.name, job.image.span.column) == ("hashicorp/terraform:latest", 27)
    assert job.artifacts[0].paths == ("infra/tfplan", "logs/**")
    assert [(span.line, span.column) for span in job.artifacts[0].spans] == [(18, 38), (18, 52)]


def test_a_scripted_pipeline_is_read_too(workflow_of: Read) -> None:
    text = "node('x') {\n  def out = sh(returnStdout: true, script: \"terraform apply -auto-approve\").trim()\n}\n"
    ((_, operation),) = only(workflow_of(PATH, text)).operations()
    assert (operation.verb, operation.approved, operation.span.line) == ("apply", True, 2)


@pytest.mark.parametrize(
    "text", ["", "x", "}}}}", "{" * 1000, "'unclosed", "sh", "sh(", "pipeline { sh }", "node { sh x }"]
)
def test_a_file_of_another_shape_has_no_jobs(workflow_of: Read, text: str) -> None:
    assert workflow_of(PATH, text).jobs == ()


_PARTS = ["sh", "'terraform apply'", "(", ")", "{", "}", "retry", "lock", ":", ",", "\n", "dir", '"x"', "environment"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(_PARTS)))
def test_any_tokens_are_read(parts: list[str]) -> None:
    found = read(MemoryTree({PATH: " ".join(parts)}), PATH)
    assert found is not None
    for job in found.jobs:
        assert list(job.operations()) is not None
