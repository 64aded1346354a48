"""A dependency that the text shows and Terraform does not see."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TypeAlias

from interlock.genesys import Origin, references_of
from interlock.genesys.references import Coupling, value_couplings
from interlock.hcl import (
    Expression,
    ListValue,
    Literal,
    Module,
    ObjectValue,
    Resource,
    constant_text,
    edges,
    elements,
    find_values,
)
from interlock.lint import organisation
from interlock.lint.editing import add_to_block
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.rules.hcl_dependency_cycle import MAX_EDGES
from interlock.source.tree import Span

_MIN_NAME = 3  # characters; a shorter text equals a name by chance
_RANGE = 2  # a pool's two ends


Managed: TypeAlias = dict[tuple[str, str | None], list[Resource]]
"""The managed resources of one module by type and name."""

Hidden: TypeAlias = tuple[Span, str, Resource, str]
"""Place, text, the resource that is meant, and how."""


def check(sources: Sources) -> Iterator[Finding]:
    """Yield texts that name managed objects, and numbers that lie in managed pools, without an edge between them."""
    for root in sources.modules:
        for module in root.walk():
            yield from _module(module)


def _module(module: Module) -> Iterator[Finding]:
    managed: Managed = {}
    for resource in organisation.resources(module):
        managed.setdefault((resource.type, constant_text(resource.body.get("name"), module.scope)), []).append(resource)
    known: dict[str, frozenset[str]] | None = None
    for resource in organisation.resources(module):
        for span, text, target, how in (*_named(resource, managed), *_coupled(module, resource)):
            known = _links(module) if known is None else known
            if not _reaches(known, resource.key, target.key):
                yield _finding(module, resource, target, span, f'"{text}" {how} {target.key}')


def _named(resource: Resource, managed: Managed) -> Iterator[Hidden]:
    """Yield texts in attributes with free content that are the name of a managed object."""
    for reference in references_of(resource.type):
        if reference.origin is Origin.OPAQUE:
            for value in find_values(resource.body, reference.attribute):
                for span, text in _texts(value):
                    target = _with_name(text, reference.targets, managed)
                    if target is not None and target is not resource:
                        yield span, text, target, "is the name of"


def _texts(value: Expression) -> Iterator[tuple[Span, str]]:
    """Yield the plain texts of a value: the members of a map, or the value itself. Keys are not names of objects."""
    for item in elements(value):
        if isinstance(item, ObjectValue):
            for _, member in item.items:
                yield from _texts(member)
        elif isinstance(item, Literal) and isinstance(item.value, str) and len(item.value) >= _MIN_NAME:
            yield item.span, item.value


def _with_name(text: str, types: tuple[str, ...], managed: Managed) -> Resource | None:
    """Return the one resource of that name; None when there is none, or when several share it."""
    found = [resource for kind in types for resource in managed.get((kind, text), ())]
    return found[0] if len(found) == 1 else None


def _coupled(module: Module, resource: Resource) -> Iterator[Hidden]:
    """Yield numbers of a resource that lie in a managed pool."""
    for coupling in value_couplings():
        if coupling.source == resource.type and len(coupling.target_attributes) == _RANGE:
            for value in find_values(resource.body, coupling.attribute):
                for item in elements(value):
                    number = constant_text(item, module.scope)
                    pool = _pool(module, number, coupling) if number else None
                    if pool is not None and number is not None:
                        yield item.span, number, pool, "lies in"


def _pool(module: Module, number: str, coupling: Coupling) -> Resource | None:
    wanted = _digits(number)
    for resource in module.of_type(coupling.target):
        if wanted is not None:
            ends = [
                _digits(constant_text(resource.body.get(name), module.scope)) for name in coupling.target_attributes
            ]
            first, last = ends
            if first is not None and last is not None and first <= wanted <= last:
                return resource
    return None


def _digits(text: str | None) -> tuple[int, int] | None:
    """Return a number with its length, so that 0100 is not 100; None when the text is not a number."""
    digits = (text or "").removeprefix("tel:").removeprefix("+")
    return (len(digits), int(digits)) if digits.isdecimal() and len(digits) <= 20 else None  # noqa: PLR2004 - E.164 has 15


def _links(module: Module) -> dict[str, frozenset[str]]:
    links: dict[str, set[str]] = {}
    for edge in islice(edges(module), MAX_EDGES):
        links.setdefault(edge.source, set()).add(edge.target)
    return {source: frozenset(targets) for source, targets in links.items()}


def _reaches(links: dict[str, frozenset[str]], source: str, target: str) -> bool:
    seen = {source}
    pending = [source]
    while pending:
        for following in links.get(pending.pop(), ()):
            if following == target:
                return True
            if following not in seen:
                seen.add(following)
                pending.append(following)
    return False


def _finding(module: Module, resource: Resource, target: Resource, span: Span, what: str) -> Finding:
    return RULE.finding(
        span,
        f"{what}, and Terraform sees no dependency of {resource.key} on it",
        fix=f"refer to it, or add depends_on = [{target.key}]",
        edits=tuple(_edits(module, resource, target)),
    )


def _edits(module: Module, resource: Resource, target: Resource) -> Iterator[Edit]:
    """Yield the edit that makes the dependency explicit."""
    present = resource.body.get("depends_on")
    if present is None:
        content = organisation.text_of(module, resource.block.span.path)
        edit = add_to_block(resource.block, f"\ndepends_on = [{target.key}]", content)
        if edit is not None:
            yield edit
    elif isinstance(present, ListValue) and present.items:
        end = present.items[-1].span.end
        yield Edit(path=present.span.path, start=end, end=end, text=f", {target.key}")


RULE = Rule(
    name="dependency-hidden",
    severity=Severity.WARNING,
    subject=Subject.RESOURCES,
    what=(
        "A resource names another managed object as plain text, in a flow's substitutions or a script's, or uses a "
        "number out of a managed pool, and nothing in the configuration links the two."
    ),
    why=(
        "Terraform then creates and destroys them in any order. A flow is published before its queue exists, or a "
        "number pool is deleted while an IVR still has its numbers, which the API refuses with 409."
    ),
    fix="refer to the other resource, or name it in depends_on; `interlock deps` finds those that only the state shows",
    bad={
        "main.tf": """\
resource "genesyscloud_telephony_providers_edges_did_pool" "main" {
  start_phone_number = "+13175550000"
  end_phone_number   = "+13175550009"
}

resource "genesyscloud_architect_ivr" "support" {
  name = "Support"
  dnis = ["+13175550004"]
}
"""
    },
    good={
        "main.tf": """\
resource "genesyscloud_telephony_providers_edges_did_pool" "main" {
  start_phone_number = "+13175550000"
  end_phone_number   = "+13175550009"
}

resource "genesyscloud_architect_ivr" "support" {
  name = "Support"
  dnis = ["+13175550004"]

  depends_on = [genesyscloud_telephony_providers_edges_did_pool.main]
}
"""
    },
    fixable=True,
    check=check,
)
