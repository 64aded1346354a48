"""GitHub Actions workflows for many roots: only those that a change touches, in the order of their needs.

The jobs are those of one root (`github.py`), written once: planning and drift run them as a matrix that a first job
works out, applying calls them as a workflow of this repository, one call a root, so that `needs` can say the order. A
matrix could not: its jobs know no order, and one that fails would hold back all.
Source: docs/facts/ci-systems.md#ci-17.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from interlock.ci.pipeline import Pipeline
from interlock.ci.quoting import yaml_scalar
from interlock.ci.rendering import stand_in
from interlock.ci.rendering.github import INSTALL, PINS, SPARSE_BASE, render_one
from interlock.ci.rendering.stand_in import ONE
from interlock.ci.rendering.templates import template

ROOT_FILE = "interlock-root.yml"
_FOLDER = ".github/workflows"

_JOB = re.compile(rf"(?<!interlock-)\b(plan|comment|seal|apply|drift)-{ONE.slug}\b")
SECRET = re.compile(r"secrets\.([A-Z_]+)")

_ROOTS_JOB = """\
  # Which roots: it reads files and asks git, and runs nothing of them.
  roots:
    name: << title | yaml >>
<% if is_change %>
    # A pull request from a fork gets no secrets; its plan could only fail.
    if: github.event.pull_request.head.repo.full_name == github.repository
<% endif %>
    runs-on: << p.runner | yaml >>
    timeout-minutes: 10
    permissions:
      contents: read # check out
    concurrency:
      group: interlock-roots-${{ github.run_id }}
      cancel-in-progress: true
    env:
      PYTHONSAFEPATH: "1"
<% if is_change %>
      BASE: ${{ github.event.pull_request.base.sha }}
<% elif is_push %>
      BASE: ${{ github.event_name == 'push' && github.event.before || '' }}
      NAMED: ${{ inputs.roots }}
<% endif %>
    outputs:
      matrix: ${{ steps.roots.outputs.matrix }}
      states: ${{ steps.roots.outputs.states }}
    steps:
      - uses: << pins.checkout | pin >>
        with:
          persist-credentials: false
<% if is_change or is_push %>
          fetch-depth: 0 # back to the commit with which it is compared
<% endif %>
<% if is_change %>
          ref: ${{ github.event.pull_request.head.sha }}
<% endif %>
"""

_FIND = """\
      - name: Find the roots
        id: roots
<% if is_change %>
        run: interlock ci roots --changed "$BASE"
<% elif is_push %>
        run: interlock ci roots ${BASE:+--changed "$BASE"} ${NAMED:+--named "$NAMED"}
<% else %>
        run: interlock ci roots
<% endif %>
"""

_MATRIX = """\
    strategy:
      fail-fast: false # one root does not stop the others
      matrix:
        include: ${{ fromJSON(needs.roots.outputs.matrix) }}
"""

_COMMENT = """\

  # One comment for all roots. The right to write it is in a job that runs no code of the change.
  comment:
    name: comment
    needs: [roots, plan]
    if: ${{ !cancelled() && needs.roots.result == 'success' }}
    runs-on: << p.runner | yaml >>
    timeout-minutes: 10
    permissions:
      contents: read # the file of checksums
      actions: read # fetch the reports
      pull-requests: write # the comment with the plans
    concurrency:
      group: interlock-comment-${{ github.event.pull_request.number }}
      cancel-in-progress: true
    env:
      ROOTS: ${{ needs.roots.outputs.matrix }}
      PYTHONSAFEPATH: "1"
    steps:
"""

_COMMENT_STEP = """\
      - name: Comment
        env:
          GITHUB_TOKEN: ${{ github.token }}
        run: interlock ci comment --states "$ROOTS"
"""

_APPLY_HEAD = """\
# Written by `interlock ci generate github`. Change interlock.yaml and run it again instead of editing this file.
name: interlock apply

on:
  push:
    branches: [<< p.branch | yaml >>]
  # By hand: plan anew, for instance when a reviewed plan is stale. The environments' reviewers see it before it runs.
  workflow_dispatch:
    inputs:
      roots:
        description: Names of the states, with spaces between; all of them when empty
        type: string
        default: ""

permissions: {}

jobs:
"""

_CALL = """\

  root-<< target.slug | word >>:
    name: << target.name | yaml >>
    needs: << needs | flags >>
    # Behind all that it needs; a root that fails holds back those behind it, and no others.
    if: >-
      ${{ !cancelled() && needs.roots.result == 'success'
      && contains(fromJSON(needs.roots.outputs.states), << target.name | expr >>)
      && !contains(needs.*.result, 'failure') && !contains(needs.*.result, 'cancelled') }}
    # zizmor: a called workflow is of the caller's own commit; servers older than 2026 do not know `$/`.
    uses: << called | yaml >> # zizmor: ignore[self-repository]
    permissions:
      contents: read # check out
      id-token: write # log in to AWS and Interlock as this job
      actions: read # fetch plans
      pull-requests: read # which change this is, and when it was approved
    with:
      state: << target.name | yaml >>
      slug: << target.slug | yaml >>
      directory: << target.directory | yaml >>
      environment: << target.environment | yaml >>
<% if target.locked %>
      lockfile: -lockfile=readonly
<% endif %>
    # Named, so that the called jobs may take them from their environments.
    secrets:
<% for name in secrets %>
      << name | flags >>: ${{ secrets.<< name | flags >> }}
<% endfor %>
"""


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the workflow files by path; for pipelines of more than one root."""
    one = replace(pipeline, targets=(ONE,))
    files = {name.rpartition("/")[2]: text for name, text in render_one(one).items()}
    called = _called(files["interlock-apply.yml"])
    found = {
        "interlock-plan.yml": _plan(files["interlock-plan.yml"], pipeline),
        "interlock-apply.yml": _apply(pipeline, tuple(dict.fromkeys(SECRET.findall(called)))),
        ROOT_FILE: called,
    }
    if "interlock-drift.yml" in files:
        found["interlock-drift.yml"] = _drift(files["interlock-drift.yml"], pipeline)
    return {f"{_FOLDER}/{name}": text.rstrip("\n") + "\n" for name, text in found.items()}


def spelled_out(text: str, context: str) -> str:
    """Put expressions in the places of a root's values; its jobs are named without the root.

    Args:
        text: Jobs as they are written for `ONE`.
        context: Where the values are, such as `inputs`.
    """
    return stand_in.spelled_out(_JOB.sub(r"\1", text), context)


def _job(text: str, name: str) -> str:
    """Return one job of a workflow, its text."""
    found = re.search(rf"^  {name}:\n(?:(?:   .*)?\n)+", text, re.MULTILINE)
    assert found is not None, f"the workflow of one root has a job {name}"
    return found[0].rstrip("\n") + "\n"


def _head(text: str) -> str:
    return text[: text.index("\njobs:\n") + len("\njobs:\n")]


def _after_roots(job: str, first_line: str, *, condition: str | None = None) -> str:
    """Let a job wait for the first one, and run once for each root."""
    job = re.sub(r"^    if: .*\n", "", job, count=1, flags=re.MULTILINE) if condition else job
    job = re.sub(r"^    #[^\n]*fork[^\n]*\n", "", job, count=1, flags=re.MULTILINE)
    needs = f"    needs: roots\n{f'    if: {condition}{chr(10)}' if condition else ''}"
    return job.replace(first_line, f"{needs}{_MATRIX}{first_line}", 1)


def _runs_on(pipeline: Pipeline) -> str:
    return f"    runs-on: {yaml_scalar(pipeline.runner)}\n"


def _roots_job(pipeline: Pipeline, title: str, **flags: bool) -> str:
    values = {"is_change": False, "is_push": False, **flags}
    return template(_ROOTS_JOB + INSTALL + _FIND).render(p=pipeline, pins=PINS, title=title, **values, **_FILES)


_FILES = {"requirements": "interlock.requirements.txt"}
_ANY = "${{ needs.roots.outputs.matrix != '[]' }}"


def _plan(text: str, pipeline: Pipeline) -> str:
    expressed = spelled_out(text, "matrix")
    job = _after_roots(_job(expressed, "plan"), _runs_on(pipeline), condition=_ANY)
    first = _roots_job(pipeline, "find the roots that this change touches", is_change=True)
    comment = template(_COMMENT).render(p=pipeline) + template(SPARSE_BASE + INSTALL).render(
        p=pipeline, pins=PINS, **_FILES
    )
    return f"{_head(text)}{first}\n{job}{comment}{_COMMENT_STEP}"


def _called(text: str) -> str:
    """Return the jobs of one root as a workflow that is called: plan anew by hand, seal, apply."""
    expressed = spelled_out(text, "inputs")
    jobs = expressed[expressed.index("\njobs:\n") :]
    secrets = dict.fromkeys(SECRET.findall(jobs))
    lines = [text.split("\n", 1)[0], "name: interlock root", "", "on:", "  workflow_call:", "    inputs:"]
    for name in ("state", "slug", "directory", "environment"):
        lines += [f"      {name}:", "        required: true", "        type: string"]
    lines += ["      lockfile:", "        type: string", '        default: ""', "    secrets:"]
    for secret in secrets:
        lines += [f"      {secret}:", "        required: false"]
    return "\n".join([*lines, "", "permissions: {}", ""]) + jobs


def _apply(pipeline: Pipeline, secrets: tuple[str, ...]) -> str:
    slugs = {target.name: target.slug for target in pipeline.targets}
    text = template(_APPLY_HEAD).render(p=pipeline)
    text += _roots_job(pipeline, "find the roots to apply", is_push=True)
    for target in pipeline.targets:
        needs = ["roots", *(f"root-{slugs[name]}" for name in target.needs if name in slugs)]
        values = {"needs": f"[{', '.join(needs)}]", "called": f"./{_FOLDER}/{ROOT_FILE}", "secrets": secrets}
        text += template(_CALL).render(target=target, **values)
    return text


def _drift(text: str, pipeline: Pipeline) -> str:
    expressed = spelled_out(text, "matrix")
    job = _after_roots(_job(expressed, "drift"), _runs_on(pipeline))
    return "\n".join([_head(text) + _roots_job(pipeline, "list the roots"), job, _job(expressed, "settings")])
