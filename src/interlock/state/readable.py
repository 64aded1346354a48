"""Whether Terraform's own reader takes the parts of a state that Interlock itself never looks into.

Each question is answered as that reader does, which is Go's JSON decoder followed by Terraform's own checks. So null
stands for "not there" everywhere, and a number is not a text. Where versions differ, the strictest decides: a state
must stay readable by the Terraform that comes next.

Knows: addresses. Source: Terraform internal/states/statefile/version4.go and go-cty's JSON form of types and values,
facts only; tests/corpus/state_mutants.json has the verdicts of real binaries.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

from interlock.late_pattern import late
from interlock.state.addresses import is_checkable

_MAX_SEGMENT: Final = 2**63 - 1
_VERSION: Final = late(
    r"v?(?P<core>[0-9]+(?:\.[0-9]+)*?)"
    r"(?:-[0-9]+[0-9A-Za-z\-~]*(?:\.[0-9A-Za-z\-~]+)*|-?[A-Za-z\-~]+[0-9A-Za-z\-~]*(?:\.[0-9A-Za-z\-~]+)*)?"
    r"(?:\+[0-9A-Za-z\-~]+(?:\.[0-9A-Za-z\-~]+)*)?"
)
_NUMBER: Final = late(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_PRIMITIVES: Final = frozenset({"string", "number", "bool", "dynamic"})
_BOOLS: Final = frozenset({"true", "false", "1", "0"})

Type: TypeAlias = "str | tuple[str, object]"
"""One of the primitive words, or a kind with what it holds."""


_ABSENT: Final = Raw(b"")  # unlike null


class _Output(Struct, gc=False):
    value: Raw = _ABSENT
    type: Raw = _ABSENT
    sensitive: bool | None = None


class _Step(Struct, gc=False):
    type: str | None = None
    value: Raw = _ABSENT


class _CheckObject(Struct, gc=False):
    object_addr: str | None = None
    status: str | None = None
    failure_messages: list[str | None] | None = None


class _Check(Struct, gc=False):
    object_kind: str | None = None
    config_addr: str | None = None
    status: str | None = None
    objects: list[_CheckObject | None] | None = None


_OUTPUT: Final = msgspec.json.Decoder(_Output)
_PATHS: Final = msgspec.json.Decoder(list[list[_Step | None] | None] | None)
_CHECKS: Final = msgspec.json.Decoder(list[_Check | None] | None)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ROWS: Final = msgspec.json.Decoder(list[dict[str, Raw] | None] | None)
_BROKEN: Final = (msgspec.MsgspecError, RecursionError, ValueError)


def is_version(text: str) -> bool:
    """Whether Terraform can read who wrote the state; empty is allowed."""
    found = _VERSION.fullmatch(text)
    if not text:
        return True
    return found is not None and all(int(part) <= _MAX_SEGMENT for part in found["core"].split("."))


def is_private(value: object) -> bool:
    """Whether this is base64, as bytes are written; a list of numbers is taken as well."""
    if value is None:
        return True
    if isinstance(value, list):
        return all(each is None or (type(each) is int and 0 <= each <= 255) for each in value)  # noqa: PLR2004 - a byte
    if not isinstance(value, str):
        return False
    try:
        base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def fault_of_marks(raw: Raw) -> str:
    """Say what is wrong with `sensitive_attributes`; empty when it can be read."""
    try:
        steps = [step or _Step() for path in _PATHS.decode(raw) or () for step in path or ()]
        for step in steps:
            if fault := _fault_of_step(step):
                return fault
        # A step has a type and a value. A third name is rare, so only then each object is taken apart.
        if msgspec.json.format(raw, indent=-1).count(b'":') != 2 * len(steps) and _names_twice(raw):
            return "a step of a path has a field twice, or twice but for upper and lower case: Go takes the last one"
    except _BROKEN:
        return "it is not a list of paths"
    return ""


def _fault_of_step(step: _Step) -> str:
    value = _decoded(step.value)
    match step.type:
        case "get_attr":
            good = step.value != _ABSENT and (value is None or isinstance(value, str))
        case "index":
            good = step.value != _ABSENT and _fits(value, "dynamic")
        case _:
            return "a step of a path is neither an attribute nor an index"
    return "" if good else f"a step {step.type} has no such value"


def fault_of_output(raw: Raw) -> str:
    """Say what is wrong with an output; empty when its type and value can be read."""
    try:
        fields = _FIELDS.decode(raw)
        output = _OUTPUT.decode(raw)
        kind = _type(_decoded(output.type))
        if _has_twin(fields, _Output):
            fault = "a field differs from one that Terraform knows in upper and lower case only"
        elif kind is None:
            fault = "its type is none that Terraform knows"
        else:
            readable = output.value != _ABSENT and _fits(_decoded(output.value), kind)
            fault = "" if readable else "its value is not of its type"
    except _BROKEN:
        fault = "it is not an object with a value and a type"
    return fault


def fault_of_checks(raw: Raw) -> str:
    """Say what is wrong with `check_results`; empty when they can be read."""
    try:
        if raw == Raw(b"null"):
            return ""
        if _names_twice(raw) or any(_has_twin(row or (), _Check) for row in _ROWS.decode(raw) or ()):
            return "check_results has a field twice, or one that differs from a known one in upper and lower case only"
        for check in _CHECKS.decode(raw) or ():
            each = check or _Check()
            kind, address = each.object_kind or "", each.config_addr or ""
            if not is_checkable(kind, address, keyed=False):
                return f"it has a check of {address!r}, which is not an address of a {kind}"
            for found in each.objects or ():
                if not is_checkable(kind, (found or _CheckObject()).object_addr or "", keyed=True):
                    return f"a check of {address!r} has an object without an address"
    except _BROKEN:
        return "check_results is neither null nor a list of objects"
    return ""


def _has_twin(names: Iterable[str], known: type[Struct]) -> bool:
    fields = known.__struct_fields__
    return any(name not in fields and name.casefold() in fields for name in names)


def _names_twice(raw: Raw) -> bool:
    """Say whether any object has two names that are one to Go's reader, which does not look at case."""
    doubled = False

    def look(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal doubled
        doubled = doubled or len({name.casefold() for name, _ in pairs}) < len(pairs)
        return dict(pairs)

    json.loads(bytes(raw), object_pairs_hook=look, parse_int=str, parse_float=str)
    return doubled


def _decoded(raw: Raw) -> object:
    return None if raw == _ABSENT else _EXACT.decode(raw)


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


_EXACT: Final = msgspec.json.Decoder(float_hook=_Number)


def _type(value: object) -> Type | None:
    """Read go-cty's form of a type; None when it is none."""
    if isinstance(value, str):
        return value if value in _PRIMITIVES and not isinstance(value, _Number) else None
    match value:
        case ["list" | "set" | "map" as kind, inner]:
            below = _type(inner)
            return None if below is None else (kind, below)
        case ["tuple", [*parts]]:
            types = [_type(part) for part in parts]
            return None if None in types else ("tuple", types)
        case ["object", dict() as fields, *optional] if _is_optional(optional, fields):
            named = {name: _type(part) for name, part in fields.items()}
            return None if None in named.values() else ("object", named)
        case _:
            return None


def _is_optional(rest: list[object], fields: dict[str, object]) -> bool:
    match rest:
        case []:
            return True
        case [[*names]]:
            return all(isinstance(name, str) and name in fields for name in names)
        case _:
            return False


def _fits(value: object, kind: Type) -> bool:
    """Whether a value can be read as this type. Null fits every type."""
    if value is None:
        return True
    if isinstance(kind, str):
        return _fits_primitive(value, kind)
    name, inner = kind
    if name in ("list", "set"):
        return isinstance(value, list) and all(_fits(each, inner) for each in value)  # type: ignore[arg-type]
    if name == "map":
        return isinstance(value, dict) and all(_fits(each, inner) for each in value.values())  # type: ignore[arg-type]
    if name == "tuple":
        assert isinstance(inner, list)
        return isinstance(value, list) and len(value) == len(inner) and all(map(_fits, value, inner))
    assert isinstance(inner, dict)
    # An attribute that is not there is null.
    return isinstance(value, dict) and all(name in inner and _fits(each, inner[name]) for name, each in value.items())


def _fits_primitive(value: object, kind: str) -> bool:
    number = isinstance(value, _Number) or (isinstance(value, int) and not isinstance(value, bool))
    text = isinstance(value, str) and not isinstance(value, _Number)
    match kind:
        case "string":
            return number or text or isinstance(value, bool)
        case "number":
            return number or (text and _NUMBER.fullmatch(str(value)) is not None)
        case "bool":
            return isinstance(value, bool) or (text and value in _BOOLS)
        case _:
            if not isinstance(value, dict) or value.keys() != {"value", "type"}:
                return False
            inner = _type(value["type"])
            return inner is not None and _fits(value["value"], inner)
