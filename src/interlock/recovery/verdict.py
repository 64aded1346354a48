"""What the evidence together allows: alive, gone or undecided. Undecided never breaks a lock.

The rules, first match wins (docs/explanation/recovery.md has the truth table made from them):

1. Anything alive: alive.
2. Gone and silent: gone.
3. Gone but not silent: undecided; its lease or its lock has to stand still first.
4. Otherwise: undecided; a witness that can see is missing.

Facts that decide nothing and witnesses that could not see change no verdict.

What is known of a run's processes comes from two sources, which `weigh` puts together first: the kernel's lock on the
run's file, and the record of its processes, which may be stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from interlock.recovery.evidence import Evidence, Says


class Conclusion(Enum):
    """What may be concluded about a holder."""

    ALIVE = "alive"
    GONE = "gone"
    UNDECIDED = "undecided"

    @property
    def meaning(self) -> str:
        """What follows from it for a person who waits for the lock."""
        return _MEANINGS[self]

    @property
    def told(self) -> str:
        """The word with its meaning, as every command prints it."""
        return f"{self.value}: {self.meaning}"


_MEANINGS = {
    Conclusion.ALIVE: "still at work, so the lock is kept",
    Conclusion.GONE: "safe to break",
    Conclusion.UNDECIDED: "not proven, so the lock is kept",
}


class Verdict(Struct, frozen=True, kw_only=True):
    """A conclusion with its reasons.

    Attributes:
        conclusion: The conclusion.
        reasons: Sentences of the evidence that decided.
        missing: For `UNDECIDED`: which facts are missing and how to get them.
    """

    conclusion: Conclusion
    reasons: tuple[str, ...]
    missing: tuple[str, ...] = ()


def judge(evidence: Sequence[Evidence]) -> Verdict:
    """Return the verdict on a holder."""
    said = {kind: tuple(item.text for item in evidence if item.says is kind) for kind in Says}
    if said[Says.ALIVE]:
        return Verdict(conclusion=Conclusion.ALIVE, reasons=said[Says.ALIVE])
    if said[Says.GONE] and said[Says.SILENT]:
        return Verdict(conclusion=Conclusion.GONE, reasons=said[Says.GONE] + said[Says.SILENT])
    return Verdict(
        conclusion=Conclusion.UNDECIDED,
        reasons=said[Says.GONE] + said[Says.SILENT] + said[Says.NOTHING],
        missing=tuple(_missing(evidence, gone=bool(said[Says.GONE]))),
    )


def weigh(kernel: Says, record: Says, *, has_gap: bool) -> Says:
    """Return what the kernel's lock on a run's file and the record of its processes say together; the first match wins.

    1. Either says alive: alive.
    2. The kernel says gone: gone. Everything that acts for the run inherited the lock.
    3. The record says gone and can lack no process: gone.
    4. Otherwise: nothing.

    Args:
        kernel: `ALIVE` while the lock is held, `GONE` when it is free and that is proof, else `NOTHING`.
        record: `ALIVE` when a recorded process lives, `GONE` when each has ended, else `NOTHING`.
        has_gap: The record may lack a process that was started.
    """
    if Says.ALIVE in (kernel, record):
        return Says.ALIVE
    if kernel is Says.GONE or (record is Says.GONE and not has_gap):
        return Says.GONE
    return Says.NOTHING


def _missing(evidence: Sequence[Evidence], *, gone: bool) -> list[str]:
    if gone:
        return ["its lease or lock has not stood still for the whole watch yet; wait and look again"]
    ways = [item.how_to for item in evidence if item.says is Says.NOTHING and item.how_to]
    return list(dict.fromkeys(ways)) or ["nothing shows whether the holder's process still runs"]
