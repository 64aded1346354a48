"""Which address texts of a state Terraform's own reader accepts: modules, dependencies, checks, providers.

Terraform reads them with its configuration language, so `resource.count.a` and `module.m["\u00e4"].t.a` are addresses
and `count.a` is none. What is stored here is only ever asked about; `interlock.address` reads what is worked with.

Source: Terraform internal/addrs (parse_target.go, module_instance.go, checkable.go, provider_config.go), facts only;
tests/corpus/state_mutants.json has the verdicts of real binaries.
"""

from __future__ import annotations

import math
import re
from typing import Final, TypeAlias

from interlock.late_pattern import late

MAX_ADDRESS_CHARS: Final = 8192  # far longer than a name that a person could read; bounds the work on hostile input

Key: TypeAlias = int | float | str
Step: TypeAlias = "str | tuple[Key]"
"""A name, or a key in square brackets."""

_NAME: Final = late(r"[^\W\d_][\w-]*|_[\w-]*")
_BLANK: Final = late(r"(?:[ \t\r\n]|#[^\n]*(?:\n|\Z)|//[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_NUMBER: Final = late(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_TEXT: Final = late(
    r'"((?:[^"\\$%\r\n]|\\["\\nrt]|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\$\$\{|%%\{|\$(?!\{)|%(?!\{))*)"'
)
_ESCAPE: Final = late(r'\\(["\\nrt]|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})|\$\$\{|%%\{')
_RESERVED: Final = frozenset(
    "count each local module path self terraform var template lazy arg list".split()  # noqa: SIM905 - easier to compare
)
# `list.` begins a resource's address since Terraform 1.14, and is one of a type `list` before: neither is read by all.
_MODES: Final = frozenset({"data", "ephemeral", "resource"})
_CHECK_WORDS: Final = {"output": "output", "check": "check", "var": "var"}


def is_module(text: str) -> bool:
    """Whether this is a module instance: `module.a["k"].module.b`."""
    steps = _steps(text)
    return steps is not None and _after_module(steps) == []


def is_dependency(text: str) -> bool:
    """Whether this is a resource without instance key, as `dependencies` list them."""
    steps = _steps(text)
    rest = None if steps is None else _after_module(steps)
    return bool(rest) and _is_resource(rest or [], keyed=False)


def is_checkable(kind: str, text: str, *, keyed: bool) -> bool:
    """Whether this names something that has checks.

    Args:
        kind: `resource`, `output`, `check` or `var`; of a kind that Terraform does not know every text is good.
        text: The address.
        keyed: Whether it may have instance keys; the configuration's address may not.
    """
    if kind != "resource" and kind not in _CHECK_WORDS:
        return True
    steps = _steps(text)
    if steps is None or (not keyed and any(isinstance(step, tuple) for step in steps)):
        return False
    rest = _after_module(steps)
    if not rest:
        return False
    if kind == "resource":
        return _is_resource(rest, keyed=True)
    return len(rest) == 2 and rest[0] == _CHECK_WORDS[kind] and isinstance(rest[1], str)  # noqa: PLR2004 - word and name


def is_provider(text: str) -> bool:
    """Whether this names a provider's configuration, today's way or that of Terraform 0.12.

    Terraform says nothing about a resource whose provider it cannot read: it forgets the resource.
    """
    steps = _steps(text)
    rest = None if steps is None else _after_module(steps)
    if steps is None or not rest or rest[0] != "provider":
        return False
    if any(isinstance(step, tuple) for step in steps[: len(steps) - len(rest)]):
        return False
    match rest[1:]:
        case [str()] | [str(), str()]:
            return True
        case [(str(source),)] | [(str(source),), str()]:
            return _is_source(source)
        case _:
            return False


def _is_source(text: str) -> bool:
    parts = text.split("/")
    return len(parts) <= 3 and all(re.fullmatch(r"[\w.:-]+", part) for part in parts)  # noqa: PLR2004 - host, namespace, type


def _is_resource(rest: list[Step], *, keyed: bool) -> bool:
    if isinstance(rest[0], str) and rest[0] in _MODES:
        rest = rest[1:]
    elif rest[0] in _RESERVED:
        return False
    match rest:
        case [str(), str()]:
            return True
        case [str(), str(), (key,)]:
            return keyed and (isinstance(key, str) or key == int(key))
        case _:
            return False


def _after_module(steps: list[Step]) -> list[Step] | None:
    """Return the steps after the path of modules; None when that path is broken off or has a bad key."""
    at = 0
    while at < len(steps) and steps[at] == "module":
        if at + 1 >= len(steps) or not isinstance(steps[at + 1], str):
            return None
        at += 2
        if at < len(steps) and isinstance(step := steps[at], tuple):
            if not isinstance(step[0], str) and step[0] != int(step[0]):
                return None
            at += 1
    rest = steps[at:]
    return None if rest and isinstance(rest[0], tuple) else rest


def _steps(text: str) -> list[Step] | None:
    """Read names and keys; None when the text is no such chain."""
    if len(text) > MAX_ADDRESS_CHARS:
        return None
    found: list[Step] = []
    at = _skip(text, 0)
    while at < len(text):
        read = _key(text, at + 1) if text[at] == "[" and found else _step(text, at, first=not found)
        if read is None:
            return None
        found.append(read[0])
        at = _skip(text, read[1])
    return found or None


def _step(text: str, at: int, *, first: bool) -> tuple[Step, int] | None:
    if not first:
        if text[at] != ".":
            return None
        at = _skip(text, at + 1)
    name = _NAME.match(text, at)
    return None if name is None else (name[0], name.end())


def _key(text: str, at: int) -> tuple[Step, int] | None:
    at = _skip(text, at)
    key: Key
    if quoted := _TEXT.match(text, at):
        key, at = _ESCAPE.sub(_plain, quoted[1]), quoted.end()
    elif number := _NUMBER.match(text, at):
        key, at = float(number[0]), number.end()
        if key == math.inf:
            return None
    else:
        return None
    at = _skip(text, at)
    return ((key,), at + 1) if text[at : at + 1] == "]" else None


def _plain(escape: re.Match[str]) -> str:
    code = escape[1]
    if code is None:
        return escape[0][1:]
    if code[0] in "uU":
        point = int(code[1:], 16)
        return chr(point) if point <= 0x10FFFF else "\ufffd"  # noqa: PLR2004 - the last code point
    return {"n": "\n", "r": "\r", "t": "\t"}.get(code, code)


def _skip(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank is not None else at
