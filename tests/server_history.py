"""Judges what clients of servers saw. Knows the promises and Terraform's protocol, and nothing of how they are kept.

A history is what each client wrote down: when it sent and when it was answered, on one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One time that a client held a state.

    Attributes:
        state: The state.
        lock_id: The client's lock.
        granted_s: When its LOCK was answered with 200.
        released_s: When it sent UNLOCK.
        read: The serial that it read under the lock; 0 when there was no state.
        wrote: The serial that it wrote; None when it wrote none.
        digest: SHA-256 of what it wrote.
        is_acknowledged: Its write was answered with 200.
    """

    state: str
    lock_id: str
    granted_s: float
    released_s: float
    read: int
    wrote: int | None
    digest: str
    is_acknowledged: bool


def judge(turns: Sequence[Turn], *, finals: Mapping[str, int], stored: frozenset[str]) -> list[str]:
    """Return every promise that was broken, in words.

    Args:
        turns: All of them.
        finals: The serial of each state at the end, as another client reads it.
        stored: Digests of all that the store has, read without Interlock.
    """
    broken: list[str] = []
    for state in sorted(finals):
        ordered = sorted((turn for turn in turns if turn.state == state), key=lambda turn: turn.granted_s)
        broken += _one_holder(state, ordered)
        broken += _no_lost_update(state, ordered, finals[state])
    broken += [
        f"P3 {turn.state}: serial {turn.wrote} was acknowledged and is not stored"
        for turn in turns
        if turn.is_acknowledged and turn.digest not in stored
    ]
    return broken or _unchecked(turns)


def _one_holder(state: str, ordered: Sequence[Turn]) -> Iterator[str]:
    """From its answer until it asked to give it back, nobody else may have been answered."""
    for before, after in pairwise(ordered):
        if after.granted_s < before.released_s:
            yield f"P1 {state}: {after.lock_id} was granted while {before.lock_id} held"


def _no_lost_update(state: str, ordered: Sequence[Turn], final: int) -> Iterator[str]:
    """Who holds reads what the last holder wrote: for certain when that was acknowledged, else perhaps."""
    possible = {0}
    for turn in ordered:
        if turn.read not in possible:
            yield f"P3 {state}: {turn.lock_id} read serial {turn.read}, and one of {sorted(possible)} was written last"
        possible = {turn.read}
        if turn.wrote is not None:
            possible = {turn.wrote} if turn.is_acknowledged else {turn.read, turn.wrote}
    if final not in possible:
        yield f"P3 {state}: at the end it has serial {final}, and one of {sorted(possible)} was written last"


def _unchecked(turns: Sequence[Turn]) -> list[str]:
    """A law that had nothing to judge has not held."""
    return [] if any(turn.is_acknowledged for turn in turns) else ["nothing was checked: no write was acknowledged"]
