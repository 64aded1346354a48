"""One child process: start, signal, reap.

Its output goes to files, never to a pipe: a reader that goes away would kill Terraform with the lock held (SIGPIPE).
It gets a session of its own, so no terminal signals it, and where signals come to whole process trees it is protected
from them (see protection.py). We signal the terraform process alone, never its group, because the Genesys Cloud plugin
lives in that group and exits at once on a signal.

When the supervisor dies, Terraform goes on, cannot save its state, and leaves it in a file; recovery asks it to stop
and stores the file. Linux's PR_SET_PDEATHSIG looks like the tool for that and is not: when a process with several
threads is killed it can arrive twice, and two SIGINTs make Terraform exit at once and lose everything (seen here).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from interlock.errors import TerraformFailed, reason_of
from interlock.host import ProcessName, name_process
from interlock.run.private_file import open_private
from interlock.run.protection import Kept, Level, Protection

_LOOK_S = 0.1  # between two looks for what a script left


class Ended(Struct, frozen=True, kw_only=True):
    """How a process ended: its exit code, or minus the signal that killed it."""

    code: int

    @property
    def killed_by(self) -> int | None:
        """The signal that ended it; None when it exited."""
        return -self.code if self.code < 0 else None


class Streams(Struct, frozen=True, kw_only=True):
    """Open files of the person who ordered a command that only reads; None leaves the process what every one has."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


class Child:
    """A running program; `start` is the only way to get one."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        name: ProcessName,
        kept: Kept = Kept.WHOLE,
        *,
        is_script: bool = False,
    ) -> None:
        self._process = process
        self._is_script = is_script
        self._is_over = False
        self.name = name
        self.kept = kept

    @classmethod
    async def start(  # noqa: PLR0913 - a process has that many sides
        cls,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str],
        cwd: Path,
        stdout: Path,
        stderr: Path,
        held: Sequence[int],
        level: Level = Level.NONE,
        streams: Streams | None = None,
    ) -> Child:
        """Start a program whose output is appended to two files; it keeps the open files `held`.

        With `streams` its standard streams are those, as far as they are given. `level` says which signals it does not
        hear; `kept` of the child says whether that could be done.

        Raises:
            TerraformFailed: It cannot be started.
        """
        try:
            given = streams or Streams()
            with open_private(stdout) as out, open_private(stderr) as err, Protection(level) as protected:
                process = await asyncio.create_subprocess_exec(
                    *argv,
                    env=dict(environ),
                    cwd=cwd,
                    stdin=asyncio.subprocess.DEVNULL if given.stdin is None else given.stdin,
                    stdout=out if given.stdout is None else given.stdout,
                    stderr=err if given.stderr is None else given.stderr,
                    start_new_session=True,
                    pass_fds=tuple(held),
                    preexec_fn=protected.in_child,
                )
        except OSError as error:
            raise TerraformFailed(f"cannot start {argv[0]}", why=reason_of(error), fix="interlock doctor") from error
        return cls(process, name_process(process.pid), protected.kept, is_script=is_script(argv[0]))

    async def wait(self) -> Ended:
        """Wait until the process has ended. When it was killed, what it started is killed too.

        A provisioner that outlives its Terraform would go on changing things while the next run holds the state. A
        Terraform that outlives the script around it saves its state first.
        """
        ended = Ended(code=await self._process.wait())
        if ended.killed_by is not None and self._is_script:
            await self._await_terraform()
        self._is_over = True
        if ended.killed_by is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return ended

    async def _await_terraform(self) -> None:
        from interlock.run.behind_script import find_left  # a script is the exception

        while find_left(self._process.pid):  # noqa: ASYNC110 - it is nobody's child by now, so only a look tells
            await asyncio.sleep(_LOOK_S)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.returncode is None

    def kill(self) -> None:
        """Kill the process and everything in its session. What it had not saved is lost."""
        if self._process.returncode is None or (self._is_script and not self._is_over):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def is_script(program: str) -> bool:
    """Say whether a program is a text that an interpreter reads, and so may start Terraform as its child."""
    try:
        with Path(program).open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
