"""A state bucket without earlier versions."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.hcl import Resource, constant_flag
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.statestore import Found, companions, setting, state_buckets

_SEPARATE = "aws_s3_bucket_versioning"


def check(sources: Sources) -> Iterator[Finding]:
    """Yield state buckets whose versioning is certainly not on."""
    for found in state_buckets(sources):
        separate, unclear = companions(found, _SEPARATE)
        states = [_is_on(found, resource) for resource in separate]
        inline = [
            constant_flag(block.body.get("enabled"), found.scope) for block in found.resource.body.blocks("versioning")
        ]
        answers = [*states, *inline]
        if not unclear and not any(answer in {True, None} for answer in answers):
            yield RULE.finding(
                found.resource.block.header,
                "the state bucket keeps no earlier versions: a damaged or overwritten state cannot be brought back",
            )


def _is_on(found: Found, versioning: Resource) -> bool | None:
    """Return whether a separate versioning resource switches it on; None when that is not certain."""
    blocks = versioning.body.blocks("versioning_configuration")
    status = setting(found, blocks[0].body.get("status")) if blocks else None
    return None if status is None else status == "Enabled"


RULE = Rule(
    name="state-bucket-unversioned",
    severity=Severity.WARNING,
    subject=Subject.BACKEND,
    what="An S3 bucket that holds Terraform states has no versioning, or it is suspended.",
    why=(
        "The last state is then the only one. After a bad push, a forced unlock with two writers or a mistaken delete "
        "every resource must be imported by hand."
    ),
    fix='add an aws_s3_bucket_versioning resource with `status = "Enabled"`',
    bad={"main.tf": 'resource "aws_s3_bucket" "states" {\n  bucket = "acme-terraform-state"\n}\n'},
    good={
        "main.tf": """\
resource "aws_s3_bucket" "states" {
  bucket = "acme-terraform-state"
}

resource "aws_s3_bucket_versioning" "states" {
  bucket = aws_s3_bucket.states.id
  versioning_configuration {
    status = "Enabled"
  }
}
"""
    },
    check=check,
)
