"""An argument that the Genesys Cloud provider does not have."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from interlock.genesys import provider as genesys_provider
from interlock.genesys.provider import Argument
from interlock.hcl import Attribute, Block, Body
from interlock.lint import organisation
from interlock.lint.editing import remove_lines, replace
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_META = frozenset({"alias", "version", "for_each"})
"""Arguments that belong to Terraform and OpenTofu, not to the provider."""

_INSTEAD: Mapping[str, str] = {
    "refresh_token": "remove it; with oauthclient_id and oauthclient_secret the provider renews its tokens itself",
    "base_url": "remove it; aws_region chooses the host, and a gateway block sends calls elsewhere",
    "concurrency": "remove it; token_pool_size, and terraform's -parallelism, decide how much runs at once",
    "retry_max_attempts": "remove it; retries are fixed (20), custom_retry_timeout limits reads of missing objects",
    "retry_sleep_ms": "remove it; waits are fixed in the provider (1 s to 30 s, or as Retry-After says)",
    "scope": "remove it; the rights come from the roles of the OAuth client",
    "scopes": "remove it; the rights come from the roles of the OAuth client",
    "region": "write aws_region",
    "client_id": "write oauthclient_id",
    "client_secret": "write oauthclient_secret",
    "environment": "write aws_region with the region's name, such as eu-central-1",
}
"""What people write, and what to write instead. Source: docs/facts/genesys.md#genesys-40."""

_RENAMED: Mapping[str, str] = {
    "region": "aws_region",
    "client_id": "oauthclient_id",
    "client_secret": "oauthclient_secret",
}
_NEAR = 0.75  # how alike two names must be to be called a misspelling


def check(sources: Sources) -> Iterator[Finding]:
    """Yield the unknown arguments and blocks of provider configurations."""
    known = genesys_provider.arguments()
    for module in sources.all_modules():
        for provider in organisation.providers(module):
            content = organisation.text_of(module, provider.block.span.path)
            yield from _unknown(provider.block.body, known, content, where="")


def _unknown(body: Body, known: Mapping[str, Argument], content: bytes, *, where: str) -> Iterator[Finding]:
    for attribute in body.attributes.values():
        if attribute.name not in known and not (attribute.name in _META and not where):
            yield _finding(attribute, known, body, content, where)
    for block in body.nested:
        yield from _unknown_block(block, known, content, where)


def _unknown_block(block: Block, known: Mapping[str, Argument], content: bytes, where: str) -> Iterator[Finding]:
    kind = block.labels[0] if block.type == "dynamic" and block.labels else block.type
    if kind not in known:
        near = _nearest(kind, known)
        fix = f"write {near}" if near else f"remove it; the provider has {', '.join(sorted(known))}"
        yield RULE.finding(block.header, f'the provider has no block "{kind}"{where}', fix=fix)
    elif block.type != "dynamic":
        yield from _unknown(block.body, known[kind].block, content, where=f" in {kind}")


def _finding(attribute: Attribute, known: Mapping[str, Argument], body: Body, content: bytes, where: str) -> Finding:
    name = attribute.name
    near = _RENAMED.get(name) or _nearest(name, known)
    wanted = None if near is None or near in body.attributes else near
    edits: tuple[Edit, ...] = ()
    if wanted is not None and name not in genesys_provider.invented_arguments():
        edits = (replace(attribute.name_span, wanted),)
    elif name in genesys_provider.invented_arguments():
        edits = (remove_lines(attribute.span, content),)
    default = f"write {near}" if near else f"remove it; the provider has {', '.join(sorted(known))}"
    return RULE.finding(
        attribute.name_span,
        f'the provider has no argument "{name}"{where}: terraform stops with "Unsupported argument"',
        fix=_INSTEAD.get(name, default),
        edits=edits,
    )


def _nearest(name: str, known: Mapping[str, Argument]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)), None)


RULE = Rule(
    name="provider-unknown-argument",
    severity=Severity.ERROR,
    subject=Subject.PROVIDER,
    what="A `genesyscloud` provider block sets an argument that the provider does not have.",
    why=(
        "Terraform refuses the whole configuration. Many guides show `refresh_token`, `base_url`, `concurrency`, "
        "`retry_max_attempts` and `retry_sleep_ms`; none of them ever existed. Client credentials have no refresh "
        "token, and the provider mints new tokens by itself."
    ),
    fix="use the provider's own arguments",
    bad={"main.tf": 'provider "genesyscloud" {\n  aws_region  = "eu-central-1"\n  concurrency = 5\n}\n'},
    good={"main.tf": 'provider "genesyscloud" {\n  aws_region      = "eu-central-1"\n  token_pool_size = 10\n}\n'},
    fixable=True,
    check=check,
)
