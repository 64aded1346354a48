"""Draws the transition table as a Mermaid state diagram, for docs/explanation/leases.md."""

from __future__ import annotations

from interlock.lock.events import Elapsed, Paused, Resumed, StillWaiting
from interlock.lock.lock import Stage
from interlock.lock.machine import TRANSITIONS

_LOCK_LEVEL = (Elapsed, Paused, Resumed, StillWaiting)


def render_diagram() -> str:
    """Return the diagram's source, without the code fence, ending in a newline."""
    lines = ["stateDiagram-v2", "    [*] --> absent"]
    for (before, after), events in sorted(_arrows().items()):
        lines.append(f"    {before} --> {after}: {', '.join(events)}")
    lines.append("    waiting --> holding: granted when nothing is in the way")
    lines.append("    waiting --> silent: patience ran out")
    return "\n".join(lines) + "\n"


def render_table() -> str:
    """Return the table as Markdown: one row per event, one column per stage; a dash is a refusal."""
    stages = list(Stage)
    lines = ["| event | " + " | ".join(stage.value for stage in stages) + " |", "|---" * (len(stages) + 1) + "|"]
    for event, row in TRANSITIONS.items():
        if event not in _LOCK_LEVEL:
            cells = (_cell(row[stage].becomes) for stage in stages)
            lines.append(f"| {event.__name__} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _arrows() -> dict[tuple[str, str], list[str]]:
    arrows: dict[tuple[str, str], list[str]] = {}
    for event, row in TRANSITIONS.items():
        if event in _LOCK_LEVEL:
            continue
        for stage, transition in row.items():
            for after in transition.becomes:
                if after is not stage:
                    arrows.setdefault((stage.value, after.value), []).append(event.__name__)
    return arrows


def _cell(becomes: tuple[Stage, ...]) -> str:
    return " or ".join(stage.value for stage in becomes) or "–"
