"""A lock table whose key is not the one that Terraform writes."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.hcl import Block, constant_text
from interlock.lint.editing import replace
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.statestore import Found, lock_tables, setting

_KEY, _KEY_TYPE = "LockID", "S"
"""Source: docs/facts/terraform-s3.md#s3-1; Terraform writes items with this one key and reads them by it."""


def check(sources: Sources) -> Iterator[Finding]:
    """Yield what is wrong with the keys of lock tables."""
    for found in lock_tables(sources):
        yield from _key(found)
        yield from _range_key(found)
        yield from _type(found)


def _key(found: Found) -> Iterator[Finding]:
    attribute = found.resource.body.attributes.get("hash_key")
    name = setting(found, attribute.value) if attribute else None
    if attribute is not None and name is not None and name != _KEY:
        yield RULE.finding(
            attribute.span,
            f'the partition key is "{name}", Terraform locks with "{_KEY}": every run fails with a validation error',
            edits=(replace(attribute.value.span, f'"{_KEY}"'), *_renamed(found, name)),
        )


def _renamed(found: Found, old: str) -> Iterator[Edit]:
    """Yield the edits that rename the key's attribute block as well."""
    for block in found.resource.body.blocks("attribute"):
        name = block.body.attributes.get("name")
        if name is not None and constant_text(name.value) == old:
            yield replace(name.value.span, f'"{_KEY}"')


def _range_key(found: Found) -> Iterator[Finding]:
    attribute = found.resource.body.attributes.get("range_key")
    if attribute is not None and setting(found, attribute.value):
        message = "the table has a sort key, which Terraform does not write: every run fails with a validation error"
        yield RULE.finding(attribute.span, message, fix=f'remove it; the table has "{_KEY}" as its only key')


def _type(found: Found) -> Iterator[Finding]:
    for block in found.resource.body.blocks("attribute"):
        kind = block.body.attributes.get("type")
        if _is_key(block, found) and kind is not None and setting(found, kind.value) not in {None, _KEY_TYPE}:
            yield RULE.finding(
                kind.span,
                f'"{_KEY}" has type "{setting(found, kind.value)}", and Terraform writes text ("{_KEY_TYPE}")',
                edits=(replace(kind.value.span, f'"{_KEY_TYPE}"'),),
            )


def _is_key(block: Block, found: Found) -> bool:
    return setting(found, block.body.get("name")) == _KEY


RULE = Rule(
    name="lock-table-key",
    severity=Severity.ERROR,
    subject=Subject.BACKEND,
    what="A DynamoDB table for Terraform's locks has another key than `LockID` of type `S`, or a sort key.",
    why=(
        "Terraform addresses its lock by exactly this key. With another one the first `terraform plan` ends in "
        '"Error acquiring the state lock" with a ValidationException, and nothing is locked.'
    ),
    fix='set `hash_key = "LockID"` and declare that attribute with `type = "S"`',
    bad={
        "main.tf": """\
resource "aws_dynamodb_table" "terraform_locks" {
  name         = "acme-terraform-locks"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"

  attribute {
    name = "id"
    type = "S"
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
