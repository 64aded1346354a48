"""Attributes and blocks that go to the API and come back unchanged, each under the API's own name.

For what the real provider has besides the things that its code does something about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tf.schema import Attribute

from .shapes import Blocks, Text, defaulted, optional
from .shapes import settled as settled_attribute

State: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One attribute or block.

    Attributes:
        name: Of the attribute.
        path: Where it is in the API's object; two names for a reference (`queueFlow`, `id`).
        kind: Its type; text unless said.
        default: What it is when it is not set; None for nothing.
        settled: The API chooses it when it is not set.
        inside: For blocks and objects, each attribute's name in the API; empty for plain values.
        block: The blocks themselves; None for an attribute.
        by_id: A map of ids, which the API has as a map of objects with an id.
        single: A list of at most one object, which the API has without a list; blocks say so themselves.
    """

    name: str
    path: tuple[str, ...]
    kind: Any = field(default_factory=Text)
    default: Any = None
    settled: bool = False
    inside: Mapping[str, str] = field(default_factory=dict)
    block: Blocks | None = None
    single: bool = False
    by_id: bool = False

    @property
    def field(self) -> Attribute | Blocks:
        """What Terraform is told of it."""
        if self.block is not None:
            return self.block
        if self.default is not None:
            return defaulted(self.name, self.kind, self.default)
        return settled_attribute(self.name, self.kind) if self.settled else optional(self.name, self.kind)

    def body(self, wanted: State) -> State:
        """Return the part of a request body that holds it; empty when it is not set."""
        value = wanted.get(self.name)
        if not isinstance(value, str | int | float | list | dict) or value in ("", []):
            return {}
        return _nested(self.path, self._sent(value))

    def state(self, answer: State) -> State:
        """Return the attribute as the API's object has it."""
        value: Any = answer
        for name in self.path:
            value = value.get(name) if isinstance(value, dict) else None
        return {self.name: self._kept(value)}

    def _sent(self, value: Any) -> Any:
        if self.by_id:
            return {name: {"id": each} for name, each in value.items()}
        if not self.inside:
            return value
        items = [
            {self.inside[name]: each for name, each in item.items() if name in self.inside and each is not None}
            for item in value
        ]
        return items[0] if self._is_single else items

    def _kept(self, value: Any) -> Any:
        if self.by_id:
            return {name: each["id"] for name, each in (value or {}).items()} or None
        if not self.inside:
            return self.default if value is None else value
        items = ([value] if value else []) if self._is_single else value or []
        return [{name: item.get(theirs) for name, theirs in self.inside.items()} for item in items]

    @property
    def _is_single(self) -> bool:
        return self.single or (self.block is not None and self.block.max_items == 1)


def bodies(parts: Iterable[Part], wanted: State) -> State:
    """Return what all parts have to say in a request body."""
    merged: State = {}
    for part in parts:
        _merge(merged, part.body(wanted))
    return merged


def states(parts: Iterable[Part], answer: State) -> State:
    """Return all parts as the API's object has them."""
    return {name: value for part in parts for name, value in part.state(answer).items()}


def _merge(into: State, more: State) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def _nested(path: tuple[str, ...], value: Any) -> State:
    for name in reversed(path):
        value = {name: value}
    nested: State = value
    return nested
