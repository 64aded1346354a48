"""Chance that can be repeated: every draw follows from one seed.

Pure, so the organisation, its faults and its ids are the same in every run of one seed. Not for secrets: the tokens of
a simulated organisation protect nothing.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15  # the golden ratio, the increment of splitmix64


class Chance:
    """A stream of draws.

    Args:
        seed: Any integer; equal seeds give equal streams.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = _mixed(seed & _MASK)

    def bits(self) -> int:
        """Return the next 64 bits (splitmix64, Steele and others 2014)."""
        self._state = (self._state + _STEP) & _MASK
        return _mixed(self._state)

    def fraction(self) -> float:
        """Return the next number, at least 0.0 and less than 1.0."""
        return (self.bits() >> 11) / (1 << 53)

    def uuid(self) -> str:
        """Return the next id in the form of a version 4 UUID, as the vendor's ids are."""
        digits = f"{self.bits():016x}{self.bits():016x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _mixed(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
