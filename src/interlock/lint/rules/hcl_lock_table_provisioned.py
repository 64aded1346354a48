"""A lock table that can be throttled."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.lint.editing import remove_lines, replace
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.organisation import text_of
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.statestore import Found, lock_tables, setting

_ON_DEMAND = "PAY_PER_REQUEST"
_CAPACITIES = ("read_capacity", "write_capacity")


def check(sources: Sources) -> Iterator[Finding]:
    """Yield lock tables with provisioned capacity, which is DynamoDB's default."""
    for found in lock_tables(sources):
        attributes = found.resource.body.attributes
        mode = attributes.get("billing_mode")
        if mode is not None and setting(found, mode.value) in {None, _ON_DEMAND}:
            continue
        capacity = next((attributes[name] for name in _CAPACITIES if name in attributes), None)
        place = mode or capacity
        yield RULE.finding(
            place.span if place else found.resource.block.header,
            "the lock table has provisioned capacity: a burst of runs is throttled, and a throttled lock fails its run",
            edits=tuple(_edits(found)),
        )


def _edits(found: Found) -> Iterator[Edit]:
    """Yield the edits that change the mode and drop the capacities; none when there is nothing to replace."""
    attributes = found.resource.body.attributes
    content = text_of(found.module, found.resource.block.span.path)
    capacities = [attributes[name] for name in _CAPACITIES if name in attributes]
    mode = attributes.get("billing_mode")
    if mode is not None:
        yield replace(mode.value.span, f'"{_ON_DEMAND}"')
    elif capacities:
        first = capacities.pop(0)
        yield replace(first.span, f'billing_mode = "{_ON_DEMAND}"')
    for attribute in capacities:
        yield remove_lines(attribute.span, content)


RULE = Rule(
    name="lock-table-provisioned",
    severity=Severity.WARNING,
    subject=Subject.BACKEND,
    what="A DynamoDB table for Terraform's locks has provisioned capacity, by setting or by default.",
    why=(
        "Terraform makes few requests, but many at one moment: ten waiting jobs poll together. A throttled lock write "
        "fails the run after a few tries whatever `-lock-timeout` says, and a throttled digest write leaves a state "
        "that the next run refuses to read."
    ),
    fix='set `billing_mode = "PAY_PER_REQUEST"` and remove the capacities; it also costs less',
    bad={
        "main.tf": """\
resource "aws_dynamodb_table" "terraform_locks" {
  name           = "acme-terraform-locks"
  read_capacity  = 5
  write_capacity = 5
  hash_key       = "LockID"

  attribute {
    name = "LockID"
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
