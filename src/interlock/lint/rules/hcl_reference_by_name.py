"""A lookup by name of something that this configuration creates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from interlock.genesys import Origin, references_of
from interlock.hcl import (
    Literal,
    Module,
    Reference,
    Resource,
    constant_text,
    elements,
    find_values,
    references,
    target_of,
)
from interlock.lint import organisation
from interlock.lint.editing import remove_lines, replace
from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

_NAMES = ("name", "email", "title")
"""Arguments by which a data source finds its object, when it has them."""

_INSTANCES = ("count", "for_each")

Managed: TypeAlias = dict[str, list[tuple[Module, Resource]]]
"""The managed resources of a root and its local modules, by type."""

Texts: TypeAlias = Mapping[str, bytes]
"""The files that were read, by path."""


def check(sources: Sources) -> Iterator[Finding]:
    """Yield data sources and attributes that name a managed object by its literal name."""
    for root in sources.modules:
        modules = tuple(root.walk())
        managed: Managed = {}
        for module in modules:
            for item in organisation.resources(module):
                managed.setdefault(item.type, []).append((module, item))
        for module in modules:
            for data in organisation.resources(module, mode="data"):
                for finding, home in _lookup(module, data, managed, sources.texts):
                    if not _call_waits(modules, module, home):
                        yield finding
            for resource in organisation.resources(module):
                yield from _named(resource, managed)


def _lookup(
    module: Module, data: Resource, managed: Managed, texts: Mapping[str, bytes]
) -> Iterator[tuple[Finding, Module]]:
    """Yield a data source that finds a resource of the same root, with its module, unless it waits for it itself."""
    for home, resource in managed.get(data.type, ()):
        if _finds(module, data, home, resource, texts) and not _waits(data, resource):
            same = home is module
            where = resource.key if same else f"{resource.key} in {home.path}"
            advice = f"use {resource.key}.id" if same else f"pass the id out of {home.path} as an output"
            found = RULE.finding(
                data.block.header,
                f"this looks up what {where} creates: on the first run it does not exist yet, and later "
                "Terraform sees no dependency",
                fix=advice,
                edits=tuple(_edits(module, data, resource)) if same else (),
            )
            yield found, home
            return


def _call_waits(modules: tuple[Module, ...], reader: Module, home: Module) -> bool:
    """Say whether a call that leads to the reader waits, by `depends_on`, for one that leads to the other module."""
    for module in modules:
        leading = {call.name for call in module.calls if call.module is not None and home in call.module.walk()}
        for call in module.calls:
            if call.module is not None and reader in call.module.walk():
                named = (target_of(traversal) for traversal in call.depends_on)
                if any(found is not None and found[0].removeprefix("module.") in leading for found in named):
                    return True
    return False


def _finds(module: Module, data: Resource, home: Module, resource: Resource, texts: Mapping[str, bytes]) -> bool:
    """Say whether a data source's literal arguments are all those of a resource, a name among them."""
    by_name = False
    for name, attribute in data.body.attributes.items():
        if name in {"depends_on", "provider", *_INSTANCES}:
            continue
        wanted = constant_text(attribute.value, module.scope)
        given = (
            organisation.name_of(home, resource, texts)
            if name == "name"
            else constant_text(resource.body.get(name), home.scope)
        )
        if wanted is None or (name in resource.body.attributes and wanted != given):
            return False
        by_name = by_name or (name in _NAMES and wanted == given)
    return by_name and data.provider == resource.provider


def _waits(data: Resource, resource: Resource) -> bool:
    return any(reference.target == resource.key for reference in references(data.body))


def _edits(module: Module, data: Resource, resource: Resource) -> Iterator[Edit]:
    """Yield the edits that put the resource in the data source's place; none when an instance key is involved."""
    uses = tuple(_uses(module, data.key))
    plain = not any(name in item.body.attributes for item in (data, resource) for name in _INSTANCES)
    if not plain or any(use.attribute != ("id",) for use in uses):
        return
    for use in uses:
        yield replace(use.span, f"{resource.key}.id")
    yield remove_lines(data.block.span, organisation.text_of(module, data.block.span.path))


def _uses(module: Module, key: str) -> Iterator[Reference]:
    """Yield every place of a module that names a data source."""
    for file in module.files:
        for reference in references(file.body):
            if reference.target == key:
                yield reference


def _named(resource: Resource, managed: Managed) -> Iterator[Finding]:
    """Yield attributes that hold the name of a managed object as text."""
    for reference in references_of(resource.type):
        if reference.origin is not Origin.BY_NAME:
            continue
        for value in find_values(resource.body, reference.attribute):
            for item in elements(value):
                target = _target(item.value, reference.targets, managed) if isinstance(item, Literal) else None
                if target is not None and target is not resource:
                    yield RULE.finding(
                        item.span,
                        f"{reference.attribute} names {target.key} as text: Terraform sees no dependency",
                        fix=f"write {target.key}.name",
                    )


def _target(name: object, types: tuple[str, ...], managed: Managed) -> Resource | None:
    for home, resource in (item for kind in types for item in managed.get(kind, ())):
        if name and constant_text(resource.body.get("name"), home.scope) == name:
            return resource
    return None


RULE = Rule(
    name="reference-by-name",
    severity=Severity.WARNING,
    subject=Subject.RESOURCES,
    what="A data source looks up, or an attribute names as text, an object that the same configuration manages.",
    why=(
        "On the first run the data source is read before the object exists, and the plan fails or waits in vain. Later "
        "a renamed object is looked up under its old name, and on destroy the order is wrong."
    ),
    fix="refer to the resource itself",
    bad={
        "main.tf": """\
resource "genesyscloud_routing_skill" "billing" {
  name = "Billing"
}

data "genesyscloud_routing_skill" "billing" {
  name = "Billing"
}
"""
    },
    good={
        "main.tf": """\
resource "genesyscloud_routing_skill" "billing" {
  name = "Billing"
}

output "billing_skill" {
  value = genesyscloud_routing_skill.billing.id
}
"""
    },
    fixable=True,
    check=check,
)
