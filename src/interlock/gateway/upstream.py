"""The HTTP client: sends one request to the API or the login host, and says exactly what is known when that fails.

aiohttp was chosen by measurement (docs/adr/0100-gateway-http-client.md). Redirects are never followed, nothing is
decompressed, cookies are not kept, and hosts come from the configuration alone.
"""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from interlock.errors import UsageError
from interlock.gateway.headers import Pair
from interlock.gateway.oauth import Credentials, basic_header
from interlock.gateway.retries import Failure

BUFFER_MAX = 1024 * 1024
"""Answers up to this size are held until they are whole, so a lost half can be asked for again; longer ones stream."""
CONNECT_S = 5.0
"""Longest time for a connection to stand."""
STREAM_S = 300.0
"""Longest silence in the rest of a long answer or an event stream."""
LOGIN_S = 10.0
"""Longest time for the login service's answer."""
_LOGIN_ANSWER_MAX = 64 * 1024
_KEEP_ALIVE_S = 15.0  # shorter than the API's own, so that a request seldom meets a connection being closed
_CONNECTIONS_MAX = 256
_CHUNK = 64 * 1024
_EVENTS = b"text/event-stream"  # an answer that has no end: given on as it comes
_AUTO = frozenset({"User-Agent", "Accept-Encoding", "Accept", "Content-Type"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back.

    Attributes:
        status: Of the answer.
        headers: As received, names in lower case.
        body: The whole body, or its first part when `rest` is there.
        rest: The remainder of a long body; must be read or closed.
    """

    status: int
    headers: tuple[Pair, ...]
    body: bytes
    rest: Rest | None = None

    def named(self) -> dict[str, str]:
        """Return the headers by name; of repeated ones the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """No answer came.

    Attributes:
        failure: Whether anything was sent.
        why: The reason, for people; without addresses of proxies, which may hold a password.
    """

    failure: Failure
    why: str


class Rest:
    """The remainder of an answer that is still coming."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the remainder, no faster than it is taken.

        Raises:
            ConnectionError: The API stopped in the middle.
        """
        try:
            while True:
                async with asyncio.timeout(STREAM_S):
                    chunk = await self._response.content.readany()
                if not chunk:
                    return
                yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError("the API stopped in the middle of an answer") from error
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection up."""
        self._response.close()


def parse_base(url: str, what: str) -> URL:
    """Read the address of an upstream: scheme, host and port, nothing else.

    Raises:
        UsageError: It is no such address.
    """
    try:
        base = URL(url.rstrip("/"))
        fine = base.scheme in {"http", "https"} and base.host and not base.user and base.path in {"", "/"}
        fine = fine and not base.query_string and not base.fragment and base.port is not None
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(
            f"{what} {url[:100]!r} cannot be used",
            why="an upstream is http:// or https:// with a host and perhaps a port, without a path",
            fix="for example https://api.mypurecloud.de",
        )
    return base


class Upstream:
    """Both hosts of one region.

    Args:
        api: From `parse_base`.
        login: From `parse_base`.
    """

    def __init__(self, *, api: URL, login: URL) -> None:
        self._api = str(api.origin())
        self._login = str(login.origin())
        self._proxies = {self._api: _proxy_of(api), self._login: _proxy_of(login)}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the client; needs a running loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX, keepalive_timeout=_KEEP_ALIVE_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            skip_auto_headers=_AUTO,
        )
        # aiohttp would repeat a request of its own accord when a kept connection turns out closed. The API may have
        # counted the first one, so budgets would be wrong; there is no public switch (a test watches this one).
        self._session._retry_connection = False  # noqa: SLF001
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, method: str, target: str, *, headers: Iterable[Pair], body: bytes, bearer: str, limit_s: float
    ) -> Reply | Broken:
        """Send one request to the API.

        Args:
            method: Upper case.
            target: From `/api/v2/` on, with its query; already checked.
            headers: From `forwarded_request`.
            body: The whole body.
            bearer: The access token.
            limit_s: How long the first `BUFFER_MAX` bytes of the answer may take.
        """
        fields = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
        fields["Authorization"] = f"Bearer {bearer}"
        return await self._request(method, self._api, target, fields, body or None, limit_s)

    async def mint(self, credentials: Credentials) -> Reply | Broken:
        """Ask the login service for a token."""
        fields = CIMultiDict(
            {
                "Authorization": basic_header(credentials),
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            }
        )
        body = b"grant_type=client_credentials"
        reply = await self._request("POST", self._login, "/oauth/token", fields, body, LOGIN_S)
        if isinstance(reply, Reply) and reply.rest is not None:
            reply.rest.close()
        return reply

    async def _request(
        self, method: str, base: str, target: str, headers: CIMultiDict[str], body: bytes | None, limit_s: float
    ) -> Reply | Broken:
        assert self._session is not None, "used outside its block"
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(limit_s):
                response = await self._session.request(
                    method,
                    URL(base + target, encoded=True),
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    proxy=self._proxies[base],
                )
                return await _read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            return Broken(failure=Failure.UNSENT, why=_why_unsent(error, URL(base).host or ""))
        except TimeoutError:
            _drop(response)
            return Broken(failure=Failure.LOST, why=f"no whole answer came within {limit_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            _drop(response)
            return Broken(failure=Failure.LOST, why=f"the connection ended without a whole answer ({_kind(error)})")
        except BaseException:
            _drop(response)
            raise


def _proxy_of(url: URL) -> URL | None:
    """Return the proxy that the environment names for a host of https; None for none.

    aiohttp's own reading of the environment also takes logins from `~/.netrc`, which then stand against our token and
    make every call fail.
    """
    proxy = urllib.request.getproxies().get("https") if url.scheme == "https" else None
    return URL(proxy) if proxy and not urllib.request.proxy_bypass(url.host or "") else None


def _why_unsent(error: Exception, host: str) -> str:
    """Say why no connection stood, for people: what to look at differs."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            why = f"TLS with {host} failed ({_kind(error)})"
        case aiohttp.ClientConnectorDNSError():
            why = f"the name {host} cannot be resolved"
        case aiohttp.ClientProxyConnectionError():
            why = "the proxy cannot be reached"
        case aiohttp.ClientHttpProxyError(status=407):
            why = "the proxy asks for a login (407)"
        case aiohttp.ClientHttpProxyError():
            why = f"the proxy refused the connection to {host} ({error.status})"
        case aiohttp.ConnectionTimeoutError():
            why = f"no connection to {host} within {CONNECT_S:g} s"
        case _:
            why = f"no connection to {host} ({_kind(error)})"
    return why


def _kind(error: BaseException) -> str:
    inner = getattr(error, "os_error", None) or error
    number = getattr(inner, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(inner).__name__


def _drop(response: aiohttp.ClientResponse | None) -> None:
    if response is not None:
        response.close()


async def _read(response: aiohttp.ClientResponse) -> Reply:
    """Read an answer up to `BUFFER_MAX`; what is longer stays in the connection."""
    headers = tuple((name.lower(), value) for name, value in response.raw_headers)
    if any(name == b"content-type" and value.lower().startswith(_EVENTS) for name, value in headers):
        return Reply(status=response.status, headers=headers, body=b"", rest=Rest(response))
    parts: list[bytes] = []
    held = 0
    while held <= BUFFER_MAX:
        part = await response.content.read(_CHUNK)
        if not part:
            response.release()
            return Reply(status=response.status, headers=headers, body=b"".join(parts))
        parts.append(part)
        held += len(part)
    return Reply(status=response.status, headers=headers, body=b"".join(parts), rest=Rest(response))
