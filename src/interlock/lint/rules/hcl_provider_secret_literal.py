"""A provider's secret in the configuration's text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interlock.genesys import provider as genesys_provider
from interlock.hcl import Body, Expression, Module, Traversal
from interlock.lint import organisation
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.secret import is_secret
from interlock.source.tree import Span

_NESTED: Mapping[str, tuple[str, ...]] = {"gateway": ("auth",), "proxy": ("auth",)}
_MAX_HOPS = 5  # locals that name locals that name a variable


def check(sources: Sources) -> Iterator[Finding]:
    """Yield the literal secrets that end up in provider configurations, where they are written."""
    for module in sources.all_modules():
        for provider in organisation.providers(module):
            for name, value in _secrets(provider.block.body):
                span = _literal(module, value, _MAX_HOPS)
                if span is not None:
                    yield RULE.finding(span, f"{name} of the provider is written here in the clear")


def _secrets(body: Body) -> Iterator[tuple[str, Expression]]:
    """Yield the secret arguments of a provider block with their values."""
    names = [name for name, argument in genesys_provider.arguments().items() if argument.sensitive]
    for name in dict.fromkeys([*names, "access_token", "oauthclient_secret"]):
        value = body.get(name)
        if value is not None:
            yield name, value
    for outer, inner in _NESTED.items():
        for block in body.blocks(outer):
            for kind in inner:
                for auth in block.body.blocks(kind):
                    password = auth.body.get("password")
                    if password is not None:
                        yield f"{outer}.{kind}.password", password


def _literal(module: Module, value: Expression, hops: int) -> Span | None:
    """Return where the literal text stands that a value is, through locals and variable defaults; None for none."""
    if is_secret(value):
        return value.span
    if not isinstance(value, Traversal) or not hops:
        return None
    match value.names():
        case ("local", name) if name in module.locals:
            return _literal(module, module.locals[name].value, hops - 1)
        case ("var", name) if name in module.variables:
            default = module.variables[name].default
            return None if default is None else _literal(module, default, hops - 1)
        case _:
            return None


RULE = Rule(
    name="provider-secret-literal",
    severity=Severity.ERROR,
    subject=Subject.PROVIDER,
    what="A secret of the `genesyscloud` provider is literal text: in its block, in a local or in a default.",
    why=(
        "The OAuth client of a deployment may change everything in the organisation. In a repository its secret is "
        "read by everybody who can read the code, for ever: it stays in the history, and in every fork and saved plan."
    ),
    fix="rotate it, and give it by GENESYSCLOUD_OAUTHCLIENT_SECRET or by a variable without default",
    bad={
        "main.tf": """\
provider "genesyscloud" {
  aws_region         = "eu-central-1"
  oauthclient_id     = "4a6e6f3e-1b1f-4b44-9a54-3d8f7e1c2b90"
  oauthclient_secret = "q3Zr8-example-0pLw7"
}
"""
    },
    good={
        "main.tf": """\
variable "genesys_client_secret" {
  type      = string
  sensitive = true
}

provider "genesyscloud" {
  aws_region         = "eu-central-1"
  oauthclient_id     = "4a6e6f3e-1b1f-4b44-9a54-3d8f7e1c2b90"
  oauthclient_secret = var.genesys_client_secret
}
"""
    },
    check=check,
)
