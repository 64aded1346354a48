"""The expressions of HCL as values: what was written, where, and which names it uses.

Knows: literals, templates, traversals, calls. Knows nothing of parsers, blocks or Terraform's meaning of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from interlock.source.tree import Span

Scalar: TypeAlias = str | int | float | bool | None
"""What a literal can be. `None` is HCL's null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A constant: text without any interpolation, a number, a boolean or null."""

    span: Span
    value: Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Text with interpolations. Literal stretches are `Literal`s; a directive (`%{if}`) is an `Unknown` part."""

    span: Span
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """The step `.name` of a traversal."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The step `[key]` of a traversal."""

    key: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Splat:
    """The step `[*]` or `.*` of a traversal; the steps behind it apply to every element."""


Step: TypeAlias = Name | Index | Splat


@dataclass(frozen=True, slots=True, kw_only=True)
class Traversal:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Steps behind something that is not a plain name: `one(x).id`, `[a, b][0]`."""

    span: Span
    source: Expression
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function call; `function` may be namespaced (`provider::aws::arn_parse`)."""

    span: Span
    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListValue:
    """`[a, b]`."""

    span: Span
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectValue:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditional:
    """`condition ? yes : no`."""

    span: Span
    condition: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One or two operands with an operator such as `-`, `!`, `&&`, `+`."""

    span: Span
    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comprehension:
    """`[for k, v in xs : result if condition]`, or the same in braces with a key."""

    span: Span
    names: tuple[str, ...]
    source: Expression
    results: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
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
