"""Who decided what, when and on what grounds: an append-only log whose entries name their predecessors.

The log itself is a hand and is imported by full path: `interlock.audit.log`.
"""

from interlock.audit.entry import Entry, chain_fault, decode, digest_of, encode

__all__ = ["Entry", "chain_fault", "decode", "digest_of", "encode"]
