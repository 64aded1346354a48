"""A provider that lives on one access token."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.hcl import constant
from interlock.lint import organisation
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def check(sources: Sources) -> Iterator[Finding]:
    """Yield the access tokens of provider configurations; null and empty ones are none."""
    for module in sources.all_modules():
        for provider in organisation.providers(module):
            token = provider.block.body.attributes.get("access_token")
            known = constant(token.value, module.scope) if token is not None else None
            if token is not None and (known is None or known.value not in {None, ""}):
                yield RULE.finding(
                    token.span,
                    "one fixed token for the whole run: never renewed, and all workers share its 300 calls a minute",
                )


RULE = Rule(
    name="provider-static-token",
    severity=Severity.WARNING,
    subject=Subject.PROVIDER,
    what="A `genesyscloud` provider block sets `access_token`.",
    why=(
        "The provider then mints no tokens of its own. A run that outlives the token fails in the middle with 401, and "
        "the API's limit of 300 calls a minute for each token holds for the whole run instead of for each of ten "
        "workers."
    ),
    fix="set oauthclient_id and oauthclient_secret, by GENESYSCLOUD_OAUTHCLIENT_ID and _SECRET",
    bad={
        "main.tf": 'provider "genesyscloud" {\n  aws_region   = "eu-central-1"\n  access_token = var.genesys_token\n}\n'
    },
    good={
        "main.tf": """\
provider "genesyscloud" {
  aws_region         = "eu-central-1"
  oauthclient_id     = var.genesys_client_id
  oauthclient_secret = var.genesys_client_secret
}
"""
    },
    check=check,
)
