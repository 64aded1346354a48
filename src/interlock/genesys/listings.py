"""Where the organisation lists its objects, by resource type. Source: data/listings.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from interlock.genesys.tables import Meta, load_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How the objects of one type are listed.

    Attributes:
        path: Below `/api/v2`.
        page_size: Entities a page.
        name: The field that holds the name which people know.
        query: Further parameters.
        generates: Terraform can generate a whole configuration of an imported object.
        needs: What a person must add to a configuration, for people; empty when nothing.
    """

    path: str
    page_size: int = 100
    name: str = "name"
    query: Mapping[str, str] = field(default_factory=dict)
    generates: bool = True
    needs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    field: str
    value: bool | str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    meta: Meta
    passed_over: tuple[_Mark, ...]
    types: dict[str, Listing]


@cache
def _table() -> _Table:
    return load_table("listings", _Table)


def listed_types() -> tuple[str, ...]:
    """Return the resource types whose objects can be listed, in order of name."""
    return tuple(sorted(_table().types))


def find_listing(resource_type: str) -> Listing | None:
    """Return how objects of a type are listed, None when that is not known."""
    return _table().types.get(resource_type)


def is_passed_over(entity: Mapping[str, Any]) -> bool:
    """Say whether an entity of a listing is the vendor's own, or deleted."""
    return any(entity.get(mark.field) == mark.value for mark in _table().passed_over)
