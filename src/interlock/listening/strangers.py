"""Whether a request is meant for this listener and was made by a tool. Pure.

A port on loopback can be reached by every web page that a browser of this machine shows. A page may point a name of its
own at 127.0.0.1 (DNS rebinding): then the browser takes our answers for the page's own. So a Host that is not a name of
loopback is refused, unless the operator named it, such as that of a proxy which passes the public name on. Little of
ours is made for browsers, so what a browser says of a request (Origin, Referer, Sec-Fetch-Site) is refused too: a page
needs no name to *send* a request, and some requests act without their answer being read. Where a listener has pages of
its own (`ForBrowsers`), a request to one of them is refused only when another site made it. The end of a login is a
request that another site makes: that of the provider.
Source: RFC 9110 section 7.4, Fetch standard ("Sec-Fetch-Site"); `none` there is an address that a person typed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from msgspec import Struct

from interlock.errors import UsageError, command

_BROWSERS = frozenset({b"origin", b"referer"})
_FETCH_SITE = b"sec-fetch-site"
_TYPED, _SAME = b"none", b"same-origin"
_LOOPBACK = "localhost"
_ADVICE = "; if it is one, the option --host adds it"
_HOST_MAX, _HOSTS_KEPT = 300, 256  # the longest name of a host has 253 characters


class ForBrowsers(Struct, frozen=True, kw_only=True):
    """What a listener has for browsers.

    Attributes:
        pages: Paths of pages of its own.
        callbacks: Paths to which another site sends a browser; what they are sent shows itself that it is meant.
    """

    pages: frozenset[bytes] = frozenset()
    callbacks: frozenset[bytes] = frozenset()


NOTHING = ForBrowsers()


class Names(Struct, frozen=True, kw_only=True):
    """The names under which a listener may be addressed.

    Attributes:
        others: Names besides those of loopback, in lower case, without a port.
        any_host: Every Host, also none: for a listener beyond loopback of which no name is known.
        advice: What a refusal adds for the operator, such as an option.
        browsers: What is made for browsers.
    """

    others: frozenset[str] = frozenset()
    any_host: bool = False
    advice: str = ""
    browsers: ForBrowsers = NOTHING


ONLY_LOOPBACK = Names()


def names_of(address: str, others: Iterable[str] = ()) -> Names:
    """Return the names of a listener for which the operator may give some with `--host`.

    Args:
        address: The IP address that it listens on.
        others: Further names that the operator gave.

    Raises:
        UsageError: One of them is not a name of a host.
    """
    named = frozenset(_checked(each) for each in others)
    if is_loopback(address):
        return Names(others=named, advice=_ADVICE)
    return Names(others=named | {address}, advice=_ADVICE) if named else Names(any_host=True)


def is_loopback(host: str) -> bool:
    """Say whether a host, by address or name, is this machine's loopback and nothing else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == _LOOPBACK


def find_fault(headers: Iterable[tuple[bytes, bytes]], names: Names, path: bytes = b"") -> str:
    """Return why a request is refused; empty when it is not.

    Args:
        headers: Of the request, names in lower case.
        names: The listener's.
        path: What it asks for, without the query.
    """
    pairs = list(headers)
    hosts = [value for name, value in pairs if name == b"host"]
    is_meant = path in names.browsers.callbacks or (
        path in names.browsers.pages
        and len(hosts) == 1
        and all(_is_own(name, value, hosts[0]) for name, value in pairs)
    )
    if not is_meant and any(_is_of_page(name, value) for name, value in pairs):
        return "requests of web pages are refused here"
    if names.any_host or (len(hosts) == 1 and _is_ours(hosts[0], names)):
        return ""
    return f"the Host of the request is not a name of this listener{names.advice}"


def _is_of_page(name: bytes, value: bytes) -> bool:
    return name in _BROWSERS or (name == _FETCH_SITE and value != _TYPED)


def _is_own(name: bytes, value: bytes, host: bytes) -> bool:
    """Say whether a header allows that a page of this very listener made the request."""
    if name == _FETCH_SITE:
        return value in (_TYPED, _SAME)
    if name not in _BROWSERS:
        return True
    scheme, is_there, rest = value.partition(b"://")
    return bool(is_there) and scheme in (b"http", b"https") and rest.partition(b"/")[0] == host


def _is_ours(value: bytes, names: Names) -> bool:
    # A client sends the same one with each request, and to take it apart is a tenth of the work of a short one.
    return _is_known(value, names.others) if len(value) <= _HOST_MAX else _is_named(value, names.others)


def _is_named(value: bytes, others: frozenset[str]) -> bool:
    host = _host(value.decode("latin-1"))
    return host is not None and (is_loopback(host) or host in others)


_is_known = lru_cache(maxsize=_HOSTS_KEPT)(_is_named)


def _host(value: str) -> str | None:
    """Return the host of a Host header in lower case, without port and brackets; None when it is none."""
    try:
        parts = urlsplit(f"//{value}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == value and parts.username is None else None


def _checked(name: str) -> str:
    host = _host(name)
    if not host or host != name.lower():
        raise UsageError(
            f"{name[:100]!r} is not a name of a host",
            why="it is a name or an address, without a port",
            fix=command("serve", "--host", "states.example.com"),
        )
    return host
