"""Where Consul's agent is and who we are to it, as Terraform's consul backend finds out. A hand: it reads files.

Source: internal/backend/remote-state/consul of Terraform 1.11.4 and 1.15.9; the Go module consul/api, which reads the
variables CONSUL_HTTP_*.
"""

from __future__ import annotations

import base64
import os
import ssl
import urllib.request
from pathlib import Path

from interlock.errors import UsageError
from interlock.existing.interface import Found

_AGENT = "127.0.0.1:8500"
_TRUE = frozenset({"1", "t", "true"})


def agent_of(found: Found) -> str:
    """Return the URL of the agent's HTTP API, without a slash at the end.

    Raises:
        UsageError: It is a Unix socket, or anything else that is not HTTP.
    """
    address = (found.text("address") or _AGENT).rstrip("/")
    scheme, separator, rest = address.partition("://")
    if not separator:
        given = found.text("scheme") or ("https" if str(found.text("ssl")).lower() in _TRUE else "http")
        return f"{given}://{address}"
    if scheme not in {"http", "https"}:
        raise UsageError(
            f'a Consul agent cannot be reached by "{scheme}"',
            why=f"the address is {address}; Interlock speaks http and https",
            fix="give the agent's HTTP address: CONSUL_HTTP_ADDR",
        )
    return f"{scheme}://{rest}"


class ConsulLogin:
    """Says who we are.

    Args:
        found: The backend's settings.
    """

    def __init__(self, found: Found) -> None:
        self._found = found

    def sign(self, request: urllib.request.Request, body: bytes) -> None:
        """See `interlock.existing.rest.Sign`."""
        del body
        if (token := self._token()) is not None:
            request.add_header("X-Consul-Token", token)
        if (auth := self._found.text("http_auth")) is not None:
            pair = auth if ":" in auth else f"{auth}:"
            request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")

    def _token(self) -> str | None:
        if (given := self._found.text("access_token")) is not None:
            return given
        path = self._found.text("token_file")
        if path is None:
            return None
        try:
            return Path(path).read_text("utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"the file with Consul's token cannot be read: {path}",
                why=os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is not text",
                fix="check CONSUL_HTTP_TOKEN_FILE",
            ) from error

    def context(self) -> ssl.SSLContext | None:
        """Return which certificates are accepted and which is shown; None for plain HTTP.

        Raises:
            UsageError: A file of certificates cannot be used.
        """
        if not agent_of(self._found).startswith("https:"):
            return None
        authority, certificate, key = (self._found.text(name) for name in ("ca_file", "cert_file", "key_file"))
        try:
            context = ssl.create_default_context(cafile=authority)
            if certificate is not None:
                context.load_cert_chain(certificate, key, password="")  # an encrypted key: never ask the terminal
        except OSError as error:
            names = ", ".join(name for name in (authority, certificate, key) if name is not None)
            raise UsageError(
                "the certificates for Consul cannot be used",
                why=f"one of {names} is absent, or is not PEM",
                fix="check ca_file, cert_file and key_file, or CONSUL_CACERT, CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY",
            ) from error
        if str(self._found.text("ssl_verify") or "true").lower() not in _TRUE:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
