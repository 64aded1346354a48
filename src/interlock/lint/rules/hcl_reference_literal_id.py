"""An id typed by hand where another object is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.genesys import Origin, Reference, references_of
from interlock.hcl import Expression, Literal, Module, Resource, Traversal, elements, find_values
from interlock.lint import organisation
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.source.tree import Span

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""Ids of Genesys Cloud are UUIDs (docs/facts/genesys.md#genesys-29); other text is a name or an alternative value."""

_MAX_HOPS = 5  # locals that name locals


def check(sources: Sources) -> Iterator[Finding]:
    """Yield the literal ids in attributes that the reference table knows."""
    for module in sources.all_modules():
        for resource in organisation.resources(module):
            for reference in references_of(resource.type):
                if reference.origin in {Origin.DECLARED, Origin.UNDECLARED}:
                    yield from _literals(module, resource, reference)


def _literals(module: Module, resource: Resource, reference: Reference) -> Iterator[Finding]:
    wanted = " or ".join(reference.targets)
    for value in find_values(resource.body, reference.attribute):
        for span in _ids(module, value, _MAX_HOPS):
            yield RULE.finding(
                span,
                f"{reference.attribute} of {resource.key} is an id typed by hand; Terraform sees no dependency and "
                "another organisation has another id",
                fix=f"refer to the {wanted} itself, or look it up with a data source",
            )


def _ids(module: Module, value: Expression, hops: int) -> Iterator[Span]:
    """Yield the places of literal ids that a value is, through the module's locals."""
    for item in elements(value):
        if isinstance(item, Literal) and isinstance(item.value, str) and _ID.fullmatch(item.value.strip()):
            yield item.span
        elif isinstance(item, Traversal) and hops and item.root == "local" and len(item.names()) > 1:
            attribute = module.locals.get(item.names()[1])
            if attribute is not None and len(item.steps) == 1:
                yield from _ids(module, attribute.value, hops - 1)


RULE = Rule(
    name="reference-literal-id",
    severity=Severity.WARNING,
    subject=Subject.RESOURCES,
    what="An attribute that holds the id of another object is given a literal id (a UUID).",
    why=(
        "Terraform sees no dependency: it may create or destroy the two in the wrong order. The id is right in one "
        "organisation only, and points at nothing when the object is created anew."
    ),
    fix="refer to the resource, or look the object up with a data source",
    bad={
        "main.tf": """\
resource "genesyscloud_routing_queue" "billing" {
  name        = "Billing"
  division_id = "3f2b8c1e-6d0a-4b57-9a63-0c1d2e3f4a5b"
}
"""
    },
    good={
        "main.tf": """\
data "genesyscloud_auth_division" "service" {
  name = "Service"
}

resource "genesyscloud_routing_queue" "billing" {
  name        = "Billing"
  division_id = data.genesyscloud_auth_division.service.id
}
"""
    },
    check=check,
)
