"""How answers and refusals of the TFE API are told.

What a client makes of our answers decides which we may give (go-tfe `checkResponseCode`):
- 401 and 404 are printed without our words, and so is 409 on LOCK; a 404 of a workspace makes the client make it.
- All other refusals below 500 end the command and print title and detail.
- 429 and 5xx are tried again, up to thirty times.
- Without `X-Terraform-Snapshot-Interval` Terraform stores no state before its end, and a kill loses all it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import Response

from interlock.backend.protocol import UNAVAILABLE
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError
from interlock.server.api.serving import RETRY_AFTER_S, WrongMethod
from interlock.server.tfe.asked import Told
from interlock.server.tfe.documents import MEDIA_TYPE, errors_document

API_VERSION: Final = "2.6"
APP_NAME: Final = "Terraform Enterprise"
"""The client takes any other name for HCP Terraform, and then expects more than this."""
SNAPSHOT_INTERVAL_S: Final = 20
"""How often a Terraform at work stores what it has; it does not do so more often than every 20 s."""
HEADERS: Final[Mapping[str, str]] = {
    "TFP-API-Version": API_VERSION,
    "TFP-AppName": APP_NAME,
    "X-Terraform-Snapshot-Interval": str(SNAPSHOT_INTERVAL_S),
    "Cache-Control": "no-store",
}
_LOCK = "/actions/lock"
_CONFLICT, _GONE = 409, 410


def respond(told: Told) -> Response:
    """Return an answer as a response."""
    if told.raw is not None:
        return Response(told.raw, told.status, headers=HEADERS, media_type="application/octet-stream")
    body = b"" if told.document is None else msgspec.json.encode(told.document)
    return Response(body, told.status, headers=HEADERS, media_type=MEDIA_TYPE)


def refusal(path: str, error: InterlockError) -> Response:
    """Return a refusal as a response, with a status for which the client prints it."""
    status = error.http_status
    if status == _CONFLICT and path.endswith(_LOCK):
        status = _GONE
    headers = dict(HEADERS)
    if isinstance(error, WrongMethod):
        headers |= error.headers
    if isinstance(error, BackendUnavailable) or status == UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == AuthenticationFailed.http_status:
        headers["WWW-Authenticate"] = 'Bearer realm="interlock"'
    body = msgspec.json.encode(errors_document(error, status))
    return Response(body, status, headers=headers, media_type=MEDIA_TYPE)
