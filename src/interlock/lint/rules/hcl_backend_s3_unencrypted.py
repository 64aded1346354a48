"""An S3 backend that does not ask for encryption."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.hcl import constant_flag
from interlock.lint.editing import add_attribute, replace
from interlock.lint.finding import Finding, Severity
from interlock.lint.organisation import text_of
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.statestore import is_complete, s3_backends

_KEYS = ("kms_key_id", "sse_customer_key")
"""Settings that encrypt by themselves, whatever `encrypt` says."""


def check(sources: Sources) -> Iterator[Finding]:
    """Yield S3 backends with `encrypt` off or left out."""
    for module, backend in s3_backends(sources):
        attributes = backend.body.attributes
        if any(key in attributes for key in _KEYS):
            continue
        encrypt = attributes.get("encrypt")
        if encrypt is None and is_complete(backend):
            edit = add_attribute(backend.body, "encrypt = true", text_of(module, backend.block.span.path))
            yield RULE.finding(
                backend.block.header,
                "the state, with every secret in it, is written without asking S3 for encryption",
                edits=(edit,) if edit else (),
            )
        elif encrypt is not None and constant_flag(encrypt.value, module.scope) is False:
            yield RULE.finding(
                encrypt.span,
                "the state, with every secret in it, is written without encryption being asked for",
                edits=(replace(encrypt.value.span, "true"),),
            )


RULE = Rule(
    name="backend-s3-unencrypted",
    severity=Severity.WARNING,
    subject=Subject.BACKEND,
    what='A complete `backend "s3"` block does not set `encrypt = true`, a KMS key or a customer key.',
    why=(
        "A Terraform state holds secrets in the clear, OAuth client secrets among them. S3 encrypts new objects with "
        "its own keys since January 2023, but a bucket policy that demands the encryption header refuses the write, "
        "and other S3-compatible stores encrypt only when they are asked."
    ),
    fix="set `encrypt = true`, and `kms_key_id` where a key of your own is wanted",
    bad={
        "main.tf": """\
terraform {
  backend "s3" {
    bucket       = "acme-states"
    key          = "prod/routing.tfstate"
    region       = "eu-central-1"
    use_lockfile = true
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
    use_lockfile = true
    encrypt      = true
  }
}
"""
    },
    fixable=True,
    check=check,
)
