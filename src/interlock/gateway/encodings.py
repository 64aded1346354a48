"""Reads answers that are compressed. Go's HTTP client asks for gzip by itself, and the gateway passes that on; pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from interlock.gateway.headers import Pair

PLAIN_MAX = 4 * 1024 * 1024
"""Longest plain body that is read; a longer one, or one that says it is and is not, counts as unreadable."""
_GZIP = 16 + zlib.MAX_WBITS
_WINDOWS = {b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": zlib.MAX_WBITS}


def plain_body(body: bytes, headers: Iterable[Pair]) -> bytes | None:
    """Return a body as it is meant; None when it is in an encoding that cannot be read.

    Args:
        body: As received, whole.
        headers: Of the answer, names in lower case.
    """
    coded = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    if not coded or coded == [b"identity"]:
        return body
    window = _WINDOWS.get(coded[0]) if len(coded) == 1 else None
    return None if window is None else _inflated(body, window)


def _inflated(body: bytes, window: int) -> bytes | None:
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, PLAIN_MAX)
    except zlib.error:
        return None
    return plain if stream.eof else None
