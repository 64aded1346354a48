"""Which organisation an OAuth client belongs to: several clients of one organisation share its limits.

A hand. The API is asked once for each client and store; the answer is kept in a record, since a client never moves.
"""

from __future__ import annotations

import hashlib

import msgspec

from interlock.bounded import decode_json, read_json
from interlock.errors import InterlockError
from interlock.store import Mismatch, RecordStore

SCHEMA = 1
PATH = "/api/v2/organizations/me"
"""The provider itself asks for it when it is configured."""


LEDGERS = "gateway/"
"""Begins the keys of all ledgers."""

ORGANISATIONS = f"{LEDGERS}organisation/"
"""Begins the keys under which the organisations of clients are kept."""


class _Known(msgspec.Struct, frozen=True):
    """What is kept of a client."""

    organisation: str
    schema: int = SCHEMA


def ledger_key(organisation: str) -> str:
    """Return where the ledger of an organisation is kept."""
    return f"{LEDGERS}{_digest(organisation)}"


def client_ledger_key(api_url: str, client_id: str) -> str:
    """Return where the ledger of a client is kept whose organisation nobody tells."""
    return f"{LEDGERS}{client_key(api_url, client_id)}"


def client_key(api_url: str, client_id: str) -> str:
    """Return what names a client and its region: a digest, which may be kept."""
    return _digest(api_url, client_id)


def read_known(value: bytes) -> str:
    """Return the id of the organisation in a kept record; empty when it cannot be read."""
    try:
        known = decode_json(value, type=_Known)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return known.organisation if known.schema == SCHEMA else ""


async def find_known(store: RecordStore, api_url: str, client_id: str) -> str:
    """Return the id of a client's organisation as it was kept; empty when it was not, or cannot be read."""
    try:
        record = await store.get(known_key(api_url, client_id))
    except InterlockError:
        return ""
    return "" if record is None else read_known(record.value)


async def keep_known(store: RecordStore, api_url: str, client_id: str, organisation: str) -> None:
    """Keep the id of a client's organisation; what cannot be kept is asked for again."""
    value = msgspec.json.encode(_Known(organisation=organisation))
    try:
        await store.swap(known_key(api_url, client_id), expected=None, value=value)
    except Mismatch:
        return
    except InterlockError:
        return


def read_id(body: bytes) -> str:
    """Return the organisation's id in the API's answer; empty when there is none."""
    try:
        document = read_json(body)
    except ValueError:
        return ""
    found = document.get("id") if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""


def known_key(api_url: str, client_id: str) -> str:
    """Return where it is kept which organisation a client belongs to."""
    return f"{ORGANISATIONS}{_digest(api_url, client_id)}"


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
