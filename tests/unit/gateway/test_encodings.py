from __future__ import annotations

import gzip
import zlib

import pytest

from interlock.gateway.encodings import PLAIN_MAX, plain_body

BODY = b'{"id": "I"}'


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (None, BODY),
        (b"identity", BODY),
        (b"gzip", gzip.compress(BODY)),
        (b"GZIP", gzip.compress(BODY)),
        (b"deflate", zlib.compress(BODY)),
    ],
)
def test_a_body_is_read_in_every_usual_encoding(coding: bytes | None, body: bytes) -> None:
    headers = [] if coding is None else [(b"content-encoding", coding)]
    assert plain_body(body, headers) == BODY


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"br", BODY),
        (b"gzip", BODY),
        (b"gzip", gzip.compress(BODY)[:-9]),
        (b"gzip", gzip.compress(bytes(PLAIN_MAX + 1))),
    ],
)
def test_what_cannot_be_read_or_swells_is_unreadable(coding: bytes, body: bytes) -> None:
    assert plain_body(body, [(b"content-encoding", coding)]) is None
