"""A token pool that does not fit how much Terraform does at once."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.amounts import amount
from interlock.genesys.provider import TOKEN_POOL_MAX, TOKEN_POOL_MIN
from interlock.hcl import Attribute, Module, constant_number, constant_text, parse_constraint
from interlock.lint import organisation
from interlock.lint.editing import replace
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_DEFAULT_PARALLELISM = 10
"""Terraform's own; source: its command line help."""

_OLD_MAX, _MAX_RAISED = 20, (1, 84, 0)
"""The pool's maximum was 20 up to 1.83 (docs/facts/genesys.md#genesys-20)."""


def check(sources: Sources) -> Iterator[Finding]:
    """Yield pool sizes that the provider refuses, or that are smaller than the parallelism."""
    for module in sources.all_modules():
        for provider in organisation.providers(module):
            pool = provider.block.body.attributes.get("token_pool_size")
            if pool is not None and "access_token" not in provider.block.body.attributes:
                yield from _check(sources, module, pool)


def _check(sources: Sources, module: Module, pool: Attribute) -> Iterator[Finding]:
    size = constant_number(pool.value, module.scope)
    most = _maximum(module)
    if size is None:
        return
    if not TOKEN_POOL_MIN <= size <= most:
        yield RULE.finding(
            pool.span,
            f"the provider takes {TOKEN_POOL_MIN} to {most} tokens; with {size:.0f} it does not start",
            fix=f"choose a size from {TOKEN_POOL_MIN} to {most}",
            severity=Severity.ERROR,
        )
        return
    parallelism, origin = _parallelism(sources)
    if size < parallelism <= most:
        yield RULE.finding(
            pool.span,
            f"{amount(round(size), 'token')} for {amount(parallelism, 'operation')} at once ({origin}): "
            "the others wait, up to three times five minutes",
            fix=f"set token_pool_size = {parallelism}, or run terraform with -parallelism={size:.0f}",
            edits=(replace(pool.value.span, str(parallelism)),),
        )


def _parallelism(sources: Sources) -> tuple[int, str]:
    """Return the highest parallelism that a CI file of the sources sets, else Terraform's default."""
    found = [
        (int(flag.value), f"-parallelism in {flag.span.path}:{flag.span.line}")
        for workflow in sources.workflows
        for job in workflow.jobs
        for _, operation in job.operations()
        if (operation.applies or operation.plans)
        and (flag := operation.flag("parallelism")) is not None
        and (flag.value or "").isdecimal()
        and flag.value is not None
    ]
    return max(found, default=(_DEFAULT_PARALLELISM, "Terraform's default"))


def _maximum(module: Module) -> int:
    """Return the largest pool that the required provider version takes."""
    for requirement in organisation.requirements(module):
        constraint = parse_constraint(constant_text(requirement.version) or "")
        if constraint is not None and not constraint.admits_from(_MAX_RAISED):
            return _OLD_MAX
    return TOKEN_POOL_MAX


RULE = Rule(
    name="provider-token-pool",
    severity=Severity.WARNING,
    subject=Subject.PROVIDER,
    what=(
        "`token_pool_size` is smaller than Terraform's `-parallelism` (10 unless a CI file says otherwise), or outside "
        "what the provider takes."
    ),
    why=(
        "Every operation holds one token of the pool for its whole length. With more operations than tokens the rest "
        "wait, up to three times five minutes, and each miss mints one more token."
    ),
    fix="make token_pool_size at least as large as -parallelism",
    bad={"main.tf": 'provider "genesyscloud" {\n  token_pool_size = 3\n}\n'},
    good={"main.tf": 'provider "genesyscloud" {\n  token_pool_size = 10\n}\n'},
    fixable=True,
    check=check,
)
