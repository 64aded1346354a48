"""The organisation's API as a scan asks it: through the run's own gateway, with few calls and little patience. A hand.

The gateway holds budgets and tokens; here are only pages, waiting and the words for what goes wrong.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aiohttp

from interlock.clock import Clock
from interlock.drift import audit
from interlock.errors import AuthenticationFailed, BackendUnavailable, BudgetExhausted, InterlockError, reason_of
from interlock.genesys.listings import Listing

LIMIT_S = 300.0
"""All calls of one scan together; what is not seen by then is said in the report."""
CALL_S = 30.0
"""One call, which the gateway may hold for a while."""
MAX_PAGES = 200
"""Of one listing: 20,000 to 100,000 objects."""
MAX_REPLY_BYTES = 16 << 20
_POLL_S = 0.2
_LONGEST_POLL_S = 5.0
_DEFAULT_WAIT_S = 1.0
_FORBIDDEN, _UNAUTHORISED, _NOT_FOUND, _TOO_MANY, _BAD = 403, 401, 404, 429, 400
_FAILED = frozenset({"failed", "cancelled"})


class Organisation:
    """One organisation, for one scan.

    Args:
        url: Of the run's gateway, with the run's prefix.
        client: The OAuth client that Terraform's calls are made with.
        clock: For waiting.
        session: Makes the calls.
        limit_s: See `LIMIT_S`.
    """

    def __init__(
        self, url: str, client: str, *, clock: Clock, session: aiohttp.ClientSession, limit_s: float = LIMIT_S
    ) -> None:
        self.client = client
        self._url = url.rstrip("/") + "/api/v2"
        self._clock = clock
        self._session = session
        self._until_s = clock.monotonic() + limit_s

    async def entities(self, listing: Listing) -> AsyncIterator[Any]:
        """Yield every entity of a listing.

        Raises:
            InterlockError: The API refused, or time or pages are used up.
        """
        for number in range(1, MAX_PAGES + 1):
            query = {**listing.query, "pageSize": str(listing.page_size), "pageNumber": str(number)}
            page = await self._call("GET", listing.path, query=query) or {}
            found = page.get("entities")
            for entity in found if isinstance(found, list) else []:
                yield entity
            if not found or number >= _whole(page.get("pageCount")):
                return
        raise BudgetExhausted(f"{listing.path} has more than {MAX_PAGES} pages", fix="look for fewer types at once")

    async def published(self, flow: str) -> str | None:
        """Return the published version of a flow; None when there is no such flow, or none is published."""
        answer = await self._call("GET", f"/flows/{flow}", query={"deleted": "false"}) or {}
        version = answer.get("publishedVersion")
        found = version.get("id") if isinstance(version, dict) else None
        return str(found) if found is not None else None

    async def events(self, since: datetime, until: datetime) -> AsyncIterator[list[audit.Event]]:
        """Yield pages of the audit log, newest first.

        Raises:
            InterlockError: The API refused, or time is used up.
        """
        asked = await self._call("POST", audit.PATH, body=audit.query(since, until)) or {}
        path = f"{audit.PATH}/{asked.get('id', '')}"
        await self._succeed(path)
        cursor = ""
        for _ in range(audit.MAX_PAGES):
            query = {"pageSize": str(audit.PAGE_SIZE), "expand": "user", **({"cursor": cursor} if cursor else {})}
            page = await self._call("GET", f"{path}/results", query=query) or {}
            yield audit.read_events(page.get("entities"))
            cursor = str(page.get("cursor") or "")
            if not cursor:
                return

    async def _succeed(self, path: str) -> None:
        wait_s = _POLL_S
        while True:
            state = str(((await self._call("GET", path)) or {}).get("state", "")).casefold()
            if state == "succeeded":
                return
            if state in _FAILED:
                raise BackendUnavailable(f"the audit query ended as {state}", fix="scan again")
            await self._pause(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_POLL_S)

    async def _call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None
    ) -> dict[str, Any] | None:
        """Return the JSON object of an answer; None for 404. A 429 is waited out."""
        while True:
            try:
                async with self._session.request(
                    method, self._url + path, params=query, json=body, allow_redirects=False
                ) as reply:
                    if reply.status == _TOO_MANY:
                        wait_s = _seconds(reply.headers.get("Retry-After"))
                    else:
                        return await _document(reply, path)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise BackendUnavailable(
                    "the organisation could not be asked", why=reason_of(error), fix="scan again"
                ) from error
            await self._pause(wait_s)

    async def _pause(self, wait_s: float) -> None:
        if self._clock.monotonic() + wait_s > self._until_s:
            raise BudgetExhausted("the time for asking the organisation is used up", fix="look for fewer types at once")
        await self._clock.sleep(wait_s)


@asynccontextmanager
async def open_organisation(url: str, client: str, *, clock: Clock) -> AsyncIterator[Organisation]:
    """Open the way to the organisation behind a run's gateway; see `Organisation`."""
    timeout = aiohttp.ClientTimeout(total=CALL_S)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Organisation(url, client, clock=clock, session=session)


async def _document(reply: aiohttp.ClientResponse, path: str) -> dict[str, Any] | None:
    if reply.status == _NOT_FOUND:
        return None
    if reply.status >= _BAD:
        raise await _refusal(reply, path)
    if (reply.content_length or 0) > MAX_REPLY_BYTES:
        raise BackendUnavailable(f"{path} answered {reply.content_length} bytes", fix="look for fewer types at once")
    try:
        document = await reply.json(content_type=None)
    except ValueError as error:
        raise BackendUnavailable(f"{path} did not answer JSON", fix="scan again") from error
    return document if isinstance(document, dict) else {}


async def _refusal(reply: aiohttp.ClientResponse, path: str) -> InterlockError:
    try:
        document = await reply.json(content_type=None)
    except (ValueError, aiohttp.ClientError):
        document = {}
    message = str(document.get("message", ""))[:300] if isinstance(document, dict) else ""
    if reply.status in (_UNAUTHORISED, _FORBIDDEN):
        return AuthenticationFailed(f"{path} is not allowed", why=message, fix="give the OAuth client's role the right")
    return BackendUnavailable(f"{path} answered {reply.status}", why=message, fix="scan again")


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else _DEFAULT_WAIT_S


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 1
