"""Files that a run sends to an address which the API gave it: the sounds of prompts.

Such an address lies outside the API and takes a token of its own, which a run does not have: it holds a placeholder.
So the address in the API's answer is replaced by one of this gateway, and what comes there is sent on to the API's
address under a token of the pool. Only addresses that were given out lead anywhere, and only to hosts of the API.

A hand: it sends. Source: docs/facts/genesys.md#genesys-15.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
from yarl import URL

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.gateway.answers import Answer
from interlock.gateway.encodings import plain_body
from interlock.gateway.headers import RETRY_AFTER_DEFAULT_S, Pair, read_retry_after
from interlock.gateway.retries import Failure
from interlock.gateway.tokens import TokenKeeper
from interlock.gateway.upstream import Broken, Reply, Upstream
from interlock.ids import Ids

FILE_BODY_MAX = 26 * 1024 * 1024
"""Longest form with a file: the vendor takes sounds of 25 MB."""
FILE_SENT_S = 300.0
"""Longest time for a file to be sent and answered."""
TOKEN_S = 10.0
"""Longest wait for a token."""
LOOK_S = 1.0
"""How often it is asked whether the run still holds its lock while its file is under way."""
AT_ONCE_MAX = 2
"""Files that are held at once; others wait for them. Terraform sends ten, and together they may be 250 MB."""
TURN_S = 600.0
"""Longest wait for that."""
_ADDRESSES_MAX = 4096
_FIELD = "uploadUri"
_OK, _UNAUTHORISED, _TOO_MANY = 200, 401, 429
_REDIRECTS = range(300, 400)
_PAUSE_MIN_S = 0.25
_PRINTABLE = re.compile(r"[!-~]{1,4096}")
_GIVING = re.compile(r"/api/v2/architect/(?:system)?prompts/[^/]+/resources(?:/[^/]+)?")


class Files:
    """The addresses that were given to clients of this gateway, and the way to them.

    Args:
        api: Address of the API.
        upstream: The client.
        tokens: The pool.
        ids: For the names of addresses.
        clock: For pauses.
    """

    def __init__(self, *, api: URL, upstream: Upstream, tokens: TokenKeeper, ids: Ids, clock: Clock) -> None:
        self._api = api
        self._upstream = upstream
        self._tokens = tokens
        self._ids = ids
        self._clock = clock
        self._closed_until_s = 0.0
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)
        self._addresses: OrderedDict[str, URL] = OrderedDict()

    def readdressed(self, method: str, path: str, reply: Reply, *, base: str) -> Reply:
        """Return an answer whose address for a file, if it has one, is of this gateway.

        Args:
            method: Of the call.
            path: Of the call, from `/api/v2/` on.
            reply: The API's answer.
            base: What the client puts before a path here, with its prefix.
        """
        is_giving = method in {"POST", "PUT"} and reply.status == _OK and _GIVING.fullmatch(path) is not None
        body = _object(reply) if is_giving and reply.rest is None else {}
        address = read_address(body.get(_FIELD), self._api)
        if address is None:
            return reply
        name = self._ids.fresh()
        self._addresses[name] = address
        if len(self._addresses) > _ADDRESSES_MAX:
            self._addresses.popitem(last=False)
        headers = tuple(pair for pair in reply.headers if pair[0] != b"content-encoding")
        return replace(reply, body=msgspec.json.encode({**body, _FIELD: f"{base}/files/{name}"}), headers=headers)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Hold a file until the block ends, once there is room for it; False when there was none in `TURN_S`."""
        try:
            async with asyncio.timeout(TURN_S):
                await self._turns.acquire()
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            self._turns.release()

    def find(self, path: str) -> URL | None:
        """Return the API's address behind one of ours."""
        return self._addresses.get(path.removeprefix("/files/"))

    async def send(
        self,
        address: URL,
        headers: Sequence[Pair],
        body: bytes,
        *,
        fence: Callable[[], Awaitable[Answer | None]],
        is_lost: Callable[[], Awaitable[bool]],
    ) -> Reply | Broken | Answer:
        """Send a form; again when it was refused before anything was done: a token once, a 429 for `FILE_SENT_S`.

        Args:
            address: From `find`.
            headers: From `forwarded_request`.
            body: The form.
            fence: Asked before each attempt; an answer is given to the client and nothing is sent.
            is_lost: Asked while the file is under way; a file of a run that lost its lock is cut off.
        """
        deadline_s = self._clock.monotonic() + FILE_SENT_S
        is_replayed = False
        while True:
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
            self._upstream.send_file(address, headers=headers, body=body, bearer=bearer, limit_s=FILE_SENT_S)
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
