"""Judges who holds Terraform's own lock in an existing backend, and breaks that lock on proof. A hand.

The order matters: the lock is read, its holder is looked for, and then the lock is read again; so what was found about
the holder is about the lock that is there. Breaking saves the state first, deletes on the condition that it is still
that lock, and looks at the state afterwards. Each step is written down before it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from interlock.audit.interface import Audit
from interlock.ci.job import JobReference, parse_job
from interlock.clock import Clock
from interlock.errors import THIS_STATE, InterlockError, LockHeld, UsageError, command, fill_in
from interlock.existing import ExistingBackend, StoredState, TerraformLock, TerraformLockMoved
from interlock.existing.terraform_lock import Reference, find_reference
from interlock.existing.tfe import OVER
from interlock.recovery.evidence import Evidence, Says
from interlock.recovery.keep import Keep
from interlock.recovery.verdict import Conclusion, Verdict, judge
from interlock.recovery.witnesses import ci, lock, process, session, state, terraform
from interlock.recovery.witnesses.ci import Trust
from interlock.recovery.witnesses.process import Recorded
from interlock.recovery.witnesses.terraform import PlaceOf, Suspect
from interlock.state import Finding, verify_state

BY_HAND = "interlock lock acquire"
"""Operation of a lock that a person took for maintenance."""

HAND_ID = "interlock-hand-"
"""How the id of such a lock begins: GitLab tells of a lock that it holds nothing but the id."""

LOOK_S = 1.0  # between two looks at the lock while we watch
_KEPT_WORDS = 1000  # characters of a reason that go to the audit log

ProcessesOf = Callable[[str], Recorded | None]
"""Returns what is written down of the processes of one of our own runs; None when the run is unknown here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """What is asked about a lock, and with whose help.

    Attributes:
        lock_id: Which lock; None for the one that is there.
        directory: The root module; None when only the backend is known.
        job: The holder's CI job as the operator names it.
        window_s: How long to watch.
        trust: What the operator vouches for.
        environ: Where tokens and API addresses are.
        place_of: Finds the state that a process works on.
        processes_of: Finds the processes of our own runs.
    """

    lock_id: str | None = None
    directory: Path | None = None
    job: JobReference | None = None
    window_s: float
    trust: Trust
    environ: Mapping[str, str]
    place_of: PlaceOf
    processes_of: ProcessesOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A lock, what is known about its holder, and the verdict; no locks and no verdict when nobody holds.

    Attributes:
        address: The state's address in its backend.
        locks: The stored locks of one id, one a mechanism.
        others: Locks under another id.
        evidence: What was seen.
        verdict: What follows; None when nobody holds.
        released: Somebody held when we began, and gave it back while we watched.
        way: The command by which a living holder is ended safely, where there is one.
    """

    address: str
    locks: tuple[TerraformLock, ...] = ()
    others: tuple[TerraformLock, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None
    released: bool = False
    way: str = ""

    @property
    def lock(self) -> TerraformLock | None:
        """The lock that was judged."""
        return self.locks[0] if self.locks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Somebody takes responsibility for what could not be proven.

    Attributes:
        operator: Who, by name.
        reason: What was verified, and how.
    """

    operator: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A broken lock.

    Attributes:
        judged: On what grounds.
        snapshot: The file that has the state as it was; None when there was none.
        findings: What is wrong with the state that is there now.
        digest_agrees: Whether Terraform will accept that state.
    """

    judged: Judged
    snapshot: Path | None
    findings: tuple[Finding, ...]
    digest_agrees: bool


async def examine(backend: ExistingBackend, inquiry: Inquiry, *, clock: Clock) -> Judged:
    """Watch a lock, look for its holder, and judge. Nothing is changed."""
    locks, others = _chosen(await backend.read_locks(), inquiry.lock_id)
    address = backend.describe().address
    if not locks:
        return Judged(address=address, others=others)
    before = await _find_state(backend)
    began = clock.monotonic()
    first = await _look(backend, (*locks, *others), inquiry, clock, with_ci=True)
    if any(item.says is Says.ALIVE for item in first):
        return _judged(address, locks, others, first)
    while (watched_s := clock.monotonic() - began) < inquiry.window_s:
        await clock.sleep(min(LOOK_S, inquiry.window_s - watched_s))
        if _chosen(await backend.read_locks(), inquiry.lock_id)[0] != locks:
            return await _again(backend, inquiry, clock, address)
    watched_s = clock.monotonic() - began
    evidence = [item for item in first if item.witness == "ci"]
    evidence += await _look(backend, (*locks, *others), inquiry, clock, with_ci=False)
    now = clock.now()
    evidence.append(lock.testify(locks[0], watched_s, window_s=inquiry.window_s, now=now))
    evidence += await _about_state(backend, before, locks[0], clock)
    if _chosen(await backend.read_locks(), inquiry.lock_id)[0] != locks:
        return await _again(backend, inquiry, clock, address)
    return _judged(address, locks, others, evidence)


async def break_lock(
    backend: ExistingBackend,
    judged: Judged,
    *,
    override: Override | None,
    by: str,
    keep: Keep,
    log: Audit,
    clock: Clock,
) -> Broken:
    """Break the lock that was judged: save the state, delete exactly that lock, look at the state.

    Raises:
        LockHeld: The holder is alive, or not provably gone and nobody takes responsibility.
        UsageError: Nobody holds it.
        TerraformLockMoved: It is another lock by now.
    """
    held = judged.lock
    if held is None or judged.verdict is None:
        raise UsageError(f"{judged.address} is not locked", fix=command("lock", "explain", THIS_STATE))
    check_may_break(judged, override)
    stored = await backend.read_state()
    snapshot = await _save(judged.address, stored, keep, clock)
    facts = _facts(judged, override, snapshot)
    await log.append("force-unlock-decided", subject=judged.address, by=by, facts=facts)
    for one in judged.locks:
        await backend.delete_lock(one)
    after = await backend.read_state()
    findings = verify_state(after.body) if after is not None and not after.is_absent else ()
    agrees = after is None or after.digest_agrees
    await log.append(
        "force-unlock",
        subject=judged.address,
        by=by,
        facts={
            **facts,
            "state_after": "whole" if not any(one.refuses for one in findings) else "damaged",
            "digest_agrees": agrees,
        },
    )
    return Broken(judged=judged, snapshot=snapshot, findings=findings, digest_agrees=agrees)


def check_may_break(judged: Judged, override: Override | None) -> None:
    """Refuse to break a lock whose holder is not provably gone. An override never outweighs a living holder.

    Raises:
        LockHeld: It may not be broken.
    """
    verdict = judged.verdict
    assert verdict is not None
    match verdict.conclusion:
        case Conclusion.GONE:
            return
        case Conclusion.ALIVE:
            raise LockHeld(
                f"the lock on {judged.address} was not broken: its holder is alive",
                why="; ".join(verdict.reasons),
                fix=judged.way or "wait for it, or stop it where it runs: kill -INT, or cancel its job",
                verdict="alive",
            )
        case Conclusion.UNDECIDED:
            if override is not None:
                return
            raise LockHeld(
                f"the lock on {judged.address} was not broken: its holder is not provably gone",
                why="; ".join(verdict.reasons) or "nothing is known of it",
                fix="; ".join(verdict.missing) + '; or --i-have-verified "what you verified and how"',
                verdict="undecided",
            )


def job_of(held: TerraformLock, named: JobReference | None) -> JobReference | None:
    """Return the CI job of a lock's holder: as the operator names it, or as one of our runs wrote it into the lock."""
    if named is not None:
        return named
    reference = find_reference(held.info)
    return parse_job(reference.job) if reference is not None and reference.job else None


def _chosen(
    locks: tuple[TerraformLock, ...], lock_id: str | None
) -> tuple[tuple[TerraformLock, ...], tuple[TerraformLock, ...]]:
    """Divide stored locks into those of one id, and the others."""
    wanted = lock_id if lock_id is not None else locks[0].id if locks else ""
    chosen = tuple(one for one in locks if one.id == wanted)
    return chosen, tuple(one for one in locks if one.id != wanted)


async def _look(
    backend: ExistingBackend, locks: tuple[TerraformLock, ...], inquiry: Inquiry, clock: Clock, *, with_ci: bool
) -> list[Evidence]:
    """Ask everybody who may see the holder of the first of these locks."""
    held, now = locks[0], clock.now()
    reference = find_reference(held.info)
    evidence = await asyncio.to_thread(_processes, backend, held, reference, inquiry, clock)
    evidence += _owner(held, clock)
    evidence += lock.describe(locks, backend.describe().locking, now=now)
    if with_ci:
        job = job_of(held, inquiry.job)
        environ, trust, since = inquiry.environ, inquiry.trust, held.created_at
        evidence.append(await asyncio.to_thread(ci.collect, job, environ, now=now, trust=trust, held_since=since))
    return evidence


def is_by_hand(lock: TerraformLock) -> bool:
    """Say whether a person took a lock with `interlock lock acquire`.

    HCP Terraform keeps no operation of ours, and shows the reason; see `take_lock` in `interlock.existing.tfe`.
    """
    is_so_told = lock.mechanism == "tfe" and lock.info.startswith(BY_HAND)
    return lock.operation == BY_HAND or lock.id.startswith(HAND_ID) or is_so_told


def _processes(
    backend: ExistingBackend, held: TerraformLock, reference: Reference | None, inquiry: Inquiry, clock: Clock
) -> list[Evidence]:
    """Look for the holder's process: by its recorded name where there is one, by searching this host otherwise."""
    now = clock.now()
    if is_by_hand(held):
        return [_of_a_person(held, now)]
    if (named := process.parse_name(held.info)) is not None:
        return process.collect(Recorded(processes={"interlock": named}, source=held.place), now=now)
    if reference is not None and (recorded := inquiry.processes_of(reference.run)) is not None:
        return process.collect(recorded, now=now)
    suspect = Suspect(
        who=held.who,
        created_at=held.created_at,
        address=backend.describe().address,
        directory=inquiry.directory,
        in_ci=ci.is_ci(inquiry.environ),
    )
    if held.mechanism == "pg":  # an address says nothing of where; the kernel knows which process has the connection
        return [*terraform.collect_living(suspect, inquiry.place_of, now=now), session.collect(held, now=now)]
    found = terraform.collect(suspect, inquiry.place_of, now=now)
    return found if reference is None else [*_without_gone(found), _unknown_run(reference, held, now)]


def _of_a_person(held: TerraformLock, now: datetime) -> Evidence:
    """A person is not a process: nothing on any machine shows whether they are done."""
    text = f"{held.who} holds it by hand ({held.path or 'no reason given'})"
    how_to = f"ask {held.who}; when they are done: {command('lock', 'release', THIS_STATE)}"
    return Evidence(witness="lock", says=Says.NOTHING, text=text, source=held.place, observed_at=now, how_to=how_to)


def _without_gone(found: list[Evidence]) -> list[Evidence]:
    """A supervised run holds the lock also while no Terraform of it runs, so that none runs proves nothing."""
    return [item for item in found if item.says is not Says.GONE]


def _unknown_run(reference: Reference, held: TerraformLock, now: datetime) -> Evidence:
    host = held.who.rpartition("@")[2] or "its host"
    text = f"run {reference.run} of Interlock holds it, and its record is not in this home"
    how_to = f"on {host}, with the INTERLOCK_HOME of that run: {command('lock', 'explain', THIS_STATE)}"
    return Evidence(witness="process", says=Says.NOTHING, text=text, source=held.place, observed_at=now, how_to=how_to)


def _owner(held: TerraformLock, clock: Clock) -> list[Evidence]:
    """Say what the lock's own keeper knows of its owner: the kernel, or the platform whose run it is."""
    said = _kept_by(held)
    if said is None:
        return []
    return [Evidence(witness="lock", says=said[0], text=said[1], source=held.place, observed_at=clock.now())]


def _kept_by(held: TerraformLock) -> tuple[Says, str] | None:
    if held.mechanism == "local":
        return (
            Says.ALIVE,
            f"the kernel says that {held.condition or 'a process'} holds it; it is released when that ends",
        )
    if held.mechanism == "tfe" and held.condition:
        over = held.condition.removeprefix("run ") in OVER
        word = "is over" if over else "is under way"
        return (Says.GONE if over else Says.ALIVE), f"the platform says that its {held.condition}: it {word}"
    return None


async def _find_state(backend: ExistingBackend) -> StoredState | InterlockError | None:
    """Return the state, or why it cannot be read; that says nothing of the holder."""
    try:
        return await backend.read_state()
    except InterlockError as error:
        return error


async def _about_state(
    backend: ExistingBackend, before: StoredState | InterlockError | None, held: TerraformLock, clock: Clock
) -> list[Evidence]:
    after = await _find_state(backend)
    address, now = backend.describe().address, clock.now()
    for found in (before, after):
        if isinstance(found, InterlockError):
            text = f"the state could not be read: {found.what}"
            return [Evidence(witness="state", says=Says.NOTHING, text=text, source=address, observed_at=now)]
    assert not isinstance(before, InterlockError)
    assert not isinstance(after, InterlockError)
    return state.testify(before, after, held, address=address, now=now)


async def _again(backend: ExistingBackend, inquiry: Inquiry, clock: Clock, address: str) -> Judged:
    """The lock changed under our eyes: say so, and judge whoever holds now by what is seen at once."""
    locks, others = _chosen(await backend.read_locks(), inquiry.lock_id)
    if not locks:
        return Judged(address=address, others=others, released=True)
    now = clock.now()
    text = "the lock changed hands while we watched: its holder took it a moment ago"
    alive = Evidence(witness="lock", says=Says.ALIVE, text=text, source=locks[0].place, observed_at=now)
    return _judged(address, locks, others, [alive])


def _judged(
    address: str, locks: tuple[TerraformLock, ...], others: tuple[TerraformLock, ...], evidence: list[Evidence]
) -> Judged:
    return Judged(address=address, locks=locks, others=others, evidence=tuple(evidence), verdict=judge(evidence))


async def _save(address: str, stored: StoredState | None, keep: Keep, clock: Clock) -> Path | None:
    if stored is None or stored.is_absent:
        return None
    return await asyncio.to_thread(keep.save, address, stored.body, now=clock.now())


def _facts(
    judged: Judged, override: Override | None, snapshot: Path | None
) -> dict[str, str | list[str] | bool | None]:
    held, verdict = judged.lock, judged.verdict
    assert held is not None
    assert verdict is not None
    return {
        "lock_id": held.id,
        "who": held.who,
        "operation": held.operation,
        "created": held.created,
        "places": [one.place for one in judged.locks],
        "verdict": verdict.conclusion.value,
        "reasons": [text[:_KEPT_WORDS] for text in verdict.reasons],
        "missing": [fill_in(text, judged.address)[:_KEPT_WORDS] for text in verdict.missing],
        "verified_by": override.operator if override else None,
        "verified": override.reason[:_KEPT_WORDS] if override else None,
        "snapshot": str(snapshot) if snapshot else None,
    }


__all__ = [
    "Broken",
    "Inquiry",
    "Judged",
    "Override",
    "TerraformLockMoved",
    "break_lock",
    "check_may_break",
    "examine",
    "job_of",
]
