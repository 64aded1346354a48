"""GitLab CI of a pipeline: plans in merge requests, applies on the branch, drift in a scheduled pipeline.

What the shape of this file rests on is told in docs/explanation/ci-signals.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.ci.pipeline import Pipeline
from interlock.ci.rendering.templates import template

FILE = ".gitlab/interlock.gitlab-ci.yml"
ROOT_FILE = ".gitlab-ci.yml"

_ROOT = """\
# Written by `interlock ci generate gitlab`. Yours to extend: only the line below matters.
include:
  - local: /.gitlab/interlock.gitlab-ci.yml
"""

_TEXT = """\
# Written by `interlock ci generate gitlab`. Change interlock.yaml and run it again instead of editing this file.
#
# Needed in the project's CI/CD variables (protected, masked, scoped to the environments named below):
#   GENESYSCLOUD_OAUTHCLIENT_ID, GENESYSCLOUD_OAUTHCLIENT_SECRET, INTERLOCK_PLAN_KEY
#   INTERLOCK_CI_TOKEN: a project access token with scope api, for the merge request comment and `interlock ci check`
<% if p.notify %>
#   INTERLOCK_NOTIFY_URL: a webhook that is told about failures
<% endif %>

stages: [plan, apply, drift]

.interlock:
  image:
<% if p.image %>
    name: << p.image >>
<% elif p.tool == "tofu" %>
    name: ghcr.io/opentofu/opentofu:<< p.tool_version >>
<% else %>
    name: hashicorp/terraform:<< p.tool_version >>
<% endif %>
    entrypoint: [""]
  variables:
    GIT_DEPTH: "1"
    INTERLOCK_VERSION: << p.interlock_version >>
    INTERLOCK_WAIT: << p.wait_min >>m
    GENESYSCLOUD_REGION: << p.genesys_region >>
<% if p.server %>
    INTERLOCK_SERVER: << p.server >>
<% endif %>
<% if p.aws %>
    AWS_REGION: << p.aws.region >>
    AWS_WEB_IDENTITY_TOKEN_FILE: /tmp/interlock-aws-token
<% endif %>
<% if p.server or p.aws %>
  id_tokens:
<% if p.server %>
    INTERLOCK_ID_TOKEN:
      aud: << p.audience >>
<% endif %>
<% if p.aws %>
    INTERLOCK_AWS_TOKEN:
      aud: sts.amazonaws.com
<% endif %>
<% endif %>
  before_script:
<% if p.aws %>
    - (umask 077 && printf '%s' "$INTERLOCK_AWS_TOKEN" > "$AWS_WEB_IDENTITY_TOKEN_FILE")
<% endif %>
<% if not p.image %>
    - apk add --no-cache python3 py3-pip git
    - python3 -m venv /opt/interlock
    - /opt/interlock/bin/pip install --disable-pip-version-check --quiet "<< p.package >>==$INTERLOCK_VERSION"
    - export PATH="/opt/interlock/bin:$PATH"
<% endif %>
<% if p.server %>
    - export INTERLOCK_TOKEN="$(interlock ci login --print)"
<% endif %>
  # A cancelled job signals the script and then runs this: the supervisor lets Terraform finish, and we wait for it.
  after_script:
<% if not p.image %>
    - export PATH="/opt/interlock/bin:$PATH"
<% endif %>
    - interlock wait
<% if p.notify %>
    - if [ "$CI_JOB_STATUS" = failed ]; then interlock ci notify --state "$STATE"; fi
<% endif %>

.interlock-plan:
  extends: .interlock
  stage: plan
  timeout: << p.limit_min(p.plan_min) >> minutes
  script:
    - interlock plan "$DIRECTORY" --state "$STATE" --out plan.bin --json > plan.json
    - interlock ci seal plan.bin --state "$STATE" --publish
    - interlock ci comment plan.json --state "$STATE"

.interlock-apply:
  extends: .interlock
  stage: apply
  timeout: << p.limit_min(p.apply_min) >> minutes
  interruptible: false
  script:
    # The plan that was made from exactly this tree of files. None: exit 41, and nothing is applied.
    - interlock ci reviewed --state "$STATE" --out plan.bin
    - interlock apply "$DIRECTORY" --state "$STATE" --plan plan.bin --auto-approve
<% for target in p.targets %>

plan:<< target.slug >>:
  extends: .interlock-plan
  # A newer commit makes this preview void.
  interruptible: true
  environment:
    name: << target.environment >>-plan
    action: prepare
  variables:
    DIRECTORY: << target.directory >>
    STATE: << target.name >>
<% if p.aws %>
    AWS_ROLE_ARN: << p.aws.plan_role >>
<% endif %>
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event" && $CI_MERGE_REQUEST_TARGET_BRANCH_NAME == "<< p.branch >>"

# By hand (Build > Pipelines > New pipeline): plan anew, for instance when the reviewed plan is stale.
plan-anew:<< target.slug >>:
  extends: plan:<< target.slug >>
  interruptible: false
  rules:
    - if: $CI_PIPELINE_SOURCE == "web" && $CI_COMMIT_BRANCH == "<< p.branch >>"

apply:<< target.slug >>:
  extends: .interlock-apply
  # One queue for each state, whatever the branch. Its process mode must be oldest_first; the job below checks that.
  resource_group: interlock-<< target.slug >>
  environment:
    name: << target.environment >>
    deployment_tier: production
  variables:
    DIRECTORY: << target.directory >>
    STATE: << target.name >>
<% if p.aws %>
    AWS_ROLE_ARN: << p.aws.apply_role >>
<% endif %>
  rules:
    - if: $CI_PIPELINE_SOURCE == "web" && $CI_COMMIT_BRANCH == "<< p.branch >>"
      when: manual
    - if: $CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == "<< p.branch >>"
<% if p.drift_cron %>

# Runs in a scheduled pipeline: Build > Pipeline schedules, cron "<< p.drift_cron >>" on << p.branch >>.
drift:<< target.slug >>:
  extends: .interlock
  stage: drift
  timeout: << p.limit_min(p.plan_min) >> minutes
  interruptible: true
  environment:
    name: << target.environment >>-plan
    action: prepare
  variables:
    DIRECTORY: << target.directory >>
    STATE: << target.name >>
<% if p.aws %>
    AWS_ROLE_ARN: << p.aws.plan_role >>
<% endif %>
  script:
    - interlock drift "$DIRECTORY" --state "$STATE" --gate
  rules:
    - if: $CI_PIPELINE_SOURCE == "schedule"
<% endif %>
<% endfor %>

# What this file cannot say: the process mode of the resource groups, and who may deploy to the environments.
settings:
  extends: .interlock
  stage: drift
  timeout: 10 minutes
  id_tokens: {}
  script:
    - interlock ci check
  rules:
    - if: $CI_PIPELINE_SOURCE == "schedule" || $CI_PIPELINE_SOURCE == "web"
"""


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the GitLab files by path: the pipeline, and a root file that includes it."""
    return {FILE: template(_TEXT).render(p=pipeline), ROOT_FILE: _ROOT}
