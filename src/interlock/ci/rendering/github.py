"""GitHub Actions workflows of a pipeline: plans on pull requests, applies on merge, drift on a schedule.

What the shape of these files rests on is told in docs/explanation/ci-signals.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interlock.ci.pipeline import REQUIREMENTS_FILE, Pipeline
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

_CHECKOUT = """\
      - uses: << pins.checkout | pin >>
        with:
          persist-credentials: false
<% if is_change %>
          ref: ${{ github.event.pull_request.head.sha }}
<% endif %>
"""

_SPARSE = """\
      # One file of checksums, and nothing that could run here.
      - uses: << pins.checkout | pin >>
        with:
          persist-credentials: false
          sparse-checkout: << requirements | yaml >>
          sparse-checkout-cone-mode: false
"""

SPARSE_BASE = (
    _SPARSE
    + """\
          ref: ${{ github.event.pull_request.base.sha }}
"""
)

INSTALL = """\
<% if not p.installed %>
      - uses: << pins.python | pin >>
        with:
          python-version: "3.13"
      # -I: nothing of the checkout is imported. Everything is named with its checksum.
      - name: Install Interlock
        env:
          REQUIREMENTS: << requirements | yaml >>
        run: python -I -m pip install --disable-pip-version-check --quiet --require-hashes --requirement "$REQUIREMENTS"
<% endif %>
"""

_SETUP = (
    _CHECKOUT
    + INSTALL
    + """\
<% if p.tool == "tofu" %>
      - uses: << pins.tofu | pin >>
        with:
          tofu_version: << p.tool_version | yaml >>
          tofu_wrapper: false
<% else %>
      - uses: << pins.terraform | pin >>
        with:
          terraform_version: << p.tool_version | yaml >>
          terraform_wrapper: false
<% endif %>
<% if p.aws %>
      - uses: << pins.aws | pin >>
        with:
          aws-region: << p.aws.region | yaml >>
          role-to-assume: << role | yaml >>
<% endif %>
<% if p.server %>
      - name: Log in to Interlock
        run: interlock ci login --state "$STATE" --role << job_role | word >>
<% endif %>
"""
)

_ENV = """\
    env:
      DIRECTORY: << target.directory | yaml >>
      STATE: << target.name | yaml >>
      INTERLOCK_WAIT: << (p.wait_min ~ "m") | yaml >>
<% if p.home %>
      INTERLOCK_HOME: << p.home | yaml >>
<% endif %>
      PYTHONSAFEPATH: "1"
<% if p.server %>
      INTERLOCK_SERVER: << p.server | yaml >>
      INTERLOCK_OIDC_AUDIENCE: << p.audience | yaml >>
<% endif %>
"""

_SMALL_ENV = """\
    env:
      STATE: << target.name | yaml >>
      PYTHONSAFEPATH: "1"
"""

_CREDENTIALS = """\
          GENESYSCLOUD_REGION: << p.genesys_region | yaml >>
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
            --out "$RUNNER_TEMP/plan.bin" --gate --json<< readonly >> > "$RUNNER_TEMP/plan.json"
"""
    + _WAIT
    + """\
      # Only with a public key: what this change runs can neither read other plans nor seal one.
      - name: Wrap the plan
        env:
          INTERLOCK_WRAP_KEY: << p.plan_key | yaml >>
        run: interlock ci wrap "$RUNNER_TEMP/plan.bin"
      - name: Keep the plan
        uses: << pins.upload | pin >>
        with:
          name: interlock-plan-<< target.slug | word >>-${{ github.run_attempt }}
          path: ${{ runner.temp }}/plan.bin.wrapped
          retention-days: 30
      - name: Write the report
        if: ${{ !cancelled() }}
        run: interlock ci comment "$RUNNER_TEMP/plan.json" --state "$STATE" --keep "$RUNNER_TEMP/report.json"
      - name: Keep the report
        if: ${{ !cancelled() }}
        uses: << pins.upload | pin >>
        with:
          name: interlock-report-<< target.slug | word >>
          path: ${{ runner.temp }}/report.json
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
    branches: [<< p.branch | yaml >>]

permissions: {}

jobs:
<% for target in p.targets %>
<% set readonly = (" -- -lockfile=readonly" if target.locked else "") | flags %>
  plan-<< target.slug | word >>:
    name: << ("plan " ~ target.name) | yaml >>
    # A pull request from a fork gets no secrets; its plan could only fail.
    if: github.event.pull_request.head.repo.full_name == github.repository
    runs-on: << p.runner | yaml >>
    timeout-minutes: << p.limit_min(p.plan_min) >>
    environment: << (target.environment ~ "-plan") | yaml >>
    permissions:
      contents: read # check out
      id-token: write # log in to AWS and Interlock as this job
    # A newer commit makes this preview void. What is applied is never cancelled: see interlock-apply.yml.
    concurrency:
      group: interlock-plan-<< target.slug | word >>-${{ github.event.pull_request.number }}
      cancel-in-progress: true
"""
    + _ENV
    + """\
    steps:
<% set role = p.aws.plan_role if p.aws else "" %>
<% set job_role = "planner" %>
<% set is_change = true %>
"""
    + _SETUP
    + _PLAN_STEPS
    + """\
  # The right to write comments is in a job that runs no code of the change.
  comment-<< target.slug | word >>:
    name: << ("comment " ~ target.name) | yaml >>
    needs: plan-<< target.slug | word >>
    if: ${{ !cancelled() && needs.plan-<< target.slug | word >>.result != 'skipped' }}
    runs-on: << p.runner | yaml >>
    timeout-minutes: 10
    permissions:
      contents: read # the file of checksums
      actions: read # fetch the report
      pull-requests: write # the comment with the plan
    concurrency:
      group: interlock-comment-<< target.slug | word >>-${{ github.event.pull_request.number }}
      cancel-in-progress: true
"""
    + _SMALL_ENV
    + """\
    steps:
"""
    + SPARSE_BASE
    + INSTALL
    + """\
      - name: Comment
        env:
          GITHUB_TOKEN: ${{ github.token }}
        run: interlock ci comment --artifact "interlock-report-<< target.slug | word >>" --state "$STATE"
<% endfor %>
"""
)

_APPLY = (
    _HEAD
    + """\
name: interlock apply

on:
  push:
    branches: [<< p.branch | yaml >>]
  # By hand: plan anew, for instance when the reviewed plan is stale. The environment's reviewers see it before it runs.
  workflow_dispatch:

permissions: {}

jobs:
<% for target in p.targets %>
<% set readonly = (" -- -lockfile=readonly" if target.locked else "") | flags %>
  plan-<< target.slug | word >>:
    name: << ("plan " ~ target.name ~ " anew") | yaml >>
    if: github.event_name == 'workflow_dispatch'
    runs-on: << p.runner | yaml >>
    timeout-minutes: << p.limit_min(p.plan_min) >>
    environment: << (target.environment ~ "-plan") | yaml >>
    permissions:
      contents: read # check out
      id-token: write # log in to AWS and Interlock as this job
    concurrency:
      group: interlock-plan-<< target.slug | word >>-by-hand
      cancel-in-progress: true
"""
    + _ENV
    + """\
    steps:
<% set role = p.aws.plan_role if p.aws else "" %>
<% set job_role = "planner" %>
<% set is_change = false %>
"""
    + _SETUP
    + _PLAN_STEPS
    + """\
      - name: Show the plan
        if: ${{ !cancelled() }}
        run: interlock ci comment "$RUNNER_TEMP/plan.json" --state "$STATE" --to-summary

  # The only job with the signing key. It runs no code of the change: no init, no provider, no script of the checkout.
  # It finds the run that was reviewed and seals that run's plan for this pipeline; its page shows the plan's digest.
  seal-<< target.slug | word >>:
    name: << ("seal the plan of " ~ target.name) | yaml >>
    needs: plan-<< target.slug | word >>
    if: >-
      ${{ !cancelled() && contains(fromJSON('["success", "skipped"]'), needs.plan-<< target.slug | word >>.result)
      && github.ref == << ("refs/heads/" ~ p.branch) | expr >> }}
    runs-on: << p.runner | yaml >>
    timeout-minutes: 15
    environment: << (target.environment ~ "-seal") | yaml >>
    permissions:
      contents: read # the file of checksums, trees of commits
      actions: read # fetch the wrapped plan
      pull-requests: read # which change this is, and when it was approved
    outputs:
      digest: ${{ steps.seal.outputs.digest }}
      run: ${{ steps.seal.outputs.run }}
    concurrency:
      group: interlock-seal-<< target.slug | word >>-${{ github.run_id }}
      cancel-in-progress: false
"""
    + _SMALL_ENV
    + """\
    steps:
"""
    + _SPARSE
    + INSTALL
    + """\
      - name: Seal the reviewed plan
        id: seal
        env:
          GITHUB_TOKEN: ${{ github.token }}
          INTERLOCK_SEAL_KEY: ${{ secrets.INTERLOCK_SEAL_KEY }}
          BRANCH: << p.branch | yaml >>
        run: interlock ci seal --state "$STATE" --branch "$BRANCH" --out "$RUNNER_TEMP/plan.sealed"
      - name: Keep the sealed plan
        uses: << pins.upload | pin >>
        with:
          name: interlock-sealed-<< target.slug | word >>
          path: ${{ runner.temp }}/plan.sealed
          retention-days: 30
          overwrite: true

  apply-<< target.slug | word >>:
    name: << ("apply " ~ target.name) | yaml >>
    needs: seal-<< target.slug | word >>
    if: ${{ !cancelled() && needs.seal-<< target.slug | word >>.result == 'success' }}
    runs-on: << p.runner | yaml >>
    timeout-minutes: << p.limit_min(p.apply_min) >>
    environment: << target.environment | yaml >>
    permissions:
      contents: read # check out
      id-token: write # log in to AWS and Interlock as this job
      actions: read # fetch the sealed plan
    # One queue for each state, whatever the branch; everybody in it gets a turn and nobody is cancelled.
    concurrency:
      group: interlock-<< target.slug | word >>
      cancel-in-progress: false
<% if p.keeps_all %>
      queue: max
<% endif %>
"""
    + _ENV
    + """\
      # What the approvers saw on the page of the job before.
      PLAN_DIGEST: ${{ needs.seal-<< target.slug | word >>.outputs.digest }}
      PLAN_RUN: ${{ needs.seal-<< target.slug | word >>.outputs.run }}
    steps:
<% set role = p.aws.apply_role if p.aws else "" %>
<% set job_role = "runner" %>
<% set is_change = false %>
"""
    + _SETUP
    + """\
      # The plan that was sealed in this pipeline for exactly this tree of files. Another one: exit 41.
      - name: Take the reviewed plan
        env:
          GITHUB_TOKEN: ${{ github.token }}
          INTERLOCK_PLAN_KEY: ${{ secrets.INTERLOCK_PLAN_KEY }}
        run: |
          interlock ci reviewed --artifact "interlock-sealed-<< target.slug | word >>" --state "$STATE" \\
            --run "$PLAN_RUN" --plan-digest "$PLAN_DIGEST" --out "$RUNNER_TEMP/plan.bin"
      - name: Apply
        env:
"""
    + _CREDENTIALS
    + """\
        run: |
          exec interlock apply "$DIRECTORY" --state "$STATE" --plan "$RUNNER_TEMP/plan.bin" \\
            --plan-digest "$PLAN_DIGEST" --auto-approve<< readonly >>
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
    - cron: << p.drift_cron | yaml >>
  workflow_dispatch:

permissions: {}

jobs:
<% for target in p.targets %>
<% set readonly = (" -- -lockfile=readonly" if target.locked else "") | flags %>
  drift-<< target.slug | word >>:
    name: << ("drift " ~ target.name) | yaml >>
    runs-on: << p.runner | yaml >>
    timeout-minutes: << p.limit_min(p.plan_min) >>
    environment: << (target.environment ~ "-plan") | yaml >>
    permissions:
      contents: read # check out
      id-token: write # log in to AWS and Interlock as this job
    concurrency:
      group: interlock-drift-<< target.slug | word >>
      cancel-in-progress: true
"""
    + _ENV
    + """\
    steps:
<% set role = p.aws.plan_role if p.aws else "" %>
<% set job_role = "planner" %>
<% set is_change = false %>
"""
    + _SETUP
    + """\
      - name: Look for drift
        env:
"""
    + _CREDENTIALS
    + """\
        run: exec interlock drift "$DIRECTORY" --state "$STATE" --gate<< readonly >>
"""
    + _WAIT
    + _NOTIFY
    + """\

<% endfor %>
  settings:
    name: check what the files cannot say
    runs-on: << p.runner | yaml >>
    timeout-minutes: 10
    permissions:
      contents: read # check out
      actions: read # read the environments' protection
    concurrency:
      group: interlock-settings
      cancel-in-progress: true
    env:
      PYTHONSAFEPATH: "1"
    steps:
<% set is_change = false %>
"""
    + _CHECKOUT
    + INSTALL
    + """\
      - name: Check
        env:
          GITHUB_TOKEN: ${{ github.token }}
        run: interlock ci check
"""
)


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the workflow files by path."""
    if len(pipeline.targets) > 1:
        from interlock.ci.rendering import github_many

        return github_many.render(pipeline)
    return render_one(pipeline)


def render_one(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the workflow files in which each root has jobs of its own."""
    files = {"interlock-plan.yml": _PLAN, "interlock-apply.yml": _APPLY}
    if pipeline.drift_cron:
        files["interlock-drift.yml"] = _DRIFT
    return {
        f".github/workflows/{name}": template(text)
        .render(p=pipeline, pins=PINS, requirements=REQUIREMENTS_FILE)
        .rstrip("\n")
        + "\n"
        for name, text in files.items()
    }
