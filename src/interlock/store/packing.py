"""How a blob is written down: as it is, compressed, or as its difference from a similar blob.

A packed blob starts with a header of `HEADER_BYTES` bytes: magic, format version, method, depth, length of the plain
bytes, SHA-256 of the base (zeros without one). Format 1 has three methods; whichever is smallest is used:

- stored: the plain bytes;
- zstd: one zstd frame;
- delta: the length of the copy list's frame (8 bytes), that frame, and a frame with the bytes that the base lacks.
  The copy list holds triples of 8-byte numbers: take so many new bytes, then copy from this offset of the base, so
  many bytes.

Format 2 is the same with everything behind the header sealed (`sealing.py`), bound to the header and the blob's digest.
So lengths and bases are readable without a key, and neither can be changed.

The difference is found by `delta.py`, not by zstd's own dictionaries: through python-zstandard these index only the
last part of a large base, so that a 100 MB state compressed against its predecessor came out as large as alone
(measured: 14.0 MB either way for 83 MB; with the copy list a few kilobytes).
"""

from __future__ import annotations

import struct
from enum import IntEnum

import zstandard
from msgspec import Struct

from interlock.amounts import amount
from interlock.store.blobs import BLOB_BYTES_MAX
from interlock.store.delta import Copies, collect, expand, find_copies
from interlock.store.sealing import HOW, ID_BYTES, KeyMissing, Sealer, Unsealable, key_id_of

DEPTH_MAX = 10
"""Longest chain of differences: each link costs a read some 50 ms for a 100 MB state, one version in 11 is whole."""

FORMAT = 1
FORMAT_SEALED = 2
_MAGIC = b"ILB"
_HEADER = struct.Struct("<3sBBBQ32s")
HEADER_BYTES = _HEADER.size
HEAD_BYTES = HEADER_BYTES + ID_BYTES
"""As much of a packed blob as tells also which data key sealed it."""
_NO_BASE = bytes(32)
_LENGTH = struct.Struct("<Q")
_TRIPLE_BYTES = 24
_LEVEL = 1  # 83 MB of state: 0.12 s for 14.0 MB; level 3 took 0.28 s for 16.1 MB
_SAMPLE_BYTES = 1024 * 1024


class Unpackable(ValueError):
    """These bytes were not written by `pack`, or are no longer what they were."""


class Method(IntEnum):
    """How the plain bytes are kept."""

    STORED = 0
    ZSTD = 1
    DELTA = 2


class Base(Struct, frozen=True, kw_only=True):
    """A blob that new ones may be written as a difference from.

    Attributes:
        digest: Its SHA-256 in hexadecimal digits.
        depth: How many bases it needs itself.
        data: Its plain bytes.
    """

    digest: str
    depth: int
    data: bytes


class Header(Struct, frozen=True, kw_only=True):
    """What the beginning of a packed blob says.

    Attributes:
        method: How the rest is written.
        depth: How many bases must be unpacked first; 0 without a base.
        plain_bytes: Length of the plain blob.
        base: The digest of the base in hexadecimal digits, None without one.
    """

    method: Method
    depth: int
    plain_bytes: int
    base: str | None


def pack(data: bytes, *, base: Base | None = None) -> bytes:
    """Write `data` down in the smallest of the known ways.

    The base is used only when it saves at least half of what compression alone would need, since a difference costs
    time on every read; and never beyond `DEPTH_MAX`.
    """
    whole = _pack_whole(data)
    if base is None or base.depth >= DEPTH_MAX:
        return whole
    delta = _pack_delta(data, base, bytes_max=len(whole) // 2)
    return whole if delta is None else delta


def read_header(packed: bytes) -> Header:
    """Read the header of a packed blob; only its first `HEADER_BYTES` bytes are needed.

    Raises:
        Unpackable: There is no header, or it is of a format that this version does not know.
    """
    if len(packed) < HEADER_BYTES:
        raise Unpackable("it is shorter than its header")
    magic, version, method, depth, plain_bytes, base = _HEADER.unpack_from(packed)
    if magic != _MAGIC:
        raise Unpackable("it does not start like a packed blob")
    if version not in {FORMAT, FORMAT_SEALED}:
        raise Unpackable(f"it has format {version}, this version reads formats {FORMAT} and {FORMAT_SEALED}")
    if method not in set(Method) or plain_bytes > BLOB_BYTES_MAX or depth > DEPTH_MAX:
        raise Unpackable("its header is damaged")
    return Header(
        method=Method(method), depth=depth, plain_bytes=plain_bytes, base=None if base == _NO_BASE else base.hex()
    )


def unpack(packed: bytes, *, base: bytes | None = None) -> bytes:
    """Return the plain bytes. The caller compares their digest; lengths and offsets are checked here.

    Args:
        packed: What `pack` returned.
        base: The plain bytes of the blob that `read_header(packed).base` names.

    Raises:
        Unpackable: The bytes are damaged, or the base is missing or another one.
    """
    header = read_header(packed)
    if sealed_by(packed) is not None:
        raise Unpackable("it is sealed")
    body = memoryview(packed)[HEADER_BYTES:]
    match header.method:
        case Method.STORED:
            plain = bytes(body)
        case Method.ZSTD:
            plain = _decompress(body, header.plain_bytes)
        case Method.DELTA:
            plain = _unpack_delta(body, base, header.plain_bytes)
    if len(plain) != header.plain_bytes:
        raise Unpackable(f"it has {amount(len(plain), 'byte')} instead of {header.plain_bytes}")
    return plain


def seal_packed(packed: bytes, digest: str, sealer: Sealer | None) -> bytes:
    """Return what `pack` returned, sealed for the place that this digest names; as it is without a sealer."""
    if sealer is None:
        return packed
    head = _MAGIC + bytes((FORMAT_SEALED,)) + packed[len(_MAGIC) + 1 : HEADER_BYTES]
    return head + sealer.seal(memoryview(packed)[HEADER_BYTES:], _bound_to(head, digest))


def sealed_by(packed: bytes) -> bytes | None:
    """Return the id of the data key that sealed a packed blob, None in clear; the first `HEAD_BYTES` bytes tell it."""
    is_sealed = packed[: len(_MAGIC)] == _MAGIC and packed[len(_MAGIC) : len(_MAGIC) + 1] == bytes((FORMAT_SEALED,))
    return key_id_of(packed[HEADER_BYTES:HEAD_BYTES]) if is_sealed else None


def open_packed(packed: bytes, digest: str, sealer: Sealer | None) -> bytes:
    """Return a packed blob as `unpack` reads it.

    Raises:
        KeyMissing: It is sealed, and we have not the key.
        Unpackable: It was changed, or was sealed for another digest.
    """
    if sealed_by(packed) is None:
        return packed
    if sealer is None:
        raise KeyMissing(f"blob {digest} is encrypted, and no key is given", fix=HOW)
    head = packed[:HEADER_BYTES]
    try:
        body = sealer.open(memoryview(packed)[HEADER_BYTES:], _bound_to(head, digest))
    except Unsealable as error:
        raise Unpackable(str(error)) from error
    return _MAGIC + bytes((FORMAT,)) + head[len(_MAGIC) + 1 :] + body


def _bound_to(head: bytes, digest: str) -> bytes:
    return b"blob " + head + bytes.fromhex(digest)


def unpack_chain(digest: str, chain: list[bytes], sealer: Sealer | None) -> tuple[bytes, int]:
    """Return the plain bytes of a blob, and the depth at which it is stored.

    Args:
        digest: Its digest.
        chain: The packed blob, its base, the base of that, and so on; emptied meanwhile, so that memory gets free.
        sealer: Opens those that are sealed.

    Raises:
        KeyMissing: See `open_packed`.
        Unpackable: See `unpack`.
    """
    headers = [read_header(packed) for packed in chain]
    names = [digest, *(header.base or "" for header in headers[:-1])]
    data = unpack(open_packed(chain.pop(), names.pop(), sealer))
    while chain:
        data = unpack(open_packed(chain.pop(), names.pop(), sealer), base=data)
    return data, headers[0].depth


def _pack_whole(data: bytes) -> bytes:
    if _is_compressible(data):
        frame = _compress(data)
        if len(frame) < len(data):
            return _header(Method.ZSTD, data) + frame
    return _header(Method.STORED, data) + data


def _is_compressible(data: bytes) -> bool:
    # Encrypted or already compressed blobs are recognised by their middle, instead of after compressing all of them.
    if len(data) <= 2 * _SAMPLE_BYTES:
        return True
    middle = len(data) // 2
    sample = data[middle : middle + _SAMPLE_BYTES]
    return len(_compress(sample)) < 0.95 * len(sample)


def _pack_delta(data: bytes, base: Base, *, bytes_max: int) -> bytes | None:
    copies = find_copies(base.data, data, new_bytes_max=8 * bytes_max)
    if copies is None:
        return None
    lists = _compress(b"".join(map(_LENGTH.pack, copies)))
    news = _compress(collect(copies, data))
    packed = b"".join(
        (_header(Method.DELTA, data, depth=base.depth + 1, base=base.digest), _LENGTH.pack(len(lists)), lists, news)
    )
    return packed if len(packed) <= bytes_max else None


def _unpack_delta(body: memoryview, base: bytes | None, plain_bytes: int) -> bytes:
    if base is None:
        raise Unpackable("its base is missing")
    if len(body) < _LENGTH.size:
        raise Unpackable("it is cut off")
    (split,) = _LENGTH.unpack_from(body)
    rest = body[_LENGTH.size :]
    numbers = _decompress(rest[:split], bytes_max=_TRIPLE_BYTES * (plain_bytes + 1))
    news = _decompress(rest[split:], bytes_max=plain_bytes)
    if len(numbers) % _TRIPLE_BYTES:
        raise Unpackable("its copy list is cut off")
    copies: Copies = memoryview(numbers).cast("Q")
    try:
        return expand(copies, base=base, news=news, plain_bytes=plain_bytes)
    except ValueError as error:
        raise Unpackable(str(error)) from error


def _header(method: Method, data: bytes, *, depth: int = 0, base: str | None = None) -> bytes:
    digest = _NO_BASE if base is None else bytes.fromhex(base)
    return _HEADER.pack(_MAGIC, FORMAT, method, depth, len(data), digest)


def _compress(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(data)


def _decompress(frame: memoryview, bytes_max: int) -> bytes:
    try:
        promised = zstandard.frame_content_size(frame)
        if not 0 <= promised <= bytes_max:  # refused before memory is taken: a damaged length must not exhaust it
            raise Unpackable("a frame is damaged")
        return zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise Unpackable("a frame is damaged") from error
