"""Texts that were saved in another encoding than UTF-8, as PowerShell's `>` and some editors do it."""

from __future__ import annotations

import codecs
from typing import Final

_MARKS: Final = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF32_BE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "UTF-16", "utf-16"),
    (codecs.BOM_UTF8, "UTF-8 with a byte order mark", "utf-8-sig"),
)


def encoding_of(content: bytes) -> str:
    """Return the encoding that a byte order mark gives away, for people; empty for plain UTF-8."""
    return next((name for mark, name, _ in _MARKS if content.startswith(mark)), "")


def as_utf8(content: bytes) -> bytes:
    """Return a text as plain UTF-8, without its byte order mark; unchanged when it has none, or is broken."""
    codec = next((codec for mark, _, codec in _MARKS if content.startswith(mark)), "")
    try:
        return content.decode(codec).encode() if codec else content
    except UnicodeError:
        return content
