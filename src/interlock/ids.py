"""The only place that draws lots.

Everything else receives `Ids`, so a test can count instead.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u; sorts like its value
_RUN_TIME_DIGITS = 9  # 45 bits of milliseconds: sorts until the year 3084
_RUN_CHANCE_DIGITS = 7  # 35 bits: two runs of one millisecond collide once in 34 billion


class Ids(Protocol):
    """Fresh, opaque identifiers."""

    def fresh(self) -> str:
        """Return an id that nobody else has: 26 lower-case letters and digits, 130 bits."""
        ...

    def run(self, at: datetime) -> str:
        """Return a run id whose order as text is the order of `at`: 16 letters and digits."""
        ...

    def secret(self) -> str:
        """Return 256 bits that nobody can guess, safe in a URL. Never log it."""
        ...


def _base32(value: int, digits: int) -> str:
    return "".join(_ALPHABET[(value >> (5 * place)) & 31] for place in reversed(range(digits)))


def run_id(at: datetime, chance: int) -> str:
    """Spell a run id from its instant and `chance` (35 bits are used)."""
    return _base32(int(at.timestamp() * 1000), _RUN_TIME_DIGITS) + _base32(chance, _RUN_CHANCE_DIGITS)


def terraform_id(ids: Ids) -> str:
    """Return a random id in the shape of Terraform's lock ids and lineages."""
    text = hashlib.sha256(ids.fresh().encode()).hexdigest()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))


class RandomIds:
    """Ids from the operating system's randomness."""

    def fresh(self) -> str:
        """See `Ids.fresh`."""
        return _base32(secrets.randbits(130), 26)

    def run(self, at: datetime) -> str:
        """See `Ids.run`."""
        return run_id(at, secrets.randbits(5 * _RUN_CHANCE_DIGITS))

    def secret(self) -> str:
        """See `Ids.secret`."""
        return secrets.token_urlsafe(32)


def draw_from(ids: Ids) -> Callable[[int], int]:
    """Return what draws a number of so many bits (at most 256) by chance."""

    def draw(bits: int) -> int:
        return int.from_bytes(hashlib.sha256(ids.fresh().encode()).digest()) >> (256 - bits)

    return draw
