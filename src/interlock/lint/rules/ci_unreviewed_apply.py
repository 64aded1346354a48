"""ci-unreviewed-apply: what is applied is not what somebody looked at."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.ci.workflow import Job
from interlock.lint.deployments import Use, distinct, jobs, state_follows_ref, uses_of
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def _check(sources: Sources) -> Iterator[Finding]:
    for workflow, job in jobs(sources):
        uses = [use for use in uses_of(workflow, job) if use.operation.verb == "apply" and not _is_other(use)]
        blind = [use for use in uses if use.operation.plan_file is None and use.operation.approved]
        # An environment of one branch that goes away with it is nobody's production.
        if blind and state_follows_ref(job) is False:
            yield from (_unseen(use, is_remote=_keeps_no_plan(sources)) for use in blind)
        given = [use for use in uses if use.operation.plan_file is not None and not use.operation.by_task]
        if given and _brings_none(job):
            yield from (_never_arrives(use) for use in given)


def _is_other(use: Use) -> bool:
    """Say whether it changes nothing in the organisation, or only takes away."""
    return use.operation.has("refresh-only") or use.operation.has("destroy")


def _keeps_no_plan(sources: Sources) -> bool:
    """Say whether a root module has backend "remote", which refuses `-out`."""
    return any(module.backend is not None and module.backend.type == "remote" for module in sources.modules)


def _unseen(use: Use, *, is_remote: bool) -> Finding:
    flag = use.operation.flag("auto-approve")
    return RULE.finding(
        flag.span if flag is not None else use.operation.span,
        f"`{use.operation.tool.value} apply` makes a new plan and applies it unseen; the plan that was reviewed is "
        "thrown away",
        fix=_REMOTE if is_remote else "",
    )


_REMOTE = (
    'backend "remote" saves no plan: use a `cloud` block, with which -out works (Terraform 1.6), or '
    "leave -auto-approve away "
    "and have the run confirmed in HCP Terraform"
)


def _brings_none(job: Job) -> bool:
    """Say whether a job neither makes a plan nor is handed one."""
    return job.standalone and job.receives is False and not any(operation.plans for _, operation in job.operations())


def _never_arrives(use: Use) -> Finding:
    return RULE.finding(
        use.operation.span,
        f"job {use.job.name!r} applies the plan {use.operation.plan_file!r}, which another job made and this one "
        "never fetches",
        fix="hand the plan over between the jobs (sealed: `interlock ci seal`), or plan and apply in one job",
    )


RULE = Rule(
    name="ci-unreviewed-apply",
    severity=Severity.ERROR,
    subject=Subject.CI,
    what="An apply with `-auto-approve` and no plan file, or an apply of a plan file that another job made and that is "
    "not handed over.",
    why="Without the file Terraform plans again at apply time. Between the review and that moment the state, the "
    "organisation and the branch may have changed, so what happens is not what was approved.",
    fix="Write the plan with -out, review it, and apply exactly that file.",
    bad={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan\n      - run: terraform apply -auto-approve\n"
    },
    good={
        ".github/workflows/deploy.yml": "on: push\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: terraform plan -out=plan.bin\n      - run: terraform apply plan.bin\n"
    },
    check=distinct(_check),
)
