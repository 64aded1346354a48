"""The truth table of the verdict, made from the function that gives it; docs/explanation/recovery.md holds a copy.

Knows: evidence, verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product

from interlock.recovery.evidence import Evidence, Says
from interlock.recovery.verdict import Conclusion, judge, weigh

COLUMNS = (Says.ALIVE, Says.GONE, Says.SILENT, Says.NOTHING)
"""What is varied. `FACT` is not: it never matters, which a test shows for every row."""

_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One combination of what witnesses said, and the conclusion.

    Attributes:
        said: What at least one witness said.
        conclusion: What follows.
    """

    said: frozenset[Says]
    conclusion: Conclusion


def rows() -> tuple[Row, ...]:
    """Return the conclusion for every combination of what witnesses can say."""
    return tuple(_row(frozenset(says)) for says in _combinations())


def render_table() -> str:
    """Return the table as Markdown."""
    heads = ("alive", "gone", "silent", "could not see", "verdict")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join((*_cells(row.said), f"**{row.conclusion.value}**")) + " |" for row in rows()]
    return "\n".join(lines) + "\n"


def render_process_table() -> str:
    """Return the table of `weigh` as Markdown."""
    lines = ["| run's lock file | recorded processes | record may lack one | says |", "|" + "---|" * 4]
    for kernel, record, has_gap in product(_KERNEL, _RECORD, (False, True)):
        says = weigh(kernel, record, has_gap=has_gap)
        lines.append(f"| {_KERNEL[kernel]} | {_RECORD[record]} | {'yes' if has_gap else ''} | **{says.value}** |")
    return "\n".join(lines) + "\n"


_KERNEL = {Says.ALIVE: "held", Says.GONE: "free, and that is proof", Says.NOTHING: "no proof"}
_RECORD = {Says.ALIVE: "one lives", Says.GONE: "all ended", Says.NOTHING: "none, or not to be seen"}


def testimony(says: Says) -> Evidence:
    """Return evidence that says this and nothing else of interest."""
    return Evidence(witness="table", says=says, text=says.value, source="table", observed_at=_AT)


def _combinations() -> list[list[Says]]:
    marks = product((True, False), repeat=len(COLUMNS))
    return [[says for says, is_said in zip(COLUMNS, row, strict=True) if is_said] for row in marks]


def _row(said: frozenset[Says]) -> Row:
    evidence = [testimony(says) for says in COLUMNS if says in said]
    return Row(said=said, conclusion=judge(evidence).conclusion)


def _cells(said: frozenset[Says]) -> tuple[str, ...]:
    return tuple("yes" if says in said else "" for says in COLUMNS)
