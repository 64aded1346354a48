from __future__ import annotations

import gzip

import pytest

from interlock.existing import packed
from interlock.existing.packed import pack, unpack


def test_what_is_packed_is_unpacked_and_one_state_has_one_packed_form() -> None:
    body = b'{"serial": 7}' * 1000
    assert unpack(pack(body)) == body
    assert pack(body) == pack(body)
    assert unpack(gzip.compress(body, 9)) == body


@pytest.mark.parametrize("damaged", [b"", b"{}", pack(b"x" * 100)[:-9], b"\x1f\x8b nothing"])
def test_what_is_not_whole_is_said(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="it is not"):
        unpack(damaged)


def test_a_small_file_that_becomes_a_huge_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MAX_STATE_BYTES", 1000)
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        unpack(pack(b"0" * 1001))
