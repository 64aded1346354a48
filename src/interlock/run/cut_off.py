"""How an apply is told that ended in the middle of its operations: what may exist without being in the state.

Knows: the outcome of the command. Knows nothing of states: what could be saved was saved before.
"""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from pathlib import Path

import msgspec

from interlock.bounded import decode_json
from interlock.errors import LeaseLost, StateNotSaved, command
from interlock.late_pattern import late
from interlock.run.stage import Outcome
from interlock.state import parse_document
from interlock.terraform.events import Unparsed
from interlock.terraform.interruption import MAX_NAMED

_JOURNAL = "journal.jsonl"  # quotes what Terraform said; the trace itself is in Terraform's own output
_TRACE = late(r"Stack trace from the \S+ plugin|(?:^|\[ERROR\] provider\.\S+: )(?:panic|fatal error): ")
_STACK_TRACE = late(r"Stack trace from the \S+ plugin|plugin crashed!|^panic: ", re.MULTILINE)


def find_cut(outcome: Outcome, *, state: str, directory: str, run_folder: Path) -> StateNotSaved | None:
    """Return the failure of a command that was cut off in the middle of a change; None when it was not.

    Args:
        outcome: How Terraform ended.
        state: State name.
        directory: The root module.
        run_folder: The run's folder, where the whole output is.
    """
    what = _what(outcome)
    if not what or not outcome.changed_something:
        return None
    why = "; ".join(part for part in (outcome.interruption.sentence(), _completed(outcome)) if part)
    return StateNotSaved(
        what,
        why=why or "an operation was under way and may have taken effect",
        fix=how_to_look(state, directory, run_folder),
        in_flight=outcome.interruption.in_flight,
    )


def drop_saved(unsaved: dict[str, str], stored: bytes | None) -> None:
    """Take out of `unsaved` (address to id) what the stored state has under that id.

    Raises:
        StateInvalid: The stored state cannot be read.
    """
    objects = parse_document(stored).objects() if stored else {}
    for key, raw in objects.items():
        address = str(key.address())
        if not key.deposed and unsaved.get(address) and _id_of(raw) == unsaved[address]:
            del unsaved[address]


def _id_of(raw: msgspec.Raw) -> str | None:
    try:
        return decode_json(raw, type=_Instance).attributes.id
    except msgspec.MsgspecError:
        return None


class _Attributes(msgspec.Struct):
    id: str | None = None


class _Instance(msgspec.Struct):
    attributes: _Attributes = msgspec.field(default_factory=_Attributes)


def find_trace(run_folder: Path) -> Path | None:
    """Return the newest file of a run's output that has the stack trace of a crash; None when none has."""
    files = [path for suffix in ("jsonl", "err") for path in run_folder.glob(f"*.{suffix}") if path.name != _JOURNAL]
    traced = [path for path in files if _has_trace(path)]
    return max(traced, key=lambda path: path.stat().st_mtime, default=None)


def _has_trace(path: Path) -> bool:
    with suppress(OSError), path.open(errors="replace", encoding="utf-8") as file:
        return any(_TRACE.search(line) for line in file)
    return False


def also_cut(lost: LeaseLost, cut: StateNotSaved) -> LeaseLost:
    """Return the loss of the lease, which decides the exit status, with what was cut off besides."""
    why = "; ".join(part for part in (lost.why, cut.what, cut.why) if part)
    return LeaseLost(lost.what, why=why, fix=lost.fix, in_flight=cut.facts["in_flight"])


def how_to_look(state: str, directory: str, run_folder: Path) -> str:
    """Return the command that shows what is missing from the state, and where the details are."""
    look = command("plan", "--state", state, directory)
    return f"{look}    import what exists already    details: {run_folder / 'apply.jsonl'}"


def _what(outcome: Outcome) -> str:
    if outcome.ended.killed_by is not None:
        by = name_signal(outcome.ended.killed_by)
        return f"Terraform was killed ({by}) and what it did since its last save is not in the state"
    if outcome.interruption.is_cut:
        return "Terraform was signalled a second time and ended without waiting for its operations"
    if outcome.interruption.is_provider_gone and not _has_stack_trace(outcome):
        return "the provider ended in the middle of its operations without a crash of its own: it was killed"
    return ""


def name_signal(number: int) -> str:
    """Return a signal's name, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _completed(outcome: Outcome) -> str:
    """Name what a killed Terraform had completed; a living one saved that when it was asked to stop."""
    if outcome.ended.killed_by is None or not outcome.made:
        return ""
    named = [f"{address} (id {name})" for address, name in list(outcome.made.items())[:MAX_NAMED]]
    return f"operations that had completed: {', '.join(named)}"


def _has_stack_trace(outcome: Outcome) -> bool:
    texts = (outcome.text, *(event.message for event in outcome.events if isinstance(event, Unparsed)))
    return any(_STACK_TRACE.search(text) for text in texts)
