"""A Terraform that is started before it may begin: it waits at its own configuration file. A hand.

Half of a short plan is the start of its program, and it stood inside the hold of the state. So the run that is next in
line starts its `plan` while it waits, and an approved apply is started while its plan is made. Such a process has
TF_CLI_CONFIG_FILE name the reading end of a pipe, which Terraform reads to its end before anything else: before the
working folder, the state, its lock, or the plan file. There it stays until `release` ends what it reads.

What makes that safe:

- Nothing but its start has happened. The pipe is given one empty line, and that this line is gone is the proof that
  the process is at its configuration; one that is anywhere else is not used.
- When we die, the kernel ends the pipe, and the process goes on by itself, to nothing: our address answers no more,
  and the plan that it was told to apply gets its name only in `release`. So nothing stays behind that waits for ever.
- A process that is not used is killed. It has done nothing that could be lost.

Which file the user's own configuration is, is decided as in Terraform (internal/command/cliconfig). Where more than
one file would be read, there is no standby and the command starts as ever.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from interlock.clock import Clock
from interlock.errors import InterlockError
from interlock.run.stage import Running

CONFIG = "TF_CLI_CONFIG_FILE"
_OLD_CONFIG = "TERRAFORM_CONFIG"  # what Terraform before 0.12 called it, and still reads
_START_S = (
    5.0  # far more than a start takes, also on a busy machine; one that needs longer does not wait where it should
)
_LOOK_S = 0.003
_CONFIG_BYTES_MAX = 32 << 10  # half of what a pipe takes without a reader; a longer file is somebody's special case

Start = Callable[[str, tuple[str, ...], Mapping[str, str], tuple[int, ...]], Awaitable[Running]]
"""Starts a command: name, argument list, environment, open files that it inherits besides those of every command."""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Standby:
    """One command that waits to begin.

    Attributes:
        running: Its process and output.
        argv: What it was asked for, with the plan's own name.
        environ: What it was asked for, with the user's own TF_CLI_CONFIG_FILE.
    """

    running: Running
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    _own_config: Path
    _name: Path
    _end: int | None
    _plan: tuple[Path, Path] | None
    _content: bytes = field(default=b"", repr=False)

    async def may_begin(self, argv: tuple[str, ...], environ: Mapping[str, str], clock: Clock) -> bool:
        """Say whether it is just what is wanted now, and at its configuration; wait for the rest of its start."""
        if self.argv != argv or self.environ != environ:
            return False
        limit_s = clock.monotonic() + _START_S
        while not self._is_waiting():
            if not self.running.child.is_running or clock.monotonic() >= limit_s:
                return False
            await clock.sleep(_LOOK_S)
        try:
            self._content = self._own_config.read_bytes()
        except OSError:  # it was removed meanwhile: Terraform shall say it
            return False
        return True

    def _is_waiting(self) -> bool:
        """Say whether it reads its configuration now, so that it has done nothing yet."""
        return self._end is not None and _unread_bytes(self._end) == 0 and self.running.child.is_running

    def release(self) -> None:
        """Let it begin; only after `may_begin` said yes.

        Whatever it starts, and reads a configuration too, reads the user's own file.
        """
        assert self._end is not None, "released once"
        if self._plan is not None:
            self._plan[0].rename(self._plan[1])
        link = self._name.with_suffix(".link")
        link.symlink_to(self._own_config)
        link.rename(self._name)
        with suppress(BrokenPipeError):  # it was killed this moment
            os.write(self._end, self._content)
        self._close()

    async def dismiss(self) -> None:
        """Let go of a process that is not needed. Killed first: at the end of its configuration it would begin."""
        self.running.child.kill()
        await self.running.child.wait()
        self._close()
        for path in (self.running.output, self.running.stderr):
            path.unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Remove what stood for the configuration file; its process has ended."""
        self._name.unlink(missing_ok=True)
        if self._plan is not None:
            self._plan[1].unlink(missing_ok=True)

    def _close(self) -> None:
        if self._end is not None:
            os.close(self._end)
            self._end = None


async def stand_by(
    name: str,
    argv: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    start: Start,
    cwd: Path,
    run_folder: Path,
    plan: Path | None = None,
) -> Standby | None:
    """Start a command that waits.

    Args:
        name: Of the command.
        argv: What to start.
        environ: Its whole environment.
        start: Starts it, with files that it inherits besides those of every command.
        cwd: Its working folder.
        run_folder: The run's folder.
        plan: The plan file among the arguments, which need not exist before `release`; None when there is none.

    Returns:
        None where it cannot be done; that is not a failure.
    """
    own = find_own_config(argv[0], environ, cwd)
    if own is None:
        return None
    later = None if plan is None else (plan, plan.with_name(f"{plan.name}.approved"))
    words = argv if later is None else tuple(str(later[1]) if word == str(later[0]) else word for word in argv)
    config = run_folder / f"{name}.tfrc"
    reading, end = os.pipe()
    try:
        os.write(end, b"\n")
        config.unlink(missing_ok=True)
        config.symlink_to(f"/dev/fd/{reading}")
        running = await start(name, words, {**environ, CONFIG: str(config)}, (reading,))
    except (OSError, InterlockError):  # the command itself will say it
        os.close(end)
        config.unlink(missing_ok=True)
        return None
    finally:
        os.close(reading)
    return Standby(running=running, argv=argv, environ=environ, _own_config=own, _name=config, _end=end, _plan=later)


def _unread_bytes(pipe: int) -> int:
    """Return how much nobody has read yet."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0])


def find_own_config(program: str, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the one configuration file that this Terraform would read; None when that is not one file for certain.

    Args:
        program: What is started; OpenTofu looks in more places than Terraform.
        environ: Its environment.
        cwd: Its working folder.
    """
    if named := environ.get(CONFIG) or environ.get(_OLD_CONFIG):
        path = (cwd / named).absolute()
        return path if path == Path(os.devnull) or _is_small_file(path) else None
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    if home is None or "tofu" in Path(program).name or _has_files_beside(home):
        return None
    path = home / ".terraformrc"
    if not os.path.lexists(path):
        return Path(os.devnull)
    return path if _is_small_file(path) else None


def _has_files_beside(home: Path) -> bool:
    """Say whether there are files that Terraform reads only where no TF_CLI_CONFIG_FILE is set."""
    folder = home / ".terraform.d"
    return any(path.name.endswith((".tfrc", ".tfrc.json")) for path in _entries(folder))


def _entries(folder: Path) -> Sequence[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return ()
    except OSError:
        return (Path("unknown.tfrc"),)  # it cannot be looked at, so it may hold some


def _is_small_file(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _CONFIG_BYTES_MAX and os.access(path, os.R_OK)
    except OSError:
        return False
