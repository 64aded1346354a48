"""`interlock exec`, `import`: a command of Terraform on a state, in turn, under the lock, as a run."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli import completing
from interlock.cli.one_run import after_a_kill, conclude
from interlock.cli.run import NoGateway, NoWait, Terraform, Wait, run_flag

if TYPE_CHECKING:
    from interlock.operate.ordering import Asked
    from interlock.run.spare import Spare
    from interlock.terraform.state_command import StateCommand

exec_app = typer.Typer()
import_app = typer.Typer()

_CHUNK_BYTES = 1 << 16
_LAST_S = 2.0  # for what a command that was killed had printed

State = Annotated[str | None, run_flag("state", autocompletion=completing.states)]
AllowDestroy = Annotated[bool, run_flag("allow-destroy")]
MaxDeletes = Annotated[int | None, run_flag("max-deletes", min=0)]
Json = Annotated[bool, run_flag("json")]


@exec_app.command("exec")
def execute(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="The root module (default: here), then, after --, a command such as terraform state mv A B.",
            metavar="[DIR] -- terraform COMMAND…",
        ),
    ] = None,
    *,
    state: State = None,
    wait: Wait = None,
    no_wait: NoWait = False,
    terraform: Terraform = None,
    max_deletes: MaxDeletes = None,
    allow_destroy: AllowDestroy = False,
    no_gateway: NoGateway = False,
    json: Json = False,
) -> None:
    """Queue, then run a command of Terraform under the lock: state mv, state rm, import, taint, output.

    What changes the state is a run like an apply: versioned, checked, and finished when it is interrupted.
    """
    directory, command = divide_words(words or [])
    asked = ask(
        command,
        directory,
        state=state,
        wait=wait,
        no_wait=no_wait,
        terraform=terraform,
        max_deletes=max_deletes,
        allow_destroy=allow_destroy,
        no_gateway=no_gateway,
        json=json,
    )
    run(asked, ctx.obj)


@import_app.command("import")
def bring_in(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(help="Where the object is in the configuration, such as a.b[0].")],
    id_: Annotated[str, typer.Argument(metavar="ID", help="Its id in the contact centre.")],
    directory: Annotated[Path, typer.Argument(help="The root module.", show_default="here")] = Path(),
    extra: Annotated[
        list[str] | None, typer.Argument(help="Flags for Terraform, after --.", metavar="[-- FLAGS…]")
    ] = None,
    *,
    state: State = None,
    wait: Wait = None,
    no_wait: NoWait = False,
    terraform: Terraform = None,
    no_gateway: NoGateway = False,
    json: Json = False,
) -> None:
    """Queue, then take an object that exists into the state, under the lock."""
    from interlock.cli.one_run import divide
    from interlock.terraform.state_command import read_command

    directory, flags = divide(directory, extra)
    command = read_command(["import", *flags, address, id_])
    asked = ask(
        command,
        directory,
        state=state,
        wait=wait,
        no_wait=no_wait,
        terraform=terraform,
        no_gateway=no_gateway,
        json=json,
    )
    run(asked, ctx.obj)


def divide_words(words: Sequence[str]) -> tuple[Path, StateCommand]:
    """Tell the root module from the command: the parser drops the -- between them.

    A folder called `terraform` is taken for the program unless the program follows it.

    Raises:
        UsageError: The first word is neither; or see `read_command`.
    """
    from interlock.errors import PROGRAM, UsageError, command
    from interlock.terraform.state_command import is_program, is_verb, read_command

    program_follows = len(words) > 1 and is_program(words[1])
    if not words:
        return Path(), read_command(words)
    if not program_follows and (is_program(words[0]) or (is_verb(words) and not is_verb(words[1:]))):
        return Path(), read_command(words)
    if not Path(words[0]).is_dir():  # before the rest is read: else a mistyped program is told as a wrong command
        raise UsageError(
            f"{words[0]} is neither the folder of a root module nor a command of Terraform",
            why="exec takes a folder, or none, and after it terraform or tofu with one of their commands",
            fix=command("exec", "--", PROGRAM, "state", "list"),
        )
    return Path(words[0]), read_command(words[1:])


def ask(command: StateCommand, directory: Path, **options: Any) -> Asked:
    """Return what is asked of a run that carries a command out."""
    from interlock.operate.ordering import Asked
    from interlock.run.order import Operation
    from interlock.terraform.state_command import Effect

    effect = command.kind.effect
    operation = {
        Effect.READS: Operation.READ,
        Effect.CHANGES: Operation.EXEC,
        Effect.REFRESHES: Operation.REFRESH,
    }[effect]
    named = command.program if command.program not in {"", "terraform"} else None
    options["terraform"] = options.get("terraform") or named
    return Asked(
        operation=operation,
        directory=directory,
        extra=command.values,
        command=() if effect is Effect.REFRESHES else command.words,
        auto_approve=True,
        retries=0,
        **options,
    )


def run(asked: Asked, spare: Spare | None) -> None:
    """Order the run, show it, and leave with its exit status."""
    from interlock.cli import view
    from interlock.cli.follow import Follower
    from interlock.compose.ordering import order_run
    from interlock.run.order import Operation

    reads = asked.operation is Operation.READ
    with _reader(reads=reads, talks=asked.command[:1] == ("console",), keep=asked.json) as reader:
        front = order_run(asked, os.environ, spare, say=view.note, files=reader.files)
        reader.begin()
        follower = Follower(front.folder, quiet=asked.json)
        end = front.follow(follower.show, tick=follower.tick) or after_a_kill(front.folder)
    more = {"printed": reader.kept.decode(errors="replace")} if asked.json and reads else {}
    raise typer.Exit(conclude(end, folder=front.folder, json=asked.json, more=more))


class _Reader:
    """Takes what a command prints that only reads, and prints it: whole and unchanged where a program reads it.

    Nothing of it is on disk: `output -raw` prints secrets.

    Args:
        files: What the command gets as its standard streams.
        ours: The end that we read; None when the command has the terminal itself.
        theirs: The end that it writes to, which is closed when it has it.
        keep: Keep it instead, for one JSON document.
    """

    def __init__(
        self, files: tuple[int, ...] = (), ours: int | None = None, theirs: int | None = None, *, keep: bool
    ) -> None:
        self.files = files
        self.kept = b""
        self._keep, self._ours, self._theirs = keep, ours, theirs
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin to read: the command has its end by now."""
        if self._ours is not None and self._theirs is not None:
            os.close(self._theirs)
            self._thread = threading.Thread(target=self._pump, args=(self._ours,), daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Print the rest."""
        if self._thread is not None:
            self._thread.join(_LAST_S)

    def _pump(self, ours: int) -> None:
        from interlock.cli import view

        shows = view.is_terminal()
        with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                if self._keep or shows:
                    self.kept += chunk
                else:
                    view.raw(chunk)
                    view.flush()
        if shows and not self._keep:
            view.document(self.kept.decode(errors="replace"))
            view.flush()


@contextmanager
def _reader(*, reads: bool, talks: bool, keep: bool) -> Iterator[_Reader]:
    """Give what prints the output of a command that only reads; of any other, nothing."""
    if not reads:
        yield _Reader(keep=keep)
        return
    from interlock.cli import view

    if talks and view.is_terminal() and sys.stdin.isatty() and not keep:  # a conversation needs the terminal itself
        yield _Reader(view.open_streams(), keep=keep)
        return
    own = None
    if (stdin := view.stdin_file()) is None:
        stdin = own = os.open(os.devnull, os.O_RDONLY)
    ours, theirs = os.pipe()
    reader = _Reader((stdin, theirs), ours, theirs, keep=keep)
    try:
        yield reader
    finally:
        reader.end()
        if own is not None:
            os.close(own)
