"""Takes a lease, drives the phases, stops safely.

The supervisor owns Terraform. It is detached from the terminal and the CI job, so that whatever happens to the front
end, Terraform finishes its operation, its state is saved, and only then the lock is released (promise P9).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from msgspec import Struct, field

from interlock.clock import Clock
from interlock.coordinator import Coordinator
from interlock.errors import (
    InterlockError,
    Interrupted,
    PolicyGate,
    Superseded,
    Terminated,
    TerraformFailed,
    UsageError,
    command,
)
from interlock.run import settle
from interlock.run.binary import Binary
from interlock.run.cut_off import also_cut, drop_saved, find_cut, name_signal
from interlock.run.endings import ApplyEnd, PlanEnd, judge_apply, judge_plan, may_repeat
from interlock.run.gate import check_plan
from interlock.run.given_values import PREFIX, hand_over, remove_given
from interlock.run.initialising import is_only_override
from interlock.run.interrupts import Action, Cause, Wishes, respond
from interlock.run.leaving import note_before_apply
from interlock.run.order import Operation, Order
from interlock.run.phases import Phase, may_step
from interlock.run.planned_files import check_digest, check_same, digest_of
from interlock.run.planned_for import (
    Label,
    Target,
    check_label,
    check_place,
    check_targets,
    in_one_form,
    is_asking_again,
    read_planned_for,
    with_label,
    with_override,
)
from interlock.run.progress import Progress
from interlock.run.protection import Kept, Level
from interlock.run.saved_plan import check_current, read_planned_from, with_refresh
from interlock.run.saving import PATIENCE_LEASES, check_room
from interlock.run.stage import Outcome, Running, Start, start
from interlock.run.standby import Standby, stand_by
from interlock.run.stopping import Ask, ask_once
from interlock.run.summary import recent
from interlock.run.surroundings import Diagnose, Gateway, Rescuer, Review, Seat, StateAccess
from interlock.run.to_its_end import to_its_end
from interlock.run.transcript import Journal
from interlock.run.turn import CANNOT, PRIORITY, Turn
from interlock.run.workspace import HEADING, IMPORTS_NAME, OVERRIDE, OVERRIDE_NAME, Workspace
from interlock.source.disk import write_file
from interlock.terraform import Options, Place, Verb, build_command, divide_flags, merge_environment
from interlock.terraform.command import PlanMode
from interlock.terraform.events import AnyEvent
from interlock.terraform.plan import SENSITIVE, PlanFacts, hide_secrets, parse_plan, secret_texts
from interlock.trust.own_secrets import without_own_secrets

_CAUSES = {
    Cause.SIGINT: "SIGINT, as by Ctrl-C",
    Cause.SIGTERM: "SIGTERM",
    Cause.SIGHUP: "SIGHUP, as by a terminal that closes",
    Cause.FRONT_END_GONE: "the command that ordered it is gone",
    Cause.CANCELLED: "somebody cancelled it",
    Cause.LEASE_LOST: "its lease was lost",
}
_CHANGES = 2  # exit code of `plan -detailed-exitcode` when there are changes
_NAMED = 5  # objects in one sentence
_REMEMBERED = 200  # runs that are asked whether they made a plan; older ones are cleared away anyway
_INIT_WORDS = ("Module not installed", "Inconsistent dependency lock file", "Required plugins are not installed")
_MODES: dict[Operation, PlanMode] = {Operation.DESTROY: "destroy", Operation.DRIFT: "refresh-only"}


class Hands(Struct, frozen=True, kw_only=True):
    """The real things that a supervisor works with; `compose` chooses them.

    `level` says which signals Terraform does not hear.
    `alive` is the open file whose lock says that the run lives; Terraform inherits it. See `interlock.host.alive`.
    `start` starts a command of Terraform, `ask` asks it to stop.
    """

    alive: int
    coordinator: Coordinator
    access: StateAccess
    rescuer: Rescuer
    diagnose: Diagnose
    clock: Clock
    gateway: Gateway | None = None
    review: Review | None = None
    level: Level = Level.NONE
    start: Start = start
    ask: Ask = ask_once
    before: Callable[[], Awaitable[None]] = field(default=lambda: asyncio.sleep(0))


class Supervisor:
    """One run, from its order to its exit status.

    Args:
        order: What was asked.
        hands: What it works with.
        workspace: Where Terraform works.
        binary: The Terraform to start.
        journal: The run's record.
        run_folder: The run's folder.
        environ: The environment that the front end gave.
    """

    def __init__(
        self,
        order: Order,
        *,
        hands: Hands,
        workspace: Workspace,
        binary: Binary,
        journal: Journal,
        run_folder: Path,
        environ: Mapping[str, str],
    ) -> None:
        self._order = order
        self._hands = hands
        self._workspace = workspace
        self._binary = binary
        self._journal = journal
        self._run_folder = run_folder
        given = hand_over(divide_flags(order.extra), directory=Path(order.directory), folder=run_folder)
        self._environ = {**without_own_secrets(environ), **given.environ}
        self._flags = given.flags
        self._phase = Phase.PREPARING
        self._stopping: Cause | None = None
        self._wishes = Wishes()
        self._parallelism: int | None = None
        self._running: Running | None = None
        self._asking: asyncio.Task[None] | None = None
        self._standbys: dict[str, asyncio.Task[Standby | None]] = {}
        self._approval: asyncio.Future[bool] | None = None
        self._body: asyncio.Task[int] | None = None
        self._turn = Turn(
            order=order,
            coordinator=hands.coordinator,
            rescuer=hands.rescuer,
            clock=hands.clock,
            journal=journal,
            runs=run_folder.parent,
            on_next=self._prepare_plan,
            on_lost=lambda: self.wish(Cause.LEASE_LOST),
        )
        self._saved = b""
        self._said_unprotected = False

    async def run(self) -> int:
        """Do the whole run.

        Returns:
            0, or 2 for a plan with changes when the order asks for it.

        Raises:
            InterlockError: It did not succeed; the error's family is the exit status.
        """
        self._body = asyncio.create_task(self._whole())
        try:
            return await self._body
        except asyncio.CancelledError:
            raise self._left() from None
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self._enter(Phase.ENDED)

    # -- wishes to stop ---------------------------------------------------------------------------------------------

    def wish(self, cause: Cause) -> None:
        """Somebody wants the run to stop. May come at any time, also more than once."""
        action, self._wishes = respond(self._phase, cause, self._wishes, self._hands.clock.monotonic())
        self._journal.tell("interrupt", {"cause": cause.value, "action": action.value, "phase": self._phase.value})
        match action:
            case Action.LEAVE:
                self._leave(cause)
            case Action.STOP:
                self._stopping = self._stopping or cause
                self._ask_terraform()
            case Action.KILL:
                if self._running is not None:
                    self._running.child.kill()
            case Action.DECLINE:
                self._stopping = cause
                self.answer(approved=False)
            case Action.WARN | Action.IGNORE:
                pass

    def answer(self, *, approved: bool) -> None:
        """The person answered the approval."""
        if self._approval is not None and not self._approval.done():
            self._approval.set_result(approved)

    def _leave(self, cause: Cause) -> None:
        if self._stopping is None and self._body is not None:
            self._stopping = cause
            self._body.cancel()

    def _ask_terraform(self) -> None:
        """Ask the command that runs now to stop; one that is about to start is asked when it has started."""
        if self._running is not None and self._asking is None:
            self._asking = asyncio.create_task(self._ask_once(self._running))

    async def _ask_once(self, running: Running) -> None:
        asked = await self._hands.ask(
            running.child.name,
            folder=self._run_folder,
            is_stopping=lambda: running.interruption.is_stopping,
            by=f"the supervisor of run {self._order.run}",
            clock=self._hands.clock,
            needs_marker=False,
        )
        self._journal.tell("asked", {"process": running.child.name.pid, "outcome": asked.value})

    def _left(self) -> InterlockError:
        if self._stopping is Cause.CANCELLED:
            return Superseded("the run was cancelled while it waited", fix="start a new run")
        return self._stopped("it left the queue; nothing was started")

    def _stopped(self, detail: str) -> InterlockError:
        if self._turn.lost is not None:
            return self._turn.lost
        return stopped(self._stopping, detail, run=self._order.run)

    def _check_going_on(self) -> None:
        """Between two commands: honour a wish that came while none was running."""
        if self._stopping is not None:
            raise self._left() if self._phase is Phase.QUEUED else self._stopped("nothing was changed")

    # -- phases -----------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase) -> None:
        assert may_step(self._phase, phase), (self._phase, phase)
        self._phase = phase
        self._journal.change(phase=phase.value)
        self._journal.tell("phase", {"phase": phase.value})

    async def _whole(self) -> int:
        await self._hands.before()
        self._turn.begin()
        self._enter(Phase.QUEUED)
        try:
            async with asyncio.TaskGroup() as group:
                early = await self._hands.access.may_initialise()
                initialising = group.create_task(self._initialise()) if early else None
                seat = await self._turn.take()
                heartbeat = group.create_task(self._turn.keep(seat))
                try:
                    return await self._hold(seat, initialising)
                finally:
                    heartbeat.cancel()
        finally:
            try:
                await self._turn.give_back()
            finally:
                await self._dismiss_standbys()

    async def _hold(self, seat: Seat, initialising: asyncio.Task[None] | None) -> int:
        self._hands.access.admit(seat)
        try:
            await self._hands.access.enter(self._journal.tell, timeout_s=self._turn.wait_left_s())
            await (initialising if initialising is not None else self._initialise())
            await self._take_saved()
            await self._open_gateway(seat)
            return await self._operate()
        finally:
            if self._phase not in (Phase.SETTLING, Phase.QUEUED):
                self._enter(Phase.SETTLING)
            try:
                await self._close_gateway()
            finally:
                try:
                    await self._leave_access()
                finally:
                    self._clear_away()

    async def _leave_access(self) -> None:
        """Let others in. When that fails the grant is kept too: recovery will find both, and nobody in between."""
        if self._turn.is_stranded:
            return
        self._turn.is_stranded = True
        try:
            await to_its_end(self._hands.access.leave())
        except CANNOT as error:
            self._journal.tell("note", {"text": f"Terraform's own lock could not be given back: {error}"})
        else:
            self._turn.is_stranded = False

    async def _open_gateway(self, seat: Seat) -> None:
        if self._hands.gateway is not None:
            priority, folder = PRIORITY[self._order.operation], self._workspace.folder
            self._environ |= await self._hands.gateway.open(self._order.run, priority, seat, folder)
            self._journal.learn(self._hands.gateway.secrets)

    async def _close_gateway(self) -> None:
        """Close it; the run's outcome is known by now, and a failure here must not take its place."""
        try:
            counts = await to_its_end(self._hands.gateway.close()) if self._hands.gateway is not None else {}
        except CANNOT as error:
            self._journal.tell("note", {"text": f"the gateway could not be closed: {error}"})
            return
        if counts:
            self._journal.tell("gateway", counts)

    async def _operate(self) -> int:
        """Plan and apply; after a passing failure once more from a fresh plan, as often as the order allows."""
        for attempt in range(1, self._order.retries + 2):
            try:
                return await self._attempt()
            except InterlockError as error:
                if attempt > self._order.retries or not self._may_try_again(error):
                    raise
                self._journal.tell("retry", {"attempt": attempt, "what": error.what, "why": error.why})
        raise AssertionError("the last attempt returns or raises")

    def _may_try_again(self, error: InterlockError) -> bool:
        """Say whether a fresh plan may mend it: nobody wants to stop, and the plan was ours to make."""
        return may_repeat(
            stop_requested=self._stopping is not None,
            lease_lost=self._turn.lost is not None,
            own_plan=self._order.plan_file is None,
            category=error.facts.get("category"),
        )

    async def _attempt(self) -> int:
        plan_path = self._run_folder / "plan.tfplan"
        if self._saved:
            facts = await self._read_saved(plan_path)
        else:
            facts = await self._plan(plan_path)
        if self._order.operation is Operation.DRIFT:
            return await self._scan(plan_path)
        if self._order.operation is Operation.PLAN:
            return await self._planned(facts)
        facts = await asyncio.to_thread(with_refresh, facts, plan_path, await self._hands.access.stored())
        if facts.is_empty:
            return await (self._apply(plan_path, facts) if self._has_to_store(facts) else self._planned(facts))
        check_plan(self._order, facts)
        await self._check_drift(plan_path, facts)
        await self._approve()
        return await self._apply(plan_path, facts)

    def _has_to_store(self, facts: PlanFacts) -> bool:
        """Say whether a plan that changes nothing is applied all the same, so that what its refresh found is stored.

        Plain Terraform does so without a question. Else objects that are gone would stay in the state for ever after
        a `destroy` that says "no changes", and a saved `-refresh-only` plan would do nothing.
        """
        if facts.refreshed_out:
            gone = ", ".join(sorted(facts.refreshed_out)[:_NAMED])
            self._journal.tell("note", {"text": f"{gone}: gone or moved already; the state is stored without them"})
        return bool(facts.refreshed_out) or (facts.refresh_differs and self._order.plan_file is not None)

    async def _planned(self, facts: PlanFacts) -> int:
        """End a run that only plans, or has nothing to do."""
        await self._end_unchanged()
        if self._order.out is not None:
            label = Label(state=self._order.state, module=self._order.module, targets=await self._targets())
            digest = await asyncio.to_thread(_keep, self._run_folder / "plan.tfplan", Path(self._order.out), label)
            self._journal.change(plan_digest=digest)
            self._journal.tell("kept", {"file": self._order.out, "digest": digest})
        return _CHANGES if self._order.detailed_exitcode and not facts.is_empty else 0

    async def _targets(self) -> dict[str, Target]:
        return dict(await self._hands.gateway.targets()) if self._hands.gateway is not None else {}

    async def _end_unchanged(self) -> None:
        self._check_going_on()
        current = await self._hands.access.current()
        self._journal.change(serial=current.serial, seen=settle.seen_of(current))
        self._journal.tell("state", {"serial": current.serial, "written": False})

    async def _scan(self, path: Path) -> int:
        """Look closer at what a refresh-only plan found."""
        assert self._hands.review is not None, "a drift run has a review"
        told = await self._hands.review.scan(await self._shown(path), self._generate)
        self._journal.tell("drift", told)
        await self._end_unchanged()
        return _CHANGES if self._order.detailed_exitcode and told["open"] else 0

    async def _check_drift(self, path: Path, facts: PlanFacts) -> None:
        review = self._hands.review
        if review is not None and review.is_needed(facts):
            await review.check(await self._shown(path))

    async def _note_made(self, outcome: Outcome) -> None:
        """Let the review know what was made. It only remembers, so its failure must not touch the run's."""
        if self._hands.review is None or self._stopping is not None or not outcome.made:
            return
        try:
            await self._hands.review.applied(outcome.made)
        except CANNOT as error:
            self._journal.tell("note", {"text": f"published versions were not noted: {error}"})

    async def _shown(self, path: Path) -> bytes:
        """Return the JSON of a plan. It holds every value, sensitive ones too, so its file does not stay."""
        outcome = await self._command("show", Verb.SHOW, Options(json=True, file=str(path)), None)
        shown = self._run_folder / "show.jsonl"
        try:
            if outcome.ended.code != 0:
                raise self._hands.diagnose(outcome.events, outcome.text)
            return await asyncio.to_thread(shown.read_bytes)
        finally:
            shown.unlink(missing_ok=True)

    async def _generate(self, blocks: str, addresses: tuple[str, ...]) -> tuple[str, bytes, str]:
        """Let Terraform write configuration for objects that `import` blocks name; see `surroundings.Generate`."""
        self._check_going_on()
        source, target, plan = (
            self._workspace.folder / IMPORTS_NAME,
            self._run_folder / "generated.tf",
            self._run_folder / "generate.tfplan",
        )
        flags = [f"-generate-config-out={target}", *(f"-target={address}" for address in addresses)]
        lock = self._hands.access.lock
        options = Options(json=True, lock=lock, out=str(plan), refresh=False, extra=(*self._flags.plan, *flags))
        try:
            source.write_text(blocks)
            outcome = await self._command("generate", Verb.PLAN, options, None)
            text = target.read_text() if target.exists() else ""
            shown = await self._shown(plan) if plan.exists() else b""
        finally:
            for path in (source, target, plan):
                path.unlink(missing_ok=True)
        failure = "" if outcome.ended.code == 0 else _first_error(outcome)
        return text, shown, failure

    async def _plan(self, path: Path) -> PlanFacts:
        self._enter(Phase.PLANNING)
        progress = Progress(self._journal.tell, self._hands.clock)
        outcome = await self._plan_once(path, progress)
        if outcome.ended.code == 1 and any(error.summary in _INIT_WORDS for error in outcome.errors):
            await self._init()
            progress = Progress(self._journal.tell, self._hands.clock)
            outcome = await self._plan_once(path, progress)
        self._check_planned(outcome, path)
        facts = progress.facts
        self._say_plan(facts)
        if self._order.operation is Operation.PLAN or not self._order.auto_approve:
            await self._render(path)
        return facts

    def _check_planned(self, outcome: Outcome, path: Path) -> None:
        """Go on only with a plan that Terraform made to its end."""
        end = judge_plan(
            says_stopping=outcome.interruption.is_stopping,
            was_killed=outcome.ended.killed_by is not None,
            exit_code=outcome.ended.code,
            has_file=path.exists(),
        )
        match end:
            case PlanEnd.MADE:
                return
            case PlanEnd.STOPPED_ELSEWHERE:
                raise stopped(None, "nothing was changed", run=self._order.run)
            case PlanEnd.KILLED:
                raise TerraformFailed(
                    f"Terraform was killed ({name_signal(outcome.ended.killed_by or 0)}) while it planned",
                    why="nothing was changed",
                    fix=command("plan", self._order.directory),
                )
            case PlanEnd.FAILED:
                raise self._hands.diagnose(outcome.events, outcome.text)

    async def _plan_once(self, path: Path, progress: Progress) -> Outcome:
        self._prepare_apply(path)
        return await self._command("plan", Verb.PLAN, self._plan_options(path), progress)

    def _plan_options(self, path: Path) -> Options:
        return Options(
            json=True,
            lock=self._hands.access.lock,
            detailed_exitcode=True,
            out=str(path),
            mode=_MODES.get(self._order.operation, "normal"),
            extra=self._flags.plan,
        )

    async def _take_saved(self) -> None:
        """Read the saved plan once, and compare it with what is here before anything of it runs, or leads anywhere.

        The gateway would send the OAuth client where the plan's provider block says, and `show` starts providers.
        """
        if self._order.plan_file is not None:
            self._saved = await asyncio.to_thread(self._checked_saved, Path(self._order.plan_file))

    def _checked_saved(self, path: Path) -> bytes:
        from interlock.run.plan_comparison import find_planned_elsewhere  # most runs apply their own plan

        order, plan = self._order, path.read_bytes()
        digest = digest_of(plan)
        if order.plan_digest is not None:
            check_digest(plan, order.plan_digest)
        self._journal.change(plan_digest=digest)
        self._journal.tell("saved-plan", {"digest": digest})
        plan = in_one_form(plan)
        is_known = order.plan_digest is not None or self._was_kept_here(digest)
        difference = find_planned_elsewhere(
            plan, self._workspace, self._binary, flags=order.extra, environ=self._environ, vouched=is_known
        )
        if difference is not None and order.allow_other_files:
            text = f"the plan was made from other files or values: {difference.subject}: {difference.why}"
            self._journal.tell("note", {"text": text})
        else:
            check_same(difference)
        return plan

    def _was_kept_here(self, digest: str) -> bool:
        """Say whether a run of this home made that plan; only the home's owner can say so."""
        past = recent(self._run_folder.parent, limit=_REMEMBERED)
        return any(run.plan_digest == digest and run.operation == Operation.PLAN.value for run in past)

    async def _read_saved(self, path: Path) -> PlanFacts:
        """Take a plan that was made, and reviewed, before."""
        self._enter(Phase.PLANNING)
        content = self._saved
        current = await self._hands.access.current()
        await self._check_target(content)
        check_current(read_planned_from(content), lineage=current.lineage, serial=current.serial)
        self._prepare_apply(path)
        adapted = await asyncio.to_thread(self._adapted, content)
        await asyncio.to_thread(write_file, path, adapted)
        document = await asyncio.to_thread(parse_plan, await self._shown(path))  # the heartbeat goes on meanwhile
        facts = settle.facts_of(document)
        self._say_plan(facts)
        if not self._order.auto_approve:
            await self._render(path)
        return facts

    def _adapted(self, plan: bytes) -> bytes:
        """Return a plan without the way to the gateway of the run that made it: nobody knows who listens there now."""
        if self._hands.gateway is not None:
            return self._hands.gateway.adapt(plan)
        return with_override(plan, OVERRIDE_NAME, HEADING if self._order.backend else OVERRIDE)

    async def _check_target(self, plan: bytes) -> None:
        """Refuse a plan that was made for another backend, state, root module or organisation (P11)."""
        planned, space = read_planned_for(plan), self._workspace
        workspace, is_new = self._hands.access.workspace or "default", read_planned_from(plan).serial == 0
        check_place(planned, backend=space.backend, place=space.place, workspace=workspace)
        check_label(planned, state=self._order.state, module=self._order.module, is_new=is_new)
        if planned.label is not None and planned.label.targets:
            check_targets(planned, await self._targets())

    def _say_plan(self, facts: PlanFacts) -> None:
        told = settle.plan_facts(facts)
        if self._hands.gateway is not None and not facts.is_empty:
            forecast = self._hands.gateway.forecast(facts, self._order.deadline_s, self._chosen_parallelism())
            told["forecast"] = forecast
            self._parallelism = int(str(forecast["parallelism"]))
        self._journal.change(counts=told["counts"])
        if self._order.operation is not Operation.DRIFT:  # "no changes" would be all that it says
            self._journal.tell("plan", told)

    def _chosen_parallelism(self) -> int | None:
        """Return the user's own -parallelism; None when the choice is ours."""
        values = [flag.partition("=")[2] for flag in self._flags.apply if flag.lstrip("-").startswith("parallelism=")]
        return int(values[-1]) if values and values[-1].isdecimal() else None

    async def _render(self, path: Path) -> None:
        """Write the plan as people read it. Terraform masks the values that it has marked, and not all their copies."""
        outcome = await self._command("rendered", Verb.SHOW, Options(file=str(path)), None)
        rendered = self._run_folder / "rendered.jsonl"
        if outcome.ended.code != 0:
            rendered.unlink()
            return
        text = await asyncio.to_thread(rendered.read_text, errors="replace")
        if SENSITIVE in text:
            secrets = await asyncio.to_thread(secret_texts, await self._shown(path))
            self._journal.learn(secrets)  # a provider may quote them when it fails
            rendered.write_text(await asyncio.to_thread(hide_secrets, text, secrets))
        rendered.rename(self._run_folder / "plan.txt")

    async def _approve(self) -> None:
        self._check_going_on()
        if self._order.auto_approve:
            return
        self._enter(Phase.AWAITING)
        self._approval = asyncio.get_running_loop().create_future()
        self._journal.tell("approval", {})
        approved = await self._approval
        self._check_going_on()
        if not approved:
            raise PolicyGate(
                "the plan was not approved", why="the answer was no; nothing was changed", fix="interlock plan"
            )

    async def _apply(self, path: Path, facts: PlanFacts) -> int:
        check_room(self._run_folder, len(await self._hands.access.stored() or b""))
        self._check_going_on()
        self._enter(Phase.APPLYING)
        note_before_apply(self._run_folder, errored=self._workspace.errored, allowed=facts.may_delete)
        self._hands.access.allow_deletions(facts.may_delete)
        progress = Progress(self._journal.tell, self._hands.clock, total=settle.count_operations(facts))
        outcome = await self._command("apply", Verb.APPLY, self._apply_options(path), progress)
        self._enter(Phase.SETTLING)
        await self._rest()
        await self._note_saved(outcome)
        failure = self._verdict(outcome)
        try:
            await settle.settle(
                outcome,
                failure=failure,
                plan=facts,
                access=self._hands.access,
                workspace=self._workspace,
                journal=self._journal,
                saving=settle.Saving(clock=self._hands.clock, patience_s=PATIENCE_LEASES * self._order.lease_s),
            )
        finally:
            await self._note_made(outcome)
        return 0

    async def _rest(self) -> None:
        """Wait for what Terraform sent last; what is stored is looked at after that in any case."""
        try:
            await self._hands.access.rest()
        except CANNOT as error:
            self._journal.tell("note", {"text": f"nobody waited for what Terraform sent last: {error}"})

    def _apply_options(self, path: Path) -> Options:
        ours = None if self._chosen_parallelism() is not None else self._parallelism
        lock = self._hands.access.lock
        again = self._flags.values if self._flags.values and is_asking_again(path) else ()
        return Options(json=True, lock=lock, file=str(path), parallelism=ours, extra=(*self._flags.apply, *again))

    async def _note_saved(self, outcome: Outcome) -> None:
        """Do not call unsaved what a Terraform that was cut off could store all the same."""
        if outcome.interruption.is_cut and outcome.interruption.unsaved:
            with suppress(InterlockError):  # then nobody knows, and it counts as unsaved
                drop_saved(outcome.interruption.unsaved, await self._hands.access.stored())

    def _verdict(self, outcome: Outcome) -> InterlockError | None:
        """Say how the apply ended, before anything is known of its state."""
        cut = find_cut(outcome, state=self._order.state, directory=self._order.directory, run_folder=self._run_folder)
        refused = self._hands.access.refused()
        end = judge_apply(
            lease_lost=self._turn.lost is not None,
            was_cut=cut is not None,
            exit_code=outcome.ended.code,
            stop_requested=self._stopping is not None,
            says_stopping=outcome.interruption.is_stopping,
            was_refused=refused is not None,
        )
        match end:
            case ApplyEnd.DONE:
                return None
            case ApplyEnd.LEASE_LOST:
                assert self._turn.lost is not None
                return self._turn.lost if cut is None else also_cut(self._turn.lost, cut)
            case ApplyEnd.CUT_OFF:
                return cut
            case ApplyEnd.STOPPED:
                was_killed = outcome.ended.killed_by is not None  # in the middle of a change it would be cut off
                return self._stopped("nothing was changed" if was_killed else "Terraform stopped and saved its state")
            case ApplyEnd.REFUSED:
                return refused
            case ApplyEnd.FAILED:
                return self._hands.diagnose(outcome.events, outcome.text)

    # -- Terraform --------------------------------------------------------------------------------------------------

    async def _initialise(self) -> None:
        if await asyncio.to_thread(self._workspace.seeded):
            await asyncio.to_thread(self._workspace.check_backend)
        else:
            await self._init()

    async def _init(self) -> None:
        self._journal.tell("init", {"binary": self._binary.name})
        outcome = await self._command("init", Verb.INIT, Options(extra=self._flags.init), None)
        if outcome.ended.code != 0:
            output = (self._run_folder / "init.jsonl").read_text(errors="replace") + "\n" + outcome.text
            if not is_only_override(output, _cli_config(self._environ)):
                raise self._hands.diagnose(outcome.events, output)
        await asyncio.to_thread(self._workspace.check_backend)
        await asyncio.to_thread(self._workspace.initialised)

    async def _command(self, name: str, verb: Verb, options: Options, progress: Progress | None) -> Outcome:
        """Run one Terraform command; a wish to stop reaches it while it runs.

        Whatever a command says that was asked to stop, the run was stopped: a `show` that was interrupted is no failed
        `show`, and half an `init` is none. Only an apply is looked at further, since it has changed things.

        Raises:
            Interrupted: The run was asked to stop before the command, or while it ran.
            Terminated: Likewise.
        """
        self._check_going_on()
        outcome = await self._followed(name, verb, options, progress)
        if verb is not Verb.APPLY:
            self._check_going_on()
        return outcome

    async def _followed(self, name: str, verb: Verb, options: Options, progress: Progress | None) -> Outcome:
        argv, environ = self._line(verb, options)
        self._journal.announce(name)
        standby = await self._standby_for(name, argv, environ)
        running = standby.running if standby is not None else await self._start(name, argv, environ)
        self._say_protection(running)
        self._running = running
        processes = {**self._journal.summary.processes, "terraform": running.child.name}
        self._journal.change(processes=processes, starting="")
        if self._stopping is not None:  # the wish came while it was being started
            self._ask_terraform()
        try:
            if standby is not None:
                standby.release()
            return await running.follow(progress.on_event if progress is not None else _ignore)
        except BaseException:
            await self._end_unfollowed(running, verb)
            raise
        finally:
            self._running = None
            if self._asking is not None:
                self._asking.cancel()
                self._asking = None
            if standby is not None:
                standby.forget()

    def _say_protection(self, running: Running) -> None:
        """Say once when Terraform hears what it was not to hear."""
        if running.child.kept is Kept.IGNORED_ONLY and not self._said_unprotected:
            self._said_unprotected = True
            text = "this system has no seccomp for us: Terraform and its providers hear a SIGTERM to the whole job"
            self._journal.tell("note", {"text": text})

    async def _end_unfollowed(self, running: Running, verb: Verb) -> None:
        """End a command that nobody follows any more: a wish ended `init`, or a defect of ours anything else.

        Nothing of other commands is worth saving. An apply saves its state first, whatever is wrong with us; what it
        leaves we cannot judge, so lock and grant stay, and recovery finds them with everything else.
        """
        if verb is Verb.APPLY:
            self._turn.is_stranded = True
            self._ask_terraform()
        else:
            running.child.kill()
        await running.child.wait()

    def _line(self, verb: Verb, options: Options) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the argument list and the whole environment of a command."""
        place = Place(
            folder=str(self._workspace.folder),
            data_dir=str(self._workspace.data_dir),
            backend=self._hands.access.backend,
            workspace=self._hands.access.workspace,
        )
        command = build_command(verb, options, place)
        environ = merge_environment(self._environ, command)
        if verb is Verb.APPLY and not is_asking_again(Path(options.file)):
            # the plan holds them: given again they change nothing, and Terraform quotes both where they differ
            environ = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
        return (*self._binary.argv, *command.argv[1:]), environ

    async def _start(
        self, name: str, argv: tuple[str, ...], environ: Mapping[str, str], also: tuple[int, ...] = ()
    ) -> Running:
        """Start a command; it keeps the locks on its tree and on the file that says the run lives, and `also`."""
        held = [handle for handle in (self._workspace.held, self._hands.alive, *also) if handle is not None]
        cwd, level = self._workspace.directory, self._hands.level
        running = await self._hands.start(
            name, argv, environ, cwd=cwd, run_folder=self._run_folder, held=held, level=level
        )
        # a plan's JSON is read as data and removed: with something hidden in it, it would be another plan
        return running if name == "show" else replace(running, known=self._journal.known)

    # -- commands that wait to begin; see standby.py ------------------------------------------------------------------

    def _prepare_plan(self) -> None:
        """We are next in line: start the plan, unless its environment is known only when the gateway is open."""
        if self._hands.gateway is None and self._order.plan_file is None:
            self._prepare("plan", Verb.PLAN, self._plan_options(self._run_folder / "plan.tfplan"))

    def _prepare_apply(self, path: Path) -> None:
        """Start the apply of a plan that is being made and that nobody will be asked about."""
        chosen = self._hands.gateway is None or self._chosen_parallelism() is not None
        if self._order.operation in (Operation.APPLY, Operation.DESTROY) and self._order.auto_approve and chosen:
            self._prepare("apply", Verb.APPLY, self._apply_options(path), plan=path)

    def _prepare(self, name: str, verb: Verb, options: Options, *, plan: Path | None = None) -> None:
        if name in self._standbys:
            return
        argv, environ = self._line(verb, options)
        cwd, folder = self._workspace.directory, self._run_folder
        preparing = stand_by(name, argv, environ, start=self._start, cwd=cwd, run_folder=folder, plan=plan)
        self._standbys[name] = asyncio.create_task(preparing)

    async def _standby_for(self, name: str, argv: tuple[str, ...], environ: Mapping[str, str]) -> Standby | None:
        if name not in self._standbys:
            return None
        standby = await asyncio.shield(self._standbys[name])
        del self._standbys[name]
        if standby is not None and not await standby.may_begin(argv, environ, self._hands.clock):
            await standby.dismiss()
            return None
        if standby is not None and self._stopping is not None:  # asked to stop here it would die of the signal
            await standby.dismiss()
            self._journal.change(starting="")
            raise self._stopped("nothing was changed")
        return standby

    async def _dismiss_standbys(self) -> None:
        while self._standbys:
            _, preparing = self._standbys.popitem()
            if (standby := await preparing) is not None:
                await standby.dismiss()

    def _clear_away(self) -> None:
        """Forget our plan, which holds secrets in clear, and let the user have what Terraform made beside the files."""
        (self._run_folder / "plan.tfplan").unlink(missing_ok=True)
        remove_given(self._run_folder)
        try:
            for name in self._workspace.give_back():
                self._journal.tell("note", {"text": f"Terraform created {name} beside the configuration"})
        except OSError as error:
            kept = f"what Terraform created stays in {self._workspace.folder}: {error}"
            self._journal.tell("note", {"text": kept})
        shutil.rmtree(self._workspace.data_dir, ignore_errors=True)


def stopped(cause: Cause | None, detail: str, *, run: str) -> InterlockError:
    """Return the end of a run that was stopped and lost nothing.

    Args:
        cause: Who wanted it; None for somebody who signalled Terraform itself.
        detail: What that means for the state.
        run: Run id.
    """
    kind = Interrupted if cause is Cause.SIGINT else Terminated
    who = _CAUSES[cause] if cause is not None else "a signal that was sent to Terraform itself"
    return kind("the run was stopped", why=f"{who}; {detail}", fix=command("runs", "show", run))


def _cli_config(environ: Mapping[str, str]) -> str:
    path = environ.get("TF_CLI_CONFIG_FILE") or str(Path(environ.get("HOME", "/")) / ".terraformrc")
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _first_error(outcome: Outcome) -> str:
    return next((error.summary for error in outcome.errors), "Terraform failed")


def _ignore(event: AnyEvent) -> None:
    """Events of commands whose output is read as a whole."""


def _keep(plan: Path, out: Path, label: Label) -> str:
    """Keep a plan for later, and return its digest."""
    try:
        kept = with_label(plan.read_bytes(), label)
        write_file(out, kept)
    except OSError as error:
        raise UsageError(
            f"the plan could not be kept in {out}",
            why=error.strerror or str(error),
            fix="name a file that can be written",
        ) from error
    return digest_of(kept)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that counts: ours before foreign ones."""
    leaves = [_first(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    ours = [error for error in leaves if isinstance(error, InterlockError)]
    return (ours or leaves)[0]
