"""A hand: JSON over HTTPS to one platform, with limits. Tokens never leave in messages."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, Any

from interlock.bounded import read_json
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError
from interlock.trust.sending import Elsewhere, Origin, SameOrigin, find_origin

TIMEOUT_S = 30.0  # of one request
MAX_ANSWER_BYTES = 300 << 20  # a sealed plan with some room; JSON answers are far smaller
_NOT_FOUND, _SIGN_IN = 404, 203


class NoChange(UsageError):
    """This job belongs to no pull or merge request, so there is nothing to comment on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One platform's API.

    Attributes:
        base: URL without a slash at the end.
        headers: Sent with every request; hold the token.
        title: What to call it in messages.
        token_names: The variables that may hold the token, for messages.
    """

    base: str
    headers: Mapping[str, str] = field(repr=False)
    title: str
    token_names: str

    def find(self, path: str, **query: str) -> Any | None:
        """Return the JSON answer of a GET, or None for 404.

        Raises:
            AuthenticationFailed: The token is refused.
            BackendUnavailable: There is no usable answer.
        """
        content = self._send("GET", path, query)
        return None if content is None else self._decoded(content, path)

    def find_dated(self, path: str, **query: str) -> tuple[Any | None, datetime | None]:
        """Return what `find` returns, and what time it was there: instants in an answer mean something beside it only.

        Raises as `find`. The instant is None when the platform did not say.
        """
        content, date = self._exchange("GET", path, query)
        return (None if content is None else self._decoded(content, path)), date

    def find_bytes(self, path: str, **query: str) -> bytes | None:
        """Return the answer of a GET as bytes, also from where it is kept, or None for 404. Raises as `find`."""
        return self._exchange("GET", path, query, follows=Elsewhere())[0]

    def download(
        self, url: str, *, accept: str = "*/*", is_ours: Callable[[Origin], bool] = lambda _: False
    ) -> bytes | None:
        """Return what is kept at an address that an answer named, or None for 404.

        Args:
            url: The address. It is not chosen by us, so the token goes there only if it is of our own origin.
            accept: What is wanted.
            is_ours: Says of another https origin that the token is for it too.

        Raises as `find`, and:
            UsageError: It is no such address, or less protected than our own.
        """
        origin, own = find_origin(url), find_origin(self.base)
        if origin is None or own is None or not (origin.scheme == "https" or own.scheme == "http"):
            raise UsageError(f"{self.title} keeps something at an address that is not https", why=_shown(origin))
        is_trusted = origin == own or (origin.scheme == "https" and is_ours(origin))
        headers = {**(self.headers if is_trusted else {}), "Accept": accept}
        there = replace(self, base=origin.url, headers=headers)
        parts = urllib.parse.urlsplit(url)
        target = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))  # as signed: nothing is spelled anew
        return there.find_bytes(target)

    def send(self, method: str, path: str, body: object | bytes | None = None, **query: str) -> Any | None:
        """Send JSON (or bytes) and return the JSON answer, or None for an empty answer.

        Raises as `find`, and:
            AuthenticationFailed: The answer is 404. Nothing was written then; the platforms answer so to a token that
                may not see the place, and a job that took it for done would be green without a comment.
        """
        content = self._send(method, path, query, body)
        if content is None:
            raise self._refusal(_NOT_FOUND, path)
        return self._decoded(content, path) if content else None

    def ask(self, path: str, body: object) -> Any | None:
        """Post JSON to an address that a server may not have; return its answer, None for 404. Raises as `find`."""
        content = self._send("POST", path, {}, body)
        return self._decoded(content, path) if content else None

    def tell(self, secret_path: str, body: object) -> None:
        """Post JSON to an address whose path is a secret: it is in no message. What is answered does not matter.

        Raises:
            BackendUnavailable: It was not taken.
        """
        try:
            taken = self._send("POST", secret_path, {}, body) is not None
        except InterlockError as error:
            raise self._untold(type(error).__name__) from None
        if not taken:
            raise self._untold("not found")

    def _untold(self, why: str) -> BackendUnavailable:
        return BackendUnavailable(f"{self.title} did not take the message", why=why, fix="check its address")

    def _decoded(self, content: bytes, path: str) -> Any:
        try:
            return read_json(content)
        except ValueError as error:
            raise BackendUnavailable(f"{self.title} answered {path} with something that is not JSON") from error

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: object | bytes | None = None
    ) -> bytes | None:
        return self._exchange(method, path, query, body)[0]

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: object | bytes | None = None,
        *,
        follows: urllib.request.HTTPRedirectHandler | None = None,
    ) -> tuple[bytes | None, datetime | None]:
        url = self.base + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        if not url.startswith(("https://", "http://")):
            raise UsageError(f"the address of {self.title} is not an http address", why=f"it is {self.base!r}")
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        headers = {"Accept": "application/json", "User-Agent": "interlock", **self.headers}
        if data is not None:
            headers.setdefault("Content-Type", kind)
        request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310 - checked above
        try:
            with urllib.request.build_opener(follows or SameOrigin()).open(request, timeout=TIMEOUT_S) as answer:
                if _is_sign_in(answer.status, answer.headers.get("Content-Type")):
                    raise self._refusal(_SIGN_IN, path)
                return self._limited(answer), _date(answer.headers.get("Date"))
        except urllib.error.HTTPError as error:
            with error:
                if error.code != _NOT_FOUND:
                    signs_in = "/_signin" in (error.headers.get("Location") or "")
                    raise self._refusal(_SIGN_IN if signs_in else error.code, path) from None
                return None, None
        except (OSError, ValueError) as error:
            raise BackendUnavailable(
                f"{self.title} cannot be reached",
                why=f"{method} {path}: {_reason(error)}",
                fix="try again, and check the network and the address",
            ) from error

    def _limited(self, answer: IO[bytes]) -> bytes:
        content = answer.read(MAX_ANSWER_BYTES + 1)
        if len(content) > MAX_ANSWER_BYTES:
            raise BackendUnavailable(f"{self.title} sent more than {MAX_ANSWER_BYTES} bytes")
        return content

    def _refusal(self, code: int, path: str) -> InterlockError:
        if code in (401, 403, _SIGN_IN, _NOT_FOUND):
            return AuthenticationFailed(
                f"{self.title} refused the token",
                why=f"{path} answered {code}",
                fix=f"give {self.token_names} a token that is current and may use this",
            )
        if 300 <= code < 400:  # noqa: PLR2004 - HTTP's redirects
            why = f"{path} answered {code}: it leads to another server, where our request does not go"
            return BackendUnavailable(f"{self.title} did not answer", why=why, fix="check its address")
        return BackendUnavailable(f"{self.title} did not answer", why=f"{path} answered {code}", fix="try again later")


def _is_sign_in(code: int, kind: str | None) -> bool:
    """Say whether an answer is the page with which Azure DevOps asks an expired token to sign in."""
    return code == _SIGN_IN and (kind or "").startswith("text/html")


def _shown(origin: Origin | None) -> str:
    return "it cannot be read" if origin is None else f"it is at {origin.url}"


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or error.__class__.__name__)


def required(environ: Mapping[str, str], *names: str, title: str, fix: str) -> str:
    """Return the first of these variables that is set.

    Raises:
        UsageError: None is.
    """
    for name in names:
        if environ.get(name):
            return environ[name]
    raise UsageError(f"{title}: {' or '.join(names)} is not set", fix=fix)
