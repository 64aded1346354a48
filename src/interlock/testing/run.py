"""Everything around a supervisor, in memory: the state's access, the queue, the gateway, the review, Terraform itself.

All of them write what they are asked into one diary, in the order in which it happens. A test says at which step
something fails, or what happens there (somebody presses Ctrl-C), and reads the diary afterwards. No process is started.
"""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interlock.coordinator.interface import OnChange
from interlock.coordinator.local import LocalCoordinator
from interlock.creations.creation import Creation, Place
from interlock.creations.looking import Ask
from interlock.errors import InterlockError
from interlock.host import ProcessName
from interlock.lock import FencingToken, Grant, Lease, Priority, Requested, Ticket
from interlock.recovery.breaker import Noticed
from interlock.run.entries import AnyEntry, ApprovalEntry, PhaseEntry
from interlock.run.leaving import read_allowed
from interlock.run.order import Order
from interlock.run.planned_creations import PlannedCreation
from interlock.run.planned_for import Target
from interlock.run.process import Ended, Streams
from interlock.run.protection import Kept, Level
from interlock.run.run_creations import Repeat
from interlock.run.stage import Outcome, Running
from interlock.run.stopping import Asked
from interlock.run.summary import find_summary
from interlock.run.surroundings import Current, Generate, Generated, Seat, Tell
from interlock.run.terraform_commands import OnEvent, StopRequested
from interlock.run.transcript import Journal
from interlock.terraform.command import HttpBackend
from interlock.terraform.events import parse_event
from interlock.terraform.interruption import Interruption
from interlock.terraform.plan import PlanFacts
from interlock.testing.clock import FakeClock, settle

KILLED = -9
ADDRESS = "terraform_data.a"
"""The one object that the fake Terraform makes."""


class Diary:
    """What happened, in order.

    Attributes:
        steps: The names of the steps.
        fails: What is raised at a step: `access.stored`, or `access.stored#2` when it is reached a second time.
        meets: What happens at a step, named likewise, before it fails.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.meets: dict[str, Callable[[], object]] = {}

    def note(self, step: str) -> None:
        """Reach a step."""
        self.steps.append(step)
        count = self.steps.count(step)
        name = step if count == 1 else f"{step}#{count}"
        if name in self.meets:
            self.meets.pop(name)()
        if name in self.fails:
            raise self.fails[name]

    async def step(self, step: str) -> None:
        """Reach a step, and let others run."""
        self.note(step)
        await asyncio.sleep(0)


# -- Terraform --------------------------------------------------------------------------------------------------------


def line(kind: str, message: str = "", **facts: object) -> bytes:
    """Spell one event as `terraform -json` does."""
    return json.dumps({"@level": "info", "@message": message, "type": kind, **facts}).encode() + b"\n"


def error_line(summary: str) -> bytes:
    """Spell one error."""
    return line("diagnostic", summary, diagnostic={"severity": "error", "summary": summary, "detail": ""})


READERS = frozenset({"told", "rendered"})
"""Commands that only read a plan, for people and programs."""
SHOWN = b'{"format_version": "1.2"}\n'
_HOOK = {"resource": {"addr": ADDRESS}, "action": "create", "id_key": "id", "id_value": "1", "elapsed_seconds": 1}
PLANNED = line("planned_change", change={"resource": {"addr": ADDRESS}, "action": "create"}) + line(
    "change_summary", changes={"add": 1, "change": 0, "remove": 0, "operation": "plan"}
)
BEGUN = line("apply_start", hook=_HOOK)
APPLIED = BEGUN + line("apply_complete", hook=_HOOK)
STOPPING = line("log", "\nInterrupt received.\nPlease wait for Terraform to exit or data loss may occur.")
CUT = STOPPING + line("log", "Two interrupts received. Exiting immediately.") + error_line("operation canceled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a command ends: what it says and warns, its exit code or minus a signal, and whether it stores a state."""

    says: bytes = b""
    warns: bytes = b""
    code: int = 0
    stores: bool = False


def plan_file(lineage: str = "", serial: int = 0) -> bytes:
    """Return a file that looks like a saved plan made from this state."""
    state = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage, "resources": []}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tfstate", json.dumps(state))
    return buffer.getvalue()


class FakeTerraform:
    """Starts commands that do what a test says; by default all goes well.

    Attributes:
        ends: How a command ends by itself, by its name.
        stops: How it ends after it was asked to stop.
        kills: How it ends when it is killed.
        faults: What it saw of us that breaks a rule, such as a start that is not written down.
        living: The commands that have not ended, by process id.
        started: Every command that was started, in order.
    """

    def __init__(self, diary: Diary, access: FakeDoor, clock: FakeClock) -> None:
        self.ends = {
            "plan": Ending(says=PLANNED, code=2),
            "apply": Ending(says=APPLIED, stores=True),
            "told": Ending(says=SHOWN),
        }
        self.stops = {
            "apply": Ending(says=STOPPING + APPLIED + error_line("execution halted"), code=1, stores=True),
        }
        self.kills = {"apply": Ending(says=BEGUN, code=KILLED)}
        self.faults: list[str] = []
        self.living: dict[int, FakeProcess] = {}
        self.started: list[FakeProcess] = []
        self.diary, self.access, self.clock = diary, access, clock

    async def start(  # noqa: PLR0913 - as the real one
        self,
        name: str,
        argv: tuple[str, ...],
        environ: Mapping[str, str],
        *,
        cwd: Path,  # noqa: ARG002 - as the real one
        run_folder: Path,
        held: Sequence[int],  # noqa: ARG002
        level: Level = Level.NONE,  # noqa: ARG002
        streams: Streams | None = None,  # noqa: ARG002
    ) -> Running:
        """See `interlock.run.stage.start`."""
        self._look(name, run_folder)
        await self.diary.step(f"start:{name}")
        output, stderr = run_folder / f"{name}.jsonl", run_folder / f"{name}.err"
        output.touch()
        stderr.touch()
        pid = len(self.started) + 1
        process = FakeProcess(self, name, pid=pid, output=output, argv=argv, environ=environ)
        self.started.append(process)
        self.living[pid] = process
        return Running(child=process, output=output, stderr=stderr)

    def _look(self, name: str, run_folder: Path) -> None:
        """Note what must be on disk before a process exists; what only reads a plan may go on beside others."""
        if name in READERS:
            return
        summary = find_summary(run_folder)
        if summary is None or summary.starting != name:
            self.faults.append(f"{name} was started before that was written down")
        if name == "apply" and read_allowed(run_folder) is None:
            self.faults.append("the apply was started before it was written down what it may delete")
        if beside := [each.label for each in self.living.values() if each.label not in READERS]:
            self.faults.append(f"{name} was started beside {beside}")

    async def ask(self, process: ProcessName, **_asking: object) -> Asked:
        """See `interlock.run.stopping.ask_once`."""
        found = self.living.get(process.pid)
        await self.diary.step(f"ask:{found.label if found else 'nobody'}")
        if found is None:
            return Asked.GONE
        if found.is_asked:
            self.faults.append(f"{found.label} was asked twice")
        found.is_asked = True
        return Asked.SENT


class FakeProcess:
    """One command; see `interlock.run.stage.Process`.

    Attributes:
        label: Its name among the commands of a run.
        argv: Its argument list.
        environ: Its whole environment.
        is_asked: Whether it was asked to stop.
    """

    kept = Kept.WHOLE

    def __init__(
        self,
        terraform: FakeTerraform,
        label: str,
        *,
        pid: int,
        output: Path,
        argv: tuple[str, ...],
        environ: Mapping[str, str],
    ) -> None:
        self.name = ProcessName(host="fake", machine="fake", boot="fake", namespace="fake", pid=pid, started="fake")
        self.label = label
        self.is_asked = False
        self._terraform = terraform
        self.argv, self.environ = argv, environ
        self._output = output
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._living = asyncio.create_task(self._live())

    @property
    def is_running(self) -> bool:
        """See `Process.is_running`."""
        return not self._ended.done()

    async def wait(self) -> Ended:
        """See `Process.wait`."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """See `Process.kill`."""
        if self.is_running and self.name.pid in self._terraform.living:
            self._terraform.diary.steps.append(f"kill:{self.label}")
            self._end(self._terraform.kills.get(self.label, Ending(code=KILLED)))

    async def _live(self) -> None:
        """Work for one heartbeat, then end as the test says; after being asked to stop, in that way."""
        await self._terraform.diary.step(f"during:{self.label}")
        await self._terraform.clock.advance(2.0)
        await settle()
        if self.is_running:
            ends = self._terraform.ends.get(self.label, Ending())
            asked = self._terraform.stops.get(self.label, Ending(says=STOPPING, code=1))
            self._end(asked if self.is_asked else ends)

    def _end(self, ending: Ending) -> None:
        self._terraform.living.pop(self.name.pid)
        self._terraform.diary.note(f"end:{self.label}")
        self._output.write_bytes(ending.says)
        self._output.with_suffix(".err").write_bytes(ending.warns)
        if ending.stores:
            self._terraform.access.write()
        if ending.code in (0, 2):
            self._leave_files()
        self._ended.set_result(Ended(code=ending.code))

    def _leave_files(self) -> None:
        """Leave what the real one leaves: the record of its backend, or a plan."""
        if self.label == "init":
            record = {"backend": {"type": "http", "config": {"address": None}}}
            (Path(self.environ["TF_DATA_DIR"]) / "terraform.tfstate").write_text(json.dumps(record), encoding="utf-8")
        for word in self.argv:
            if word.startswith("-out="):
                head = self._terraform.access.head
                Path(word.removeprefix("-out=")).write_bytes(plan_file(head.lineage, head.serial))


@dataclass(slots=True, kw_only=True)
class FakeCommands:
    """See `interlock.run.terraform_commands.Commands`. Nothing is started: each command is one step of the diary.

    Attributes:
        diary: Where it says what it is asked: `init`, `plan`, `show`, `describe`, `generate`, `apply`,
            `execute`, `rehearse`, `stop`, `kill`.
        access: What an apply writes to.
        ends: How `plan` and `apply` end.
        shown: What `show` returns.
        rehearsed: What `rehearse` returns; None for the state as it is.
        environ: See `Commands.environ`.
        parallelism: See `Commands.parallelism`.
        has_unjudged_apply: See `Commands.has_unjudged_apply`.
        is_to_stop: Whether `stop` was called.
    """

    diary: Diary
    access: FakeDoor
    ends: dict[str, Ending] = field(
        default_factory=lambda: {
            "plan": Ending(says=PLANNED, code=2),
            "apply": Ending(says=APPLIED, stores=True),
            "apply, stopped": Ending(says=STOPPING + APPLIED + error_line("execution halted"), code=1, stores=True),
            "apply, killed": Ending(says=BEGUN, code=KILLED),
        }
    )
    shown: bytes = b"{}"
    rehearsed: bytes | None = None
    environ: dict[str, str] = field(default_factory=dict)
    parallelism: int | None = None
    has_unjudged_apply: bool = False
    is_to_stop: bool = False
    is_killed: bool = False

    def add(self, environ: Mapping[str, str]) -> None:
        """See `Commands.add`."""
        self.environ |= environ

    def expect_plan(self) -> None:
        """See `Commands.expect_plan`."""
        self.diary.note("expect:plan")

    def expect_apply(self, plan: Path) -> None:  # noqa: ARG002 - as the real one
        """See `Commands.expect_apply`."""
        self.diary.note("expect:apply")

    async def initialise(self, *, again: bool = False) -> None:
        """See `Commands.initialise`."""
        await self._step("init again" if again else "init")

    async def begin_state(self, lineage: str) -> None:  # noqa: ARG002
        """See `Commands.begin_state`."""
        await self._step("begin")

    async def plan(self, out: Path, on_event: OnEvent) -> Outcome:
        """See `Commands.plan`."""
        await self._step("plan")
        out.write_bytes(plan_file(self.access.head.lineage, self.access.head.serial))
        return await self._end("plan", on_event)

    async def show(self, plan: Path) -> bytes:  # noqa: ARG002
        """See `Commands.show`."""
        await self._step("show")
        return self.shown

    async def describe(self, plan: Path) -> str:  # noqa: ARG002
        """See `Commands.describe`."""
        await self._step("describe")
        return ""

    async def generate(self, blocks: str, addresses: tuple[str, ...]) -> Generated:  # noqa: ARG002
        """See `Commands.generate`."""
        await self._step("generate")
        return "", b"", ""

    async def apply(self, plan: Path, on_event: OnEvent, *, parallelism: int | None) -> Outcome:  # noqa: ARG002
        """See `Commands.apply`."""
        if self.is_to_stop:
            raise StopRequested
        await self.diary.step("apply")
        return await self._end(f"apply{self._way()}", on_event)

    async def execute(self, on_event: OnEvent) -> Outcome:
        """See `Commands.execute`."""
        if self.is_to_stop:
            raise StopRequested
        await self.diary.step("execute")
        return await self._end(f"apply{self._way()}", on_event)

    async def rehearse(self, stored: bytes) -> bytes:
        """See `Commands.rehearse`."""
        await self._step("rehearse")
        return stored if self.rehearsed is None else self.rehearsed

    def _way(self) -> str:
        return ", killed" if self.is_killed else ", stopped" if self.is_to_stop else ""

    async def _step(self, name: str) -> None:
        """Reach a command's step; a wish to stop that came before or meanwhile counts, as with the real ones."""
        if not self.is_to_stop:
            await self.diary.step(name)
        if self.is_to_stop:
            raise StopRequested

    async def _end(self, name: str, on_event: OnEvent) -> Outcome:
        ending, interruption = self.ends[name], Interruption()
        self.diary.note(f"end:{name.partition(',')[0]}")
        events = [parse_event(each) for each in ending.says.splitlines()]
        for event in events:
            interruption.take(event)
            on_event(event)
        if ending.stores:
            self.access.write()
        return Outcome(ended=Ended(code=ending.code), events=events, interruption=interruption)

    def stop(self) -> None:
        """See `Commands.stop`."""
        self.is_to_stop = True
        self.diary.note("stop")

    def kill(self) -> None:
        """See `Commands.kill`."""
        self.is_killed = True
        self.diary.note("kill")

    async def dismiss(self) -> None:
        """See `Commands.dismiss`."""
        await self.diary.step("dismiss")

    def clear_away(self) -> None:
        """See `Commands.clear_away`."""
        self.diary.note("clear away")


# -- around the state -------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class FakeDoor:
    """See `interlock.run.surroundings.StateAccess`.

    Attributes:
        diary: Where it says what it is asked.
        head: What is stored.
        document: Its bytes.
        backend: What Terraform is told.
        workspace: Terraform's workspace.
        lock: What `-lock` says.
        early: Whether `init` may run before the turn.
        written: What the run wrote last.
        refusal: Why the last write was refused.
        lacking: What the last state lacks without a reason.
        left: The body of the last write that the store could not take.
        allowed: What may be deleted.
        pushed: What was pushed.
        timeout_s: How long the run would have waited for others to leave.
    """

    diary: Diary
    head: Current = field(default_factory=Current)
    document: bytes | None = None
    backend: HttpBackend | None = None
    workspace: str = ""
    lock: bool | None = None
    early: bool = True
    written: Current | None = None
    refusal: InterlockError | None = None
    lacking: tuple[str, ...] = ()
    left: bytes | None = None
    allowed: frozenset[str] | None = None
    pushed: list[bytes] = field(default_factory=list)
    timeout_s: float | None = None

    def write(self) -> None:
        """Store the next serial, as Terraform does."""
        serial = self.head.serial + 1
        self.head = self.written = Current(lineage="l", serial=serial, digest=f"d{serial}", number=serial)
        text = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l", "resources": []}
        self.document = json.dumps(text).encode()

    @property
    def files(self) -> tuple[int, ...]:
        """See `StateAccess.files`."""
        return ()

    async def may_initialise(self) -> bool:
        """See `StateAccess.may_initialise`."""
        return self.early

    def admit(self, seat: Seat) -> None:  # noqa: ARG002
        """See `StateAccess.admit`."""
        self.diary.note("access.admit")

    async def enter(self, tell: Tell, *, timeout_s: float | None) -> None:  # noqa: ARG002
        """See `StateAccess.enter`."""
        self.timeout_s = timeout_s
        await self.diary.step("access.enter")

    async def rest(self) -> None:
        """See `StateAccess.rest`."""
        await self.diary.step("access.rest")

    async def settle(self, tell: Tell) -> None:  # noqa: ARG002
        """See `StateAccess.settle`."""
        await self.diary.step("access.settle")

    async def leave(self) -> None:
        """See `StateAccess.leave`."""
        await self.diary.step("access.leave")

    def allow_deletions(self, addresses: frozenset[str]) -> None:
        """See `StateAccess.allow_deletions`."""
        self.allowed = addresses
        self.diary.note("access.allow")

    def accepted(self) -> Current | None:
        """See `StateAccess.accepted`."""
        return self.written

    def refused(self) -> InterlockError | None:
        """See `StateAccess.refused`."""
        return self.refusal

    def suspect(self) -> tuple[str, ...]:
        """See `StateAccess.suspect`."""
        return self.lacking

    def unsaved(self) -> bytes | None:
        """See `StateAccess.unsaved`."""
        return self.left

    async def current(self) -> Current:
        """See `StateAccess.current`."""
        await self.diary.step("access.current")
        return self.head

    async def stored(self) -> bytes | None:
        """See `StateAccess.stored`."""
        await self.diary.step("access.stored")
        return self.document

    async def push(self, document: bytes, allowed: frozenset[str] | None) -> Current:  # noqa: ARG002
        """See `StateAccess.push`."""
        await self.diary.step("access.push")
        self.pushed.append(document)
        self.write()
        return self.head

    async def close(self) -> None:
        """See `StateAccess.close`."""


class DiaryCoordinator(LocalCoordinator):
    """A coordinator that says in the diary what is asked of it.

    Attributes:
        diary: That diary; set it before use.
    """

    diary: Diary

    async def acquire(
        self, state: str, request: Requested, *, timeout_s: float | None, on_change: OnChange | None = None
    ) -> Grant:
        """See `Coordinator.acquire`."""
        await self.diary.step("queue.acquire")
        grant = await super().acquire(state, request, timeout_s=timeout_s, on_change=on_change)
        await self.diary.step("queue.granted")
        return grant

    async def renew(self, state: str, ticket: Ticket, token: FencingToken) -> Lease:
        """See `Coordinator.renew`."""
        await self.diary.step("queue.renew")
        return await super().renew(state, ticket, token)

    async def release(
        self,
        state: str,
        ticket: Ticket | None = None,
        token: FencingToken | None = None,
        *,
        lock_id: str | None = None,
    ) -> None:
        """See `Coordinator.release`."""
        await self.diary.step("queue.release")
        await super().release(state, ticket, token, lock_id=lock_id)

    async def withdraw(self, state: str, ticket: Ticket, *, attempt: str = "", by: str = "", reason: str = "") -> None:
        """See `Coordinator.withdraw`."""
        await self.diary.step("queue.withdraw")
        await super().withdraw(state, ticket, attempt=attempt, by=by, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeRescuer:
    """See `interlock.run.surroundings.Rescuer`."""

    diary: Diary

    async def attend(
        self,
        state: str,  # noqa: ARG002
        tell: Callable[[Noticed], None],  # noqa: ARG002
        cannot: Callable[[Exception], None],
    ) -> None:
        """See `Rescuer.attend`."""
        try:
            await self.diary.step("rescuer.attend")
        except InterlockError as error:
            cannot(error)
        await asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeGateway:
    """See `interlock.run.surroundings.Gateway`."""

    diary: Diary
    writes: int | None = 0

    async def open(self, run: str, priority: Priority, seat: Seat, folder: Path) -> Mapping[str, str]:  # noqa: ARG002
        """See `Gateway.open`."""
        await self.diary.step("gateway.open")
        return {"GATEWAY": "http://localhost"}

    @property
    def ports(self) -> tuple[int, ...]:
        """See `Gateway.ports`."""
        return (8650,)

    @property
    def secrets(self) -> tuple[str, ...]:
        """See `Gateway.secrets`."""
        return ()

    async def targets(self) -> Mapping[str, Target]:
        """See `Gateway.targets`."""
        await self.diary.step("gateway.targets")
        return {}

    def expect(self, targets: Mapping[str, Target]) -> None:
        """See `Gateway.expect`."""

    def ask_for(self, alias: str) -> Ask | None:  # noqa: ARG002
        """See `Gateway.ask_for`. It leads nowhere."""
        return None

    def ask_of(self, place: Place) -> Ask | None:  # noqa: ARG002
        """See `Gateway.ask_of`. It leads nowhere."""
        return None

    def adapt(self, plan: bytes) -> bytes:
        """See `Gateway.adapt`."""
        return plan

    def check_changes(self, plan: bytes, facts: PlanFacts, order: Order) -> None:
        """See `Gateway.check_changes`. It lets everything pass."""

    def forecast(self, plan: PlanFacts, deadline_s: float | None, parallelism: int | None) -> Mapping[str, object]:  # noqa: ARG002
        """See `Gateway.forecast`."""
        self.diary.note("gateway.forecast")
        return {"parallelism": parallelism or 7}

    async def close(self) -> Mapping[str, object]:
        """See `Gateway.close`."""
        await self.diary.step("gateway.close")
        return {"calls": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeCreations:
    """See `interlock.run.surroundings.Creations`.

    Attributes:
        diary: Where it says what it is asked.
        earlier: What earlier runs left.
        left: What this run leaves.
        repeats: What its plan makes a second time.
    """

    diary: Diary
    earlier: tuple[Creation, ...] = ()
    left: tuple[Creation, ...] = ()
    repeats: tuple[Repeat, ...] = ()

    async def begin(
        self,
        stored: Callable[[], Awaitable[bytes | None]],  # noqa: ARG002
        ask_of: Callable[[Place], Ask | None],  # noqa: ARG002
    ) -> tuple[Creation, ...]:
        """See `Creations.begin`."""
        await self.diary.step("creations.begin")
        return self.earlier

    def expect(self, planned: Sequence[PlannedCreation]) -> tuple[Repeat, ...]:  # noqa: ARG002
        """See `Creations.expect`."""
        self.diary.note("creations.expect")
        return self.repeats

    async def settle(
        self,
        stored: Callable[[], Awaitable[bytes | None]],  # noqa: ARG002
        ask_of: Callable[[Place], Ask | None],  # noqa: ARG002
        *,
        succeeded: bool,  # noqa: ARG002
    ) -> tuple[Creation, ...]:
        """See `Creations.settle`."""
        await self.diary.step("creations.settle")
        return self.left


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeReview:
    """See `interlock.run.surroundings.Review`. Every apply is looked at."""

    diary: Diary

    def is_needed(self, plan: PlanFacts) -> bool:  # noqa: ARG002
        """See `Review.is_needed`."""
        return True

    async def scan(self, shown: bytes, generate: Generate) -> Mapping[str, object]:  # noqa: ARG002
        """See `Review.scan`."""
        await self.diary.step("review.scan")
        return {"open": 1}

    async def check(self, shown: bytes) -> None:  # noqa: ARG002
        """See `Review.check`."""
        await self.diary.step("review.check")

    async def applied(self, made: Mapping[str, str]) -> None:  # noqa: ARG002
        """See `Review.applied`."""
        await self.diary.step("review.applied")


class DiaryJournal(Journal):
    """A run's journal on a disk that may be full.

    Attributes:
        diary: Where it says that it is written; set it before use.
    """

    diary: Diary

    def announce(self, command: str) -> None:
        """See `Journal.announce`."""
        self.diary.note(f"record:{command}")
        super().announce(command)

    def tell(self, told: AnyEntry) -> None:
        """See `Journal.tell`."""
        super().tell(told)
        match told:
            case PhaseEntry(phase=phase):
                self.diary.note(f"phase:{phase}")
            case ApprovalEntry():
                self.diary.note("approval")
            case _:
                pass
