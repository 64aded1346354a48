"""The HTTP client: sends one request to the API or the login host, and says exactly what is known when that fails.

aiohttp was chosen by measurement (docs/adr/0100-gateway-http-client.md). Redirects are never followed, nothing is
decompressed, cookies are not kept, and hosts come from the configuration alone.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import SimpleNamespace, TracebackType
from typing import Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from interlock.errors import UsageError
from interlock.gateway.forward_proxy import ForwardProxy, Proxying, proxy_of_environment
from interlock.gateway.headers import Pair
from interlock.gateway.oauth import Credentials, basic_header
from interlock.gateway.retries import Failure
from interlock.listening.guests import connections_max

BUFFER_MAX = 1024 * 1024
"""Answers up to this size are held until they are whole, so a lost half can be asked for again; longer ones stream."""
CONNECT_S = 5.0
"""Longest time for a connection to stand."""
READY_S = 8.0
"""Longest time until a connection can be used: the name, the proxy's answer to CONNECT and TLS included."""
STREAM_S = 300.0
"""Longest silence in the rest of a long answer or an event stream."""
CONNECTIONS_MAX = 256
"""Most connections to the API, where the process may open so many files."""
LOGIN_S = 10.0
"""Longest time for the login service's answer."""
_LOGIN_ANSWER_MAX = 64 * 1024
_KEEP_ALIVE_S = 15.0  # shorter than the API's own, so that a request seldom meets a connection being closed
_CHUNK = 64 * 1024
_EVENTS = b"text/event-stream"  # an answer that has no end: given on as it comes
_PROXY_LOGIN = 407
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
        why: The reason, for people; of a proxy the host and the port, never its user.
        is_refused_login: A proxy refused who we are, or that we are nobody: trying again does not help.
    """

    failure: Failure
    why: str
    is_refused_login: bool = False


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
    """Read the address of an upstream: scheme, host and port, and perhaps a path, as a user's own gateway has one.

    Raises:
        UsageError: It is no such address.
    """
    try:
        base = URL(url.rstrip("/"))
        fine = base.scheme in {"http", "https"} and base.host and not base.user
        fine = fine and not base.query_string and not base.fragment and base.port is not None
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(
            f"{what} {url[:100]!r} cannot be used",
            why="an upstream is http:// or https:// with a host, perhaps a port and a path, without a query",
            fix="for example https://api.mypurecloud.de",
        )
    return base


@dataclass(slots=True)
class _Progress:
    """Whether the connection of one request stands: before that, no byte of the request can have left.

    A proxy that is silent, or goes, while it is asked to connect raises the same errors as an upstream that took the
    request and did not answer.
    """

    is_connected: bool = False

    @property
    def failure(self) -> Failure:
        return Failure.LOST if self.is_connected else Failure.UNSENT


def _new_trace() -> aiohttp.TraceConfig:
    async def connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _event: object) -> None:
        context.trace_request_ctx.is_connected = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    return trace


class Upstream:
    """Both hosts of one region.

    Args:
        api: From `parse_base`.
        login: From `parse_base`.
        proxy: What stands between here and them.
    """

    def __init__(self, *, api: URL, login: URL, proxy: ForwardProxy | Proxying = Proxying.ENVIRONMENT) -> None:
        self._api = str(api).rstrip("/")
        self._login = str(login).rstrip("/")
        self._chosen = proxy
        self._proxies = {self._api: _proxy_to(api, proxy), self._login: _proxy_to(login, proxy)}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the client; needs a running loop."""
        self._session = aiohttp.ClientSession(
            # aiohttp's own context is made on import, perhaps with an earlier SSL_CERT_FILE.
            connector=aiohttp.TCPConnector(
                ssl=ssl.create_default_context(),
                limit=connections_max(CONNECTIONS_MAX, 4),
                keepalive_timeout=_KEEP_ALIVE_S,
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=READY_S, sock_connect=CONNECT_S),
            skip_auto_headers=_AUTO,
            trace_configs=[_new_trace()],
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

    async def send_file(
        self, address: URL, *, headers: Iterable[Pair], body: bytes, bearer: str, limit_s: float
    ) -> Reply | Broken:
        """Send a form with a file to an address that the API gave; whether that may be is decided in `files.py`."""
        base = str(address.origin())
        self._proxies.setdefault(base, _proxy_to(address, self._chosen))
        fields = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
        fields["Authorization"] = f"Bearer {bearer}"
        return await self._request("POST", base, str(address.relative()), fields, body, limit_s)

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
        proxy = self._proxies[base]
        if isinstance(proxy, str):
            return Broken(failure=Failure.UNSENT, why=proxy)
        progress = _Progress()
        try:
            async with asyncio.timeout(limit_s):
                return await self._exchange((method, base, target), headers, body, proxy, progress)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            return _unsent(error, URL(base).host or "", proxy)
        except TimeoutError:
            return Broken(failure=progress.failure, why=f"no whole answer came within {limit_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _broken_off(error, progress, proxy)

    async def _exchange(
        self,
        line: tuple[str, str, str],
        headers: CIMultiDict[str],
        body: bytes | None,
        proxy: ForwardProxy | None,
        progress: _Progress,
    ) -> Reply | Broken:
        """Send one request and read its answer; whatever is raised, the connection is closed."""
        assert self._session is not None, "used outside its block"
        method, base, target = line
        login = {} if proxy is None else _login_at(proxy)
        is_tunnel = base.startswith("https:")  # what is sent to the proxy with CONNECT is not sent on
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._session.request(
                method,
                URL(base + target, encoded=True),
                headers=headers if is_tunnel or not login else CIMultiDict([*headers.items(), *login.items()]),
                data=body,
                allow_redirects=False,
                proxy=None if proxy is None else _address_of(proxy),
                proxy_headers=login if is_tunnel else None,
                trace_request_ctx=progress,
            )
            if response.status == _PROXY_LOGIN and proxy is not None:  # in absolute form its answer is like any
                _drop(response)
                return _login_refused(proxy)
            return await _read(response)
        except BaseException:
            _drop(response)
            raise


def _proxy_to(url: URL, chosen: ForwardProxy | Proxying) -> ForwardProxy | str | None:
    """Return the proxy on the way to an upstream, None for none, or why the one that is named cannot be used.

    aiohttp's own reading of the environment also takes logins from `~/.netrc`, which then stand against our token and
    make every call fail.
    """
    if isinstance(chosen, ForwardProxy):
        return chosen if chosen.carries(url.scheme) else None
    if chosen is Proxying.DIRECT or urllib.request.proxy_bypass(url.host or ""):
        return None
    return proxy_of_environment(urllib.request.getproxies(), scheme=url.scheme)


def _address_of(proxy: ForwardProxy) -> URL:
    return URL.build(scheme=proxy.scheme, host=proxy.host, port=proxy.port)


def _login_at(proxy: ForwardProxy) -> dict[str, str]:
    if not proxy.user:
        return {}
    return {"Proxy-Authorization": basic_header(Credentials(client_id=proxy.user, secret=proxy.password))}


def _unsent(error: Exception, host: str, proxy: ForwardProxy | None) -> Broken:
    """Say that nothing was sent, and why, for people: what to look at differs."""
    if proxy is not None and isinstance(error, aiohttp.ClientHttpProxyError) and error.status == _PROXY_LOGIN:
        return _login_refused(proxy)
    return Broken(failure=Failure.UNSENT, why=_why_unsent(error, host, proxy))


def _broken_off(error: Exception, progress: _Progress, proxy: ForwardProxy | None) -> Broken:
    if not progress.is_connected and proxy is not None:
        why = f"the proxy {proxy.place} ended the connection before it led anywhere ({_kind(error)})"
    else:
        why = f"the connection ended without a whole answer ({_kind(error)})"
    return Broken(failure=progress.failure, why=why)


def _login_refused(proxy: ForwardProxy) -> Broken:
    why = f"the proxy {proxy.place} {'refuses its user and password' if proxy.user else 'asks for a login'} (407)"
    return Broken(failure=Failure.UNSENT, why=why, is_refused_login=True)


def _why_unsent(error: Exception, host: str, proxy: ForwardProxy | None) -> str:
    between = "" if proxy is None else f"the proxy {proxy.place}"
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            why = f"TLS with {host}{f' through {between}' if between else ''} failed ({_kind(error)})"
        case aiohttp.ClientConnectorDNSError():
            why = f"the name {host if proxy is None else proxy.host} cannot be resolved"
        case aiohttp.ClientProxyConnectionError():
            why = f"{between} cannot be reached ({_kind(error)})"
        case aiohttp.ClientHttpProxyError():
            why = f"{between} refused the connection to {host} ({error.status})"
        case aiohttp.ConnectionTimeoutError():
            why = f"no connection to {host}{f' through {between}' if between else ''} within {READY_S:g} s"
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
