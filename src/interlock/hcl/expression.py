"""The expressions of HCL as values: what was written, where, and which names it uses.

Knows: literals, templates, traversals, calls. Knows nothing of parsers, blocks or Terraform's meaning of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from msgspec import Struct

from interlock.source.tree import Span

Scalar: TypeAlias = str | int | float | bool | None
"""What a literal can be. `None` is HCL's null."""


class Literal(Struct, frozen=True, kw_only=True):
    """A constant: text without any interpolation, a number, a boolean or null."""

    span: Span
    value: Scalar


class Template(Struct, frozen=True, kw_only=True):
    """Text with interpolations. Literal stretches are `Literal`s; a directive (`%{if}`) is an `Unknown` part."""

    span: Span
    parts: tuple[Expression, ...]


class Name(Struct, frozen=True, kw_only=True):
    """The step `.name` of a traversal."""

    name: str


class Index(Struct, frozen=True, kw_only=True):
    """The step `[key]` of a traversal."""

    key: Expression


class Splat(Struct, frozen=True, kw_only=True):
    """The step `[*]` or `.*` of a traversal; the steps behind it apply to every element."""


Step: TypeAlias = Name | Index | Splat


class Traversal(Struct, frozen=True, kw_only=True):
    """A name and the way from it: `genesyscloud_user.ada.id`, `var.pool`, `each.value["x"]`."""

    span: Span
    root: str
    steps: tuple[Step, ...]

    def names(self) -> tuple[str, ...]:
        """Return the root and the names that follow it directly, up to the first index or splat."""
        names = [self.root]
        for step in self.steps:
            if not isinstance(step, Name):
                break
            names.append(step.name)
        return tuple(names)


class Access(Struct, frozen=True, kw_only=True):
    """Steps behind something that is not a plain name: `one(x).id`, `[a, b][0]`."""

    span: Span
    source: Expression
    steps: tuple[Step, ...]


class Call(Struct, frozen=True, kw_only=True):
    """A function call; `function` may be namespaced (`provider::aws::arn_parse`)."""

    span: Span
    function: str
    arguments: tuple[Expression, ...]


class ListValue(Struct, frozen=True, kw_only=True):
    """`[a, b]`."""

    span: Span
    items: tuple[Expression, ...]


class ObjectValue(Struct, frozen=True, kw_only=True):
    """`{ a = b }`. A bare word as key is a `Literal`, as HCL reads it."""

    span: Span
    items: tuple[tuple[Expression, Expression], ...]

    def get(self, key: str) -> Expression | None:
        """Return the value under a literal key; the last one wins, as in HCL."""
        found = None
        for name, value in self.items:
            if isinstance(name, Literal) and name.value == key:
                found = value
        return found


class Conditional(Struct, frozen=True, kw_only=True):
    """`condition ? yes : no`."""

    span: Span
    condition: Expression
    yes: Expression
    no: Expression


class Operation(Struct, frozen=True, kw_only=True):
    """One or two operands with an operator such as `-`, `!`, `&&`, `+`."""

    span: Span
    operator: str
    operands: tuple[Expression, ...]


class Comprehension(Struct, frozen=True, kw_only=True):
    """`[for k, v in xs : result if condition]`, or the same in braces with a key."""

    span: Span
    names: tuple[str, ...]
    source: Expression
    results: tuple[Expression, ...]


class Unknown(Struct, frozen=True, kw_only=True):
    """Something that is not modelled further: broken text, a directive, or nesting beyond the limit."""

    span: Span
    inside: tuple[Expression, ...] = ()


Expression: TypeAlias = (
    Literal
    | Template
    | Traversal
    | Access
    | Call
    | ListValue
    | ObjectValue
    | Conditional
    | Operation
    | Comprehension
    | Unknown
)


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield the expression and everything inside it, outermost first."""
    pending = [expression]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(reversed(children(current)))


def children(expression: Expression) -> tuple[Expression, ...]:  # noqa: C901, PLR0911 - one line for each kind
    """Return the expressions directly inside one, in the order in which they are written."""
    match expression:
        case Literal():
            return ()
        case Template():
            return expression.parts
        case Traversal():
            return _keys(expression.steps)
        case Access():
            return (expression.source, *_keys(expression.steps))
        case Call():
            return expression.arguments
        case ListValue():
            return expression.items
        case ObjectValue():
            return tuple(part for item in expression.items for part in item)
        case Conditional():
            return (expression.condition, expression.yes, expression.no)
        case Operation():
            return expression.operands
        case Comprehension():
            return (expression.source, *expression.results)
        case Unknown():
            return expression.inside


def traversals(expression: Expression) -> Iterator[Traversal]:
    """Yield every traversal whose root is not a name bound by a `for` around it."""
    pending: list[tuple[Expression, frozenset[str]]] = [(expression, frozenset())]
    while pending:
        current, bound = pending.pop()
        if isinstance(current, Traversal) and current.root not in bound:
            yield current
        if isinstance(current, Comprehension):
            inner = bound | frozenset(current.names)
            pending.extend((part, inner) for part in reversed(current.results))
            pending.append((current.source, bound))
        else:
            pending.extend((part, bound) for part in reversed(children(current)))


def _keys(steps: tuple[Step, ...]) -> tuple[Expression, ...]:
    return tuple(step.key for step in steps if isinstance(step, Index))
