"""Something in a store that is not what was written."""

from __future__ import annotations

from msgspec import Struct

FAULTS_MAX = 20
"""Faults that are told; more are of no use to a person."""


class Fault(Struct, frozen=True, kw_only=True):
    """A fault.

    Attributes:
        what: One line about it.
        key: The key of the record that it is about; empty when it is about the store as a whole.
    """

    what: str
    key: str = ""
