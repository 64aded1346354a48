"""The public keys of issuers: fetched from where the rules say, kept, and fetched anew at most so often. A hand.

A token cannot make us ask anybody: only issuers of trust rules are asked, at their own addresses. Nor can it make us
ask often: an unknown key is looked for once a minute, however many tokens name it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import BackendUnavailable, InterlockError
from interlock.server.identity.rules import Issuer
from interlock.trust.sending import find_origin

GAP_S = 60.0
"""At most so often is one issuer asked."""
FRESH_S = 3_600.0
"""How long a known key is used without asking."""
STALE_S = 86_400.0
"""How long a known key is used while its issuer cannot be reached."""
TIMEOUT_S = 5.0
BYTES_MAX = 1 << 18
KEYS_MAX = 100
_OK = 200

Fetch = Callable[[str], Awaitable[bytes]]
"""Returns what is at an address.

Raises `BackendUnavailable`: it cannot be had within the limits.
"""


class IssuerKeys:
    """Finds the keys of issuers.

    Args:
        clock: For how long a key is kept.
        fetch: Gets documents.
    """

    def __init__(self, clock: Clock, fetch: Fetch) -> None:
        self._clock = clock
        self._fetch = fetch
        self._known: dict[Issuer, _Known] = {}

    async def find(self, issuer: Issuer, key_id: str) -> Mapping[str, Any] | None:
        """Return an issuer's key of that name, None when it has none.

        Raises:
            BackendUnavailable: The issuer cannot be asked, and the key is not known from before.
        """
        known = self._known.setdefault(issuer, _Known())
        async with known.lock:  # one request, however many wait for it
            found = known.keys.get(key_id)
            now_s = self._clock.monotonic()
            if found is not None and now_s - known.fetched_s < FRESH_S:
                return found
            if now_s - known.asked_s >= GAP_S:
                await self._ask(issuer, known, now_s)
            found = known.keys.get(key_id) if now_s - known.fetched_s < STALE_S else None
            if found is None and known.why:
                raise BackendUnavailable(
                    f"the keys of {issuer.url} cannot be had", why=known.why, fix="try again in a minute"
                )
            return found

    async def _ask(self, issuer: Issuer, known: _Known, now_s: float) -> None:
        known.asked_s = now_s
        try:
            known.keys = await self._fetched(issuer)
            known.fetched_s, known.why = now_s, ""
        except InterlockError as error:
            known.why = error.why or error.what

    async def _fetched(self, issuer: Issuer) -> dict[str, Mapping[str, Any]]:
        document = _document(await self._fetch(issuer.keys_url or await self._keys_url(issuer)))
        listed = document.get("keys")
        if not isinstance(listed, list) or len(listed) > KEYS_MAX:
            raise BackendUnavailable("keys cannot be read", why=f"its document has no list of at most {KEYS_MAX} keys")
        keys = [each for each in listed if isinstance(each, dict) and isinstance(each.get("kid"), str)]
        return {each["kid"]: each for each in keys}

    async def _keys_url(self, issuer: Issuer) -> str:
        document = _document(await self._fetch(f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"))
        url = document.get("jwks_uri")
        if document.get("issuer") != issuer.url or not isinstance(url, str):
            raise BackendUnavailable("keys cannot be read", why="its discovery document is that of another issuer")
        if find_origin(url) is None or find_origin(url) != find_origin(issuer.url):
            why = "its discovery document names keys on another server; name it in the rule, with --keys-url"
            raise BackendUnavailable("keys cannot be read", why=why)
        return url


class _Known:
    """What is known of one issuer."""

    def __init__(self) -> None:
        self.keys: dict[str, Mapping[str, Any]] = {}
        self.fetched_s = float("-inf")
        self.asked_s = float("-inf")
        self.why = ""
        self.lock = asyncio.Lock()


def _document(content: bytes) -> Mapping[str, Any]:
    try:
        found = read_json(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BackendUnavailable("keys cannot be read", why="what it answers is not a JSON document")
    return found


async def fetch(url: str) -> bytes:
    """See `Fetch`: by HTTPS, or from this machine, within time and size, and from nowhere else than the address."""
    import aiohttp

    origin = find_origin(url)
    if origin is None or not origin.is_private:
        raise BackendUnavailable("keys cannot be read", why="its address is not https")
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status != _OK:
                raise BackendUnavailable("keys cannot be read", why=f"it answered {answer.status}")
            return await _limited(answer.content)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise BackendUnavailable("keys cannot be read", why=f"it gives no answer ({type(error).__name__})") from error


async def _limited(content: Any) -> bytes:
    found = bytearray()
    async for chunk in content.iter_chunked(1 << 14):
        found += chunk
        if len(found) > BYTES_MAX:
            raise BackendUnavailable("keys cannot be read", why=f"its document has more than {BYTES_MAX} bytes")
    return bytes(found)
