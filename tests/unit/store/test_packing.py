from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.store import blob_digest
from interlock.store.packing import (
    DEPTH_MAX,
    HEADER_BYTES,
    Base,
    Method,
    Unpackable,
    pack,
    read_header,
    unpack,
)


def _document(seed: int, lines: int = 2000) -> bytes:
    chance = random.Random(seed)
    return b"".join(b'  "id": "%032x", "kind": "queue",\n' % chance.getrandbits(128) for _ in range(lines))


def _base(data: bytes, *, depth: int = 0) -> Base:
    return Base(digest=blob_digest(data), depth=depth, data=data)


@given(data=st.binary(max_size=2000))
def test_what_is_packed_unpacks(data: bytes) -> None:
    assert unpack(pack(data)) == data


def test_text_is_compressed_and_noise_is_stored() -> None:
    noise = random.Random(1).randbytes(3_000_000)
    assert read_header(pack(_document(1))).method is Method.ZSTD
    assert read_header(pack(noise)).method is Method.STORED
    assert len(pack(noise)) == len(noise) + HEADER_BYTES
    assert unpack(pack(noise)) == noise


def test_a_small_change_is_stored_as_a_difference() -> None:
    old = _document(1)
    new = old.replace(b"queue", b"skill", 3)
    packed = pack(new, base=_base(old, depth=2))
    header = read_header(packed)
    assert (header.method, header.depth, header.base) == (Method.DELTA, 3, blob_digest(old))
    assert len(packed) < 300
    assert unpack(packed, base=old) == new


def test_a_difference_that_saves_little_is_not_used() -> None:
    assert read_header(pack(_document(2), base=_base(_document(1)))).method is Method.ZSTD


def test_a_chain_of_differences_ends() -> None:
    old = _document(1)
    assert read_header(pack(old + b"x", base=_base(old, depth=DEPTH_MAX - 1))).depth == DEPTH_MAX
    assert read_header(pack(old + b"x", base=_base(old, depth=DEPTH_MAX))).base is None


_PACKED = pack(_document(1, 50))
_DELTA = pack(_document(1) + b"x", base=_base(_document(1)))


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        _PACKED[: HEADER_BYTES - 1],
        b"XXX" + _PACKED[3:],
        _PACKED[:3] + b"\x02" + _PACKED[4:],
        _PACKED[:4] + b"\x09" + _PACKED[5:],
        _PACKED[:6] + b"\xff" * 8 + _PACKED[14:],
        _PACKED[:6] + b"\x01" + _PACKED[7:],
        _PACKED[:-5],
        _PACKED[:HEADER_BYTES],
        _DELTA[: HEADER_BYTES + 3],
        _DELTA[:-3],
    ],
)
def test_damaged_bytes_are_refused(packed: bytes) -> None:
    with pytest.raises(Unpackable):
        unpack(packed, base=_document(1))


def test_a_difference_without_its_base_is_refused() -> None:
    with pytest.raises(Unpackable):
        unpack(_DELTA)
    with pytest.raises(Unpackable):
        unpack(_DELTA, base=b"too short")


@settings(max_examples=200)
@given(position=st.integers(0, len(_DELTA) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_gives_other_bytes_of_bounded_size(position: int, bit: int) -> None:
    damaged = bytearray(_DELTA)
    damaged[position] ^= 1 << bit
    try:
        plain = unpack(bytes(damaged), base=_document(1))
    except Unpackable:
        return
    assert len(plain) < 2 * len(_document(1))
