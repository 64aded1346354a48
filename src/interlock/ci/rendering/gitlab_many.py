"""GitLab CI for many roots: a root's jobs are there when the change touches it, applies wait for what they need.

What every root has in common is that of one root (`gitlab.py`). Which paths touch a root is worked out when the file is
written, since GitLab decides by `rules:changes` before any job runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from interlock.ci.pipeline import Pipeline, Target
from interlock.ci.rendering.gitlab import (
    APPLIES_WITH,
    DRIFT_BEGINS,
    DRIFT_NOTE,
    DRIFT_RUNS,
    FILE,
    IN_CHANGE,
    PLANS_WITH,
    render_one,
)
from interlock.ci.rendering.stand_in import ONE
from interlock.ci.rendering.templates import template

MAX_CHANGES = 50  # patterns of one rule; GitLab refuses more, so a root with more counts as always touched

_REPORT = "report-$SLUG.json"

_RULES = (
    """\

# A merge request of this project to the branch that is deployed (forks are planned by nobody), and the branch itself.
.interlock-rules:
  rules:
    - if: &in-change >-
"""
    + IN_CHANGE
    + """\
    - if: &on-push $CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == "<< p.branch | bare >>"
<% if p.drift_cron %>
"""
    + DRIFT_NOTE
    + """\
.interlock-drift:
"""
    + DRIFT_BEGINS
    + """\
  variables:
    LOCKFILE: ""
"""
    + DRIFT_RUNS
    + """\
<% endif %>

# One comment for all roots; nothing of a change runs here. By stage, it waits for every plan and has their reports.
comment:
  extends: .interlock-comment
  environment:
    name: << (p.targets[0].environment ~ "-comment") | yaml >>
    action: access
  rules:
    - if: *in-change
      when: always
"""
)

_EACH = (
    """\

plan:<< target.slug | word >>:
  extends: .interlock-plan
  needs: []
  interruptible: true
  environment: &<< target.slug | word >>-reads
    name: << (target.environment ~ "-plan") | yaml >>
    action: prepare
  variables:
    DIRECTORY: << target.directory | yaml >>
    STATE: &<< target.slug | word >>-state << target.name | yaml >>
    SLUG: << target.slug | yaml >>
"""
    + PLANS_WITH
    + """\
  rules:
    - if: *in-change
<% if target.touched_by %>
      changes: &<< target.slug | word >>-changes
<% for path in target.touched_by %>
        - << path | yaml >>
<% endfor %>
<% endif %>

plan-anew:<< target.slug | word >>:
  extends: plan:<< target.slug | word >>
  interruptible: false
  # Build > Pipelines > New pipeline; the variable INTERLOCK_ROOTS names states, with spaces between, and else all.
  rules:
    - if: &<< target.slug | word >>-by-hand >-
        $CI_PIPELINE_SOURCE == "web" && $CI_COMMIT_BRANCH == "<< p.branch | bare >>"
        && ($INTERLOCK_ROOTS == null || $INTERLOCK_ROOTS =~ /(^| )<< pattern | flags >>( |$)/)

seal:<< target.slug | word >>:
  extends: .interlock-seal
  needs: [{job: "plan-anew:<< target.slug | word >>", optional: true, artifacts: false}]
  environment: {name: << (target.environment ~ "-seal") | yaml >>, action: prepare}
  variables: {STATE: *<< target.slug | word >>-state }
  rules:
    - if: *<< target.slug | word >>-by-hand
    - if: *on-push
<% if target.touched_by %>
      changes: *<< target.slug | word >>-changes
<% endif %>

apply:<< target.slug | word >>:
  extends: .interlock-apply
  # Behind the roots that it needs, where they are applied too; one that fails holds it back.
  needs:
    - seal:<< target.slug | word >>
<% for slug in after %>
    - {job: "apply:<< slug | word >>", optional: true, artifacts: false}
<% endfor %>
  # One queue for each state, whatever the branch. Its process mode must be oldest_first; the job below checks that.
  resource_group: interlock-<< target.slug | word >>
  environment: {name: << target.environment | yaml >>, deployment_tier: production}
  variables:
    DIRECTORY: << target.directory | yaml >>
    STATE: *<< target.slug | word >>-state
"""
    + APPLIES_WITH
    + """\
  rules:
    - if: *<< target.slug | word >>-by-hand
      when: manual
    - if: *on-push
<% if target.touched_by %>
      changes: *<< target.slug | word >>-changes
<% endif %>
<% if p.drift_cron %>

drift:<< target.slug | word >>:
  extends: .interlock-drift
  environment: *<< target.slug | word >>-reads
  variables:
    DIRECTORY: << target.directory | yaml >>
    STATE: *<< target.slug | word >>-state
"""
    + PLANS_WITH
    + """\
<% endif %>
"""
)


def render(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the GitLab files by path; for pipelines of more than one root."""
    files = dict(render_one(replace(pipeline, targets=(ONE,))))
    one = files[FILE]
    head = one[: one.index(f"\nplan:{ONE.slug}:")]
    tail = one[one.index("\n# What this file cannot say") :]
    rules = template(_RULES).render(p=pipeline)
    files[FILE] = "".join([_shared(head), rules, *(_root(target, pipeline) for target in pipeline.targets), tail])
    return files


def _shared(head: str) -> str:
    """Return what every root has in common, with a report of its own for each, and one job that tells them all."""
    for before, after in (
        ("--keep report.json", f'--keep "{_REPORT}"'),
        ("[plan.bin.wrapped, report.json]", f'[plan.bin.wrapped, "{_REPORT}"]'),
        ('interlock ci comment report.json --kept --state "$STATE"', "interlock ci comment --reports ."),
    ):
        assert before in head, f"the jobs of one root have {before}"
        head = head.replace(before, after)
    return head.rstrip("\n") + "\n"


def _root(target: Target, pipeline: Pipeline) -> str:
    slugs = {each.name: each.slug for each in pipeline.targets}
    after = [slugs[name] for name in target.needs if name in slugs]
    if len(target.touched_by) > MAX_CHANGES:
        target = replace(target, touched_by=())
    pattern = re.escape(target.name).replace("/", r"\/").replace(r"\-", "-")
    return template(_EACH).render(p=pipeline, target=target, after=after, pattern=pattern)
