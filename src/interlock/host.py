"""Processes of this machine: who they are, and whether they still are.

A pid alone proves nothing: it is used again. A process is named by pid, start time, boot and pid namespace; only what
this process can see in its own namespace and boot is evidence.
Source: proc(5) (stat field 22, ns/pid), pid_namespaces(7).
"""

from __future__ import annotations

import getpass
import os
import platform
import socket
import subprocess
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_PROC = Path("/proc")
_START_TIME_FIELD = 22 - 3  # proc(5) counts from 1, and the name in brackets ends field 2
_GROUP_FIELD = 5 - 3
_STATE_FIELD = 0
_DEAD_STATES = frozenset({"Z", "X", "x"})
_INITIAL_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in Linux's include/linux/proc_ns.h


class Life(Enum):
    """What can be said of a process from here."""

    ALIVE = "alive"
    STOPPED = "stopped"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessName:
    """One process, named so that it cannot be mistaken for a later one.

    Attributes:
        host: Network name of the machine.
        machine: The installation's id; empty where there is none.
        boot: Id of the machine's current boot; empty where there is none.
        namespace: The pid namespace in which `pid` means something.
        pid: Process id.
        started: Start time in the system's own spelling; empty when it could not be read.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    started: str


def name_process(pid: int) -> ProcessName:
    """Return the name of a running process of this machine."""
    return ProcessName(
        host=socket.gethostname(),
        machine=_text(Path("/etc/machine-id")),
        boot=_text(_PROC / "sys/kernel/random/boot_id"),
        namespace=_namespace(),
        pid=pid,
        started=_started(pid),
    )


def life_of(process: ProcessName) -> tuple[Life, str]:
    """Say whether a process still is, and how that is known.

    `GONE` is only said when it is certain: the same boot and namespace, and no process with that pid and start time; or
    the same machine, not in a container, after another boot.
    """
    here = name_process(os.getpid())
    if not process.started:
        return Life.UNKNOWN, "its start time was not recorded, so a later process could be taken for it"
    if process.host != here.host:
        return Life.UNKNOWN, f"it runs on {process.host}, this is {here.host}"
    if process.boot != here.boot:
        return _other_boot(process, here)
    if process.namespace != here.namespace:
        return Life.UNKNOWN, "it runs in another container (pid namespace) of this machine"
    return _same_boot(process)


def _other_boot(process: ProcessName, here: ProcessName) -> tuple[Life, str]:
    whole = process.namespace == here.namespace == _INITIAL_NAMESPACE
    if whole and process.machine and process.machine == here.machine:
        return Life.GONE, "this machine was started again since"
    return Life.UNKNOWN, "the host name is the same but the boot is another, perhaps another container"


def _same_boot(process: ProcessName) -> tuple[Life, str]:
    started = _started(process.pid)
    if not started:
        return Life.GONE, f"no process {process.pid} on this host"
    if started != process.started:
        return Life.GONE, f"process {process.pid} is another one, started later"
    state = _stat(process.pid)[_STATE_FIELD : _STATE_FIELD + 1]
    if state == ["T"]:
        return Life.STOPPED, f"process {process.pid} is alive but stopped (SIGSTOP or a debugger)"
    return Life.ALIVE, f"process {process.pid} with the same start time is alive"


def group_members(group: int) -> list[int]:
    """Return the pids of the living processes of a process group, as far as they can be seen from here."""
    if not _PROC.is_dir():
        return _listed_members(group)
    members = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if len(fields) > _GROUP_FIELD and fields[_GROUP_FIELD] == str(group) and fields[0] not in _DEAD_STATES:
                members.append(int(entry.name))
    return sorted(members)


def who() -> str:
    """Return `user@host` as Terraform writes it in a lock's `Who`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    return f"{user}@{socket.gethostname()}"


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; empty when there is no such (living) process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (OSError, UnicodeDecodeError):
        return []
    return text[text.rfind(")") + 2 :].split()


def _started(pid: int) -> str:
    if not _PROC.is_dir():
        return _listed("lstart=", pid)
    fields = _stat(pid)
    if len(fields) <= _START_TIME_FIELD or fields[_STATE_FIELD] in _DEAD_STATES:
        return ""
    return fields[_START_TIME_FIELD]


def _listed(column: str, pid: int) -> str:
    """Ask ps, where there is no /proc (macOS, BSD)."""
    result = subprocess.run(
        ["ps", "-o", column, "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    return " ".join(result.stdout.split())


def _listed_members(group: int) -> list[int]:
    result = subprocess.run(["ps", "-A", "-o", "pid=,pgid="], capture_output=True, text=True, check=False, timeout=10)
    pairs = [line.split() for line in result.stdout.splitlines()]
    return [int(pair[0]) for pair in pairs if pair[1:] == [str(group)]]


def _namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return platform.system()


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
