"""Was a write done whose answer was lost? What its object shows, read afterwards.

A pure core: it compares what was sent with what is there. It decides nothing about sending; `retries.py` does.

What can be told: a DELETE is done when the object is gone. A PUT or PATCH is done when every field that it sent is
there (one without a value may be missing). With a version it is surer: while the one that was sent is still current,
nothing was done. An object that shows neither was changed by somebody else meanwhile, and nobody can tell.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from interlock.bounded import MAX_DEPTH, is_deeper, read_json

VERSION = "version"
"""The field by which the API refuses a write to an object that somebody changed meanwhile."""
_GONE = frozenset({404, 410})
_OK = 200


class Trace(Enum):
    """What an object shows of a write."""

    DONE = "done"
    NOT_DONE = "not done"
    UNCLEAR = "unclear"


def leaves_traces(method: str) -> bool:
    """Say whether a write of this method can be looked for at its own path."""
    return method in {"PUT", "PATCH", "DELETE"}


def is_guarded(body: bytes) -> bool:
    """Say whether a body names the version that it replaces, so that the API does it at most once."""
    sent = _document(body)
    return isinstance(sent, dict) and sent.get(VERSION) is not None


def read_trace(method: str, sent: bytes, status: int, found: bytes) -> Trace:
    """Say what an object shows of a write.

    Args:
        method: PUT, PATCH or DELETE.
        sent: The body of the write.
        status: Of the answer to a GET of the same path, sent after the write was given up.
        found: Its body.
    """
    document = _document(found)
    if method == "DELETE":
        return _read_deletion(status, document)
    wanted = _document(sent)
    if status != _OK or not isinstance(wanted, dict) or not isinstance(document, dict):
        return Trace.UNCLEAR
    is_guarded = wanted.get(VERSION) is not None and document.get(VERSION) is not None
    if is_guarded and str(document[VERSION]) == str(wanted[VERSION]):
        return Trace.NOT_DONE
    fields = {name: value for name, value in wanted.items() if name != VERSION}
    return Trace.DONE if _shows(document, fields) else Trace.UNCLEAR


def _read_deletion(status: int, document: Any) -> Trace:
    if status in _GONE:
        return Trace.DONE
    if status != _OK:
        return Trace.UNCLEAR
    is_deleted = isinstance(document, dict) and document.get("state") == "deleted"
    return Trace.DONE if is_deleted else Trace.NOT_DONE


def _shows(found: Any, wanted: Any) -> bool:
    """Say whether everything that is wanted is there; more may be there."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(
            _shows(found[name], value) if name in found else value in (None, "", [], {})
            for name, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_shows, found, wanted))
    return bool(found == wanted)


def _document(raw: bytes) -> Any:
    try:
        document = read_json(raw)
    except ValueError:
        return None
    return None if is_deeper(document, MAX_DEPTH) else document
