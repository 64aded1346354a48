"""After Terraform has ended: is the state saved, is it the one that is stored, and what is the run's outcome."""

from __future__ import annotations

import shutil
import uuid
from datetime import datetime
from pathlib import Path

from msgspec import UNSET, Struct

from interlock.amounts import amount
from interlock.clock import Clock
from interlock.coordinator import Standing
from interlock.errors import (
    THIS_STATE,
    BackendUnavailable,
    InterlockError,
    LeaseLost,
    StateInvalid,
    StateNotSaved,
    StateSuspect,
    command,
)
from interlock.run.endings import Conclusion, Known, conclude
from interlock.run.entries import (
    Holding,
    NoteEntry,
    PlanCounts,
    PlanEntry,
    PlanRow,
    StandingEntry,
    StateEntry,
    SuspectEntry,
    spell_instant,
)
from interlock.run.leaving import is_left
from interlock.run.saving import Left, find_left, keep_copy, offer, places_for
from interlock.run.shown import by_address
from interlock.run.stage import Outcome
from interlock.run.summary import Seen, Summary
from interlock.run.surroundings import Current, StateAccess
from interlock.run.tainted import LookAt, find_tainted, tainted_text
from interlock.run.transcript import Journal
from interlock.run.workspace import ERRORED, Workspace
from interlock.state import Document, digest_of_content, parse_state, render_document
from interlock.store import StoreGone
from interlock.terraform.events import Action
from interlock.terraform.plan import Counts, PlanDocument, PlanFacts

SAVE_FAILED = frozenset(
    {
        "Failed to save state",
        "Failed to persist state to backend",
        "Failed to persist state",
        "Error saving current state",
    }
)
"""Summaries of Terraform's errors that say: the state was not stored (internal/backend/local/backend_apply.go)."""
_SUSPECTS_SAID = 5  # objects named in the failure; the journal has all of them
_RESOURCES_TOLD = 2_000  # of a plan in the journal; all of them are in the plan itself


async def settle(
    outcome: Outcome,
    *,
    failure: InterlockError | None,
    plan: PlanFacts,
    access: StateAccess,
    workspace: Workspace,
    journal: Journal,
    saving: Saving,
) -> None:
    """Save what Terraform left, compare what is stored with what it wrote, and raise what went wrong.

    Args:
        outcome: How the apply ended.
        failure: What it failed with; None for success.
        plan: What was planned.
        access: To the state.
        workspace: Where Terraform worked.
        journal: The run's.
        saving: How a state that could not be stored is kept.

    Raises:
        StateNotSaved: The newest state could not be stored; where it is kept is named.
        StateSuspect: It is stored, and lacks what neither the plan nor its refresh took out.
        StateInvalid: Terraform reported success but its state is not the one that is stored.
        InterlockError: `failure`, when the state is safe.
    """
    unseen = await _look(access, journal)
    if isinstance(unseen, LeaseLost):
        failure = unseen
    pushed = await _save_left(access, plan, workspace=workspace, failure=failure, journal=journal, saving=saving)
    refused, lacking = access.refused(), access.suspect()
    conclusion = conclude(
        known=_known(failure),
        was_refused=refused is not None,
        unseen=unseen is not None,
        suspect=bool(lacking),
        was_stored=pushed,
        only_saving_failed=_only_saving_failed(outcome),
    )
    if refused is not None and failure is not None and conclusion is not Conclusion.REFUSAL:
        failure = _with_kept(failure, refused)
    unheard = pushed and not outcome.errors
    found = _Found(failure=failure, unseen=unseen, refused=refused, lacking=lacking, unheard=unheard)
    if conclusion is Conclusion.FAILURE and found.unseen is None:
        await _try_to_tell_state(access, journal)
        await _tell_tainted(access, journal, saving)
    await _end(conclusion, found, access, journal)
    await _check_stored(outcome, access, plan)
    await _tell_state(access, journal)


class _Found(Struct, frozen=True, kw_only=True):
    """What is known when the state is as safe as it can be.

    Attributes:
        failure: How the apply went wrong; None when it did not.
        unseen: Why what is stored could not be looked at.
        refused: Why its last write was refused.
        lacking: What the stored state lacks without a reason.
        unheard: The state was stored by us, and nobody knows what Terraform said.
    """

    failure: InterlockError | None
    unseen: InterlockError | None
    refused: InterlockError | None
    lacking: tuple[str, ...]
    unheard: bool


async def _end(conclusion: Conclusion, found: _Found, access: StateAccess, journal: Journal) -> None:
    """Raise what the run ends with; return where only what is stored is still to be compared."""
    match conclusion:
        case Conclusion.REFUSAL:
            assert found.refused is not None
            raise found.refused from found.failure
        case Conclusion.UNSEEN:
            assert found.unseen is not None
            raise found.unseen
        case Conclusion.SUSPECT:
            await _try_to_tell_state(access, journal)
            journal.tell(SuspectEntry(addresses=list(found.lacking)))
            raise _suspect(found.lacking, found.failure) from found.failure
        case Conclusion.FAILURE:
            assert found.failure is not None
            raise _unheard(found.failure, journal.summary) if found.unheard and found.unseen is None else found.failure
        case Conclusion.CHECK:
            return


async def _tell_tainted(access: StateAccess, journal: Journal, saving: Saving) -> None:
    """Name the objects that the next apply would make anew, with what a look at them shows."""
    try:
        tainted = find_tainted(await access.stored())
    except InterlockError:
        return  # what cannot be read is said already
    if tainted:
        seen = await saving.look_at(tainted) if saving.look_at is not None else {}
        text = tainted_text(tainted, seen, state=journal.summary.state, program=saving.program)
        journal.tell(NoteEntry(text=text))


def _known(failure: InterlockError | None) -> Known:
    match failure:
        case None:
            return Known.NOTHING
        case LeaseLost():
            return Known.LEASE_LOST
        case StateNotSaved() if "category" not in failure.facts:
            return Known.NOT_SAVED  # what we saw; what only Terraform said is mended when we store what it left
        case _:
            return Known.OTHER


async def _look(access: StateAccess, journal: Journal) -> InterlockError | None:
    """Look at what was stored; its failure must not keep us from saving what Terraform left."""
    try:
        await access.settle(journal.tell)
    except InterlockError as error:
        journal.tell(NoteEntry(text=f"what Terraform stored could not be looked at: {error}"))
        return error
    return None


async def _tell_state(access: StateAccess, journal: Journal) -> Current:
    current = await access.current()
    written = access.accepted()
    journal.change(serial=current.serial, seen=seen_of(current))
    journal.tell(StateEntry(serial=current.serial, number=current.number, written=written is not None))
    return current


def seen_of(current: Current) -> Seen | None:
    """Return what a run's record keeps of the state that it saw stored; None when there is none."""
    if not current.lineage:
        return None
    return Seen(lineage=current.lineage, serial=current.serial, digest=current.digest, at=current.at)


async def _try_to_tell_state(access: StateAccess, journal: Journal) -> None:
    """Say which state is stored, beside a failure that counts more than not knowing it."""
    try:
        await _tell_state(access, journal)
    except InterlockError as error:
        journal.tell(NoteEntry(text=f"which state is stored could not be read: {error}"))


def completed(body: bytes, run: str) -> bytes:
    """Give a state that a run left the lineage that it lacks when nothing could be stored before.

    Where there is a state already, this new lineage is refused. It is made from the run's id, so that everybody who
    saves what the run left writes the same bytes.

    Raises:
        StateInvalid: The bytes are not state.
    """
    document = parse_state(body)
    if document.lineage or not isinstance(document, Document):
        return body  # OpenTofu gives a lineage before it encrypts, and nobody else may write into what it encrypted
    return render_document(document.begin_lineage(lineage_of(run)))


def lineage_of(run: str) -> str:
    """Return the lineage that a run gives to a state which has none; whoever asks gets the same."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"interlock:run:{run}"))


def following(body: bytes, stored: bytes | None) -> bytes:
    """Let a state that a run left follow the one that the same run stored, when both have one serial.

    Terraform numbers the first state of a new lineage again when it did not hear that it was stored, as when we are
    killed in between. What it leaves in a file is what it had in the end.

    Args:
        body: What the run left.
        stored: The current state, when this very run stored it; else None.

    Raises:
        StateInvalid: One of them is not a state.
    """
    if stored is None:
        return body
    left, last = parse_state(body), parse_state(stored)
    if left.lineage == last.lineage and digest_of_content(left) == digest_of_content(last):
        return stored  # saved already, by whoever was killed after that
    if (left.lineage, left.serial) != (last.lineage, last.serial) or not isinstance(left, Document):
        return body
    return render_document(left.with_serial(last.serial + 1))


class Saving(Struct, frozen=True, kw_only=True):
    """How a state that could not be stored is kept and offered again.

    Attributes:
        clock: For waiting between two offers.
        patience_s: How long it is offered.
        program: How a person starts this Terraform, as a shell reads it.
        look_at: Looks at tainted objects in the organisation; None where there is no way to it.
    """

    clock: Clock
    patience_s: float
    program: str = "terraform"
    look_at: LookAt | None = None


async def _save_left(
    access: StateAccess,
    plan: PlanFacts,
    *,
    workspace: Workspace,
    failure: InterlockError | None,
    journal: Journal,
    saving: Saving,
) -> bool:
    """Store what Terraform could not, if there is something; say whether there was."""
    left = find_left(workspace.errored if is_left(workspace.errored, journal.folder) else None, access.unsaved())
    if left is None:
        return False
    kept = _kept(left, workspace, journal)
    try:
        await _offer(left, access, plan, kept=kept, journal=journal, saving=saving)
    except InterlockError as error:
        raise _not_stored(error, left, kept, failure=failure, state=journal.summary.state) from error
    if kept is not None:
        kept.unlink()
    if left.path is None and is_left(workspace.errored, journal.folder):
        workspace.errored.unlink()  # what Terraform could write of it, on the full disk
    source = "errored.tfstate" if left.path is not None else "its last write, which the store could not take then"
    journal.tell(NoteEntry(text=f"Terraform could not save its state; it was stored from {source}"))
    return True


async def _offer(
    left: Left, access: StateAccess, plan: PlanFacts, *, kept: Path | None, journal: Journal, saving: Saving
) -> None:
    body = completed(left.body, journal.summary.run)
    body = following(body, await access.stored() if access.accepted() is not None else None)
    await offer(
        lambda: access.push(body, plan.may_delete),
        clock=saving.clock,
        patience_s=saving.patience_s,
        tell=journal.tell,
        where=_where(left, kept),
    )


def _where(left: Left, kept: Path | None) -> str:
    if not left.is_state:
        count = amount(len(left.body), "byte")
        return f"what Terraform left in {kept} is not a state: it has {count}, perhaps of a full disk"
    return f"the state is kept in {kept}" if kept else "no disk took a copy of the state, which ends with this run"


def _not_stored(
    error: InterlockError, left: Left, kept: Path | None, *, failure: InterlockError | None, state: str
) -> InterlockError:
    """Name where the state is that the store did not take."""
    where, push = _where(left, kept), command("state", "push", "--state", state, kept or "FILE")
    if isinstance(failure, LeaseLost):
        fix = f"{push}    when the database is back" if kept and isinstance(error, StoreGone) else failure.fix
        return LeaseLost(failure.what, why=f"{failure.why}; {where}", fix=fix)
    return StateNotSaved(
        "the run ended and its newest state could not be stored",
        why=f"{error.what}{f' ({error.why})' if error.why else ''}; {where}",
        fix=f"{push}    when the store accepts writes again" if kept else "free some space, then import what exists",
    )


def _kept(left: Left, workspace: Workspace, journal: Journal) -> Path | None:
    """Return the file that has the state; Terraform's own is moved to the run's folder, which needs no room."""
    if left.path is not None:
        kept = journal.folder / ERRORED
        shutil.move(str(left.path), kept)
        kept.chmod(0o600)
        return kept
    places = places_for(journal.summary.run, run_folder=journal.folder, directory=workspace.directory)
    return keep_copy(left.body, places)


def _with_kept(failure: InterlockError, refused: InterlockError) -> InterlockError:
    """Name the last bytes that Terraform sent and that were refused: they may be the newest state that there is."""
    entry = refused.facts.get("quarantine")
    if entry is None:
        return failure
    show = f"{command('state', 'quarantine', 'show', THIS_STATE, str(entry))} --raw > newest.tfstate"
    failure.why = (
        f"{failure.why}; its last write was refused ({refused.why or refused.what}) and is quarantine entry {entry}"
    )
    push = command("state", "push", "--state", THIS_STATE, "newest.tfstate")
    failure.fix = f"{failure.fix}    what was refused: {show}    then: {push}"
    failure.facts["quarantine"] = entry
    return failure


def _suspect(lost: tuple[str, ...], failure: InterlockError | None) -> StateSuspect:
    """Say what is odd about the stored state and what a person does about it; Terraform's own failure is said too."""
    more = len(lost) - _SUSPECTS_SAID
    named = ", ".join(lost[:_SUSPECTS_SAID]) + (f" and {more} more" if more > 0 else "")
    besides = f"; besides: {failure.what}" if failure is not None else ""
    look, accept = command("state", "diff", THIS_STATE), command("state", "accept", THIS_STATE)
    restore = command("state", "restore", THIS_STATE)
    return StateSuspect(
        "the state is stored, and held for review: it lacks objects that nothing took out",
        why=f"{named}: neither the plan nor its refresh deletes them, so they may still exist{besides}",
        fix=f"{look}    then, when it is right: {accept}    when it is not: {restore}",
        addresses=list(lost),
    )


def _unheard(failure: InterlockError, run: Summary) -> InterlockError:
    """Say that the state is safe although nobody knows what Terraform said: its output was on the full disk too."""
    if not isinstance(failure, BackendUnavailable):
        return failure
    return BackendUnavailable(
        "the store could not take the state during the apply; it is stored now, and what Terraform said is lost",
        why=f"{failure.what}{f': {failure.why}' if failure.why else ''}",
        fix=f"{command('plan', '--state', run.state, run.directory)}    it shows what the apply did not do",
    )


def _only_saving_failed(outcome: Outcome) -> bool:
    return bool(outcome.errors) and all(error.summary in SAVE_FAILED for error in outcome.errors)


async def _check_stored(outcome: Outcome, access: StateAccess, plan: PlanFacts) -> None:
    """Success counts only when the stored state is the one that Terraform wrote last.

    Terraform writes no state that equals the stored one. An apply that does nothing but revert drift ends with just
    that: what changed in the organisation never was in the state.
    """
    refused = access.refused()
    if refused is not None:
        raise refused
    written = access.accepted()
    current = await access.current()
    if written is None and outcome.changed_something and not plan.drift:
        raise StateInvalid(
            "Terraform reported success but wrote no state",
            why=f"the stored state is still at serial {current.serial}",
            fix=command("state", "history", THIS_STATE),
        )
    if written is not None and (written.serial, written.digest) != (current.serial, current.digest):
        raise StateInvalid(
            "the stored state is not the one that Terraform wrote",
            why=f"it wrote serial {written.serial}, serial {current.serial} is stored",
            fix=command("state", "history", THIS_STATE),
        )


def count_operations(facts: PlanFacts) -> int:
    """Return how many operations an apply of this plan makes: a replacement is two."""
    return sum(2 if change.action is Action.REPLACE else 1 for change in facts.changes)


def plan_entry(facts: PlanFacts) -> PlanEntry:
    """Return a plan for the journal: counts, then resources."""
    counts = facts.counts
    ordered = sorted(facts.changes, key=lambda change: by_address(change.resource.address))
    rows = [
        PlanRow(address=change.resource.address, action=change.action.value, reason=change.reason)
        for change in ordered[:_RESOURCES_TOLD]
    ]
    return PlanEntry(
        counts=_counts(counts) if counts else PlanCounts(),
        resources=rows,
        left_out=max(len(facts.changes) - _RESOURCES_TOLD, 0),
        outputs=list(facts.changed_outputs),
        drift=[drift.resource.address for drift in facts.drift[:_RESOURCES_TOLD]],
        destroyed=len(facts.destroyed),
        empty=facts.is_empty,
    )


def _counts(counts: Counts) -> PlanCounts:
    return PlanCounts(
        add=counts.add,
        change=counts.change,
        remove=counts.remove,
        imports=counts.imports or UNSET,
        forget=counts.forget or UNSET,
    )


def facts_of(document: PlanDocument) -> PlanFacts:
    """Return the facts of a saved plan as the events of its planning would have given them."""
    from interlock.terraform.events import PlannedChange, Resource, ResourceDrift

    changes = tuple(
        PlannedChange(
            resource=Resource(address=change.address, type=change.type, name=change.name),
            action=change.action,
            reason=change.reason,
            previous=Resource(address=change.previous) if change.previous else None,
            importing=change.importing,
        )
        for change in document.changed
    )
    outputs = tuple(output.name for output in document.outputs if output.action.value != "noop")
    drift = tuple(
        ResourceDrift(resource=Resource(address=each.address, type=each.type, name=each.name), action=each.action)
        for each in document.drift
        if each.mode == "managed"
    )
    return PlanFacts(
        changes=changes,
        drift=drift,
        counts=document.counts,
        changed_outputs=outputs,
        may_delete=document.may_delete,
    )


def standing_entry(standing: Standing, pace: float | None, now: datetime) -> StandingEntry:
    """Return a place in the queue for the journal, with the expected wait from what runs of this state usually take.

    While a policy holds the run back, or the queue is paused, no pace of earlier runs says when it begins.

    Args:
        standing: Where the run stands.
        pace: Usual seconds of one hold; None without past runs.
        now: Aware UTC instant.
    """
    holder = standing.holders[0] if standing.holders else None
    since = holder.lease.granted_at if holder else None
    held_s = max((now - since).total_seconds(), 0.0) if since else 0.0
    held = standing.waiter.held if standing.waiter is not None else ""
    stands_still = held or standing.pause is not None
    expected = None if pace is None or stands_still else max(pace - held_s, 0.0) + pace * (standing.position - 1)
    return StandingEntry(
        position=standing.position,
        ahead=[waiter.who for waiter in standing.ahead],
        holder=None if holder is None else Holding(who=holder.who, run=holder.run, info=holder.info),
        since=spell_instant(since),
        frozen=standing.pause.reason if standing.pause else None,
        expected_s=expected,
        held=held or UNSET,
    )
