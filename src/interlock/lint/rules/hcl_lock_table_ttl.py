"""A lock table that is said to expire its locks."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.hcl import constant_flag
from interlock.lint.editing import remove_lines
from interlock.lint.finding import Finding, Severity
from interlock.lint.organisation import text_of
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.statestore import lock_tables, setting


def check(sources: Sources) -> Iterator[Finding]:
    """Yield the enabled TTLs of lock tables."""
    for found in lock_tables(sources):
        for block in found.resource.body.blocks("ttl"):
            if constant_flag(block.body.get("enabled"), found.scope) is True:
                name = setting(found, block.body.get("attribute_name")) or "that attribute"
                content = text_of(found.module, block.span.path)
                yield RULE.finding(
                    block.header,
                    f"Terraform writes no {name} into its locks, so this TTL never removes an abandoned one",
                    edits=(remove_lines(block.span, content),),
                )


RULE = Rule(
    name="lock-table-ttl",
    severity=Severity.WARNING,
    subject=Subject.BACKEND,
    what="A DynamoDB table for Terraform's locks has a `ttl` block that is enabled.",
    why=(
        "DynamoDB expires only items that carry the attribute, and Terraform's lock items carry a key and an info "
        "text, nothing else. The TTL gives a feeling of safety and does nothing; where some script adds the attribute, "
        "DynamoDB deletes the lock of a run that is still applying."
    ),
    fix="remove the ttl block; recover an abandoned lock with `interlock lock explain` and `interlock force-unlock`",
    bad={
        "main.tf": """\
resource "aws_dynamodb_table" "terraform_locks" {
  name         = "acme-terraform-locks"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "LockID"

  attribute {
    name = "LockID"
    type = "S"
  }

  ttl {
    attribute_name = "ExpirationTime"
    enabled        = true
  }
}
"""
    },
    good={
        "main.tf": """\
resource "aws_dynamodb_table" "terraform_locks" {
  name         = "acme-terraform-locks"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "LockID"

  attribute {
    name = "LockID"
    type = "S"
  }
}
"""
    },
    fixable=True,
    check=check,
)
