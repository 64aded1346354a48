"""Sensitive values masked before anything is shown.

What masks a value: the state marks its place (`sensitive_attributes`, sensitive outputs), the provider's schema does, a
name on the way sounds like a secret, its text looks like one, the marks cannot be read, or a part of it is a copy of a
value that was masked for its place anywhere in the documents (`collect_secrets`). When in doubt, mask: a value can be
looked up with `interlock state pull`, but not taken back from a log.

Knows: document, secrecy. Source: the marks are those of Terraform's state format 4 (section 5.1 of the facts).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TypeAlias

import msgspec
from msgspec import Raw, Struct

from interlock.secrecy import (
    NO_SECRETS,
    Secrets,
    all_texts,
    gather_secrets,
    is_named_pair,
    secret_places,
    sounds_secret,
)
from interlock.state.document import Document, ObjectKey

MASK = "(sensitive)"
Path: TypeAlias = tuple[str | int, ...]
"""Steps into a value: names of attributes and keys of maps, indexes of lists."""


class _Marks(Struct, gc=False):
    sensitive_attributes: Raw = Raw(b"null")


class _Attributes(Struct, gc=False):
    attributes: Raw = Raw(b"null")
    attributes_flat: Raw = Raw(b"null")


class _Output(Struct, gc=False):
    value: Raw = Raw(b"null")
    sensitive: bool = False


class _Number(str):
    """A number as it is written in the document."""

    __slots__ = ()


_STEPS = msgspec.json.Decoder(list[list[dict[str, Raw]]] | None)
# The text of a number is kept, because rounding it would show a change that is none.
_EXACT = msgspec.json.Decoder(float_hook=_Number)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_EVERYTHING: tuple[Path, ...] = ((),)


def sensitive_paths(instance: Raw, kind: str = "") -> tuple[Path, ...]:
    """Return the places of one instance that the state or the provider's schema marks as sensitive.

    Marks that cannot be read hide the whole instance: the empty path is above every other.

    Args:
        instance: As written.
        kind: Its resource type.
    """
    try:
        steps = _STEPS.decode(msgspec.json.decode(instance, type=_Marks).sensitive_attributes) or []
        marks = [path for each in steps for path in _as_stored(tuple(_step(step) for step in each))]
        return (*marks, *secret_places(kind))
    except (msgspec.MsgspecError, RecursionError, KeyError):
        return _EVERYTHING


def _as_stored(path: Path) -> Iterator[Path]:
    """Yield a marked path, and the same below an attribute of dynamic type.

    The state stores such a value as `{"value": …, "type": …}` (go-cty's encoding of a dynamic type), but its mark does
    not name that step: `triggers_replace[0]` of terraform_data is at `triggers_replace.value[0]`.
    """
    yield path
    for place in range(1, len(path)):
        yield (*path[:place], "value", *path[place:])


def collect_secrets(*documents: Document) -> Secrets:
    """Return every text that is masked for its place in one of these documents, to be found wherever else it occurs.

    A text under a name that sounds secret is left out when it is a UUID: `credentials` of Genesys Cloud lists ids.
    """
    return gather_secrets(text for document in documents for text in _secret_texts(document))


def secrets_within(values: Iterable[object], marked: Sequence[Path]) -> Secrets:
    """Return what is masked for its place in the attributes of one object."""
    return gather_secrets(text for value in values for text in _hidden(value, marked, ()))


def _secret_texts(document: Document) -> Iterator[str]:
    for name, raw in document.outputs.items():
        try:
            output = msgspec.json.decode(raw, type=_Output)
            yield from _hidden(_EXACT.decode(output.value), ((),) if output.sensitive else (), (name,))
        except (msgspec.MsgspecError, RecursionError):
            continue
    for resource in document.resources:
        for raw in resource.instances:
            try:
                attributes = read_attributes(raw)
            except (msgspec.MsgspecError, RecursionError):
                continue  # it is shown as one mask
            yield from _hidden(attributes, sensitive_paths(raw, resource.type), ())


def _hidden(value: object, marked: Sequence[Path], path: Path) -> Iterator[str]:
    """Yield the texts and numbers below a value that are masked for their place."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _hidden(each, marked, (*path, name))
        if is_named_pair(value):
            yield from all_texts(value.get("value"))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _hidden(each, marked, (*path, place))
    elif isinstance(value, bool) or value is None or path[-1:] == ("type",):
        return  # the type of a dynamic value is no value
    elif _is_at(path, marked) or (is_masked(path, ()) and not _UUID.match(str(value))):
        yield str(value)


def _is_at(path: Path, marked: Iterable[Path]) -> bool:
    return any(_matches(path, mark) for mark in marked)


def _matches(path: Path, mark: Path) -> bool:
    """Whether a path is at or below a mark; a mark of a schema says nothing of indexes."""
    if path[: len(mark)] == mark:
        return True
    names = tuple(step for step in path if isinstance(step, str))
    return names[: len(mark)] == mark


def named_places(value: object, path: Path = ()) -> Iterator[Path]:
    """Yield where a map says in words that its `value` is secret: `{"name": "Authorization", "value": …}`."""
    if isinstance(value, dict):
        if is_named_pair(value):
            yield (*path, "value")
        for name, each in value.items():
            yield from named_places(each, (*path, name))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from named_places(each, (*path, place))


def is_masked(path: Path, marked: Iterable[Path]) -> bool:
    """Whether the value at `path` must not be shown: it is at or below a mark, or a name on the way sounds secret."""
    return _is_at(path, marked) or any(isinstance(step, str) and sounds_secret(step) for step in path)


def read_attributes(instance: Raw) -> object:
    """Return the attributes of an instance with exact numbers, unmasked. Only for comparing.

    Raises:
        msgspec.MsgspecError: The instance is not readable.
    """
    fields = msgspec.json.decode(instance, type=_Attributes)
    raw = fields.attributes if fields.attributes != Raw(b"null") else fields.attributes_flat
    return _EXACT.decode(raw)


def read_exactly(raw: Raw) -> object:
    """Return any JSON value with exact numbers, unmasked. Only for comparing."""
    return _EXACT.decode(raw)


def masked_attributes(instance: Raw, kind: str = "", secrets: Secrets = NO_SECRETS) -> object:
    """Return the attributes of an instance with every sensitive value replaced by `MASK`.

    Attributes that cannot be read are masked as a whole.

    Args:
        instance: As written.
        kind: Its resource type.
        secrets: What is hidden wherever it occurs; see `collect_secrets`.
    """
    try:
        attributes, marked = read_attributes(instance), sensitive_paths(instance, kind)
        own = secrets if secrets is not NO_SECRETS else secrets_within((attributes,), marked)
        return plain(mask(attributes, marked, secrets=own))
    except (msgspec.MsgspecError, RecursionError):
        return MASK


def masked_output(name: str, output: Raw, secrets: Secrets = NO_SECRETS) -> object:
    """Return the value of an output, or `MASK` when it is marked or its name sounds secret."""
    try:
        fields = msgspec.json.decode(output, type=_Output)
        if fields.sensitive or sounds_secret(name):
            return MASK
        return plain(mask(_EXACT.decode(fields.value), (), secrets=secrets))
    except (msgspec.MsgspecError, RecursionError):
        return MASK


def masked_document(document: Document) -> dict[str, object]:
    """Return a state as plain values for people and for `--json`, without a single secret.

    Raises:
        StateInvalid: The instances cannot be told apart.
    """
    secrets = collect_secrets(document)
    outputs = {secrets.hide(name): masked_output(name, raw, secrets) for name, raw in document.outputs.items()}
    return {
        "version": document.version,
        "terraform_version": document.terraform_version,
        "serial": document.serial,
        "lineage": document.lineage,
        "outputs": outputs,
        "instances": [_masked_instance(key, raw, secrets) for key, raw in document.objects().items()],
    }


def mask(value: object, marked: Sequence[Path], path: Path = (), secrets: Secrets = NO_SECRETS) -> object:
    """Replace what may not be shown by `MASK`: below a mark or a secret name whole, elsewhere each copy of a secret.

    Null stays null.
    """
    if value is None:
        return None
    if is_masked(path, marked):
        return MASK
    if isinstance(value, dict):
        return {secrets.hide(name): mask(each, marked, (*path, name), secrets) for name, each in _rows(value)}
    if isinstance(value, list):
        return [mask(each, marked, (*path, place), secrets) for place, each in enumerate(value)]
    if isinstance(value, bool):
        return value
    text = str(value)
    hidden = secrets.hide(text)
    return value if hidden == text else hidden


def _rows(value: dict[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the entries of a map; the value of `{"name": "Authorization", "value": …}` is one named so."""
    named = is_named_pair(value)
    for key, each in value.items():
        yield key, MASK if named and key == "value" and each is not None else each


def plain(value: object) -> object:
    """Turn exact numbers into plain ones for showing; one that a float would round stays text."""
    if isinstance(value, _Number):
        return _shown_number(value)
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def _shown_number(text: _Number) -> object:
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else str(text)


def _masked_instance(key: ObjectKey, raw: Raw, secrets: Secrets) -> dict[str, object]:
    shown: dict[str, object] = {"address": secrets.hide(str(key.address()))}
    if key.deposed:
        shown["deposed"] = key.deposed
    return {**shown, "attributes": masked_attributes(raw, key.type, secrets)}


def _step(step: dict[str, Raw]) -> str | int:
    """Read one step: `{"type":"get_attr","value":"x"}` or `{"type":"index","value":{"value":0,"type":"number"}}`."""
    value = msgspec.json.decode(step["value"])
    inner = value["value"] if isinstance(value, dict) else value
    if not isinstance(inner, str | int):
        raise KeyError("value")
    return inner
