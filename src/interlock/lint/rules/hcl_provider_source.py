"""The Genesys Cloud provider asked for at an address where it is not."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.hcl import Module, Requirement
from interlock.lint import organisation
from interlock.lint.editing import replace
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.source.tree import Span


def check(sources: Sources) -> Iterator[Finding]:
    """Yield wrong sources, and modules that use the provider without saying where it comes from."""
    run = {
        module.path
        for root in sources.modules
        if organisation.is_entry(root, sources.place(root))
        for module in root.walk()
    }
    for module in sources.all_modules():
        found = tuple(organisation.requirements(module))
        for requirement in found:
            yield from _wrong(requirement)
        place = None if found or not module.is_whole or module.path not in run else _first_use(module)
        if place is not None:
            yield RULE.finding(
                place,
                "no required_providers entry here: Terraform looks for hashicorp/genesyscloud, which does not exist",
            )


def _wrong(requirement: Requirement) -> Iterator[Finding]:
    address = organisation.address_of(requirement)
    right = organisation.official_source()
    if address is None and requirement.source is None:
        message = "no source: Terraform looks for hashicorp/genesyscloud, which does not exist"
        yield RULE.finding(requirement.span, message)
    elif address is not None and requirement.source is not None and not address[0] and address[1] != right:
        yield RULE.finding(
            requirement.source.span,
            f'the provider is not published as "{address[1]}"; init fails, or fetches something else',
            edits=_edits(requirement, right),
        )


def _edits(requirement: Requirement, right: str) -> tuple[Edit, ...]:
    return () if requirement.source is None else (replace(requirement.source.span, f'"{right}"'),)


def _first_use(module: Module) -> Span | None:
    """Return where a module uses the provider: its configuration, else its first resource or data source."""
    if organisation.TYPE not in organisation.local_names(module):
        return None
    blocks = [provider.block for provider in organisation.providers(module)]
    blocks += [resource.block for mode in ("managed", "data") for resource in organisation.resources(module, mode=mode)]
    return blocks[0].header if blocks else None


RULE = Rule(
    name="provider-source",
    severity=Severity.ERROR,
    subject=Subject.PROVIDER,
    what="The Genesys Cloud provider is required from another address than `mypurecloud/genesyscloud`, or from none.",
    why=(
        "The vendor publishes it under `mypurecloud`; `hashicorp/genesyscloud` does not exist. "
        "Without an entry Terraform assumes `hashicorp`. Each module that uses the provider must say so itself."
    ),
    fix='write `source = "mypurecloud/genesyscloud"` in required_providers',
    bad={
        "main.tf": """\
terraform {
  required_providers {
    genesyscloud = {
      source  = "hashicorp/genesyscloud"
      version = "~> 1.84"
    }
  }
}
"""
    },
    good={
        "main.tf": """\
terraform {
  required_providers {
    genesyscloud = {
      source  = "mypurecloud/genesyscloud"
      version = "~> 1.84"
    }
  }
}
"""
    },
    fixable=True,
    check=check,
)
