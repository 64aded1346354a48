"""Attributes that providers' schemas call sensitive: Terraform before 1.15 does not mark them in a state."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Final

import msgspec

_SEP: Final = "."


class _Table(msgspec.Struct):
    attributes: dict[str, list[str]]


@cache
def _places() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    raw = resources.files(__package__).joinpath("data", "sensitive.json").read_bytes()
    table = msgspec.json.decode(raw, type=_Table)
    return {kind: tuple(tuple(path.split(_SEP)) for path in paths) for kind, paths in table.attributes.items()}


def secret_places(kind: str) -> tuple[tuple[str, ...], ...]:
    """Return the places which a resource type's schema calls sensitive, each as the names on the way, without indexes.

    Args:
        kind: Resource type, such as `random_password`.
    """
    return _places().get(kind, ())
