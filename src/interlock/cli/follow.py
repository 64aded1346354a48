"""What a person sees of a run while it goes: plain lines, and on a terminal one live line below them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from interlock.cli import view
from interlock.foreign_text import one_line
from interlock.run.interrupts import STANDS_S
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
_SHOWN = 60  # resources of a plan shown without asking for all
_UNDER_WAY = 3  # resources named in the live line
_CLEAR = "\r\x1b[2K"


class Follower:
    """Shows the entries of one run on stderr.

    Args:
        folder: The run's folder; its plan text is shown before an approval.
        quiet: Show nothing but questions (for `--json`).
    """

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        self._folder = folder
        self._quiet = quiet
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet
        self._colour = view.colour_allowed(sys.stderr)
        self._counts: Mapping[str, int] = {}
        self._applies_since: datetime | None = None
        self._under_way: dict[str, float] = {}
        self._now: Callable[[], str] | None = None
        self._began_s = time.monotonic()  # noqa: TID251 - a display's own stopwatch decides nothing
        self._show: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "binary": self._binary,
            "standing": self._standing,
            "granted": self._granted,
            "init": lambda _: self._line("initialising"),
            "plan": self._plan,
            "approval": lambda _: self._ask(),
            "refresh": lambda facts: self._status(f"refreshed {facts['count']}"),
            "resource": self._resource,
            "diagnostic": self._diagnostic,
            "interrupt": self._interrupt,
            "recovery": lambda facts: self._line(f"recovery: {facts.get('text', '')}"),
            "note": lambda facts: self._line(str(facts["text"])),
            "state": self._state,
            "phase": self._phase,
            "kept": lambda facts: self._line(f"kept  {facts['file']}  plan {_shown_digest(facts)}"),
            "saved-plan": lambda facts: self._line(f"saved plan {_shown_digest(facts)}"),
            "retry": lambda facts: self._line(f"{facts['what']}; beginning again with a fresh plan", "33"),
        }

    def show(self, entry: Entry) -> None:
        """Show one entry. A reader that went away must not end the run: it goes on, unseen."""
        try:
            if entry.kind == "approval" or not self._quiet:
                self._show.get(entry.kind, _nothing)(entry.facts)
            if entry.kind == "phase" and entry.facts["phase"] == "applying":
                self._applies_since = entry.at
            if entry.kind == "end":
                self._now = None
                self._clear()
                self._end(entry)
        except OSError:  # EPIPE of a pipe, EIO of a terminal that was closed
            view.forget_reader(sys.stderr)

    def tick(self) -> None:
        """Bring the live line up to date: seconds pass also when nothing happens."""
        if self._live and self._now is not None:
            try:
                self._status(self._now())
            except OSError:
                view.forget_reader(sys.stderr)
                self._live = False

    def _end(self, entry: Entry) -> None:
        """Say what an apply did; a failure is said by its error."""
        if entry.facts["exit"] != 0 or self._applies_since is None or self._quiet:
            return
        words = {"add": "added", "change": "changed", "remove": "destroyed"}
        counts = ", ".join(f"{self._counts.get(name, 0)} {word}" for name, word in words.items())
        took_s = (entry.at - self._applies_since).total_seconds()
        self._line(f"applied: {counts}, in {view.duration(took_s)}", "1;32")

    def _line(self, text: str, code: str = "") -> None:
        self._clear()
        sys.stderr.write(self._paint(one_line(text), code) + "\n")
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

    def _binary(self, facts: Mapping[str, Any]) -> None:
        self._line(f"run {facts['run']} · state {facts['state']} · {facts['binary']}", "2")

    def _standing(self, facts: Mapping[str, Any]) -> None:
        self._now = lambda: standing_text(facts, datetime.now(UTC))  # noqa: TID251 - a display's own clock decides nothing
        if self._live:
            self._status(self._now())
        else:
            self._line(self._now())

    def _granted(self, facts: Mapping[str, Any]) -> None:
        self._now = None
        self._line(f"has the state, token {facts['token']}")

    def _plan(self, facts: Mapping[str, Any]) -> None:
        self._counts = facts["counts"]
        for row in facts["resources"][:_SHOWN]:
            symbol, code = _SYMBOLS.get(row["action"], ("?", ""))
            self._line(f"  {symbol} {row['address']}", code)
        rest = len(facts["resources"]) - _SHOWN + facts["left_out"]
        if rest > 0:
            self._line(f"  … and {rest} more")
        for name in facts["outputs"]:
            self._line(f"  ~ output {name}", "33")
        self._line(plan_text(facts), "1")
        if forecast := facts.get("forecast"):
            self._line(str(forecast.get("text", "")), "2")

    def _ask(self) -> None:
        self._now = None
        plan = self._folder / "plan.txt"
        if plan.exists():
            self._clear()
            view.notes(plan.read_text(errors="replace"))
        view.ask("Apply exactly this plan?")

    def _resource(self, facts: Mapping[str, Any]) -> None:
        address = facts["address"]
        if facts["stage"] == "start":
            self._under_way[address] = time.monotonic()  # noqa: TID251 - a display's own stopwatch
        else:
            self._under_way.pop(address, None)
            self._done(facts)
        self._now = lambda: self._progress(facts)
        self._status(self._now())

    def _done(self, facts: Mapping[str, Any]) -> None:
        symbol, code = _SYMBOLS.get(facts["action"], ("?", ""))
        if facts["stage"] == "errored":
            self._line(f"  ✗ {facts['address']}", "31")
        else:
            self._line(f"  {symbol} {facts['address']}  {view.duration(facts.get('elapsed_s', 0.0))}", code)

    def _progress(self, facts: Mapping[str, Any]) -> str:
        now_s = time.monotonic()  # noqa: TID251 - a display's own stopwatch
        minutes = max(now_s - self._began_s, 1.0) / 60
        names = [f"{name} {view.duration(now_s - since)}" for name, since in list(self._under_way.items())[:_UNDER_WAY]]
        rate = f"{facts['done'] / minutes:.0f}/min" if facts["done"] else ""
        return f"{facts['done']}/{facts['total']} {rate}  {', '.join(names)}"

    def _diagnostic(self, facts: Mapping[str, Any]) -> None:
        code = "31" if facts["severity"] == "error" else "33"
        place = f" ({facts['file']}:{facts['line']})" if facts["file"] else ""
        where = f" [{facts['address']}]" if facts["address"] else ""
        self._line(f"{facts['severity']}: {facts['summary']}{where}{place}", code)
        if facts["severity"] == "error" and facts["detail"]:
            for line in facts["detail"].strip().splitlines():
                self._line(f"  | {line}")

    def _interrupt(self, facts: Mapping[str, Any]) -> None:
        self._line(INTERRUPTS.get(facts["action"], facts["action"]), "33")

    def _state(self, facts: Mapping[str, Any]) -> None:
        said = "written" if facts["written"] else "unchanged"
        self._line(f"state {said}, serial {facts['serial']}", "2")

    def _phase(self, facts: Mapping[str, Any]) -> None:
        self._now = None
        if facts["phase"] in {"planning", "applying"}:
            self._began_s = time.monotonic()  # noqa: TID251 - a display's own stopwatch
            self._status(facts["phase"])


INTERRUPTS = {
    "leave": "leaving the queue; nothing was started",
    "stop": "stopping: waiting for Terraform to finish its current operations and save the state",
    "warn": (
        f"still waiting for Terraform. Ctrl-C, or runs cancel, once more {STANDS_S:.0f} s from now or later kills it: "
        "what its running operations created would be lost"
    ),
    "kill": "killing Terraform",
    "decline": "declining the plan",
    "ignore": "the run is stopping already",
}


def _shown_digest(facts: Mapping[str, Any]) -> str:
    from interlock.run.planned_files import short_digest

    return short_digest(str(facts["digest"]))


def _nothing(_facts: Mapping[str, Any]) -> None:
    """Entries that only programs read."""


def standing_text(facts: Mapping[str, Any], now: datetime) -> str:
    """Spell a place in the queue: position, who holds it since when, expected start."""
    parts = [f"waiting, position {facts['position']}"]
    if facts.get("frozen"):
        parts.append(f"the queue is paused: {facts['frozen']}")
    if holder := facts.get("holder"):
        since = _instant(facts.get("since"))
        held = f" for {view.duration(max((now - since).total_seconds(), 0.0))}" if since is not None else ""
        parts.append(f"held by {holder.get('who') or 'somebody unknown'}{held}")
    if (expected_s := facts.get("expected_s")) is not None:
        parts.append(f"expected start in {view.duration(expected_s)}" if expected_s > 0 else "longer than usual")
    return " · ".join(parts)


def _instant(value: object) -> datetime | None:
    """Read an instant with its zone; None for anything else: the lock of a stranger need not say since when."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def plan_text(facts: Mapping[str, Any]) -> str:
    """Spell a plan's counts."""
    counts = facts["counts"]
    if facts["empty"]:
        return "no changes"
    return f"plan: {counts['add']} to add, {counts['change']} to change, {counts['remove']} to destroy"
