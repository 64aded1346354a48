"""Bytes kept safely; knows no domain words.

Records are named and change by compare-and-swap (`records.py`); blobs are immutable and found by digest (`blobs.py`).
The stores themselves are hands, chosen by URL in `opening.py`.
"""

from interlock.store.blobs import BLOB_BYTES_MAX, BlobDamaged, BlobMissing, BlobStore, blob_digest
from interlock.store.checksums import RecordDamaged
from interlock.store.records import (
    KEY_BYTES_MAX,
    LIST_LIMIT_MAX,
    VALUE_BYTES_MAX,
    Mismatch,
    Record,
    RecordStore,
    StoreGone,
)

__all__ = [
    "BLOB_BYTES_MAX",
    "KEY_BYTES_MAX",
    "LIST_LIMIT_MAX",
    "VALUE_BYTES_MAX",
    "BlobDamaged",
    "BlobMissing",
    "BlobStore",
    "Mismatch",
    "Record",
    "RecordDamaged",
    "RecordStore",
    "StoreGone",
    "blob_digest",
]
