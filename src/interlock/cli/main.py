"""The command table, and the one place where a failure becomes three lines and an exit status.

A command's module is imported only when it runs, so `interlock --version` and `interlock queue ls` start fast.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from interlock import __version__
from interlock.cli.habits import translate
from interlock.cli.start import begins_run, escape_in_streams, open_closed_streams
from interlock.cli.start import own as _own
from interlock.errors import BackendUnavailable, InterlockError, UsageError, command

if TYPE_CHECKING:
    from typer import Typer

    from interlock.run.spare import Spare


_DEBUG = "INTERLOCK_DEBUG"
_MISUSED = "the command line is wrong; nothing was done"


class Entry(NamedTuple):
    """One command: where its `typer.Typer` lives, one line about it, and the panel of `--help` it stands in."""

    target: str
    summary: str
    panel: str


_RUNS, _STATE, _AROUND, _SERVE, _BEGIN = "Runs", "Locks and states", "Before and after a run", "Servers", "Set-up"

COMMANDS: dict[str, Entry] = {
    "plan": Entry("interlock.cli.run:plan_app", "Queue for the state, then plan under its lock", _RUNS),
    "apply": Entry("interlock.cli.run:apply_app", "Plan, show, ask, apply exactly that plan", _RUNS),
    "destroy": Entry("interlock.cli.run:destroy_app", "Destroy everything the state holds", _RUNS),
    "exec": Entry("interlock.cli.execute:exec_app", "Any command of Terraform, under the lock", _RUNS),
    "import": Entry("interlock.cli.execute:import_app", "Take an object that exists into the state", _RUNS),
    "output": Entry("interlock.cli.output:app", "The outputs of a state, as terraform output prints them", _STATE),
    "drift": Entry("interlock.cli.drift:app", "Find what changed outside Terraform, decide about it", _RUNS),
    "roots": Entry("interlock.cli.roots:app", "The roots of interlock.yaml in order; which a change touches", _RUNS),
    "wait": Entry("interlock.cli.wait:app", "Wait until a run has ended, exit with its status", _RUNS),
    "status": Entry("interlock.cli.screen:app", "Roots, locks, queues, runs, API limits on one screen", _RUNS),
    "runs": Entry("interlock.cli.runs:app", "List, show, follow, cancel and prune runs", _RUNS),
    "queue": Entry("interlock.cli.queue:app", "Who waits for which state, and who is next", _STATE),
    "lock": Entry("interlock.cli.lock:app", "Who holds which state, since when", _STATE),
    "force-unlock": Entry("interlock.cli.force_unlock:app", "Break a lock on proof that its holder is gone", _STATE),
    "recover": Entry(
        "interlock.cli.recover:app", "After a failed pipeline: lock, state, errored.tfstate, plan", _STATE
    ),
    "approve": Entry("interlock.cli.approving:approve_app", "Say yes to what waits for approval, and why", _RUNS),
    "reject": Entry("interlock.cli.approving:reject_app", "Say no to it, and why", _RUNS),
    "approvals": Entry("interlock.cli.approving:app", "Requests for approval, and who decided what", _RUNS),
    "policies": Entry("interlock.cli.policies:app", "What may change when, and who must agree", _STATE),
    "audit": Entry("interlock.cli.audit:app", "Who broke and restored what, and on what grounds", _STATE),
    "state": Entry("interlock.cli.state:app", "Versions of a state: verify, diff, restore, quarantine", _STATE),
    "lint": Entry("interlock.cli.lint:app", "Find mistakes in Terraform and CI files", _AROUND),
    "ci": Entry("interlock.cli.ci:app", "Generate and check CI workflows", _AROUND),
    "explain": Entry("interlock.cli.explain:app", "Name the root cause in a Terraform or CI log", _AROUND),
    "deps": Entry("interlock.cli.deps:app", "Dependencies, also those Terraform cannot see", _AROUND),
    "login": Entry("interlock.cli.login:login_app", "Work at a team's server from now on", _BEGIN),
    "logout": Entry("interlock.cli.login:logout_app", "Work on this machine again", _BEGIN),
    "serve": Entry("interlock.cli.serve:app", "State backend and queue over HTTP", _SERVE),
    "token": Entry("interlock.cli.token:app", "Who may use a server: tokens with a role and states", _SERVE),
    "organisation": Entry("interlock.cli.organisation:app", "Organisations whose OAuth clients a server keeps", _SERVE),
    "encryption": Entry("interlock.cli.encryption:app", "The keys that encrypt what a store keeps", _SERVE),
    "trust": Entry("interlock.cli.trust:app", "Which CI jobs get tokens of a server, without a secret", _SERVE),
    "hook": Entry("interlock.cli.hook:app", "Whose comments on pull requests approve and reject", _SERVE),
    "migrate": Entry("interlock.cli.migrate:app", "Bring the tables of a PostgreSQL store up to date", _SERVE),
    "gateway": Entry("interlock.cli.gateway:app", "API gateway in front of Genesys Cloud", _SERVE),
    "demo": Entry("interlock.cli.demo:app", "The whole product in a minute, offline", _BEGIN),
    "bootstrap": Entry("interlock.cli.bootstrap:app", "Bucket and lock table for states on AWS", _BEGIN),
    "init": Entry("interlock.cli.init:app", "Write interlock.yaml", _BEGIN),
    "adopt": Entry("interlock.cli.adopt:adopt_app", "Take states of any backend into Interlock's own store", _BEGIN),
    "leave": Entry("interlock.cli.adopt:leave_app", "Give states back to plain Terraform, on any backend", _BEGIN),
    "doctor": Entry("interlock.cli.doctor:app", "Check everything around a run", _BEGIN),
    "exit-codes": Entry("interlock.cli.exit_codes:app", "What each exit status means", _BEGIN),
    "completion": Entry("interlock.cli.completion:app", "Print a shell completion script", _BEGIN),
}

_COMPLETE = "_INTERLOCK_COMPLETE"  # set by the script of `interlock completion`
_COMPLETION_OF_TYPER = frozenset({"install_completion", "show_completion"})
"""Options that Typer adds to each group; they would complete that group alone. `interlock completion` does it whole."""


def load(entry: Entry) -> Typer:
    """Import a command's module and return its `Typer`."""
    module, _, attribute = entry.target.partition(":")
    app: Typer = getattr(importlib.import_module(module), attribute)
    return app


@cache
def build() -> Any:
    """Return the root command, a group that imports its commands on demand.

    Built once: after a failure the command line is read a second time, for what it is about.
    """
    import typer
    from typer.main import get_command

    if _COMPLETE in os.environ:  # the group is made without Typer's own options, which would register the shells
        from typer._completion_classes import completion_init  # `typer.completion` has it untyped

        completion_init()
    app = typer.Typer(cls=_lazy_group(), no_args_is_help=True, add_completion=False, rich_markup_mode="rich")

    @app.callback()
    def root(
        *,
        version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    ) -> None:
        """Deterministic Terraform deployments of Genesys Cloud CX."""
        if version:
            print(f"interlock {__version__}")  # noqa: T201 - the answer itself
            raise typer.Exit

    return get_command(app)


def _lazy_group() -> Any:
    """Return the class of the root command. Typer is imported only when a command is parsed."""
    from typer.core import TyperGroup

    class LazyGroup(TyperGroup):
        """Lists names and summaries from the table; imports a command when it is used."""

        listing = False

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class's signature
            return list(COMMANDS)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the base class's signature
            entry = COMMANDS.get(cmd_name)
            if entry is None:
                return None
            return _stub(cmd_name, entry) if self.listing else _imported(cmd_name, entry)

        def invoke(self, ctx: Any) -> Any:
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:  # Typer would leave with 130 and without a word
                raise _stopped() from None

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args and args[0] not in COMMANDS and not args[0].startswith("-"):
                raise _unknown(args[0])
            return super().resolve_command(ctx, args)

        def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the base class's signature
            _show_overview()

        def shell_complete(self, ctx: Any, incomplete: str) -> Any:
            self.listing = True
            try:
                return super().shell_complete(ctx, incomplete)
            finally:
                self.listing = False

    return LazyGroup


@cache
def _imported(name: str, entry: Entry) -> Any:
    """Return the real command, imported now."""
    from typer.main import get_command

    from interlock.cli.help_text import speak_plainly

    command = get_command(load(entry))
    command.name = name
    speak_plainly((name,), command)
    command.params = [parameter for parameter in command.params if parameter.name not in _COMPLETION_OF_TYPER]
    return command


def _unknown(name: str) -> UsageError:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    fix = command(near[0]) if near else "interlock --help"
    return UsageError(f"there is no command {name!r}", why=_MISUSED, fix=fix)


def _stub(name: str, entry: Entry) -> Any:
    """Return a command that only knows its name and summary, for help and completion."""
    from typer.core import TyperCommand

    return TyperCommand(name=name, help=entry.summary, short_help=entry.summary, rich_help_panel=entry.panel)


def main(argv: Sequence[str] | None = None, spare: Spare | None = None) -> None:
    """Run one command and leave with its exit status.

    Args:
        argv: The command line; None for that of this process.
        spare: The supervisor of a run, where it was started already.
    """
    open_closed_streams()
    escape_in_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        print(f"interlock {__version__}")  # noqa: T201 - the answer itself; no import of the whole command line for it
        return
    if sys.platform == "win32":
        sys.exit(_refuse_windows())
    status = _run(arguments, spare)
    gc.freeze()  # else Python looks through everything for cycles once more before it ends, which takes 30 ms
    sys.exit(status)


def _refuse_windows() -> int:
    """Say that this system is not supported; nothing else of ours can even be imported here (`fcntl`, `termios`)."""
    sys.stderr.write(
        "error[usage]: Interlock does not run on Windows\n"
        "  why    its locks and signals are those of Linux and macOS\n"
        "  next   wsl interlock doctor\n"
    )
    return UsageError.exit_status


def _show_overview() -> None:
    from interlock.cli.overview import show

    show({name: (entry.summary, entry.panel) for name, entry in COMMANDS.items()})


def _run(arguments: list[str], spare: Spare | None = None) -> int:
    try:
        arguments = translate(arguments)
        result = _perform(arguments, spare)
        sys.stdout.flush()  # not when Python ends: a full disk or a gone reader is told like any failure
    except BrokenPipeError:
        return _reader_gone()
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get(_DEBUG):
            raise
        from interlock.cli import view

        told = _translated(error)
        failed = _without_secrets(_naming(told, arguments), arguments)
        return view.failure(failed, as_json="--json" in _own(arguments))
    return result if isinstance(result, int) else 0


def _without_secrets(error: InterlockError, arguments: list[str]) -> InterlockError:
    """Hide in a failure what the environment or a `-var` of this command line says is secret; APIs quote what they got.

    Which variables are sensitive is not asked here, so every value counts as secret.
    """
    from interlock.secrecy import environment_secrets, know_secrets

    given = [value for name, value in os.environ.items() if name.startswith("TF_VAR_")]
    if "--" in arguments:
        from interlock.run.given_values import values_of

        given += values_of(arguments[arguments.index("--") :])
    named = (*_own(arguments), os.environ.get("PWD", ""))
    known = know_secrets(environment_secrets(os.environ), given=given, named=named)
    if known:
        error.what, error.why, error.fix = map(known.hide, (error.what, error.why, error.fix))
        error.facts = {name: known.hide_within(value) for name, value in error.facts.items()}
    return error


def _naming(error: InterlockError, arguments: list[str]) -> InterlockError:
    """Fill into the hint of a failure which state and which program the command line is about."""
    from pathlib import Path

    from interlock.cli.program import with_program

    values = _values(arguments)
    folder, named = values.get("directory"), values.get("terraform")
    return with_program(error.naming(_subject(values)), Path(str(folder or ".")), str(named) if named else None)


def _subject(values: Mapping[str, object]) -> str:
    """Return the state or root module that a command line is about; `.` where it names none."""
    return str(next((values[name] for name in ("state", "directory") if values.get(name)), "."))


def _values(arguments: list[str]) -> Mapping[str, object]:
    """Return what a command line says, by the names of its parameters; nothing where it cannot be read."""
    group, context, rest = build(), None, _own(arguments)
    try:
        while hasattr(group, "resolve_command"):
            context = group.make_context("interlock", rest, parent=context, resilient_parsing=True)
            left = [*context._protected_args, *context.args]  # noqa: SLF001 - Click keeps there what it has not parsed
            _, group, rest = group.resolve_command(context, left)
        params: Mapping[str, object] = group.make_context(
            "interlock", rest, parent=context, resilient_parsing=True
        ).params
    except Exception:  # noqa: BLE001 - a command line that cannot be read has its own failure, which is being told
        return {}
    return params


def _perform(arguments: list[str], started: Spare | None) -> object:
    if arguments == ["--help"]:
        _show_overview()
        return None
    if arguments == ["--version"]:
        print(f"interlock {__version__}")  # noqa: T201 - the answer itself
        return None
    if arguments[1:2] == ["ls"]:
        from interlock.cli.quick import answer

        if answer(arguments):
            return None
    with started or _supervisor_for(arguments) as spare:
        from interlock.cli.quick_run import read

        if (plain := read(arguments)) is not None:
            from interlock.cli.one_run import perform

            return perform(plain.operation, plain.directory, plain.extra, spare=spare, **plain.options)
        return build().main(args=arguments, prog_name="interlock", standalone_mode=False, obj=spare)


def _supervisor_for(arguments: list[str]) -> AbstractContextManager[Spare | None]:
    """Start the supervisor of a run before anything else: the command line and the checks load while it does."""
    if begins_run(arguments):
        from interlock.run.spare import Spare

        return Spare(os.environ)
    return nullcontext()


def _translated(error: BaseException) -> InterlockError:
    """Return any failure in our three parts: a person never sees a traceback unasked."""
    from typer.exceptions import Abort, TyperException

    match error:
        case InterlockError():
            return error
        case Abort() | KeyboardInterrupt():
            return _stopped()
        case TyperException():
            return _misuse(error)
        case OSError():
            return _refused_by_the_system(error)
        case UnicodeEncodeError() if _is_undecoded(error.object[error.start : error.end]):
            return _no_text(error)
        case _:
            return _defect(error)


def _misuse(error: Any) -> UsageError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "interlock"
    below = getattr(getattr(context, "command", None), "commands", None)
    if below and type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help text
        return UsageError("a command is missing", why=f"{command} has {', '.join(below)}", fix=f"{command} --help")
    what = " ".join(error.format_message().split()).rstrip(".") or "a command is missing"
    for theirs, ours in _NUMBERS.items():
        what = what.replace(f"is not a valid {theirs}", f"is not {ours}")
    return UsageError(what, why=_MISUSED, fix=f"{command} --help")


_NUMBERS = {"int range": "a whole number", "integer": "a whole number", "float range": "a number", "float": "a number"}


def _stopped() -> InterlockError:
    from interlock.errors import Interrupted

    return Interrupted("stopped by you", why="Ctrl-C, or no answer to a prompt", fix="repeat the command")


def _is_undecoded(part: str) -> bool:
    """Whether characters stand for bytes that Python could not decode: in an argument, a file name, the environment."""
    return all("\udc80" <= character <= "\udcff" for character in part)


def _no_text(error: UnicodeEncodeError) -> UsageError:
    return UsageError(
        f"a name or a value has bytes that are not UTF-8: {error.object[error.start : error.end]!r}",
        why="it would stand in records, logs and JSON, which are UTF-8",
        fix="rename the file or folder, or give the value in a file with -var-file",
    )


def _refused_by_the_system(error: OSError) -> InterlockError:
    """Spell a failure of the file system or the network that no hand has translated."""
    subject = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return BackendUnavailable(
            f"{subject}could not be written: {error.strerror}",
            why="the disk is full, or a limit on files was reached",
            fix="df -h    free space on that disk, then try again",
        )
    return InterlockError(
        f"{subject}{error.strerror or error}", why="the operating system refused", fix="interlock doctor"
    )


def _defect(error: BaseException) -> InterlockError:
    what = f"Interlock failed: {type(error).__name__}: {error}"
    return InterlockError(
        what, why="this is a defect in Interlock", fix=f"repeat with {_DEBUG}=1 and report what it shows"
    )


def _reader_gone() -> int:
    """Leave quietly when the reader of our output has gone, as in `interlock runs ls | head`."""
    from interlock.cli import view

    view.forget_reader(sys.stdout)
    return 1
