"""Jenkins pipelines: plans of changes, applies of the branch after an approval, drift on a schedule.

Three files for three jobs, because Jenkins gives credentials to folders and not to stages: whatever the job of changes
may use, a change's own copy of its file may use. What Jenkins cannot say is told in docs/howto/ci-jenkins.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.ci.pipeline import REQUIREMENTS_FILE, Pipeline, Target, is_hosted
from interlock.ci.quoting import Spelled, groovy_script
from interlock.ci.rendering.templates import template

PLAN_FILE, APPLY_FILE, DRIFT_FILE = (f"Jenkinsfile.interlock-{name}" for name in ("plan", "apply", "drift"))

_HEAD = """\
// Written by `interlock ci generate jenkins`. Change interlock.yaml and run it again instead of editing this file.
//
"""

_ENVIRONMENT = """\
          environment {
            DIRECTORY = << target.directory | groovy >>
            STATE = << target.name | groovy >>
            GENESYSCLOUD_REGION = << p.genesys_region | groovy >>
            INTERLOCK_WAIT = << (p.wait_min ~ "m") | groovy >>
<% if p.home %>
            INTERLOCK_HOME = << p.home | groovy >>
<% endif %>
            PYTHONSAFEPATH = '1'
<% if p.server %>
            INTERLOCK_SERVER = << p.server | groovy >>
<% endif %>
<% if p.aws %>
            AWS_REGION = << p.aws.region | groovy >>
            AWS_ROLE_ARN = << role | groovy >>
<% endif %>
          }
"""

_CHECKOUT = """\
            deleteDir()
            checkout scm
<% if not p.installed %>
            // -I: nothing of the checkout is imported. Everything is named with its checksum.
            sh 'python3 -I -m venv "$WORKSPACE_TMP/interlock"'
            sh << install >>
<% endif %>
"""

# How each stage begins that has a machine.
_BEGIN = (
    """\
          agent { label << label | groovy >> }
          options { timeout(time: << minutes >>, unit: 'MINUTES') }
"""
    + _ENVIRONMENT
    + """\
          steps {
"""
    + _CHECKOUT
)

_WITH = """\
            withCredentials([
<% if p.aws %>
              file(credentialsId: << (client ~ "-aws-token") | groovy >>, variable: 'AWS_WEB_IDENTITY_TOKEN_FILE'),
<% endif %>
<% if p.server %>
              string(credentialsId: << (client ~ "-token") | groovy >>, variable: 'INTERLOCK_TOKEN'),
<% endif %>
              usernamePassword(credentialsId: << client | groovy >>, \
usernameVariable: 'GENESYSCLOUD_OAUTHCLIENT_ID', passwordVariable: 'GENESYSCLOUD_OAUTHCLIENT_SECRET')
            ]) {
"""


def _tokens_of(client: str, role: str) -> str:
    """Return what the head of a file says of further credentials of its jobs: each that `_WITH` takes is named."""
    return f"""\
<% if p.aws %>
//   {client}-aws-token   secret file: the identity token of the OpenID Connect Provider plugin
<% endif %>
<% if p.server %>
//   {client}-token   secret text: a token of the server with the role {role}, for these states
<% endif %>
"""


_NOTIFIED = """\
<% if p.notify %>
//   interlock-notify-url   secret text: where a failed run is told
<% endif %>
"""

_ROOTS = """\
  stages {
    stage('roots') {
      parallel {
<% for target in p.targets %>
"""

_STAGES = (
    """\
  options {
    disableConcurrentBuilds()
    skipDefaultCheckout()
  }
"""
    + _ROOTS
)

_END = """\
<% endfor %>
      }
    }
  }
}
"""

_WAIT = """\
              // An aborted build signals its processes and goes on here: the supervisor lets Terraform finish.
              sh << (run ~ ' wait') | script >>
"""

_REPORT = """\
            }
            cleanup { // also when the wait above has failed with the run
              sh << (run ~ ' ci comment plan.json --state "$STATE" --to-summary > plan.md') | script >>
              archiveArtifacts artifacts: 'plan.md', allowEmptyArchive: true
"""

_NOTIFY = """\
<% if p.notify %>
            failure {
              withCredentials([string(credentialsId: 'interlock-notify-url', variable: 'INTERLOCK_NOTIFY_URL')]) {
                sh << (run ~ ' ci notify --state "$STATE"') | script >>
              }
            }
<% endif %>
"""

# After what only the stage does: its run is waited for, and people hear of it.
_REPORTED = (
    """\
          post {
            always {
"""
    + _WAIT
    + _REPORT
    + """\
            }
          }
        }
"""
)

_TOLD = (
    """\
            }
          }
          post {
            always {
"""
    + _WAIT
    + """\
            }
"""
    + _NOTIFY
    + """\
          }
        }
"""
)

_PLAN = (
    _HEAD
    + """\
// A multibranch pipeline, in a folder with these credentials and no others:
//   interlock-plan   user name and password: id and secret of an OAuth client that only reads
"""
    + _tokens_of("interlock-plan", "planner")
    + """\
// A change's own copy of this file decides what runs here, so nothing that may write belongs into that folder.
pipeline {
  agent none
  options {
    disableConcurrentBuilds(abortPrevious: true) // a newer commit makes a preview void
    skipDefaultCheckout()
  }
"""
    + _ROOTS
    + """\
<% set role = p.aws.plan_role if p.aws else "" %>
        stage(<< ("plan " ~ target.name) | groovy >>) {
          // A fork's change is planned by nobody: its code would run with these credentials.
          when {
            beforeAgent true
            changeRequest target: << p.branch | groovy >>
            expression { !env.CHANGE_FORK }
          }
<% set minutes = p.limit_min(p.plan_min) %>
"""
    + _BEGIN
    + _WITH
    + """\
              sh << plan_only(target) >>
            }
          }
"""
    + _REPORTED
    + _END
)

_APPLY = (
    _HEAD
    + """\
// A pipeline job of << p.branch | bare >> alone, in a folder with these credentials, which nobody else's jobs may use:
//   interlock-plan       user name and password: id and secret of an OAuth client that only reads
//   interlock-apply      the same of a client that may write
//   interlock-seal-key   secret text: INTERLOCK_SEAL_KEY
//   interlock-plan-key   secret text: INTERLOCK_PLAN_KEY
"""
    + _tokens_of("interlock-plan", "planner")
    + _tokens_of("interlock-apply", "runner")
    + _NOTIFIED
    + """\
// Users or groups named interlock-<environment> may approve.
pipeline {
  agent none
  triggers { pollSCM('') } // by the push hook; a schedule here polls
"""
    + _STAGES
    + """\
        stage(<< target.name | groovy >>) {
          stages {
<% set role = p.aws.plan_role if p.aws else "" %>
<% set client = "interlock-plan" %>
<% set minutes = p.limit_min(p.plan_min) %>
        stage(<< ("plan " ~ target.name) | groovy >>) {
"""
    + _BEGIN
    + _WITH
    + """\
              sh << plan_kept(target) >>
            }
            // Only with a public key: what this stage runs can neither read other plans nor seal one.
            withEnv([<< ("INTERLOCK_WRAP_KEY=" ~ p.plan_key) | groovy >>]) {
              sh << (run ~ ' ci wrap plan.bin') | script >>
            }
            stash name: << ("interlock-plan-" ~ target.slug) | groovy >>, includes: 'plan.bin.wrapped'
          }
"""
    + _REPORTED
    + """\
<% set minutes = 15 %>
        // The only stage with the signing key. It runs no code of the checkout: no init, no provider, no script.
        stage(<< ("seal " ~ target.name) | groovy >>) {
"""
    + _BEGIN
    + """\
            unstash << ("interlock-plan-" ~ target.slug) | groovy >>
            withCredentials([string(credentialsId: 'interlock-seal-key', variable: 'INTERLOCK_SEAL_KEY')]) {
              sh << (run ~ ' ci seal --state "$STATE" --branch ' ~ (p.branch | sh) ~ ' --out plan.sealed') | script >>
            }
            stash name: << ("interlock-sealed-" ~ target.slug) | groovy >>, includes: 'plan.sealed'
            script {
              env.PLAN_DIGEST_<< word(target) >> = \
sh(returnStdout: true, script: 'sed -n "s/^PLAN_DIGEST=//p" interlock.env').trim()
              env.PLAN_RUN_<< word(target) >> = \
sh(returnStdout: true, script: 'sed -n "s/^PLAN_RUN=//p" interlock.env').trim()
            }
          }
        }
<% set role = p.aws.apply_role if p.aws else "" %>
<% set client = "interlock-apply" %>
<% set minutes = p.limit_min(p.apply_min) %>
        stage(<< ("apply " ~ target.name) | groovy >>) {
          // Before an agent is taken. The plan is in the log and an artifact of the stage before.
          input {
            message "Apply plan ${env.PLAN_DIGEST_<< word(target) >>}?"
            submitter << ("interlock-" ~ target.environment) | groovy >>
          }
"""
    + _BEGIN
    + """\
            unstash << ("interlock-sealed-" ~ target.slug) | groovy >>
            // The plan that was sealed in this build for exactly this tree of files. Another one: exit 41.
            withCredentials([string(credentialsId: 'interlock-plan-key', variable: 'INTERLOCK_PLAN_KEY')]) {
              sh << reviewed(target) >>
            }
"""
    + _WITH
    + """\
              sh << apply(target) >>
"""
    + _TOLD
    + """\
          }
        }
"""
    + _END
)

_DRIFT = (
    _HEAD
    + """\
// A pipeline job of << p.branch | bare >> alone, in a folder with these credentials:
//   interlock-plan   user name and password: id and secret of an OAuth client that only reads
"""
    + _tokens_of("interlock-plan", "planner")
    + _NOTIFIED
    + """\
pipeline {
  agent none
  triggers { cron(<< p.drift_cron | groovy >>) }
"""
    + _STAGES
    + """\
<% set role = p.aws.plan_role if p.aws else "" %>
<% set client = "interlock-plan" %>
<% set minutes = p.limit_min(p.plan_min) %>
        stage(<< ("drift " ~ target.name) | groovy >>) {
"""
    + _BEGIN
    + _WITH
    + """\
              sh << drift(target) >>
"""
    + _TOLD
    + _END
)


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the three Jenkinsfiles by path."""
    run = Spelled("interlock" if pipeline.installed else '"$WORKSPACE_TMP/interlock/bin/interlock"')
    scripts = _Scripts(run)
    texts = {PLAN_FILE: _PLAN, APPLY_FILE: _APPLY} | ({DRIFT_FILE: _DRIFT} if pipeline.drift_cron else {})
    given = {
        "p": pipeline,
        "run": run,
        "client": "interlock-plan",
        "label": pipeline.pool or ("linux" if is_hosted(pipeline.runner) else pipeline.runner),
        "install": scripts.install(),
        "word": lambda target: Spelled(target.slug.replace("-", "_")),
        "plan_only": scripts.plan_only,
        "plan_kept": scripts.plan_kept,
        "reviewed": scripts.reviewed,
        "apply": scripts.apply,
        "drift": scripts.drift,
    }
    return {path: _indented(template(text).render(**given)) for path, text in texts.items()}


def _indented(text: str) -> str:
    """Indent each line by the blocks around it; no line of ours opens one block and closes another."""
    lines, depth = [], 0
    for line in (line.strip() for line in text.splitlines()):
        lines.append(("  " * (depth - line.startswith(("}", "]"))) + line).rstrip())
        depth += sum(line.count(sign) for sign in "{[") - sum(line.count(sign) for sign in "}]")
    return "\n".join(lines) + "\n"


class _Scripts:
    """The scripts of `sh` steps; values of interlock.yaml reach them through the environment alone.

    Args:
        run: How Interlock is called.
    """

    def __init__(self, run: str) -> None:
        self._run = run

    def install(self) -> Spelled:
        """Return what installs Interlock with everything named by its checksum."""
        return groovy_script(
            '"$WORKSPACE_TMP/interlock/bin/python" -I -m pip install --disable-pip-version-check --quiet '
            f"--require-hashes --requirement {REQUIREMENTS_FILE}"
        )

    def plan_only(self, target: Target) -> Spelled:
        """Return what plans a change for people to look at."""
        return groovy_script(
            f'exec {self._run} plan "$DIRECTORY" --state "$STATE" --gate --json{_lock(target)} > plan.json'
        )

    def plan_kept(self, target: Target) -> Spelled:
        """Return what makes the plan that will be applied."""
        options = f"--out plan.bin --gate --json{_lock(target)}"
        return groovy_script(f'exec {self._run} plan "$DIRECTORY" --state "$STATE" {options} > plan.json')

    def reviewed(self, target: Target) -> Spelled:
        """Return what opens the sealed plan, and nothing but the one that the approver was asked about."""
        return groovy_script(
            f'{self._run} ci reviewed plan.sealed --state "$STATE" --run "${_variable("RUN", target)}" '
            f'--plan-digest "${_variable("DIGEST", target)}" --out plan.bin'
        )

    def apply(self, target: Target) -> Spelled:
        """Return what applies it."""
        return groovy_script(
            f'exec {self._run} apply "$DIRECTORY" --state "$STATE" --plan plan.bin '
            f'--plan-digest "${_variable("DIGEST", target)}" --auto-approve{_lock(target)}'
        )

    def drift(self, target: Target) -> Spelled:
        """Return what looks for drift."""
        return groovy_script(f'exec {self._run} drift "$DIRECTORY" --state "$STATE" --gate{_lock(target)}')


def _variable(what: str, target: Target) -> str:
    return f"PLAN_{what}_{target.slug.replace('-', '_')}"


def _lock(target: Target) -> str:
    return " -- -lockfile=readonly" if target.locked else ""
