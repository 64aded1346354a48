"""What is wrong with interlock.yaml, and where in it. Pure.

Whoever reads the file and `interlock lint` ask the same, so that a file in which lint finds nothing is read, and one
that is refused is found before a run meets it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from interlock.errors import UsageError, command, reason_of
from interlock.settings.authority import repository_faults
from interlock.settings.values import DEFAULT_HEARTBEAT_S, DEFAULT_LEASE_S

if TYPE_CHECKING:
    from pydantic import ValidationError

    from interlock.settings.document import Document

FILE_NAME = "interlock.yaml"
MAX_FILE_BYTES = 1 << 20  # a configuration file of more than 1 MiB is a mistake
_PLACE = re.compile(r"line (\d+), column (\d+): ")


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes:
        error: What, why, and what a person does about it.
        where: The keys and numbers that lead there, from the top of the file; of a missing key to what lacks it.
        is_key: The key itself is wrong, and not its value.
        line: Where the text cannot be read at all, from 1; 0 where `where` says the place.
        column: Likewise.
    """

    error: UsageError
    where: tuple[int | str, ...] = ()
    is_key: bool = False
    line: int = 0
    column: int = 0


def read_text(data: bytes, *, file: str, otherwise: str = "interlock init") -> dict[str, Any] | Fault:
    """Return the values of a file of settings, or why they cannot be read.

    Args:
        data: Its content, or more than `MAX_FILE_BYTES` of it.
        file: Its path, for people.
        otherwise: What a person types when it is no such file.
    """
    from ruamel.yaml.error import YAMLError

    from interlock.bounded import OutOfBounds, read_yaml

    if len(data) > MAX_FILE_BYTES:
        return Fault(error=UsageError(f"{file} is larger than 1 MiB", fix="keep only settings in it"))
    try:
        document = read_yaml(data.decode())
    except (OutOfBounds, UnicodeDecodeError, YAMLError) as error:
        return _unreadable(error, file, otherwise)
    if document is None:
        return {}
    if isinstance(document, dict):
        return document
    fix = "interlock init --print" if otherwise == "interlock init" else otherwise
    return Fault(error=UsageError(f"{file} must be a mapping", why="it is a list or a single value", fix=fix))


def _unreadable(error: Exception, file: str, otherwise: str) -> Fault:
    from interlock.bounded import OutOfBounds, yaml_fault

    if isinstance(error, OutOfBounds):
        return Fault(error=UsageError(f"{file} is not read", why=str(error), fix="keep only settings in it"))
    if isinstance(error, UnicodeDecodeError):
        return Fault(error=UsageError(f"cannot read {file}", why=reason_of(error), fix=otherwise))
    why = yaml_fault(error)  # not the error's own text, which quotes the file
    found = _PLACE.match(why)
    line, column = (int(found[1]), int(found[2])) if found else (0, 0)
    told = UsageError(f"{file} is not valid YAML", why=why, fix="correct the file")
    return Fault(error=told, line=line, column=column)


def repository_text_faults(data: bytes, *, file: str, operators_file: str) -> tuple[Fault, ...]:
    """Return all that is wrong with the interlock.yaml of a repository; nothing for one that a run would read.

    Args:
        data: Its content.
        file: Its path, for people.
        operators_file: Where an operator could say what a repository may not.
    """
    document = read_text(data, file=file)
    if isinstance(document, Fault):
        return (document,)
    parsed = parsed_document(document, file=file)
    if isinstance(parsed, tuple):
        return parsed
    authority = tuple(
        Fault(error=error, where=tuple(key.split(".")), is_key=True)
        for key, error in repository_faults(document, file=file, operators_file=operators_file)
    )
    return authority or tuple(_pace_faults(parsed))


def parsed_document(document: Mapping[str, Any], *, file: str) -> Document | tuple[Fault, ...]:
    """Return what a file of settings says, or all that is wrong with its shape, what explains the rest first."""
    from pydantic import ValidationError

    from interlock.settings.document import Document

    try:
        return Document.model_validate(document)
    except ValidationError as error:
        return tuple(shape_faults(file, error, Document.keys_at))


def shape_faults(
    file: str, error: ValidationError, keys_at: Callable[[Sequence[int | str]], list[str]], *, again: str = ""
) -> Iterator[Fault]:
    """Yield what a model said of a file of settings, as a person corrects it; misspelled keys first.

    They are why other keys are missing.

    Args:
        file: The file.
        error: What its model said.
        keys_at: Returns the valid keys at a place in it.
        again: What a person types once it is corrected; empty for what looks at the settings.
    """
    found = error.errors(include_url=False, include_input=False)
    for each in sorted(found, key=lambda one: one["type"] != "extra_forbidden"):
        is_key = each["type"] == "extra_forbidden"
        told = _unknown_key(file, each["loc"], keys_at) if is_key else _wrong_value(file, each, again)
        where = each["loc"][:-1] if each["type"] == "missing" else each["loc"]
        yield Fault(error=told, where=tuple(where), is_key=is_key)


def _wrong_value(file: str, found: Any, again: str) -> UsageError:
    what = found["msg"].removeprefix("Value error, ")  # pydantic's word before what our own checks say
    fix = f"correct the value, then: {again or command('doctor')}    docs/reference/configuration.md has all keys"
    return UsageError(f"{file}: {_dotted(found['loc'])}: {what}", fix=fix)


def _unknown_key(
    file: str, where: Sequence[int | str], keys_at: Callable[[Sequence[int | str]], list[str]]
) -> UsageError:
    import difflib

    near = difflib.get_close_matches(str(where[-1]), keys_at(where[:-1]), n=1, cutoff=0.5)
    meant = f"did you mean {near[0]!r}?" if near else "docs/reference/configuration.md lists all keys"
    why = "unknown keys are errors so that a typo cannot hide"
    return UsageError(f"{file}: unknown key {_dotted(where)!r}", why=why, fix=meant)


def _dotted(where: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in where)


def _pace_faults(parsed: Document) -> Iterator[Fault]:
    said = parsed.settings(Path())
    lease_s, heartbeat_s = said.get("lease_s", DEFAULT_LEASE_S), said.get("heartbeat_s", DEFAULT_HEARTBEAT_S)
    if (error := pace_fault(float(str(lease_s)), float(str(heartbeat_s)))) is not None:
        yield Fault(error=error, where=("run", "heartbeat" if "heartbeat_s" in said else "lease"))


def pace_fault(lease_s: float, heartbeat_s: float) -> UsageError | None:
    """Return why heartbeats are too slow for a lease; None when they are not."""
    if heartbeat_s * 2 <= lease_s:
        return None
    return UsageError(
        f"a heartbeat of {heartbeat_s:g}s is too slow for a lease of {lease_s:g}s",
        why="one late heartbeat would already look like silence",
        fix="make the lease at least twice the heartbeat",
    )
