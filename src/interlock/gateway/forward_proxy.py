"""The forward proxy between a gateway and Genesys Cloud, as a value: a user's own, from a `proxy` block or a variable.

A call to an https upstream goes through it with CONNECT, so that it sees the host and nothing else. To a http upstream,
which is one of this machine, it goes in absolute form, and only when the proxy is on this machine too: it reads along.

Source: docs/facts/genesys.md#genesys-16; Go net/http, `http.ProxyURL` and `http.ProxyFromEnvironment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote, urlsplit

from interlock.gateway.oauth import Secret

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_PORTS = {"http": 80, "https": 443}
_PORT_MAX = 65535


class Proxying(Enum):
    """Ways that need no proxy of the configuration's own."""

    ENVIRONMENT = "as HTTPS_PROXY and NO_PROXY say"
    DIRECT = "none, whatever the environment says"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardProxy:
    """One forward proxy.

    Attributes:
        scheme: `http` or `https`: how it is spoken to, whatever goes through it.
        host: Without brackets.
        port: 1 to 65535.
        user: Empty for none.
        password: Of that user.
    """

    scheme: str
    host: str
    port: int
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def carries(self, scheme: str) -> bool:
        """Say whether calls of a scheme may go through it: it reads along with what is not encrypted."""
        return scheme == "https" or self.host in LOOPBACK


def make_proxy(*, protocol: str, host: str, port: str, user: str, password: str) -> ForwardProxy | Proxying | str:
    """Return what a `proxy` block means, or why nobody can say, for people.

    A block without a host takes every proxy away, also that of the environment: so does the provider.

    Args:
        protocol: `http` or `https`.
        host: A name or an address.
        port: Digits; empty for the protocol's own.
        user: Empty for none.
        password: Counts only with a user, as in the provider.
    """
    if not host:
        return Proxying.DIRECT
    scheme = protocol.lower()
    if scheme not in _PORTS:
        return (
            f"its proxy speaks {protocol!r}, and the gateway http and https"
            if protocol
            else "its proxy has no protocol"
        )
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_MAX):
        return "the port of its proxy is not a port number"
    number = int(port) if port else _PORTS[scheme]
    known = bool(user and password)
    return ForwardProxy(
        scheme=scheme,
        host=host.strip("[]"),
        port=number,
        user=user if known else "",
        password=Secret(password if known else ""),
    )


def proxy_of_environment(proxies: Mapping[str, str], *, scheme: str) -> ForwardProxy | str | None:
    """Return the proxy that an environment names for a scheme; None for none, a text for one that cannot be used.

    Args:
        proxies: By scheme, as `urllib.request.getproxies` returns them.
        scheme: Of the upstream. What is plain http is on this machine, and the environment's proxy never sees it.
    """
    text = proxies.get("https", "") if scheme == "https" else ""
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")  # `proxy:3128` is what most people write
        port = parts.port
    except ValueError:
        return "HTTPS_PROXY is not the address of a proxy"
    made = make_proxy(
        protocol=parts.scheme,
        host=parts.hostname or "",
        port="" if port is None else str(port),
        user="",
        password="",
    )
    if not isinstance(made, ForwardProxy):
        return "HTTPS_PROXY is not the address of a proxy that the gateway can speak to (http or https)"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return ForwardProxy(scheme=made.scheme, host=made.host, port=made.port, user=user, password=Secret(password))
