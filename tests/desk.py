"""A desk: real `interlock` commands against a home of their own, for end-to-end tests and chaos runs."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from unittest import mock

from tests import forking

from interlock.cli.main import main
from interlock.home.embedded import EmbeddedHome, open_home
from interlock.recovery.witnesses.running import look_around
from interlock.run import spare
from interlock.run.summary import Summary, find_summary
from interlock.run.transcript import Entry, read
from interlock.settings.reading import load

T = TypeVar("T")
STEP_S = 180.0  # far more than any step takes, also with four busy processes a core; only a hang reaches it
_LOOK_S = 0.02

_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
SLEEPER = """
variable "hold" {
  type    = number
  default = 0
}

variable "gate" {
  type    = string
  default = ""
}

variable "round" {
  type    = number
  default = 1
}

resource "terraform_data" "work" {
  triggers_replace = [var.round]
  provisioner "local-exec" {
    command = <<-EOT
      i=0; while [ -e '${var.gate}' ] && [ $i -lt 1200 ]; do i=$((i+1)); sleep 0.05; done
      exec sleep ${var.hold}
    EOT
  }
}

resource "terraform_data" "kept" {
  input = "kept"
}
"""
"""Each new `round` replaces one resource and holds the state meanwhile: while there is a file `gate`, then for `hold`
seconds."""

CUT = 120.0
"""Seconds of a hold that the test cuts short: so many that no busy machine comes to their end first."""


ALONE = frozenset({"demo", "gateway", "serve", "wait"})
"""Commands that serve or wait until somebody else does something: always processes of their own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass(slots=True)
class Started:
    """A command that runs."""

    process: subprocess.Popen[str]
    answer: Answer | None = field(default=None)

    def wait(self) -> Answer:
        """Wait for its end."""
        if self.answer is None:
            out, err = self.process.communicate(timeout=STEP_S)
            self.answer = Answer(self.process.returncode, out, err)
        return self.answer

    def signal(self, number: int) -> None:
        """Send the front end a signal."""
        self.process.send_signal(number)


class Desk:
    """One home, and commands that use it.

    Args:
        folder: Where everything is; new.
        environ: Added to the environment of every command.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.home = folder / "home"
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.environ = {
            **inherited,
            "HOME": str(folder),
            "INTERLOCK_HOME": str(self.home),
            "INTERLOCK_LEASE": "1.2s",
            "INTERLOCK_HEARTBEAT": "0.3s",
            "TF_CLI_CONFIG_FILE": os.devnull,
            "CHECKPOINT_DISABLE": "1",
            **(environ or {}),
        }
        self._started: list[Started] = []
        self.says_first = True

    # -- commands ---------------------------------------------------------------------------------------------------

    def module(self, name: str = "module", text: str = SLEEPER) -> Path:
        """Write a root module."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.tf").write_text(text)
        return folder

    def start(
        self, *words: object, cwd: Path | None = None, environ: Mapping[str, str] | None = None, afresh: bool = False
    ) -> Started:
        """Start a command; as users do with `afresh`, else as a process that was forked with all of it loaded."""
        given, folder = {**self.environ, **(environ or {})}, cwd or self.folder
        begin = forking.start_afresh if afresh else forking.start
        process = begin(
            self._spelled(words),
            env=given,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._started.append(Started(process))
        return self._started[-1]

    def start_at_terminal(
        self, *words: object, columns: int = 80, environ: Mapping[str, str] | None = None
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start a command whose controlling terminal is new; return it and the terminal's other side.

        Closing that side closes the terminal: the kernel sends SIGHUP. The command must be waited for.
        """
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, sys.executable, "-m", "interlock", *map(str, words)],
            env={**self.environ, "TERM": "xterm", **(environ or {})},
            cwd=self.folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        return process, ours

    def run(self, *words: object, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Answer:
        """Run a command to its end, in this process where it can."""
        if str(words[0]) in ALONE or not _is_free():
            return self.start(*words, cwd=cwd, environ=environ).wait()
        return self.call(*words, cwd=cwd, environ=environ)

    def call(self, *words: object, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Answer:
        """Run a command to its end in this process, which has all of it loaded: a start costs 0.3 s of CPU and more.

        The supervisor of a run is a process of its own as ever, forked from one that has all of it loaded too.
        `tests/e2e/test_cli_processes.py` holds that each command says the same here and there.
        """
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
        with ExitStack() as stack:
            nothing = stack.enter_context(open(os.devnull, encoding="utf-8"))  # noqa: PTH123 - a device
            stack.enter_context(mock.patch.object(sys, "stdin", nothing))
            stack.enter_context(mock.patch.dict(os.environ, {**self.environ, **(environ or {})}, clear=True))
            stack.enter_context(chdir(cwd or self.folder))
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            stack.enter_context(mock.patch.object(spare, "subprocess", forking.FORKED))
            stack.enter_context(_limited(" ".join(map(str, words))))
            try:
                main(self._spelled(words))
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
        said, told = (stream.detach().getvalue().decode() for stream in (out, err))
        return Answer(code, said, told)

    def _spelled(self, words: tuple[object, ...]) -> list[str]:
        """Return the words of a command. Each home of a test is new, so an apply says that it is the first."""
        spelled = [*map(str, words)]
        is_approved = spelled[:1] == ["apply"] and "--auto-approve" in spelled
        return [spelled[0], "--first-apply", *spelled[1:]] if is_approved and self.says_first else spelled

    def gate(self) -> Path:
        """Make a file; an apply of a `SLEEPER` module that is given it as `-var=gate=…` holds until it is removed."""
        path = self.folder / f"gate-{len(self._started)}"
        path.touch()
        return path

    def apply(self, module: Path, *words: object, hold: float = 0, round_: int = 1, afresh: bool = False) -> Started:
        """Start an approved apply of a `SLEEPER` module; its state is `s`."""
        return self.start(*_apply(module, words, hold, round_), afresh=afresh)

    def applied(self, module: Path, *words: object, round_: int = 1) -> Answer:
        """Run what `apply` starts to its end."""
        return self.run(*_apply(module, words, 0, round_))

    def apply_plain(self, module: Path, *words: object, state: str = "s") -> Answer:
        """Apply a module that has no variables."""
        return self.run("apply", module, "--state", state, "--auto-approve", *words)

    def close(self) -> None:
        """End what a failed test left behind: front ends, then supervisors (which stop their Terraform)."""
        for started in self._started:
            if started.process.poll() is None:
                started.process.kill()
                started.process.wait(STEP_S)
            for pipe in (started.process.stdout, started.process.stderr):
                if pipe is not None:
                    pipe.close()  # else it is found open in the middle of another test
        for summary in self.runs():
            if summary.exit is None:
                self.stop_supervisor(summary)

    def stop_supervisor(self, summary: Summary) -> None:
        """Kill a supervisor that still runs."""
        name = summary.processes.get("supervisor")
        if name is not None and is_interlock(name.pid):
            os.kill(name.pid, signal.SIGKILL)

    # -- what is there ----------------------------------------------------------------------------------------------

    def runs(self) -> list[Summary]:
        """Return the runs in order of their ids."""
        folder = self.home / "runs"
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        return [summary for name in names if (summary := find_summary(folder / name)) is not None]

    def summary(self, run: str = "") -> Summary:
        """Return one run; by default the newest."""
        return next(summary for summary in reversed(self.runs()) if run in ("", summary.run))

    def run_folder(self, run: str = "") -> Path:
        """Return a run's folder; by default the newest one's."""
        return self.home / "runs" / self.summary(run).run

    def journal(self, run: str = "", kind: str = "") -> list[Entry]:
        """Return the entries of a run, all or of one kind."""
        return [entry for entry in read(self.run_folder(run)) if kind in ("", entry.kind)]

    def ask(self, question: Callable[[EmbeddedHome], Any]) -> Any:
        """Ask, or tell, the stores something; `question` returns an awaitable."""

        async def answer() -> Any:
            async with open_home(load(self.folder, self.environ)) as home:
                return await question(home)

        return asyncio.run(answer())

    def lock(self, state: str = "s") -> Any:
        """Return the lock of a state."""
        return self.ask(lambda home: home.coordinator.view(state)).lock

    def history(self, state: str = "s") -> list[Any]:
        """Return the versions of a state, newest first."""
        versions: list[Any] = list(self.ask(lambda home: home.archive.history(state)))
        return versions

    def quarantined(self, state: str = "s") -> list[Any]:
        """Return the refused writes of a state."""
        entries: list[Any] = list(self.ask(lambda home: home.archive.quarantined(state)))
        return entries

    # -- waiting ----------------------------------------------------------------------------------------------------

    def until(self, happens: Callable[[], T | None], what: str) -> T:
        """Return what `happens` returns as soon as it is something."""
        limit_s = time.monotonic() + STEP_S
        while time.monotonic() < limit_s:
            found = happens()
            if found:
                return found
            time.sleep(_LOOK_S)
        raise AssertionError(f"did not happen: {what}; runs: {self.runs()}")

    def until_phase(self, phase: str, count: int = 1) -> Summary:
        """Wait until `count` runs are in a phase; return the newest of them."""

        def look() -> Summary | None:
            found = [summary for summary in self.runs() if summary.phase == phase]
            return found[-1] if len(found) >= count else None

        return self.until(look, f"{count} runs in phase {phase}")

    def until_waiting(self, count: int = 1) -> list[str]:
        """Wait until `count` runs stand in the queue; return their ids in order of arrival."""

        def look() -> list[str] | None:
            queued = [summary.run for summary in self.runs() if summary.phase == "queued"]
            told = {run: [e.at for e in self.journal(run, "standing")] for run in queued}
            found = sorted((run for run in queued if told[run]), key=lambda run: told[run][0])
            return found if len(found) >= count else None

        return self.until(look, f"{count} runs in the queue")

    def until_working(self, run: str = "") -> Summary:
        """Wait until a run's apply works on a resource."""

        def look() -> Summary | None:
            for summary in self.runs():
                entries = read(self.home / "runs" / summary.run)
                begun = any(e.kind == "resource" and e.facts["stage"] == "start" for e in entries)
                if begun and summary.exit is None and run in ("", summary.run):
                    return summary
            return None

        return self.until(look, "an apply that works")

    def until_ended(self, run: str) -> Summary:
        """Wait until a run has ended."""

        def look() -> Summary | None:
            summary = find_summary(self.home / "runs" / run)
            return summary if summary is not None and summary.exit is not None else None

        return self.until(look, f"the end of {run}")


def _apply(module: Path, words: tuple[object, ...], hold: float, round_: int) -> tuple[object, ...]:
    flags = ("--", f"-var=hold={hold}", f"-var=round={round_}")
    return ("apply", module, "--state", "s", "--auto-approve", *words, *flags)


class Hangs(BaseException):
    """A command did not end; no command takes this for a failure of its own."""


@contextmanager
def _limited(what: str) -> Iterator[None]:
    """Raise `Hangs` in what takes longer than any step does."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise Hangs(what)

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, STEP_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_free() -> bool:
    """Say whether a command may run in this thread: it sets handlers of signals, and begins a loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return threading.current_thread() is threading.main_thread()
    return False


def sees_whole_machine() -> bool:
    """Say whether the tests run where a host name may prove something: in no container, nothing hidden."""
    sight = look_around()
    return sight.has_boot and not sight.in_container and not sight.is_hidden


def is_interlock(pid: int) -> bool:
    """Say whether a process is one of ours, so that no test ever signals another."""
    try:
        return b"interlock" in (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the processes whose parent `pid` is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if entry.read_text().rpartition(")")[2].split()[1] == str(pid):
                found.append(int(entry.parent.name))
    return found


def tree(pid: int) -> list[int]:
    """Return a process and all that came from it."""
    return [pid, *(each for child in children(pid) for each in tree(child))]
