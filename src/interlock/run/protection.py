"""Starts Terraform so that signals which are meant for a whole process tree do not reach it. A hand.

`systemctl stop`, a reboot, a spot termination and the helper of a GitLab runner send SIGTERM to every process. The
supervisor understands it: it asks Terraform to stop, once. Terraform and its provider plugins must not hear it too: two
signals cut Terraform off, and the Genesys Cloud provider exits at once on its first.

It is done in the child between fork and exec, so it costs no further program: 3 to 4 ms of processor time for each
command, where a launcher in Python would cost 30. Nothing there may fail or wait; what cannot be done is left out and
said.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final, Self

from interlock.host import INITIAL_PIDS
from interlock.run.signal_filter import DEAF_TO, filter_program

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
_STEP_BYTES = 8  # of struct sock_filter
_CI_MARKS: Final = ("CI", "GITLAB_CI", "GITHUB_ACTIONS", "TF_BUILD", "JENKINS_URL")


class Choice(Enum):
    """What a person decided."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Level(Enum):
    """What a program that we start does not hear."""

    NONE = "none"
    """It hears everything."""
    HANGUP = "hangup"
    """Not SIGHUP, as under nohup. A login session that ends sends it, and Terraform would end without saving."""
    FULL = "full"
    """Neither SIGHUP nor SIGTERM, whatever it asks for. Costs set-user-id programs such as sudo: no_new_privs."""


class Kept(Enum):
    """What came of it."""

    WHOLE = "whole"
    """As wanted."""
    IGNORED_ONLY = "ignored-only"
    """The signals are ignored, but no filter keeps a program from asking for them: Terraform hears SIGTERM."""


def choose(choice: Choice, environ: Mapping[str, str], *, namespace: str, control_group: str) -> tuple[Level, str]:
    """Return how a run's Terraform is protected, and why. Pure.

    Args:
        choice: What the person decided.
        environ: The environment of the run.
        namespace: Our pid namespace as /proc names it; empty where there is none.
        control_group: Our control group; empty where there is none.
    """
    if choice is not Choice.AUTO:
        return (Level.FULL if choice is Choice.ALWAYS else Level.NONE), f"protect_terraform is {choice.value}"
    if marks := [mark for mark in _CI_MARKS if environ.get(mark)]:
        return Level.FULL, f"this is a CI job ({marks[0]} is set)"
    if namespace.startswith("pid:") and namespace != INITIAL_PIDS:
        return Level.FULL, "this is a container"
    if control_group.rstrip("/").endswith(".service"):
        return Level.FULL, f"this is a service ({control_group.rpartition('/')[2]}), which is stopped as a whole"
    return Level.HANGUP, "nobody here signals whole process trees but at the end of a session"


def control_group() -> str:
    """Return the control group of this process; empty where there is none."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return max((line.split(":", 2)[2] for line in lines if line.count(":") > 1), key=len, default="")


class Protection:
    """Protects one program that is about to be started. Used as a context around its start.

    Args:
        level: What it does not hear.
    """

    def __init__(self, level: Level) -> None:
        self._level = level
        self._ears, self._mouth = os.pipe()  # the child says what came of it
        os.set_blocking(self._ears, False)
        self._install = _filter_installer() if level is Level.FULL else None
        self.kept = Kept.WHOLE

    @property
    def in_child(self) -> Callable[[], None] | None:
        """What the child has to do between fork and exec; None when nothing."""
        return None if self._level is Level.NONE else self._in_child

    def __enter__(self) -> Self:
        """Nothing further."""
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._mouth)
        with suppress(OSError):  # nothing to read: it was not started, or Level.NONE
            self.kept = Kept.IGNORED_ONLY if os.read(self._ears, 1) == b"-" else Kept.WHOLE
        os.close(self._ears)

    def _in_child(self) -> None:
        """Only system calls on what is prepared: other threads of the parent may hold any lock at this moment."""
        numbers = DEAF_TO if self._level is Level.FULL else (signal.SIGHUP,)
        with suppress(Exception):
            for number in numbers:
                signal.signal(number, signal.SIG_IGN)
        # The signals first: with the filter in place, ignoring them would be a request like any other.
        if self._level is Level.FULL:
            os.write(self._mouth, b"+" if self._install is not None and self._install() else b"-")


def _filter_installer() -> Callable[[], bool] | None:
    """Return what puts the filter over the calling thread and all that it becomes or starts; None without seccomp."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # the front end imports this module too, and installs nothing

    class Program(ctypes.Structure):
        """`struct sock_fprog`."""

        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))

    try:
        prctl = ctypes.PyDLL(None).prctl  # PyDLL: it keeps the interpreter's lock, which nobody else holds in a child
    except (OSError, AttributeError):
        return None
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    code = ctypes.create_string_buffer(filter_program())
    program = Program(len(filter_program()) // _STEP_BYTES, ctypes.addressof(code))
    where = ctypes.addressof(program)

    def install(_keep: object = (code, program)) -> bool:
        # Without new privileges an unprivileged process may filter itself: nothing that it starts gains rights by it.
        return bool(
            prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            and prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, where, 0, 0) == 0
        )

    return install
