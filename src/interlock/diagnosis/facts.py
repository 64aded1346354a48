"""What an error names: the lock's holder, the API's answer, the missing permission, the object in the way.

Source: the Genesys Cloud provider's diagnostics (docs/facts/genesys.md#genesys-25) and Terraform's lock errors.
"""

from __future__ import annotations

import re
from typing import Final

from interlock.diagnosis.backends import backend_in
from interlock.diagnosis.cause import Facts
from interlock.diagnosis.message import Message, masked
from interlock.terraform.lockinfo import LockInfo, find_lock_info

_UUID: Final = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_API_ERROR: Final = re.compile(rf"API Error: (\d{{3}})(?: ?- ?(.{{0,1000}}?))?(?: ?\(({_UUID})\)|[\"\\|]|$)")
_STATUS: Final = re.compile(r'"statusCode": ?(\d{3})')
_CORRELATION: Final = re.compile(rf'"correlationId": ?"({_UUID})"')
_PERMISSION: Final = re.compile(
    r"\b([A-Za-z]{2,60}:[A-Za-z*]{1,60}:[A-Za-z*]{1,60}(?:, ?[A-Za-z]{2,60}:[A-Za-z*]{1,60}:[A-Za-z*]{1,60}){0,9})"
)
_PERMISSIONS: Final = re.compile(rf"permissions?[^\[\]]{{0,200}}\[? ?{_PERMISSION.pattern}")
_OTHER: Final = re.compile(
    rf"(?:in use by|used by|referenced by|assigned to|depends? on|associated with|attached to|belongs to|required by) "
    rf"(?:the |an? |following |other |one or more )?(.{{1,120}}?)(?:[.,;(\"\\]|$)|Scope '({_UUID})'"
)
_MEANT: Final = re.compile(r"Did you intend to use ([\w.-]{1,100}(?:/[\w.-]{1,100}){1,2})\?")
_SENT: Final = re.compile(
    r"\b(?:Post|Put|Patch|Delete) \\?\"https?://(?!login\.|[^\"]{1,300}/(?:oauth2?|token|signin)\b)"
    r"|\"method\": ?\"(?:POST|PUT|PATCH|DELETE)\"",
    re.IGNORECASE,
)
"""A request that changes something, as Go's client spells it; a login changes nothing."""
_CHANGES: Final = re.compile(
    r"(?i)(?:failed to|error|could not|unable to) (?:creat|updat|delet|destroy|modify|publish|add|remov|replac|assign)"
)
_HOLDER: Final = re.compile(r"already locked: ID=(\S{1,200})")
_S3_PATH: Final = re.compile(r"Bucket: (\S{1,255}) Key: (\S{1,1024})")


def gather_facts(message: Message) -> Facts:
    """Read the facts out of one error; what it does not name stays empty."""
    answer = _API_ERROR.search(message.text)
    status = _STATUS.search(message.text)
    correlation = _CORRELATION.search(message.text)
    permission = _PERMISSIONS.search(message.text)
    lock = _holder(message)
    return Facts(
        address=message.address,
        lock=lock,
        api_status=int(answer[1] if answer else status[1] if status else 0),
        api_message=masked((answer[2] or "").strip()) if answer else "",
        correlation_id=(answer[3] if answer and answer[3] else correlation[1] if correlation else ""),
        permission=permission[1].strip(" .") if permission else "",
        other=_other(message.text),
        path=_path(message.text, lock.path if lock else ""),
        backend=backend_in(message.text),
        tool="tofu" if "OpenTofu" in message.text else "terraform",
        meant=_meant(message.text),
        sent=_SENT.search(message.text) is not None
        or (bool(message.address) and _CHANGES.search(message.text) is not None),
    )


def _meant(text: str) -> str:
    found = _MEANT.search(text)
    return found[1] if found else ""


def _holder(message: Message) -> LockInfo | None:
    """Return who holds the lock. Terraform up to 1.14 prints its own lock info beside the HTTP holder's id."""
    printed = None
    if "Lock Info:" in message.text:
        printed = find_lock_info("\n".join(line.text for line in message.lines))
    holder = _HOLDER.search(message.text)
    if holder is None or (printed is not None and printed.id == holder[1]):
        return printed
    return LockInfo(id=holder[1])


def _other(text: str) -> str:
    found = _OTHER.search(text)
    return masked((found[1] or found[2]).strip()) if found else ""


def _path(text: str, lock_path: str) -> str:
    found = _S3_PATH.search(text)
    return f"{found[1]}/{found[2]}" if found else lock_path
