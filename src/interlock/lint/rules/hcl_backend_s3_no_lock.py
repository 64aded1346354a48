"""An S3 backend that nothing locks."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.hcl import Backend, Module, constant_flag, constant_text, parse_constraint
from interlock.lint.editing import add_attribute, replace
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.organisation import text_of
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.statestore import is_complete, s3_backends

_LOCKFILE_SINCE = (1, 10, 0)
"""Terraform and OpenTofu 1.10 brought `use_lockfile` (docs/facts/terraform-s3.md#s3-9)."""


def check(sources: Sources) -> Iterator[Finding]:
    """Yield S3 backends with neither a lock table nor a lock file."""
    for module, backend in s3_backends(sources):
        lockfile = backend.body.get("use_lockfile")
        is_off = lockfile is None or constant_flag(lockfile, module.scope) is False
        if is_complete(backend) and is_off and "dynamodb_table" not in backend.body.attributes:
            yield RULE.finding(
                backend.block.header,
                "nothing locks this state: two runs at once overwrite each other's changes",
                edits=_edits(module, backend),
            )


def _edits(module: Module, backend: Backend) -> tuple[Edit, ...]:
    """Return the edit that switches the lock file on, unless this configuration still admits older Terraforms only."""
    if any(not _may_be_new(constant_text(block.body.get("required_version"))) for block in module.settings):
        return ()
    present = backend.body.get("use_lockfile")
    if present is not None:
        return (replace(present.span, "true"),)
    edit = add_attribute(backend.body, "use_lockfile = true", text_of(module, backend.block.span.path))
    return (edit,) if edit else ()


def _may_be_new(version: str | None) -> bool:
    constraint = parse_constraint(version) if version else None
    return constraint is None or constraint.admits_from(_LOCKFILE_SINCE)


RULE = Rule(
    name="backend-s3-no-lock",
    severity=Severity.ERROR,
    subject=Subject.BACKEND,
    what='A complete `backend "s3"` block sets neither `use_lockfile = true` nor `dynamodb_table`.',
    why=(
        "S3 itself has no locks. Two applies read one state, and the later write throws the earlier one's resources "
        "away: Terraform forgets them and creates them again."
    ),
    fix="set `use_lockfile = true` (Terraform or OpenTofu 1.10 and later)",
    bad={
        "main.tf": """\
terraform {
  backend "s3" {
    bucket  = "acme-states"
    key     = "prod/routing.tfstate"
    region  = "eu-central-1"
    encrypt = true
  }
}
"""
    },
    good={
        "main.tf": """\
terraform {
  backend "s3" {
    bucket       = "acme-states"
    key          = "prod/routing.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}
"""
    },
    fixable=True,
    check=check,
)
