"""`interlock ci login`: exchanges a job's identity token for a token of the server. A hand."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from interlock.api.problem import error_of
from interlock.bounded import decode_json
from interlock.ci.platforms.opening import identity
from interlock.errors import BackendUnavailable, UsageError, reason_of
from interlock.rights.token import parse_token
from interlock.server.identity.exchange import GRANT_TYPE
from interlock.trust.sending import SameOrigin

TIMEOUT_S = 30.0
_ANSWER_BYTES_MAX = 1 << 20
_NOT_FOUND = 404


class JobToken(Struct, frozen=True, kw_only=True):
    """What the server gives a job.

    Attributes:
        access_token: The token.
        expires_in: Seconds for which it is good unless it is renewed.
        scope: Its role.
        state: The one state that it is for.
    """

    access_token: str
    expires_in: int
    scope: str
    state: str

    def __repr__(self) -> str:
        """Show it without the token."""
        return f"JobToken({self.state!r})"


def log_in(server: str, environ: Mapping[str, str], *, state: str, role: str | None, run: str) -> JobToken:
    """Return a token of the server for this job.

    Args:
        server: Its address, as an operator named it: the job's identity is sent there.
        environ: The job's.
        state: The state that the token is for.
        role: What the job wants to be; None for what the server's rules give.
        run: The one run that it is for; "" for any of the state.

    Raises:
        UsageError: This is not a job, or the server has no exchange.
        AuthenticationFailed: The server does not take its identity, or has no rule for it.
        BackendUnavailable: The server or the CI system gives no answer.
    """
    server = server.rstrip("/")
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": identity(environ, environ.get("INTERLOCK_OIDC_AUDIENCE") or server),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "state": state,
        **({"scope": role} if role else {}),
        **({"run": run} if run else {}),
    }
    return _read(_post(f"{server}/api/v1/tokens/exchange", form), server)


def _post(url: str, form: Mapping[str, str]) -> bytes:
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    data = urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - https, or this machine: Settings
    try:
        with urllib.request.build_opener(SameOrigin()).open(request, timeout=TIMEOUT_S) as answer:
            found: bytes = answer.read(_ANSWER_BYTES_MAX)
            return found
    except urllib.error.HTTPError as error:
        with error:
            body = error.read(_ANSWER_BYTES_MAX)
        if error.code == _NOT_FOUND:
            raise UsageError(
                "the Interlock server has no keyless login", why=url, fix="keep a token of it in INTERLOCK_TOKEN"
            ) from None
        raise error_of(error.code, body) from None
    except (OSError, ValueError) as error:
        why = str(getattr(error, "reason", None) or type(error).__name__)
        raise BackendUnavailable("the Interlock server cannot be reached", why=why, fix="try again") from error


def _read(body: bytes, server: str) -> JobToken:
    try:
        found = decode_json(body, type=JobToken)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BackendUnavailable("the Interlock server's answer cannot be read", why=reason_of(error)) from error
    if parse_token(found.access_token) is None:
        raise BackendUnavailable(
            "the server's token is malformed", why="it is not spelled like one of Interlock", fix=f"ask {server}"
        )
    return found
