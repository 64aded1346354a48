"""A provider version that may be any, or that is too old for what is used."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.genesys import provider as genesys_provider
from interlock.hcl import Block, Constraint, Module, Requirement, constant_text, parse_constraint, parse_release
from interlock.lint import organisation
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_REFRESH_SINCE = (1, 34, 0)
"""Before, a run longer than its token's life failed with 401 (docs/facts/genesys.md#genesys-22)."""


def check(sources: Sources) -> Iterator[Finding]:
    """Yield requirements that pin nothing, and those that exclude something the configuration uses."""
    roots = {module.path for module in sources.modules}
    for module in sources.all_modules():
        for requirement in organisation.requirements(module):
            text = constant_text(requirement.version)
            constraint = parse_constraint(text) if text is not None else None
            is_root = module.path in roots and organisation.is_entry(module, sources.place(module))
            if is_root and not _is_locked(module, requirement):
                yield from _unpinned(requirement, text, constraint)
            if constraint is not None and requirement.version is not None:
                yield from _too_old(module, requirement, constraint)


def _unpinned(requirement: Requirement, text: str | None, constraint: Constraint | None) -> Iterator[Finding]:
    if requirement.version is None:
        yield RULE.finding(requirement.name_span, "no version and no lock file: every init may bring another provider")
    elif constraint is not None and not constraint.is_bounded:
        message = f'"{text}" has no upper end and there is no lock file: every init may bring another provider'
        yield RULE.finding(requirement.version.span, message)


def _too_old(module: Module, requirement: Requirement, constraint: Constraint) -> Iterator[Finding]:
    """Yield what needs a newer provider than the requirement admits, or than the lock file holds."""
    version = requirement.version
    if version is None:
        return
    locked = parse_release(_locked(module, requirement) or "")
    for what, since in _features(module):
        admitted = locked >= since if locked else constraint.admits_from(since)
        if not admitted:
            newest = ".".join(map(str, since))
            have = ".".join(map(str, locked)) if locked else constant_text(version)
            yield RULE.finding(version.span, f"{what} needs {newest}, and this is {have}", fix=f'write "~> {newest}"')


def _features(module: Module) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield what the module uses of the provider, each with the version that brought it."""
    seen: set[str] = set()
    for provider in organisation.providers(module):
        yield from _arguments(provider.block, seen)
    if any(True for _ in organisation.providers(module)):
        yield "renewing the token of a long run", _REFRESH_SINCE


def _arguments(block: Block, seen: set[str]) -> Iterator[tuple[str, tuple[int, int, int]]]:
    used = set(block.body.attributes) | {nested.type for nested in block.body.nested}
    for name, argument in genesys_provider.arguments().items():
        since = parse_release(argument.since) if argument.since else None
        if name in used and name not in seen and since is not None:
            seen.add(name)
            yield name, since


def _is_locked(module: Module, requirement: Requirement) -> bool:
    return _locked(module, requirement) is not None


def _locked(module: Module, requirement: Requirement) -> str | None:
    """Return the provider's version in the module's dependency lock file."""
    address = organisation.address_of(requirement)
    name = address[1] if address else organisation.official_source()
    return next((version for key, version in module.locked.items() if key.endswith(f"/{name}")), None)


RULE = Rule(
    name="provider-version",
    severity=Severity.WARNING,
    subject=Subject.PROVIDER,
    what=(
        "A root module requires the Genesys Cloud provider without an upper bound and has no `.terraform.lock.hcl`, or "
        "requires a version older than an argument that it uses."
    ),
    why=(
        "The provider is released every few weeks. Two runs on one day can then plan with two versions, and a state "
        "written by the newer one may be unreadable for the older. An argument that the required version does not "
        "have yet is refused."
    ),
    fix='pin it, such as `version = "~> 1.84"`, and commit .terraform.lock.hcl',
    bad={
        "main.tf": """\
terraform {
  backend "http" {}
  required_providers {
    genesyscloud = {
      source  = "mypurecloud/genesyscloud"
      version = ">= 1.6.0"
    }
  }
}

provider "genesyscloud" {}
"""
    },
    good={
        "main.tf": """\
terraform {
  backend "http" {}
  required_providers {
    genesyscloud = {
      source  = "mypurecloud/genesyscloud"
      version = "~> 1.84"
    }
  }
}

provider "genesyscloud" {}
"""
    },
    check=check,
)
