"""What somebody typed in a comment: `/interlock approve RUN DIGEST REASON`. Pure."""

from __future__ import annotations

import re

from msgspec import Struct

from interlock.errors import UsageError
from interlock.policy.approval import COMMENT_PREFIX, DIGEST_SHOWN, Verdict

_DIGEST = re.compile(rf"(?:sha256:)?[0-9a-f]{{{DIGEST_SHOWN},64}}\Z", re.ASCII)
_WORDS = 4
_FORM = f"{COMMENT_PREFIX} approve RUN DIGEST REASON"


class Typed(Struct, frozen=True, kw_only=True):
    """A decision, as it was typed.

    Attributes:
        verdict: Yes or no.
        request: Which request.
        digest: Of what they saw, at least its first 16 digits.
        reason: Why.
    """

    verdict: Verdict
    request: str
    digest: str
    reason: str


def read_typed(text: str) -> Typed | None:
    """Return the decision that a comment is; None for a comment that is none.

    Only the first line counts, and only where it begins with the command: a quoted one begins with `>`.

    Raises:
        UsageError: It begins as one, and is not.
    """
    line = text.partition("\n")[0].strip()
    words = line.split(maxsplit=_WORDS)
    if not words or words[0] != COMMENT_PREFIX:
        return None
    if len(words) <= _WORDS:
        raise _malformed("it does not name a run, a digest and a reason")
    verdict = next((one for one in Verdict if one.value == words[1]), None)
    if verdict is None:
        raise _malformed(f"{words[1][:40]!a} is neither approve nor reject")
    digest = words[3].lower()
    if not _DIGEST.match(digest):
        raise _malformed(f"{words[3][:80]!a} is not the digest of a plan: at least {DIGEST_SHOWN} of its digits")
    return Typed(verdict=verdict, request=words[2], digest=digest, reason=words[4].strip())


def _malformed(why: str) -> UsageError:
    return UsageError("the comment decides nothing", why=why, fix=f"write a new one: {_FORM}")
