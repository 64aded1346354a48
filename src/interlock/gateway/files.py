"""Files that a run sends to an address which the API gave it: the sounds of prompts.

Such an address lies outside the API and takes a token of its own, which a run does not have: it holds a placeholder.
So the address in the API's answer is replaced by one of this gateway, and what comes there is sent on to the API's
address under a token of the pool. Only addresses that were given out lead anywhere, and only to hosts of the API.

At a server a file passes two gateways. The server's seals the API's address into the one that it gives, for the run
that got it; so every replica that shares the key can take the file. The run's own keeps the server's name for it, and
sends it there. See docs/adr/0108-files-at-a-server.md.

A hand: it sends. Source: docs/facts/genesys.md#genesys-15.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec
from yarl import URL

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import BackendUnavailable
from interlock.gateway.answers import Answer, too_many, unreachable
from interlock.gateway.bodies import BODY_READ_S
from interlock.gateway.encodings import plain_body
from interlock.gateway.headers import RETRY_AFTER_DEFAULT_S, Pair, read_retry_after
from interlock.gateway.retries import Failure
from interlock.gateway.tokens import TokenKeeper
from interlock.gateway.upstream import Broken, Reply, Upstream
from interlock.ids import Ids
from interlock.listening.room import size_of_body, take_room
from interlock.store.sealing import NONCE_BYTES, Unsealable, open_text, seal_text

FILE_BODY_MAX = 26 * 1024 * 1024
"""Longest form with a file: the vendor takes sounds of 25 MB."""
TOKEN_S = 10.0
"""Longest wait for a token."""
LOOK_S = 1.0
"""How often it is asked whether the run still holds its lock while its file is under way."""
AT_ONCE_MAX = 2
"""Files that are held at once; others wait for them. Terraform sends ten, and together they may be 250 MB."""
ADDRESS_MAX = 2700
"""Longest address that is taken: sealed it must fit into a path, see `route.PATH_MAX`."""
_FIELD = "uploadUri"
_OK, _UNAUTHORISED, _TOO_MANY = 200, 401, 429
_REDIRECTS = range(300, 400)
_PAUSE_MIN_S = 0.25
_COME_BACK_S = 2
_PRINTABLE = re.compile(rf"[!-~]{{1,{ADDRESS_MAX}}}")
_GIVING = re.compile(r"/api/v2/architect/(?:system)?prompts/[^/]+/resources(?:/[^/]+)?")
_NAME = re.compile(r"/files/[A-Za-z0-9_-]{1,3900}")
_KEY_ID = b"il-files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a gateway waits for what a file needs, in seconds.

    Attributes:
        turn_s: For there to be room for it.
        read_s: For its bytes to come from the client.
        refused_s: For the API to take it, while it says 429.
        sent_s: For it to be sent and answered, once.
        sends_back: Whether a file without room is told to come back, as by the API; else it is refused for good.
    """

    turn_s: float
    read_s: float
    refused_s: float
    sent_s: float
    sends_back: bool = False


OWN = Patience(turn_s=600.0, read_s=BODY_READ_S, refused_s=300.0, sent_s=300.0)
"""Of a run's own gateway: the provider is on this machine, and does not repeat a file."""
SERVERS = Patience(turn_s=8.0, read_s=120.0, refused_s=20.0, sent_s=300.0, sends_back=True)
"""Of a server's: what is between may cut a silent connection after a minute, and the run's gateway comes back."""
RELAYED = Patience(turn_s=600.0, read_s=BODY_READ_S, refused_s=600.0, sent_s=500.0)
"""Of a run's gateway before a server's: longer than all that the server waits for."""


class Addresses(Protocol):
    """How the addresses that a gateway gives stand for those to which files go."""

    def name(self, given: object, run: str) -> str | None:
        """Return the last part of our address for one that an answer gives to a run; None where it stays as it is."""
        ...

    def find(self, path: str, run: str) -> URL | None:
        """Return where a file goes that a run sends to a path of ours; None for one that it was not given."""
        ...


class Sealed:
    """The addresses of the API itself, sealed for the run that gets them: nothing is kept.

    Args:
        api: Address of the API.
        key: At least 32 secret bytes; who shares them reads what another gave.
        ids: For chance.
    """

    def __init__(self, api: URL, key: bytes, ids: Ids) -> None:
        self._api = api
        self._key = hmac.digest(key, b"addresses of files", "sha256")
        self._ids = ids

    def name(self, given: object, run: str) -> str | None:
        """See `Addresses.name`."""
        address = read_address(given, self._api)
        if address is None:
            return None
        nonce = hashlib.sha256(self._ids.secret().encode()).digest()[:NONCE_BYTES]
        sealed = seal_text(str(address).encode(), key=self._key, key_id=_KEY_ID, nonce=nonce, bound=run.encode())
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def find(self, path: str, run: str) -> URL | None:
        """See `Addresses.find`."""
        name = path.removeprefix("/files/")
        try:
            sealed = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4))
            return read_address(open_text(sealed, key=self._key, bound=run.encode()).decode(), self._api)
        except (binascii.Error, Unsealable):
            return None


class Relayed:
    """The addresses of a server's gateway: what stands after its prefix stands after ours.

    Args:
        server: Its address, with the run's prefix there.
    """

    def __init__(self, server: URL) -> None:
        self._server = server

    def name(self, given: object, run: str) -> str | None:  # noqa: ARG002 - the server knows whose it is
        """See `Addresses.name`. The host is not compared: before a proxy the server does not know its own."""
        try:
            path = URL(given, encoded=True).raw_path if isinstance(given, str) else ""
        except ValueError:
            return None
        rest = path.removeprefix(self._server.raw_path)
        return rest.removeprefix("/files/") if rest != path and _NAME.fullmatch(rest) else None

    def find(self, path: str, run: str) -> URL | None:  # noqa: ARG002 - the server knows whose it is
        """See `Addresses.find`."""
        return URL(f"{self._server}{path}", encoded=True) if _NAME.fullmatch(path) else None


class Files:
    """The way for files of runs.

    Args:
        addresses: Where they go.
        patience: How long it is waited for what they need.
        upstream: The client.
        tokens: The pool.
        clock: For pauses.
        ids: For what refusals are found by.
    """

    def __init__(
        self,
        *,
        addresses: Addresses,
        patience: Patience,
        upstream: Upstream,
        tokens: TokenKeeper,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self.patience = patience
        self._ids = ids
        self._addresses = addresses
        self._upstream = upstream
        self._tokens = tokens
        self._clock = clock
        self._closed_until_s = 0.0
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)

    def readdressed(self, method: str, path: str, reply: Reply, *, base: str, run: str) -> Reply:
        """Return an answer whose address for a file, if it has one, is of this gateway.

        Args:
            method: Of the call.
            path: Of the call, from `/api/v2/` on.
            reply: The API's answer.
            base: What the client puts before a path here, with its prefix.
            run: The client.
        """
        is_giving = method in {"POST", "PUT"} and reply.status == _OK and _GIVING.fullmatch(path) is not None
        body = _object(reply) if is_giving and reply.rest is None else {}
        name = self._addresses.name(body.get(_FIELD), run)
        if name is None:
            return reply
        headers = tuple(pair for pair in reply.headers if pair[0] != b"content-encoding")
        return replace(reply, body=msgspec.json.encode({**body, _FIELD: f"{base}/files/{name}"}), headers=headers)

    @asynccontextmanager
    async def turn(self, headers: Sequence[Pair]) -> AsyncIterator[bool]:
        """Hold a file until the block ends, once there is room for it; False when there was none in time.

        Args:
            headers: Of the request, which say how long it is.
        """
        try:
            async with asyncio.timeout(self.patience.turn_s):
                await self._turns.acquire()
        except TimeoutError:
            yield False
            return
        try:
            yield await _has_room(headers)
        finally:
            self._turns.release()

    def no_turn(self) -> Answer:
        """Return the answer to a file without a turn."""
        why = "the gateway holds too many files already; nothing was sent"
        if self.patience.sends_back:
            return too_many(_COME_BACK_S, why, correlation=self._ids.fresh())
        return unreachable(why, correlation=self._ids.fresh())

    def find(self, path: str, run: str) -> URL | None:
        """Return the address behind one of ours that a run was given; None for any other."""
        return self._addresses.find(path, run)

    async def send(
        self,
        address: URL,
        headers: Sequence[Pair],
        body: bytes,
        *,
        fence: Callable[[], Awaitable[Answer | None]],
        is_lost: Callable[[], Awaitable[bool]],
    ) -> Reply | Broken | Answer:
        """Send a form; again when it was refused before anything was done: a token once, a 429 for a while.

        Args:
            address: From `find`.
            headers: From `forwarded_request`.
            body: The form.
            fence: Asked before each attempt; an answer is given to the client and nothing is sent.
            is_lost: Asked while the file is under way; a file of a run that lost its lock is cut off.
        """
        deadline_s = self._clock.monotonic() + self.patience.refused_s
        is_replayed = False
        while True:
            if self._closed_until_s >= deadline_s:
                return self._closed()
            await self._clock.sleep(max(self._closed_until_s - self._clock.monotonic(), 0.0))
            reply, bearer = await self._attempt(address, headers, body, fence, is_lost)
            if not isinstance(reply, Reply):
                return reply
            if reply.status == _UNAUTHORISED and not is_replayed:
                is_replayed = True
                self._tokens.reject_bearer(bearer)
            elif reply.status != _TOO_MANY or not self._may_wait(reply, deadline_s):
                return _at_its_address(reply)
            if reply.rest is not None:
                reply.rest.close()

    def _closed(self) -> Answer:
        """Refuse a file while nothing is taken for longer than it may wait here."""
        left_s = math.ceil(self._closed_until_s - self._clock.monotonic())
        return too_many(left_s, "Genesys Cloud takes no files now", correlation=self._ids.fresh())

    def _may_wait(self, refused: Reply, deadline_s: float) -> bool:
        """Note for all files how long nothing is taken; say whether this one has so much time."""
        told_s = read_retry_after(refused.named().get("retry-after"), now=self._clock.now())
        until_s = self._clock.monotonic() + max(RETRY_AFTER_DEFAULT_S if told_s is None else told_s, _PAUSE_MIN_S)
        self._closed_until_s = max(self._closed_until_s, until_s)
        return until_s < deadline_s

    async def _attempt(
        self,
        address: URL,
        headers: Sequence[Pair],
        body: bytes,
        fence: Callable[[], Awaitable[Answer | None]],
        is_lost: Callable[[], Awaitable[bool]],
    ) -> tuple[Reply | Broken | Answer, str]:
        try:
            async with asyncio.timeout(TOKEN_S):
                bearer = await self._tokens.wait_bearer()
        except TimeoutError:
            why = self._tokens.pool.fault or f"no token came within {TOKEN_S:g} s"
            return Broken(failure=Failure.UNSENT, why=why), ""
        if (refusal := await fence()) is not None:  # the wait for a token and for a 429 may outlast a lease
            return refusal, bearer
        sending = asyncio.create_task(
            self._upstream.send_file(address, headers=headers, body=body, bearer=bearer, limit_s=self.patience.sent_s)
        )
        try:
            while not (await asyncio.wait({sending}, timeout=LOOK_S))[0]:
                if await is_lost():
                    why = "the run lost its lock while its file was under way"
                    return Broken(failure=Failure.LOST, why=why), bearer
            return sending.result(), bearer
        finally:
            sending.cancel()
            await asyncio.wait({sending})


def _at_its_address(reply: Reply) -> Reply | Broken:
    """Return an answer as it came; none that leads elsewhere: its client would take the file there, past the fence."""
    if reply.status not in _REDIRECTS:
        return reply
    if reply.rest is not None:
        reply.rest.close()
    return Broken(failure=Failure.LOST, why="it was sent on to another address")


async def _has_room(headers: Sequence[Pair]) -> bool:
    """Say whether there is room in the memory of a server, if this is one; it is given back with the answer."""
    named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    try:
        await take_room(size_of_body(named, FILE_BODY_MAX))
    except BackendUnavailable:
        return False
    return True


def _object(reply: Reply) -> dict[str, object]:
    try:
        body = read_json(plain_body(reply.body, reply.headers) or b"null")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def read_address(given: object, api: URL) -> URL | None:
    """Return an address to which the gateway may send a file and its token; None for any other.

    It may: the API's own host, and the `apps` host of the API's region.
    """
    try:
        # As it was spelled: it may be signed.
        address = URL(given, encoded=True) if isinstance(given, str) and _PRINTABLE.fullmatch(given) else None
        if address is None or address.raw_user is not None or address.raw_password is not None or address.port is None:
            return None
    except ValueError:
        return None
    if (address.scheme, address.port) != (api.scheme, api.port):
        return None
    host = api.raw_host or ""
    apps = f"apps.{host.removeprefix('api.')}" if host.startswith("api.") else host
    return address if address.raw_host in {host, apps} else None
