"""Terraform's lock document: parsed, rendered complete, built.

Source: docs/facts/terraform-http.md#http-17 (seven string fields, always present).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from interlock.bounded import read_json
from interlock.errors import UsageError
from interlock.foreign_text import one_line
from interlock.late_pattern import late

MAX_LOCK_INFO_BYTES: Final = 64 * 1024  # a real one has about 250; a Consul one some more
MAX_FIELD_CHARS: Final = 4096
MAX_WORD_CHARS: Final = 1000  # of a field that is shown to others

_FIELDS: Final = {
    "ID": "id",
    "Operation": "operation",
    "Info": "info",
    "Who": "who",
    "Version": "version",
    "Created": "created",
    "Path": "path",
}
_BLOCK_LINE: Final = late(r"\s*(ID|Path|Operation|Who|Version|Created|Info): ?(.*)")
_GO_TIME: Final = late(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?\s*(Z|[+-]\d\d:?\d\d)?")


class LockInfo(Struct, frozen=True, kw_only=True):
    """Who holds a lock, as Terraform writes it down.

    Attributes:
        id: UUID-shaped; some backends replace it (GCS by a generation, azurerm by a lease id).
        operation: `OperationTypePlan`, `OperationTypeApply`, `state-mv`, ...
        who: `user@host`; the user may be empty.
        created: As Terraform spelled it: the client's clock, at the first attempt and not at the grant.
        path: Backend's own address of the state; empty for the HTTP backend.
        more: Fields that this version does not know, kept for rendering.
    """

    id: str
    operation: str = ""
    info: str = ""
    who: str = ""
    version: str = ""
    created: str = ""
    path: str = ""
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def created_at(self) -> datetime | None:
        """The instant of `created`, or None when it is not a time."""
        return parse_go_time(self.created)


def build_lock_info(*, id: str, operation: str, who: str, version: str, now: datetime, path: str = "") -> LockInfo:  # noqa: A002 - Terraform's own word
    """Make the document of a lock taken at `now` (aware) by something that is not Terraform."""
    created = now.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return LockInfo(id=id, operation=operation, who=who, version=version, created=created, path=path)


def parse_lock_info(data: bytes | str) -> LockInfo:
    """Read a lock document.

    Args:
        data: JSON, as sent with LOCK and UNLOCK and as stored by the S3 backend.

    Raises:
        UsageError: It is empty, too long, not a JSON object, or has no usable `ID`.
    """
    if len(data) > MAX_LOCK_INFO_BYTES:
        raise _unreadable(f"it has {len(data)} bytes; a lock document has at most {MAX_LOCK_INFO_BYTES}")
    try:
        document = _with_whole_characters(read_json(data))
    except (ValueError, RecursionError) as error:
        raise _unreadable("it is not JSON") from error
    if not isinstance(document, dict):
        raise _unreadable("it is not a JSON object")
    return _from_document(document)


def find_lock_info(text: str) -> LockInfo | None:
    """Find the holder in an answer to a lock request: JSON, or Terraform's `Lock Info:` block. None: there is none."""
    try:
        return parse_lock_info(text)
    except UsageError:
        return _from_block(text[:MAX_LOCK_INFO_BYTES])


def render_lock_info(info: LockInfo) -> bytes:
    """Write the complete document, all seven fields, on one line (1.15 needs JSON with a non-empty `ID`)."""
    document = {name: getattr(info, attribute) for name, attribute in _FIELDS.items()}
    return json.dumps({**document, **info.more}, ensure_ascii=False, separators=(",", ":")).encode()


def plain_lock_info(info: LockInfo) -> LockInfo:
    """Return a lock document whose words for people are one line each and steer no terminal; the id stays exact.

    Terraform prints them as they are, to whoever waits for the lock.
    """
    return replace(
        info,
        operation=one_line(info.operation, limit=MAX_WORD_CHARS),
        info=one_line(info.info, limit=MAX_WORD_CHARS),
        who=one_line(info.who, limit=MAX_WORD_CHARS),
        version=one_line(info.version, limit=MAX_WORD_CHARS),
        created=one_line(info.created, limit=MAX_WORD_CHARS),
        path=one_line(info.path, limit=MAX_WORD_CHARS),
    )


def parse_go_time(text: str) -> datetime | None:
    """Read RFC 3339 or Go's own spelling (`2026-11-24 07:00:00.123456789 +0000 UTC`); None when it is neither."""
    match = _GO_TIME.match(text.strip())
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    micro = (fraction or "0")[:6].ljust(6, "0")
    try:
        return datetime.fromisoformat(f"{day}T{clock}.{micro}{'+00:00' if zone in {None, 'Z'} else zone}").astimezone(
            UTC
        )
    except (ValueError, OverflowError):
        return None


def _with_whole_characters(document: object) -> object:
    r"""Replace halves of characters (`\ud800`), which can be neither stored nor shown, as Go's own reader does."""
    text = json.dumps(document, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return read_json(text.encode(errors="replace"))
    return document


def _unreadable(why: str) -> UsageError:
    return UsageError(
        "the lock document cannot be read",
        why=why,
        fix="send the JSON that Terraform sends with LOCK",
    )


def _from_document(document: dict[str, object]) -> LockInfo:
    values: dict[str, str] = {}
    for name, attribute in _FIELDS.items():
        value = document.get(name, "")
        if not isinstance(value, str) or len(value) > MAX_FIELD_CHARS:
            raise _unreadable(f"its {name} is not a text of at most {MAX_FIELD_CHARS} characters")
        values[attribute] = value
    if not values["id"]:
        raise _unreadable("its ID is empty")
    return _from_values(values, more={name: value for name, value in document.items() if name not in _FIELDS})


def _from_values(values: Mapping[str, str], *, more: Mapping[str, object]) -> LockInfo:
    return LockInfo(
        id=values["id"],
        operation=values.get("operation", ""),
        info=values.get("info", ""),
        who=values.get("who", ""),
        version=values.get("version", ""),
        created=values.get("created", ""),
        path=values.get("path", ""),
        more=more,
    )


def _from_block(text: str) -> LockInfo | None:
    """Read `Lock Info:` and the `Name: value` lines after it, up to the first other line."""
    values: dict[str, str] = {}
    for line in text.partition("Lock Info:")[2].splitlines()[1:]:
        match = _BLOCK_LINE.fullmatch(line)
        if match is None:
            break
        values.setdefault(_FIELDS[match[1]], match[2].strip()[:MAX_FIELD_CHARS])
    return _from_values(values, more={}) if values.get("id") else None
