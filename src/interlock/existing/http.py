"""Terraform's `backend "http"`: any server that speaks its protocol. A hand.

The protocol has no question "who holds the lock": the only way to learn it is to ask for the lock. So `read_locks` asks
with an id of its own; when the answer is yes, it gives the lock back at once and the state was free. Nothing in the
protocol is conditional either: a deletion and a write compare just before they act.
Source: docs/facts/terraform-http.md.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from interlock.clock import Clock
from interlock.errors import THIS_STATE, AuthenticationFailed, BackendUnavailable, LockHeld, UsageError, command
from interlock.existing.interface import (
    Description,
    Found,
    HeldTerraformLock,
    StateVersion,
    StoredState,
    TerraformLock,
    TerraformLockMoved,
    Unsupported,
)
from interlock.existing.terraform_lock import foreign_lock, held_by
from interlock.ids import Ids
from interlock.state import MAX_STATE_BYTES
from interlock.terraform.lockinfo import (
    MAX_LOCK_INFO_BYTES,
    LockInfo,
    build_lock_info,
    find_lock_info,
    render_lock_info,
)
from interlock.trust.sending import SameOrigin

TIMEOUT_S = 30.0  # of one request
ATTEMPTS = 3  # as many as Terraform makes
_PAUSE_S = 1.0  # before the second attempt; doubled before the third
_OK = 200
_WRITTEN = frozenset({200, 201, 204})
_ABSENT = frozenset({204, 404})
_HELD = frozenset({409, 423})
_DENIED = frozenset({401, 403})
_CURRENT = "current"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPlace:
    """Where a state is and how to speak to its server.

    Attributes:
        address: Of the state.
        lock_address: For locking; None when Terraform does not lock.
        unlock_address: For unlocking.
        update_method: Of writes.
        lock_method: Of locking.
        unlock_method: Of unlocking.
        username: For Basic authentication; empty for none.
        password: A secret.
        verify: Whether the server's certificate is checked.
        ca: PEM text of the authority; empty for the system's.
        certificate: PEM text of our own certificate.
        key: PEM text of its key; a secret.
    """

    address: str
    lock_address: str | None
    unlock_address: str | None
    update_method: str = "POST"
    lock_method: str = "LOCK"
    unlock_method: str = "UNLOCK"
    username: str = ""
    password: str = field(default="", repr=False)
    verify: bool = True
    ca: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server answered.

    Attributes:
        status: HTTP's.
        body: At most the limit that was asked for.
        headers: By lower-case name.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def modified_at(self) -> datetime | None:
        """When the server says that this was written."""
        try:
            return parsedate_to_datetime(self.headers["last-modified"])
        except (KeyError, ValueError):
            return None


def place_of(found: Found) -> HttpPlace:
    """Return where a found `backend "http"` keeps its state.

    Raises:
        UsageError: The address is missing.
    """
    address = found.text("address")
    if address is None:
        raise UsageError(
            'the configuration\'s backend "http" has no address',
            why="neither the block nor TF_HTTP_ADDRESS names one",
            fix="export TF_HTTP_ADDRESS=https://…",
        )
    named = found.text("username")
    name, password = ("", "") if named else _login_in(address)
    return HttpPlace(
        address=address,
        lock_address=found.text("lock_address"),
        unlock_address=found.text("unlock_address"),
        update_method=found.text("update_method") or "POST",
        lock_method=found.text("lock_method") or "LOCK",
        unlock_method=found.text("unlock_method") or "UNLOCK",
        username=named or name,
        password=(found.text("password") or "") if named or not name else password,
        verify=not found.is_true("skip_cert_verification"),
        ca=found.text("client_ca_certificate_pem") or "",
        certificate=found.text("client_certificate_pem") or "",
        key=found.text("client_private_key_pem") or "",
    )


def shown_address(found: Found) -> str:
    """Return the address without credentials and query, which may hold secrets.

    Raises:
        UsageError: The address is missing.
    """
    return without_secrets(place_of(found).address)


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment; of one that cannot be read nothing is shown."""
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # a password with a slash in it ends up here, and the rest of it in the path
    except ValueError:
        return "(an address that cannot be read)"
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


def open_http(found: Found, *, clock: Clock, ids: Ids) -> HttpBackend:
    """Return the backend; nothing is asked yet.

    Raises:
        UsageError: The address is missing.
    """
    return HttpBackend(place_of(found), found=found, clock=clock, ids=ids)


class Line:
    """The way to a server: requests in threads, repeated as Terraform repeats them.

    Args:
        place: Where to and with what credentials.
        clock: For pauses.
    """

    def __init__(self, place: HttpPlace, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._opener: urllib.request.OpenerDirector | None = None

    async def send(
        self, method: str, url: str, body: bytes | None = None, *, limit: int = MAX_STATE_BYTES, repeats: bool = True
    ) -> Reply:
        """Send a request and return the answer, whatever its status, except for refused credentials.

        Args:
            method: HTTP's, or the backend's own.
            url: Where to.
            body: What to send.
            limit: Largest answer in bytes.
            repeats: Whether it may be sent again when the outcome is unknown.

        Raises:
            AuthenticationFailed: 401 or 403.
            BackendUnavailable: There is no usable answer.
        """
        shown = without_secrets(url)
        for attempt in range(ATTEMPTS if repeats else 1):
            if attempt:
                await self._clock.sleep(_PAUSE_S * 2.0 ** (attempt - 1))
            try:
                reply = await asyncio.to_thread(self._exchange, method, url, body, limit)
            except (OSError, ValueError, http.client.HTTPException) as error:
                failure = BackendUnavailable(
                    f"{shown} cannot be reached", why=_reason(error), fix="check address and network: interlock doctor"
                )
                continue
            if reply.status in _DENIED:
                raise AuthenticationFailed(
                    f"{shown} refused our credentials",
                    why=f"{method} answered {reply.status}",
                    fix="set TF_HTTP_USERNAME and TF_HTTP_PASSWORD as Terraform needs them",
                )
            if reply.status == 429 or reply.status >= 500:  # noqa: PLR2004 - HTTP's own boundaries
                failure = BackendUnavailable(
                    f"{shown} did not answer", why=f"{method} answered {reply.status}", fix="try again later"
                )
                continue
            return reply
        raise failure

    def _exchange(self, method: str, url: str, body: bytes | None, limit: int) -> Reply:
        if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
            raise ValueError("it is not an http address")
        plain, headers = _without_login(url), self._headers(body)
        request = urllib.request.Request(plain, data=body, method=method, headers=headers)  # noqa: S310 - checked above
        try:
            with self._open().open(request, timeout=TIMEOUT_S) as answer:
                return _reply(answer.status, answer, answer.headers, limit)
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error, error.headers, limit)

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {"User-Agent": "interlock"}
        if self._place.username:
            pair = f"{self._place.username}:{self._place.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            headers["Content-MD5"] = base64.b64encode(digest).decode()
        return headers

    def _open(self) -> urllib.request.OpenerDirector:
        if self._opener is None:
            self._opener = urllib.request.build_opener(
                SameOrigin(), urllib.request.HTTPSHandler(context=_context(self._place))
            )
        return self._opener


class HttpBackend:
    """See `ExistingBackend`.

    Args:
        place: Where the state is.
        found: What discovery found, for `describe`.
        clock: For pauses and for the time in our own locks.
        ids: For the ids of our own locks.
    """

    mechanism = "http"

    def __init__(self, place: HttpPlace, *, found: Found, clock: Clock, ids: Ids) -> None:
        self.place = place
        self.line = Line(place, clock)
        self._found = found
        self._clock = clock
        self._ids = ids
        self._locked_by: str | None = None

    def describe(self) -> Description:
        """See `ExistingBackend.describe`."""
        return Description(
            type="http",
            address=without_secrets(self.place.address),
            workspace=self._found.workspace,
            locking=(self.mechanism,) if self.place.lock_address else (),
            settings=self._found.origins,
        )

    async def workspaces(self) -> tuple[str, ...]:
        """See `ExistingBackend.workspaces`. Terraform's own http backend knows one."""
        return () if await self.read_state() is None else ("default",)

    async def read_locks(self) -> tuple[TerraformLock, ...]:
        """See `ExistingBackend.read_locks`. Asks for the lock, and gives it back when it is had."""
        if self.place.lock_address is None:
            return ()
        probe = build_lock_info(
            id=f"interlock-looks-{self._ids.fresh()}", operation="interlock", who="", version="", now=self._clock.now()
        )
        raw = render_lock_info(probe)
        reply = await self.line.send(self.place.lock_method, self.place.lock_address, raw, limit=MAX_LOCK_INFO_BYTES)
        if reply.status == _OK:
            await self._unlock(raw, probe.id)
            return ()
        lock = self._held(reply)
        await self._leave_queue(raw, probe.id)
        return (lock,)

    async def delete_lock(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.delete_lock`. Compares just before; then unlocks with the holder's own lock document."""
        current = await self.read_locks()
        if not any(one.id == lock.id for one in current):
            raise _moved(lock, current)
        reply = await self._unlock(lock.raw, lock.id)
        if reply.status != _OK:
            raise LockHeld(
                f"lock {lock.id} was not deleted",
                why=f"{lock.place} answered {reply.status} to {self.place.unlock_method}",
                fix="use the server's own command for this",
            )

    async def read_state(self) -> StoredState | None:
        """See `ExistingBackend.read_state`."""
        reply = await self.line.send("GET", self.place.address)
        if reply.status in _ABSENT or (reply.status == _OK and not reply.body):
            return None
        if reply.status != _OK:
            raise BackendUnavailable(
                f"{without_secrets(self.place.address)} cannot be read",
                why=f"GET answered {reply.status}",
                fix="interlock doctor",
            )
        return StoredState(body=reply.body, modified_at=reply.modified_at, condition=reply.headers.get("etag", ""))

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `ExistingBackend.write_state`. Needs the id of the lock that `take_lock` took, if the server locks."""
        current = await self.read_state()
        if (current.body if current else None) != (expected.body if expected else None):
            raise TerraformLockMoved(
                f"{without_secrets(self.place.address)} changed while it was to be written",
                why="somebody else wrote it in between",
                fix=f"{command('state', 'history', THIS_STATE)}, then try again",
            )
        reply = await self.line.send(self.place.update_method, self._write_url(), body)
        if reply.status not in _WRITTEN:
            raise _refused_write(self.place.address, reply.status)
        stored = await self.read_state()
        if stored is None or not is_same_document(stored.body, body):
            raise TerraformLockMoved(
                f"{without_secrets(self.place.address)} does not hold what was written",
                why="somebody else wrote it, or the server changed it",
                fix=command("state", "diff", THIS_STATE),
            )
        return stored

    async def history(self) -> tuple[StateVersion, ...]:
        """See `ExistingBackend.history`. The protocol knows only the current one."""
        current = await self.read_state()
        if current is None:
            return ()
        size = len(current.body)
        return (StateVersion(id=_CURRENT, modified_at=current.modified_at, size=size, current=True),)

    async def read_version(self, version_id: str) -> bytes:
        """See `ExistingBackend.read_version`."""
        current = await self.read_state() if version_id == _CURRENT else None
        if current is None:
            raise UsageError(f"there is no version {version_id!r}", fix=command("state", "history", THIS_STATE))
        return current.body

    async def repair_digest(self, *, expected: StoredState) -> StoredState:
        """See `ExistingBackend.repair_digest`. There is none."""
        return expected

    async def take_lock(self, info: LockInfo) -> HeldTerraformLock:
        """See `ExistingBackend.take_lock`."""
        if self.place.lock_address is None:
            return HeldTerraformLock(info=info, locks=())
        raw = render_lock_info(info)
        reply = await self.line.send(self.place.lock_method, self.place.lock_address, raw, limit=MAX_LOCK_INFO_BYTES)
        lock = self._held(reply) if reply.status != _OK else None
        if lock is not None and lock.id != info.id:  # else it is ours: the answer to an earlier attempt was lost
            await self._leave_queue(raw, info.id)
            raise held_by(lock, self.describe().address)
        lock = foreign_lock(raw, mechanism=self.mechanism, place=without_secrets(self.place.lock_address))
        self._locked_by = info.id
        return HeldTerraformLock(info=info, locks=(lock,))

    async def give_lock(self, held: HeldTerraformLock) -> None:
        """See `ExistingBackend.give_lock`."""
        self._locked_by = None
        for lock in held.locks:
            reply = await self._unlock(lock.raw, lock.id)
            if reply.status in _HELD:
                raise TerraformLockMoved(
                    "our own lock is not ours any more", why=f"{lock.place} answered {reply.status}", fix="try again"
                )
            if reply.status not in _WRITTEN | _ABSENT:
                raise BackendUnavailable(
                    "Terraform's own lock was not given back",
                    why=f"{lock.place} answered {reply.status} to {self.place.unlock_method}",
                    fix=command("lock", "show", THIS_STATE),
                )

    def write_under(self, lock: TerraformLock) -> None:
        """See `ExistingBackend.write_under`."""
        self._locked_by = lock.id

    async def close(self) -> None:
        """See `ExistingBackend.close`. Nothing is kept open."""

    # -- inside -----------------------------------------------------------------------------------------------------

    def _held(self, reply: Reply) -> TerraformLock:
        """Return who holds, from the answer to a refused lock; a server that does not say it still locks.

        Raises:
            BackendUnavailable: It is not an answer to a lock request.
        """
        assert self.place.lock_address is not None
        place = without_secrets(self.place.lock_address)
        if reply.status not in _HELD:
            raise BackendUnavailable(
                f"{place} cannot be asked for the lock",
                why=f"{self.place.lock_method} answered {reply.status}",
                fix="check lock_address and lock_method: interlock doctor",
            )
        lock = foreign_lock(reply.body, mechanism=self.mechanism, place=place)
        info = find_lock_info(reply.body.decode(errors="replace")) if lock.unreadable else None
        return replace(lock, id=info.id, who=info.who, unreadable="") if info is not None else lock

    async def _unlock(self, raw: bytes, lock_id: str) -> Reply:
        del lock_id
        url = self.place.unlock_address
        if url is None:
            raise Unsupported(
                "this state cannot be unlocked",
                why="the configuration has a lock_address but no unlock_address, so Terraform never unlocks either",
                fix="set unlock_address",
            )
        return await self.line.send(self.place.unlock_method, url, raw, limit=MAX_LOCK_INFO_BYTES)

    async def _leave_queue(self, raw: bytes, lock_id: str) -> None:
        """Do nothing: a server of the plain protocol keeps no queue, and an UNLOCK of a lock we lack may harm."""

    def _write_url(self) -> str:
        if self._locked_by is None:
            return self.place.address
        parts = urllib.parse.urlsplit(self.place.address)
        query = "&".join(part for part in (parts.query, urllib.parse.urlencode({"ID": self._locked_by})) if part)
        return urllib.parse.urlunsplit(parts._replace(query=query))


def is_same_document(stored: bytes, written: bytes) -> bool:
    """Say whether a server keeps what was written: to the byte, or as the same JSON in another spelling."""
    if stored == written:
        return True
    try:
        there, ours = (json.loads(text, parse_float=str, parse_int=str) for text in (stored, written))
    except (ValueError, RecursionError):
        return False
    return bool(there == ours)


def _login_in(url: str) -> tuple[str, str]:
    """Return user and password in a URL, which Terraform sends unless a username is set; empty without any."""
    try:
        login, _, _ = urllib.parse.urlsplit(url).netloc.rpartition("@")
    except ValueError:
        return "", ""
    name, _, password = login.partition(":")
    return urllib.parse.unquote(name), urllib.parse.unquote(password)


def _without_login(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _context(place: HttpPlace) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=place.ca or None)
    if not place.verify:  # the configuration's own choice; Terraform does the same
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if place.certificate and place.key:
        with tempfile.TemporaryDirectory() as folder:  # the standard library reads key pairs only from files
            path = Path(folder) / "pair.pem"
            path.touch(mode=0o600)
            path.write_text(place.certificate + "\n" + place.key, encoding="utf-8")
            context.load_cert_chain(path)
    return context


def _reply(status: int, stream: IO[bytes], headers: Any, limit: int) -> Reply:
    body = stream.read(limit + 1)
    if len(body) > limit:
        raise ValueError(f"it sent more than {limit} bytes")
    return Reply(status=status, body=body, headers={name.lower(): value for name, value in headers.items()})


def _reason(error: BaseException) -> str:
    if isinstance(error, ValueError | http.client.InvalidURL):  # its text quotes the address, where a password may be
        return "it is not an http address"
    if isinstance(error, http.client.HTTPException):
        return f"its answer is not HTTP ({type(error).__name__})"
    return str(getattr(error, "reason", None) or str(error) or type(error).__name__)


def _moved(lock: TerraformLock, current: tuple[TerraformLock, ...]) -> TerraformLockMoved:
    now = f"{current[0].who or 'somebody'} holds it now ({current[0].id})" if current else "it is not locked now"
    return TerraformLockMoved(
        f"lock {lock.id or '?'} is not there any more",
        why=f"{now}; nothing was deleted",
        fix=command("lock", "show", THIS_STATE),
    )


def _refused_write(address: str, status: int) -> LockHeld | BackendUnavailable:
    shown = without_secrets(address)
    if status in _HELD:
        return LockHeld(
            f"{shown} did not take the state", why=f"it answered {status}", fix=command("lock", "explain", THIS_STATE)
        )
    return BackendUnavailable(f"{shown} did not take the state", why=f"it answered {status}", fix="interlock doctor")
