"""A state bucket that others may read."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.hcl import Body, constant_flag
from interlock.lint.editing import replace
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.statestore import Found, companions, setting, state_buckets

_PUBLIC = frozenset({"public-read", "public-read-write", "authenticated-read", "website"})
_BLOCKS = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")


def check(sources: Sources) -> Iterator[Finding]:
    """Yield what opens state buckets to others."""
    for found in state_buckets(sources):
        yield from _acl(found, found.resource.body)
        for resource in companions(found, "aws_s3_bucket_acl")[0]:
            yield from _acl(found, resource.body)
        for resource in companions(found, "aws_s3_bucket_public_access_block")[0]:
            yield from _open(found, resource.body)


def _acl(found: Found, body: Body) -> Iterator[Finding]:
    acl = body.attributes.get("acl")
    if acl is not None and setting(found, acl.value) in _PUBLIC:
        yield RULE.finding(
            acl.span,
            f'with the ACL "{setting(found, acl.value)}" strangers can read the states and every secret in them',
            edits=(replace(acl.value.span, '"private"'),),
        )


def _open(found: Found, body: Body) -> Iterator[Finding]:
    for name in _BLOCKS:
        attribute = body.attributes.get(name)
        if attribute is not None and constant_flag(attribute.value, found.scope) is False:
            yield RULE.finding(
                attribute.span,
                f"{name} is off, so one ACL or bucket policy can open the state bucket to everybody",
                edits=(replace(attribute.value.span, "true"),),
            )


RULE = Rule(
    name="state-bucket-public",
    severity=Severity.ERROR,
    subject=Subject.BACKEND,
    what="An S3 bucket that holds Terraform states has a public ACL, or its public access block is switched off.",
    why=(
        "A state lists everything in the contact centre and holds secrets in the clear. S3 blocks public access to new "
        "buckets by default since April 2023; these settings take that protection away."
    ),
    fix="use no ACL or `private`, and set all four switches of aws_s3_bucket_public_access_block to true",
    bad={
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

resource "aws_s3_bucket_public_access_block" "states" {
  bucket                  = aws_s3_bucket.states.id
  block_public_acls       = true
  block_public_policy     = false
  ignore_public_acls      = true
  restrict_public_buckets = true
}
"""
    },
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

resource "aws_s3_bucket_public_access_block" "states" {
  bucket                  = aws_s3_bucket.states.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}
"""
    },
    fixable=True,
    check=check,
)
