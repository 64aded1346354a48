"""Sensitive values masked before anything is shown.

Four rules, and any one of them masks: the state marks the path (`sensitive_attributes`, sensitive outputs), the text
is a copy of a marked one, the name of a field sounds like a secret, or the marks cannot be read. When in doubt, mask:
a value can be looked up with `interlock state pull`, but not taken back from a log.

Knows: document. Source: the marks are those of Terraform's state format 4 (section 5.1 of the facts).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TypeAlias

import msgspec
from msgspec import Raw, Struct

from interlock.state.document import Document, ObjectKey

MASK = "(sensitive)"
Path: TypeAlias = tuple[str | int, ...]
"""Steps into a value: names of attributes and keys of maps, indexes of lists."""

# Names under which providers keep secrets, also where their schema forgets to mark them. Word parts are matched whole,
# so that `token_url`, `key_name` or `secretary` are not hidden.
_SECRET_NAME = re.compile(
    r"(?:\A|[_\-.])(?:password|passwd|passphrase|secret|secrets|token|tokens|credential|credentials|private_?key|"
    r"api_?key|access_?key|client_?secret|connection_?string|certificate_?pem|authorization)(?:\Z|[_\-.](?:value|text|base64|pem|hash)\Z)",
    re.IGNORECASE,
)


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
_COPY_CHARS = 6  # a shorter text is masked where it is marked, not wherever else it happens to occur
_EVERYTHING: tuple[Path, ...] = ((),)


def sounds_secret(name: str) -> bool:
    """Whether a field of this name usually holds a secret."""
    return _SECRET_NAME.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)) is not None


def sensitive_paths(instance: Raw) -> tuple[Path, ...]:
    """Return the paths of one instance which the state marks as sensitive, and those that hold a copy of such a value.

    Marks that cannot be read hide the whole instance: the empty path is above every other.
    """
    try:
        steps = _STEPS.decode(msgspec.json.decode(instance, type=_Marks).sensitive_attributes) or []
        marks = [path for each in steps for path in _as_stored(tuple(_step(step) for step in each))]
        return (*marks, *_copies(read_attributes(instance), marks)) if marks else ()
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


def _copies(attributes: object, marks: Sequence[Path]) -> Iterator[Path]:
    """Yield where a marked text occurs once more: the `output` of terraform_data is its `input`, without the mark."""
    leaves = list(_texts(attributes, ()))
    secrets = {text for path, text in leaves if len(text) >= _COPY_CHARS and is_masked(path, marks)}
    return (path for path, text in leaves if text in secrets)


def _texts(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name in (
            ("value",) if value.keys() == {"value", "type"} else value
        ):  # the name of a dynamic type is no value
            each = value[name]
            yield from _texts(each, (*path, name))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _texts(each, (*path, place))


def is_masked(path: Path, marked: Iterable[Path]) -> bool:
    """Whether the value at `path` must not be shown: it is at or below a mark, or a name on the way sounds secret."""
    if any(path[: len(mark)] == mark for mark in marked):
        return True
    return any(isinstance(step, str) and sounds_secret(step) for step in path)


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


def masked_attributes(instance: Raw) -> object:
    """Return the attributes of an instance with every sensitive value replaced by `MASK`.

    Attributes that cannot be read are masked as a whole.
    """
    try:
        return plain(mask(read_attributes(instance), sensitive_paths(instance)))
    except (msgspec.MsgspecError, RecursionError):
        return MASK


def masked_output(name: str, output: Raw) -> object:
    """Return the value of an output, or `MASK` when it is marked or its name sounds secret."""
    try:
        fields = msgspec.json.decode(output, type=_Output)
        return MASK if fields.sensitive or sounds_secret(name) else plain(mask(_EXACT.decode(fields.value), ()))
    except (msgspec.MsgspecError, RecursionError):
        return MASK


def masked_document(document: Document) -> dict[str, object]:
    """Return a state as plain values for people and for `--json`, without a single secret.

    Raises:
        StateInvalid: The instances cannot be told apart.
    """
    return {
        "version": document.version,
        "terraform_version": document.terraform_version,
        "serial": document.serial,
        "lineage": document.lineage,
        "outputs": {name: masked_output(name, raw) for name, raw in document.outputs.items()},
        "instances": [_masked_instance(key, raw) for key, raw in document.objects().items()],
    }


def mask(value: object, marked: Sequence[Path], path: Path = ()) -> object:
    """Replace every value at or below a marked path, or under a secret name, by `MASK`. Null stays null."""
    if value is None:
        return None
    if is_masked(path, marked):
        return MASK
    if isinstance(value, dict):
        return {name: mask(each, marked, (*path, name)) for name, each in value.items()}
    if isinstance(value, list):
        return [mask(each, marked, (*path, place)) for place, each in enumerate(value)]
    return value


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


def _masked_instance(key: ObjectKey, raw: Raw) -> dict[str, object]:
    shown: dict[str, object] = {"address": str(key.address())}
    if key.deposed:
        shown["deposed"] = key.deposed
    return {**shown, "attributes": masked_attributes(raw)}


def _step(step: dict[str, Raw]) -> str | int:
    """Read one step: `{"type":"get_attr","value":"x"}` or `{"type":"index","value":{"value":0,"type":"number"}}`."""
    value = msgspec.json.decode(step["value"])
    inner = value["value"] if isinstance(value, dict) else value
    if not isinstance(inner, str | int):
        raise KeyError("value")
    return inner
