"""A backend block with a secret in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interlock.hcl import Backend, Body, Literal, expressions, walk
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.secret import is_secret

_SECRETS: Mapping[str, tuple[str, ...]] = {
    "s3": ("secret_key", "token", "sse_customer_key"),
    "azurerm": ("access_key", "client_secret", "sas_token", "client_certificate_password", "oidc_token"),
    "gcs": ("access_token", "encryption_key"),
    "http": ("password",),
    "consul": ("access_token",),
    "kubernetes": ("token", "password", "client_key"),
    "remote": ("token",),
    "cloud": ("token",),
    "cos": ("secret_key", "security_token"),
    "oss": ("secret_key", "security_token"),
    "pg": (),
    "oci": ("private_key", "private_key_password"),
}
"""Arguments that are secrets, by backend type. Source: Terraform internal/backend/remote-state/*/backend.go."""

_URLS: Mapping[str, tuple[str, ...]] = {"pg": ("conn_str",), "http": ("address", "lock_address", "unlock_address")}
"""Arguments that may carry a password inside a URL."""

_ENDPOINTS = ("endpoint", "endpoints", "dynamodb_endpoint")
_LOCAL = ("localhost", "127.0.0.1", "[::1]", "host.docker.internal", "localstack")


def check(sources: Sources) -> Iterator[Finding]:
    """Yield the secrets of backend blocks."""
    for module in sources.all_modules():
        for backend in module.backends:
            if not _is_emulator(backend.body):
                yield from _secrets(backend)


def _secrets(backend: Backend) -> Iterator[Finding]:
    for name in _SECRETS.get(backend.type, ()):
        attribute = backend.body.attributes.get(name)
        if attribute is not None and is_secret(attribute.value):
            message = f"{name} is a secret; whoever reads the repository or .terraform/ has it"
            yield RULE.finding(attribute.span, message)
    for name in _URLS.get(backend.type, ()):
        attribute = backend.body.attributes.get(name)
        if attribute is not None and _has_password(attribute.value):
            yield RULE.finding(attribute.span, f"the URL in {name} carries a password")


def _has_password(value: object) -> bool:
    text = value.value if isinstance(value, Literal) else None
    if not isinstance(text, str) or "://" not in text:
        return False
    user, at, _ = text.partition("://")[2].partition("/")[0].rpartition("@")
    return bool(at and user.partition(":")[2])


def _is_emulator(body: Body) -> bool:
    """Say whether the backend is an emulator on this machine, whose credentials are not secret."""
    values = (value for path, value in expressions(body) if path.partition(".")[0] in _ENDPOINTS)
    texts = (part.value for value in values for part in walk(value) if isinstance(part, Literal))
    return any(name in text for text in texts if isinstance(text, str) for name in _LOCAL)


RULE = Rule(
    name="backend-credentials-in-config",
    severity=Severity.ERROR,
    subject=Subject.BACKEND,
    what="A backend block holds a secret as literal text: a secret key, a token, a password in a URL.",
    why=(
        "A backend block admits no variables, so the secret is in the repository and in its history. Terraform also "
        "copies it into `.terraform/` and into every saved plan file, which CI systems then keep as artifacts."
    ),
    fix="remove it, rotate it, and give it by the environment (AWS_..., TF_HTTP_PASSWORD, PG_CONN_STR) or by OIDC",
    bad={
        "main.tf": """\
terraform {
  backend "http" {
    address  = "https://interlock.example.net/tf/prod"
    username = "ci"
    password = "h7Wq2-example-Zk9"
  }
}
"""
    },
    good={
        "main.tf": """\
terraform {
  backend "http" {
    address  = "https://interlock.example.net/tf/prod"
    username = "ci"
  }
}
"""
    },
    check=check,
)
