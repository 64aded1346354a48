"""How a configuration means the Genesys Cloud provider: its requirements, its provider blocks, its resources.

Knows: modules, the provider's address. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.genesys import provider as genesys_provider
from interlock.hcl import Module, Provider, Requirement, Resource, constant_text

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
