"""What an identity token says, once its signature is known to be good: who, for whom, and until when. Pure.

Instants are checked against the store's clock. A clock that is ahead of ours by more than `LEEWAY_S` is not believed.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from interlock.server.identity.platforms import Platform
from interlock.server.identity.rules import Issuer

LEEWAY_S = 30.0
LIFE_S_MAX = 7 * 86_400.0
"""GitLab's tokens live as long as their job may run. One that lives longer would have to be remembered for ever."""
_JTI_CHARS_MAX = 512
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ENTRA_SUBJECT = re.compile(rf"/.{{1,400}}/sc/(?P<organization_id>{_UUID})/(?P<service_connection_id>{_UUID})\Z")
_RERUN = "oidc.circleci.com/ssh-rerun"


class Claims(Struct, frozen=True, kw_only=True):
    """The claims of one token.

    Attributes:
        platform: Whose token it is.
        said: As they stand in it.
        digest: Names this token for good, so that it is taken once.
        ends_s: When it ends, in seconds since 1970.
    """

    platform: Platform
    said: Mapping[str, Any]
    digest: str
    ends_s: float

    def values(self, name: str) -> tuple[str, ...]:
        """Return what a claim says, as texts; a list counts as each of its values, and what is absent as none."""
        if self.platform is Platform.AZURE_ENTRA:
            found = _ENTRA_SUBJECT.match(str(self.said.get("sub", "")))
            return (found[name].lower(),) if found and name in found.re.groupindex else ()
        value = self.said.get(name)
        listed = value if isinstance(value, list) else [value]
        return tuple(text for each in listed if (text := _text(each)))


def read_claims(
    said: Mapping[str, Any],
    signed: bytes,
    platform: Platform,
    issuer: Issuer,
    *,
    audiences: Sequence[str],
    now_s: float,
) -> Claims | str:
    """Return the claims of a token, or why it is not taken.

    Args:
        said: The claims of a token whose signature is good.
        signed: The bytes that were signed: they name a token that has no `jti`.
        platform: Whose token it is, by the rule.
        issuer: Who signed it.
        audiences: Our own addresses, for an issuer whose tokens must name one.
        now_s: This instant of the store's clock, in seconds since 1970.
    """
    why = (
        _audience_fault(said, (issuer.audience,) if issuer.audience else audiences)
        or ("it is of another issuer" if said.get("iss") != issuer.url else "")
        or _time_fault(said, now_s)
        or _own_fault(said)
        or _party_fault(said, platform, issuer)
    )
    jti = said.get("jti", "")
    if not why and (not isinstance(jti, str) or len(jti) > _JTI_CHARS_MAX):
        why = "its `jti` is not a text"
    if why:
        return why
    name = jti.encode() if jti else hashlib.sha256(signed).digest()
    digest = hashlib.sha256(issuer.url.encode() + b"\0" + (b"jti\0" if jti else b"signed\0") + name).hexdigest()
    return Claims(platform=platform, said=said, digest=digest, ends_s=float(said["exp"]))


def _audience_fault(said: Mapping[str, Any], audiences: Sequence[str]) -> str:
    value = said.get("aud")
    named = value if isinstance(value, list) else [value]
    if any(isinstance(each, str) and each in audiences for each in named):
        return ""
    return f"it is meant for another: its audience must be {' or '.join(audiences)}"


def _time_fault(said: Mapping[str, Any], now_s: float) -> str:
    ends, made, begins = _instant(said.get("exp")), _instant(said.get("iat")), _instant(said.get("nbf", 0))
    if ends is None or made is None or begins is None:
        return "it does not say from when to when it is good"
    if ends <= now_s - LEEWAY_S:
        return "it has expired"
    if max(made, begins) > now_s + LEEWAY_S:
        return "it is of the future; is the clock of the CI system or of the server's store wrong?"
    if ends <= made or ends - min(made, now_s) > LIFE_S_MAX:
        return "it is good for longer than any job"
    return ""


def _own_fault(said: Mapping[str, Any]) -> str:
    """Refuse what a platform marks itself: a job of CircleCI that somebody reached by SSH runs what that one typed."""
    return "somebody may be logged in to this job by SSH" if _text(said.get(_RERUN, "false")) != "false" else ""


def _party_fault(said: Mapping[str, Any], platform: Platform, issuer: Issuer) -> str:
    """Refuse what a person was given for another client, though it also names ours (OpenID Connect, 3.1.3.7)."""
    if platform is not Platform.PERSON or said.get("azp", issuer.audience) == issuer.audience:
        return ""
    return "it was given to another client"


def _instant(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:  # noqa: PLR2004
        return None
    return float(value) if math.isfinite(value) else None


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if abs(value) < 10**30 else ""  # Python spells no number of 5000 digits
        case _:
            return ""
