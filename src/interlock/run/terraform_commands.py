"""Terraform's commands of one run: init, plan, show, apply. Argument lists, files, environment, and how each ended.

Knows the working tree, the binary, and which flags the user gave. Knows nothing of phases, of the queue, or of why a
run is to stop: the supervisor says `stop`, and every command but an apply counts for nothing from then on. An apply's
outcome is given back in any case, since it has changed things.

One command runs at a time. The next one may stand by meanwhile; see `standby.py`. Only what reads a plan for people may
go on beside its apply.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Protocol

import msgspec

from interlock.clock import Clock
from interlock.errors import InterlockError, reason_of
from interlock.foreign_text import shell_word
from interlock.late_pattern import late
from interlock.run.binary import Binary, tool_of
from interlock.run.entries import AskedEntry, InitEntry, NoteEntry, PrintedEntry
from interlock.run.given_values import PREFIX, hand_over, remove_given
from interlock.run.initialising import is_only_override
from interlock.run.order import Operation, Order, is_in_space
from interlock.run.private_file import keep_private
from interlock.run.process import Streams
from interlock.run.protection import Kept, Level
from interlock.run.saved_plan import is_asking_again, is_asking_early
from interlock.run.shown import PLAN_JSON, PLAN_TEXT
from interlock.run.stage import Outcome, Running, Start, start
from interlock.run.standby import Standby, stand_by
from interlock.run.stopping import Ask, ask_once
from interlock.run.surroundings import Diagnose, Generated, Way
from interlock.run.trace_log import TraceLog
from interlock.run.transcript import Journal
from interlock.run.workspace import IMPORTS_NAME, LOCK_FILE, Workspace, space_of
from interlock.secrecy import KnownSecrets, PartlyShown
from interlock.source.tree import Tool
from interlock.state import empty_document, render_document
from interlock.terraform.command import (
    Options,
    Place,
    PlanMode,
    UserFlags,
    Verb,
    build_command,
    divide_flags,
    merge_environment,
    without_backend,
)
from interlock.terraform.events import AnyEvent
from interlock.terraform.plan import hide_secrets, parse_plan, secret_texts
from interlock.terraform.state_command import Effect, read_command
from interlock.trust.own_secrets import without_own_secrets

PLAN_FILE = "plan.tfplan"
"""The plan of a run, in its folder. It holds secrets in clear and does not outlive the run."""
SHOWN_PLAN = "shown.tfplan"
"""The same for those that only read it."""
REHEARSAL = "rehearsal"
"""A folder in the run's, with a copy of the state, while a command is tried on it."""

_OLDEST_TOFU = "1.6.0"  # written into the empty state; an OpenTofu refuses states of newer ones


_NO_VALUE = late(r"No value for required variable|Unable to compute static value")
"""In the words of Terraform and of OpenTofu. Source: docs/facts/opentofu.md#tofu-11."""
_AS_DATA = frozenset({"show", "told"})
"""Commands whose output is a plan's JSON."""
_MODES: dict[Operation, PlanMode] = {
    Operation.DESTROY: "destroy",
    Operation.DRIFT: "refresh-only",
    Operation.REFRESH: "refresh-only",
}

OnEvent = Callable[[AnyEvent], None]


class StopRequested(Exception):
    """The run was asked to stop: a command was not begun, or its outcome does not count."""


class Commands(Protocol):
    """Terraform's commands, as a run uses them.

    `stop` may be called at any time. From then on every method but `apply` raises `StopRequested`, before it begins a
    command or when the command has ended, and `apply` raises it only where nothing was begun. What a command says that
    was asked to stop is never diagnosed: an interrupted `show` is not a failed `show`, and half an `init` is none.
    """

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of the commands, without Interlock's own secrets."""
        ...

    @property
    def parallelism(self) -> int | None:
        """The user's own -parallelism; None when the choice is ours."""
        ...

    @property
    def has_unjudged_apply(self) -> bool:
        """Whether an apply was ended while nobody followed it: what it left, only recovery can judge."""
        ...

    def add(self, environ: Mapping[str, str]) -> None:
        """Give these variables too to every command that begins from now on."""
        ...

    def expect_plan(self) -> None:
        """Let the plan's process start already, if that can be done; `plan` lets it begin."""
        ...

    def expect_apply(self, plan: Path) -> None:
        """Let the process that applies this plan start already, while the plan is still being made."""
        ...

    async def initialise(self, *, again: bool = False) -> None:
        """Make the working tree ready; quickly where it was before.

        Args:
            again: Whatever it was before, as after a plan that says so.

        Raises:
            InterlockError: It failed, or leads to another backend than the one that the run was ordered for.
        """
        ...

    async def begin_state(self, lineage: str) -> None:
        """Let OpenTofu encrypt and store an empty state of this lineage, where none is stored.

        Raises:
            InterlockError: It failed.
        """
        ...

    async def plan(self, out: Path, on_event: OnEvent) -> Outcome:
        """Make a plan; whether it was made, the outcome says."""
        ...

    async def show(self, plan: Path) -> bytes:
        """Return the JSON of a plan. It holds every value, sensitive ones too, so nothing of it stays on disk.

        Raises:
            InterlockError: It failed.
        """
        ...

    async def describe(self, plan: Path) -> str:
        """Keep a plan as people and programs read it, masked: `plan.txt` and `plan.json` in the run's folder.

        It only reads, so it may go on beside an apply of that plan; a wish to stop kills it, which loses nothing.

        Returns:
            Why people cannot see it as Terraform prints it; empty when they can.
        """
        ...

    async def generate(self, blocks: str, addresses: tuple[str, ...]) -> Generated:
        """Let Terraform write configuration for objects that `import` blocks name."""
        ...

    async def apply(self, plan: Path, on_event: OnEvent, *, parallelism: int | None) -> Outcome:
        """Apply exactly this plan; whatever happened, the outcome says.

        Args:
            plan: The plan.
            on_event: Told every event.
            parallelism: Ours; None leaves it to the user's flags, or to Terraform.
        """
        ...

    async def execute(self, on_event: OnEvent) -> Outcome:
        """Carry out the command of the order; whatever happened, the outcome says.

        One that changes the state is treated as an apply: its outcome is given back though the run was asked to stop.
        """
        ...

    async def rehearse(self, stored: bytes) -> bytes:
        """Carry out the command of the order on a copy of the state, which touches nothing.

        Returns:
            What the state would be after it.

        Raises:
            InterlockError: It fails.
        """
        ...

    def stop(self) -> None:
        """Ask the command that runs to stop, once; one that is about to begin is not begun."""
        ...

    def kill(self) -> None:
        """Kill the command that runs. What it had not saved is lost."""
        ...

    async def dismiss(self) -> None:
        """Let go of commands that stand by and are not needed any more."""
        ...

    def clear_away(self) -> None:
        """Forget plans and values that were written for these commands."""
        ...


class _Line(PartlyShown, frozen=True, kw_only=True):
    """The whole argument list and environment of one command."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"environ"})

    argv: tuple[str, ...]
    environ: Mapping[str, str]


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class TerraformCommands:
    """`Commands`, with a real Terraform.

    Attributes:
        order: The run.
        access: Terraform's way to the state.
        workspace: Where Terraform works.
        binary: The Terraform to start.
        journal: The run's record.
        run_folder: The run's folder.
        given: The environment that the front end gave.
        diagnose: Names the cause of a failure.
        clock: Ours.
        alive: The open file whose lock says that the run lives; Terraform inherits it. See `interlock.host.alive`.
        level: Which signals Terraform does not hear.
        streams: Those of the person, for a command that only reads.
        start: Starts a command.
        ask: Asks it to stop.
    """

    order: Order
    access: Way
    workspace: Workspace
    binary: Binary
    journal: Journal
    run_folder: Path
    given: Mapping[str, str] = field(repr=False)
    diagnose: Diagnose
    clock: Clock
    alive: int
    level: Level = Level.NONE
    streams: Streams | None = None
    start: Start = start
    ask: Ask = ask_once
    has_unjudged_apply: bool = False
    environ: dict[str, str] = field(init=False, repr=False)
    _flags: UserFlags = field(init=False)
    _running: Running | None = None
    _asking: asyncio.Task[None] | None = None
    _standbys: dict[str, asyncio.Task[Standby | None]] = field(default_factory=dict)
    _is_to_stop: bool = False
    _wants_values: bool = False
    _readers: list[Running] = field(default_factory=list)
    _said_unprotected: bool = False
    _log: TraceLog = field(init=False)

    def __post_init__(self) -> None:
        self._log = TraceLog(folder=self.run_folder, directory=self.workspace.directory)
        order = self.order
        handed = hand_over(divide_flags(order.extra), directory=Path(order.directory), folder=self.run_folder)
        self.environ = {**without_own_secrets(self.given), **handed.environ}
        self._flags = handed.flags

    @property
    def parallelism(self) -> int | None:
        """See `Commands.parallelism`."""
        values = [flag.partition("=")[2] for flag in self._flags.apply if flag.lstrip("-").startswith("parallelism=")]
        return int(values[-1]) if values and values[-1].isdecimal() else None

    def add(self, environ: Mapping[str, str]) -> None:
        """See `Commands.add`."""
        self.environ |= environ

    # -- the commands -----------------------------------------------------------------------------------------------

    async def initialise(self, *, again: bool = False) -> None:
        """See `Commands.initialise`."""
        if again or not await asyncio.to_thread(self.workspace.seeded):
            await self._init()
            await asyncio.to_thread(self.workspace.check_backend)
            await asyncio.to_thread(self.workspace.initialised)
            await asyncio.to_thread(self._offer_lock_file)
        else:
            await asyncio.to_thread(self.workspace.check_backend)

    def _offer_lock_file(self) -> None:
        """Say where the provider versions are that `init` selected, when the root module pins none."""
        kept, own = self.workspace.seed / LOCK_FILE, self.workspace.directory / LOCK_FILE
        if kept.is_file() and not own.exists():
            pin = f"cp {shell_word(str(kept))} {shell_word(str(own))}"
            self.journal.tell(NoteEntry(text=f"{LOCK_FILE} is missing; to pin the versions that were selected: {pin}"))

    async def _init(self) -> None:
        self.journal.tell(InitEntry(binary=self.binary.name))
        with self._without_state():
            outcome = await self._run("init", Verb.INIT, Options(extra=(*self._init_flags(), *self._flags.values)))
        if outcome.ended.code != 0:
            output = (
                (self.run_folder / "init.jsonl").read_text(errors="replace", encoding="utf-8") + "\n" + outcome.text
            )
            if not is_only_override(output, _cli_config(self.environ)):
                raise self.diagnose(outcome.events, output)

    def _init_flags(self) -> tuple[str, ...]:
        """Return the flags for `init`. By the run's own address the state is reached by nothing that a person typed."""
        flags = self._flags.init
        if self.access.backend is not None or is_in_space(self.order):
            flags = without_backend(flags)
        return (*flags, *self.workspace.init_flags)

    async def begin_state(self, lineage: str) -> None:
        """See `Commands.begin_state`."""
        file = self.run_folder / "begin.tfstate"
        file.write_bytes(render_document(empty_document(lineage=lineage, terraform_version=_OLDEST_TOFU)))
        options = Options(lock=self.access.lock, file=str(file))
        outcome = await self._offering(lambda: self._run("begin", Verb.STATE_PUSH, self._with_asked(options)))
        if outcome.ended.code != 0:
            raise self.diagnose(outcome.events, outcome.text)

    @contextmanager
    def _without_state(self) -> Iterator[None]:
        """Put the state of a workspace aside: `init` would ask whether to move it into the backend of the override."""
        path = space_of(self.workspace.folder, self.order.workspace)
        if not is_in_space(self.order) or not path.exists():
            yield
            return
        aside = path.with_name("aside")
        path.rename(aside)
        try:
            yield
        finally:
            aside.rename(path)

    async def plan(self, out: Path, on_event: OnEvent) -> Outcome:
        """See `Commands.plan`."""
        return await self._run("plan", Verb.PLAN, self._plan_options(out), on_event)

    def _plan_options(self, out: Path) -> Options:
        return Options(
            json=True,
            lock=self.access.lock,
            detailed_exitcode=True,
            out=str(out),
            mode=_MODES.get(self.order.operation, "normal"),
            extra=self._flags.plan,
        )

    async def show(self, plan: Path) -> bytes:
        """See `Commands.show`."""
        shown = self.run_folder / "show.jsonl"
        try:
            options = Options(json=True, file=str(plan))
            outcome = await self._offering(lambda: self._run("show", Verb.SHOW, self._with_asked(options)))
            if outcome.ended.code != 0:
                raise self.diagnose(outcome.events, outcome.text)
            return await asyncio.to_thread(shown.read_bytes)
        finally:
            shown.unlink(missing_ok=True)

    async def describe(self, plan: Path) -> str:
        """See `Commands.describe`. Terraform masks the values that it has marked, and not all their copies."""
        told, printed = self.run_folder / "told.jsonl", self.run_folder / "rendered.jsonl"
        own = self.run_folder / SHOWN_PLAN  # an apply takes the plan's own name away when it begins; see standby.py
        try:
            _link(plan, own)
            if why := await self._beside("told", Options(json=True, file=str(own))):
                return why
            secrets = await asyncio.to_thread(self._keep_document, told)
            if why := await self._beside("rendered", Options(file=str(own))):
                return why
            await asyncio.to_thread(self._keep_text, printed, secrets)
        except InterlockError as error:
            return error.what if not error.why else f"{error.what}: {error.why}"
        except OSError as error:
            return f"it could not be kept: {error.strerror or error}"
        finally:
            for path in (told, printed, own):
                path.unlink(missing_ok=True)
        return ""

    def _keep_document(self, told: Path) -> frozenset[str]:
        """Write the plan for programs; return the texts that it says are secret."""
        from interlock.run.told_plan import told_plan

        shown = told.read_bytes()
        secrets = secret_texts(shown)
        self.journal.learn(secrets)  # a provider may quote them when it fails
        document = told_plan(parse_plan(shown), self.journal.known)
        keep_private(self.run_folder / PLAN_JSON, msgspec.json.encode(document))
        return secrets

    def _keep_text(self, printed: Path, secrets: frozenset[str]) -> None:
        text = hide_secrets(printed.read_text(errors="replace", encoding="utf-8"), secrets)
        keep_private(self.run_folder / PLAN_TEXT, self.journal.known.hide(text).encode())

    async def _beside(self, name: str, options: Options) -> str:
        """Run a `show` that may go on beside another command; return why it failed, else an empty text.

        Raises:
            StopRequested: It was killed, or not begun: nobody wants to know any more.
        """
        outcome = await self._offering(lambda: self._read_beside(name, self._with_asked(options)))
        failed = outcome.ended.code != 0
        return str(self.diagnose(outcome.events, outcome.text).what) if failed else ""

    async def _read_beside(self, name: str, options: Options) -> Outcome:
        self._check()
        argv, environ = self._line(Verb.SHOW, options)
        # Without the lock that says the run lives: who finds two holders of it cannot tell which is its Terraform.
        running = await self.start(
            name, argv, environ, cwd=self.workspace.directory, run_folder=self.run_folder, held=(), level=self.level
        )
        running = running if name in _AS_DATA else replace(running, known=self.journal.known)
        self._readers.append(running)
        try:
            if self._is_to_stop:
                running.child.kill()
            outcome = await running.follow(_ignore)
        except BaseException:
            running.child.kill()
            await running.child.wait()
            raise
        finally:
            self._readers.remove(running)
        self._check()
        return outcome

    async def generate(self, blocks: str, addresses: tuple[str, ...]) -> Generated:
        """See `Commands.generate`."""
        source = self.workspace.folder / IMPORTS_NAME
        target, plan = self.run_folder / "generated.tf", self.run_folder / "generate.tfplan"
        flags = [f"-generate-config-out={target}", *(f"-target={address}" for address in addresses)]
        extra = (*self._flags.plan, *flags)
        options = Options(json=True, lock=self.access.lock, out=str(plan), refresh=False, extra=extra)
        self._check()
        try:
            source.write_text(blocks, encoding="utf-8")
            outcome = await self._run("generate", Verb.PLAN, options)
            text = target.read_text(encoding="utf-8") if target.exists() else ""
            shown = await self.show(plan) if plan.exists() else b""
        finally:
            for path in (source, target, plan):
                path.unlink(missing_ok=True)
        return text, shown, "" if outcome.ended.code == 0 else _first_error(outcome)

    async def apply(self, plan: Path, on_event: OnEvent, *, parallelism: int | None) -> Outcome:
        """See `Commands.apply`."""
        return await self._run("apply", Verb.APPLY, self._apply_options(plan, parallelism), on_event)

    def _apply_options(self, plan: Path, parallelism: int | None) -> Options:
        ours = None if self.parallelism is not None else parallelism
        again = self._flags.values if self._flags.values and self._asked_again(plan) else ()
        extra = (*self._flags.apply, *again)
        return Options(json=True, lock=self.access.lock, file=str(plan), parallelism=ours, extra=extra)

    @property
    def _asked(self) -> tuple[str, ...]:
        """Return the flags with values that every command needs.

        OpenTofu's encryption may refer to variables, and so may the source of a module. Older releases refuse them.
        """
        return self._flags.values if self.order.encryption_asks or self._wants_values else ()

    def _with_asked(self, options: Options) -> Options:
        return msgspec.structs.replace(options, extra=self._asked)

    async def _offering(self, run: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Run a command without the values that the plan had; once one says that it wants them, they get them."""
        outcome = await run()
        if self._asked or not self._flags.values or outcome.ended.code == 0 or not _NO_VALUE.search(outcome.text):
            return outcome
        self._wants_values = True
        return await run()

    def _asked_again(self, plan: Path) -> bool:
        """Say whether an apply needs the values that the plan was made with."""
        is_early = tool_of(self.binary.name) is Tool.TOFU and is_asking_early(plan)
        return self.order.encryption_asks or is_early or is_asking_again(plan)

    async def execute(self, on_event: OnEvent) -> Outcome:
        """See `Commands.execute`."""
        ordered = read_command(self.order.command)
        argv = ordered.argv(lock=self.access.lock, values=self._flags.values)
        changes = ordered.kind.effect is Effect.CHANGES
        name = "apply" if changes else "read"  # what recovery looks at, whatever changed the state
        line = _Line(argv=self._place_argv(argv), environ=self._place_environ())
        self._check()
        outcome = await self._follow(name, line, on_event, changes=changes)
        if not changes:
            self._check()
        return outcome

    async def rehearse(self, stored: bytes) -> bytes:
        """See `Commands.rehearse`. An empty folder with a state is a root module on Terraform's local backend."""
        folder = self.run_folder / REHEARSAL
        state = folder / "terraform.tfstate"
        environ = {name: value for name, value in self._place_environ().items() if not name.startswith("TF_HTTP_")}
        argv = (*self.binary.argv, f"-chdir={folder}", *read_command(self.order.command).argv(lock=None, values=()))
        try:
            folder.mkdir(mode=0o700)
            keep_private(state, stored)
            line = _Line(argv=argv, environ={**environ, "TF_DATA_DIR": str(folder / ".terraform"), "TF_WORKSPACE": ""})
            self._check()
            outcome = await self._follow(REHEARSAL, line, _ignore, changes=False)
            self._check()
            if outcome.ended.code != 0:
                raise self._failed(outcome)
            return await asyncio.to_thread(state.read_bytes)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _failed(self, outcome: Outcome) -> InterlockError:
        """Return the failure of a rehearsal, with what Terraform said."""
        for line in filter(str.strip, outcome.text.splitlines()):
            self.journal.tell(PrintedEntry(text=line, is_error=True))
        return self.diagnose(outcome.events, outcome.text)

    def _place_argv(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return (*self.binary.argv, f"-chdir={self.workspace.folder}", *words)

    def _place_environ(self) -> dict[str, str]:
        """Return the environment of a command of the order: without flags from elsewhere, -lock=false for one."""
        _, environ = self._line(Verb.OUTPUT, Options())
        return {name: value for name, value in environ.items() if not name.startswith("TF_CLI_ARGS")}

    # -- one process ------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._is_to_stop:
            raise StopRequested

    async def _run(self, name: str, verb: Verb, options: Options, on_event: OnEvent | None = None) -> Outcome:
        """Run one command; a wish to stop reaches it while it runs.

        Raises:
            StopRequested: See `Commands`.
        """
        self._check()
        outcome = await self._followed(name, verb, options, on_event or _ignore)
        if verb is not Verb.APPLY:
            self._check()
        return outcome

    async def _followed(self, name: str, verb: Verb, options: Options, on_event: OnEvent) -> Outcome:
        argv, environ = self._line(verb, options)
        return await self._follow(name, _Line(argv=argv, environ=environ), on_event, changes=verb is Verb.APPLY)

    async def _follow(self, name: str, line: _Line, on_event: OnEvent, *, changes: bool) -> Outcome:
        self.journal.announce(name)
        standby = await self._standby_for(name, line.argv, line.environ)
        running = standby.running if standby is not None else await self._start(name, line.argv, line.environ)
        self._begun(running)
        try:
            if standby is not None:
                standby.release()
            return await running.follow(on_event)
        except BaseException:
            await self._end_unfollowed(running, changes=changes)
            raise
        finally:
            self._ended()
            if standby is not None:
                standby.forget()
            await asyncio.to_thread(self._give_log, self._log.hand_over, "is kept with the run")

    def _give_log(self, give: Callable[[KnownSecrets, str], None], otherwise: str) -> None:
        """Give the user the log that was asked for with `TF_LOG_PATH`; a run does not fail for want of it."""
        address = self.access.backend.address if self.access.backend is not None else ""
        try:
            give(self.journal.known, address)
        except OSError as error:
            why = reason_of(error)
            text = f"Terraform's log could not be written where TF_LOG_PATH says, and {otherwise}: {why}"
            self.journal.tell(NoteEntry(text=text))

    def _begun(self, running: Running) -> None:
        """Write down which process it is; ask it to stop when that was wanted while it was being started."""
        self._say_protection(running)
        self._running = running
        processes = {**self.journal.summary.processes, "terraform": running.child.name}
        self.journal.change(processes=processes, starting="")
        if self._is_to_stop:
            self._ask_to_stop()

    def _ended(self) -> None:
        self._running = None
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _say_protection(self, running: Running) -> None:
        """Say once when Terraform hears what it was not to hear."""
        if running.child.kept is Kept.IGNORED_ONLY and not self._said_unprotected:
            self._said_unprotected = True
            text = "this system has no seccomp for us: Terraform and its providers hear a SIGTERM to the whole job"
            self.journal.tell(NoteEntry(text=text))

    async def _end_unfollowed(self, running: Running, *, changes: bool) -> None:
        """End a command that nobody follows any more: a wish ended `init`, or a defect of ours anything else.

        Nothing of other commands is worth saving. An apply saves its state first, whatever is wrong with us; what it
        leaves we cannot judge, so lock and grant stay, and recovery finds them with everything else.
        """
        if changes:
            self.has_unjudged_apply = True
            self._ask_to_stop()
        else:
            running.child.kill()
        await running.child.wait()

    def _line(self, verb: Verb, options: Options) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the argument list and the whole environment of a command."""
        place = Place(
            folder=str(self.workspace.folder),
            data_dir=str(self.workspace.data_dir),
            backend=self.access.backend,
            workspace=self.access.workspace,
        )
        command = build_command(verb, options, place)
        environ = merge_environment(self.environ, command)
        if verb is Verb.APPLY and not self._asked_again(Path(options.file)):
            # the plan holds them: given again they change nothing, and Terraform quotes both where they differ
            environ = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
        return (*self.binary.argv, *command.argv[1:]), self._log.redirect(environ)

    async def _start(
        self, name: str, argv: tuple[str, ...], environ: Mapping[str, str], also: tuple[int, ...] = ()
    ) -> Running:
        """Start a command; it keeps the locks on its tree and on the file that says the run lives, and `also`."""
        held = [each for each in (self.workspace.held, self.alive, *self.access.files, *also) if each is not None]
        cwd, folder = self.workspace.directory, self.run_folder
        streams = self.streams if name == "read" else None
        running = await self.start(
            name, argv, environ, cwd=cwd, run_folder=folder, held=held, level=self.level, streams=streams
        )
        # a plan's JSON is read as data and removed: with something hidden in it, it would be another plan
        return running if name in _AS_DATA else replace(running, known=self.journal.known)

    # -- ending one -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """See `Commands.stop`."""
        self._is_to_stop = True
        self._end_readers()
        self._ask_to_stop()

    def _end_readers(self) -> None:
        for running in list(self._readers):
            running.child.kill()

    def _ask_to_stop(self) -> None:
        if self._running is not None and self._asking is None:
            self._asking = asyncio.create_task(self._ask_once(self._running))

    async def _ask_once(self, running: Running) -> None:
        asked = await self.ask(
            running.child.name,
            folder=self.run_folder,
            is_stopping=lambda: running.interruption.is_stopping,
            by=f"the supervisor of run {self.order.run}",
            clock=self.clock,
            needs_marker=False,
        )
        self.journal.tell(AskedEntry(process=running.child.name.pid, outcome=asked.value))

    def kill(self) -> None:
        """See `Commands.kill`."""
        if self._running is not None:
            self._running.child.kill()

    # -- commands that wait to begin; see standby.py ------------------------------------------------------------------

    def expect_plan(self) -> None:
        """See `Commands.expect_plan`."""
        self._prepare("plan", Verb.PLAN, self._plan_options(self.run_folder / PLAN_FILE))

    def expect_apply(self, plan: Path) -> None:
        """See `Commands.expect_apply`."""
        self._prepare("apply", Verb.APPLY, self._apply_options(plan, None), plan=plan)

    def _prepare(self, name: str, verb: Verb, options: Options, *, plan: Path | None = None) -> None:
        if name in self._standbys:
            return
        argv, environ = self._line(verb, options)
        cwd, folder = self.workspace.directory, self.run_folder
        preparing = stand_by(name, argv, environ, start=self._start, cwd=cwd, run_folder=folder, plan=plan)
        self._standbys[name] = asyncio.create_task(preparing)

    async def _standby_for(self, name: str, argv: tuple[str, ...], environ: Mapping[str, str]) -> Standby | None:
        if name not in self._standbys:
            return None
        standby = await asyncio.shield(self._standbys[name])
        del self._standbys[name]
        if standby is not None and not await standby.may_begin(argv, environ, self.clock):
            await standby.dismiss()
            return None
        if standby is not None and self._is_to_stop:  # asked to stop here it would die of the signal
            await standby.dismiss()
            self.journal.change(starting="")
            raise StopRequested
        return standby

    async def dismiss(self) -> None:
        """See `Commands.dismiss`."""
        while self._standbys:
            _, preparing = self._standbys.popitem()
            if (standby := await preparing) is not None:
                await standby.dismiss()

    def clear_away(self) -> None:
        """See `Commands.clear_away`."""
        (self.run_folder / PLAN_FILE).unlink(missing_ok=True)
        remove_given(self.run_folder)
        self._give_log(self._log.clear, "what is left of it is lost")


def _cli_config(environ: Mapping[str, str]) -> str:
    path = environ.get("TF_CLI_CONFIG_FILE") or str(Path(environ.get("HOME", "/")) / ".terraformrc")
    try:
        return Path(path).read_text(errors="replace", encoding="utf-8")
    except OSError:
        return ""


def _link(plan: Path, name: Path) -> None:
    """Give a plan a second name; a copy where the file system knows no links."""
    name.unlink(missing_ok=True)
    try:
        os.link(plan, name)
    except PermissionError:  # FAT, and mounts of some containers
        keep_private(name, plan.read_bytes())


def _first_error(outcome: Outcome) -> str:
    return next((error.summary for error in outcome.errors), "Terraform failed")


def _ignore(event: AnyEvent) -> None:
    """Events of commands whose output is read as a whole."""
