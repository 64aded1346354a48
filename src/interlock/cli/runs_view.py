"""A list of runs as people see it. Knows neither command lines nor event loops, which take most of a start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.cli import view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.run.summary import Summary

RUNS_LISTED = 20
"""How many runs are listed where nobody says."""


def show_runs(found: Sequence[Summary], *, json: bool) -> None:
    """Print a list of runs."""
    from interlock.run.summary import as_plain

    view.emit(
        {"runs": [as_plain(summary) for summary in found]},
        json=json,
        human=lambda: view.table(
            ("RUN", "STATE", "WHAT", "PHASE", "EXIT", "HELD", "STARTED", "WHO"),
            [_row(summary) for summary in found],
            empty="no runs yet; interlock plan",
        ),
    )


def _row(summary: Summary) -> tuple[str, ...]:
    return (
        summary.run,
        summary.state,
        summary.operation,
        summary.phase,
        view.plain(summary.exit),
        "-" if summary.held_s is None else view.duration(summary.held_s),
        view.instant(summary.started_at),
        summary.who,
    )
