"""What is certain of a root module's variables, in Terraform's order: default, TF_VAR_, files, flags. Pure.

A value that cannot be told makes the variable unknown; it never falls back to a value that Terraform would not use.
Every value is converted to the variable's type as Terraform does it: `var.x == "true"` is false for a `bool`, and null
means the default where `nullable` is false.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from interlock.hcl.constant import Known, Scope, Value, constant, constant_flag
from interlock.hcl.expression import Call, Expression, Literal, ObjectValue, Traversal
from interlock.hcl.json_syntax import parse_json
from interlock.hcl.module import Module, Variable
from interlock.hcl.syntax import parse
from interlock.secrecy import all_texts, sounds_secret
from interlock.source.tree import SourceUnreadable, Tree, join

_PREFIX = "TF_VAR_"
_PLAIN = frozenset({"string", "number"})  # types whose value on a command line is taken as it is
_DIGITS = 15  # of a number that is taken from text
_FLAGS = {"true": Known(value=True), "1": Known(value=True), "false": Known(value=False), "0": Known(value=False)}
_COLLECTIONS = frozenset({"list", "set", "map"})

Values = dict[str, Known | None]


def given_scope(
    root: Module, tree: Tree, flags: Sequence[str], environ: Mapping[str, str], *, verb: str = "plan"
) -> Scope:
    """Return what is certain in a root module, values from outside included.

    Args:
        root: The root module.
        tree: Where files of variables are.
        flags: The user's flags for Terraform.
        environ: The environment of Terraform; `TF_CLI_ARGS` and its like for the verb add flags.
        verb: Terraform's command.
    """
    defaults: Values = {name: constant(variable.default) for name, variable in root.variables.items()}
    return _scope(root, defaults | given_values(root, tree, flags, environ, verb=verb))


def given_values(
    root: Module, tree: Tree, flags: Sequence[str], environ: Mapping[str, str], *, verb: str = "plan"
) -> Values:
    """Return the values that come from outside the configuration, as they are written; None for an uncertain one.

    Args: as `given_scope`. Names that the module does not declare may be among them.
    """
    values: Values = {}
    for name, text in environ.items():
        if name.startswith(_PREFIX):
            values[name.removeprefix(_PREFIX)] = _typed(text, root.variables.get(name.removeprefix(_PREFIX)))
    values.update({name: constant(value) for name, value in root.tfvars.items()})
    added = [word for name in (f"TF_CLI_ARGS_{verb}", "TF_CLI_ARGS") for word in _words(environ.get(name, ""))]
    for kind, text in _flags([*added, *flags]):
        values.update(_of_flag(kind, text, root, tree))
    return values


def secret_texts_given(root: Module, tree: Tree, flags: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the texts that are given to variables which may hold secrets, as written and as read.

    A variable may when it is declared `sensitive` or `ephemeral`, when its name sounds so, or when it is not declared:
    nobody has said then what it is.

    Args:
        root: The root module.
        tree: Where files of variables are.
        flags: The user's flags for Terraform.
        environ: The environment of Terraform.
    """
    for name, text in _given(root, tree, flags, environ):
        if _may_hold_secret(name, root.variables.get(name)):
            yield text


def _given(root: Module, tree: Tree, flags: Sequence[str], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield every value that is given to a variable from outside, by its name."""
    for name, text in environ.items():
        if name.startswith(_PREFIX):
            yield from _readings(name.removeprefix(_PREFIX), text)
    for name, expression in root.tfvars.items():
        yield from ((name, text) for text in _texts_of(constant(expression)))
    for kind, text in _flags(flags):
        if kind == "var":
            name, _, value = text.partition("=")
            yield from _readings(name.strip(), value)
        else:
            for name, known in _of_flag(kind, text, root, tree).items():
                yield from ((name, each) for each in _texts_of(known))


def _readings(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield a value from a command line as it is written, and the texts in it if it is an expression."""
    yield name, text
    if text.lstrip()[:1] in ("{", "[", '"'):
        file = parse("-var", f"value = {text}\n".encode())
        known = None if file.problems else constant(file.body.get("value"))
        yield from ((name, each) for each in _texts_of(known))


def _texts_of(known: Known | None) -> Iterator[str]:
    return all_texts(known.value) if known is not None else iter(())


def _may_hold_secret(name: str, variable: Variable | None) -> bool:
    return variable is None or sounds_secret(name) or _is_ephemeral(variable) or _is_sensitive(variable)


def _is_sensitive(variable: Variable) -> bool:
    written = variable.block.body.get("sensitive")
    return written is not None and constant_flag(written) is not False


def planned_scope(root: Module, planned: Mapping[str, Known | None]) -> Scope:
    """Return what is certain when a saved plan is applied: it holds the values with which it was made.

    An ephemeral value is not among them but given again; one that `planned` does not name either is not certain.
    """
    values: Values = {name: constant(variable.default) for name, variable in root.variables.items()}
    return _scope(root, values | dict.fromkeys(ephemeral_names(root)) | dict(planned))


def ephemeral_names(root: Module) -> tuple[str, ...]:
    """Return the variables whose values no plan holds."""
    return tuple(name for name, variable in root.variables.items() if _is_ephemeral(variable))


def _is_ephemeral(variable: Variable) -> bool:
    written = variable.block.body.get("ephemeral")
    return written is not None and constant_flag(written) is not False


def _scope(root: Module, values: Values) -> Scope:
    converted = {
        name: _converted(known, root.variables[name]) for name, known in values.items() if name in root.variables
    }
    return root.scope_with({name: known for name, known in converted.items() if known is not None})


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []  # Terraform refuses it


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each `-var` and `-var-file` with its value, in order."""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name in {"var", "var-file"}:
            yield name, value if equals else next(rest, "")


def _of_flag(kind: str, text: str, root: Module, tree: Tree) -> Values:
    if kind == "var":
        name, _, value = text.partition("=")
        return {name.strip(): _typed(value, root.variables.get(name.strip()))}
    try:
        content = tree.read(text if text.startswith("/") else join(root.path, text))
    except SourceUnreadable:
        content = None
    if content is None:
        return dict.fromkeys(root.variables)  # any of them may be in it
    file = parse_json(text, content) if text.endswith(".json") else parse(text, content)
    return {name: constant(attribute.value) for name, attribute in file.body.attributes.items()}


def _typed(text: str, variable: Variable | None) -> Known | None:
    """Return a value from a command line or the environment: text as it is, for other types an expression."""
    kind = type_name(variable)
    if kind == "bool":
        return _FLAGS.get(text)
    if kind in _PLAIN:
        return Known(value=text)
    file = parse("-var", f"value = {text}\n".encode())
    return None if file.problems else constant(file.body.get("value"))


def type_name(variable: Variable | None) -> str:
    """Return the name of a variable's type, `string` without one; empty for a type that is built from others."""
    wanted = None if variable is None else variable.block.body.get("type")
    return "string" if wanted is None else _name_of(wanted)


def _name_of(wanted: Expression) -> str:
    if isinstance(wanted, Literal):
        return str(wanted.value)  # as older configurations and JSON write it
    return wanted.root if isinstance(wanted, Traversal) and not wanted.steps else ""


# -- conversion to the declared type ----------------------------------------------------------------------------------


def _converted(known: Known | None, variable: Variable) -> Known | None:
    """Return a value as the module sees it, None when that is not certain."""
    if known is None:
        return None
    body = variable.block.body
    if known.value is None and body.get("nullable") is not None:
        may_be_null = constant_flag(body.get("nullable"))
        known = known if may_be_null else constant(variable.default) if may_be_null is False else None
    return None if known is None else _as(known.value, body.get("type"))


def _as(value: Value, wanted: Expression | None) -> Known | None:
    """Convert a value to a type; None where Terraform refuses it, or where we do not know what it makes of it."""
    if wanted is None or value is None:
        return Known(value=value)
    if isinstance(wanted, Call):
        return _as_built(value, wanted)
    convert = _PRIMITIVES.get(_name_of(wanted))
    return None if convert is None else convert(value)


def _as_any(value: Value) -> Known | None:
    return Known(value=value)


def _as_text(value: Value) -> Known | None:
    if isinstance(value, bool):
        return Known(value="true" if value else "false")
    return Known(value=str(value)) if isinstance(value, str | int) else None  # how a fraction is written is not certain


def _as_flag(value: Value) -> Known | None:
    return Known(value=value) if isinstance(value, bool) else _FLAGS.get(value) if isinstance(value, str) else None


def _as_number(value: Value) -> Known | None:
    if isinstance(value, str):
        return Known(value=int(value)) if value.isascii() and value.isdigit() and len(value) < _DIGITS else None
    return Known(value=value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_PRIMITIVES = {"any": _as_any, "string": _as_text, "number": _as_number, "bool": _as_flag}


def _as_built(value: Value, wanted: Call) -> Known | None:
    """Convert to `list(T)`, `map(T)` and `object({...})`; other built types are not certain."""
    inner = wanted.arguments[0] if len(wanted.arguments) == 1 else None
    if wanted.function in _COLLECTIONS and inner is not None and _name_of(inner) != "any":
        return _as_collection(value, inner)
    if wanted.function == "object" and isinstance(inner, ObjectValue) and isinstance(value, dict):
        return _as_object(value, inner)
    return None


def _as_collection(value: Value, inner: Expression) -> Known | None:
    if isinstance(value, dict):
        members = {name: _as(item, inner) for name, item in value.items()}
        return Known(value={name: known.value for name, known in members.items() if known is not None})
    items = [_as(item, inner) for item in value] if isinstance(value, list) else [None]
    known_items = [item.value for item in items if item is not None]
    return Known(value=known_items) if len(known_items) == len(items) else None


def _as_object(value: dict[str, Value], inner: ObjectValue) -> Known:
    """Convert the members that are there; one that is not may be unknown or absent, so nothing is certain of it."""
    members: dict[str, Value] = {}
    for key, wanted in inner.items:
        name = str(key.value) if isinstance(key, Literal) else None
        if name is None or name not in value:
            continue
        known = _as_member(value[name], wanted)
        if known is not None:
            members[name] = known.value
    return Known(value=members)


def _as_member(value: Value, wanted: Expression) -> Known | None:
    """Convert one member of an object; for an optional one null means its default."""
    if not isinstance(wanted, Call) or wanted.function != "optional" or not wanted.arguments:
        return _as(value, wanted)
    kind, *default = wanted.arguments
    if value is None and default:
        known = constant(default[0])
        return None if known is None else _as(known.value, kind)
    return _as(value, kind)
