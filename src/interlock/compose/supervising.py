"""A run with its real hands, from its order to its exit status."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct

from interlock.clock import SystemClock
from interlock.compose.homes import check_not_left_here, open_home, settings_of_run
from interlock.compose.servers_way import asker, find_organisation
from interlock.errors import FULL, BackendUnavailable, InterlockError, UsageError, command, disk_full, reason_of
from interlock.home.embedded import read_settings
from interlock.ids import RandomIds
from interlock.late_pattern import late_bytes
from interlock.run.binary import tool_of
from interlock.run.order import is_in_space
from interlock.settings.values import Settings
from interlock.site.earlier import check_not_renamed
from interlock.site.in_sight import sources_of, tool_for
from interlock.site.moved import check_not_moved, check_pause
from interlock.site.opening import breaker_of, budgets_of, open_site, queue_of, remember
from interlock.site.ref import StateRef
from interlock.site.which import own_ref, ref_of_run
from interlock.source.tree import Tool
from interlock.terraform.state_command import read_command

if TYPE_CHECKING:
    from interlock.coordinator import Coordinator, View
    from interlock.gateway.allotment import Allotment
    from interlock.home.interface import Home
    from interlock.policy.policy import Policies
    from interlock.recovery.breaker import Breaker
    from interlock.run.binary import Binary
    from interlock.run.control import Control
    from interlock.run.drift_review import DriftReview
    from interlock.run.entries import EndEntry
    from interlock.run.gateway_access import Need, RunGateway, ServerOrganisation
    from interlock.run.interrupts import Cause
    from interlock.run.order import Order
    from interlock.run.policy_review import PolicyReview
    from interlock.run.protection import Level
    from interlock.run.run_creations import RunCreations
    from interlock.run.supervisor import Supervisor
    from interlock.run.surroundings import StateAccess, Way
    from interlock.run.terraform_commands import Commands
    from interlock.run.transcript import Journal
    from interlock.run.workspace import OwnBackend, Workspace
    from interlock.site.interface import Site
    from interlock.site.own_door import OwnDoor
    from interlock.terraform.events import AnyEvent

_MAY_USE = late_bytes(rb"genesyscloud|\bmodule\b")  # what a root module does not say itself, its modules may
_CURRENT_S = 0.5  # how long a grant in a table is believed by the run's own gateway: two paid reads a second, and
# so many seconds in which a run that lost its lock may still send calls
SAVED_PLAN = "saved.tfplan"  # a run's private copy of the plan that it was given
APPROVED_PLAN = "approved.tfplan"  # what persons approved, as the store had it
_RETRY_LIMIT = "GENESYSCLOUD_CUSTOM_RETRY_TIMEOUT"  # else each missing object is looked for for five minutes
_ASIDE_S = 2.0  # longest for what only tidies up


class Desk(Struct, frozen=True, kw_only=True):
    """What one run works with: the queue of its state, and what recovers it.

    Attributes:
        site: The state.
        coordinator: Its queue.
        recovery: What breaks grants of dead runs.
        seen: The queue as it was when it was opened.
    """

    site: Site
    coordinator: Coordinator
    recovery: Breaker
    seen: View

    @property
    def home(self) -> Home:
        """This machine's own stores: runs, budgets, and the state when it is ours."""
        return self.site.home

    @property
    def ref(self) -> StateRef:
        """Which state it is."""
        return self.site.ref


@asynccontextmanager
async def open_desk(order: Order, settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Desk]:
    """Open what a run works with for as long as the context lasts."""
    async with open_home(settings, environ=environ, patience_s=order.lease_s) as home:
        await home.keep_room()
        ref = await asyncio.to_thread(_ref_of, order, settings, environ)
        async with open_site(ref, home) as site:
            coordinator = queue_of(site)
            # Of a state elsewhere this also fails early; and from now on AWS's clock is known.
            seen = await coordinator.view(ref.queue)
            yield Desk(site=site, coordinator=coordinator, recovery=breaker_of(site), seen=seen)


def _ref_of(order: Order, settings: Settings, environ: Mapping[str, str]) -> StateRef:
    """Return the state of an order: the very one that was found when it was made."""
    directory = Path(order.directory)
    if not order.backend:
        return own_ref(order.state, directory=directory)
    tool = tool_for(directory, environ, order.terraform)
    ref = ref_of_run(directory, settings, environ, order.extra, tool=tool).for_runs()
    assert not ref.is_own, "the order was made for a state that stays where it is"
    return ref


async def _remember(desk: Desk) -> None:
    """Remember which state this root module has: it only helps people, so nothing waits for it."""
    with suppress(BackendUnavailable):  # the run's own writes tell of a full disk
        await remember(desk.ref, desk.home)


def supervise(number: int) -> int:
    """Wait for an order on `number`, our end of the socket shared with the front end; drive that run to its end.

    Not on uvloop, whose child processes inherit more open files than they are given.
    """
    from interlock.run.control import Control

    control = Control(number)
    gc.disable()  # imports make no garbage; looking for some meanwhile takes a tenth of their time
    _load(_FIRST)
    _load(_HANDS, until=control.has_order)
    order = control.await_order()
    if order is None:
        return 0
    folder = Path(order.home) / "runs" / order.run
    _log_to(folder)
    return asyncio.run(_supervise(order, folder, control))


_FIRST = ("run.binary", "run.workspace", "run.terraform_commands", "site.own_door", "home.look")
"""What is needed to let a plan stand by."""
_HANDS = (
    "coordinator.archive",
    "backend.gate",
    "site.own_access",
    "store.sqlite",
    "coordinator.local",
    "site.own_leftovers",
    "recovery.breaker",
    "run.supervisor",
    "run.run_creations",
    "home.known",
)
"""The rest, which is loaded while the order is still checked, or while Terraform starts."""


def _load(names: Sequence[str], until: Callable[[], bool] = lambda: False) -> None:
    """Import modules of ours, until there is something better to do."""
    for name in names:
        if until():
            return
        importlib.import_module(f"interlock.{name}")


def _load_hands() -> None:
    """Import all that a run needs. What is there by now lives as long as this process and needs no looking at."""
    _load(_HANDS)
    gc.freeze()
    gc.enable()


def _log_to(folder: Path) -> None:
    """Let what Python itself says go to the run's log."""
    from interlock.run.private_file import open_private
    from interlock.run.transcript import LOG

    with open_private(folder / LOG) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


async def _supervise(order: Order, folder: Path, control: Control) -> int:
    from interlock import host
    from interlock.run.given_values import find_known_secrets
    from interlock.run.summary import Summary
    from interlock.run.transcript import Journal

    clock = SystemClock()
    summary = Summary(
        run=order.run,
        state=order.state,
        operation=order.operation.value,
        who=order.who,
        directory=order.directory,
        phase="preparing",
        started_at=clock.now(),
        processes={"supervisor": host.name_process(os.getpid())},
        starting="",
        job=order.job,
    )
    async with _streamed(order, folder, control) as ring:
        journal = Journal(folder, summary, clock, ring, find_known_secrets(order, os.environ))
        journal.change()
        status = await _to_the_end(order, folder, journal, control, dict(os.environ))
        control.close()
        journal.close()
    await asyncio.to_thread(_clear_old, Path(order.home))
    return status


@asynccontextmanager
async def _streamed(order: Order, folder: Path, control: Control) -> AsyncIterator[Callable[[], None]]:
    """Send the run's journal to its server while the context lasts; yield what is to be rung for each entry.

    By the same way it hears that somebody at another machine wants the run to stop.
    """
    ring = control.ring
    if not order.server:
        yield ring
        return
    from interlock.run.stop_requests import hear_stop_requests
    from interlock.run.streaming import Stream, send_ends

    async with AsyncExitStack() as stack:
        try:
            home = await stack.enter_async_context(open_home(settings_of_run(order, os.environ), environ=os.environ))
        except InterlockError:  # such as a server without a token: the run meets it too, and tells it with its status
            yield ring
            return
        record = home.team_runs
        assert record is not None, f"{home.place} keeps no record of runs"
        stream = Stream(folder, run=order.run, state=order.state, record=record, clock=SystemClock())

        def ring_both() -> None:
            ring()
            stream.ring()

        hearing = hear_stop_requests(record, run=order.run, state=order.state, wish=control.cancel, clock=SystemClock())
        tasks = [asyncio.create_task(stream.keep_sending()), asyncio.create_task(hearing)]
        try:
            yield ring_both
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            if await stream.finish():
                await send_ends(folder.parent, server=order.server, record=record, clock=SystemClock())


def _clear_old(home: Path) -> None:
    """Let go of old runs and initialisations, now that nobody waits for this run; what fails, the next run does."""
    from interlock.run.retention import Retention, remove_old

    with suppress(OSError):
        remove_old(home, Retention(), now=SystemClock().now())


async def _to_the_end(
    order: Order, folder: Path, journal: Journal, control: Control, environ: Mapping[str, str]
) -> int:
    """Run and write the last entry, whatever happens; an unexpected failure is told like any other."""
    from interlock.run.entries import EndEntry

    lock = None
    try:
        lock = _take_lock(folder)
        status = await _heard_early(_with_hands(order, lock, journal, control, environ), journal, control)
        end = EndEntry(exit=status, code="changes" if status else "success")
    except InterlockError as error:
        end = _failed(error, order)
    except OSError as error:
        end = _failed(disk_full(error, folder), order) if error.errno in FULL else _defect(error, order, journal)
    except Exception as error:  # noqa: BLE001 - the last line of defence: it must be told, and the front end must end
        end = _defect(error, order, journal)
    finally:
        for name in (SAVED_PLAN, APPROVED_PLAN):
            (folder / name).unlink(missing_ok=True)  # they hold secrets in clear
        if lock is not None:
            os.close(lock)  # what it started and still lives keeps it; we hold nothing of the run any more
    shown = journal.hidden(end)
    journal.change(
        phase="ended",
        ended_at=SystemClock().now(),
        exit=end.exit,
        told_end=True,
        code=end.code,
        message=shown.get("what", ""),
        in_flight=shown.get("in_flight", []),
    )
    journal.tell(end)
    control.tell_end(shown)
    return end.exit


async def _heard_early(running: Coroutine[Any, Any, int], journal: Journal, control: Control) -> int:
    """Run; a wish to stop that comes before there is a supervisor ends it, whatever it waits for: nothing has begun."""
    from interlock.run.entries import InterruptEntry
    from interlock.run.supervisor import stopped

    wished: list[tuple[Cause, str]] = []
    task = asyncio.create_task(running)

    def wish(cause: Cause, by: str) -> None:
        journal.tell(InterruptEntry(cause=cause.value, action="leave", phase=journal.summary.phase, by=by or UNSET))
        wished.append((cause, by))
        task.cancel()

    control.listen(wish)
    try:
        return await task
    except asyncio.CancelledError:
        if not wished:
            raise
        cause, by = wished[0]
        detail = "it was still preparing; nothing was started"
        raise stopped(cause, detail, run=journal.summary.run, by=by) from None


def _defect(error: Exception, order: Order, journal: Journal) -> EndEntry:
    import traceback

    sys.stderr.write(journal.known.hide("".join(traceback.format_exception(error))))  # to the run's log
    return _failed(
        InterlockError(
            f"Interlock failed: {type(error).__name__}: {error}",
            why=f"this is a defect; the details are in {journal.folder / 'supervisor.log'}",
            fix=command("runs", "show", order.run),
        ),
        order,
    )


_LATEST = command("runs", "logs", "latest")


def _failed(error: InterlockError, order: Order) -> EndEntry:
    from interlock.run.binary import typed_program
    from interlock.run.entries import EndEntry

    error.naming(order.directory if order.backend else order.state)
    error.running(typed_program(order.terraform, os.environ))
    error.fix = error.fix.replace(_LATEST, command("runs", "logs", order.run))  # another run may be the latest by then
    return EndEntry.of(error)


class _Prepared(Struct, frozen=True, kw_only=True):
    """What a run has before it opens the queue of its state.

    Attributes:
        order: What was asked, with a private copy of its saved plan.
        folder: The run's folder.
        journal: Its record.
        environ: The environment of its commands.
        lock: Its lock file, which is held as long as anything of it lives.
        files: Open files of the person, for a command that only reads.
        binary: The Terraform to start.
        need: What it needs of a gateway, or why it goes without.
    """

    order: Order
    folder: Path
    journal: Journal
    environ: Mapping[str, str]
    lock: int
    files: tuple[int, ...]
    binary: Binary
    need: Need | str


async def _with_hands(order: Order, lock: int, journal: Journal, control: Control, environ: Mapping[str, str]) -> int:
    prepared = await _prepare(order, lock, journal, environ, tuple(control.files))
    order, settings, environ = prepared.order, settings_of_run(prepared.order, environ), prepared.environ
    workspace = await _open_workspace(prepared, settings)
    journal.change(folder=str(workspace.folder))
    early = None
    try:
        early = await _stand_by(prepared, settings, workspace)
        await asyncio.to_thread(_load_hands)
        async with (
            open_desk(order, settings, environ) as desk,
            _access(desk, order, prepared.binary, environ, early) as access,
        ):
            commands = early.commands if early is not None else _commands(prepared, access, workspace)
            supervisor = await _supervisor(prepared, desk, access, workspace, commands)
            if not desk.ref.is_own:
                journal.change(store=desk.ref.store)
            _say(desk.site.words, journal)
            if desk.ref.is_own:
                await check_not_renamed(desk.home, order)
            check_not_moved(desk.seen, desk.ref)
            if desk.ref.is_own and desk.seen.head is None:
                await check_not_left_here(order.state, Path(order.directory), settings, environ)
            await desk.site.check_not_lost()
            control.attach(supervisor)
            remembering = asyncio.create_task(_remember(desk))  # it asks git, several times
            try:
                return await _with_remedy(supervisor.run(), desk)
            finally:
                await asyncio.wait({remembering})
                await _forget_creations(desk)
    finally:
        if early is not None:
            await early.commands.dismiss()
            early.door.close()
        workspace.close()


class _Early(Struct, frozen=True, kw_only=True):
    """What a run begins with before the rest of it is loaded.

    Attributes:
        door: Where its Terraform will find its state.
        commands: Terraform's commands, of which `plan` stands by.
    """

    door: OwnDoor
    commands: Commands


async def _stand_by(prepared: _Prepared, settings: Settings, workspace: Workspace) -> _Early | None:
    """Start the plan of a run that may begin at once: it starts while the rest of us is loaded (ADR 302)."""
    from interlock.home.look import is_free
    from interlock.run.order import RUNS_A_COMMAND
    from interlock.site.own_door import OwnDoor

    order = prepared.order
    if order.backend or is_in_space(order) or order.plan_file is not None or order.operation in RUNS_A_COMMAND:
        return None
    if not (isinstance(prepared.need, str) and workspace.is_seeded):
        return None
    if not await asyncio.to_thread(is_free, settings, order.state, SystemClock()):
        return None
    door = OwnDoor(RandomIds().secret())
    commands = _commands(prepared, door, workspace)
    commands.expect_plan()
    return _Early(door=door, commands=commands)


def _say(words: Sequence[str], journal: Journal) -> None:
    from interlock.run.entries import NoteEntry

    for text in words:
        journal.tell(NoteEntry(text=text))


async def _prepare(
    order: Order, lock: int, journal: Journal, environ: Mapping[str, str], files: tuple[int, ...]
) -> _Prepared:
    from interlock.run.binary import find_binary
    from interlock.run.entries import BinaryEntry
    from interlock.run.order import Operation

    folder, named = journal.folder, order.plan_file or ""
    order = await _with_approved_plan(order, folder)
    order = await asyncio.to_thread(_with_own_plan, order, folder)
    binary = find_binary(order.terraform, environ)
    if order.operation is Operation.DRIFT:
        environ = {_RETRY_LIMIT: "0s", **environ}
    far = await find_organisation(order, environ) if await asyncio.to_thread(_may_use_genesys, order) else None
    environ = environ if far is None else _with_placeholder(environ, far, journal)
    need = await asyncio.to_thread(_gateway_need, order, environ, named, far)
    if far is not None and not isinstance(need, str) and not order.command:
        from interlock.run.asked_past import check_reads

        check_reads(need.refused, order, far.name)
    journal.tell(BinaryEntry(run=order.run, state=order.state, binary=binary.name))
    return _Prepared(
        order=order,
        folder=folder,
        journal=journal,
        environ=environ,
        lock=lock,
        files=files,
        binary=binary,
        need=_told(need, journal),
    )


def _with_placeholder(environ: Mapping[str, str], far: ServerOrganisation, journal: Journal) -> Mapping[str, str]:
    """Return the environment of a run whose server keeps the OAuth client, and say that it does."""
    from interlock.run.entries import NoteEntry
    from interlock.run.gateway_access import with_placeholder

    ours = with_placeholder(environ, far)
    journal.tell(NoteEntry(text=f"calls go through the server's gateway, to organisation {far.name} in {far.region}"))
    return ours


async def _open_workspace(prepared: _Prepared, settings: Settings) -> Workspace:
    from interlock.run.workspace import open_workspace

    order, environ = prepared.order, prepared.environ
    own = await asyncio.to_thread(_own_backend, order, settings, environ)
    return await asyncio.to_thread(
        open_workspace,
        Path(order.directory),
        home=settings.home,
        run_folder=prepared.folder,
        in_place=order.in_place and isinstance(prepared.need, str) and not is_in_space(order),
        binary_mark=prepared.binary.mark,
        environ=environ,
        own=own,
    )


async def _supervisor(
    prepared: _Prepared, desk: Desk, access: StateAccess, workspace: Workspace, commands: Commands
) -> Supervisor:
    from interlock.run.supervisor import Hands, Supervisor

    order = prepared.order
    creations = _creations(prepared, desk)
    gateway = _gateway(prepared, desk, creations)
    policies = await _policies(prepared, desk)
    hands = Hands(
        coordinator=desk.coordinator,
        access=access,
        commands=commands,
        rescuer=desk.recovery,
        diagnose=partial(diagnose_failure, tool=tool_of(prepared.binary.name)),
        clock=SystemClock(),
        gateway=gateway,
        review=_review(prepared, desk, gateway, creations),
        creations=creations,
        policies=policies,
        check_pause=lambda pause: check_pause(pause, desk.ref),
    )
    return Supervisor(
        order,
        hands=hands,
        workspace=workspace,
        binary=prepared.binary,
        journal=prepared.journal,
        run_folder=prepared.folder,
    )


async def _policies(prepared: _Prepared, desk: Desk) -> PolicyReview | None:
    """Return the policies of the state: those of the order, and the home's own, which nobody can leave out."""
    order, home = prepared.order, desk.home
    joined = await _joined(order, home)
    if not joined.each and not order.approval:
        return None
    from interlock.run.policy_review import PolicyReview

    return PolicyReview(
        policies=joined,
        order=order,
        journal=prepared.journal,
        book=home.approvals,
        audit=home.audit,
        person=home.person,
        environ=prepared.environ,
    )


async def _joined(order: Order, home: Home) -> Policies:
    from interlock.policy.policy import join

    return join((*await home.policies.all(), *order.policies), order.state)


def _commands(prepared: _Prepared, access: Way, workspace: Workspace) -> Commands:
    from interlock.run.process import Streams
    from interlock.run.terraform_commands import TerraformCommands

    return TerraformCommands(
        order=prepared.order,
        access=access,
        workspace=workspace,
        binary=prepared.binary,
        journal=prepared.journal,
        run_folder=prepared.folder,
        given=prepared.environ,
        diagnose=partial(diagnose_failure, tool=tool_of(prepared.binary.name)),
        clock=SystemClock(),
        alive=prepared.lock,
        level=_protection(prepared.order, prepared.journal, prepared.environ),
        streams=Streams(**dict(zip(("stdin", "stdout", "stderr"), prepared.files, strict=False))),
    )


def _take_lock(folder: Path) -> int:
    """Make the run's lock file; it is held until this process and all that it starts have ended.

    Raises:
        BackendUnavailable: It cannot be made, so nobody could tell whether the run lives.
    """
    from interlock.host import alive

    try:
        return alive.take(folder)
    except OSError as error:
        raise BackendUnavailable(
            "the run was not started: its lock file cannot be made",
            why=f"{folder}: {error.strerror or error}",
            fix=f"df -h {folder}",
        ) from error


async def _forget_creations(desk: Desk) -> None:
    """Let go of what runs made whose records are gone; what fails, the next run does.

    A server that is away is not waited for: the run is over, and its command and `recover` wait for its process.
    """
    runs = desk.home.runs
    with suppress(InterlockError, OSError, TimeoutError):
        async with asyncio.timeout(_ASIDE_S):
            names = {entry.name for entry in runs.iterdir()}
            await desk.home.creations.forget(names, now=SystemClock().now())


async def _with_remedy(running: Awaitable[int], desk: Desk) -> int:
    """Let a throttled table's billing mode be part of the failure: it decides what to do about it."""
    try:
        return await running
    except BackendUnavailable as error:
        better = await desk.site.explained(error)
        if better is error:
            raise
        raise better from error


def _protection(order: Order, journal: Journal, environ: Mapping[str, str]) -> Level:
    from interlock.host import name_process
    from interlock.run.entries import ProtectionEntry
    from interlock.run.protection import Choice, choose, control_group

    namespace = name_process(os.getpid()).namespace
    level, why = choose(Choice(order.protect), environ, namespace=namespace, control_group=control_group())
    journal.tell(ProtectionEntry(level=level.value, why=why))
    return level


def _own_backend(order: Order, settings: Settings, environ: Mapping[str, str]) -> OwnBackend | None:
    from interlock.site.kinds import uses_own_backend

    ref = _ref_of(order, settings, environ)
    if is_in_space(order):
        from interlock.run.workspace import OVERRIDE_IN_SPACE, OwnBackend

        return OwnBackend(
            type="local", place={"path": None, "workspace_dir": None}, mark=b"space", override=OVERRIDE_IN_SPACE
        )
    if not uses_own_backend(ref):
        return None
    from interlock.site.existing import own_backend

    return own_backend(ref, environ, order.extra)


def _access(
    desk: Desk, order: Order, binary: Binary, environ: Mapping[str, str], early: _Early | None
) -> AbstractAsyncContextManager[StateAccess]:
    if early is not None:
        from interlock.site.own import OwnSite

        assert isinstance(desk.site, OwnSite), "only such a state is looked at so early"
        return desk.site.access_at(order, early.door)
    from interlock.run.binary import version_of

    return desk.site.access(order, version=lambda: version_of(binary, environ, cwd=Path(order.directory)))


async def _with_approved_plan(order: Order, folder: Path) -> Order:
    """Return the order with the plan that waits for, or has, approval; without one when the store has lost it.

    Raises:
        PolicyGate: It is not approved, is over, or is for another state.
        PlanStale: The store has lost it, and a value that it was made with is not given here.
    """
    if not order.approval:
        return order
    from msgspec.structs import replace

    from interlock.policy.approval import check_approved, check_state
    from interlock.run.private_file import open_private
    from interlock.run.reviewed_plan import check_can_be_made
    from interlock.store.blobs import BlobMissing

    async with open_home(settings_of_run(order, os.environ)) as home:
        approval = await home.approvals.get(order.approval)
        check_state(approval, order.state)
        check_approved(approval, home.clock.now())
        try:
            content = await home.approvals.plan(approval)
        except BlobMissing:  # who kept it was killed before it was stored; an equal one is as good
            check_can_be_made(order, why="the store has lost it")
            return order
    path = folder / APPROVED_PLAN
    with open_private(path) as file:
        file.write(content)
    return replace(order, plan_file=str(path), plan_digest=approval.digest)


def _with_own_plan(order: Order, folder: Path) -> Order:
    """Return the order with a private copy of the saved plan: what is checked, and what is applied, is one file."""
    if order.plan_file is None:
        return order
    from msgspec.structs import replace

    from interlock.run.private_file import open_private

    own = folder / SAVED_PLAN
    try:
        content = Path(order.plan_file).read_bytes()
    except OSError as error:
        what, why = f"the plan {order.plan_file} cannot be read", reason_of(error)
        raise UsageError(what, why=why, fix="interlock plan --out FILE") from error
    with open_private(own) as file:
        file.write(content)
    return replace(order, plan_file=str(own))


def _gateway_need(order: Order, environ: Mapping[str, str], named: str, far: ServerOrganisation | None) -> Need | str:
    """Return what the run needs of a gateway, or why it goes without. Most runs of other providers need no import.

    Args:
        order: The run, with its own copy of a saved plan.
        environ: Its environment.
        named: The saved plan as the person named it.
        far: The organisation whose OAuth client the run's server keeps; None for none.
    """
    if not order.gateway:
        return "--no-gateway was given"
    if order.command and not read_command(order.command).kind.calls:
        return "the command calls no provider"
    if order.plan_file is not None:
        return _planned_need(order, environ, named, far)
    return _configured_need(order, environ, far)


def _may_use_genesys(order: Order) -> bool:
    return any(_MAY_USE.search(path.read_bytes()) for path in sources_of(Path(order.directory)))


def _configured_need(order: Order, environ: Mapping[str, str], far: ServerOrganisation | None) -> Need | str:
    if not _may_use_genesys(order):
        return "the configuration does not name Genesys Cloud"
    from interlock.run.gateway_access import find_need

    directory = Path(order.directory)
    tool = tool_for(directory, environ, order.terraform)
    return find_need(directory, read_settings(environ, directory), environ, order.extra, tool=tool, far=far)


def _planned_need(order: Order, environ: Mapping[str, str], named: str, far: ServerOrganisation | None) -> Need | str:
    """Return what a saved plan needs of a gateway; it holds its own configuration and values of variables."""
    from interlock.run.encrypted_plan import is_encrypted_plan
    from interlock.run.planned_for import UNREADABLE, read_planned_configuration
    from interlock.run.reviewed_plan import no_gateway
    from interlock.run.workspace import OVERRIDE_NAME

    plan = Path(order.plan_file or "").read_bytes()
    if is_encrypted_plan(plan):  # it is compared with the configuration here before anything of it runs
        need = _configured_need(order, environ, far)
        if isinstance(need, str):
            return need
        again = command("apply", "--plan", named, order.directory)
        raise no_gateway("the plan was not applied", command_with=again)
    held = read_planned_configuration(plan, without=OVERRIDE_NAME)
    if not any(b"genesyscloud" in content for content in held.files.values()):
        return "the plan does not name Genesys Cloud"
    from interlock.hcl import Known
    from interlock.run.gateway_access import find_planned_need
    from interlock.source.tree import MemoryTree

    variables = {
        name: None if value is UNREADABLE else Known(value=value)  # type: ignore[arg-type]  # plain, as checked there
        for name, value in held.variables.items()
    }
    directory, tree = Path(order.directory), MemoryTree(held.files)
    settings = read_settings(environ, directory)
    return find_planned_need(tree, variables, settings, environ, directory=directory, flags=order.extra, far=far)


def _told(need: Need | str, journal: Journal) -> Need | str:
    """Say which provider configurations go past the gateway; return the need, or why there is no gateway at all."""
    from interlock.run.entries import NoGatewayEntry, NoteEntry

    if not isinstance(need, str):
        for words in need.words:
            journal.tell(NoteEntry(text=words))
        if need.ways:
            return need
        need = "every provider configuration keeps its own way"
    journal.tell(NoGatewayEntry(why=need))
    return need


def _creations(prepared: _Prepared, desk: Desk) -> RunCreations:
    """Return what the run writes down of what it makes; without a gateway it still says what earlier runs left."""
    from interlock.operate.runs import is_over
    from interlock.run.run_creations import RunCreations

    runs, order = desk.home.runs, prepared.order

    def hidden(text: str) -> str:
        return prepared.journal.known.hide(text)  # which learns while the run goes

    return RunCreations(
        desk.home.creations,
        run=order.run,
        state=order.state,
        clock=SystemClock(),
        ids=RandomIds(),
        hide=hidden,
        lives=lambda run: not is_over(runs / run),
    )


def _gateway(prepared: _Prepared, desk: Desk, creations: RunCreations) -> RunGateway | None:
    need, order = prepared.need, prepared.order
    if isinstance(need, str):
        return None
    from interlock.home.policies import allotment_of
    from interlock.lock import may_write
    from interlock.run.gateway_access import RunGateway
    from interlock.run.workspace import HEADING, OVERRIDE, OVERRIDE_IN_SPACE
    from interlock.site.kinds import uses_own_backend

    async def is_current(token: int) -> bool:
        return may_write((await desk.coordinator.view(order.state)).lock, token)

    async def allotted() -> Allotment | None:
        return allotment_of(await _joined(order, desk.home))

    base = HEADING if uses_own_backend(desk.ref) else OVERRIDE_IN_SPACE if is_in_space(order) else OVERRIDE
    return RunGateway(
        need,
        ids=RandomIds(),
        store=desk.home.budgets(order.state if desk.ref.is_own else ""),
        common=budgets_of(desk.site),
        is_current=is_current if desk.site.is_near else at_most_every(_CURRENT_S, is_current),
        override=base,
        witness_of=creations.witness,
        ask_server=asker(order, desk.home),
        learn=prepared.journal.learn,
        state=order.state,
        allotted=allotted,
        every_s=order.heartbeat_s,
    )


def _review(prepared: _Prepared, desk: Desk, gateway: RunGateway | None, creations: RunCreations) -> DriftReview | None:
    """Return what looks at drift in this run; None when there is nothing that it could look at or note."""
    order, environ = prepared.order, prepared.environ
    from interlock.run.order import Operation

    wanted = order.operation is Operation.DRIFT or order.drift_gate
    if not wanted and (gateway is None or order.operation is not Operation.APPLY):
        return None
    from interlock.run.drift_review import DriftReview, Means

    async def states() -> AsyncIterator[tuple[str, bytes]]:
        for view in await desk.home.coordinator.states():
            if view.state != order.state and (found := await desk.home.archive.current(view.state)) is not None:
                yield view.state, found[1]

    async def written_at() -> datetime | None:
        versions = () if not desk.ref.is_own else await desk.home.archive.history(order.state, limit=1)
        return versions[0].written_at if versions else None

    means = Means(
        book=desk.home.drift,
        way=gateway,
        states=states,
        written_at=written_at,
        section=lambda: read_settings(environ, Path(order.directory)).sections.get("drift", {}),
        runs=desk.home.runs,
        orphans=creations.orphans,
    )
    return DriftReview(order, means, clock=SystemClock(), ids=RandomIds())


def at_most_every(period_s: float, ask: Callable[[int], Awaitable[bool]]) -> Callable[[int], Awaitable[bool]]:
    """Return `ask` so that a yes is believed for `period_s` seconds: each API call would else be a paid request.

    The time counts from when it was asked, and calls that come together share one question.
    """
    clock, asked_at_s, lock = SystemClock(), dict[int, float](), asyncio.Lock()

    def is_fresh(token: int) -> bool:
        return clock.monotonic() - asked_at_s.get(token, float("-inf")) < period_s

    async def answer(token: int) -> bool:
        if is_fresh(token):
            return True
        async with lock:
            if is_fresh(token):
                return True
            now_s = clock.monotonic()
            if not await ask(token):
                return False
            asked_at_s[token] = now_s
            return True

    return answer


def diagnose_failure(events: list[AnyEvent], text: str, *, tool: Tool) -> InterlockError:
    """Name the cause of a failed Terraform command, with the classifier that `interlock explain` uses."""
    from interlock.diagnosis import classify
    from interlock.terraform.events import Diagnostic, Severity

    told = any(isinstance(event, Diagnostic) and event.severity is Severity.ERROR for event in events)
    return classify(events if told else text, tool=tool.value)
