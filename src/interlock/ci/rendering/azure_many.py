"""Azure Pipelines for many roots: one template of a root's stages, used once for each, and a stage that says which run.

The stages are those of one root (`azure.py`). A root's applies wait for those of the roots that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from interlock.ci.pipeline import CLOSING_MIN, REQUIREMENTS_FILE, Pipeline, Target
from interlock.ci.rendering import stand_in
from interlock.ci.rendering.azure import CHECKOUT, FILE, IN_A_JOB, INSTALL, render_one, shifted
from interlock.ci.rendering.stand_in import ONE
from interlock.ci.rendering.templates import template

ROOT_FILE = "interlock-root.azure-pipelines.yml"

_STAGE = ONE.slug.replace("-", "_")
_TOUCHED = f"contains(dependencies.roots.outputs['roots.find.states'], '\"{ONE.name}\"')"
_WAITS = "    dependsOn: ${{ parameters.waits }}\n"
_BEHIND = "${{ parameters.behind }}"

_ROOTS_STAGE = (
    """\
  # Which roots: it reads files and asks git and Azure, and runs nothing of a change.
  - stage: roots
    displayName: find the roots
    dependsOn: []
    condition: ne(variables['System.PullRequest.IsFork'], 'True')
    jobs:
      - job: roots
        timeoutInMinutes: 10
        variables:
          PYTHONSAFEPATH: "1"
        steps:
"""
    + shifted(CHECKOUT.replace("fetchDepth: 1", "fetchDepth: 0"), IN_A_JOB)
    + shifted(INSTALL, IN_A_JOB)
    + """\
          - bash: |
              case "$BUILD_REASON" in
                PullRequest) interlock ci roots --changed "" ;;
                Manual|Schedule) interlock ci roots ;;
                *) interlock ci roots --pushed ;;
              esac
            name: find
            displayName: Find the roots
            env:
              SYSTEM_ACCESSTOKEN: $(System.AccessToken)
"""
)

_COMMENT_STAGE = (
    """\
  # One comment for all roots, in a job that runs no code of the change.
  - stage: comment
    displayName: comment
    dependsOn:
      - roots
<% for target in p.targets %>
      - plan_<< target.slug | replace("-", "_") | word >>
<% endfor %>
    condition: and(not(canceled()), eq(variables['Build.Reason'], 'PullRequest'), \
eq(dependencies.roots.result, 'Succeeded'))
    jobs:
      - job: comment
        timeoutInMinutes: 10
        variables:
          PYTHONSAFEPATH: "1"
          ROOTS: $[ stageDependencies.roots.roots.outputs['find.matrix'] ]
        steps:
"""
    + shifted(CHECKOUT + INSTALL, IN_A_JOB)
    + """\
          - download: current
            patterns: "**/report-*.json"
          - bash: interlock ci comment --states "$ROOTS" --reports "$PIPELINE_WORKSPACE"
            displayName: Comment
            env:
              SYSTEM_ACCESSTOKEN: $(System.AccessToken)
"""
)

_USE = """\
  - template: << file | flags >>
    parameters:
      state: << target.name | yaml >>
      slug: << target.slug | yaml >>
      stage: << stage | word >>
      directory: << target.directory | yaml >>
      environment: << target.environment | yaml >>
<% if target.locked %>
      lockfile: -lockfile=readonly
<% endif %>
      waits: [<< waits | flags >>]
<% if behind %>
      # What it needs was applied, or is not touched; so a root that fails holds back those behind it.
      behind: << behind | flags >>
<% endif %>
"""

_PARAMETERS = """\
# Written by `interlock ci generate azure`. Change interlock.yaml and run it again instead of editing this file.
# The stages of one root; interlock.azure-pipelines.yml uses them for each.
parameters:
  - {name: state, type: string}
  - {name: slug, type: string}
  - {name: stage, type: string}
  - {name: directory, type: string}
  - {name: environment, type: string}
  - {name: lockfile, type: string, default: ""}
  # The stages before its apply, and what must be true of those of the roots that it needs.
  - {name: waits, type: object}
  - {name: behind, type: string, default: "true"}

stages:
"""


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the Azure files by path; for pipelines of more than one root."""
    one = render_one(replace(pipeline, targets=(ONE,)))[FILE]
    begin = one.index("\nstages:\n") + len("\nstages:\n")
    end = one.index("  - stage: settings\n")
    values = {"p": pipeline, "closing": CLOSING_MIN, "requirements": REQUIREMENTS_FILE}
    first = template(_ROOTS_STAGE).render(**values)
    comment = template(_COMMENT_STAGE).render(**values)
    uses = "".join(_use(target, pipeline) for target in pipeline.targets)
    return {
        FILE: one[:begin] + first + uses + comment + one[end:],
        ROOT_FILE: _PARAMETERS + _stages(one[begin:end]),
    }


def _use(target: Target, pipeline: Pipeline) -> str:
    stages = {each.name: each.slug.replace("-", "_") for each in pipeline.targets}
    needs = [name for name in target.needs if name in stages]
    waits = ["roots", f"seal_{stages[target.name]}", *(f"apply_{stages[name]}" for name in needs)]
    behind = [_applied(name, stages[name]) for name in needs]
    return template(_USE).render(
        target=target,
        stage=stages[target.name],
        waits=", ".join(waits),
        behind=f"and({', '.join(behind)})" if len(behind) > 1 else "".join(behind),
        file=ROOT_FILE,
    )


def _applied(name: str, stage: str) -> str:
    """Return the condition that a root was applied where the change touches it."""
    touched = _TOUCHED.replace(ONE.name, name)
    return f"or(not({touched}), in(dependencies.apply_{stage}.result, 'Succeeded', 'SucceededWithIssues'))"


def _stages(text: str) -> str:
    """Return the stages of one root with parameters for its values."""
    text = _without_comment(text)
    for before, after in _CHANGES:
        assert before in text, f"the stages of one root have {before}"
        text = text.replace(before, after)
    return spelled_out(text)


def spelled_out(text: str) -> str:
    """Put parameters in the places of a root's values, in stages that are written for `ONE`."""
    return stand_in.spelled_out(text.replace(_STAGE, "${{ parameters.stage }}"), "parameters")


def _without_comment(text: str) -> str:
    """Leave out the job that comments: one stage does it for all."""
    begin = text.index("      # The right to write comments is used")
    return text[:begin] + text[text.index("  # The only job with the signing key") :]


_CHANGES = (
    ("    dependsOn: []\n    # On the branch", "    dependsOn: roots\n    # On the branch"),
    (
        "condition: and(ne(variables['System.PullRequest.IsFork'], 'True'), ",
        f"condition: and({_TOUCHED}, ne(variables['System.PullRequest.IsFork'], 'True'), ",
    ),
    (f"    dependsOn: plan_{_STAGE}\n", f"    dependsOn:\n      - roots\n      - plan_{_STAGE}\n"),
    (f"condition: and(in(dependencies.plan_{_STAGE}", f"condition: and({_TOUCHED}, in(dependencies.plan_{_STAGE}"),
    (
        f"    dependsOn: seal_{_STAGE}\n    condition: and(succeeded(), ",
        f"{_WAITS}    condition: and(eq(dependencies.seal_{_STAGE}.result, 'Succeeded'), {_BEHIND}, ",
    ),
    ("report.json", f"report-{ONE.slug}.json"),
)
