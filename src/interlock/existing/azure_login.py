"""Who we are to Azure's blob storage: an account key, a SAS token, or a token of Entra ID. A hand: it asks for tokens.

Source: Terraform's azurerm backend, version 1.11; "Authorize with Shared Key" and "Put Blob" in the REST
reference of Azure Storage.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import shutil
import urllib.parse
import urllib.request
from email.utils import format_datetime

from interlock.bounded import read_json
from interlock.clock import Clock
from interlock.errors import AuthenticationFailed, UsageError
from interlock.existing.interface import Found
from interlock.trust.asked_program import ask_program
from interlock.trust.sending import SameOrigin

VERSION = "2021-12-02"
"""Of the REST protocol of Azure Storage."""

_RESOURCE = "https://storage.azure.com/"
_LOGIN = "https://login.microsoftonline.com/{}/oauth2/v2.0/token"
_TIMEOUT_S = 30.0
_SPARE_S = 120.0  # before its end a token is not used any more
_BYTES_MAX = 1 << 20
_FIX = "export ARM_ACCESS_KEY=… or ARM_SAS_TOKEN=…    or: az login"


class AzureLogin:
    """Signs requests.

    Args:
        found: The backend's settings.
        account: Name of the storage account.
        clock: For the date of requests and the life of tokens.
    """

    def __init__(self, found: Found, *, account: str, clock: Clock) -> None:
        self._found = found
        self._account = account
        self._clock = clock
        self._token, self._until_s = "", float("-inf")

    def sign(self, request: urllib.request.Request, body: bytes) -> None:
        """See `interlock.existing.rest.Sign`."""
        request.add_header("x-ms-version", VERSION)
        request.add_header("x-ms-date", format_datetime(self._clock.now(), usegmt=True))
        if (sas := self._found.text("sas_token")) is not None:
            joint = "&" if "?" in request.full_url else "?"
            request.full_url = f"{request.full_url}{joint}{sas.removeprefix('?')}"
        elif (key := self._found.text("access_key")) is not None:
            request.add_header("Authorization", f"SharedKey {self._account}:{self._signature(request, body, key)}")
        else:
            request.add_header("Authorization", f"Bearer {self._bearer()}")

    def _signature(self, request: urllib.request.Request, body: bytes, key: str) -> str:
        named = {name.lower(): value for name, value in request.header_items()}
        usual = ("content-encoding", "content-language")
        more = ("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")
        lines = [
            request.get_method(),
            *(named.get(name, "") for name in usual),
            str(len(body)) if body else "",
            named.get("content-md5", ""),
            named.get("content-type", ""),
            "",  # the date is in x-ms-date
            *(named.get(name, "") for name in more),
            *(f"{name}:{value}" for name, value in sorted(named.items()) if name.startswith("x-ms-")),
            self._resource(request.full_url),
        ]
        try:
            secret = base64.b64decode(key, validate=True)
        except binascii.Error as error:
            raise UsageError("the access key of the storage account is not base64", fix=_FIX) from error
        return base64.b64encode(hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).digest()).decode()

    def _resource(self, url: str) -> str:
        parts = urllib.parse.urlsplit(url)
        query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        lines = [f"{name.lower()}:{','.join(sorted(values))}" for name, values in sorted(query.items())]
        return "\n".join([f"/{self._account}{parts.path}", *lines])

    def _bearer(self) -> str:
        if self._clock.monotonic() > self._until_s:
            self._token, life_s = self._of_client() if self._found.text("client_secret") else self._of_cli()
            self._until_s = self._clock.monotonic() + life_s - _SPARE_S
        return self._token

    def _of_client(self) -> tuple[str, float]:
        tenant, client = self._found.text("tenant_id"), self._found.text("client_id")
        if tenant is None or client is None:
            raise UsageError("a client secret without tenant and client", fix="set ARM_TENANT_ID and ARM_CLIENT_ID")
        form = {
            "grant_type": "client_credentials",
            "client_id": client,
            "client_secret": self._found.text("client_secret"),
            "scope": f"{_RESOURCE}.default",
        }
        url = _LOGIN.format(urllib.parse.quote(tenant, safe=""))
        request = urllib.request.Request(url, data=urllib.parse.urlencode(form).encode())  # noqa: S310 - Microsoft's own
        try:
            with urllib.request.build_opener(SameOrigin()).open(request, timeout=_TIMEOUT_S) as answer:
                return _granted(answer.read(_BYTES_MAX), "access_token")
        except OSError as error:
            why = str(getattr(error, "reason", None) or type(error).__name__)
            raise AuthenticationFailed("Entra ID gave us no access token", why=why, fix=_FIX) from error

    def _of_cli(self) -> tuple[str, float]:
        program = shutil.which("az")
        if program is None:
            raise UsageError(
                "there are no credentials for Azure's blob storage that we can use",
                why="no access key, SAS token or client secret is set, and the program az is not installed",
                fix=_FIX,
            )
        words = [program, "account", "get-access-token", "--resource", _RESOURCE, "--output", "json"]
        try:
            done = ask_program(words, timeout_s=_TIMEOUT_S, bytes_max=_BYTES_MAX)
        except (OSError, ValueError) as error:
            why = type(error).__name__
            raise AuthenticationFailed("az gave us no access token", why=why, fix="az login") from error
        return _granted(done.out, "accessToken")


def _granted(answer: bytes, name: str) -> tuple[str, float]:
    try:
        found = read_json(answer)
    except ValueError:
        found = None
    token = found.get(name) if isinstance(found, dict) else None
    if not isinstance(token, str) or not token:
        raise AuthenticationFailed("we were given no access token for Azure's blob storage", fix=_FIX)
    life_s = found.get("expires_in", 600)
    return token, float(life_s) if isinstance(life_s, int | float) else 600.0
