"""What one field of a declared object may hold, and what the API keeps of it. Pure.

A row of the table (`table/`) names its fields with these values. What a body holds besides is dropped, as the vendor's
API drops what it does not know; so a field that a client needs and the table forgot shows up as a difference at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final

from .answer import Json, bad_request
from .call import MAX_LIST_ITEMS, Call, division, identifier_of, reference, references

MAX_TEXT_LENGTH = 50_000  # ours: the longest documented text is a knowledge document
MAX_OBJECT_DEPTH = 24  # ours: deeper nesting than any form or flow of the vendor has

_ABSENT: Final = object()


class Form(Enum):
    """How a value is spelled in JSON."""

    TEXT = auto()
    FLAG = auto()
    WHOLE = auto()
    NUMBER = auto()
    LIST = auto()
    OBJECT = auto()
    ANY = auto()
    REFERENCE = auto()
    REFERENCES = auto()
    DIVISION = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field.

    Attributes:
        form: How its value is spelled.
        needed: A write without it is refused with 400.
        default: What the API fills in when it is absent; None for nothing.
        allowed: The only values, if there are so few.
        kind: For references, our word for what they name; empty when that is not checked.
        holds: What the reference names may not be deleted while this object lives (409).
        read_only: The API sets it; what a client sends is ignored.
        once: Set by the creation alone; an update keeps it.
        secret: Kept, never shown.
    """

    form: Form
    needed: bool = False
    default: Any = None
    allowed: tuple[str, ...] = ()
    kind: str = ""
    holds: bool = False
    read_only: bool = False
    once: bool = False
    secret: bool = False


TEXT = Field(form=Form.TEXT)
NAME = Field(form=Form.TEXT, needed=True)
FLAG = Field(form=Form.FLAG)
WHOLE = Field(form=Form.WHOLE)
NUMBER = Field(form=Form.NUMBER)
LIST = Field(form=Form.LIST)
OBJECT = Field(form=Form.OBJECT)
ANY = Field(form=Form.ANY)
DIVISION = Field(form=Form.DIVISION)


def needed(field: Field) -> Field:
    """Return the field as one that every write must have."""
    return replace(field, needed=True)


def usual(field: Field, value: Any) -> Field:
    """Return the field with the value that the API fills in when it is absent."""
    return replace(field, default=value)


def once(field: Field) -> Field:
    """Return the field as one that only the creation sets."""
    return replace(field, once=True)


def secret(field: Field) -> Field:
    """Return the field as one that is never shown."""
    return replace(field, secret=True)


def given(value: Any) -> Field:
    """Return a field that the API sets itself, to `value` at the creation."""
    return Field(form=Form.ANY, read_only=True, default=value)


def choice(*allowed: str) -> Field:
    """Return a text with a closed set of values; the first is filled in."""
    return Field(form=Form.TEXT, allowed=allowed, default=allowed[0])


def refers(kind: str = "") -> Field:
    """Return a reference that does not keep what it names from being deleted."""
    return Field(form=Form.REFERENCE, kind=kind)


def refer_all(kind: str = "") -> Field:
    """Return a list of such references."""
    return Field(form=Form.REFERENCES, kind=kind)


def held(kind: str) -> Field:
    """Return a reference that keeps what it names from being deleted."""
    return Field(form=Form.REFERENCE, kind=kind, holds=True)


def held_all(kind: str) -> Field:
    """Return a list of such references."""
    return Field(form=Form.REFERENCES, kind=kind, holds=True)


def fields(field: Field, names: str) -> dict[str, Field]:
    """Return several fields of one form, their names separated by spaces."""
    return dict.fromkeys(names.split(), field)


def build_body(call: Call, declared: Mapping[str, Field], body: Json, current: Json | None) -> Json:
    """Return what is kept of a body; `current` is the stored body that it replaces, None at the creation.

    Raises:
        ApiRefusal: 400, a needed field is missing, a value has another form, or a reference names nothing.
    """
    kept = {name: _kept(call, name, field, body, current) for name, field in declared.items()}
    return {name: value for name, value in kept.items() if value is not None}


def _kept(call: Call, name: str, field: Field, body: Json, current: Json | None) -> Any:
    if current is not None and (field.read_only or field.once):
        return current.get(name)
    if field.form is Form.DIVISION:
        return division(call, body, current, any_allowed=field.default == "*")
    value = None if field.read_only else body.get(name)
    if value is None or (value == "" and field.allowed):
        if field.needed:
            raise bad_request(f"The field '{name}' is required", "invalid.value")
        return field.default
    return _checked(call, name, field, value)


def _checked(call: Call, name: str, field: Field, value: Any) -> Any:
    if field.form is Form.REFERENCE:
        return _reference(call, name, field, value)
    if field.form is Form.REFERENCES:
        return _references(call, name, field, value)
    if not _FORMS[field.form](value) or (field.needed and value in ("", [], {})):
        raise bad_request(f"The field '{name}' has a value that is not allowed", "invalid.value")
    if field.allowed and value not in field.allowed:
        raise bad_request(f"The field '{name}' must be one of {', '.join(field.allowed)}", "invalid.value")
    return value


def _reference(call: Call, name: str, field: Field, value: Any) -> Json | None:
    if value in ({}, {"id": None}, {"id": ""}, ""):
        return None
    if not field.kind:
        return {"id": identifier_of(value)}
    return reference(call, {name: value}, name, field.kind)


def _references(call: Call, name: str, field: Field, value: Any) -> list[Json]:
    if field.kind:
        return references(call, {name: value}, name, field.kind)
    if not isinstance(value, list) or len(value) > MAX_LIST_ITEMS:
        raise bad_request(f"The field '{name}' must be a list of references", "invalid.value")
    return [{"id": identifier_of(item)} for item in value]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_shallow(value: Any, depth: int = MAX_OBJECT_DEPTH) -> bool:
    if depth == 0:
        return False
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(_is_shallow(item, depth - 1) for item in inner)


_FORMS: dict[Form, Callable[[Any], bool]] = {
    Form.TEXT: lambda value: isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH,
    Form.FLAG: lambda value: isinstance(value, bool),
    Form.WHOLE: _is_whole,
    Form.NUMBER: lambda value: isinstance(value, float) or _is_whole(value),
    Form.LIST: lambda value: isinstance(value, list) and len(value) <= MAX_LIST_ITEMS and _is_shallow(value),
    Form.OBJECT: lambda value: isinstance(value, dict) and _is_shallow(value),
    Form.ANY: _is_shallow,
}
