"""The state's backend (DynamoDB, S3, an HTTP server) refuses for now: throttled, or down.

This is never the Genesys Cloud API's rate limit, even though both may say 429: what was asked decides, not the number.
"""

from __future__ import annotations

from typing import Final

from interlock.diagnosis.cause import Category, Context, Facts, Retry, Rule, Sign, is_about_backend, words
from interlock.diagnosis.message import Message
from interlock.errors import BackendUnavailable


def _is_backend(message: Message, _facts: Facts, _context: Context) -> bool:
    return is_about_backend(message)


RULE: Final = Rule(
    category=Category.BACKEND_THROTTLED,
    meaning="the state's backend is throttled or does not answer",
    retry=Retry.SAFE,
    error=BackendUnavailable,
    signs=(
        Sign(
            words=words(
                r"no such host",
                r"server misbehaving",
                r"network is unreachable",
                r"no route to host",
                r"proxyconnect",
                r"x509:",
                r"Temporary failure in name resolution",
            ),
            meaning="the state's backend cannot be reached from here: name, network, proxy or certificate",
            advice=(
                "nothing was changed: check the region and address in the backend block, then DNS and proxy of this "
                "machine (HTTPS_PROXY, NO_PROXY); then run again"
            ),
        ),
        Sign(
            words=words(
                r"ProvisionedThroughputExceeded(?:Exception)?",
                r"ThrottlingException",
                r"RequestLimitExceeded",
                r"ThrottledException",
                r"\bSlowDown\b",
                r"Please reduce your request rate",
                r"exceeded maximum number of attempts",
                r"failed to get rate limit token",
                r"giving up after \d",
                r"InternalServer(?:Error|Exception)?\b",
                r"ServiceUnavailable",
                r"InternalError\b",
                r"RequestTimeout\b",
                r"TooManyRequests",
                r"\b429\b",
                r"\b50[0234]\b",
                r"Bad Gateway",
                r"Gateway Time-?out",
                r"connection refused",
                r"connection reset",
                r"no such host",
                r"i/o timeout",
                r"TLS handshake timeout",
                r": EOF\b",
                r"context deadline exceeded",
                r"network is unreachable",
                r"server misbehaving",
                r"unexpected EOF",
                r"ServerTimeout",
                r"ServerBusy",
                r"rateLimitExceeded",
                r"backendError",
                r"too many (?:connections|clients)",
                r"remaining connection slots",
                r"proxyconnect",
                r"certificate (?:signed by unknown authority|has expired|is not trusted)",
                r"x509:",
            ),
            unless=words(
                r"AccessDenied",
                r"ResourceNotFoundException",
                r"NoSuchBucket",
                r"ExpiredToken",
                r"InvalidClientTokenId",
                r"requires auth",
                r"invalid auth",
                r"No valid credential sources",
                r"EC2 IMDS",
            ),
        ),
    ),
    advice=(
        "wait a minute and run again; nothing was changed. With -lock-timeout Terraform does not retry "
        "this: interlock apply does"
    ),
    proof=_is_backend,
)
