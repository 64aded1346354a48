"""Attributes that hold secrets by the providers' schemas: Terraform before 1.15 does not mark them in a state.

`data/sensitive.json` says which rows were read from a provider's source, and which were not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

_SEP: Final = "."
_FILE: Final = Path(__file__).parent / "data" / "sensitive.json"  # importlib.resources takes 6 ms to import


class _Table(msgspec.Struct):
    """Resource type to places, by how well each row is known. All of them are hidden."""

    attributes: dict[str, list[str]]
    not_in_schema: dict[str, list[str]]
    not_checked: dict[str, list[str]]


@cache
def _places() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    raw = _FILE.read_bytes()
    table = msgspec.json.decode(raw, type=_Table)
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    for rows in (table.attributes, table.not_in_schema, table.not_checked):
        for kind, paths in rows.items():
            found[kind] = (*found.get(kind, ()), *(tuple(path.split(_SEP)) for path in paths))
    return found


def secret_places(kind: str) -> tuple[tuple[str, ...], ...]:
    """Return the places which a resource type's schema calls sensitive, each as the names on the way, without indexes.

    Args:
        kind: Resource type, such as `random_password`.
    """
    return _places().get(kind, ())
