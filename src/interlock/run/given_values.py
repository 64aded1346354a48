"""Values of the user's flags on their way to Terraform: never in an argument list, which every user can read.

`-var NAME=VALUE` becomes `TF_VAR_NAME` in the environment. Terraform reads both alike (as text for a primitive type, as
an expression for others: internal/command/views, `unparsedVariableValueString`); what differs is precedence, and what a
value for an undeclared variable means. So where a file of values might win over the environment, the value goes into a
file of the run instead, named by `-var-file` in the very place of the `-var`; and an undeclared variable is refused, as
Terraform refuses it. `-backend-config KEY=VALUE` becomes a file with that line.

What the front end itself was given stays in its own argument list: nobody can change that. Set `TF_VAR_NAME` instead.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec.structs import replace

from interlock.errors import UsageError
from interlock.late_pattern import late
from interlock.run.order import Order
from interlock.secrecy import KnownSecrets, PartlyShown, environment_secrets, know_secrets
from interlock.terraform.command import UserFlags

if TYPE_CHECKING:
    from interlock.hcl import Module

PREFIX: Final = "TF_VAR_"
_FLAGS_OF_THE_ENVIRONMENT: Final = "TF_CLI_ARGS"
PATTERN: Final = "given-*.tfvars"
"""The files made here, in the run's folder; they hold secrets in clear."""

_VALUES_FILES: Final = late(r"terraform\.tfvars(?:\.json)?|.*\.auto\.tfvars(?:\.json)?")
_PRIMITIVE: Final = frozenset({"string", "number", "bool"})
_NAME: Final = late(r"[^\W\d][\w-]*\Z")


class Handed(PartlyShown, frozen=True, kw_only=True):
    """Flags without values, and the environment that holds them instead."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"environ"})

    flags: UserFlags
    environ: dict[str, str]


def find_known_secrets(order: Order, environ: Mapping[str, str]) -> KnownSecrets:
    """Return what is known to be secret before a run begins: credentials, and values of variables that may be."""
    credentials = [*environment_secrets(environ), *_backend_secrets(_all_given(order, environ))]
    return know_secrets(credentials, given=_values(order, environ), named=(order.state, order.directory))


def _values(order: Order, environ: Mapping[str, str]) -> Iterator[str]:
    directory = Path(order.directory)
    words = _all_given(order, environ)
    given = any(name.startswith(PREFIX) for name in environ) or any("var" in word for word in words)
    if not given and not _value_files(directory):
        return
    from interlock.hcl.given import secret_texts_given
    from interlock.source.disk import DiskTree

    yield from secret_texts_given(_module(directory), DiskTree(), words, environ)


def _all_given(order: Order, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the flags that Terraform will take: those of the command line, and those of `TF_CLI_ARGS` and its like."""
    words = list(order.extra)
    for name, value in environ.items():
        if name.startswith(_FLAGS_OF_THE_ENVIRONMENT):
            try:
                words += shlex.split(value)
            except ValueError:  # a quote without its other half: Terraform quotes it all when it says so
                words += re.split(r"[\s\"']+", value)
    return tuple(words)


def values_of(words: Sequence[str]) -> list[str]:
    """Return the values of all `-var` among Terraform's flags."""
    return [value.partition("=")[2] for name, value in _flags(words) if name == "var"]


def _backend_secrets(flags: Sequence[str]) -> Iterator[str]:
    if not any("backend-config" in word for word in flags):
        return
    from interlock.existing.vocabulary import credentials_in

    for name, value in _flags(flags):
        key, _, given = value.partition("=")
        if name == "backend-config":
            yield from credentials_in(key.strip(), given)


def hand_over(flags: UserFlags, *, directory: Path, folder: Path) -> Handed:
    """Take the values out of the user's flags.

    Args:
        flags: Divided by command.
        directory: The root module.
        folder: The run's folder, for files of values.

    Raises:
        UsageError: A value is for a variable that the module does not declare.
    """
    init = tuple(_without_backend_values(flags.init, folder))
    if not any(name == "var" for name, _ in _flags(flags.plan)):
        return Handed(flags=replace(flags, init=init), environ={})
    plan, environ = _without_values(flags.plan, _module(directory), directory, folder)
    values = tuple(word for word in _words(_flags(plan)) if word.startswith("-var"))
    return Handed(flags=replace(flags, init=init, plan=plan, values=values), environ=environ)


def _without_values(
    words: Sequence[str], module: Module, directory: Path, folder: Path
) -> tuple[tuple[str, ...], dict[str, str]]:
    told: list[str] = []
    environ: dict[str, str] = {}
    flags = list(_all_flags(words))
    with_files = any(name == "var-file" for name, _, _ in flags)
    for name, value, written in flags:
        if name != "var":
            told += written
            continue
        variable, equals, text = value.partition("=")
        variable = variable.strip()
        if not equals or not _NAME.match(variable):
            told += [f"-var={variable}"]  # Terraform says what is wrong with it
        elif variable not in module.variables and not _is_named(variable, directory):
            raise _undeclared(variable)
        elif with_files or _may_be_in_a_file(variable, directory):
            told.append(f"-var-file={_value_file(folder, variable, text, module)}")
        else:
            environ[f"{PREFIX}{variable}"] = text
    return tuple(told), environ


def _undeclared(variable: str) -> UsageError:
    return UsageError(
        f"a value was given for the variable {variable}, which the root module does not declare",
        why="Terraform refuses it too",
        fix="leave out that -var, or add a variable block to the configuration",
    )


def _value_file(folder: Path, variable: str, text: str, module: Module) -> Path:
    from interlock.hcl.given import type_name
    from interlock.hcl.spelling import hcl_text

    kind = type_name(module.variables.get(variable))
    # in brackets an expression may go over lines, as it may on a command line
    written = hcl_text(text) if kind in _PRIMITIVE else f"(\n{text}\n)"
    return _private(folder, f"{variable} = {written}\n")


def _without_backend_values(words: Sequence[str], folder: Path) -> Iterator[str]:
    if not any("backend-config" in word for word in words):
        yield from words
        return
    from interlock.hcl.spelling import hcl_text

    for name, value, written in _all_flags(words):
        key, equals, text = value.partition("=")
        # Terraform takes a value with `=` in it for a setting, so a folder with one cannot be named
        if name == "backend-config" and equals and _NAME.match(key.strip()) and "=" not in str(folder):
            yield f"-backend-config={_private(folder, f'{key.strip()} = {hcl_text(text)}' + chr(10))}"
        else:
            yield from written


def _private(folder: Path, content: str) -> Path:
    number = len(list(folder.glob(PATTERN))) + 1
    path = folder / PATTERN.replace("*", str(number))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(content)
    return path


def remove_given(folder: Path) -> None:
    """Remove the files of values of a run that has ended."""
    for path in folder.glob(PATTERN):
        path.unlink(missing_ok=True)


def _may_be_in_a_file(variable: str, directory: Path) -> bool:
    return any(variable.encode() in _content(path) for path in _value_files(directory))


def _is_named(variable: str, directory: Path) -> bool:
    """Whether the name occurs in the module at all: then our own reading of it is not trusted with a refusal."""
    files = (path for path in directory.iterdir() if path.name.endswith((".tf", ".tofu", ".tf.json", ".tofu.json")))
    return any(variable.encode() in _content(path) for path in files)


def _value_files(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if _VALUES_FILES.fullmatch(path.name)]
    except OSError:
        return []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _module(directory: Path) -> Module:
    from interlock.hcl import read_module
    from interlock.source.disk import DiskTree

    return read_module(DiskTree(), str(directory))


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value, _ in _all_flags(words))


def _words(flags: Iterator[tuple[str, str]]) -> Iterator[str]:
    return (f"-{name}={value}" for name, value in flags)


def _all_flags(words: Sequence[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield each flag's name, its value, and its words, whether written `-var=a=1`, `--var=a=1` or `-var a=1`."""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.lstrip("-").partition("=")
        if equals or name not in ("var", "var-file", "backend-config"):
            yield name, value, (word,)
        else:
            value = next(rest, "")
            yield name, value, (word, value)
