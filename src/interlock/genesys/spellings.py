"""Differences that only mean another spelling: what the provider or the API writes in two ways.

Source: data/spellings.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache

from interlock.genesys.tables import Meta, load_table


class Equal(Enum):
    """In what sense two values may be the same."""

    EMPTY = "empty"
    """Absent, false-like text and empty lists: null, "", [] and {} are one."""
    NUMBER = "number"
    """1 and 1.0, also as texts."""
    JSON = "json"
    """Two texts that are the same JSON document."""
    CASE = "case"
    """Two texts that differ in capitals only."""
    TRIM = "trim"
    """Two texts that differ in white space at their ends only."""
    ORDER = "order"
    """Two lists with the same items in another order."""
    INSTANT = "instant"
    """Two texts that are the same instant."""
    ANYTHING = "anything"
    """Whatever the two values are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """One row.

    Attributes:
        type: Resource type; `*` and `?` are wildcards, as in the two below.
        attribute: The way to the value, such as `media_settings_call[0].alerting_timeout_sec`.
        address: Address in the state.
        reason: Why this is not drift, for people.
        evidence: Where that was read; empty for a user's own rule.
    """

    type: str = "*"
    attribute: str = "*"
    address: str = "*"
    equal: Equal
    reason: str
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    meta: Meta
    spellings: tuple[Spelling, ...]


@cache
def spellings() -> tuple[Spelling, ...]:
    """Return the differences that are not drift whatever the organisation."""
    return load_table("spellings", _Table).spellings
