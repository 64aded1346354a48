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
from collections.abc import Sequence
from dataclasses import replace

import msgspec
from yarl import URL

from interlock.bounded import read_json
from interlock.gateway.encodings import plain_body
from interlock.gateway.headers import Pair
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
_ADDRESSES_MAX = 4096
_FIELD = "uploadUri"
_OK, _UNAUTHORISED = 200, 401
_PRINTABLE = re.compile(r"[!-~]{1,4096}")
_GIVING = re.compile(r"/api/v2/architect/(?:system)?prompts/[^/]+/resources(?:/[^/]+)?")


class Files:
    """The addresses that were given to clients of this gateway, and the way to them.

    Args:
        api: Address of the API.
        upstream: The client.
        tokens: The pool.
        ids: For the names of addresses.
    """

    def __init__(self, *, api: URL, upstream: Upstream, tokens: TokenKeeper, ids: Ids) -> None:
        self._api = api
        self._upstream = upstream
        self._tokens = tokens
        self._ids = ids
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

    def find(self, path: str) -> URL | None:
        """Return the API's address behind one of ours."""
        return self._addresses.get(path.removeprefix("/files/"))

    async def send(self, address: URL, headers: Sequence[Pair], body: bytes) -> Reply | Broken:
        """Send a form; once more with another token when the first is refused."""
        reply, bearer = await self._attempt(address, headers, body)
        if isinstance(reply, Reply) and reply.status == _UNAUTHORISED:
            if reply.rest is not None:
                reply.rest.close()
            self._tokens.reject_bearer(bearer)
            reply, _ = await self._attempt(address, headers, body)
        return reply

    async def _attempt(self, address: URL, headers: Sequence[Pair], body: bytes) -> tuple[Reply | Broken, str]:
        try:
            async with asyncio.timeout(TOKEN_S):
                bearer = await self._tokens.wait_bearer()
        except TimeoutError:
            why = self._tokens.pool.fault or f"there is no token within {TOKEN_S:g} s"
            return Broken(failure=Failure.UNSENT, why=why), ""
        return await self._upstream.send_file(
            address, headers=headers, body=body, bearer=bearer, limit_s=FILE_SENT_S
        ), bearer


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
        if address is None or address.user is not None or address.port is None:
            return None
    except ValueError:
        return None
    if (address.scheme, address.port) != (api.scheme, api.port):
        return None
    host = api.host or ""
    apps = f"apps.{host.removeprefix('api.')}" if host.startswith("api.") else host
    return address if address.host in {host, apps} else None
