"""Whether a code host signed what was sent. Pure.

Source: GitHub, "Validating webhook deliveries" (`X-Hub-Signature-256`: `sha256=` and the HMAC of the raw body, in
hexadecimal digits). GitLab, merge requests 230944 and 231325 (signing tokens `whsec_` and 32 bytes in base64, and
`webhook-signature` of the Standard Webhooks specification: `v1,` and the HMAC of `ID.TIMESTAMP.BODY`, in base64);
where no signing token is set it sends `X-Gitlab-Token`, the secret itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from interlock.server.hooks.hook import HookPlatform

SECRET_PREFIX = "whsec_"  # noqa: S105 - how one begins
SECRET_BYTES = 32
NO_SECRET = SECRET_PREFIX + base64.b64encode(bytes(SECRET_BYTES)).decode()
"""Compared with what is sent to a hook that does not exist, so that it takes as long to refuse."""
CLOCKS_S = 300.0
"""How far the clocks of a code host and of the store may be apart."""
_SIGNATURES_MAX = 10


def spelled_secret(random: bytes) -> str:
    """Return a secret from 32 random bytes, as GitLab wants it; for GitHub it is any text."""
    return SECRET_PREFIX + base64.b64encode(random).decode()


def is_signed(secret: str, platform: HookPlatform, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:
    """Say whether a body was signed with a secret. Compares in constant time.

    Args:
        secret: Of the hook.
        platform: Which code host, and so how it signs.
        headers: By names in lower case.
        body: As it was sent.
        now_s: Seconds since 1970, for signatures that name an instant.
    """
    if platform is HookPlatform.GITHUB:
        mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return _same(f"sha256={mac}", headers.get("x-hub-signature-256", ""))
    if "webhook-signature" in headers:  # what says that it is signed never falls back to the token
        return _has_standard_signature(secret, headers, body, now_s=now_s)
    return _same(secret, headers.get("x-gitlab-token", ""))


def _has_standard_signature(secret: str, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (at.isascii() and at.isdecimal() and len(at) < 16 and abs(int(at) - now_s) <= CLOCKS_S):  # noqa: PLR2004
        return False
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return False
    signed = f"{name}.{at}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(_same(wanted, each) for each in headers["webhook-signature"].split()[:_SIGNATURES_MAX])


def _same(wanted: str, given: str) -> bool:
    return hmac.compare_digest(wanted.encode(), given.encode("utf-8", "surrogateescape"))
