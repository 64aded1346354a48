"""What an expression is for certain, from literals, locals and known variables; or nothing.

Knows: the handful of operators and functions that configurations use in names, keys and settings. Knows no providers.
A value that depends on anything outside the text is not guessed: the answer is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import Struct, field

from interlock.hcl.expression import (
    Access,
    Call,
    Conditional,
    Expression,
    Index,
    ListValue,
    Literal,
    Name,
    ObjectValue,
    Operation,
    Step,
    Template,
    Traversal,
)

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
"""A constant. `None` is HCL's null."""

_MAX_DEPTH = 40  # locals that use locals that use locals; stops circles and bounds the stack
_MAX_TEXT = 65_536  # characters of one built text; templates may repeat a local many times


class Known(Struct, frozen=True, kw_only=True):
    """A value that is certain."""

    value: Value


class Scope(Struct, frozen=True, kw_only=True):
    """What names mean in one module.

    Attributes:
        locals: Local values by name, unevaluated.
        variables: Variables whose value is certain.
    """

    locals: Mapping[str, Expression] = field(default_factory=dict)
    variables: Mapping[str, Known] = field(default_factory=dict)


NOTHING = Scope()
"""A scope in which only literals are certain."""


def constant(expression: Expression | None, scope: Scope = NOTHING) -> Known | None:
    """Return the certain value of an expression, or None. An absent expression has none."""
    return None if expression is None else _constant(expression, _Walk(scope=scope), 0)


def constant_text(expression: Expression | None, scope: Scope = NOTHING) -> str | None:
    """Return the certain value as Terraform would convert it to a string, or None; null has none."""
    known = constant(expression, scope)
    return None if known is None else _as_text(known.value)


def constant_flag(expression: Expression | None, scope: Scope = NOTHING) -> bool | None:
    """Return the certain truth value; `"true"` counts as true, as in Terraform. None when it is not certain."""
    known = constant(expression, scope)
    return None if known is None else {"true": True, "false": False}.get(_as_text(known.value) or "")


def constant_number(expression: Expression | None, scope: Scope = NOTHING) -> float | None:
    """Return the certain number, also from text such as `"10"`. None when it is not certain."""
    known = constant(expression, scope)
    if known is None or isinstance(known.value, bool | list | dict) or known.value is None:
        return None
    try:
        return float(known.value)
    except ValueError:
        return None


class _Walk(Struct, frozen=True, kw_only=True):
    """One evaluation: the scope, and the locals worked out so far."""

    scope: Scope
    seen: dict[str, Known | None] = field(default_factory=dict)


def _constant(expression: Expression, walk: _Walk, depth: int) -> Known | None:
    if isinstance(expression, Literal):
        return Known(value=expression.value)
    evaluator = _EVALUATORS.get(type(expression))
    return evaluator(expression, walk, depth + 1) if evaluator and depth < _MAX_DEPTH else None


def _template(expression: Template, walk: _Walk, depth: int) -> Known | None:
    if len(expression.parts) == 1:
        return _constant(expression.parts[0], walk, depth)
    pieces: list[str] = []
    for part in expression.parts:
        known = _constant(part, walk, depth)
        text = None if known is None else _as_text(known.value)
        if text is None:
            return None
        pieces.append(text)
    return Known(value="".join(pieces)) if sum(map(len, pieces)) <= _MAX_TEXT else None


def _traversal(expression: Traversal, walk: _Walk, depth: int) -> Known | None:
    if not expression.steps or not isinstance(expression.steps[0], Name):
        return None
    name = expression.steps[0].name
    if expression.root == "var":
        return _follow(walk.scope.variables.get(name), expression.steps[1:], walk, depth)
    if expression.root == "local":
        return _follow(_local(name, walk, depth), expression.steps[1:], walk, depth)
    return None


def _local(name: str, walk: _Walk, depth: int) -> Known | None:
    """Return a local value. Each is worked out once: a chain that doubles at every link would take for ever."""
    if name not in walk.seen:
        walk.seen[name] = None  # a circle meets this
        expression = walk.scope.locals.get(name)
        walk.seen[name] = None if expression is None else _constant(expression, walk, depth)
    return walk.seen[name]


def _access(expression: Access, walk: _Walk, depth: int) -> Known | None:
    return _follow(_constant(expression.source, walk, depth), expression.steps, walk, depth)


def _follow(start: Known | None, steps: tuple[Step, ...], walk: _Walk, depth: int) -> Known | None:
    current = start
    for step in steps:
        if current is None:
            return None
        key = _step_key(step, walk, depth)
        current = None if key is None else _element(current.value, key.value)
    return current


def _step_key(step: Step, walk: _Walk, depth: int) -> Known | None:
    if isinstance(step, Name):
        return Known(value=step.name)
    return _constant(step.key, walk, depth) if isinstance(step, Index) else None


def _element(value: Value, key: Value) -> Known | None:
    if isinstance(value, dict) and isinstance(key, str) and key in value:
        return Known(value=value[key])
    if isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(value):
        return Known(value=value[key])
    return None


def _list(expression: ListValue, walk: _Walk, depth: int) -> Known | None:
    items = [_constant(item, walk, depth) for item in expression.items]
    known = [item.value for item in items if item is not None]
    return Known(value=known) if len(known) == len(items) else None


def _object(expression: ObjectValue, walk: _Walk, depth: int) -> Known | None:
    """Return an object with the members that are certain. A member that is not is left out, so it reads as unknown."""
    members: dict[str, Value] = {}
    for key, item in expression.items:
        name, value = _constant(key, walk, depth), _constant(item, walk, depth)
        if name is not None and isinstance(name.value, str) and value is not None:
            members[name.value] = value.value
    return Known(value=members)


def _conditional(expression: Conditional, walk: _Walk, depth: int) -> Known | None:
    condition = _constant(expression.condition, walk, depth)
    if condition is None or not isinstance(condition.value, bool):
        return None
    return _constant(expression.yes if condition.value else expression.no, walk, depth)


def _operation(expression: Operation, walk: _Walk, depth: int) -> Known | None:
    operands = [_constant(operand, walk, depth) for operand in expression.operands]
    values = [operand.value for operand in operands if operand is not None]
    operate = _OPERATORS.get((expression.operator, len(operands)))
    if operate is None or len(values) != len(operands):
        return None
    return operate(*values)


def _call(expression: Call, walk: _Walk, depth: int) -> Known | None:
    convert = _FUNCTIONS.get(expression.function)
    if convert is None or len(expression.arguments) != 1:
        return None
    argument = _constant(expression.arguments[0], walk, depth)
    return None if argument is None else convert(argument.value)


def _as_text(value: Value) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def _equal(left: Value, right: Value) -> Known | None:
    """Compare scalars of one type; comparing collections could take time exponential in their nesting."""
    return Known(value=left == right) if type(left) is type(right) and not isinstance(left, list | dict) else None


def _unequal(left: Value, right: Value) -> Known | None:
    equal = _equal(left, right)
    return None if equal is None else Known(value=not equal.value)


def _not(value: Value) -> Known | None:
    return Known(value=not value) if isinstance(value, bool) else None


def _minus(value: Value) -> Known | None:
    return Known(value=-value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _and(left: Value, right: Value) -> Known | None:
    return Known(value=left and right) if isinstance(left, bool) and isinstance(right, bool) else None


def _or(left: Value, right: Value) -> Known | None:
    return Known(value=left or right) if isinstance(left, bool) and isinstance(right, bool) else None


def _text(change: Callable[[str], str]) -> Callable[[Value], Known | None]:
    return lambda value: Known(value=change(value)) if isinstance(value, str) else None


def _list_of(value: Value) -> Known | None:
    return Known(value=value) if isinstance(value, list) else None


def _to_text(value: Value) -> Known | None:
    text = _as_text(value)
    return None if text is None else Known(value=text)


_EVALUATORS: dict[type, Callable[..., Known | None]] = {
    Template: _template,
    Traversal: _traversal,
    Access: _access,
    ListValue: _list,
    ObjectValue: _object,
    Conditional: _conditional,
    Operation: _operation,
    Call: _call,
}
_OPERATORS: dict[tuple[str, int], Callable[..., Known | None]] = {
    ("==", 2): _equal,
    ("!=", 2): _unequal,
    ("!", 1): _not,
    ("-", 1): _minus,
    ("&&", 2): _and,
    ("||", 2): _or,
}
_FUNCTIONS: dict[str, Callable[[Value], Known | None]] = {
    "lower": _text(str.lower),
    "upper": _text(str.upper),
    "trimspace": _text(str.strip),
    "tostring": _to_text,
    "toset": _list_of,
    "tolist": _list_of,
    "nonsensitive": lambda value: Known(value=value),
    "sensitive": lambda value: Known(value=value),
}
