"""What is certain of a root module's variables, in Terraform's order: default, TF_VAR_, files, flags. Pure.

A value that cannot be told makes the variable unknown; it never falls back to a value that Terraform would not use.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from interlock.hcl import parse, parse_json
from interlock.hcl.constant import Known, Scope, constant
from interlock.hcl.expression import Literal, Traversal
from interlock.hcl.module import Module, Variable
from interlock.source import SourceUnreadable, Tree, join

_PREFIX = "TF_VAR_"
_PLAIN = frozenset({"string", "number"})  # types whose value on a command line is taken as it is

Values = dict[str, Known | None]


def given_scope(root: Module, tree: Tree, flags: Sequence[str], environ: Mapping[str, str]) -> Scope:
    """Return what is certain in a root module, values from outside included.

    Args:
        root: The root module.
        tree: Where files of variables are.
        flags: The user's flags for `terraform plan`.
        environ: The environment of Terraform; `TF_CLI_ARGS_plan` adds flags.
    """
    values: Values = {name: constant(variable.default) for name, variable in root.variables.items()}
    for name, text in environ.items():
        if name.startswith(_PREFIX):
            values[name.removeprefix(_PREFIX)] = _typed(text, root.variables.get(name.removeprefix(_PREFIX)))
    values.update({name: constant(value) for name, value in root.tfvars.items()})
    for kind, text in _flags([*_words(environ.get("TF_CLI_ARGS_plan", "")), *flags]):
        values.update(_of_flag(kind, text, root, tree))
    return _scope(root, values)


def planned_scope(root: Module, planned: Mapping[str, Known | None]) -> Scope:
    """Return what is certain when a saved plan is applied: it holds the values with which it was made."""
    return _scope(root, {name: constant(variable.default) for name, variable in root.variables.items()} | dict(planned))


def _scope(root: Module, values: Values) -> Scope:
    return root.scope_with({name: known for name, known in values.items() if known is not None})


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
    kind = _type_name(variable)
    if kind == "bool":
        return {"true": Known(value=True), "false": Known(value=False)}.get(text)
    if kind in _PLAIN:
        return Known(value=text)
    file = parse("-var", f"value = {text}\n".encode())
    return None if file.problems else constant(file.body.get("value"))


def _type_name(variable: Variable | None) -> str:
    """Return the name of a variable's type, `string` without one; empty for a type that is built from others."""
    wanted = None if variable is None else variable.block.body.get("type")
    if wanted is None:
        return "string"
    if isinstance(wanted, Literal):
        return str(wanted.value)
    return wanted.root if isinstance(wanted, Traversal) and not wanted.steps else ""
