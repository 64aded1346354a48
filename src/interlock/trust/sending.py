"""Where a request may go after it was sent, and where a credential may go with it. For every client that we write.

A credential is for one origin: scheme, host and port together. Not for the same host over plain http, where everybody
on the way reads it, nor for another port, where somebody else may listen. So a redirect is followed within the origin
only; a download, which platforms keep elsewhere, is followed further without anything that the caller gave as a header.
Pure, but for the classes that urllib calls.
"""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from interlock.listening.strangers import is_loopback

_PORTS = {"https": 443, "http": 80}
_HARMLESS = frozenset({"Accept", "User-agent"})
"""The headers, as urllib spells them, that may go to another origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who answers at a URL.

    Attributes:
        scheme: `https` or `http`.
        host: In lower case.
        port: Always a number.
    """

    scheme: str
    host: str
    port: int

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way reads or changes what is sent: https, or this machine."""
        return self.scheme == "https" or is_loopback(self.host)

    @property
    def url(self) -> str:
        """Its URL without a path; a usual port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


def find_origin(url: str) -> Origin | None:
    """Return the origin of an http or https URL; None for anything else, also for one with a user or a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or "\\" in parts.netloc:
        return None
    return Origin(scheme=parts.scheme, host=parts.hostname, port=_PORTS[parts.scheme] if port is None else port)


class SameOrigin(urllib.request.HTTPRedirectHandler):
    """Follows redirects within the origin; another one ends with the redirect's own status."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """See `HTTPRedirectHandler.redirect_request`."""
        if find_origin(newurl) is None or find_origin(newurl) != find_origin(req.full_url):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Elsewhere(urllib.request.HTTPRedirectHandler):
    """Follows redirects of downloads: to another origin without credentials, and never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """See `HTTPRedirectHandler.redirect_request`."""
        old, new = find_origin(req.full_url), find_origin(newurl)
        if new is None or (new.scheme != "https" and (old is None or old.scheme == "https")):
            return None
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and new != old:
            for name in [name for name in request.headers if name not in _HARMLESS]:
                request.remove_header(name)
        return request
