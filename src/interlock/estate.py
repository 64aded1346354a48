"""What dead runs of this machine left behind, and how it is saved; see `interlock.recovery.breaker.Estate`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from interlock import alive
from interlock.clock import Clock
from interlock.coordinator.archive import StateArchive, Writer
from interlock.errors import InterlockError, StateNotSaved, Terminated, command
from interlock.host import Life, life_of
from interlock.lock import Holder
from interlock.recovery.witnesses.process import Recorded
from interlock.run.leaving import is_left, read_allowed
from interlock.run.settle import SAVE_FAILED, completed
from interlock.run.stage import EventFile
from interlock.run.summary import SUMMARY, find_summary, write_summary
from interlock.run.transcript import Entry, append
from interlock.run.workspace import ERRORED
from interlock.state import VersionKind
from interlock.terraform import gather_plan
from interlock.terraform.events import AnyEvent, Apply, ChangeSummary, Diagnostic, Severity, Stage

_ASKED = "asked-to-stop"  # an empty file that says: somebody sent the one SIGINT
_SALVAGE = "salvage.lock"  # held by the one process that saves what a run left
_SALVAGE_S = 0.05
SAVED = "saved"  # an empty file that says: what the run could not save was stored
_SAID = 5  # objects named in one sentence
_NAMED = 20  # objects named in a message; the journal has all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEstate:
    """The runs of one home.

    Attributes:
        runs: The folder that holds one folder a run.
        archive: Where states are kept.
        clock: For the instants of entries.
    """

    runs: Path
    archive: StateArchive
    clock: Clock

    def recorded(self, run: str) -> Recorded:
        """See `Estate.recorded`."""
        found = find_recorded(self.runs / run) if run else None
        return found if found is not None else Recorded(source=str(self.runs / run / SUMMARY))

    def ask_to_stop(self, run: str) -> str:
        """See `Estate.ask_to_stop`. A second SIGINT would make Terraform exit at once, so a marker allows only one."""
        folder = self.runs / run
        summary = find_summary(folder) if run else None
        supervisor = summary.processes.get("supervisor") if summary else None
        terraform = summary.processes.get("terraform") if summary else None
        if supervisor is None or terraform is None or life_of(supervisor)[0] is not Life.GONE:
            return ""
        if life_of(terraform)[0] is not Life.ALIVE or not _mark(folder / _ASKED):
            return ""
        with suppress(ProcessLookupError):
            os.kill(terraform.pid, signal.SIGINT)
        return (
            f"asked Terraform (process {terraform.pid}), which nobody supervises any more, to stop and leave its state"
        )

    async def salvage(self, state: str, holder: Holder) -> str:
        """See `Estate.salvage`. Deletions are bounded by the dead run's own plan, as they were for its writes."""
        folder = self.runs / holder.run
        if not holder.run or not folder.is_dir():
            return "it left no unsaved state; its lock was released"
        async with self._alone(folder):
            return await self._save(state, holder, folder)

    @asynccontextmanager
    async def _alone(self, folder: Path) -> AsyncIterator[None]:
        """Wait until no other run salvages the same one."""
        handle = os.open(folder / _SALVAGE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _locked(handle):
                await self.clock.sleep(_SALVAGE_S)
            yield
        finally:
            os.close(handle)

    async def _save(self, state: str, holder: Holder, folder: Path) -> str:
        kept = take_unsaved(folder)
        if kept is None:
            return "it left no unsaved state; its lock was released"
        writer = Writer(
            who=holder.who,
            run=holder.run,
            ticket=holder.ticket,
            token=holder.token,
            allowed_deletions=await asyncio.to_thread(planned_deletions, folder),
            keeps_suspect=True,
        )
        body = await asyncio.to_thread(kept.read_bytes)
        body = completed(body, holder.run)
        note = "errored.tfstate of a run whose supervisor was killed"
        written = await self.archive.write(state, body, writer=writer, kind=VersionKind.PUSH, note=note)
        kept.unlink()
        (folder / SAVED).touch()
        suspect = written.version.suspect
        held = f", suspect: it lacks {', '.join(suspect[:_SAID])}" if suspect else ""
        return f"the state it could not save was stored as serial {written.version.serial}{held}; its lock was released"

    def close(self, holder: Holder) -> None:
        """See `Estate.close`."""
        folder = self.runs / holder.run
        if holder.run and folder.is_dir():
            close_run(folder, outcome_of(folder), self.clock.now())


def find_recorded(folder: Path) -> Recorded | None:
    """Return what the folder of a run says of its processes; None when there is no record of it."""
    summary = find_summary(folder)
    if summary is None:
        return None
    return Recorded(
        processes=summary.processes,
        source=str(folder / SUMMARY),
        gap=summary.gap,
        kernel=alive.look(folder),
    )


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mark(path: Path) -> bool:
    """Create an empty file; False when somebody else did."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


def take_unsaved(folder: Path) -> Path | None:
    """Return the state that the run could not save, moved to its own folder; None when there is none."""
    kept = folder / ERRORED
    summary = find_summary(folder)
    left = Path(summary.folder) / ERRORED if summary and summary.folder else None
    if left is not None and is_left(left, folder):
        shutil.move(left, kept)
        kept.chmod(0o600)
    return kept if kept.is_file() else None


def planned_deletions(folder: Path) -> frozenset[str]:
    """Return what the run's plan, and its refresh, allowed to disappear; nothing when it never began to apply."""
    allowed = read_allowed(folder)
    if allowed is not None:
        return allowed
    output = folder / "plan.jsonl"  # of a run of an earlier Interlock
    return gather_plan(EventFile(output).new(at_end=True)).may_delete if output.exists() else frozenset()


def outcome_of(folder: Path) -> InterlockError:
    """Say how a run ended whose supervisor was killed: with its state saved, or not."""
    kept = folder / ERRORED
    if kept.exists():
        summary = find_summary(folder)
        named = ("--state", summary.state) if summary else ()
        return StateNotSaved(
            "the run was killed and its newest state could not be stored",
            why=f"the state is kept in {kept}",
            fix=f"{command('state', 'verify', kept)}    then: {command('state', 'push', *named, kept)}",
        )
    output = folder / "apply.jsonl"
    events = EventFile(output).new(at_end=True) if output.exists() else []
    applied = [event for event in events if isinstance(event, Apply)]
    if not applied or (folder / SAVED).exists() or _ran_its_course(events):
        why = "its state is stored" if applied else "it had changed nothing"
        return Terminated("the run's supervisor was killed", why=why, fix="start a new run")
    made = [f"{e.resource.address} (id {e.id})" for e in applied if e.stage is Stage.COMPLETE and e.id]
    return StateNotSaved(
        "the run was killed, and what it did since its last save is not in the state",
        why=f"operations that had completed: {', '.join(made[:_NAMED])}" if made else "an operation was under way",
        fix=f"make a new plan and import what exists    details: {output}",
    )


def _ran_its_course(events: list[AnyEvent]) -> bool:
    """Say whether Terraform came to its own end and could save its state on the way."""
    errors = [e.summary for e in events if isinstance(e, Diagnostic) and e.severity is Severity.ERROR]
    if any(summary in SAVE_FAILED for summary in errors):
        return False
    return bool(errors) or any(isinstance(event, ChangeSummary) for event in events)


def close_run(folder: Path, error: InterlockError, now: datetime) -> Entry:
    """Write the end of a run that could not write it itself; return the entry."""
    summary = find_summary(folder)
    error.naming(summary.state if summary is not None else ".")
    facts = {
        "exit": error.exit_status,
        "code": error.code,
        "what": error.what,
        "why": error.why,
        "next": error.fix,
    }
    entry = Entry(at=now, kind="end", facts=facts)
    append(folder, entry)
    for name in ("plan.tfplan", "show.jsonl"):  # they hold secrets in clear, and nobody can apply them any more
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "data", ignore_errors=True)
    if summary is not None:
        summary.phase, summary.ended_at, summary.exit = "ended", now, error.exit_status
        summary.code, summary.message = error.code, error.what
        write_summary(folder, summary)
    return entry
