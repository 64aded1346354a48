"""What dead runs of this machine left behind, and how it is saved; see `interlock.recovery.breaker.Leftovers`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from interlock.clock import Clock
from interlock.coordinator.archive import Writer
from interlock.coordinator.archive_interface import Archive
from interlock.creations.book import CreationBook
from interlock.creations.creation import Creation, spell_some
from interlock.creations.holdings import find_holdings
from interlock.errors import USUAL_PROGRAM, InterlockError, StateNotSaved, Terminated, command
from interlock.foreign_text import shell_word
from interlock.host import Life, ProcessName, alive, ancestors, life_of, name_process
from interlock.lock import Holder
from interlock.recovery.known import Known, find_newer
from interlock.recovery.witnesses.process import Recorded
from interlock.recovery.witnesses.running import Role, read_process
from interlock.run.cut_off import how_to_look
from interlock.run.entries import EndEntry
from interlock.run.fence import Fence
from interlock.run.given_values import remove_given
from interlock.run.leaving import clear_space, is_left, read_allowed, take_from_space
from interlock.run.order import ORDER_FILE, decode
from interlock.run.orphans import take_over, with_orphans
from interlock.run.settle import SAVE_FAILED, completed, following
from interlock.run.stage import EventFile
from interlock.run.stop_marker import has_marker
from interlock.run.stopping import Asked, Listener, ask_once
from interlock.run.summary import SUMMARY, find_summary, recent, write_summary
from interlock.run.tainted import find_tainted, tainted_text
from interlock.run.transcript import Entry, append
from interlock.run.workspace import ERRORED
from interlock.site.hold_record import find_hold, forget_hold
from interlock.state import VersionKind
from interlock.terraform.events import AnyEvent, Apply, ChangeSummary, Diagnostic, Severity, Stage, Version
from interlock.terraform.interruption import read_interruption
from interlock.terraform.plan import gather_plan

_ASKED_TEXTS = {
    Asked.SENT: "asked Terraform (process {pid}), which nobody supervises any more, to stop and leave its state",
    Asked.UNMARKED: (
        "Terraform (process {pid}) is not asked to stop: the mark that keeps others from asking it twice cannot be "
        "written; it continues until it ends"
    ),
}
_RUNS_READ = 40  # newest runs of a state whose records are asked what was stored; each is a small file
_VERSIONS_READ = 1000  # newest versions among which that is looked for before a state is called lost
_SALVAGE = "salvage.lock"  # held by the one process that saves what a run left
_SALVAGE_S = 0.05
SAVED = "saved"  # an empty file that says: what the run could not save was stored
_IN_CLEAR = (
    *("plan.tfplan", "plan.tfplan.approved", "saved.tfplan", "shown.tfplan"),
    *("show.jsonl", "told.jsonl", "rendered.jsonl"),
)
_SAID = 5  # objects named in one sentence
_NAMED = 20  # objects named in a message; the journal has all of them


class OwnLeftovers(Struct, frozen=True, kw_only=True):
    """The runs of one home.

    Attributes:
        runs: The folder that holds one folder a run.
        archive: Where states are kept.
        clock: For the instants of entries.
        fence: Refuses what providers of dead runs still call.
        creations: What runs made that no state is known to hold; None where nobody asks.
    """

    runs: Path
    archive: Archive
    clock: Clock
    fence: Fence = msgspec.field(default_factory=Fence)
    creations: CreationBook | None = None

    def recorded(self, run: str, ticket: str = "") -> Recorded:
        """See `Leftovers.recorded`."""
        if not run and ticket and (hold := find_hold(self.runs.parent, ticket)) is not None:
            return Recorded(processes={"interlock": hold[1]}, source=str(hold[0]))
        found = find_recorded(self.runs / run) if run else None
        return found if found is not None else Recorded(source=str(self.runs / run / SUMMARY))

    async def ask_to_stop(self, run: str) -> str:
        """See `Leftovers.ask_to_stop`. A second signal makes Terraform exit at once: `interlock.run.stopping`."""
        folder = self.runs / run
        summary = find_summary(folder) if run else None
        supervisor = summary.processes.get("supervisor") if summary else None
        has_left = summary is not None and summary.told_end
        if supervisor is None or not (has_left or life_of(supervisor)[0] is Life.GONE):
            return ""
        terraform = summary.processes.get("terraform") if summary else None
        if terraform is None or life_of(terraform)[0] is Life.GONE:
            terraform = await asyncio.to_thread(find_unwritten, folder)
        if terraform is None or life_of(terraform)[0] is not Life.ALIVE:
            return ""
        await self.fence.stand(run, summary.gateway_ports if summary else ())
        if has_marker(folder, terraform):
            return ""
        asked = await ask_once(
            terraform, folder=folder, is_stopping=Listener(folder).is_stopping, by="recovery", clock=self.clock
        )
        return _ASKED_TEXTS.get(asked, "").format(pid=terraform.pid)

    async def salvage(self, state: str, holder: Holder) -> str:
        """See `Leftovers.salvage`. Deletions are bounded by the dead run's own plan, as they were for its writes."""
        folder = self._folder_of(state, holder)
        if folder is None:
            return "it left no unsaved state; its lock was released"
        async with self._alone(folder):
            saved = await self._save(state, holder, folder)
            return f"{saved}{await self._name_left(state, folder)}"

    def _folder_of(self, state: str, holder: Holder) -> Path | None:
        """Return the folder of a holder's run; None where this machine has no such run of that state.

        Which run it is, a holder says by itself: by the id of another state's it would get that state's unsaved bytes.
        """
        folder = self.runs / holder.run
        if not holder.run or not folder.is_dir():
            return None
        summary = find_summary(folder)
        return folder if summary is None or summary.state == state else None

    async def _name_left(self, state: str, folder: Path) -> str:
        """Say, now that it is saved, what the state holds as tainted and what the run made that it does not hold."""
        try:
            left = await self._find_orphans(state, folder.name)
            tainted = find_tainted(await self._stored(state)) if is_applied(folder) else []
        except InterlockError:
            return ""  # `interlock state verify` and `recover --orphans` say why
        told = f"; {tainted_text(tainted, {}, state=state, program=program_of_run(folder))}" if tainted else ""
        return f"{told}{self._name_orphans(state, folder, left)}"

    def _name_orphans(self, state: str, folder: Path, left: list[Creation]) -> str:
        summary = find_summary(folder)
        if summary is not None:
            summary.orphans = len(left)
            write_summary(folder, summary)
        return f"; made by it and in no state: {spell_some(left)}; {take_over(state)}" if left else ""

    async def _find_orphans(self, state: str, run: str) -> list[Creation]:
        made = await self.creations.of_run(run) if self.creations is not None else []
        holdings = find_holdings(await self._stored(state)) if made else None
        if self.creations is None or holdings is None:
            return []
        held = [each for each in made if holdings.holds(each)]
        await self.creations.strike(held)
        return [each for each in made if each not in held]

    async def _stored(self, state: str) -> bytes | None:
        """Return the current state; None when there is none."""
        current = await self.archive.current(state)
        return None if current is None else current[1]

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
            return await asyncio.to_thread(left_nothing, folder)
        writer = Writer(
            who=holder.who,
            run=holder.run,
            ticket=holder.ticket,
            token=holder.token,
            allowed_deletions=await asyncio.to_thread(planned_deletions, folder),
            keeps_suspect=True,
        )
        body = await asyncio.to_thread(kept.read_bytes)
        body = following(completed(body, holder.run), await self._stored_by(state, holder))
        note = "errored.tfstate of a run whose supervisor was killed"
        written = await self.archive.write(state, body, writer=writer, kind=VersionKind.PUSH, note=note)
        kept.unlink()
        (folder / SAVED).touch()
        suspect = written.version.suspect
        held = f", suspect: it lacks {', '.join(suspect[:_SAID])}" if suspect else ""
        return f"the state it could not save was stored as serial {written.version.serial}{held}; its lock was released"

    async def find_lost(self, state: str) -> Known | None:
        """Return what a run saw stored and is not a version any more, as after an older database replaced it."""
        known = await asyncio.to_thread(known_of_runs, self.runs, state)
        if not known:
            return None
        latest = await self.archive.history(state, limit=1)
        lineage, serial, at = (latest[0].lineage, latest[0].serial, latest[0].written_at) if latest else ("", 0, None)
        newer = partial(find_newer, known, lineage=lineage, serial=serial, at=at)
        if newer(digests=frozenset()) is None:
            return None
        versions = await self.archive.history(state, limit=_VERSIONS_READ)
        return newer(digests=frozenset(version.digest for version in versions))

    async def _stored_by(self, state: str, holder: Holder) -> bytes | None:
        """Return the current state, when this grant stored it."""
        current = await self.archive.current(state)
        is_its = current is not None and (current[0].run, current[0].token) == (holder.run, holder.token)
        return current[1] if current is not None and is_its else None

    def close(self, state: str, holder: Holder) -> None:
        """See `Leftovers.close`."""
        self.fence.leave()
        folder = self._folder_of(state, holder)
        if not holder.run:
            forget_hold(self.runs.parent, holder.ticket)
        elif folder is not None and not has_told_end(folder):  # its own word of its end stands
            close_run(folder, outcome_of(folder), self.clock.now())


def has_told_end(folder: Path) -> bool:
    """Say whether a run's supervisor told the run's end itself."""
    summary = find_summary(folder)
    return summary is not None and summary.told_end


def is_applied(folder: Path) -> bool:
    """Say whether a run's Terraform has begun to apply."""
    return (folder / "apply.jsonl").exists()


def program_of_run(folder: Path) -> str:
    """Return how a person starts the Terraform of a run, as a shell reads it: as it was named, or as it called itself.

    Args:
        folder: The run's folder.
    """
    try:
        named = decode((folder / ORDER_FILE).read_bytes()).terraform
    except (OSError, msgspec.MsgspecError):
        named = None
    if named:
        return shell_word(named)
    output = folder / "apply.jsonl"
    events = EventFile(output).new(at_end=True) if output.exists() else []
    return next((event.product for event in events if isinstance(event, Version)), USUAL_PROGRAM)


def known_of_runs(runs: Path, state: str, store: str | None = None) -> list[Known]:
    """Return what runs of this machine saw stored.

    Args:
        runs: The folder of our runs.
        state: State name.
        store: Which of several stores that may have a state of this name; None where there is one.
    """
    return [
        Known(lineage=seen.lineage, serial=seen.serial, digest=seen.digest, at=seen.at, source=f"run {summary.run}")
        for summary in recent(runs, limit=_RUNS_READ, state=state)
        if (seen := summary.seen) is not None and (store is None or summary.store in (None, store))
    ]


def find_unwritten(folder: Path) -> ProcessName | None:
    """Find a run's Terraform by the lock file that it inherited: its supervisor died before writing it down.

    Only the outermost: a command of a provisioner may be a Terraform too. None when there is not exactly one.
    """
    found = {pid: one for pid in alive.holders(folder) if (one := read_process(pid)) and one.role is Role.TERRAFORM}
    outermost = [pid for pid in found if not any(above in found for above in ancestors(pid))]
    return name_process(outermost[0]) if len(outermost) == 1 else None


def find_recorded(folder: Path) -> Recorded | None:
    """Return what the folder of a run says of its processes; None when there is no record of it."""
    summary = find_summary(folder)
    if summary is None:
        return None
    return Recorded(
        processes=summary.processes,
        source=str(folder / SUMMARY),
        gap=summary.gap,
        told_end=summary.told_end,
        kernel=alive.look(folder),
    )


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_unsaved(folder: Path) -> Path | None:
    """Return the state that the run could not save, moved to its own folder; None when there is none."""
    kept = folder / ERRORED
    summary = find_summary(folder)
    left = Path(summary.folder) / ERRORED if summary and summary.folder else None
    if left is None or not is_left(left, folder):
        left = take_from_space(folder)
    if left is not None:
        shutil.move(left, kept)
        kept.chmod(0o600)
    clear_space(folder)
    return kept if kept.is_file() else None


def planned_deletions(folder: Path) -> frozenset[str]:
    """Return what the run's plan, and its refresh, allowed to disappear; nothing when it never began to apply."""
    allowed = read_allowed(folder)
    if allowed is not None:
        return allowed
    output = folder / "plan.jsonl"  # of a run of an earlier Interlock
    return gather_plan(EventFile(output).new(at_end=True)).may_delete if output.exists() else frozenset()


def outcome_of(folder: Path) -> InterlockError:
    """Say how a run ended whose supervisor was killed: with its state saved, or not, and with objects in no state."""
    error = _saved_or_not(folder)
    summary = find_summary(folder)
    if summary is not None and summary.orphans:
        with_orphans(error, state=summary.state, repeats=False)
    return error


def _saved_or_not(folder: Path) -> InterlockError:
    kept = folder / ERRORED
    if kept.exists():
        summary = find_summary(folder)
        named = ("--state", summary.state) if summary else ()
        return StateNotSaved(
            "the run was killed and its newest state could not be stored",
            why=f"the state is kept in {kept}",
            fix=f"{command('state', 'verify', kept)}    then: {command('state', 'push', *named, kept)}",
        )
    return _outcome_of_apply(folder)


def _outcome_of_apply(folder: Path) -> InterlockError:
    """Say how an apply ended that left no state file: to its own end, or cut off in its operations."""
    output = folder / "apply.jsonl"
    events = EventFile(output).new(at_end=True) if output.exists() else []
    if (found := find_summary(folder)) is not None and found.operation == "exec":
        look = command("state", "history", found.state)
        return Terminated("the run's supervisor was killed", why="what was stored of its command is kept", fix=look)
    applied = [event for event in events if isinstance(event, Apply)]
    interruption = read_interruption(events)
    told = "the run's supervisor was killed"
    if not applied:
        return Terminated(told, why="it had changed nothing", fix="start a new run")
    if not interruption.is_cut and ((folder / SAVED).exists() or _ran_its_course(events)):
        return Terminated(told, why="its state is stored", fix="start a new run")
    made = [f"{e.resource.address} (id {e.id})" for e in applied if e.stage is Stage.COMPLETE and e.id]
    completed_before = f"operations that had completed: {', '.join(made[:_NAMED])}" if made else ""
    parts = [part for part in (interruption.sentence(), completed_before) if part]
    summary = find_summary(folder)
    return StateNotSaved(
        "the run was killed, and what it did since its last save is not in the state",
        why="; ".join(parts) or "an operation was under way",
        fix=how_to_look(summary.state, summary.directory, folder) if summary else command("runs", "show", folder.name),
        in_flight=interruption.in_flight,
    )


def left_nothing(folder: Path) -> str:
    """Say what a dead run that left no state file left: nothing, or operations that nobody knows the end of."""
    outcome = outcome_of(folder)
    if not isinstance(outcome, StateNotSaved):
        return "it left no unsaved state; its lock was released"
    return f"it left no state file, and not everything it did is in the state: {outcome.why}; its lock was released"


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
    end = EndEntry.of(error)
    entry = Entry(at=now, kind=end.KIND, facts=end.facts())
    append(folder, entry)
    # They hold secrets in clear, and nobody can apply them any more; see run/standby.py for the second name.
    for name in _IN_CLEAR:
        (folder / name).unlink(missing_ok=True)
    remove_given(folder)
    for name in ("data", "rehearsal"):
        shutil.rmtree(folder / name, ignore_errors=True)
    if summary is not None:
        summary.phase, summary.ended_at, summary.exit = "ended", now, error.exit_status
        summary.code, summary.message = error.code, error.what
        summary.in_flight = end.in_flight or []
        write_summary(folder, summary)
    return entry
