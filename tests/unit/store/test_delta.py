from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.store.delta import CHANGES_MAX, collect, expand, find_copies


def _document(seed: int, lines: int) -> bytes:
    chance = random.Random(seed)
    return b"".join(b'  "id": "%032x", "kind": "queue",\n' % chance.getrandbits(128) for _ in range(lines))


OLD = _document(1, 20_000)


def _new_bytes(base: bytes, data: bytes) -> int:
    """Return how many bytes of `data` had to be kept, after checking that it comes back."""
    copies = find_copies(base, data, new_bytes_max=len(data))
    assert copies is not None
    news = collect(copies, data)
    assert expand(copies, base=base, news=news, plain_bytes=len(data)) == data
    return len(news)


@given(base=st.binary(max_size=400), data=st.binary(max_size=400))
def test_any_document_comes_back(base: bytes, data: bytes) -> None:
    _new_bytes(base, data)


@given(seed=st.integers(0, 1000), edits=st.integers(0, 30))
def test_an_edited_document_comes_back(seed: int, edits: int) -> None:
    chance = random.Random(seed)
    base = _document(2, 300)
    data = bytearray(base)
    for _ in range(edits):
        start = chance.randrange(len(data) + 1)
        data[start : start + chance.choice([0, 1, 40, 3000])] = chance.randbytes(chance.choice([0, 1, 36, 500]))
    _new_bytes(base, bytes(data))


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (OLD, 0),
        (b"", 0),
        (OLD[:1000], 0),
        (OLD[500_000:], 0),
        (OLD[:300_000] + OLD[700_000:], 0),
        (OLD[400_000:] + OLD[:400_000], 0),
        (OLD[:300_000] + b"{}" * 100 + OLD[300_000:], 200),
        (OLD[:300_000] + _document(3, 10_000) + OLD[300_000:], 10_000 * 61),
        (b"new head\n" + OLD + b"new tail\n", 18),
        (OLD.replace(b"queue", b"skill", 100), 100 * 61),
    ],
    ids=["same", "empty", "head", "tail", "cut", "swapped", "insert", "large insert", "both ends", "changes"],
)
def test_local_changes_keep_few_new_bytes(data: bytes, most: int) -> None:
    assert _new_bytes(OLD, data) <= most


def test_unlike_documents_are_given_up() -> None:
    assert find_copies(OLD, _document(4, 20_000), new_bytes_max=100_000) is None


def test_too_many_changes_are_given_up() -> None:
    base = _document(5, 4 * CHANGES_MAX)
    data = b"".join(base[start : start + 170] + b"!" for start in range(0, len(base), 170))
    assert find_copies(base, data, new_bytes_max=len(data)) is None


@pytest.mark.parametrize(
    "copies", [[5, 0, 0], [0, 0, 11], [0, 9, 2], [0, 2**63, 1], [4, 0, 10, 0, 0, 10, 0, 0, 10]], ids=str
)
def test_copies_that_point_outside_are_refused(copies: list[int]) -> None:
    with pytest.raises(ValueError, match="outside"):
        expand(copies, base=b"0123456789", news=b"abcd", plain_bytes=20)
