"""Azure Pipelines of a pipeline: plans for pull requests, applies on the branch, drift on a schedule.

What the shape of this file rests on is told in docs/explanation/ci-signals.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.ci.pipeline import CLOSING_MIN, REQUIREMENTS_FILE, Pipeline
from interlock.ci.rendering.templates import template

FILE = "interlock.azure-pipelines.yml"

INSTALL = """\
<% if not p.installed %>
              - task: UsePythonVersion@0
                inputs:
                  versionSpec: "3.13"
              # -I: nothing of the checkout is imported. Everything is named with its checksum.
              - bash: >-
                  python -I -m pip install --disable-pip-version-check --quiet
                  --require-hashes --requirement "$REQUIREMENTS"
                displayName: Install Interlock
                env:
                  REQUIREMENTS: << requirements | yaml >>
<% endif %>
"""

CHECKOUT = """\
              - checkout: self
                fetchDepth: 1
                persistCredentials: false
"""

_SETUP = (
    CHECKOUT
    + INSTALL
    + """\
<% if p.tool == "terraform" %>
              - task: TerraformInstaller@1
                inputs:
                  terraformVersion: << p.tool_version | yaml >>
<% else %>
              - bash: |
                  set -eu
                  name="tofu_$TOFU_VERSION""_linux_amd64.tar.gz"
                  base="https://github.com/opentofu/opentofu/releases/download/v$TOFU_VERSION"
                  curl --fail --silent --show-error --location --output "$AGENT_TEMPDIRECTORY/$name" "$base/$name"
                  printf '%s  %s\\n' "$TOFU_SHA256" "$AGENT_TEMPDIRECTORY/$name" | sha256sum --check --strict
                  sudo tar --extract --gzip --file "$AGENT_TEMPDIRECTORY/$name" --directory /usr/local/bin tofu
                displayName: Install OpenTofu
                env:
                  TOFU_VERSION: << p.tool_version | yaml >>
                  TOFU_SHA256: << p.tofu_sha256 | yaml >>
<% endif %>
"""
)


def _login(role: str) -> str:
    """Return the step that exchanges the job's identity, or that of a service connection, for a token."""
    login = f'interlock ci login --state "$STATE" --role {role}'
    return f"""\
<% if p.server and p.server_connection %>
              - task: AzureCLI@2
                displayName: Log in to Interlock
                inputs:
                  azureSubscription: << p.server_connection | yaml >>
                  addSpnToEnvironment: true
                  scriptType: bash
                  scriptLocation: inlineScript
                  inlineScript: {login}
<% elif p.server %>
              - bash: {login}
                displayName: Log in to Interlock
                env:
                  SYSTEM_ACCESSTOKEN: $(System.AccessToken)
<% endif %>
"""


_ENV = """\
                env:
                  GENESYSCLOUD_REGION: << p.genesys_region | yaml >>
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
                  awsCredentials: << (p.aws.connection ~ "-{connection}") | yaml >>
                  regionName: << p.aws.region | yaml >>
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
              # The agent ends tasks without grace, so nobody told the run that the job was cancelled.
              - bash: interlock wait --stop
                displayName: Stop the run
                condition: canceled()
              # The supervisor lets Terraform finish. Wait for it.
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

_LOCKFILE = "<% if target.locked %> -- -lockfile=readonly<% endif %>"

_PLAN_STEPS = (
    _SETUP
    + _login("planner")
    + _running(
        'exec interlock plan "$DIRECTORY" --state "$STATE" --out "$AGENT_TEMPDIRECTORY/plan.bin" --gate --json'
        + _LOCKFILE
        + ' > "$AGENT_TEMPDIRECTORY/plan.json"',
        "Plan",
        "plan",
    )
    + _WAIT
    + """\
              # Only with a public key: what this change runs can neither read other plans nor seal one.
              - bash: interlock ci wrap "$AGENT_TEMPDIRECTORY/plan.bin"
                displayName: Wrap the plan
                env:
                  INTERLOCK_WRAP_KEY: << p.plan_key | yaml >>
              - publish: $(Agent.TempDirectory)/plan.bin.wrapped
                artifact: interlock-plan-<< target.slug | word >>-$(System.JobAttempt)
                displayName: Keep the plan
              - bash: |
                  interlock ci comment "$AGENT_TEMPDIRECTORY/plan.json" --state "$STATE" \\
                    --keep "$AGENT_TEMPDIRECTORY/report.json"
                displayName: Write the report
                condition: not(canceled())
              - publish: $(Agent.TempDirectory)/report.json
                artifact: interlock-report-<< target.slug | word >>-$(System.JobAttempt)
                displayName: Keep the report
                condition: not(canceled())
"""
)

_COMMENT_STEPS = (
    CHECKOUT
    + INSTALL
    + """\
              - download: current
                artifact: interlock-report-<< target.slug | word >>-$(System.JobAttempt)
              - bash: interlock ci comment "$PIPELINE_WORKSPACE/$REPORT/report.json" --kept --state "$STATE"
                displayName: Comment
                env:
                  REPORT: interlock-report-<< target.slug | word >>-$(System.JobAttempt)
                  SYSTEM_ACCESSTOKEN: $(System.AccessToken)
"""
)

_SEAL_STEPS = (
    CHECKOUT
    + INSTALL
    + """\
              - bash: |
                  interlock ci seal --state "$STATE" --branch "$BRANCH" --out "$AGENT_TEMPDIRECTORY/plan.sealed"
                  printf '##vso[task.setvariable variable=artifact;isOutput=true]%s\\n' "$ARTIFACT"
                name: seal
                displayName: Seal the reviewed plan
                env:
                  ARTIFACT: interlock-sealed-<< target.slug | word >>-$(System.JobAttempt)
                  BRANCH: << p.branch | yaml >>
                  INTERLOCK_SEAL_KEY: $(INTERLOCK_SEAL_KEY)
                  SYSTEM_ACCESSTOKEN: $(System.AccessToken)
              - publish: $(Agent.TempDirectory)/plan.sealed
                artifact: interlock-sealed-<< target.slug | word >>-$(System.JobAttempt)
                displayName: Keep the sealed plan
"""
)

_APPLY_STEPS = (
    _SETUP
    + _login("runner")
    + """\
              - download: current
                artifact: $(SEALED)
              # The plan that was sealed in this pipeline for exactly this tree of files. Another one: exit 41.
              - bash: |
                  interlock ci reviewed "$PIPELINE_WORKSPACE/$SEALED/plan.sealed" --state "$STATE" \\
                    --run "$PLAN_RUN" --plan-digest "$PLAN_DIGEST" --out "$AGENT_TEMPDIRECTORY/plan.bin"
                displayName: Take the reviewed plan
                env:
                  INTERLOCK_PLAN_KEY: $(INTERLOCK_PLAN_KEY)
"""
    + _running(
        'exec interlock apply "$DIRECTORY" --state "$STATE" --plan "$AGENT_TEMPDIRECTORY/plan.bin"'
        ' --plan-digest "$PLAN_DIGEST" --auto-approve' + _LOCKFILE + "\n",
        "Apply",
        "apply",
    )
    + _WAIT
    + _NOTIFY
)

_DRIFT_STEPS = (
    _SETUP
    + _login("planner")
    + _running('exec interlock drift "$DIRECTORY" --state "$STATE" --gate' + _LOCKFILE + "\n", "Look for drift", "plan")
    + _WAIT
    + _NOTIFY
)

IN_A_JOB, _IN_A_STRATEGY = -4, 2  # columns from where the steps above are written to where they stand

_JOB_VARIABLES = """\
        variables:
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
_SMALL_VARIABLES = """\
        variables:
          STATE: << target.name | yaml >>
          PYTHONSAFEPATH: "1"
"""


def shifted(text: str, columns: int) -> str:
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
#   - three variable groups with secrets:
#       interlock        GENESYSCLOUD_OAUTHCLIENT_ID and _SECRET of a client that only reads
#       interlock-seal   INTERLOCK_SEAL_KEY; add the check Branch control: refs/heads/<< p.branch | bare >> alone
#       interlock-apply  GENESYSCLOUD_OAUTHCLIENT_ID and _SECRET that may write, INTERLOCK_PLAN_KEY; the same check
#   - the environments named below, with approvals and the Exclusive Lock check
<% if p.aws %>
#   - service connections << p.aws.connection | bare >>-plan (<< p.aws.plan_role | bare >>)
#     and << p.aws.connection | bare >>-apply (<< p.aws.apply_role | bare >>), both with OIDC
<% endif %>
#   - in Azure Repos: a branch policy on << p.branch | bare >> that runs this pipeline; `pr:` is for GitHub

trigger:
  branches:
    include: [<< p.branch | yaml >>]

pr:
  autoCancel: true # a newer commit makes a preview void
  branches:
    include: [<< p.branch | yaml >>]

<% if p.drift_cron %>
schedules:
  - cron: << p.drift_cron | yaml >>
    displayName: drift
    always: true
    branches:
      include: [<< p.branch | yaml >>]

<% endif %>
# Every deployment gets its turn; the default, runLatest, cancels all but the newest.
lockBehavior: sequential

pool:
<% if p.pool %>
  name: << p.pool | yaml >>
<% else %>
  vmImage: << p.runner | yaml >>
<% endif %>

variables:
  - group: interlock

stages:
<% for target in p.targets %>
<% set stage = target.slug | replace("-", "_") | word %>
  - stage: plan_<< stage >>
    displayName: << ("plan " ~ target.name) | yaml >>
    dependsOn: []
    # On the branch only by hand: to plan anew, for instance when the reviewed plan is stale.
    # A fork's change is planned by nobody: its code would run with this project's identity.
    condition: and(ne(variables['System.PullRequest.IsFork'], 'True'), or(eq(variables['Build.Reason'], \
'PullRequest'), eq(variables['Build.Reason'], 'Manual')))
    jobs:
      - job: plan
        timeoutInMinutes: << p.limit_min(p.plan_min) >>
        cancelTimeoutInMinutes: << closing >>
"""
    + _JOB_VARIABLES
    + """\
        steps:
"""
    + shifted(_PLAN_STEPS, IN_A_JOB)
    + """\
      # The right to write comments is used in a job that runs no code of the change.
      - job: comment
        dependsOn: plan
        condition: and(not(canceled()), eq(variables['Build.Reason'], 'PullRequest'))
        timeoutInMinutes: 10
"""
    + _SMALL_VARIABLES
    + """\
        steps:
"""
    + shifted(_COMMENT_STEPS, IN_A_JOB)
    + """\
  # The only job with the signing key. It runs no code of the change: no init, no provider, no script of the checkout.
  - stage: seal_<< stage >>
    displayName: << ("seal the plan of " ~ target.name) | yaml >>
    dependsOn: plan_<< stage >>
    condition: and(in(dependencies.plan_<< stage >>.result, 'Succeeded', 'Skipped'), \
eq(variables['Build.SourceBranch'], << ("refs/heads/" ~ p.branch) | expr >>), ne(variables['Build.Reason'], 'Schedule'))
    variables:
      - group: interlock-seal
    jobs:
      - job: seal
        timeoutInMinutes: 15
"""
    + _SMALL_VARIABLES
    + """\
        steps:
"""
    + shifted(_SEAL_STEPS, IN_A_JOB)
    + """\
  - stage: apply_<< stage >>
    displayName: << ("apply " ~ target.name) | yaml >>
    dependsOn: seal_<< stage >>
    condition: and(succeeded(), \
eq(variables['Build.SourceBranch'], << ("refs/heads/" ~ p.branch) | expr >>), ne(variables['Build.Reason'], 'Schedule'))
    lockBehavior: sequential
    variables:
      - group: interlock-apply
    jobs:
      - deployment: apply
        environment: << target.environment | yaml >>
        timeoutInMinutes: << p.limit_min(p.apply_min) >>
        cancelTimeoutInMinutes: << closing >>
"""
    + _JOB_VARIABLES
    + """\
          # What the approvers saw in the log of the stage before.
          PLAN_DIGEST: $[ stageDependencies.seal_<< stage >>.seal.outputs['seal.digest'] ]
          PLAN_RUN: $[ stageDependencies.seal_<< stage >>.seal.outputs['seal.run'] ]
          SEALED: $[ stageDependencies.seal_<< stage >>.seal.outputs['seal.artifact'] ]
        strategy:
          runOnce:
            deploy:
              steps:
"""
    + shifted(_APPLY_STEPS, _IN_A_STRATEGY)
    + """\
<% if p.drift_cron %>
  - stage: drift_<< stage >>
    displayName: << ("drift " ~ target.name) | yaml >>
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
    + shifted(_DRIFT_STEPS, IN_A_JOB)
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
          PYTHONSAFEPATH: "1"
        steps:
"""
    + shifted(CHECKOUT + INSTALL, IN_A_JOB)
    + """\
          - bash: interlock ci check
            displayName: Check
            env:
              SYSTEM_ACCESSTOKEN: $(System.AccessToken)
"""
)


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the Azure files by path."""
    if len(pipeline.targets) > 1:
        from interlock.ci.rendering import azure_many

        return azure_many.render(pipeline)
    return render_one(pipeline)


def render_one(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the file in which each root has stages of its own."""
    return {FILE: template(_TEXT).render(p=pipeline, closing=CLOSING_MIN, requirements=REQUIREMENTS_FILE)}
