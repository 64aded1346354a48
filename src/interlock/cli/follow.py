"""What a person sees of a run while it goes: plain lines, and on a terminal one live line below them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from interlock.amounts import amount
from interlock.bounded import read_json
from interlock.cli import view
from interlock.errors import FULL, command, reason_of
from interlock.foreign_text import one_line
from interlock.run.entries import (
    AnyEntry,
    ApprovalEntry,
    BinaryEntry,
    DiagnosticEntry,
    EndEntry,
    GrantedEntry,
    InitEntry,
    InterruptEntry,
    KeptEntry,
    NoteEntry,
    OrphansEntry,
    OutputsEntry,
    PhaseEntry,
    PlanCounts,
    PlanEntry,
    PlanTextEntry,
    PrintedEntry,
    RecoveryEntry,
    RefreshEntry,
    ResourceEntry,
    RetryEntry,
    SavedPlanEntry,
    StandingEntry,
    StateEntry,
    UnknownEntry,
)
from interlock.run.interrupts import STANDS_S
from interlock.run.shown import OUTPUTS_JSON, PLAN_TEXT, spell_outputs
from interlock.run.transcript import Entry

_SYMBOLS = {
    "create": ("+", "32"),
    "update": ("~", "33"),
    "delete": ("-", "31"),
    "replace": ("±", "35"),
    "read": ("<", "36"),
    "remove": (".", "33"),
    "move": (">", "36"),
    "import": ("^", "36"),
}
_UNDER_WAY = 3  # resources named in the live line
_CLEAR = "\r\x1b[2K"
_ORPHANS_SHOWN = 10
_ORPHANS = {
    "begin": "made by earlier runs, or perhaps made, and in no state: {count}",
    "plan": "what the plan makes once more, although earlier runs made it and no state holds it: {count}",
    "end": "made by this run and in no state: {count}",
}


class Follower:
    """Shows the entries of one run on stderr.

    The plan and the outputs are results and go to stdout; everything else goes to stderr.

    Args:
        folder: The run's folder; the texts of its plan and its outputs are there.
        quiet: Show nothing but questions (for `--json`).
        silent: Show the results, and no line of how the run goes.
        brief: Of a plan show what happens to which object, without its attributes.
        label: Its root, where the command follows several runs; every line begins with it, and no line is live.
    """

    def __init__(
        self, folder: Path, *, quiet: bool, brief: bool = False, silent: bool = False, label: str = ""
    ) -> None:
        self._folder = folder
        self._label = label
        self._quiet = quiet
        self._brief = brief
        self._silent = silent
        self._planned: PlanEntry | None = None
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet and not silent
        self._live = self._live and not label
        self._colour = view.colour_allowed(sys.stderr)
        self._counts = PlanCounts()
        self._applies_since: datetime | None = None
        self._under_way: dict[str, float] = {}
        self._now: Callable[[], str] | None = None
        self._began_s = time.monotonic()  # noqa: TID251 - a display's own stopwatch decides nothing

    def show(self, entry: Entry) -> None:
        """Show one entry. A reader that went away must not end the run: it goes on, unseen."""
        told = entry.told
        try:
            if isinstance(told, ApprovalEntry) or not self._quiet:
                self._show_told(told)
            if isinstance(told, PhaseEntry) and told.phase == "applying":
                self._applies_since = entry.at
            if isinstance(told, EndEntry):
                self._now = None
                self._clear()
                self._end(told, entry.at)
        except OSError:  # EPIPE of a pipe, EIO of a terminal that was closed
            view.forget_reader(sys.stderr)

    def _show_told(self, told: AnyEntry | UnknownEntry) -> None:
        match told:
            case BinaryEntry():
                self._line(f"run {told.run} · state {told.state} · {told.binary}", "2")
            case StandingEntry():
                self._standing(told)
            case GrantedEntry():
                self._now = None
                self._line(f"acquired the lock, token {told.token}")
            case PlanEntry() | PlanTextEntry() | OutputsEntry() | PrintedEntry():
                self._result(told)
            case ApprovalEntry():
                self._ask(told.question or "Apply exactly this plan?")
            case ResourceEntry():
                self._resource(told)
            case DiagnosticEntry():
                self._diagnostic(told)
            case PhaseEntry():
                self._phase(told)
            case RefreshEntry():
                self._status(f"refreshed {told.count}")
            case _:
                self._line_of(told)

    def _line_of(self, told: AnyEntry | UnknownEntry) -> None:
        """Say what takes one line; nothing of what only programs read."""
        match told:
            case InitEntry():
                self._line("initialising")
            case InterruptEntry():
                by = f"{told.by} cancelled the run: " if told.by else ""
                self._line(by + INTERRUPTS.get(told.action, told.action), "33")
            case RecoveryEntry():
                self._line(f"recovery: {told.text}")
            case NoteEntry():
                self._line(told.text)
            case OrphansEntry():
                self._orphans(told)
            case StateEntry():
                self._line(f"state {'written' if told.written else 'unchanged'}, serial {told.serial}", "2")
            case KeptEntry():
                self._line(f"kept  {told.file}  plan {_shown_digest(told.digest)}")
            case SavedPlanEntry():
                self._line(f"saved plan {_shown_digest(told.digest)}")
            case RetryEntry():
                self._line(f"{told.what}; beginning again with a fresh plan", "33")
            case _:
                pass

    def _orphans(self, told: OrphansEntry) -> None:
        """Name what no state holds, and how it is taken over."""
        count = len(told.orphans) + told.left_out
        self._line(_ORPHANS.get(told.when, "{count} in no state").format(count=amount(count, "object")), "33")
        for row in told.orphans[:_ORPHANS_SHOWN]:
            where = f", planned as {row.address}" if row.address and told.when != "plan" else ""
            made_by = f", made by run {row.run}" if told.when != "end" else ""
            self._line(f"  {row.text}{where}{made_by}", "33")
        if count > _ORPHANS_SHOWN:
            self._line(f"  … and {count - _ORPHANS_SHOWN} more")
        self._line(f"  take over: {told.next}", "33")

    def _printed(self, told: PrintedEntry) -> None:
        """Show a line of a command: a result, or why it failed."""
        if told.is_error:
            self._line(told.text)
        else:
            self._print(f"{one_line(told.text)}\n")

    def tick(self) -> None:
        """Bring the live line up to date: seconds pass also when nothing happens."""
        if self._live and self._now is not None:
            try:
                self._status(self._now())
            except OSError:
                view.forget_reader(sys.stderr)
                self._live = False

    def _end(self, told: EndEntry, at: datetime) -> None:
        """Say what an apply did; a failure is said by its error."""
        if told.exit != 0 or self._applies_since is None or self._quiet or self._planned is None:
            return
        made = self._counts
        imported = f"{made.imports} imported, " if made.imports else ""
        forgotten = f", {made.forget} forgotten" if made.forget else ""
        counts = f"{imported}{made.add} added, {made.change} changed, {made.remove} destroyed{forgotten}"
        took_s = (at - self._applies_since).total_seconds()
        self._line(f"applied: {counts}, in {view.duration(took_s)}", "1;32")

    def _line(self, text: str, code: str = "") -> None:
        if self._silent:
            return
        self._clear()
        before = f"{one_line(self._label)} | " if self._label else ""
        sys.stderr.write(before + self._paint(one_line(text), code) + "\n")
        sys.stderr.flush()

    def _status(self, text: str) -> None:
        if self._live:
            # A longer line would wrap, and only its last row could be cleared.
            shown = f"· {one_line(text)}"[: max(os.get_terminal_size(sys.stderr.fileno()).columns - 1, 1)]
            sys.stderr.write(f"{_CLEAR}{self._paint(shown, '2')}")
            sys.stderr.flush()

    def _clear(self) -> None:
        if self._live:
            sys.stderr.write(_CLEAR)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if code and self._colour else text

    def _standing(self, told: StandingEntry) -> None:
        self._now = lambda: standing_text(told, datetime.now(UTC))  # noqa: TID251 - a display's own clock decides nothing
        if self._live:
            self._status(self._now())
        else:
            self._line(self._now())

    def _result(self, told: PlanEntry | PlanTextEntry | OutputsEntry | PrintedEntry) -> None:
        match told:
            case PlanEntry():
                self._plan(told)
            case PlanTextEntry():
                self._plan_text(told)
            case OutputsEntry():
                self._outputs()
            case PrintedEntry():
                self._printed(told)

    def _plan(self, told: PlanEntry) -> None:
        self._planned, self._counts = told, told.counts
        self._line(plan_text(told), "1")
        if told.forecast:
            self._line(str(told.forecast.get("text", "")), "2")
        if self._brief:
            self._print(self._rows(told))

    def _plan_text(self, told: PlanTextEntry) -> None:
        """Print the plan as Terraform does; where that cannot be had, which objects it changes."""
        if told.why:
            self._line(f"the plan cannot be shown in full: {told.why}", "33")
        if self._brief:
            return
        if told.why or (text := self._kept(PLAN_TEXT)) is None:
            self._print(self._rows(self._planned))
        else:
            self._print(text)

    def _rows(self, told: PlanEntry | None) -> str:
        """Return every change of a plan, one line each."""
        if told is None:
            return ""
        rows = [f"  {_SYMBOLS.get(row.action, ('?',))[0]} {one_line(row.address)}" for row in told.resources]
        if told.left_out:
            rows.append(f"  … and {told.left_out} more: {command('runs', 'show', self._folder.name, '--plan')}")
        rows += [f"  ~ output {one_line(name)}" for name in told.outputs]
        return "".join(f"{row}\n" for row in rows)

    def _outputs(self) -> None:
        """Print the outputs as Terraform does after an apply."""
        if not self._brief and (kept := self._kept(OUTPUTS_JSON)) is not None:
            self._print(f"\nOutputs:\n\n{spell_outputs(read_json(kept.encode()))}")

    def _kept(self, name: str) -> str | None:
        try:
            return (self._folder / name).read_text(errors="replace", encoding="utf-8")
        except OSError:
            return None

    def _print(self, text: str) -> None:
        """Print a part of the result. Who reads the result may have gone, and the run goes on all the same."""
        self._clear()
        try:
            if self._label and text:
                view.heading(self._label)
            view.plan(text)
            view.flush()
        except OSError as error:
            view.forget_reader(sys.stdout)
            if error.errno in FULL:  # who reads a file that was cut off would take it for the whole
                view.note(f"not all of the result was written: {reason_of(error)}")

    def _ask(self, question: str) -> None:
        self._now = None
        # A person who is asked must have seen it, also where the result goes to a file.
        if (self._quiet or not sys.stdout.isatty()) and (plan := self._kept(PLAN_TEXT)) is not None:
            view.notes(plan)
        self._clear()
        view.ask(f"{self._label}: {question}" if self._label else question)

    def _resource(self, told: ResourceEntry) -> None:
        if told.stage == "start":
            self._under_way[told.address] = time.monotonic()  # noqa: TID251 - a display's own stopwatch
        else:
            self._under_way.pop(told.address, None)
            self._done(told)
        self._now = lambda: self._progress(told)
        self._status(self._now())

    def _done(self, told: ResourceEntry) -> None:
        symbol, code = _SYMBOLS.get(told.action, ("?", ""))
        if told.stage == "errored":
            self._line(f"  ✗ {told.address}", "31")
        else:
            self._line(f"  {symbol} {told.address}  {view.duration(told.elapsed_s or 0.0)}", code)

    def _progress(self, told: ResourceEntry) -> str:
        now_s = time.monotonic()  # noqa: TID251 - a display's own stopwatch
        minutes = max(now_s - self._began_s, 1.0) / 60
        names = [f"{name} {view.duration(now_s - since)}" for name, since in list(self._under_way.items())[:_UNDER_WAY]]
        rate = f"{told.done / minutes:.0f}/min" if told.done else ""
        return f"{told.done}/{told.total} {rate}  {', '.join(names)}"

    def _diagnostic(self, told: DiagnosticEntry) -> None:
        code = "31" if told.severity == "error" else "33"
        place = f" ({told.file}:{told.line})" if told.file else ""
        where = f" [{told.address}]" if told.address else ""
        self._line(f"{told.severity}: {told.summary}{where}{place}", code)
        if told.severity == "error" and told.detail:
            for line in told.detail.strip().splitlines():
                self._line(f"  | {line}")

    def _phase(self, told: PhaseEntry) -> None:
        self._now = None
        if told.phase in {"planning", "applying"}:
            self._began_s = time.monotonic()  # noqa: TID251 - a display's own stopwatch
            self._status(told.phase)


INTERRUPTS = {
    "leave": "leaving the queue; nothing was started",
    "stop": "stopping: waiting until Terraform or its provider has ended what is in work, and the state is saved",
    "warn": (
        f"still waiting for Terraform. Ctrl-C, or runs cancel, once more {STANDS_S:.0f} s from now or later kills it: "
        "what its running operations created would be in no state"
    ),
    "kill": "killing Terraform",
    "decline": "declining the plan",
    "ignore": "the run is stopping already",
}


def _shown_digest(digest: str) -> str:
    from interlock.run.planned_files import short_digest

    return short_digest(digest)


def standing_text(told: StandingEntry, now: datetime) -> str:
    """Spell a place in the queue: position, who holds it since when, expected start."""
    parts = [f"queued, position {told.position}"]
    if told.held:
        parts.append(f"held back: {told.held}")
    if told.frozen:
        parts.append(f"the queue is paused: {told.frozen}")
    if told.holder is not None:
        since = _instant(told.since)
        held = f" for {view.duration(max((now - since).total_seconds(), 0.0))}" if since is not None else ""
        parts.append(f"held by {told.holder.who or 'somebody unknown'}{held}")
    if (expected_s := told.expected_s) is not None:
        parts.append(f"expected start in {view.duration(expected_s)}" if expected_s > 0 else "longer than usual")
    return " · ".join(parts)


def _instant(value: str | None) -> datetime | None:
    """Read an instant with its zone; None for anything else: the lock of a stranger need not say since when."""
    try:
        found = datetime.fromisoformat(value) if value is not None else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def plan_text(told: PlanEntry) -> str:
    """Spell a plan's counts."""
    counts = told.counts
    if told.empty:
        return "no changes"
    imports = f"{counts.imports} to import, " if counts.imports else ""
    forgotten = f", {counts.forget} to forget" if counts.forget else ""
    return f"plan: {imports}{counts.add} to add, {counts.change} to change, {counts.remove} to destroy{forgotten}"
