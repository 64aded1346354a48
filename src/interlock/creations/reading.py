"""What a call and its answer say of the object that was made: an id and a name, and nothing else of them is kept.

Pure. Answers hold secrets (the one of a new OAuth client does), so no other field leaves this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from interlock.bounded import MAX_DEPTH, is_deeper, read_json
from interlock.creations.creation import ID_CHARS, NAME_CHARS

if TYPE_CHECKING:
    from interlock.genesys.creating_calls import Found

_SUCCESS = "success"


class Told(Struct, frozen=True, kw_only=True):
    """What an answer says of its object; empty where it says nothing."""

    id: str = ""
    name: str = ""


def read_name(body: bytes, field: str) -> str:
    """Return the name that a body gives; empty when it gives none."""
    return _name(_document(body), field)


def read_answer(body: bytes, found: Found | None) -> Told:
    """Return what an answer says of the object that it made; a list of one object is that object.

    Args:
        body: The answer.
        found: The call; None for one that is not in the table.
    """
    document = _document(body)
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    id_field, name_field = (found.call.id, found.call.field) if found is not None else ("id", "name")
    return Told(id=_id(document, id_field), name=_name(document, name_field))


def read_job(body: bytes) -> Told | None:
    """Return the flow that a finished job has published; None while it works, or when it failed."""
    document = _document(body)
    flow = document.get("flow") if isinstance(document, dict) else None
    if not isinstance(flow, dict) or _name(document, "status").lower() != _SUCCESS:
        return None
    return Told(id=_id(flow, "id"), name=_name(flow, "name"))


def has_failed(body: bytes) -> bool:
    """Say whether a job has ended without a result."""
    return _name(_document(body), "status").lower() == "failure"


def says_deleted(status: int, body: bytes) -> bool:
    """Say whether a look at an object shows that it is gone."""
    return status in (404, 410) or (status == 200 and _name(_document(body), "state") == "deleted")  # noqa: PLR2004 - HTTP


def _name(document: Any, field: str) -> str:
    """Return a text of an object, cut to what is kept of a name."""
    return _text(document, field)[:NAME_CHARS]


def _id(document: Any, field: str) -> str:
    """Return an id of an object; one that is too long is none."""
    found = _text(document, field)
    return found if len(found) <= ID_CHARS else ""


def _text(document: Any, field: str) -> str:
    """Return a text of an object; empty when it has none there, or one with control characters."""
    value = document.get(field) if isinstance(document, dict) else None
    return value if isinstance(value, str) and value.isprintable() else ""


def _document(body: bytes) -> Any:
    try:
        document = read_json(body)
    except ValueError:
        return None
    return None if is_deeper(document, MAX_DEPTH) else document
