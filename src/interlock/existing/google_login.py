"""Who we are to Google Cloud: an access token as Terraform's gcs backend finds one. A hand: it reads files and asks.

Source: Terraform's gcs backend, version 1.11; golang.org/x/oauth2/google; RFC 7523 for the signed request.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import AuthenticationFailed, UsageError
from interlock.existing.interface import Found
from interlock.trust.sending import SameOrigin, find_origin

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
_IMPERSONATE = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateAccessToken"
_WELL_KNOWN = Path(".config") / "gcloud" / "application_default_credentials.json"
_LIFE_S = 3600
_SPARE_S = 120.0  # before its end a token is not used any more
_TIMEOUT_S = 20.0
_BYTES_MAX = 1 << 20
_FIX = "gcloud auth application-default login    or: export GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud auth print-access-token)"


class GoogleLogin:
    """Gives access tokens.

    Args:
        found: The backend's settings.
        clock: For the life of tokens, and what a signed request says of now.
        environ: Where credentials may be named; None for our own environment.
        home: The user's home, for gcloud's own file.
    """

    def __init__(
        self, found: Found, clock: Clock, *, environ: Mapping[str, str] | None = None, home: Path | None = None
    ) -> None:
        self._found = found
        self._clock = clock
        self._environ = os.environ if environ is None else environ
        self._home = Path.home() if home is None else home
        self._token, self._until_s = "", float("-inf")

    def sign(self, request: urllib.request.Request, body: bytes) -> None:
        """See `interlock.existing.rest.Sign`."""
        del body
        request.add_header("Authorization", f"Bearer {self.token()}")

    def token(self) -> str:
        """Return a token that is good for some minutes.

        Raises:
            UsageError: There are no credentials that we understand.
            AuthenticationFailed: They were refused.
        """
        given = self._found.text("access_token")
        if given is not None:
            return given
        if self._clock.monotonic() > self._until_s:
            token, life_s = self._fetch()
            account = self._found.text("impersonate_service_account")
            if account is not None:
                token, life_s = self._impersonated(account, token)
            self._token, self._until_s = token, self._clock.monotonic() + life_s - _SPARE_S
        return self._token

    def _fetch(self) -> tuple[str, float]:
        credentials = self._credentials()
        if credentials is None:
            return _granted(_ask(_METADATA, None, {"Metadata-Flavor": "Google"}))
        match credentials.get("type"):
            case "service_account":
                signed = _signed(credentials, self._clock.now())
                form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}
            case "authorized_user":
                names = ("client_id", "client_secret", "refresh_token")
                form = {"grant_type": "refresh_token", **{name: str(credentials.get(name, "")) for name in names}}
            case kind:
                raise UsageError(
                    f"Google credentials of type {kind!r} cannot be used here",
                    why="keys of service accounts and gcloud's own logins can",
                    fix=_FIX,
                )
        return _granted(_ask(_TOKEN_URL, urllib.parse.urlencode(form).encode(), {}))

    def _credentials(self) -> Mapping[str, Any] | None:
        """Return the credentials document; None where only the machine's own identity is left."""
        given = self._found.text("credentials") or self._environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        if given is not None and given.lstrip().startswith("{"):
            return _document(given.encode(), "the credentials of the backend")
        path = Path(given).expanduser() if given else self._home / _WELL_KNOWN
        try:
            content = path.read_bytes()
        except OSError as error:
            if given is None:
                return None
            raise UsageError(f"{path} cannot be read", why=error.strerror or "", fix=_FIX) from error
        return _document(content, str(path))

    def _impersonated(self, account: str, token: str) -> tuple[str, float]:
        body = json.dumps({"scope": [SCOPE]}).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        answer = _ask(_IMPERSONATE.format(urllib.parse.quote(account)), body, headers)
        return _granted({"access_token": answer.get("accessToken"), "expires_in": _LIFE_S})


def _document(content: bytes, where: str) -> Mapping[str, Any]:
    try:
        found = read_json(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{where} is not a credentials document", fix=_FIX)
    return found


def _signed(credentials: Mapping[str, Any], at: datetime) -> str:
    """Return a request for a token, signed with the key of a service account."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    now = int(at.timestamp())
    claims = {
        "iss": credentials.get("client_email"),
        "scope": SCOPE,
        "aud": _TOKEN_URL,
        "iat": now,
        "exp": now + _LIFE_S,
    }
    head = {"alg": "RS256", "typ": "JWT", "kid": credentials.get("private_key_id")}
    text = b".".join(_packed(json.dumps(part).encode()) for part in (head, claims))
    try:
        key = serialization.load_pem_private_key(str(credentials.get("private_key", "")).encode(), password=None)
    except ValueError as error:
        raise UsageError("the key of the Google service account cannot be read", fix=_FIX) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise UsageError("the key of the Google service account is not an RSA key", fix=_FIX)
    return (text + b"." + _packed(key.sign(text, padding.PKCS1v15(), hashes.SHA256()))).decode()


def _packed(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def _ask(url: str, body: bytes | None, headers: Mapping[str, str]) -> Mapping[str, Any]:
    assert find_origin(url) is not None
    request = urllib.request.Request(url, data=body, headers=dict(headers))  # noqa: S310 - Google's own
    try:
        with urllib.request.build_opener(SameOrigin()).open(request, timeout=_TIMEOUT_S) as answer:
            found = read_json(answer.read(_BYTES_MAX))
    except (OSError, ValueError) as error:
        why = str(getattr(error, "reason", None) or type(error).__name__)
        raise AuthenticationFailed("Google gave us no access token", why=why, fix=_FIX) from error
    return found if isinstance(found, dict) else {}


def _granted(answer: Mapping[str, Any]) -> tuple[str, float]:
    token, life_s = answer.get("access_token"), answer.get("expires_in", _LIFE_S)
    if not isinstance(token, str) or not token:
        raise AuthenticationFailed("Google gave us no access token", why="its answer holds none", fix=_FIX)
    return token, float(life_s) if isinstance(life_s, int | float) else float(_LIFE_S)
