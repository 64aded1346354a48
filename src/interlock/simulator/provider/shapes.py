"""Attribute shapes that the `tf` package lacks: objects, and text and sets for which absent and empty are the same.

The real provider is built on an SDK whose small inconsistencies Terraform forgives; a provider on the newer protocol
gets no such pardon. So what was configured is kept as it was spelled as long as the API means the same by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tf.gen import tfplugin_pb2 as pb
from tf.schema import Attribute, Block, NestedBlock, NestMode
from tf.types import Bool, List, Map, Number, Set, String, Unknown


class Text(String):  # type: ignore[misc]  # the tf package ships no types
    """A string; absent and empty are the same."""

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        """See `tf.types.TfType`."""
        if Unknown in (a_decoded, b_decoded):
            return a_decoded is b_decoded
        return (a_decoded or "") == (b_decoded or "")


class Object(String):  # type: ignore[misc]  # as above
    """An object with fixed fields.

    Args:
        fields: Their types.
        defaults: What an absent field means.
    """

    def __init__(self, fields: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
        self._fields = fields
        self._defaults = defaults or {}

    def encode(self, value: Any) -> Any:
        """See `tf.types.TfType`."""
        if value is None or value is Unknown:
            return value
        return {name: kind.encode(value.get(name)) for name, kind in self._fields.items()}

    def decode(self, value: Any) -> Any:
        """See `tf.types.TfType`."""
        if value is None or value is Unknown:
            return value
        return {name: kind.decode(value.get(name)) for name, kind in self._fields.items()}

    def tf_type(self) -> bytes:
        """See `tf.types.TfType`."""
        inside = b",".join(b'"' + name.encode() + b'":' + kind.tf_type() for name, kind in self._fields.items())
        return b'["object",{' + inside + b"}]"

    def full(self, value: Any) -> Any:
        """Return the object with its defaults filled in, for comparison."""
        if not isinstance(value, dict):
            return value
        filled = {name: self._defaults.get(name) if value.get(name) is None else value[name] for name in self._fields}
        return {name: _plain(item) for name, item in filled.items()}


class Texts(Set):  # type: ignore[misc]  # as above
    """A set of strings; absent and empty are the same."""

    def __init__(self) -> None:
        super().__init__(String())

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        """See `tf.types.TfType`."""
        return _same(a_decoded, b_decoded, lambda item: item, ordered=False)


class TextList(List):  # type: ignore[misc]  # as above
    """A list of strings; absent and empty are the same."""

    def __init__(self) -> None:
        super().__init__(String())

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        """See `tf.types.TfType`."""
        return _same(a_decoded, b_decoded, lambda item: item, ordered=True)


class Objects(Set):  # type: ignore[misc]  # as above
    """A set of objects; absent and empty are the same, and so are an absent field and its default."""

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        """See `tf.types.TfType`."""
        return _same(a_decoded, b_decoded, self.element_type.full, ordered=False)


class ObjectList(List):  # type: ignore[misc]  # as above
    """A list of objects, compared like `Objects` but in order."""

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        """See `tf.types.TfType`."""
        return _same(a_decoded, b_decoded, self.element_type.full, ordered=True)


def required(name: str, kind: Any = None, *, replaces: bool = False) -> Attribute:
    """Return an attribute that must be set."""
    return Attribute(name, kind or Text(), required=True, requires_replace=replaces)


def optional(name: str, kind: Any = None, *, replaces: bool = False, sensitive: bool = False) -> Attribute:
    """Return an attribute that stays null when it is not set."""
    return Attribute(name, kind or Text(), optional=True, requires_replace=replaces, sensitive=sensitive)


class Defaulted(Attribute):  # type: ignore[misc]  # as above
    """An attribute with a fixed default, which Terraform is told to be optional alone, as the real SDK tells it."""

    def to_pb(self) -> Any:
        """See `tf.schema.Attribute`."""
        message = super().to_pb()
        message.computed = False
        return message


class Blocks(NestedBlock):  # type: ignore[misc]  # as above
    """Blocks of one name: in order, or a set of them; it stands among a type's fields like an attribute.

    Args:
        name: Of the block.
        inside: Attributes, and blocks one level deeper.
        ordered: A list, else a set.
        least: Blocks that there must be.
        most: Blocks that there may be; 0 for any number.
        settled: What the API says counts where there is no block, as the real SDK's computed blocks.
        defaults: What an absent attribute means.
    """

    def __init__(
        self,
        name: str,
        *inside: Attribute | NestedBlock,
        ordered: bool = True,
        least: int = 0,
        most: int = 0,
        settled: bool = False,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        parts = Block(
            attributes=[each for each in inside if isinstance(each, Attribute)],
            block_types=[each for each in inside if isinstance(each, NestedBlock)],
        )
        super().__init__(name, NestMode.Set, parts, least or None, most or None)
        self.name = name
        self.type = self
        self.ordered = ordered
        self.settled = settled
        self._defaults = dict(defaults or {})

    def to_pb(self) -> Any:
        """See `tf.schema.NestedBlock`."""
        modes = pb.Schema.NestedBlock.NestingMode
        return pb.Schema.NestedBlock(
            type_name=self.type_name,
            block=self.block.to_pb(),
            min_items=self.min_items,
            max_items=self.max_items,
            nesting=modes.LIST if self.ordered else modes.SET,
        )

    def encode(self, value: Any) -> Any:
        """See `tf.schema.NestedBlock`."""
        if value is Unknown:
            return value
        return [{name: kind.encode(item.get(name)) for name, kind in self._kinds()} for item in value or []]

    def decode(self, value: Any) -> Any:
        """See `tf.schema.NestedBlock`."""
        if value is None or value is Unknown:
            return value
        return [{name: _decoded(kind, item.get(name)) for name, kind in self._kinds()} for item in value]

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        """See `tf.schema.NestedBlock`: absent and empty are the same, and an absent attribute and its default."""
        return _same(a_decoded, b_decoded, self._full, ordered=self.ordered)

    def _kinds(self) -> list[tuple[str, Any]]:
        return [(each.name, each.type) for each in (*self.block.attributes, *self.block.block_types)]

    def _full(self, item: Any) -> Any:
        filled = {name: self._defaults.get(name) if item.get(name) is None else item[name] for name, _ in self._kinds()}
        return {name: _plain(value) for name, value in filled.items()}


def _decoded(kind: Any, value: Any) -> Any:
    return value if value is Unknown else kind.decode(value)


def defaulted(name: str, kind: Any, default: Any) -> Attribute:
    """Return an attribute with a fixed default."""
    return Defaulted(name, kind, optional=True, computed=True, default=default)


def settled(name: str, kind: Any = None) -> Attribute:
    """Return an attribute that the API chooses when it is not set."""
    return Attribute(name, kind or Text(), optional=True, computed=True)


def computed(name: str, kind: Any = None) -> Attribute:
    """Return an attribute that only the API sets."""
    return Attribute(name, kind or Text(), computed=True)


FLAG = Bool()
NUMBER = Number()
TEXT_MAP = Map(String())


def _same(first: Any, second: Any, full: Any, *, ordered: bool) -> bool:
    if first is Unknown or second is Unknown:
        return first is second
    left, right = [full(item) for item in first or []], [full(item) for item in second or []]
    if ordered:
        return left == right
    return len(left) == len(right) and all(item in right for item in left) and all(item in left for item in right)


def _plain(value: Any) -> Any:
    """Spell numbers one way, and empty as absent."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return [_plain_inside(item) for item in value] or None
    return value or None


def _plain_inside(value: Any) -> Any:
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else _plain(value)
