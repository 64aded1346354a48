"""Who decided what, when and on what grounds: an append-only log whose entries name their predecessors.

The log itself is a hand and is imported by full path: `interlock.audit.log`.
"""

from interlock.audit.entry import Entry, Head, Noted, chain_fault, decode, digest_of, encode, find_head

__all__ = ["Entry", "Head", "Noted", "chain_fault", "decode", "digest_of", "encode", "find_head"]
