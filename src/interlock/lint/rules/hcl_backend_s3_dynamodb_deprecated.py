"""An S3 backend that locks in DynamoDB, which Terraform is leaving."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.statestore import s3_backends


def check(sources: Sources) -> Iterator[Finding]:
    """Yield the DynamoDB settings of S3 backends: the table, else the endpoint."""
    for _, backend in s3_backends(sources):
        attributes = backend.body.attributes
        old = attributes.get("dynamodb_table") or attributes.get("dynamodb_endpoint")
        if old is not None:
            both = "; the lock file is on too, so the table can go once every client is 1.10 or later"
            more = both if "use_lockfile" in attributes else ""
            yield RULE.finding(old.span, f"{old.name} is deprecated since Terraform 1.11{more}")


RULE = Rule(
    name="backend-s3-dynamodb-deprecated",
    severity=Severity.INFO,
    subject=Subject.BACKEND,
    what='A `backend "s3"` block sets `dynamodb_table` or `dynamodb_endpoint`.',
    why=(
        "Terraform 1.11 deprecates locking in DynamoDB and warns at every init; a later version will drop it. The "
        "table also holds a digest of the state, and a throttled write of that digest makes the next run fail "
        "although the state is whole."
    ),
    fix="set `use_lockfile = true` beside it, upgrade every client to 1.10 or later, then remove the table",
    bad={
        "main.tf": """\
terraform {
  backend "s3" {
    bucket         = "acme-states"
    key            = "prod/routing.tfstate"
    region         = "eu-central-1"
    encrypt        = true
    dynamodb_table = "acme-terraform-locks"
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
    check=check,
)
