"""Terraform's HTTP state protocol as values: a request becomes an intent, an outcome becomes an answer.

Knows: Terraform's lock document. Knows nothing of stores, queues or sockets.
Source: docs/facts/terraform-http.md, measured with Terraform 1.11.4 and read in 1.12 to 1.17.

What a client makes of our answers decides which we may give:
- LOCK and UNLOCK succeed with 200 only; a conflict is 423 and carries the *holder's* lock document, always complete,
  because Terraform 1.15 and later retry only when they find JSON with an `ID`.
- Up to 1.14 Terraform shows nothing of that document but the `ID`, as free text; so old clients get the holder and
  the place in the queue spelled out there.
- 409 is never retried on POST: it stops a run (fence). 5xx and 429 are retried twice within seconds.
- Redirects are never sent: some turn LOCK into GET.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from interlock.errors import AuthenticationFailed, InterlockError, UsageError, fill_in, fill_in_program
from interlock.foreign_text import one_line, safe_json
from interlock.instants import spelled
from interlock.late_pattern import late
from interlock.secrecy import PartlyShown
from interlock.terraform.lockinfo import LockInfo, parse_lock_info, plain_lock_info, render_lock_info

MAX_WAIT_S = 3600.0  # one held request; proxies cut earlier, and a client may ask again and keep its place
MAX_LOCK_BYTES = 64 * 1024  # a lock document has 250 bytes
MAX_ID_CHARS = 256
UNAVAILABLE = 503
RETRY_AFTER_S = 1
"""When a client comes back to a server that could not answer just now; Terraform does so twice."""
_STRANGE_FOR_READ = frozenset({204, 404})  # Terraform takes these for "no state yet" and would start from nothing
_DURATION = late(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s?)?\Z")
_VERSION = late(r"(\d+)\.(\d+)")
_SHOWS_HOLDER = (1, 15)  # from this Terraform on the holder's whole document is shown


class Read(Struct, frozen=True, kw_only=True):
    """GET: read the state."""


class Write(Struct, frozen=True, kw_only=True):
    """POST: replace the state.

    Attributes:
        lock_id: From `?ID=`; None with `-lock=false` or without `lock_address`.
    """

    lock_id: str | None


class Take(Struct, frozen=True, kw_only=True):
    """LOCK: take the lock, or a place in its queue.

    Attributes:
        info: Terraform's lock document.
        wait_s: How long the request may be held open; 0.0 answers at once; None when the client did not say.
    """

    info: LockInfo
    wait_s: float | None


class Give(Struct, frozen=True, kw_only=True):
    """UNLOCK: give the lock back.

    Attributes:
        lock_id: From the body or `?ID=`; None for `terraform force-unlock`, which sends nothing
            (hashicorp/terraform#28421).
    """

    lock_id: str | None


class Delete(Struct, frozen=True, kw_only=True):
    """DELETE: remove the state."""

    lock_id: str | None


Intent: TypeAlias = Read | Write | Take | Give | Delete


class Found(PartlyShown, frozen=True, kw_only=True):
    """The state, as it is to be read."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"body"})

    body: bytes


class Absent(Struct, frozen=True, kw_only=True):
    """There is no state yet."""


class Done(Struct, frozen=True, kw_only=True):
    """Written, unlocked or deleted."""

    note: str = ""


class Taken(Struct, frozen=True, kw_only=True):
    """The lock is held by the asker."""

    info: LockInfo


class Held(Struct, frozen=True, kw_only=True):
    """Somebody else holds the lock, or stands in front.

    Attributes:
        holder: The lock document of the one in the way.
        position: The asker's place in the queue; 0 when it has none.
        since: When the holder was granted; None when unknown.
        why: Why nobody is granted, when that is not simply the holder: a pause with its reason.
        is_free: Nobody holds; `holder` is a document without a holder, because Terraform needs one.
    """

    holder: LockInfo
    position: int = 0
    since: datetime | None = None
    why: str = ""
    is_free: bool = False


class Refused(Struct, frozen=True, kw_only=True):
    """A request that was not carried out.

    Attributes:
        error: Why.
        status: Instead of the error's own.
        retry_after_s: When the client may try again; None when that is its own matter.
    """

    error: InterlockError
    status: int | None = None
    retry_after_s: int | None = None


Outcome: TypeAlias = Found | Absent | Done | Taken | Held | Refused


class Answer(PartlyShown, frozen=True, kw_only=True):
    """What goes back over the wire."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"body"})

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


def read_intent(method: str, query: Mapping[str, str], body: bytes) -> Intent:
    """Tell what a request wants.

    Args:
        method: HTTP method. PUT counts as POST: `update_method` may be set to it; likewise `PUT`/`DELETE` on lock
            addresses are not supported, because one address serves everything.
        query: Query parameters; `ID` and `wait` are known.
        body: Lock document for LOCK and UNLOCK; not looked at otherwise.

    Raises:
        UsageError: An unknown method, an unreadable lock document, id or duration.
    """
    match method:
        case "GET" | "HEAD":
            return Read()
        case "POST" | "PUT":
            return Write(lock_id=_query_id(query))
        case "LOCK":
            return Take(info=_bounded(parse_lock_info(body)), wait_s=_query_wait(query))
        case "UNLOCK":
            return Give(lock_id=_bounded(parse_lock_info(body)).id if body.strip() else _query_id(query))
        case "DELETE":
            return Delete(lock_id=_query_id(query))
        case _:
            raise UsageError("the method is not part of Terraform's state protocol", why=method[:20])


def parse_wait(text: str) -> float:
    """Read `10m`, `90s`, `1h30m` or plain seconds.

    Returns:
        Seconds, at most `MAX_WAIT_S`: a longer wish is cut, the client asks again and keeps its place.

    Raises:
        UsageError: The text is not a duration.
    """
    match = _DURATION.match(text)
    if match is None or not text:
        raise UsageError(f"{text[:40]!r} is not a duration", fix="write wait=90s, wait=10m or wait=1h")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return min(hours * 3600.0 + minutes * 60.0 + seconds, MAX_WAIT_S)


def check_md5(header: str | None, body: bytes) -> None:
    """Compare a body with its `Content-MD5`, when one was sent.

    Raises:
        UsageError: The header is not an MD5, or the bytes are not those that were sent.
    """
    if header is None:
        return
    try:
        sent = base64.b64decode(header, validate=True)
    except binascii.Error as error:
        raise UsageError("the Content-MD5 header is not base64", fix="send the state again") from error
    if sent != hashlib.md5(body, usedforsecurity=False).digest():
        raise UsageError(
            "the state was damaged on the way",
            why="its bytes do not match the Content-MD5 header",
            fix="send it again; look for a proxy that rewrites bodies",
        )


def answer(outcome: Outcome, *, client_version: str = "") -> Answer:
    """Return what to send for an outcome.

    Args:
        outcome: What happened.
        client_version: `Version` of the asker's own lock document; decides how a holder is shown.
    """
    match outcome:
        case Found():
            return _found(outcome.body)
        case Absent():
            return Answer(status=204)
        case Done():
            return Answer(status=200, body=_json({"note": outcome.note}) if outcome.note else b"", headers=_JSON)
        case Taken():
            return Answer(status=200, headers=_JSON, body=render_lock_info(outcome.info))
        case Held():
            return Answer(
                status=423, headers=_JSON, body=render_lock_info(plain_lock_info(_shown(outcome, client_version)))
            )
        case Refused():
            return _refused(outcome)
        case _:
            assert_never(outcome)


def refused(method: str, error: InterlockError) -> Refused:
    """Return the refusal of a request, with a status that Terraform does not take for something else."""
    status = error.http_status
    if method == "GET" and status in _STRANGE_FOR_READ:
        status = UNAVAILABLE  # unreadable is not absent
    return Refused(error=error, status=status, retry_after_s=RETRY_AFTER_S if status == UNAVAILABLE else None)


def describe(held: Held) -> str:
    """Say in one line who is in the way, since when, and where the asker stands."""
    parts = ["it is not locked" if held.is_free else f"held by {held.holder.who or 'an unknown client'}"]
    if held.since is not None:
        parts.append(f"since {spelled(held.since)}")
    if held.position:
        parts.append(f"you are number {held.position} in the queue")
    if held.why:
        parts.append(held.why)
    return ", ".join(parts)


_NO_TIME = "0001-01-01T00:00:00Z"
"""Go's word for none. With an empty text Terraform cannot read the document, shows nothing of it, and from 1.15 on does
not ask again (seen with 1.11.4: "failed to unmarshal body")."""
_JSON = {"Content-Type": "application/json"}


def _found(body: bytes) -> Answer:
    # Terraform only checks that this header is base64; proxies and people may compare it.
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    return Answer(status=200, headers={**_JSON, "Content-MD5": digest, "Cache-Control": "no-store"}, body=body)


def _shown(held: Held, client_version: str) -> LockInfo:
    """Put the holder and the queue where this client shows it."""
    text, created = describe(held), held.holder.created or _NO_TIME
    if _version(client_version) < _SHOWS_HOLDER:
        return replace(held.holder, id=f"{held.holder.id} ({text})", info=text, created=created)
    return replace(held.holder, info=text, created=created)


def _version(text: str) -> tuple[int, int]:
    match = _VERSION.match(text)
    return (int(match[1]), int(match[2])) if match else _SHOWS_HOLDER


def _refused(outcome: Refused) -> Answer:
    error = outcome.error
    headers = dict(_JSON)
    status = outcome.status or error.http_status
    if isinstance(error, AuthenticationFailed) and status < UNAVAILABLE:
        headers["WWW-Authenticate"] = 'Basic realm="interlock", charset="UTF-8"'
    if outcome.retry_after_s is not None:
        headers["Retry-After"] = str(outcome.retry_after_s)
    fix = fill_in_program(fill_in(error.fix, "."))
    facts: dict[str, Any] = {"error": error.code, "what": error.what, "why": error.why, "fix": fix}
    return Answer(status=status, headers=headers, body=_json(facts))


def _json(value: object) -> bytes:
    return safe_json(json.dumps(value, ensure_ascii=False)).encode()  # Terraform prints it as it is


def _query_wait(query: Mapping[str, str]) -> float | None:
    wait = query.get("wait")
    return None if wait is None else parse_wait(wait)


def _query_id(query: Mapping[str, str]) -> str | None:
    value = query.get("ID")
    if not value:
        return None
    _check_id(value)
    return value


def _bounded(info: LockInfo) -> LockInfo:
    _check_id(info.id)
    return plain_lock_info(info)


def _check_id(value: str) -> None:
    if one_line(value, limit=MAX_ID_CHARS) != value:
        raise UsageError("the lock id is not usable", why=f"it is not {MAX_ID_CHARS} printable characters at most")
