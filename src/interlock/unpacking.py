"""What a zip archive that somebody else wrote can do to its reader."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib

UNPACKING_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,  # packed bytes that are damaged
    lzma.LZMAError,  # as above; bz2 raises OSError
    OSError,  # also of a directory that points before the file's beginning
    EOFError,
    KeyError,  # no entry of this name
    ValueError,  # also of msgspec, of texts that are not UTF-8, and of positions below zero
    TypeError,
    IndexError,
    OverflowError,
    struct.error,  # a directory is written anew with a length that cannot be
    NotImplementedError,  # another way of packing
    RuntimeError,  # a password is wanted
)
"""Everything that opening an archive, reading an entry and decoding its content is known to raise for damaged bytes.

In one place, since readers that each named what their author had met let the others out as defects of ours.
`tests/unit/run/test_damaged_plans.py` changes every byte of a plan and tries every reader.
"""
