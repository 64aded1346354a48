"""How a configuration means the Genesys Cloud provider: its requirements, its provider blocks, its resources.

Knows: modules, the provider's address. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interlock.genesys import provider as genesys_provider
from interlock.genesys.flow_text import name_of_flow
from interlock.hcl import (
    Literal,
    Module,
    ObjectValue,
    Provider,
    Requirement,
    Resource,
    Template,
    Traversal,
    constant_text,
)
from interlock.source.encoding import as_utf8
from interlock.source.tree import join

_DEFAULT_HOSTS = ("registry.terraform.io", "registry.opentofu.org")
"""Registries whose host Terraform and OpenTofu leave out of an address."""

TYPE = "genesyscloud"
"""The last part of the provider's address, the prefix of its resources and its usual local name."""


def address_of(requirement: Requirement) -> tuple[str, str] | None:
    """Return host and `namespace/type` of a requirement's source, in lower case; host is empty for the default ones.

    None when no source is set or it is not a literal.
    """
    text = constant_text(requirement.source)
    if text is None:
        return None
    parts = text.strip().lower().split("/")
    host = "/".join(parts[:-2])
    return ("" if host in _DEFAULT_HOSTS else host), "/".join(parts[-2:])


def requirements(module: Module) -> Iterator[Requirement]:
    """Yield the requirements that mean the Genesys Cloud provider: by their source, else by their name."""
    for requirement in module.requirements:
        address = address_of(requirement)
        kind = address[1].rpartition("/")[2] if address else requirement.name
        if kind == TYPE:
            yield requirement


def local_names(module: Module) -> frozenset[str]:
    """Return the names under which a module knows the provider; `genesyscloud` unless another source took it."""
    named = {requirement.name for requirement in requirements(module)}
    others = {requirement.name for requirement in module.requirements} - named
    return frozenset(named | ({TYPE} - others))


def providers(module: Module) -> Iterator[Provider]:
    """Yield a module's configurations of the provider."""
    names = local_names(module)
    return (provider for provider in module.providers if provider.name in names)


def resources(module: Module, *, mode: str = "managed") -> Iterator[Resource]:
    """Yield a module's own resources of the provider, by the prefix of their type."""
    prefix = f"{TYPE}_"
    return (resource for resource in module.resources if resource.mode == mode and resource.type.startswith(prefix))


def flow_file(module: Module, resource: Resource) -> str:
    """Return the path of the file that a flow is made from; empty when it is not certain."""
    value = resource.body.get("filepath")
    parts = value.parts if isinstance(value, Template) else () if value is None else (value,)
    texts = [
        "" if isinstance(part, Traversal) and part.root == "path" else constant_text(part, module.scope)
        for part in parts
    ]
    name = "".join(text for text in texts if text is not None)
    if None in texts or not name or "://" in name:
        return ""
    return join(module.path, name.lstrip("/") if isinstance(parts[0], Traversal) else name)


def name_of(module: Module, resource: Resource, texts: Mapping[str, bytes]) -> str | None:
    """Return the certain name of a resource; a flow's stands in its YAML."""
    given = constant_text(resource.body.get("name"), module.scope)
    if given is not None or resource.type != f"{TYPE}_flow" or resource.mode != "managed":
        return given
    content = texts.get(flow_file(module, resource), b"")
    return name_of_flow(as_utf8(content).decode("utf-8", "replace"), _substitutions(module, resource)) or None


def _substitutions(module: Module, resource: Resource) -> dict[str, str]:
    given = resource.body.get("substitutions")
    pairs = given.items if isinstance(given, ObjectValue) else ()
    found = ((key, constant_text(value, module.scope)) for key, value in pairs)
    return {str(key.value): text for key, text in found if isinstance(key, Literal) and text is not None}


def is_entry(module: Module, place: str) -> bool:
    """Say whether a module is meant to be run itself: it configures a provider or says where its state is.

    A root of the sources need not be one: a shared module that nobody calls here is no place for a backend.

    Args:
        module: A root of the sources.
        place: Where it is within its checkout (`Sources.place`), never its path as spelled: a checkout may well be in a
            folder called `test`.
    """
    shared = {"modules", "examples", "example", "tests", "test", "testdata", "fixtures"} & set(place.split("/"))
    return bool(module.providers or module.backend) and not shared


def text_of(module: Module, path: str) -> bytes:
    """Return the content of one of a module's files; empty when it has no such file."""
    return next((file.content for file in module.files if file.path == path), b"")


def official_source() -> str:
    """Return the address to write: `mypurecloud/genesyscloud`."""
    return genesys_provider.source_address()
