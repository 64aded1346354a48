"""Sensitive values masked before anything is shown.

What masks a value: the state marks its place (`sensitive_attributes`, sensitive outputs), the provider's schema does, a
name on the way sounds like a secret, its text looks like one, the marks cannot be read, or a part of it is a copy of a
value that was masked for its place anywhere in the documents (`collect_secrets`). When in doubt, mask: a value can be
looked up with `interlock state pull`, but not taken back from a log.

Knows: document, secrecy. Source: the marks are those of Terraform's state format 4
(docs/facts/terraform-state.md#state-1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from interlock.late_pattern import late
from interlock.secrecy import (
    MIN_COPY_CHARS,
    NO_SECRETS,
    Secrets,
    all_texts,
    gather_secrets,
    is_named_pair,
    may_name_secrets,
    secret_places,
    sounds_secret,
)
from interlock.state.document import Document, ObjectKey

MASK = "(sensitive)"
_SHORT = 64  # characters of a text that may well occur again
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
_UUID = late(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_FIELDS = msgspec.json.Decoder(_Attributes)
_MARKED = msgspec.json.Decoder(_Marks)
_NULL = Raw(b"null")
_CLEAR = Secrets()
"""Stands for: every part was looked at already, and nothing in it is a copy or looks like a secret."""
_EVERYTHING: tuple[Path, ...] = ((),)


def sensitive_paths(instance: Raw, kind: str = "") -> tuple[Path, ...]:
    """Return the places of one instance that the state or the provider's schema marks as sensitive.

    Marks that cannot be read hide the whole instance: the empty path is above every other.

    Args:
        instance: As written.
        kind: Its resource type.
    """
    try:
        steps = _STEPS.decode(_MARKED.decode(instance).sensitive_attributes) or []
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
    marks = _grow(marked)
    return gather_secrets(text for value in values for text in _hidden(value, marks))


def _secret_texts(document: Document) -> Iterator[str]:
    for name, raw in document.outputs.items():
        try:
            output = msgspec.json.decode(raw, type=_Output)
            hidden = _HIT if output.sensitive else _NO_MARKS
            yield from _hidden(_EXACT.decode(output.value), hidden, named=sounds_secret(name))
        except (msgspec.MsgspecError, RecursionError):
            continue
    for resource in document.resources:
        for raw in resource.instances:
            try:
                yield from _secrets_of(raw, resource.type)
            except (msgspec.MsgspecError, RecursionError):
                continue  # it is shown as one mask


def _secrets_of(instance: Raw, kind: str) -> Iterator[str]:
    written, marked = _written(instance), sensitive_paths(instance, kind)
    if marked or may_name_secrets(bytes(written).decode()):
        yield from _hidden(_EXACT.decode(written), _grow(marked))


def _hidden(value: object, marks: _MarkTree, *, named: bool = False) -> Iterator[str]:
    """Yield the texts and numbers below a value that are masked for their place.

    Args:
        value: As JSON has it.
        marks: What is marked below it.
        named: A name on the way sounds secret.
    """
    if isinstance(value, dict):
        for name, each in value.items():
            if name != "type" or isinstance(each, dict | list):  # the type of a dynamic value is not a value
                yield from _hidden(each, marks.below(name), named=named or sounds_secret(name))
        if is_named_pair(value):
            yield from all_texts(value.get("value"))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _hidden(each, marks.below(place), named=named)
    elif value is not None and not isinstance(value, bool):
        text = str(value)
        if marks.is_hit or (named and not _UUID.match(text)):
            yield text


class _MarkTree:
    """The marks below one place, as trees of steps. A mark without indexes counts for every index on the way."""

    __slots__ = ("_exact", "_names", "is_hit")

    def __init__(self, exact: Mapping[Any, Any], names: Mapping[Any, Any], *, is_hit: bool = False) -> None:
        self._exact = exact
        self._names = names
        self.is_hit = is_hit or _HERE in exact or _HERE in names

    def below(self, step: str | int) -> _MarkTree:
        """Return the marks one step further down."""
        if self.is_hit:
            return _HIT
        exact = self._exact.get(step, _NOTHING) if self._exact else _NOTHING
        names = self._names if isinstance(step, int) else self._names.get(step, _NOTHING) if self._names else _NOTHING
        return _MarkTree(exact, names) if exact or names else _NO_MARKS


_HERE = object()
_NOTHING: Mapping[Any, Any] = {}
_NO_MARKS = _MarkTree(_NOTHING, _NOTHING)
_HIT = _MarkTree(_NOTHING, _NOTHING, is_hit=True)


def _grow(marked: Iterable[Path]) -> _MarkTree:
    exact: dict[Any, Any] = {}
    names: dict[Any, Any] = {}
    for mark in marked:
        trees = (exact,) if any(isinstance(step, int) for step in mark) else (exact, names)
        for tree in trees:
            for step in mark:
                tree = tree.setdefault(step, {})  # noqa: PLW2901 - the way down
            tree[_HERE] = True
    return _MarkTree(exact, names)


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
    return _EXACT.decode(_written(instance))


def _written(instance: Raw) -> Raw:
    fields = _FIELDS.decode(instance)
    return fields.attributes if fields.attributes != _NULL else fields.attributes_flat


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
        written, marked = _written(instance), sensitive_paths(instance, kind)
        attributes, text = _EXACT.decode(written), bytes(written).decode()
        own = secrets if secrets is not NO_SECRETS else secrets_within((attributes,), marked)
        if own.is_clear(text):
            own = _CLEAR
            if not marked and not may_name_secrets(text):
                return plain(attributes)
        return mask(attributes, marked, secrets=own)
    except (msgspec.MsgspecError, RecursionError):
        return MASK


def masked_output(name: str, output: Raw, secrets: Secrets = NO_SECRETS) -> object:
    """Return the value of an output, or `MASK` when it is marked or its name sounds secret."""
    try:
        fields = msgspec.json.decode(output, type=_Output)
        if fields.sensitive or sounds_secret(name):
            return MASK
        return mask(_EXACT.decode(fields.value), (), secrets=secrets)
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

    Null stays null; exact numbers become plain ones, see `plain`.
    """
    if value is None:
        return None
    if is_masked(path, marked):
        return MASK
    marks = _grow(marked)
    for step in path:
        marks = marks.below(step)
    return _masked(value, marks, secrets)


def _masked(value: object, marks: _MarkTree, secrets: Secrets) -> object:
    if isinstance(value, str):
        return _hidden_number(value, secrets) if isinstance(value, _Number) else _hidden_text(value, secrets)
    if isinstance(value, dict):
        pair = is_named_pair(value)
        return {
            _hidden_text(name, secrets): _masked_entry(name, each, marks, secrets, pair=pair)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_masked_entry(place, each, marks, secrets) for place, each in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    return _hidden_number(value, secrets)


def _masked_entry(step: str | int, value: object, marks: _MarkTree, secrets: Secrets, *, pair: bool = False) -> object:
    if value is None:
        return None
    if marks is not _NO_MARKS:
        marks = marks.below(step)
        if marks.is_hit:
            return MASK
    if isinstance(step, str) and (sounds_secret(step) or (pair and step == "value")):
        return MASK
    return _masked(value, marks, secrets)


def _hidden_text(value: str, secrets: Secrets) -> str:
    return value if secrets is _CLEAR else secrets.hide_short(value) if len(value) <= _SHORT else secrets.hide(value)


def _hidden_number(value: object, secrets: Secrets) -> object:
    text = str(value)
    hidden = secrets.hide(text) if secrets is not _CLEAR and len(text) >= MIN_COPY_CHARS else text
    return plain(value) if hidden == text else hidden


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
