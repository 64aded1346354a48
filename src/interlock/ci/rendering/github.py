"""GitHub Actions workflows of a pipeline: plans on pull requests, applies on merge, drift on a schedule.

What the shape of these files rests on is told in docs/explanation/ci-signals.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interlock.ci.pipeline import Pipeline
from interlock.ci.rendering.templates import template


@dataclass(frozen=True, slots=True)
class Pin:
    """An action and the commit that a release tag pointed at when it was read."""

    name: str
    commit: str
    tag: str

    def __str__(self) -> str:
        """Spell it as a `uses:` value with the tag as a comment."""
        return f"{self.name}@{self.commit} # {self.tag}"


# Read on 2026-11-24 from the tags of snapshots of these repositories (annotated tags followed to their commit).
PINS: Mapping[str, Pin] = {
    "checkout": Pin("actions/checkout", "3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1"),
    "python": Pin("actions/setup-python", "5fda3b95a4ea91299a34e894583c3862153e4b97", "v7.0.0"),
    "upload": Pin("actions/upload-artifact", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", "v7.0.0"),
    "terraform": Pin("hashicorp/setup-terraform", "dfe3c3f87815947d99a8997f908cb6525fc44e9e", "v4.0.1"),
    "tofu": Pin("opentofu/setup-opentofu", "a1320f892987e89d278cc92dc5adc984fb93aca4", "v2.0.2"),
    "aws": Pin("aws-actions/configure-aws-credentials", "e6de054238d6b7531b4efff3b6587d9aade6a06c", "v6.2.3"),
}

_HEAD = """\
# Written by `interlock ci generate github`. Change interlock.yaml and run it again instead of editing this file.
"""

_SETUP = """\
      - uses: << pins.checkout >>
        with:
          persist-credentials: false
      - uses: << pins.python >>
        with:
          python-version: "3.13"
<% if p.tool == "tofu" %>
      - uses: << pins.tofu >>
        with:
          tofu_version: << p.tool_version >>
          tofu_wrapper: false
<% else %>
      - uses: << pins.terraform >>
        with:
          terraform_version: << p.tool_version >>
          terraform_wrapper: false
<% endif %>
<% if p.aws %>
      - uses: << pins.aws >>
        with:
          aws-region: << p.aws.region >>
          role-to-assume: << role >>
<% endif %>
      - name: Install Interlock
        run: python -m pip install --disable-pip-version-check --quiet "<< p.package >>==$INTERLOCK_VERSION"
<% if p.server %>
      - name: Log in to Interlock
        run: interlock ci login
<% endif %>
"""

_ENV = """\
    env:
      DIRECTORY: << target.directory >>
      STATE: << target.name >>
      INTERLOCK_VERSION: << p.interlock_version >>
      INTERLOCK_WAIT: << p.wait_min >>m
<% if p.server %>
      INTERLOCK_SERVER: << p.server >>
      INTERLOCK_OIDC_AUDIENCE: << p.audience >>
<% endif %>
"""

_CREDENTIALS = """\
          GENESYSCLOUD_REGION: << p.genesys_region >>
          GENESYSCLOUD_OAUTHCLIENT_ID: ${{ secrets.GENESYSCLOUD_OAUTHCLIENT_ID }}
          GENESYSCLOUD_OAUTHCLIENT_SECRET: ${{ secrets.GENESYSCLOUD_OAUTHCLIENT_SECRET }}
"""

_WAIT = """\
      # A cancelled job signals only this shell and is over soon; the supervisor lets Terraform finish. Wait for it.
      - name: Let the run end
        if: always()
        run: interlock wait
"""

_NOTIFY = """\
<% if p.notify %>
      - name: Tell the team
        if: failure()
        env:
          INTERLOCK_NOTIFY_URL: ${{ secrets.INTERLOCK_NOTIFY_URL }}
        run: interlock ci notify --state "$STATE"
<% endif %>
"""

_PLAN_STEPS = (
    """\
      - name: Plan
        env:
"""
    + _CREDENTIALS
    + """\
        run: |
          exec interlock plan "$DIRECTORY" --state "$STATE" \\
            --out "$RUNNER_TEMP/plan.bin" --json > "$RUNNER_TEMP/plan.json"
"""
    + _WAIT
    + """\
      - name: Seal the plan
        id: seal
        env:
          INTERLOCK_PLAN_KEY: ${{ secrets.INTERLOCK_PLAN_KEY }}
        run: interlock ci seal "$RUNNER_TEMP/plan.bin" --state "$STATE"
      - name: Keep the plan
        uses: << pins.upload >>
        with:
          name: ${{ steps.seal.outputs.name }}
          path: ${{ runner.temp }}/plan.bin.sealed
          retention-days: 30
          overwrite: true
"""
)

_PLAN = (
    _HEAD
    + """\
name: interlock plan

on:
  pull_request:
    branches: [<< p.branch >>]

permissions: {}

jobs:
<% for target in p.targets %>
  plan-<< target.slug >>:
    name: plan << target.name >>
    # A pull request from a fork gets no secrets; its plan could only fail.
    if: github.event.pull_request.head.repo.full_name == github.repository
    runs-on: << p.runner >>
    timeout-minutes: << p.limit_min(p.plan_min) >>
    environment: << target.environment >>-plan
    permissions:
      contents: read # check out
      id-token: write # log in to AWS and Interlock as this job
      pull-requests: write # the comment with the plan
    # A newer commit makes this preview void. What is applied is never cancelled: see interlock-apply.yml.
    concurrency:
      group: interlock-plan-<< target.slug >>-${{ github.event.pull_request.number }}
      cancel-in-progress: true
"""
    + _ENV
    + """\
    steps:
<% set role = p.aws.plan_role if p.aws else "" %>
"""
    + _SETUP
    + _PLAN_STEPS
    + """\
      - name: Comment
        if: ${{ !cancelled() }}
        env:
          GITHUB_TOKEN: ${{ github.token }}
        run: interlock ci comment "$RUNNER_TEMP/plan.json" --state "$STATE"
<% endfor %>
"""
)

_APPLY = (
    _HEAD
    + """\
name: interlock apply

on:
  push:
    branches: [<< p.branch >>]
  # By hand: plan anew, for instance when the reviewed plan is stale. The environment's reviewers see it before it runs.
  workflow_dispatch:

permissions: {}

jobs:
<% for target in p.targets %>
  plan-<< target.slug >>:
    name: plan << target.name >> anew
    if: github.event_name == 'workflow_dispatch'
    runs-on: << p.runner >>
    timeout-minutes: << p.limit_min(p.plan_min) >>
    environment: << target.environment >>-plan
    permissions:
      contents: read # check out
      id-token: write # log in to AWS and Interlock as this job
    concurrency:
      group: interlock-plan-<< target.slug >>-by-hand
      cancel-in-progress: true
"""
    + _ENV
    + """\
    steps:
<% set role = p.aws.plan_role if p.aws else "" %>
"""
    + _SETUP
    + _PLAN_STEPS
    + """\
      - name: Show the plan
        if: ${{ !cancelled() }}
        run: interlock ci comment "$RUNNER_TEMP/plan.json" --state "$STATE" --to-summary

  apply-<< target.slug >>:
    name: apply << target.name >>
    needs: plan-<< target.slug >>
    if: >-
      ${{ !cancelled() && needs.plan-<< target.slug >>.result != 'failure'
      && github.ref == 'refs/heads/<< p.branch >>' }}
    runs-on: << p.runner >>
    timeout-minutes: << p.limit_min(p.apply_min) >>
    environment: << target.environment >>
    permissions:
      contents: read # check out
      id-token: write # log in to AWS and Interlock as this job
      actions: read # fetch the reviewed plan
    # One queue for each state, whatever the branch; everybody in it gets a turn and nobody is cancelled.
    concurrency:
      group: interlock-<< target.slug >>
      cancel-in-progress: false
      queue: max
"""
    + _ENV
    + """\
    steps:
<% set role = p.aws.apply_role if p.aws else "" %>
"""
    + _SETUP
    + """\
      # The plan that was made from exactly this tree of files. None: exit 41, and nothing is applied.
      - name: Take the reviewed plan
        env:
          GITHUB_TOKEN: ${{ github.token }}
          INTERLOCK_PLAN_KEY: ${{ secrets.INTERLOCK_PLAN_KEY }}
        run: interlock ci reviewed --state "$STATE" --out "$RUNNER_TEMP/plan.bin"
      - name: Apply
        env:
"""
    + _CREDENTIALS
    + """\
        run: exec interlock apply "$DIRECTORY" --state "$STATE" --plan "$RUNNER_TEMP/plan.bin" --auto-approve
"""
    + _WAIT
    + _NOTIFY
    + """\
<% if not loop.last %>

<% endif %>
<% endfor %>
"""
)

_DRIFT = (
    _HEAD
    + """\
name: interlock drift

on:
  schedule:
    - cron: "<< p.drift_cron >>"
  workflow_dispatch:

permissions: {}

jobs:
<% for target in p.targets %>
  drift-<< target.slug >>:
    name: drift << target.name >>
    runs-on: << p.runner >>
    timeout-minutes: << p.limit_min(p.plan_min) >>
    environment: << target.environment >>-plan
    permissions:
      contents: read # check out
      id-token: write # log in to AWS and Interlock as this job
    concurrency:
      group: interlock-drift-<< target.slug >>
      cancel-in-progress: true
"""
    + _ENV
    + """\
    steps:
<% set role = p.aws.plan_role if p.aws else "" %>
"""
    + _SETUP
    + """\
      - name: Look for drift
        env:
"""
    + _CREDENTIALS
    + """\
        run: exec interlock drift "$DIRECTORY" --state "$STATE" --gate
"""
    + _WAIT
    + _NOTIFY
    + """\

<% endfor %>
  settings:
    name: check what the files cannot say
    runs-on: << p.runner >>
    timeout-minutes: 10
    permissions:
      contents: read # check out
      actions: read # read the environments' protection
    concurrency:
      group: interlock-settings
      cancel-in-progress: true
    env:
      INTERLOCK_VERSION: << p.interlock_version >>
    steps:
      - uses: << pins.checkout >>
        with:
          persist-credentials: false
      - uses: << pins.python >>
        with:
          python-version: "3.13"
      - name: Install Interlock
        run: python -m pip install --disable-pip-version-check --quiet "<< p.package >>==$INTERLOCK_VERSION"
      - name: Check
        env:
          GITHUB_TOKEN: ${{ github.token }}
        run: interlock ci check
"""
)


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the workflow files by path."""
    files = {"interlock-plan.yml": _PLAN, "interlock-apply.yml": _APPLY}
    if pipeline.drift_cron:
        files["interlock-drift.yml"] = _DRIFT
    return {
        f".github/workflows/{name}": template(text).render(p=pipeline, pins=PINS).rstrip("\n") + "\n"
        for name, text in files.items()
    }
