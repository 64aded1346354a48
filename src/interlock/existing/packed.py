"""States as Terraform packs them where a value has a limit: gzip. Pure."""

from __future__ import annotations

import gzip
import zlib

from interlock.state import MAX_STATE_BYTES

_GZIP_ONLY = 16 + zlib.MAX_WBITS
_LEVEL = 6  # Go's usual one; the time of writing matters more than the last percent


def pack(body: bytes) -> bytes:
    """Return a state as gzip; the same bytes for the same state, so that a repeated write is recognised."""
    return gzip.compress(body, _LEVEL, mtime=0)


def unpack(packed: bytes) -> bytes:
    """Return a state that was packed.

    Raises:
        ValueError: It is not whole gzip data, or would be larger than any state.
    """
    reader = zlib.decompressobj(_GZIP_ONLY)
    try:
        body = reader.decompress(packed, MAX_STATE_BYTES + 1)
    except zlib.error:
        raise ValueError("it is not gzip data") from None
    if len(body) > MAX_STATE_BYTES:
        raise ValueError(f"it is larger than {MAX_STATE_BYTES} bytes")
    if not reader.eof:
        raise ValueError("it is not whole")
    return body
