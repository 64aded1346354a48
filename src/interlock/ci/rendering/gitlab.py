"""GitLab CI of a pipeline: plans in merge requests, applies on the branch, drift in a scheduled pipeline.

What the shape of this file rests on is told in docs/explanation/ci-signals.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.ci.pipeline import REQUIREMENTS_FILE, Pipeline
from interlock.ci.rendering.templates import template

FILE = ".gitlab/interlock.gitlab-ci.yml"
ROOT_FILE = ".gitlab-ci.yml"

_ROOT = """\
# Written by `interlock ci generate gitlab`. Yours to extend: only the line below matters.
include:
  - local: /.gitlab/interlock.gitlab-ci.yml
"""

IN_CHANGE = """\
        $CI_PIPELINE_SOURCE == "merge_request_event"
        && $CI_MERGE_REQUEST_TARGET_BRANCH_NAME == "<< p.branch | bare >>"
        && $CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID
"""
"""The condition of a merge request of this project to the branch that is deployed; forks are planned by nobody."""

_LOCKFILE = """\
<% if target.locked %>
    LOCKFILE: -lockfile=readonly
<% endif %>
"""

PLANS_WITH = (
    _LOCKFILE
    + """\
<% if p.aws %>
    AWS_ROLE_ARN: << p.aws.plan_role | yaml >>
<% endif %>
"""
)
"""The variables of a root's jobs that read: whether its lock file is kept to, and as whom."""

APPLIES_WITH = (
    _LOCKFILE
    + """\
<% if p.aws %>
    AWS_ROLE_ARN: << p.aws.apply_role | yaml >>
<% endif %>
"""
)
"""The same of its jobs that write."""

DRIFT_NOTE = """\

# Runs in a scheduled pipeline: Build > Pipeline schedules, cron "<< p.drift_cron | bare >>" on << p.branch | bare >>,
# with the variable INTERLOCK_DRIFT set to 1; the project's other schedules start nothing here.
"""

DRIFT_BEGINS = """\
  extends: .interlock
  needs: []
  stage: drift
  timeout: << p.limit_min(p.plan_min) >> minutes
  interruptible: true
"""

DRIFT_RUNS = """\
  script:
    - interlock drift "$DIRECTORY" --state "$STATE" --gate -- ${LOCKFILE:+"$LOCKFILE"}
  rules:
    - if: $CI_PIPELINE_SOURCE == "schedule" && $INTERLOCK_DRIFT == "1"
"""

_TEXT = (
    """\
# Written by `interlock ci generate gitlab`. Change interlock.yaml and run it again instead of editing this file.
#
# Needed in the project's CI/CD variables, all masked, each scoped to the environment that it is for:
#   GENESYSCLOUD_OAUTHCLIENT_ID, GENESYSCLOUD_OAUTHCLIENT_SECRET: the plan and apply environments named below; a client
#   that may only read for the plan environments
#   INTERLOCK_SEAL_KEY: the seal environments alone, whose jobs run no code of a change
#   INTERLOCK_PLAN_KEY: the apply environments alone
#   INTERLOCK_CI_TOKEN: a project access token; scope read_api in the seal environments, scope api (role Reporter) in
#   the comment environments, and for `interlock ci check`
# Protect those of the seal and apply environments. Protected variables do not reach the pipelines of merge requests
# from unprotected branches, so those of the plan and comment environments must not be protected.
<% if p.notify %>
#   INTERLOCK_NOTIFY_URL: a webhook that is told about failures
<% endif %>

stages: [plan, seal, apply, drift]

# What every job has; it holds no identity.
.interlock-base:
  image:
    name: << p.gitlab_image | yaml >>
    entrypoint: [""]
  variables:
    GIT_DEPTH: "1"
    INTERLOCK_WAIT: << (p.wait_min ~ "m") | yaml >>
    PYTHONSAFEPATH: "1"
  before_script: &install
<% if p.installed %>
    - interlock --version
<% else %>
    # Alpine signs these, with keys that are in the image; an image with Interlock (pipeline.installed) needs none.
    # interlock:ignore ci-unpinned-install: Alpine removes old versions, so a named one would soon fail
    - apk add --no-cache python3 py3-pip git
    - python3 -I -m venv /opt/interlock
    # -I: nothing of the checkout is imported. Everything is named with its checksum.
    - >-
      /opt/interlock/bin/python -I -m pip install --disable-pip-version-check --quiet
      --require-hashes --requirement << requirements | sh >>
    - export PATH="/opt/interlock/bin:$PATH"
<% endif %>

# A job that runs Terraform: it logs in, and its supervisor outlives it.
.interlock:
  extends: .interlock-base
  variables:
    GENESYSCLOUD_REGION: << p.genesys_region | yaml >>
<% if p.home %>
    # A folder of the runner's machine that each job mounts (`volumes` in the runner's config.toml).
    INTERLOCK_HOME: << p.home | yaml >>
<% endif %>
    # The runner gives after_script five minutes by default; Terraform may need longer to end its operations and save.
    RUNNER_AFTER_SCRIPT_TIMEOUT: << (p.ending_min ~ "m") | yaml >>
<% if p.server %>
    INTERLOCK_SERVER: << p.server | yaml >>
    JOB_ROLE: planner
<% endif %>
<% if p.aws %>
    AWS_REGION: << p.aws.region | yaml >>
    AWS_WEB_IDENTITY_TOKEN_FILE: /tmp/interlock-aws-token
<% endif %>
<% if p.server or p.aws %>
  id_tokens:
<% if p.server %>
    INTERLOCK_ID_TOKEN:
      aud: << p.audience | yaml >>
<% endif %>
<% if p.aws %>
    INTERLOCK_AWS_TOKEN:
      aud: sts.amazonaws.com
<% endif %>
  before_script:
    - *install
<% if p.aws %>
    - (umask 077 && printf '%s' "$INTERLOCK_AWS_TOKEN" > "$AWS_WEB_IDENTITY_TOKEN_FILE")
<% endif %>
<% if p.server %>
    - INTERLOCK_TOKEN="$(interlock ci login --state "$STATE" --role "$JOB_ROLE" --print)"
    - export INTERLOCK_TOKEN
<% endif %>
<% endif %>
  # A cancelled job signals the script and then runs this: the supervisor lets Terraform finish, and we wait for it.
  after_script:
<% if not p.installed %>
    - export PATH="/opt/interlock/bin:$PATH"
<% endif %>
    # The job has its status already; here a failure would only keep the next line from running.
    - interlock wait || echo "interlock wait ended with $?"
<% if p.notify %>
    - if [ "$CI_JOB_STATUS" = failed ]; then interlock ci notify --state "$STATE"; fi
<% endif %>

.interlock-plan:
  extends: .interlock
  stage: plan
  timeout: << p.limit_min(p.plan_min) >> minutes
  variables:
    # Only a public key: what this change runs can neither read other plans nor seal one.
    INTERLOCK_WRAP_KEY: << p.plan_key | yaml >>
    LOCKFILE: ""
  script:
    # A plan that fails is reported too; else the comment of the plan before it would stand as if it were this one's.
    - code=0
    - >-
      interlock plan "$DIRECTORY" --state "$STATE" --out plan.bin --gate --json
      -- ${LOCKFILE:+"$LOCKFILE"} > plan.json || code=$?
    - interlock ci comment plan.json --state "$STATE" --keep report.json
    - if [ "$code" -ne 0 ]; then exit "$code"; fi
    - interlock ci wrap plan.bin
  artifacts:
    when: always
    paths: [plan.bin.wrapped, report.json]
    access: developer
    expire_in: 30 days

# The token that may write comments is in a job that runs no code of the change.
.interlock-comment:
  extends: .interlock-base
  stage: seal
  timeout: 10 minutes
  script:
    - interlock ci comment report.json --kept --state "$STATE"

# The only jobs with the signing key. They run no code of the change: no init, no provider, no script of the checkout.
.interlock-seal:
  extends: .interlock-base
  stage: seal
  timeout: 15 minutes
  interruptible: false
  variables:
    BRANCH: << p.branch | yaml >>
<% if p.installed %>
    GIT_STRATEGY: none
<% endif %>
  script:
    - interlock ci seal --state "$STATE" --branch "$BRANCH" --out plan.sealed
  artifacts:
    paths: [plan.sealed]
    reports:
      dotenv: interlock.env
    access: developer
    expire_in: 30 days

.interlock-apply:
  extends: .interlock
  stage: apply
  timeout: << p.limit_min(p.apply_min) >> minutes
  interruptible: false
  variables:
    LOCKFILE: ""
<% if p.server %>
    JOB_ROLE: runner
<% endif %>
  script:
    # The plan that was sealed in this pipeline for exactly this tree of files. Another one: exit 41.
    - interlock ci reviewed plan.sealed --state "$STATE" --run "$PLAN_RUN" --plan-digest "$PLAN_DIGEST" --out plan.bin
    - >-
      interlock apply "$DIRECTORY" --state "$STATE" --plan plan.bin --plan-digest "$PLAN_DIGEST" --auto-approve
      -- ${LOCKFILE:+"$LOCKFILE"}
<% for target in p.targets %>

plan:<< target.slug | word >>:
  extends: .interlock-plan
  needs: []
  # A newer commit makes this preview void.
  interruptible: true
  environment:
    name: << (target.environment ~ "-plan") | yaml >>
    action: prepare
  variables:
    DIRECTORY: << target.directory | yaml >>
    STATE: << target.name | yaml >>
"""
    + PLANS_WITH
    + """\
  rules:
    - if: >-
"""
    + IN_CHANGE
    + """\

comment:<< target.slug | word >>:
  extends: .interlock-comment
  needs: ["plan:<< target.slug | word >>"]
  environment:
    name: << (target.environment ~ "-comment") | yaml >>
    action: access
  variables:
    STATE: << target.name | yaml >>
  rules:
    - if: >-
"""
    + IN_CHANGE
    + """\
      when: always

# By hand (Build > Pipelines > New pipeline): plan anew, for instance when the reviewed plan is stale.
plan-anew:<< target.slug | word >>:
  extends: plan:<< target.slug | word >>
  interruptible: false
  rules:
    - if: $CI_PIPELINE_SOURCE == "web" && $CI_COMMIT_BRANCH == "<< p.branch | bare >>"

seal:<< target.slug | word >>:
  extends: .interlock-seal
  # Only this state's own plan is waited for, when there is one; nothing of it is brought along.
  needs:
    - job: plan-anew:<< target.slug | word >>
      optional: true
      artifacts: false
  environment:
    name: << (target.environment ~ "-seal") | yaml >>
    action: prepare
  variables:
    STATE: << target.name | yaml >>
  rules:
    - if: $CI_PIPELINE_SOURCE == "web" && $CI_COMMIT_BRANCH == "<< p.branch | bare >>"
    - if: $CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == "<< p.branch | bare >>"

apply:<< target.slug | word >>:
  extends: .interlock-apply
  needs: ["seal:<< target.slug | word >>"]
  # One queue for each state, whatever the branch. Its process mode must be oldest_first; the job below checks that.
  resource_group: interlock-<< target.slug | word >>
  environment:
    name: << target.environment | yaml >>
    deployment_tier: production
  variables:
    DIRECTORY: << target.directory | yaml >>
    STATE: << target.name | yaml >>
"""
    + APPLIES_WITH
    + """\
  rules:
    - if: $CI_PIPELINE_SOURCE == "web" && $CI_COMMIT_BRANCH == "<< p.branch | bare >>"
      when: manual
    - if: $CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == "<< p.branch | bare >>"
<% if p.drift_cron %>
"""
    + DRIFT_NOTE
    + """\
drift:<< target.slug | word >>:
"""
    + DRIFT_BEGINS
    + """\
  environment:
    name: << (target.environment ~ "-plan") | yaml >>
    action: prepare
  variables:
    DIRECTORY: << target.directory | yaml >>
    STATE: << target.name | yaml >>
"""
    + PLANS_WITH
    + """\
"""
    + DRIFT_RUNS
    + """\
<% endif %>
<% endfor %>

# What this file cannot say: the process mode of the resource groups, and who may deploy to the environments.
settings:
  extends: .interlock-base
  needs: []
  stage: drift
  timeout: 10 minutes
  script:
    - interlock ci check
  rules:
    - if: $CI_PIPELINE_SOURCE == "web"
    - if: $CI_PIPELINE_SOURCE == "schedule" && $INTERLOCK_DRIFT == "1"
"""
)


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the GitLab files by path: the pipeline, and a root file that includes it."""
    if len(pipeline.targets) > 1:
        from interlock.ci.rendering import gitlab_many

        return gitlab_many.render(pipeline)
    return render_one(pipeline)


def render_one(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the files in which each root has jobs of its own."""
    return {FILE: template(_TEXT).render(p=pipeline, requirements=REQUIREMENTS_FILE), ROOT_FILE: _ROOT}
