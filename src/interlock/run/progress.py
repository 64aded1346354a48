"""From Terraform's events to what a person sees of a run: which resources are done, which are under way."""

from __future__ import annotations

from msgspec.structs import replace

from interlock.clock import Clock
from interlock.run.entries import DiagnosticEntry, RefreshEntry, ResourceEntry
from interlock.run.surroundings import Tell
from interlock.secrecy import hide_quoted
from interlock.terraform.events import (
    AnyEvent,
    Apply,
    ChangeSummary,
    Diagnostic,
    Output,
    Outputs,
    PlannedChange,
    Refresh,
    ResourceDrift,
    Stage,
)
from interlock.terraform.plan import PlanFacts, gather_plan

_REFRESH_EVERY_S = 0.5  # how often a growing count of refreshed resources is worth a journal line
_DETAIL_CHARS = 8_000  # of a diagnostic; the whole text is in the command's own output file


class Progress:
    """Takes the events of one command and tells the journal what matters.

    Args:
        tell: Writes to the journal.
        clock: Paces the counting of refreshed resources.
        total: Planned changes, for an apply.
    """

    def __init__(self, tell: Tell, clock: Clock, total: int = 0) -> None:
        self._tell = tell
        self._clock = clock
        self._total = total
        self._done = 0
        self._refreshed = 0
        self._said_s = float("-inf")
        self._planned: list[AnyEvent] = []

    @property
    def facts(self) -> PlanFacts:
        """What the plan's events said."""
        return gather_plan(self._planned)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The root outputs that the command said last; of an apply, with their values."""
        said = [event.outputs for event in self._planned if isinstance(event, Outputs)]
        return said[-1] if said else ()

    def on_event(self, event: AnyEvent) -> None:
        """Take one event."""
        match event:
            case PlannedChange() | ResourceDrift() | ChangeSummary() | Outputs():
                self._planned.append(event)
            case Apply():
                self._on_apply(event)
            case Refresh(stage=Stage.COMPLETE):
                self._on_refresh()
            case Diagnostic():
                self._on_diagnostic(event)
            case _:
                pass

    def _on_apply(self, event: Apply) -> None:
        if event.stage is Stage.PROGRESS:
            return
        if event.stage is Stage.COMPLETE:
            self._done += 1
        entry = ResourceEntry(
            address=event.resource.address,
            action=event.action.value,
            stage=event.stage.value,
            done=self._done,
            total=self._total,
        )
        if event.stage is Stage.COMPLETE:
            entry = replace(entry, elapsed_s=event.elapsed_s, id=event.id)
        self._tell(entry)

    def _on_refresh(self) -> None:
        self._refreshed += 1
        now_s = self._clock.monotonic()
        if now_s - self._said_s >= _REFRESH_EVERY_S:
            self._said_s = now_s
            self._tell(RefreshEntry(count=self._refreshed))

    def _on_diagnostic(self, event: Diagnostic) -> None:
        entry = DiagnosticEntry(
            severity=event.severity.value,
            summary=hide_quoted(event.summary[:_DETAIL_CHARS]),
            detail=hide_quoted(event.detail[: 2 * _DETAIL_CHARS])[:_DETAIL_CHARS],  # providers quote what they sent
            address=event.address,
            file=event.file,
            line=event.line,
        )
        self._tell(entry)
