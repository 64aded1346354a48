"""What one look at a CI system showed, in the same words for all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum


class Stage(Enum):
    """How far the holder's job is."""

    RUNNING = "running"
    OVER = "over"
    UNCLEAR = "unclear"


class Machine(Enum):
    """What becomes of the machine (or container) when its job ends."""

    ENDS_WITH_JOB = "ends with the job"
    OUTLIVES_JOB = "may outlive the job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a CI system says of a job.

    Attributes:
        stage: How far it is.
        text: One sentence for people.
        machine: Of all machines that the job ran on.
        machine_name: One that may outlive it; empty when there is none or it is not known.
        began_at: When it, or the first of several, began, by the CI system's clock.
        ended_at: When it ended, by the CI system's clock.
        asked_at: When it was asked, by the same clock.
        how_to: For `UNCLEAR`: how to get clearer.
    """

    stage: Stage
    text: str
    machine: Machine = Machine.OUTLIVES_JOB
    machine_name: str = ""
    began_at: datetime | None = None
    ended_at: datetime | None = None
    asked_at: datetime | None = None
    how_to: str = ""

    def over_for_s(self) -> float | None:
        """Return for how long it has been over, by the CI system's own clock; None when that is not known."""
        if self.ended_at is None or self.asked_at is None:
            return None
        return (self.asked_at - self.ended_at).total_seconds()

    def ran_at(self, instant: datetime, *, skew_s: float) -> bool | None:
        """Say whether it ran at an instant of another clock, which may be off by `skew_s`; None when nobody knows."""
        if self.began_at is None or self.ended_at is None:
            return None
        skew = timedelta(seconds=skew_s)
        return self.began_at - skew <= instant <= self.ended_at + skew


def parse_instant(text: object) -> datetime | None:
    """Read an instant of an API's answer; None when it is none."""
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def earliest(instants: Iterable[object]) -> datetime | None:
    """Return the earliest of several instants; None when there is none, or one cannot be read."""
    known = _all_read(instants)
    return min(known) if known else None


def latest(instants: Iterable[object]) -> datetime | None:
    """Return the latest of several instants; None when there is none, or one cannot be read."""
    known = _all_read(instants)
    return max(known) if known else None


def _all_read(instants: Iterable[object]) -> list[datetime]:
    """Return all of them; none at all when one cannot be read."""
    read = [parse_instant(text) for text in instants]
    known = [instant for instant in read if instant is not None]
    return known if len(known) == len(read) else []
