"""Takes a lease, drives the phases, stops safely.

The supervisor owns Terraform. It is detached from the terminal and the CI job, so that whatever happens to the front
end, Terraform ends its operation, its state is saved, and only then the lock is released (promise P9).

The run is here: its phases, and what a wish to stop means in each. Its place in the queue and its grant are in
`turn.py`, Terraform's commands in `terraform_commands.py`, a plan that was made before in `reviewed_plan.py`.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, Struct, field, to_builtins
from msgspec.structs import replace

from interlock.clock import Clock
from interlock.coordinator import Coordinator
from interlock.errors import (
    BackendUnavailable,
    InterlockError,
    Interrupted,
    PlanStale,
    PolicyGate,
    StateInvalid,
    Superseded,
    Terminated,
    TerraformFailed,
    UsageError,
    command,
    reason_of,
)
from interlock.foreign_text import shell_word
from interlock.run import settle
from interlock.run.binary import Binary, tool_of
from interlock.run.cut_off import also_cut, drop_saved, find_cut, find_trace, name_signal
from interlock.run.endings import CRASH, ApplyEnd, PlanEnd, judge_apply, judge_plan, may_repeat
from interlock.run.entries import (
    ApprovalEntry,
    DriftEntry,
    GatewayEntry,
    InterruptEntry,
    KeptEntry,
    NoteEntry,
    OutputsEntry,
    PhaseEntry,
    PlanTextEntry,
    PrintedEntry,
    RetryEntry,
    StateEntry,
)
from interlock.run.first_apply import Start, judge_start, refuse_start, spell_start
from interlock.run.gate import agreed_at, check_forgotten, check_plan, check_unseen
from interlock.run.interrupts import Action, Cause, Wishes, respond
from interlock.run.leaving import note_before_apply
from interlock.run.order import AGREED_FILE, RUNS_A_COMMAND, Look, Operation, Order
from interlock.run.orphans import OF_GENESYS, orphans_entry, spell_repeat, with_orphans
from interlock.run.phases import Phase, may_step
from interlock.run.private_file import keep_private
from interlock.run.progress import Progress
from interlock.run.saved_plan import with_refresh
from interlock.run.saving import PATIENCE_LEASES, check_room
from interlock.run.shown import OUTPUTS_JSON
from interlock.run.stage import Outcome
from interlock.run.surroundings import Creations, Diagnose, Gateway, Rescuer, Review, Seat, StateAccess
from interlock.run.tainted import Tainted, find_tainted, look_at_all, tainted_text
from interlock.run.terraform_commands import PLAN_FILE, Commands, StopRequested
from interlock.run.told_plan import outputs_of_state, told_outputs
from interlock.run.transcript import Journal
from interlock.run.turn import CANNOT, PRIORITY, Turn
from interlock.run.workspace import Workspace
from interlock.source.disk import write_file
from interlock.source.tree import Tool
from interlock.state.encrypted import WITHOUT_CONTENT, is_encrypted
from interlock.state.lineage import find_gone
from interlock.terraform.events import Action as PlannedAction
from interlock.terraform.events import AnyEvent, Output, Unparsed
from interlock.terraform.plan import PlanFacts, parse_plan
from interlock.terraform.state_command import read_command
from interlock.to_its_end import to_its_end

if TYPE_CHECKING:
    from interlock.creations import Place
    from interlock.creations.looking import Ask
    from interlock.lock import Pause
    from interlock.run.planned_creations import PlannedCreation
    from interlock.run.policy_review import PolicyReview

_CAUSES = {
    Cause.SIGINT: "SIGINT, as by Ctrl-C",
    Cause.SIGTERM: "SIGTERM",
    Cause.SIGHUP: "SIGHUP, as by a terminal that closes",
    Cause.FRONT_END_GONE: "the command that ordered it is gone",
    Cause.CANCELLED: "somebody cancelled it",
    Cause.LEASE_LOST: "its lease was lost",
    Cause.SERVER_AWAY: "its server was away for longer than its lease",
}
_STOPPED_AS: Mapping[Cause | None, type[InterlockError]] = {
    Cause.SIGINT: Interrupted,
    Cause.SERVER_AWAY: BackendUnavailable,
}
_CHANGES = 2  # exit code of `plan -detailed-exitcode` when there are changes
_DAMAGED = "state-corrupt"  # the cause that a Terraform's words for an encrypted state have
_ERROR_LINES = 200  # of what a failed command said
_NAMED = 5  # objects in one sentence
_TAINTED = "tainted"  # Terraform's reason for a replacement
_INIT_WORDS = (
    "Module not installed",
    "Module source has changed",  # with a variable, which no file shows: Terraform 1.15, OpenTofu
    "Module version requirements have changed",
    "Inconsistent dependency lock file",
    "Required plugins are not installed",
)


class Hands(Struct, frozen=True, kw_only=True):
    """The real things that a supervisor works with; `compose` chooses them.

    `commands` are Terraform's, `access` is its way to the state. `check_pause` refuses to wait for a
    state that was moved away. `before` is awaited before anything else.
    """

    coordinator: Coordinator
    access: StateAccess
    commands: Commands
    rescuer: Rescuer
    diagnose: Diagnose
    clock: Clock
    gateway: Gateway | None = None
    review: Review | None = None
    creations: Creations | None = None
    policies: PolicyReview | None = None
    check_pause: Callable[[Pause | None], None] = field(default=lambda _: None)
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
    ) -> None:
        self._order = order
        self._hands = hands
        self._commands = hands.commands
        self._workspace = workspace
        self._binary = binary
        self._journal = journal
        self._run_folder = run_folder
        self._phase = Phase.PREPARING
        self._stopping: Cause | None = None
        self._stopped_by = ""
        self._wishes = Wishes()
        self._parallelism: int | None = None
        self._approval: asyncio.Future[bool] | None = None
        self._body: asyncio.Task[int] | None = None
        self._turn = self._make_turn()
        self._saved = b""
        self._is_unchanged = False
        self._has_repeated_crash = False
        self._repeats = False
        self._describing: asyncio.Task[None] | None = None
        self._calls: int | None = None

    def _make_turn(self) -> Turn:
        return Turn(
            order=self._order,
            coordinator=self._hands.coordinator,
            rescuer=self._hands.rescuer,
            clock=self._hands.clock,
            journal=self._journal,
            runs=self._run_folder.parent,
            on_next=self._expect_plan,
            on_lost=lambda: self.wish(Cause.LEASE_LOST),
            on_away=lambda: self.wish(Cause.SERVER_AWAY),
            check_pause=self._hands.check_pause,
            hold=self._hands.policies.hold if self._hands.policies is not None else None,
            limit_s=self._hands.policies.wait_s if self._hands.policies is not None else None,
            supersedes=self._hands.policies is not None and self._hands.policies.policies.supersede_previews,
        )

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

    def wish(self, cause: Cause, *, by: str = "") -> None:
        """Somebody, whose name may be known, wants the run to stop. May come at any time, also more than once."""
        action, self._wishes = respond(self._phase, cause, self._wishes, self._hands.clock.monotonic())
        self._journal.tell(
            InterruptEntry(cause=cause.value, action=action.value, phase=self._phase.value, by=by or UNSET)
        )
        match action:
            case Action.LEAVE:
                self._leave(cause, by)
            case Action.STOP:
                self._stop_for(cause, by)
                self._commands.stop()
            case Action.KILL:
                self._commands.kill()
            case Action.DECLINE:
                self._stop_for(cause, by)
                self.answer(approved=False)
            case Action.WARN | Action.IGNORE:
                pass

    def _stop_for(self, cause: Cause, by: str) -> None:
        if self._stopping is None:  # who wanted it first is the outcome
            self._stopping, self._stopped_by = cause, by

    def answer(self, *, approved: bool) -> None:
        """The person answered the approval."""
        if self._approval is not None and not self._approval.done():
            self._approval.set_result(approved)

    def _leave(self, cause: Cause, by: str) -> None:
        if self._stopping is None and self._body is not None:
            self._stopping, self._stopped_by = cause, by
            self._body.cancel()

    def _left(self) -> InterlockError:
        if self._stopping is Cause.CANCELLED:
            by = self._stopped_by or "somebody"
            return Superseded("the run was cancelled while it waited", why=f"{by} cancelled it", fix="start a new run")
        return self._stopped("it left the queue; nothing was started")

    def _stopped(self, detail: str) -> InterlockError:
        if self._turn.lost is not None:
            return self._turn.lost
        return stopped(self._stopping, detail, run=self._order.run, by=self._stopped_by)

    def _check_going_on(self) -> None:
        """Between two commands: honour a wish that came while none was running."""
        if self._stopping is not None:
            raise self._left() if self._phase is Phase.QUEUED else self._stopped("nothing was changed")

    # -- phases -----------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase) -> None:
        assert may_step(self._phase, phase), (self._phase, phase)
        self._phase = phase
        self._journal.change(phase=phase.value)
        self._journal.tell(PhaseEntry(phase=phase.value))

    async def _whole(self) -> int:
        await self._hands.before()
        self._turn.begin()
        self._enter(Phase.QUEUED)
        try:
            async with asyncio.TaskGroup() as group:
                if await self._plans_at_once():
                    self._expect_plan()
                else:
                    await self._commands.dismiss()  # one that began to stand by just before somebody else was granted
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
                await self._commands.dismiss()

    async def _plans_at_once(self) -> bool:
        """Say whether nothing but our own preparations stands before the plan."""
        if self._order.backend or not self._workspace.is_seeded:
            return (
                False  # elsewhere the look is a paid request that takes as long as what it saves; and `init` takes long
            )
        return not self._turn.is_held() and await self._turn.is_open()

    async def _hold(self, seat: Seat, initialising: asyncio.Task[None] | None) -> int:
        self._hands.access.admit(seat)
        try:
            await self._hands.access.enter(self._journal.tell, timeout_s=self._turn.wait_left_s())
            return await self._work(seat, initialising)
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

    async def _work(self, seat: Seat, initialising: asyncio.Task[None] | None) -> int:
        """Do what the run is for, now that the state is ours."""
        if self._order.encrypted:
            text = f"OpenTofu encrypts the state or the plan ({self._order.encrypted}): {WITHOUT_CONTENT}"
            self._journal.tell(NoteEntry(text=text))
        await (initialising if initialising is not None else self._initialise())
        await self._take_saved()
        await self._begin_encrypted(seat)
        await self._open_gateway(seat)
        await self._name_earlier_orphans()
        return await self._operate()

    async def _begin_encrypted(self, seat: Seat) -> None:
        """Store an empty state before the first apply of an encrypted one, so that it has a lineage.

        Else a Terraform that outlives its supervisor leaves a state without one, and nobody but it can give it one.
        A saved plan of a new state is applied without: it would be stale by this.
        """
        applies = self._order.operation in (Operation.APPLY, Operation.DESTROY) and not self._saved
        access = self._hands.access
        if not (self._order.encrypted and applies) or (await access.current()).lineage:
            return
        access.allow_deletions(frozenset())  # what comes now is to be stored
        try:
            await self._commands.begin_state(settle.lineage_of(self._order.run))
            await access.settle(self._journal.tell)
        except StopRequested:
            raise self._stopped("nothing was changed") from None
        finally:
            access.admit(seat)

    async def _initialise(self) -> None:
        """Make the tree ready. To a Terraform an encrypted state is a damaged one, which `init` already meets.

        The advice for a damaged one, to restore an older version, would lose what is fine.
        """
        try:
            await self._commands.initialise()
        except StateInvalid as error:
            raise await self._seen_right(error) from None

    async def _seen_right(self, error: StateInvalid) -> InterlockError:
        """Return what is wrong when a Terraform calls a state damaged: nothing with it, where OpenTofu encrypted it."""
        if error.facts.get("category") == _DAMAGED and is_encrypted(await self._hands.access.stored()):
            return no_key(self._order.state, self._binary.name)
        return error

    async def _leave_access(self) -> None:
        """Let others in. When that fails the grant is kept too: recovery will find both, and nobody in between.

        It is kept as well when an apply was ended that nobody followed: what it left we cannot judge.
        """
        if self._commands.has_unjudged_apply:
            self._turn.is_stranded = True
            return
        self._turn.is_stranded = True
        try:
            await to_its_end(self._hands.access.leave())
        except CANNOT as error:
            self._journal.tell(NoteEntry(text=f"Terraform's own lock could not be given back: {error}"))
        else:
            self._turn.is_stranded = False

    async def _open_gateway(self, seat: Seat) -> None:
        if self._hands.gateway is not None:
            priority, folder = PRIORITY[self._order.operation], self._workspace.folder
            self._commands.add(await self._hands.gateway.open(self._order.run, priority, seat, folder))
            self._journal.learn(self._hands.gateway.secrets)
            self._journal.change(gateway_ports=list(self._hands.gateway.ports))

    # -- objects that no state holds ----------------------------------------------------------------------------------

    async def _name_earlier_orphans(self) -> None:
        """Say what earlier runs made that is in no state, before anything is made again."""
        if self._hands.creations is None:
            return
        try:
            found = await self._hands.creations.begin(self._hands.access.stored, self._ask_of)
        except CANNOT as error:
            self._journal.tell(NoteEntry(text=f"whether earlier runs made something that is in no state: {error}"))
            return
        if found:
            self._journal.tell(orphans_entry("begin", found, self._order.state))

    def _ask_of(self, place: Place) -> Ask | None:
        """Return what reads from an organisation through the run's gateway; None where it does not lead there."""
        return self._hands.gateway.ask_of(place) if self._hands.gateway is not None else None

    async def _check_changes(self, path: Path, facts: PlanFacts) -> None:
        """Refuse a plan whose apply would fail in its middle, for want of a way to the organisation."""
        gateway = self._hands.gateway
        if gateway is not None and any(change.resource.type.startswith(OF_GENESYS) for change in facts.changes):
            await asyncio.to_thread(lambda: gateway.check_changes(path.read_bytes(), facts, self._order))

    async def _expect_creations(self, path: Path, facts: PlanFacts) -> None:
        """Say which objects the plan makes a second time. It only warns: the API has the last word on names."""
        if self._hands.creations is None or self._order.operation is Operation.DRIFT:
            return
        planned = await self._planned_creations(path, facts)
        repeats = self._hands.creations.expect(planned)
        self._repeats = bool(repeats)
        if repeats:
            texts = [spell_repeat(each.planned.address, each.creation) for each in repeats]
            told = orphans_entry("plan", [each.creation for each in repeats], self._order.state, texts)
            self._journal.tell(told)

    async def _planned_creations(self, path: Path, facts: PlanFacts) -> Sequence[PlannedCreation]:
        if not any(change.resource.type.startswith(OF_GENESYS) for change in facts.changes):
            return ()  # without the import below, which brings readers of plan files and of HCL
        from interlock.run.planned_creations import read_planned_creations

        return await asyncio.to_thread(lambda: read_planned_creations(path.read_bytes(), facts))

    @property
    def _program(self) -> str:
        """How a person starts this Terraform, as a shell reads it."""
        return " ".join(map(shell_word, self._binary.argv))

    async def _look_at(self, tainted: Sequence[Tainted]) -> Mapping[str, str]:
        """Say what the organisation shows of tainted objects, as far as it can be asked."""
        if self._hands.gateway is None:
            return {}
        try:
            return await look_at_all(tainted, self._hands.gateway.ask_for)
        except CANNOT:
            return {}

    async def _tell_planned_replacements(self, facts: PlanFacts) -> None:
        """Say what the plan replaces only because a run was stopped or failed, and how it is kept."""
        wanted = {change.resource.address for change in facts.changes if change.reason == _TAINTED}
        if not wanted:
            return
        try:
            found = find_tainted(await self._hands.access.stored())
        except CANNOT as error:
            self._journal.tell(NoteEntry(text=f"tainted objects could not be looked at: {error}"))
            return
        tainted = [each for each in found if each.address in wanted]
        if tainted:
            seen = await self._look_at(tainted)
            state, program = self._order.state, self._program
            text = tainted_text(tainted, seen, state=state, program=program, is_planned=True)
            self._journal.tell(NoteEntry(text=text))

    async def _name_orphans(self, failure: InterlockError | None) -> None:
        """Say what this run made that is in no state; a failure then names the way to it."""
        if self._hands.creations is None:
            return
        try:
            found = await self._hands.creations.settle(
                self._hands.access.stored, self._ask_of, succeeded=failure is None
            )
        except CANNOT as error:
            self._journal.tell(NoteEntry(text=f"whether everything that was made is in the state: {error}"))
            return
        self._journal.change(orphans=len(found))
        if found:
            self._journal.tell(orphans_entry("end", found, self._order.state))
        if failure is not None and (found or self._repeats):
            with_orphans(failure, state=self._order.state, repeats=self._repeats)

    async def _close_gateway(self) -> None:
        """Close it; the run's outcome is known by now, and a failure here must not take its place."""
        try:
            counts = await to_its_end(self._hands.gateway.close()) if self._hands.gateway is not None else {}
        except CANNOT as error:
            self._journal.tell(NoteEntry(text=f"the gateway could not be closed: {error}"))
            return
        if counts:
            self._journal.tell(GatewayEntry(counts=dict(counts)))

    async def _operate(self) -> int:
        """Plan and apply; after a passing failure once more from a fresh plan, as often as the order allows."""
        if self._order.operation in RUNS_A_COMMAND:
            return await self._execute()
        for attempt in range(1, self._order.retries + 2):
            try:
                return await self._attempt()
            except StopRequested:
                raise self._stopped("nothing was changed") from None
            except InterlockError as error:
                if attempt > self._order.retries or not self._may_try_again(error):
                    raise
                self._has_repeated_crash |= error.facts.get("category") == CRASH
                self._journal.tell(RetryEntry(attempt=attempt, what=error.what, why=error.why))
        raise AssertionError("the last attempt returns or raises")

    def _may_try_again(self, error: InterlockError) -> bool:
        """Say whether a fresh plan may mend it: nobody wants to stop, and the plan was ours to make."""
        return may_repeat(
            stop_requested=self._stopping is not None,
            lease_lost=self._turn.lost is not None,
            # What persons approved is applied once: a second plan they have not seen.
            own_plan=self._order.plan_file is None and not self._order.approval,
            category=error.facts.get("category"),
            is_first_crash_before_change=self._is_unchanged and not self._has_repeated_crash,
        )

    def _diagnosed(self, outcome: Outcome) -> InterlockError:
        """Name the cause of a failed command; of a crash also the file that has its stack trace."""
        error = self._hands.diagnose(outcome.events, outcome.text)
        if error.facts.get("category") != CRASH:
            return error
        if (trace := find_trace(self._run_folder)) is not None:
            error.fix = f"less {shell_word(str(trace))}    has the stack trace, for the provider's makers; {error.fix}"
        elif tool_of(self._binary.name) is Tool.TOFU:
            error.fix += "; OpenTofu prints a provider's stack trace only with TF_LOG=error"
        return error

    def _marked(self) -> tuple[object, ...]:
        """Return what must be the same after a command that changed nothing; nothing where calls pass nobody.

        Terraform stores what its refresh found also when nothing was begun: a fresh plan starts from that, and a plan
        that was made before is stale then.
        """
        writes = self._hands.gateway.writes if self._hands.gateway is not None else None
        stored = self._hands.access.accepted() if self._order.plan_file is not None else None
        return () if writes is None else (writes, stored)

    def _judge_change(self, outcome: Outcome, before: tuple[object, ...]) -> None:
        """Note whether it is proven that a command changed nothing: by its events, the gateway and the state."""
        self._is_unchanged = bool(before) and not outcome.changed_something and self._marked() == before

    async def _execute(self) -> int:
        """Carry out a command of Terraform instead of plan and apply; see `interlock.terraform.state_command`."""
        self._enter(Phase.PLANNING)
        try:
            return await (self._read() if self._order.operation is Operation.READ else self._change())
        except StopRequested:
            raise self._stopped("nothing was changed") from None

    async def _read(self) -> int:
        outcome = await self._commands.execute(self._tell_printed)
        if outcome.ended.code != 0:
            self._tell_errors(outcome)
            raise self._hands.diagnose(outcome.events, outcome.text)
        await self._end_unchanged()
        return 0

    def _tell_errors(self, outcome: Outcome) -> None:
        """Tell what a failed command said: its cause alone, as a run's, would hide what was typed wrong."""
        for line in outcome.text.splitlines()[:_ERROR_LINES]:
            if line.strip():
                self._journal.tell(PrintedEntry(text=line, is_error=True))

    async def _change(self) -> int:
        """Change the state by a command. What it takes out of the state is known before it begins, by a rehearsal."""
        gone, lost = await self._find_gone()
        check_forgotten(self._order, lost)
        if self._hands.policies is not None:
            await self._hands.policies.check_removals(lost)
            current = await self._hands.access.current()
            if self._hands.policies.asks_for_approval:
                await self._hands.policies.check_command(lineage=current.lineage, serial=current.serial)
        facts = PlanFacts(may_delete=gone)
        return await self._act(facts, self._told)

    async def _find_gone(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """Return the addresses that the state would lack, and the objects that it would have nowhere."""
        stored = await self._hands.access.stored()
        if not stored or not read_command(self._order.command).kind.removes:
            return frozenset(), ()
        if is_encrypted(stored):
            check_unseen(self._order)
            return frozenset(), ()
        after = await self._commands.rehearse(stored)
        return await asyncio.to_thread(find_gone, stored, after)

    async def _told(self) -> Outcome:
        outcome = await self._commands.execute(self._tell_printed)
        if outcome.ended.code != 0:
            self._tell_errors(outcome)
        return outcome

    def _tell_printed(self, event: AnyEvent) -> None:
        if isinstance(event, Unparsed) and self._order.operation is Operation.EXEC:
            self._journal.tell(PrintedEntry(text=event.message))

    async def _attempt(self) -> int:
        try:
            return await self._plan_and_apply(self._run_folder / PLAN_FILE)
        finally:
            await self._end_describing()

    async def _plan_and_apply(self, plan_path: Path) -> int:
        await self._check_scan()
        facts = await (self._read_kept(plan_path) if self._saved else self._plan(plan_path))
        if self._order.operation is Operation.DRIFT:
            return await self._scan(plan_path)
        if self._order.operation is Operation.PLAN:
            self._judge_start(facts, is_new=not self._order.backend and await self._is_new())
            await self._gate_plan(plan_path, facts)
            return await self._planned(facts)
        stored = await self._hands.access.stored()
        facts = await asyncio.to_thread(with_refresh, facts, plan_path, stored)
        if facts.is_empty and not self._has_to_store(facts):
            self._tell_outputs(outputs_of_state(stored))
            return await self._planned(facts)
        if facts.is_empty:
            return await self._apply(plan_path, facts)
        await self._check_deletions(facts)
        await self._check_policies(plan_path, facts)
        start = self._judge_start(facts, is_new=stored is None)
        await self._check_drift(plan_path, facts)
        if self._hands.policies is not None and self._hands.policies.asks_for_approval:
            await self._have_approved(self._hands.policies, plan_path, facts)
        else:
            await self._approve(start)
        return await self._apply(plan_path, facts)

    async def _check_deletions(self, facts: PlanFacts) -> None:
        """Refuse deletions that nobody allowed, and say which ones reviewers agreed to."""
        current = await self._hands.access.current()
        check_plan(self._order, facts, lineage=current.lineage, serial=current.serial)
        allowed = agreed_at(self._order, lineage=current.lineage, serial=current.serial)
        agreed = sorted(allowed.intersection(facts.destroyed))
        if agreed:
            self._journal.tell(NoteEntry(text=f"{AGREED_FILE} agrees to the deletion of {', '.join(agreed)}"))

    async def _check_policies(self, path: Path, facts: PlanFacts) -> None:
        """Ask the policies of the state.

        Raises:
            PolicyGate: One refuses the plan.
        """
        if self._hands.policies is None:
            return
        current = await self._hands.access.current()
        agreed = agreed_at(self._order, lineage=current.lineage, serial=current.serial)
        await self._hands.policies.check(
            facts, calls=self._calls, agreed=agreed, shown=lambda: self._commands.show(path)
        )

    async def _read_kept(self, path: Path) -> PlanFacts:
        """Read the saved plan. One that persons approved is made again when the state has moved on.

        Raises:
            PlanStale: It was a person's own, or was made from other files, or with values that nothing here gives.
        """
        try:
            return await self._read_saved(path)
        except PlanStale as error:
            if not self._order.approval:
                raise
            await self._check_can_be_made_again(why=error.why)
            self._journal.tell(
                NoteEntry(text=f"the approved plan does not hold any more ({error.why}): planning again")
            )
        self._saved = b""
        self._order = msgspec.structs.replace(self._order, plan_file=None, plan_digest=None)
        return await self._plan(path)

    async def _check_can_be_made_again(self, *, why: str) -> None:
        from interlock.run.reviewed_plan import check_can_be_made_again

        place, environ = self._workspace, self._commands.environ
        await asyncio.to_thread(
            check_can_be_made_again, self._saved, self._order, place, self._binary, environ=environ, why=why
        )

    async def _have_approved(self, policies: PolicyReview, path: Path, facts: PlanFacts) -> None:
        """Go on with what persons approved, or keep the plan and end: nothing is held while they decide.

        Raises:
            PolicyGate: It waits for approval.
        """
        self._check_going_on()
        from interlock.run.plan_essence import essence_of

        content = await asyncio.to_thread(path.read_bytes)
        targets = dict(await self._hands.gateway.targets()) if self._hands.gateway is not None else {}
        shown = await self._commands.show(path)
        essence = await asyncio.to_thread(essence_of, shown, content, to_builtins(targets))
        kept_digest = self._order.plan_digest if self._order.approval else None
        request = self._order.approval or (await policies.find_request(essence) if self._saved else "")
        if request:
            try:
                await policies.use(request, kept_digest or essence)
            except PlanStale as error:
                if not policies.may_ask:
                    raise
                self._journal.tell(NoteEntry(text=f"{error.what}: this one must be approved anew"))
            else:
                self._check_going_on()
                return
        kept, digest = await self._keep(self._run_folder / "kept.tfplan")
        raise await policies.ask(facts, kept, digest=digest, essence=essence)

    async def _gate_plan(self, path: Path, facts: PlanFacts) -> None:
        """Refuse a plan now when its apply would be refused, or only say so.

        Raises:
            PolicyGate: It deletes what may not be deleted, or a policy refuses it.
            DriftGate: It reverts drift about which nobody decided.
        """
        try:
            await self._check_deletions(facts)
            await self._check_policies(path, facts)
        except PolicyGate as error:
            if self._order.gate:
                raise
            self._journal.tell(NoteEntry(text=f"an apply of this plan ends with {error.exit_status}: {error.what}"))
        if self._order.gate:
            await self._check_drift(path, facts)

    async def _check_scan(self) -> None:
        """Refuse to look for drift of nothing: it would find none, and look like all is well.

        Raises:
            UsageError: Nothing is stored, and nothing beside the state is looked for.
        """
        order = self._order
        if order.operation is not Operation.DRIFT or order.look != Look():
            return
        if not (await self._hands.access.current()).lineage:
            place = "" if order.backend else f" in {order.home}"
            raise UsageError(
                f"state {order.state} has no content, so there is nothing to compare",
                why=f"nothing was ever stored for it{place}; nothing was looked at",
                fix=command("state", "ls"),
            )

    def _has_to_store(self, facts: PlanFacts) -> bool:
        """Say whether a plan that changes nothing is applied all the same, so that what its refresh found is stored.

        OpenTofu encrypts a state anew at an apply, also when nothing changes, and writes nothing when it need not.

        Plain Terraform does so without a question. Else objects that are gone would stay in the state for ever after
        a `destroy` that says "no changes", and a saved `-refresh-only` plan would do nothing.
        """
        if facts.refreshed_out:
            gone = ", ".join(sorted(facts.refreshed_out)[:_NAMED])
            self._journal.tell(NoteEntry(text=f"{gone}: gone or moved already; the state is stored without them"))
        wanted = self._order.plan_file is not None or self._order.operation is Operation.REFRESH
        return bool(facts.refreshed_out or self._order.encrypted) or (facts.refresh_differs and wanted)

    async def _planned(self, facts: PlanFacts) -> int:
        """End a run that only plans, or has nothing to do."""
        await self._end_unchanged()
        if self._order.out is not None:
            digest = await self._keep_in(Path(self._order.out))
            self._journal.change(plan_digest=digest)
            self._journal.tell(KeptEntry(file=self._order.out, digest=digest))
        return _CHANGES if self._order.detailed_exitcode and not facts.is_empty else 0

    async def _keep(self, out: Path) -> tuple[bytes, str]:
        """Return the plan with what it was made for, and its digest; nothing of it stays in the run's folder."""
        try:
            digest = await self._keep_in(out)
            return await asyncio.to_thread(out.read_bytes), digest
        finally:
            out.unlink(missing_ok=True)

    async def _keep_in(self, out: Path) -> str:
        """Keep the plan, with what it was made for, in a file; return its digest."""
        from interlock.run.planned_for import Label
        from interlock.run.reviewed_plan import binding_of, keep_plan  # most plans are not kept

        targets = dict(await self._hands.gateway.targets()) if self._hands.gateway is not None else {}
        label = Label(state=self._order.state, module=self._order.module, targets=targets)
        bound = binding_of(
            self._order,
            self._workspace,
            self._binary,
            space=self._hands.access.workspace or "default",
            current=await self._hands.access.current(),
            gateway=self._hands.gateway,
        )
        return await asyncio.to_thread(keep_plan, self._run_folder / PLAN_FILE, out, label, bound)

    async def _end_unchanged(self) -> None:
        self._check_going_on()
        current = await self._hands.access.current()
        self._journal.change(serial=current.serial, seen=settle.seen_of(current))
        self._journal.tell(StateEntry(serial=current.serial, written=False))

    async def _scan(self, path: Path) -> int:
        """Look closer at what a refresh-only plan found."""
        assert self._hands.review is not None, "a drift run has a review"
        told = await self._hands.review.scan(await self._commands.show(path), self._commands.generate)
        self._journal.tell(DriftEntry(counts=dict(told)))
        await self._end_unchanged()
        return _CHANGES if self._order.detailed_exitcode and told["open"] else 0

    async def _check_drift(self, path: Path, facts: PlanFacts) -> None:
        review = self._hands.review
        if review is not None and review.is_needed(facts):
            await review.check(await self._commands.show(path))

    async def _note_made(self, outcome: Outcome) -> None:
        """Let the review know what was made. It only remembers, so its failure must not touch the run's."""
        if self._hands.review is None or self._stopping is not None or not outcome.made:
            return
        try:
            await self._hands.review.applied(outcome.made)
        except CANNOT as error:
            self._journal.tell(NoteEntry(text=f"published versions were not noted: {error}"))

    async def _plan(self, path: Path) -> PlanFacts:
        self._enter(Phase.PLANNING)
        progress = Progress(self._journal.tell, self._hands.clock)
        outcome = await self._plan_once(path, progress)
        if outcome.ended.code == 1 and any(error.summary in _INIT_WORDS for error in outcome.errors):
            await self._commands.initialise(again=True)
            progress = Progress(self._journal.tell, self._hands.clock)
            outcome = await self._plan_once(path, progress)
        try:
            self._check_planned(outcome, path)
        except StateInvalid as error:
            raise await self._seen_right(error) from None
        facts = progress.facts
        self._say_plan(facts)
        await self._check_changes(path, facts)
        await self._expect_creations(path, facts)
        await self._tell_planned_replacements(facts)
        await self._describe(path, facts)
        return facts

    async def _describe(self, path: Path, facts: PlanFacts) -> None:
        """Let people see the plan: before they are asked; of an apply that nobody is asked about, while it goes on."""
        match self._order.operation:
            case Operation.DRIFT:
                return
            case Operation.APPLY | Operation.DESTROY | Operation.REFRESH if self._order.auto_approve:
                if not facts.is_empty:
                    self._describing = asyncio.create_task(self._tell_text(path))
            case _:
                await self._tell_text(path)

    async def _tell_text(self, path: Path) -> None:
        self._journal.tell(PlanTextEntry(why=await self._commands.describe(path)))

    async def _end_describing(self) -> None:
        """Wait for what people see of the plan: after this the plan is removed. A wish to stop ends it at once.

        Whatever goes wrong with it, the outcome is that of the apply.
        """
        task, self._describing = self._describing, None
        if task is None:
            return
        try:
            await to_its_end(_result_of(task))
        except StopRequested:
            pass
        except Exception as error:  # noqa: BLE001 - the apply beside it has changed things, and only that counts
            self._journal.tell(NoteEntry(text=f"the plan cannot be shown: {reason_of(error)}"))

    def _tell_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Keep the outputs for people and programs. Only a help: a full disk is not an error here."""
        if not outputs:
            return
        told = told_outputs(outputs, self._journal.known)
        try:
            keep_private(self._run_folder / OUTPUTS_JSON, msgspec.json.encode(told))
        except OSError as error:
            self._journal.tell(NoteEntry(text=f"the outputs could not be kept: {error.strerror or error}"))
        else:
            self._journal.tell(OutputsEntry(names=list(told)))

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
                    fix=command("plan", "--state", self._order.state, self._order.directory),
                )
            case PlanEnd.FAILED:
                raise self._diagnosed(outcome)

    async def _plan_once(self, path: Path, progress: Progress) -> Outcome:
        self._expect_apply(path)
        before = self._marked()
        outcome = await self._commands.plan(path, progress.on_event)
        self._judge_change(outcome, before)
        return outcome

    async def _take_saved(self) -> None:
        """Read the saved plan, once, before anything of it runs."""
        if self._order.plan_file is None:
            return
        from interlock.run.reviewed_plan import take_plan  # most runs apply their own plan

        self._saved = await asyncio.to_thread(
            take_plan,
            Path(self._order.plan_file),
            self._order,
            self._workspace,
            self._binary,
            environ=self._commands.environ,
            journal=self._journal,
        )

    async def _read_saved(self, path: Path) -> PlanFacts:
        """Take a plan that was made, and reviewed, before."""
        from interlock.run.encrypted_plan import is_encrypted_plan
        from interlock.run.reviewed_plan import adapted, check_target, check_values

        self._enter(Phase.PLANNING)
        access, gateway = self._hands.access, self._hands.gateway
        await check_target(
            self._saved,
            self._order,
            self._workspace,
            space=access.workspace or "default",
            current=await access.current(),
            gateway=gateway,
        )
        self._expect_apply(path)
        content = await asyncio.to_thread(adapted, self._saved, self._workspace, gateway)
        await asyncio.to_thread(write_file, path, content)
        shown = await self._commands.show(path)
        if is_encrypted_plan(self._saved):
            environ = self._commands.environ
            await asyncio.to_thread(
                check_values, shown, self._order, self._workspace, environ=environ, journal=self._journal
            )
        document = await asyncio.to_thread(parse_plan, shown)  # the heartbeat goes on meanwhile
        facts = settle.facts_of(document)
        self._say_plan(facts)
        await self._check_changes(path, facts)
        await self._expect_creations(path, facts)
        await self._tell_planned_replacements(facts)
        await self._describe(path, facts)
        return facts

    def _say_plan(self, facts: PlanFacts) -> None:
        entry = settle.plan_entry(facts)
        if self._hands.gateway is not None and not facts.is_empty:
            forecast = self._hands.gateway.forecast(facts, self._order.deadline_s, self._commands.parallelism)
            entry = replace(entry, forecast=dict(forecast))
            self._parallelism = int(str(forecast["parallelism"]))
            self._calls = int(str(forecast["calls"])) if "calls" in forecast else None
        self._journal.change(counts=to_builtins(entry.counts))
        if self._order.operation is not Operation.DRIFT:  # "no changes" would be all that it says
            self._journal.tell(entry)

    async def _is_new(self) -> bool:
        return not (await self._hands.access.current()).lineage

    def _judge_start(self, facts: PlanFacts, *, is_new: bool) -> Start:
        """Say when a store that never saw the state would have everything created.

        Raises:
            PolicyGate: A CI job must say that it is meant.
        """
        creates = sum(change.action is PlannedAction.CREATE for change in facts.changes)
        start = judge_start(self._order, is_new=is_new, creates=creates, made_here=self._is_plan_of_home())
        if start is Start.REFUSE:
            raise refuse_start(self._order, creates)
        if start is not Start.GO:
            self._journal.tell(NoteEntry(text=spell_start(self._order, creates)))
        return start

    def _is_plan_of_home(self) -> bool:
        """Whether the saved plan that is applied was made by a run of this home, where people saw it."""
        digest = self._journal.summary.plan_digest
        if self._order.approval:
            return True
        if self._order.plan_file is None or not digest:
            return False
        from interlock.run.reviewed_plan import was_kept_here

        return was_kept_here(digest, self._run_folder.parent)

    async def _approve(self, start: Start) -> None:
        self._check_going_on()
        if self._order.auto_approve and start is not Start.ASK:
            return
        self._enter(Phase.AWAITING)
        self._approval = asyncio.get_running_loop().create_future()
        asked = ApprovalEntry(question="Create everything?") if self._order.auto_approve else ApprovalEntry()
        self._journal.tell(asked)
        approved = await self._approval
        self._check_going_on()
        if not approved:
            raise PolicyGate(
                "the plan was not approved",
                why="the answer was no; nothing was changed",
                fix=command("plan", "--state", self._order.state, self._order.directory),
            )

    async def _apply(self, path: Path, facts: PlanFacts) -> int:
        progress = Progress(self._journal.tell, self._hands.clock, total=settle.count_operations(facts))
        await self._act(facts, lambda: self._commands.apply(path, progress.on_event, parallelism=self._parallelism))
        await self._end_describing()  # what was planned is shown before what it led to
        self._tell_outputs(progress.outputs)
        return 0

    async def _act(self, facts: PlanFacts, do: Callable[[], Awaitable[Outcome]]) -> int:
        """Let Terraform change the state, save what it leaves, and say how it ended."""
        check_room(self._run_folder, len(await self._hands.access.stored() or b""))
        self._check_going_on()
        self._enter(Phase.APPLYING)
        note_before_apply(self._run_folder, errored=self._workspace.errored, allowed=facts.may_delete)
        self._hands.access.allow_deletions(facts.may_delete)
        before, self._is_unchanged = self._marked(), False
        outcome = await do()
        self._enter(Phase.SETTLING)
        await self._rest()
        self._judge_change(outcome, before)
        await self._note_saved(outcome)
        failure = self._verdict(outcome)
        try:
            await self._settle(outcome, facts, failure)
        except InterlockError as error:
            await self._name_orphans(error)
            raise
        else:
            await self._name_orphans(None)
        finally:
            await self._note_made(outcome)
        return 0

    async def _settle(self, outcome: Outcome, facts: PlanFacts, failure: InterlockError | None) -> None:
        await settle.settle(
            outcome,
            failure=failure,
            plan=facts,
            access=self._hands.access,
            workspace=self._workspace,
            journal=self._journal,
            saving=settle.Saving(
                clock=self._hands.clock,
                patience_s=PATIENCE_LEASES * self._order.lease_s,
                program=self._program,
                look_at=self._look_at,
            ),
        )

    async def _rest(self) -> None:
        """Wait for what Terraform sent last; what is stored is looked at after that in any case."""
        try:
            await self._hands.access.rest()
        except CANNOT as error:
            self._journal.tell(NoteEntry(text=f"nobody waited for what Terraform sent last: {error}"))

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
                return self._diagnosed(outcome)

    # -- commands whose processes may start before they are needed ----------------------------------------------------

    def _expect_plan(self) -> None:
        """We are next in line: start the plan, unless its environment is known only when the gateway is open."""
        ordered = self._order
        if self._hands.gateway is None and ordered.plan_file is None and ordered.operation not in RUNS_A_COMMAND:
            self._commands.expect_plan()

    def _expect_apply(self, path: Path) -> None:
        """Start the apply of a plan that is being made and that nobody will be asked about."""
        chosen = self._hands.gateway is None or self._commands.parallelism is not None
        if self._order.operation in (Operation.APPLY, Operation.DESTROY) and self._order.auto_approve and chosen:
            self._commands.expect_apply(path)

    def _clear_away(self) -> None:
        """Forget our plan, which holds secrets in clear, and let the user have what Terraform made beside the files."""
        self._commands.clear_away()
        try:
            for name in self._workspace.give_back():
                self._journal.tell(NoteEntry(text=f"Terraform created {name} beside the configuration"))
        except OSError as error:
            kept = f"what Terraform created is left in {self._workspace.folder}: {reason_of(error)}"
            self._journal.tell(NoteEntry(text=kept))
        shutil.rmtree(self._workspace.data_dir, ignore_errors=True)


def stopped(cause: Cause | None, detail: str, *, run: str, by: str = "") -> InterlockError:
    """Return the end of a run that was stopped and lost nothing.

    Args:
        cause: Who wanted it; None for somebody who signalled Terraform itself.
        detail: What that means for the state.
        run: Run id.
        by: Who wanted it, where that one is known by name.
    """
    kind = _STOPPED_AS.get(cause, Terminated)
    who = _CAUSES[cause] if cause is not None else "a signal that was sent to Terraform itself"
    if by:
        who = f"{by} cancelled it"
    return kind("the run was stopped", why=f"{who}; {detail}", fix=command("runs", "show", run))


def no_key(state: str, program: str) -> UsageError:
    """Return the failure of a Terraform that met an encrypted state, which to it is a damaged one.

    Args:
        state: State name.
        program: The Terraform.
    """
    return UsageError(
        f"state {state} is encrypted, and {Path(program).name} cannot read it",
        why="OpenTofu encrypted it; nothing is wrong with it, and no older version must take its place",
        fix=f"{command('state', 'history', state)}    says which run wrote it; run tofu with its key",
    )


async def _result_of(task: asyncio.Task[None]) -> None:
    await task


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that counts: ours before foreign ones."""
    leaves = [_first(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    ours = [error for error in leaves if isinstance(error, InterlockError)]
    return (ours or leaves)[0]
