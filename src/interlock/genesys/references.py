"""Which attribute of which resource type holds the id of which other type.

Source: data/references.json, read from the provider's exporters. Attribute paths have dots between nested blocks
and no indexes; a trailing `.*` stands for every key of a map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache

from interlock.genesys.tables import Meta, load_table


class Origin(Enum):
    """Why we believe a reference."""

    DECLARED = "declared"
    """The provider's exporter says so."""
    UNDECLARED = "undeclared"
    """Inferred from name and description; the provider does not say."""
    BY_NAME = "by-name"
    """The attribute holds a name, not an id."""
    OPAQUE = "opaque"
    """The attribute holds a document or a map that may name such objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One attribute that points at other objects.

    Attributes:
        source: Resource type that has the attribute.
        attribute: Path of the attribute.
        targets: Resource types it may point at.
        literals: Values that are not ids, such as `*`.
        origin: Why we believe it.
    """

    source: str
    attribute: str
    targets: tuple[str, ...]
    literals: tuple[str, ...] = ()
    origin: Origin = Origin.DECLARED


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque:
    """An attribute whose references the provider cannot see, or only in part.

    Attributes:
        kind: `file`, `map`, `json` or the like.
        format: Of the content, where known.
        may_reference: Resource types that the content may name.
        why: What is hidden.
    """

    kind: str = ""
    format: str = ""
    may_reference: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupling:
    """An order of work that no id tells: `source` needs `target` although nothing references it."""

    source: str
    attribute: str
    target: str
    target_attributes: tuple[str, ...]
    how: str
    evidence: str


_Attributes = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    meta: Meta
    references: dict[str, dict[str, tuple[str, ...]]]
    literals: dict[str, dict[str, tuple[str, ...]]]
    opaque: dict[str, dict[str, Opaque]]
    undeclared: dict[str, dict[str, tuple[str, ...]]]
    by_name: dict[str, dict[str, tuple[str, ...]]]
    value_couplings: tuple[Coupling, ...]
    architect_dependency_types: dict[str, str]


@cache
def _table() -> _Table:
    return load_table("references", _Table)


def resource_types() -> frozenset[str]:
    """Every resource type that the provider registers."""
    return frozenset(_table().references)


@cache
def references_of(resource_type: str) -> tuple[Reference, ...]:
    """Every attribute of the type that points at other objects, declared ones first; empty for an unknown type."""
    table = _table()
    found = (
        *_rows(table.references, Origin.DECLARED, resource_type),
        *_rows(table.undeclared, Origin.UNDECLARED, resource_type),
        *_rows(table.by_name, Origin.BY_NAME, resource_type),
    )
    return found + tuple(
        Reference(source=resource_type, attribute=path, targets=each.may_reference, origin=Origin.OPAQUE)
        for path, each in table.opaque.get(resource_type, {}).items()
    )


def _rows(section: _Attributes, origin: Origin, resource_type: str) -> tuple[Reference, ...]:
    literals = _table().literals.get(resource_type, {})
    return tuple(
        Reference(source=resource_type, attribute=path, targets=targets, literals=literals.get(path, ()), origin=origin)
        for path, targets in section.get(resource_type, {}).items()
    )


@cache
def referrers_of(resource_type: str) -> tuple[Reference, ...]:
    """Every attribute of any type that may point at objects of this type, opaque ones excepted."""
    return tuple(
        reference
        for source in sorted(_table().references)
        for reference in references_of(source)
        if resource_type in reference.targets and reference.origin is not Origin.OPAQUE
    )


def opaque_attributes(resource_type: str) -> Mapping[str, Opaque]:
    """Attributes of the type that may name objects inside their content, by path."""
    return _table().opaque.get(resource_type, {})


def value_couplings() -> tuple[Coupling, ...]:
    """Orders of work that no id tells."""
    return _table().value_couplings


def architect_object_type(name: str) -> str | None:
    """The resource type that an object type of the Architect dependency-tracking API means."""
    return _table().architect_dependency_types.get(name.upper())
