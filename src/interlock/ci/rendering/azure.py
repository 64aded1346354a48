"""Azure Pipelines of a pipeline: plans for pull requests, applies on the branch, drift on a schedule.

What the shape of this file rests on is told in docs/explanation/ci-signals.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.ci.pipeline import CLOSING_MIN, Pipeline
from interlock.ci.rendering.templates import template

FILE = "interlock.azure-pipelines.yml"

_SETUP = """\
              - checkout: self
                fetchDepth: 1
                persistCredentials: false
              - task: UsePythonVersion@0
                inputs:
                  versionSpec: "3.13"
<% if p.tool == "terraform" %>
              - task: TerraformInstaller@1
                inputs:
                  terraformVersion: << p.tool_version >>
<% else %>
              - bash: |
                  set -eu
                  name="tofu_<< p.tool_version >>_linux_amd64.tar.gz"
                  base="https://github.com/opentofu/opentofu/releases/download/v<< p.tool_version >>"
                  curl --fail --silent --show-error --location --remote-name "$base/$name"
                  curl --fail --silent --show-error --location "$base/tofu_<< p.tool_version >>_SHA256SUMS" |
                    grep " $name\\$" | sha256sum --check
                  sudo tar --extract --gzip --file "$name" --directory /usr/local/bin tofu
                displayName: Install OpenTofu
<% endif %>
              - bash: python -m pip install --disable-pip-version-check --quiet "<< p.package >>==$INTERLOCK_VERSION"
                displayName: Install Interlock
<% if p.server %>
              - bash: interlock ci login
                displayName: Log in to Interlock
                env:
                  SYSTEM_ACCESSTOKEN: $(System.AccessToken)
<% endif %>
"""

_ENV = """\
                env:
                  GENESYSCLOUD_REGION: << p.genesys_region >>
                  GENESYSCLOUD_OAUTHCLIENT_ID: $(GENESYSCLOUD_OAUTHCLIENT_ID)
                  GENESYSCLOUD_OAUTHCLIENT_SECRET: $(GENESYSCLOUD_OAUTHCLIENT_SECRET)
<% if p.server %>
                  INTERLOCK_TOKEN: $(INTERLOCK_TOKEN)
<% endif %>
"""


def _running(command: str, name: str, connection: str) -> str:
    """Return a step that runs a command with the credentials; with AWS inside the toolkit's step that logs in."""
    return (
        f"""\
<% if p.aws %>
              - task: AWSShellScript@1
                displayName: {name}
                inputs:
                  awsCredentials: << p.aws.connection >>-{connection}
                  regionName: << p.aws.region >>
                  scriptType: inline
                  disableAutoCwd: true
                  workingDirectory: $(Build.SourcesDirectory)
                  inlineScript: {command}
<% else %>
              - bash: {command}
                displayName: {name}
<% endif %>
"""
        + _ENV
    )


_WAIT = """\
              # The agent ends tasks without grace; the supervisor lets Terraform finish. Wait for it.
              - bash: interlock wait
                displayName: Let the run end
                condition: always()
"""

_NOTIFY = """\
<% if p.notify %>
              - bash: interlock ci notify --state "$STATE"
                displayName: Tell the team
                condition: failed()
                env:
                  INTERLOCK_NOTIFY_URL: $(INTERLOCK_NOTIFY_URL)
<% endif %>
"""

_PLAN_STEPS = (
    _SETUP
    + _running(
        'exec interlock plan "$DIRECTORY" --state "$STATE" --out "$AGENT_TEMPDIRECTORY/plan.bin" --json > '
        '"$AGENT_TEMPDIRECTORY/plan.json"',
        "Plan",
        "plan",
    )
    + _WAIT
    + """\
              - bash: interlock ci seal "$AGENT_TEMPDIRECTORY/plan.bin" --state "$STATE"
                name: seal
                displayName: Seal the plan
                env:
                  INTERLOCK_PLAN_KEY: $(INTERLOCK_PLAN_KEY)
              - publish: $(Agent.TempDirectory)/plan.bin.sealed
                artifact: $(seal.name)
                displayName: Keep the plan
              - bash: interlock ci comment "$AGENT_TEMPDIRECTORY/plan.json" --state "$STATE"
                displayName: Comment
                condition: not(canceled())
                env:
                  SYSTEM_ACCESSTOKEN: $(System.AccessToken)
"""
)

_APPLY_STEPS = (
    _SETUP
    + """\
              # The plan that was made from exactly this tree of files. None: exit 41, and nothing is applied.
              - bash: interlock ci reviewed --state "$STATE" --out "$AGENT_TEMPDIRECTORY/plan.bin"
                displayName: Take the reviewed plan
                env:
                  SYSTEM_ACCESSTOKEN: $(System.AccessToken)
                  INTERLOCK_PLAN_KEY: $(INTERLOCK_PLAN_KEY)
"""
    + _running(
        'exec interlock apply "$DIRECTORY" --state "$STATE" --plan "$AGENT_TEMPDIRECTORY/plan.bin" --auto-approve',
        "Apply",
        "apply",
    )
    + _WAIT
    + _NOTIFY
)

_DRIFT_STEPS = (
    _SETUP
    + _running('exec interlock drift "$DIRECTORY" --state "$STATE" --gate', "Look for drift", "plan")
    + _WAIT
    + _NOTIFY
)

_IN_A_JOB, _IN_A_STRATEGY = -4, 2  # columns from where the steps above are written to where they stand

_JOB_VARIABLES = """\
        variables:
          DIRECTORY: << target.directory >>
          STATE: << target.name >>
          INTERLOCK_VERSION: << p.interlock_version >>
          INTERLOCK_WAIT: << p.wait_min >>m
<% if p.server %>
          INTERLOCK_SERVER: << p.server >>
          INTERLOCK_OIDC_AUDIENCE: << p.audience >>
<% endif %>
"""


def _shifted(text: str, columns: int) -> str:
    """Move the lines of steps to the right, or to the left when `columns` is negative."""
    return "\n".join(
        line if not line.startswith(" ") else line[-columns:] if columns < 0 else " " * columns + line
        for line in text.split("\n")
    )


_TEXT = (
    """\
# Written by `interlock ci generate azure`. Change interlock.yaml and run it again instead of editing this file.
#
# Needed in Azure DevOps (`interlock ci check` looks for what it can see):
#   - the variable group `interlock` with the secrets GENESYSCLOUD_OAUTHCLIENT_ID, GENESYSCLOUD_OAUTHCLIENT_SECRET and
#     INTERLOCK_PLAN_KEY
#   - the environments named below, with approvals and the Exclusive Lock check
<% if p.aws %>
#   - service connections << p.aws.connection >>-plan (<< p.aws.plan_role >>)
#     and << p.aws.connection >>-apply (<< p.aws.apply_role >>), both with OIDC
<% endif %>
#   - in Azure Repos: a branch policy on << p.branch >> that runs this pipeline (`pr:` is for GitHub repositories)

trigger:
  branches:
    include: [<< p.branch >>]

pr:
  autoCancel: true # a newer commit makes a preview void
  branches:
    include: [<< p.branch >>]

<% if p.drift_cron %>
schedules:
  - cron: "<< p.drift_cron >>"
    displayName: drift
    always: true
    branches:
      include: [<< p.branch >>]

<% endif %>
# Every deployment gets its turn; the default, runLatest, cancels all but the newest.
lockBehavior: sequential

pool:
  vmImage: << p.runner >>

variables:
  - group: interlock

stages:
<% for target in p.targets %>
  - stage: plan_<< target.slug | replace("-", "_") >>
    displayName: plan << target.name >>
    dependsOn: []
    # On the branch only by hand: to plan anew, for instance when the reviewed plan is stale.
    condition: or(eq(variables['Build.Reason'], 'PullRequest'), eq(variables['Build.Reason'], 'Manual'))
    jobs:
      - job: plan
        timeoutInMinutes: << p.limit_min(p.plan_min) >>
        cancelTimeoutInMinutes: << closing >>
"""
    + _JOB_VARIABLES
    + """\
        steps:
"""
    + _shifted(_PLAN_STEPS, _IN_A_JOB)
    + """\
  - stage: apply_<< target.slug | replace("-", "_") >>
    displayName: apply << target.name >>
    dependsOn: plan_<< target.slug | replace("-", "_") >>
    condition: and(in(dependencies.plan_<< target.slug | replace("-", "_") >>.result, 'Succeeded', 'Skipped'), \
eq(variables['Build.SourceBranch'], 'refs/heads/<< p.branch >>'), ne(variables['Build.Reason'], 'Schedule'))
    lockBehavior: sequential
    jobs:
      - deployment: apply
        environment: << target.environment >>
        timeoutInMinutes: << p.limit_min(p.apply_min) >>
        cancelTimeoutInMinutes: << closing >>
"""
    + _JOB_VARIABLES
    + """\
        strategy:
          runOnce:
            deploy:
              steps:
"""
    + _shifted(_APPLY_STEPS, _IN_A_STRATEGY)
    + """\
<% if p.drift_cron %>
  - stage: drift_<< target.slug | replace("-", "_") >>
    displayName: drift << target.name >>
    dependsOn: []
    condition: eq(variables['Build.Reason'], 'Schedule')
    jobs:
      - job: drift
        timeoutInMinutes: << p.limit_min(p.plan_min) >>
        cancelTimeoutInMinutes: << closing >>
"""
    + _JOB_VARIABLES
    + """\
        steps:
"""
    + _shifted(_DRIFT_STEPS, _IN_A_JOB)
    + """\
<% endif %>
<% endfor %>
  - stage: settings
    displayName: check what this file cannot say
    dependsOn: []
    condition: in(variables['Build.Reason'], 'Schedule', 'Manual')
    jobs:
      - job: check
        timeoutInMinutes: 10
        variables:
          INTERLOCK_VERSION: << p.interlock_version >>
        steps:
          - checkout: self
            fetchDepth: 1
            persistCredentials: false
          - task: UsePythonVersion@0
            inputs:
              versionSpec: "3.13"
          - bash: python -m pip install --disable-pip-version-check --quiet "<< p.package >>==$INTERLOCK_VERSION"
            displayName: Install Interlock
          - bash: interlock ci check
            displayName: Check
            env:
              SYSTEM_ACCESSTOKEN: $(System.AccessToken)
"""
)


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the Azure file by path."""
    return {FILE: template(_TEXT).render(p=pipeline, closing=CLOSING_MIN)}
