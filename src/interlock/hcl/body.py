"""Blocks and attributes of one HCL file, with their places.

Knows: files, bodies, blocks, attributes, comments. Knows nothing of Terraform's block types.
A body written in JSON cannot tell blocks from attributes; it holds attributes, and `blocks` reads them as blocks when
asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from msgspec import Struct

from interlock.hcl.expression import Expression, ListValue, Literal, ObjectValue
from interlock.secrecy import PartlyShown
from interlock.source.tree import Span


class Attribute(Struct, frozen=True, kw_only=True):
    """`name = value`. `span` covers all of it, `name_span` the name."""

    name: str
    value: Expression
    span: Span
    name_span: Span


class Block(Struct, frozen=True, kw_only=True):
    """`type "label" { ... }`. `span` covers all of it, `header` the type and its labels, without the brace."""

    type: str
    labels: tuple[str, ...]
    body: Body
    span: Span
    header: Span


class Body(Struct, frozen=True, kw_only=True):
    """What is between two braces, or in a whole file.

    Attributes:
        attributes: By name, in the order in which they are written; of two with one name the first.
        nested: The blocks, in order. Empty for a body written in JSON.
        span: From the first to the last thing inside; an empty body's span is the place between its braces.
        is_json: Whether attributes may have been meant as blocks.
    """

    attributes: Mapping[str, Attribute]
    nested: tuple[Block, ...]
    span: Span
    is_json: bool = False

    def get(self, name: str) -> Expression | None:
        """Return the value of an attribute, or None when it is not set."""
        attribute = self.attributes.get(name)
        return attribute.value if attribute else None

    def blocks(self, kind: str, *, labels: int = 0) -> tuple[Block, ...]:
        """Return the blocks of one type directly inside, those of a JSON body included.

        Args:
            kind: The block type.
            labels: How many labels blocks of this type have; only needed to read JSON.
        """
        if not self.is_json:
            return tuple(block for block in self.nested if block.type == kind)
        attribute = self.attributes.get(kind)
        if attribute is None:
            return ()
        return tuple(_json_blocks(kind, attribute.value, attribute.name_span, labels=labels, given=()))

    def block(self, kind: str, *, labels: int = 0) -> Block | None:
        """Return the first block of one type, or None."""
        return next(iter(self.blocks(kind, labels=labels)), None)


class Comment(Struct, frozen=True, kw_only=True):
    """One comment with its marks (`#`, `//`, `/* */`)."""

    text: str
    span: Span


class Problem(Struct, frozen=True, kw_only=True):
    """Something that keeps a file or module from meaning what it should. Never contains the text of the file."""

    span: Span
    message: str


class File(PartlyShown, frozen=True, kw_only=True):
    """One parsed file. With problems its body holds what could still be read."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"content"})

    path: str
    content: bytes
    body: Body
    comments: tuple[Comment, ...] = ()
    problems: tuple[Problem, ...] = ()


def body_of(value: ObjectValue) -> Body:
    """Return an object value read as a body, as Terraform reads nested blocks in JSON. The key `//` is a comment."""
    members: dict[str, list[tuple[Literal, Expression]]] = {}
    for key, item in value.items:
        if isinstance(key, Literal) and isinstance(key.value, str) and key.value != "//":
            members.setdefault(key.value, []).append((key, item))
    attributes = {name: _member(name, found) for name, found in members.items()}
    return Body(attributes=attributes, nested=(), span=value.span, is_json=True)


def _member(name: str, found: list[tuple[Literal, Expression]]) -> Attribute:
    """Return a member of an object. A name that stands there more than once means all of its blocks, as a list does."""
    key, value = found[0]
    if len(found) > 1:
        value = ListValue(span=value.span, items=tuple(item for _, item in found))
    return Attribute(name=name, value=value, span=key.span, name_span=key.span)


def expressions(body: Body) -> Iterator[tuple[str, Expression]]:
    """Yield every attribute in a body and its nested blocks: the dotted path without labels, and the value."""
    pending: list[tuple[str, Body]] = [("", body)]
    while pending:
        prefix, current = pending.pop()
        for attribute in current.attributes.values():
            yield prefix + attribute.name, attribute.value
        pending.extend((f"{prefix}{_block_name(block)}.", _content(block)) for block in reversed(current.nested))


def _block_name(block: Block) -> str:
    return block.labels[0] if block.type == "dynamic" and block.labels else block.type


def _content(block: Block) -> Body:
    """Return a block's body; of a `dynamic` block the one of its `content`, with `for_each` kept beside it."""
    if block.type != "dynamic":
        return block.body
    content = block.body.block("content")
    if content is None:
        return block.body
    return Body(
        attributes={**block.body.attributes, **content.body.attributes},
        nested=content.body.nested,
        span=block.body.span,
        is_json=block.body.is_json,
    )


def _json_blocks(kind: str, value: Expression, header: Span, *, labels: int, given: tuple[str, ...]) -> Iterator[Block]:
    if isinstance(value, ListValue):
        for item in value.items:
            yield from _json_blocks(kind, item, header, labels=labels, given=given)
    elif isinstance(value, ObjectValue) and labels:
        for key, item in value.items:
            if isinstance(key, Literal) and isinstance(key.value, str) and key.value != "//":
                yield from _json_blocks(kind, item, key.span, labels=labels - 1, given=(*given, key.value))
    elif isinstance(value, ObjectValue):
        yield Block(type=kind, labels=given, body=body_of(value), span=value.span, header=header)
