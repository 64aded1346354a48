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


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A time throughout which a waiter was there, as its client knows.

    Attributes:
        from_s: When the client had been told that its place was known, or had seen it.
        until_s: Until when nothing happened to the client, its question or the server that held it.
    """

    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run, from its first question on.

    Attributes:
        turn: When it held, and what it did.
        asked_s: When it asked for the first time.
        group: Its priority class.
        presences: When it waited and was there.
        zombie: Digest of what it wrote after it gave the state back; empty for nothing.
        lost: What it was told when its place was lost; empty for nothing.
        token: Its fencing token; 0 where its protocol tells none.
    """

    turn: Turn
    asked_s: float
    group: str
    presences: tuple[Presence, ...]
    zombie: str = ""
    lost: str = ""
    token: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One stored version of a state.

    Attributes:
        digest: SHA-256 of its bytes, as they were read.
        serial: Its serial.
        token: Fencing token of the grant under which it was written.
    """

    digest: str
    serial: int
    token: int


def judge_runs(runs: Sequence[Run], stored: Mapping[str, Sequence[Stored]]) -> list[str]:
    """Return every promise that was broken, in words: what `judge` finds, and order, fencing and outcomes besides.

    Args:
        runs: All of them.
        stored: The versions of each state at the end, oldest first.
    """
    finals = {state: versions[-1].serial if versions else 0 for state, versions in stored.items()}
    digests = [version.digest for versions in stored.values() for version in versions]
    broken = judge([run.turn for run in runs], finals=finals, stored=frozenset(digests))
    broken += [f"P2 {run.turn.state}: {run.turn.lock_id} lost its place: {run.lost}" for run in runs if run.lost]
    for run in runs:
        count = digests.count(run.turn.digest)
        if count != run.turn.is_acknowledged:
            told = "written" if run.turn.is_acknowledged else "refused"
            broken.append(f"P8 {run.turn.state}: {run.turn.lock_id} was told {told}, and it is stored {count} times")
        if run.zombie in digests:
            broken.append(f"P4 {run.turn.state}: {run.turn.lock_id} wrote after it had given the state back")
    for state, versions in stored.items():
        for before, after in pairwise(versions):
            if after.token <= before.token:
                broken.append(f"P4 {state}: serial {after.serial} has token {after.token} after {before.token}")
    return broken + [
        f"P2 {late} was granted before {early}, which had been there all the time" for early, late in overtaken(runs)
    ]


def in_order(runs: Sequence[Run]) -> Iterator[tuple[Run, Run, float]]:
    """Yield every two runs of one state and class whose order is certain, and until when the first was there.

    The first was known before the other asked for the first time. It may be yielded once for each time it was there.
    """
    for early in runs:
        for late in runs:
            if early.turn.state == late.turn.state and early.group == late.group:
                for there in early.presences:
                    if there.from_s < late.asked_s <= there.until_s:
                        yield early, late, there.until_s


def overtaken(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return whom somebody of the same class overtook who came later, while it was there the whole time."""
    return [
        (early.turn.lock_id, late.turn.lock_id)
        for early, late, until_s in in_order(runs)
        if late.turn.granted_s <= until_s and late.turn.granted_s < early.turn.granted_s
    ]


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
