"""What a Terraform's own output says of its being interrupted: whether it stops, was cut off, and what that left.

Terraform's first signal, of whatever kind and from whomever, makes it stop: it starts nothing new, waits for the
operations in flight, and saves. Its second makes it exit at once, and what was in flight is in no state.
"execution halted" is not a sign of the second: a stop that saved everything ends with one or two of them for each
operation that was in flight (seen with Terraform 1.11.4 and 1.15, OpenTofu 1.12).
Source: docs/facts/terraform-runs.md#run-8, and internal/command/meta.go and internal/backend/local of Terraform.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from msgspec import Struct, field

from interlock.terraform.events import Action, AnyEvent, Apply, Diagnostic, Log, Severity, Stage, Unparsed

_STOPPING: Final = ("Interrupt received.", "Stopping operation...")
_CUT_LOG: Final = "Two interrupts received."
_CUT_ERROR: Final = "operation canceled"
_PROVIDER_GONE: Final = ("Plugin did not respond", "Request cancelled")  # the second when it dies in mid-answer
_CHANGING_CALL: Final = "ApplyResourceChange"  # the call that Terraform names; others change nothing
MAX_NAMED: Final = 20
"""Operations that a sentence names; all of them are in the command's output."""

Operation: TypeAlias = tuple[str, Action]
"""Address and what is done to it; a replacement is two."""


class Interruption(Struct, kw_only=True):
    """A fold over the events of one command.

    Attributes:
        is_stopping: Terraform said that it was asked to stop.
        is_cut: Terraform said that it ended without waiting for its operations.
        is_provider_gone: A provider ended in the middle of a change, whoever or whatever ended it.
        open: Operations that began and did not end, or ended only because Terraform was cut off.
        failed: Operations that failed before that.
        explained: Addresses that errors name: their failure is the provider's own answer.
        unsaved: Address to id of what was completed after Terraform began to stop: its last certain save was then.
    """

    is_stopping: bool = False
    is_cut: bool = False
    is_provider_gone: bool = False
    open: dict[Operation, None] = field(default_factory=dict)
    failed: dict[Operation, None] = field(default_factory=dict)
    explained: set[str] = field(default_factory=set)
    unsaved: dict[str, str] = field(default_factory=dict)

    def take(self, event: AnyEvent) -> None:
        """Take the next event."""
        match event:
            case Apply() if event.action is not Action.READ:  # a data source changes nothing
                self._take_operation(event)
            case Diagnostic() if event.severity is Severity.ERROR:
                self._take_error(event)
            case Log() | Unparsed():
                self._take_text(event.message.strip())
            case _:
                pass

    def _take_operation(self, event: Apply) -> None:
        operation = (event.resource.address, event.action)
        match event.stage:
            case Stage.START:
                self.open[operation] = None
            case Stage.COMPLETE:
                self.open.pop(operation, None)
                if self.is_stopping:
                    self.unsaved[event.resource.address] = event.id
            case Stage.ERRORED if not self.is_cut:
                # After the cut Terraform calls operations failed on which the provider still works.
                self.open.pop(operation, None)
                self.failed[operation] = None
            case _:
                pass

    def _take_error(self, event: Diagnostic) -> None:
        self.is_cut = self.is_cut or event.summary == _CUT_ERROR
        gone = event.summary in _PROVIDER_GONE and _CHANGING_CALL in event.detail
        self.is_provider_gone = self.is_provider_gone or gone
        if event.address:
            self.explained.add(event.address)

    def _take_text(self, text: str) -> None:
        self.is_stopping = self.is_stopping or text.startswith(_STOPPING)
        self.is_cut = self.is_cut or text.startswith(_CUT_LOG)

    @property
    def in_flight(self) -> list[str]:
        """The operations of which nobody knows whether they took effect, as people read them.

        Terraform does not say which of the failed ones a dead provider was at, so those without an error of their own
        are all suspect.
        """
        unknown = dict(self.open)
        if self.is_provider_gone:
            unknown |= {each: None for each in self.failed if each[0] not in self.explained}
        return [f"{address} ({action.value})" for address, action in unknown]

    def sentence(self) -> str:
        """Say what may exist without being in the state; empty when that is nothing."""
        unsaved = [f"{address} (id {name})" if name else address for address, name in self.unsaved.items()]
        parts = (
            _listed("in flight, so it is not known whether they took effect", self.in_flight),
            _listed("completed after the last save", unsaved) if self.is_cut else "",
        )
        return "; ".join(part for part in parts if part)


def read_interruption(events: Iterable[AnyEvent]) -> Interruption:
    """Return what the events of one command say together."""
    interruption = Interruption()
    for event in events:
        interruption.take(event)
    return interruption


def _listed(heading: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{heading}: {', '.join(names[:MAX_NAMED])}{rest}"
