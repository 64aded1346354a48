"""One lock, whoever keeps it: examined, and broken on proof. A hand.

`GrantCase` is a grant of Interlock's own queue, wherever that queue is kept; `TerraformLockCase` is Terraform's own
lock in an existing backend. In a table or bucket with a queue of ours both exist; then the one that stands in the way
is examined.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from msgspec import structs

from interlock.audit.interface import Audit
from interlock.ci.job import JobReference, parse_job
from interlock.coordinator import View
from interlock.errors import InterlockError, LeaseLost, LockHeld, UsageError, command, fill_in
from interlock.existing import ExistingBackend, TerraformLock, find_reference
from interlock.home.interface import Home
from interlock.lock import Holder
from interlock.operate.places import places_beside
from interlock.operate.runs import is_abandoned, recorded_at_server
from interlock.persons import Party
from interlock.policy.approval import Kind
from interlock.recovery import Conclusion, Evidence, Says, Verdict, judge
from interlock.recovery.terraform_lock import Inquiry, Judged, Override, break_lock, check_may_break, examine
from interlock.recovery.witnesses import ci, heartbeat, process, terraform
from interlock.recovery.witnesses.ci import Trust
from interlock.recovery.witnesses.heartbeat import Watch
from interlock.recovery.witnesses.process import Recorded
from interlock.recovery.witnesses.terraform import Suspect
from interlock.rights import Right
from interlock.run.summary import find_summary
from interlock.site.existing_versions import keep_of
from interlock.site.interface import Site
from interlock.site.kinds import has_queue
from interlock.site.opening import breaker_of, open_queue, open_site, plan_hint, queue_of
from interlock.site.own_leftovers import find_recorded
from interlock.site.ref import StateRef, own_address
from interlock.site.second_person import have_second_person
from interlock.site.which import check_heard_of, own_ref, resolve
from interlock.state import Finding, verify_state

_LOOK_S = 0.2  # between two looks at a record of ours
MAX_WATCH_S = 120.0  # longest that a person waits for a verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the operator said.

    Attributes:
        lock_id: Which lock is meant; None for the one that is there.
        job: URL of the holder's CI job.
        window_s: How long to watch a lock that has no heartbeat.
        ephemeral_runners: The operator vouches that no runner's machine outlives its job.
    """

    lock_id: str | None = None
    job: str | None = None
    window_s: float
    ephemeral_runners: bool = False

    def reference(self) -> JobReference | None:
        """Return the job.

        Raises:
            UsageError: The URL is of no system that we know.
        """
        if self.job is None:
            return None
        found = parse_job(self.job)
        if found is None:
            raise UsageError(
                f"{self.job} is not a job of GitHub, GitLab or Azure DevOps",
                fix="give the address of the job's page, such as https://github.com/OWNER/REPO/actions/runs/ID",
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A lock and the judgement on it, for people and as plain values.

    Attributes:
        subject: What the person named.
        queue: The state's own name, by which every command knows it.
        address: The state's address.
        backend: `interlock`, or Terraform's word for the backend.
        lock: The lock as plain values; None when nobody holds.
        evidence: What was seen.
        verdict: What follows; None when nobody holds.
        released: It was given back while we watched.
        orphaned: The run of this home that holds, whose supervisor is gone while what it started works on; "" for any
            other holder. Who takes it over stops its Terraform, saves what that made, and gives the lock back.
    """

    subject: str
    queue: str
    address: str
    backend: str
    lock: Mapping[str, Any] | None = None
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None
    released: bool = False
    orphaned: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """A lock that was broken.

    Attributes:
        text: What was done, for people.
        snapshot: Where the state is kept as it was; empty when there was none.
        findings: What is wrong with the state now.
        digest_agrees: Whether Terraform accepts the state that is stored.
        plan: The command that plans the state.
    """

    text: str
    snapshot: str
    findings: tuple[Finding, ...]
    digest_agrees: bool = True
    plan: str


class Case(Protocol):
    """One lock under examination."""

    async def examine(self) -> Explained:
        """Watch, look for the holder, and judge. Nothing is changed."""
        ...

    async def break_(self, override: Override | None) -> Freed:
        """Break the lock that was examined.

        Raises:
            LockHeld: Its holder is alive, or not provably gone and nobody takes responsibility.
            UsageError: Nobody holds it.
        """
        ...


@asynccontextmanager
async def open_case(text: str, asked: Asked, home: Home, environ: Mapping[str, str]) -> AsyncIterator[Case]:
    """Open the lock of a state for as long as the context lasts.

    Args:
        text: What the person typed.
        asked: What is asked about the lock.
        home: Where it is looked up, and decisions are written down.
        environ: Says where backends and CI systems are.
    """
    ref = await resolve(text, home, environ)
    await check_heard_of(ref, home)
    async with open_site(ref, home, text) as site:
        question = _Question(
            subject=text,
            site=site,
            asked=asked,
            job=asked.reference(),
            environ=environ,
            log=home.audit,
            plan=await plan_hint(ref, home),
        )
        yield await _case(question)


@asynccontextmanager
async def open_own_case(
    state: str, asked: Asked, home: Home, environ: Mapping[str, str], *, by: str, party: Party | None = None
) -> AsyncIterator[Case]:
    """Open the lock of a state that is kept here, by its name and nothing else: a server has no folders to look at.

    Args:
        state: Its name.
        asked: What is asked about the lock.
        home: Where it is kept, and decisions are written down.
        environ: Says where CI systems are.
        by: Who asks, for the record.
        party: Who is behind their credentials.
    """
    ref = own_ref(state)
    async with open_site(ref, home, state) as site:
        question = _Question(
            subject=state,
            site=site,
            asked=asked,
            job=asked.reference(),
            environ=environ,
            log=home.audit,
            plan=await plan_hint(ref, home),
            by=by,
            party=party,
        )
        yield await _case(question)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What every case is given.

    Attributes:
        subject: What the person named.
        site: The state.
        asked: What the operator said.
        job: The holder's CI job, when it was named.
        environ: Says where CI systems are.
        log: Where decisions are written down.
        plan: The command that plans the state; see `plan_hint`.
        by: Who asks, for the record; empty for whoever runs this.
        party: Who is behind their credentials.
    """

    subject: str
    site: Site
    asked: Asked
    job: JobReference | None
    environ: Mapping[str, str]
    log: Audit
    plan: str
    by: str = ""
    party: Party | None = None

    @property
    def actor(self) -> str:
        """Who asks."""
        return self.by or self.home.me

    @property
    def home(self) -> Home:
        """Ours."""
        return self.site.home

    @property
    def ref(self) -> StateRef:
        """Which state it is."""
        return self.site.ref

    @property
    def directory(self) -> Path | None:
        """The root module, as far as it is known."""
        return self.ref.directory

    async def have_second_person(self, exact: tuple[object, ...], named: str, override: Override | None) -> None:
        """Have another person agree, where policies want two.

        Raises:
            PolicyGate: Nobody has yet.
        """
        reason = override.reason if override is not None else ""
        what = f"break the lock of {self.ref.queue} ({named}){f', without proof: {reason}' if reason else ''}"
        exact = (*exact, reason)
        await have_second_person(
            self.home, self.ref.queue, Kind.FORCE_UNLOCK, exact=exact, what=what, by=self.by, party=self.party
        )

    @property
    def trust(self) -> Trust:
        """What the operator vouches for."""
        return Trust(ephemeral_runners=self.asked.ephemeral_runners)


async def _case(question: _Question) -> Case:
    """Return the case of the lock that stands in the way.

    A run elsewhere holds both the queue and Terraform's own lock; somebody who does not queue only the latter.
    """
    site = question.site
    if site.backend is None:
        return GrantCase(question)
    holders = await _queue_holders(site)
    locks = await site.read_locks() if has_queue(site.ref) else ()
    reference = find_reference(locks[0].info) if locks else None
    in_the_way = not locks or (reference is not None and any(holder.run == reference.run for holder in holders))
    if not holders or not in_the_way:
        return TerraformLockCase(question, site.backend)
    if question.asked.lock_id in {lock.id for lock in locks}:  # Terraform's id of the very run that holds
        question = replace(question, asked=replace(question.asked, lock_id=None))
    return GrantCase(question)


async def _queue_holders(site: Site) -> tuple[Holder, ...]:
    """Return who holds the queue; nobody when there is none or it cannot be read: plain users need no right to it."""
    if site.coordinator is None:
        return ()
    try:
        return (await site.coordinator.view(site.ref.queue)).lock.holders
    except InterlockError:
        return ()


async def look(
    text: str, home: Home, environ: Mapping[str, str]
) -> tuple[StateRef, View | None, tuple[TerraformLock, ...]]:
    """Return what is meant, its queue where it has one, and Terraform's own locks on it, without watching anybody."""
    ref = await resolve(text, home, environ)
    await check_heard_of(ref, home)
    view = None
    if has_queue(ref):
        async with open_queue(ref, home) as coordinator:
            view = await coordinator.view(ref.queue)
    async with open_site(ref, home, text) as site:
        return ref, view, await site.read_locks()


# -- our own queue ----------------------------------------------------------------------------------------------------


class GrantCase:
    """See `Case`; for a grant of our own queue.

    Args:
        question: What is asked, of which state.
    """

    def __init__(self, question: _Question) -> None:
        self._question = question
        self._coordinator = queue_of(question.site)
        self._recovery = structs.replace(breaker_of(question.site), by=question.actor, log=None)
        self._state = question.site.ref.queue
        self._holder: Holder | None = None
        self._explained: Explained | None = None
        self._told: tuple[str, Recorded | None] | None = None

    async def examine(self) -> Explained:
        """See `Case.examine`."""
        watch, clock = Watch(), self._question.home.clock
        from_ci: list[Evidence] | None = None
        first_beat = 0
        while True:
            holder = self._pick((await self._coordinator.view(self._state)).lock.holders)
            if holder is None:
                self._holder = None
                self._explained = self._explain((), None)
                return self._explained
            still_s = watch.look(holder, monotonic_s=clock.monotonic())
            window_s = self._window_s(holder)
            if from_ci is None or self._holder is None or self._holder.token != holder.token:
                self._holder, from_ci, first_beat = holder, [await self._ask_ci(holder)], holder.lease.beat
            evidence = [*await self._gather(holder, still_s, window_s), *from_ci]
            if holder.lease.beat != first_beat:
                evidence.append(heartbeat.moved(source=f"lock record of {self._state}", now=clock.now()))
            verdict = judge(evidence)
            if verdict.conclusion.value != "undecided" or still_s >= min(window_s, MAX_WATCH_S):
                self._explained = self._explain(tuple(evidence), verdict)
                return self._explained
            await clock.sleep(min(_LOOK_S, window_s))

    async def break_(self, override: Override | None) -> Freed:
        """See `Case.break_`. What the run could not save is stored first, under its own grant."""
        holder, explained = self._holder, self._explained
        if holder is None or explained is None or explained.verdict is None:
            raise UsageError(f"state {self._state} is not locked", fix=command("lock", "show", self._state))
        check_may_break(judged_of(explained), override)
        await self._question.have_second_person((holder.ticket, holder.token), f"token {holder.token}", override)
        snapshot = await self._question.site.keep()
        facts = _own_facts(self._state, holder, explained.verdict, override, snapshot)
        await self._question.log.append(
            "force-unlock-decided", subject=explained.address, by=self._question.actor, facts=facts
        )
        reason = override.reason if override else "; ".join(explained.verdict.reasons)
        done = await self._recovery.recover(self._state, holder, reason=reason)
        if done is None:
            raise LeaseLost(
                f"the grant of token {holder.token} was not broken",
                why="it ended meanwhile",
                fix=command("lock", "show", self._state),
            )
        await self._question.log.append(
            "force-unlock", subject=explained.address, by=self._question.actor, facts={**facts, "done": done}
        )
        return Freed(text=done, snapshot=snapshot, findings=await self._verify(), plan=self._question.plan)

    def _pick(self, holders: tuple[Holder, ...]) -> Holder | None:
        wanted = self._question.asked.lock_id
        return next((one for one in holders if wanted in (None, one.lock_id, one.ticket, one.run)), None)

    def _window_s(self, holder: Holder) -> float:
        """A run shows signs of life within its lease; a plain Terraform and a person never do."""
        return holder.lease.lease_s if holder.run else self._question.asked.window_s

    async def _gather(self, holder: Holder, still_s: float, window_s: float) -> list[Evidence]:
        if holder.run:
            evidence = await asyncio.to_thread(self._recovery.gather, self._state, holder, still_s)
            if self._told is None or self._told[0] != holder.run:  # once: it is looked at often while we watch
                self._told = holder.run, await recorded_at_server(self._question.home, holder.run)
            told = self._told[1]
            if told is None:
                return evidence
            seen = await asyncio.to_thread(process.collect, told, now=self._question.home.clock.now())
            return [*(each for each in evidence if each.witness != "process"), *seen]
        now = self._question.home.clock.now()
        silent = still_s >= window_s
        text = f"the lock stood still while we watched for {still_s:.1f}s" if silent else f"watched for {still_s:.1f}s"
        says = Says.SILENT if silent else Says.NOTHING
        stood = Evidence(witness="lock", says=says, text=text, source=f"lock record of {self._state}", observed_at=now)
        if holder.lock_id is None:
            how_to = f"ask {holder.who}; if they agree, give it back: {command('lock', 'release', self._state)}"
            text = f"it is held by hand ({holder.info})"
            hand = Evidence(
                witness="lock", says=Says.NOTHING, text=text, source=self._state, observed_at=now, how_to=how_to
            )
            return [stood, hand]
        suspect = Suspect(
            who=holder.who,
            created_at=holder.lease.granted_at,
            address=own_address(self._state),
            directory=self._question.directory,
            in_ci=ci.is_ci(self._question.environ),
        )
        return [stood, *await asyncio.to_thread(terraform.collect, suspect, places_beside(self._question.ref), now=now)]

    async def _ask_ci(self, holder: Holder) -> Evidence:
        job = self._question.job or _job_of_run(self._question.home.runs, holder.run)
        return await asyncio.to_thread(
            ci.collect,
            job,
            self._question.environ,
            now=self._question.home.clock.now(),
            trust=self._question.trust,
            held_since=holder.lease.granted_at,
        )

    def _explain(self, evidence: tuple[Evidence, ...], verdict: Verdict | None) -> Explained:
        return Explained(
            subject=self._question.subject,
            queue=self._question.ref.queue,
            address=self._question.ref.address,
            backend=self._question.site.kind,
            lock=None if verdict is None or self._holder is None else _holder_values(self._holder),
            evidence=evidence,
            verdict=verdict,
            orphaned=self._orphaned(verdict),
        )

    def _orphaned(self, verdict: Verdict | None) -> str:
        """See `Explained.orphaned`."""
        if self._holder is None or verdict is None or verdict.conclusion is not Conclusion.ALIVE:
            return ""
        run, home = self._holder.run, self._question.home
        is_ours = bool(run) and home.state_of_run(run) == self._state  # a holder says by itself which run it is
        return run if is_ours and is_abandoned(home.runs / run) else ""

    async def _verify(self) -> tuple[Finding, ...]:
        try:
            body = await self._question.site.versions.body(None)
        except UsageError:  # there is none
            return ()
        return verify_state(body)


def judged_of(explained: Explained) -> Judged:
    """Return the judgement alone: the rules of breaking are the same for every lock."""
    way = f"{command('wait', explained.orphaned)}    stops its Terraform, saves what it made, gives the lock back"
    return Judged(
        address=explained.subject,
        evidence=explained.evidence,
        verdict=explained.verdict,
        way=way if explained.orphaned else "",
    )


def _holder_values(holder: Holder) -> dict[str, Any]:
    return {
        "id": holder.lock_id or holder.ticket,
        "who": holder.who,
        "operation": holder.info,
        "run": holder.run,
        "ticket": holder.ticket,
        "lock_id": holder.lock_id,
        "token": holder.token,
        "since": holder.lease.granted_at,
        "renewed_at": holder.lease.renewed_at,
        "lapses_at": holder.lease.lapses_at(),
        "mechanism": "queue",
    }


def _own_facts(
    state: str, holder: Holder, verdict: Verdict, override: Override | None, snapshot: str
) -> dict[str, str | int | float | bool | list[str] | None]:
    return {
        "lock_id": holder.lock_id or holder.ticket,
        "who": holder.who,
        "run": holder.run,
        "token": holder.token,
        "verdict": verdict.conclusion.value,
        "reasons": list(verdict.reasons),
        "missing": [fill_in(text, state) for text in verdict.missing],
        "verified_by": override.operator if override else None,
        "verified": override.reason if override else None,
        "snapshot": snapshot,
    }


def _job_of_run(runs: Path, run: str) -> JobReference | None:
    summary = find_summary(runs / run) if run else None
    return parse_job(summary.job) if summary is not None and summary.job else None


# -- Terraform's own lock ---------------------------------------------------------------------------------------------


class TerraformLockCase:
    """See `Case`; for Terraform's own lock.

    Args:
        question: What is asked, of which state.
        backend: Where the lock is.
    """

    def __init__(self, question: _Question, backend: ExistingBackend) -> None:
        self._question = question
        self._backend = backend
        self._judged: Judged | None = None

    async def examine(self) -> Explained:
        """See `Case.examine`."""
        asked = self._question.asked
        inquiry = Inquiry(
            lock_id=asked.lock_id,
            directory=self._question.directory,
            job=self._question.job,
            window_s=min(asked.window_s, MAX_WATCH_S),
            trust=self._question.trust,
            environ=self._question.environ,
            place_of=places_beside(self._question.ref),
            processes_of=lambda run: find_recorded(self._question.home.runs / run),
        )
        self._judged = await examine(self._backend, inquiry, clock=self._question.home.clock)
        return Explained(
            subject=self._question.subject,
            queue=self._question.ref.queue,
            address=self._judged.address,
            backend=self._backend.describe().type,
            lock=lock_values(self._judged.locks) if self._judged.locks else None,
            evidence=self._judged.evidence,
            verdict=self._judged.verdict,
            released=self._judged.released,
        )

    async def break_(self, override: Override | None) -> Freed:
        """See `Case.break_`."""
        judged = self._judged
        if judged is None or judged.lock is None:
            raise UsageError(
                f"{self._question.subject} is not locked", fix=command("lock", "explain", self._question.subject)
            )
        check_may_break(judged, override)
        await self._question.home.check_may(Right.FORCE_UNLOCK, self._question.ref.queue)
        await self._question.have_second_person((judged.lock.id,), f"lock {judged.lock.id}", override)
        broken = await break_lock(
            self._backend,
            judged,
            override=override,
            by=self._question.actor,
            keep=keep_of(self._question.home.settings),
            log=self._question.log,
            clock=self._question.home.clock,
        )
        return Freed(
            text=f"deleted lock {judged.lock.id} from " + " and ".join(lock.place for lock in judged.locks),
            snapshot=str(broken.snapshot or ""),
            findings=broken.findings,
            digest_agrees=broken.digest_agrees,
            plan=self._question.plan,
        )


def lock_values(locks: tuple[TerraformLock, ...]) -> dict[str, Any]:
    """Return the locks of one id as plain values."""
    first = locks[0]
    reference = find_reference(first.info)
    return {
        "id": first.id,
        "who": first.who,
        "operation": first.operation,
        "created": first.created,
        "info": first.info,
        "version": first.version,
        "path": first.path,
        "run": reference.run if reference else "",
        "mechanism": first.mechanism,
        "places": [lock.place for lock in locks],
        "unreadable": first.unreadable,
    }


__all__ = [
    "Asked",
    "Case",
    "Explained",
    "Freed",
    "LockHeld",
    "Override",
    "judged_of",
    "keep_of",
    "lock_values",
    "look",
    "open_case",
]
