"""What is sent to the TFE API, read. Pure.

Clients send more than is used here; what would be left undone in silence is refused instead.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import msgspec

from interlock.bounded import decode_json
from interlock.errors import UsageError, reason_of
from interlock.secrecy import PartlyShown

TAGS_MAX: Final = 100
TAG_CHARS_MAX: Final = 256
_MD5 = re.compile(r"[0-9a-f]{32}\Z", re.ASCII)
_SERIAL_MAX = 2**63 - 1
_LINEAGE_MAX = 256
_QUERY_TAG = re.compile(r"filter\[tagged\]\[(\d{1,3})\]\[(key|value)\]\Z", re.ASCII)
_PAGE_MAX = 1_000_000
_LOCAL: Final[Mapping[str, tuple[object, ...]]] = {
    "execution-mode": ("local",),
    "operations": (False,),
    "auto-apply": (False,),
}
"""Attributes that may be set to nothing else: runs are local."""
_IGNORED: Final = frozenset({"terraform-version", "name", "type", "source", "source-name", "source-url", "tag-names"})
"""What changes nothing here. Each Terraform asks for its own version; any version is welcome."""
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {}, False)


class Unprocessable(UsageError):
    """It can be read, and is not done here."""

    http_status = 422


class NewVersion(PartlyShown, frozen=True, kw_only=True):
    """A state version that somebody wants to write.

    Attributes:
        serial: Terraform's serial.
        lineage: Terraform's lineage.
        md5: Of the bytes, in hexadecimal digits; empty when it was not said.
        is_forced: The writer insists.
        body: The bytes; None when they come by themselves.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"body"})

    serial: int
    lineage: str
    md5: str
    is_forced: bool
    body: bytes | None


def read_new_version(body: bytes) -> NewVersion:
    """Read the body of `POST state-versions`.

    Raises:
        UsageError: It is not one.
    """
    attributes = _attributes(_data(body))
    serial, lineage = attributes.get("serial"), attributes.get("lineage") or ""
    md5 = str(attributes.get("md5") or "").lower()
    if type(serial) is not int or not 0 <= serial <= _SERIAL_MAX:
        raise UsageError("the state version names no serial")
    if not isinstance(lineage, str) or len(lineage) > _LINEAGE_MAX:
        raise UsageError("the state version names no lineage")
    if md5 and not _MD5.match(md5):
        raise UsageError("the md5 of the state version is not one")
    return NewVersion(
        serial=serial,
        lineage=lineage,
        md5=md5,
        is_forced=attributes.get("force") is True,
        body=_decoded(attributes.get("state")),
    )


def read_new_workspace(body: bytes) -> tuple[str, dict[str, str]]:
    """Read the body that makes a workspace; return its name and its tags.

    Raises:
        UsageError: It is not one, or wants what is not done here.
    """
    data = _data(body)
    attributes = _attributes(data)
    _check_attributes(attributes)
    name = attributes.get("name")
    if not isinstance(name, str) or not name:
        raise Unprocessable("the workspace has no name")
    related = data.get("relationships")
    related = related if isinstance(related, dict) else {}
    if _rows(related.get("project")):
        raise no_projects()
    return name, _tags([*_rows(related.get("tag-bindings")), *_rows(related.get("tags"))])


def read_changes(body: bytes, *, name: str) -> dict[str, str] | None:
    """Read the body that changes a workspace; return its tags, None to leave those alone.

    Args:
        body: What was sent.
        name: The workspace's name, which stays.

    Raises:
        UsageError: It is not one, or wants what is not done here.
    """
    data = _data(body)
    attributes = _attributes(data)
    _check_attributes(attributes)
    if attributes.get("name") not in (None, name):
        raise Unprocessable(
            "a workspace is not renamed here",
            why="its name is the name of the state",
            fix="make a workspace of the other name, then pull the state from here and push it there",
        )
    related = data.get("relationships")
    found = related.get("tag-bindings") if isinstance(related, dict) else None
    return None if found is None else _tags(_rows(found))


def read_tags(body: bytes) -> dict[str, str]:
    """Read a list of tags: with keys and values, or with names alone.

    Raises:
        UsageError: It is not one.
    """
    return _tags(_rows(_document(body)))


def tags_asked(query: Mapping[str, str]) -> dict[str, str | None]:
    """Return the tags that a list of workspaces must have: a value of None is any.

    `search[tags]` is a list of keys; `filter[tagged][0][key]` and `[value]` are pairs.
    """
    asked: dict[str, str | None] = {key: None for key in query.get("search[tags]", "").split(",") if key}
    pairs: dict[str, dict[str, str]] = {}
    for name, value in query.items():
        if found := _QUERY_TAG.match(name):
            pairs.setdefault(found[1], {})[found[2]] = value
    return asked | {pair["key"]: pair.get("value") or None for pair in pairs.values() if pair.get("key")}


def page_asked(query: Mapping[str, str], *, size: int, size_max: int) -> tuple[int, int]:
    """Return number and size of the page that is asked for.

    Raises:
        UsageError: It is not a page.
    """
    try:
        number, rows = int(query.get("page[number]") or 1), int(query.get("page[size]") or size)
    except ValueError:
        raise UsageError("page[number] and page[size] are numbers") from None
    if not 1 <= number <= _PAGE_MAX or rows < 1:
        raise UsageError("page[number] and page[size] begin with 1")
    return number, min(rows, size_max)


def no_projects() -> Unprocessable:
    """Return the refusal of projects."""
    return Unprocessable(
        "projects are not kept here",
        why="a workspace is the state ORGANIZATION/WORKSPACE, and nothing is between the two",
        fix="take project out of the cloud block's workspaces, and unset TF_CLOUD_PROJECT",
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = decode_json(body, type=dict[str, Any]) if body.strip() else {}
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError("what was sent is not a JSON:API document", why=reason_of(error)) from error
    return document


def _data(body: bytes) -> dict[str, Any]:
    data = _document(body).get("data")
    if not isinstance(data, dict):
        raise UsageError("what was sent is not a JSON:API document", why="it has no data")
    return data


def _attributes(data: Mapping[str, Any]) -> dict[str, Any]:
    attributes = data.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _check_attributes(attributes: Mapping[str, Any]) -> None:
    """Refuse settings that would have no effect.

    Raises:
        Unprocessable: There is one.
    """
    for name, value in attributes.items():
        if name in _IGNORED or value in _LOCAL.get(name, _EMPTY):
            continue
        raise Unprocessable(
            f"{name[:100]!a} of a workspace is not kept here",
            why="this server keeps states and locks; Terraform runs where it is started",
            fix="leave it out",
        )


def _rows(related: object) -> list[Any]:
    data = related.get("data") if isinstance(related, dict) else None
    return data if isinstance(data, list) else [data] if data else []


def _tags(rows: list[Any]) -> dict[str, str]:
    tags = dict(_pairs(rows))
    if len(tags) > TAGS_MAX:
        raise Unprocessable("the workspace has too many tags", why=f"{TAGS_MAX} are kept")
    return tags


def _pairs(rows: list[Any]) -> Iterator[tuple[str, str]]:
    for row in rows:
        attributes = _attributes(row) if isinstance(row, dict) else {}
        key, value = attributes.get("key") or attributes.get("name"), attributes.get("value") or ""
        if not isinstance(key, str) or not isinstance(value, str) or not _is_tag(key) or not _is_tag(value):
            raise Unprocessable(
                "a tag is not usable", why=f"it has a key of {TAG_CHARS_MAX} printable characters at most"
            )
        if not key:
            raise Unprocessable("a tag has no key")
        yield key, value


def _is_tag(text: str) -> bool:
    return len(text) <= TAG_CHARS_MAX and text.isprintable() and "," not in text


def _decoded(state: object) -> bytes | None:
    if state is None:
        return None
    try:
        return base64.b64decode(str(state), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("the state is not base64") from None
