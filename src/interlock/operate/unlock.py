"""One lock, whoever keeps it: examined, and broken on proof. A hand.

`GrantCase` is a grant of Interlock's own queue, wherever that queue is kept; `TerraformLockCase` is Terraform's own
lock in an existing backend. In a table or bucket with a queue of ours both exist; then the one that stands in the way
is examined.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from interlock.ci.job import JobReference, parse_job
from interlock.coordinator import Coordinator, View
from interlock.errors import InterlockError, LeaseLost, LockHeld, UsageError, command, fill_in
from interlock.existing import ExistingBackend, TerraformLock, find_reference
from interlock.existing.opening import open_backend
from interlock.home.interface import Home
from interlock.lock import Holder
from interlock.operate.places import places_beside
from interlock.recovery import Evidence, Says, Verdict, judge
from interlock.recovery.breaker import Breaker
from interlock.recovery.terraform_lock import Inquiry, Judged, Override, break_lock, check_may_break, examine
from interlock.recovery.witnesses import ci, heartbeat, terraform
from interlock.recovery.witnesses.ci import Trust
from interlock.recovery.witnesses.heartbeat import Watch
from interlock.recovery.witnesses.terraform import Suspect
from interlock.run.summary import find_summary
from interlock.site.existing_versions import keep_of
from interlock.site.holding import breaker
from interlock.site.opening import has_queue, open_queue, open_site_of, plan_hint
from interlock.site.own_leftovers import OwnLeftovers, find_recorded
from interlock.site.ref import StateRef, own_address
from interlock.site.which import resolve
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
        address: The state's address.
        backend: `interlock`, or Terraform's word for the backend.
        lock: The lock as plain values; None when nobody holds.
        evidence: What was seen.
        verdict: What follows; None when nobody holds.
        released: It was given back while we watched.
    """

    subject: str
    address: str
    backend: str
    lock: Mapping[str, Any] | None = None
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None
    released: bool = False


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
    async with AsyncExitStack() as stack:
        ref = await resolve(text, home, environ)
        desk = _Desk(
            subject=text,
            ref=ref,
            asked=asked,
            job=asked.reference(),
            home=home,
            environ=environ,
            plan=await plan_hint(ref, home),
        )
        if ref.is_own:
            yield GrantCase(desk, home.coordinator, breaker(home), state=ref.queue)
        else:
            yield await _existing_case(desk, home, stack)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """What every case needs. `plan` is the command that plans the state; see `plan_hint`."""

    subject: str
    ref: StateRef
    asked: Asked
    job: JobReference | None
    home: Home
    environ: Mapping[str, str]
    plan: str

    @property
    def directory(self) -> Path | None:
        """The root module, as far as it is known."""
        return self.ref.directory

    @property
    def trust(self) -> Trust:
        """What the operator vouches for."""
        return Trust(ephemeral_runners=self.asked.ephemeral_runners)


async def _existing_case(desk: _Desk, home: Home, stack: AsyncExitStack) -> Case:
    """Return the case of Terraform's lock, or of the queue beside it when the lock is that of a queued run, or none."""
    ref = desk.ref
    if not has_queue(ref):
        backend = await open_backend(ref.found, ref.root_module, clock=home.clock, ids=home.ids)
        stack.push_async_callback(backend.close)
        return TerraformLockCase(desk, backend)
    from interlock.site.existing_leftovers import ExistingLeftovers

    site = await stack.enter_async_context(open_site_of(ref, home))
    holders = await _queue_holders(site.coordinator, site.state)
    locks = await site.backend.read_locks()
    reference = find_reference(locks[0].info) if locks else None
    in_the_way = not locks or (reference is not None and any(holder.run == reference.run for holder in holders))
    if not holders or not in_the_way:
        return TerraformLockCase(desk, site.backend)
    if desk.asked.lock_id in {lock.id for lock in locks}:
        desk = replace(desk, asked=replace(desk.asked, lock_id=None))  # Terraform's id of the very run that holds
    leftovers = ExistingLeftovers(
        runs=home.runs,
        archive=home.archive,
        clock=home.clock,
        backend=site.backend,
        coordinator=site.coordinator,
    )
    recovery = Breaker(coordinator=site.coordinator, leftovers=leftovers, clock=home.clock, by=home.me)
    return GrantCase(desk, site.coordinator, recovery, state=site.state, backend=site.backend)


async def _queue_holders(coordinator: Coordinator, state: str) -> tuple[Holder, ...]:
    """Return who holds our queue; nobody when it cannot be read: plain users need no right to it."""
    try:
        return (await coordinator.view(state)).lock.holders
    except InterlockError:
        return ()


async def look(
    text: str, home: Home, environ: Mapping[str, str]
) -> tuple[StateRef, View | None, tuple[TerraformLock, ...]]:
    """Return what is meant, its queue where it has one, and Terraform's own locks on it, without watching anybody."""
    ref = await resolve(text, home, environ)
    view = None
    if has_queue(ref):
        async with open_queue(ref, home) as coordinator:
            view = await coordinator.view(ref.queue)
    if ref.is_own:
        return ref, view, ()
    backend = await open_backend(ref.found, ref.root_module, clock=home.clock, ids=home.ids)
    try:
        return ref, view, await backend.read_locks()
    finally:
        await backend.close()


# -- our own queue ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class GrantCase:
    """See `Case`; for a grant of our own queue.

    Attributes:
        desk: What is asked.
        coordinator: The queue.
        recovery: What breaks grants and saves what dead runs left.
        state: The state's name in the queue.
        backend: Where the state is, when it stays where it is.
    """

    desk: _Desk
    coordinator: Coordinator
    recovery: Breaker
    state: str
    backend: ExistingBackend | None = None
    _holder: Holder | None = field(default=None, init=False)
    _explained: Explained | None = field(default=None, init=False)

    async def examine(self) -> Explained:
        """See `Case.examine`."""
        watch, clock = Watch(), self.desk.home.clock
        from_ci: list[Evidence] | None = None
        first_beat = 0
        while True:
            holder = self._pick((await self.coordinator.view(self.state)).lock.holders)
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
                evidence.append(heartbeat.moved(source=f"lock record of {self.state}", now=clock.now()))
            verdict = judge(evidence)
            if verdict.conclusion.value != "undecided" or still_s >= min(window_s, MAX_WATCH_S):
                self._explained = self._explain(tuple(evidence), verdict)
                return self._explained
            await clock.sleep(min(_LOOK_S, window_s))

    async def break_(self, override: Override | None) -> Freed:
        """See `Case.break_`. What the run could not save is stored first, under its own grant."""
        holder, explained = self._holder, self._explained
        if holder is None or explained is None or explained.verdict is None:
            raise UsageError(f"nobody holds state {self.state}", fix=command("lock", "show", self.state))
        check_may_break(judged_of(explained), override)
        snapshot = await self._snapshot()
        facts = _own_facts(self.state, holder, explained.verdict, override, snapshot)
        await self.desk.home.audit.append(
            "force-unlock-decided", subject=explained.address, by=self.desk.home.me, facts=facts
        )
        reason = override.reason if override else "; ".join(explained.verdict.reasons)
        done = await self.recovery.recover(self.state, holder, reason=reason)
        if done is None:
            raise LeaseLost(
                f"the grant of token {holder.token} was not broken",
                why="it ended meanwhile",
                fix=command("lock", "show", self.state),
            )
        await self.desk.home.audit.append(
            "force-unlock", subject=explained.address, by=self.desk.home.me, facts={**facts, "done": done}
        )
        return Freed(text=done, snapshot=snapshot, findings=await self._verify(), plan=self.desk.plan)

    def _pick(self, holders: tuple[Holder, ...]) -> Holder | None:
        wanted = self.desk.asked.lock_id
        return next((one for one in holders if wanted in (None, one.lock_id, one.ticket, one.run)), None)

    def _window_s(self, holder: Holder) -> float:
        """A run shows signs of life within its lease; a plain Terraform and a person never do."""
        return holder.lease.lease_s if holder.run else self.desk.asked.window_s

    async def _gather(self, holder: Holder, still_s: float, window_s: float) -> list[Evidence]:
        if holder.run:
            return await asyncio.to_thread(self.recovery.gather, self.state, holder, still_s)
        now = self.desk.home.clock.now()
        silent = still_s >= window_s
        text = f"the lock stood still while we watched for {still_s:.1f}s" if silent else f"watched for {still_s:.1f}s"
        says = Says.SILENT if silent else Says.NOTHING
        stood = Evidence(witness="lock", says=says, text=text, source=f"lock record of {self.state}", observed_at=now)
        if holder.lock_id is None:
            how_to = f"ask {holder.who}; if they agree, give it back: {command('lock', 'release', self.state)}"
            text = f"it is held by hand ({holder.info})"
            hand = Evidence(
                witness="lock", says=Says.NOTHING, text=text, source=self.state, observed_at=now, how_to=how_to
            )
            return [stood, hand]
        suspect = Suspect(
            who=holder.who,
            created_at=holder.lease.granted_at,
            address=own_address(self.state),
            directory=self.desk.directory,
            in_ci=ci.is_ci(self.desk.environ),
        )
        return [stood, *await asyncio.to_thread(terraform.collect, suspect, places_beside(self.desk.ref), now=now)]

    async def _ask_ci(self, holder: Holder) -> Evidence:
        job = self.desk.job or _job_of_run(self.desk.home.runs, holder.run)
        return await asyncio.to_thread(
            ci.collect,
            job,
            self.desk.environ,
            now=self.desk.home.clock.now(),
            trust=self.desk.trust,
            held_since=holder.lease.granted_at,
        )

    def _explain(self, evidence: tuple[Evidence, ...], verdict: Verdict | None) -> Explained:
        return Explained(
            subject=self.desk.subject,
            address=self.desk.ref.address,
            backend="interlock" if self.backend is None else self.backend.describe().type,
            lock=None if verdict is None or self._holder is None else _holder_values(self._holder),
            evidence=evidence,
            verdict=verdict,
        )

    async def _snapshot(self) -> str:
        """Save the state; our own backend keeps every version anyway, so its number is enough."""
        if self.backend is None:
            head = (await self.coordinator.view(self.state)).head
            return f"version {head.number} of {self.state}" if head is not None else ""
        stored = await self.backend.read_state()
        if stored is None or stored.is_absent:
            return ""
        address = self.backend.describe().address
        path = await asyncio.to_thread(
            keep_of(self.desk.home.settings).save, address, stored.body, now=self.desk.home.clock.now()
        )
        return str(path)

    async def _verify(self) -> tuple[Finding, ...]:
        if self.backend is not None:
            stored = await self.backend.read_state()
            return verify_state(stored.body) if stored is not None and not stored.is_absent else ()
        assert isinstance(self.recovery.leftovers, OwnLeftovers)
        current = await self.recovery.leftovers.archive.current(self.state)
        return verify_state(current[1]) if current is not None else ()


def judged_of(explained: Explained) -> Judged:
    """Return the judgement alone: the rules of breaking are the same for every lock."""
    return Judged(address=explained.subject, evidence=explained.evidence, verdict=explained.verdict)


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


@dataclass(slots=True)
class TerraformLockCase:
    """See `Case`; for Terraform's own lock.

    Attributes:
        desk: What is asked.
        backend: Where it is.
    """

    desk: _Desk
    backend: ExistingBackend
    _judged: Judged | None = field(default=None, init=False)

    async def examine(self) -> Explained:
        """See `Case.examine`."""
        asked = self.desk.asked
        inquiry = Inquiry(
            lock_id=asked.lock_id,
            directory=self.desk.directory,
            job=self.desk.job,
            window_s=min(asked.window_s, MAX_WATCH_S),
            trust=self.desk.trust,
            environ=self.desk.environ,
            place_of=places_beside(self.desk.ref),
            processes_of=lambda run: find_recorded(self.desk.home.runs / run),
        )
        self._judged = await examine(self.backend, inquiry, clock=self.desk.home.clock)
        return Explained(
            subject=self.desk.subject,
            address=self._judged.address,
            backend=self.backend.describe().type,
            lock=lock_values(self._judged.locks) if self._judged.locks else None,
            evidence=self._judged.evidence,
            verdict=self._judged.verdict,
            released=self._judged.released,
        )

    async def break_(self, override: Override | None) -> Freed:
        """See `Case.break_`."""
        judged = self._judged
        if judged is None or judged.lock is None:
            raise UsageError(f"nobody holds {self.desk.subject}", fix=command("lock", "explain", self.desk.subject))
        broken = await break_lock(
            self.backend,
            judged,
            override=override,
            by=self.desk.home.me,
            keep=keep_of(self.desk.home.settings),
            log=self.desk.home.audit,
            clock=self.desk.home.clock,
        )
        return Freed(
            text=f"deleted lock {judged.lock.id} from " + " and ".join(lock.place for lock in judged.locks),
            snapshot=str(broken.snapshot or ""),
            findings=broken.findings,
            digest_agrees=broken.digest_agrees,
            plan=self.desk.plan,
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
