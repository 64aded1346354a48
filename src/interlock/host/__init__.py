"""Processes of this machine: who they are, and whether they still are.

A pid alone proves nothing: it is used again. A process is named by pid, start time, boot and pid namespace; only what
this process can see in its own namespace and boot is evidence.
Source: proc(5) (stat field 22, ns/pid), pid_namespaces(7).
"""

from __future__ import annotations

import getpass
import os
import platform
import pwd
import signal
import socket
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from msgspec import Struct

from interlock.foreign_text import one_line
from interlock.trust.checkout import find_program

_PROC = Path("/proc")
_START_TIME_FIELD = 22 - 3  # proc(5) counts from 1, and the name in brackets ends field 2
_PARENT_FIELD = 4 - 3
_GROUP_FIELD = 5 - 3
_STATE_FIELD = 0
_DEAD_STATES = frozenset({"Z", "X", "x"})
INITIAL_PIDS = "pid:[4026531836]"
"""The first pid namespace of a machine, not of a container: PROC_PID_INIT_INO in Linux's include/linux/proc_ns.h."""

_MAX_PID = 2**31 - 1  # pid_t; a number from a record of somebody else may be anything
_BOOT_OF_MACOS = ("-n", "kern.bootsessionuuid")


class Life(Enum):
    """What can be said of a process from here."""

    ALIVE = "alive"
    STOPPED = "stopped"
    GONE = "gone"
    UNKNOWN = "unknown"


class ProcessName(Struct, frozen=True, kw_only=True):
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
        boot=boot_id(),
        namespace=_namespace(),
        pid=pid,
        started=_started(pid),
    )


def name_own_process() -> ProcessName:
    """Return the name of this very process."""
    return name_process(os.getpid())


def life_of(process: ProcessName) -> tuple[Life, str]:
    """Say whether a process still is, and how that is known.

    `GONE` is only said when it is certain: the same boot and namespace, and no process with that pid and start time.
    Another boot is unknown even where host name and machine id are the same: the machines of a CI fleet come from one
    image and share both. An empty id is not an id: two systems that have none are not the same one.
    """
    here = name_own_process()
    if blind := why_unseen(process, here):
        return Life.UNKNOWN, blind
    return _same_boot(process)


def why_unseen(process: ProcessName, here: ProcessName) -> str:
    """Return why nothing can be seen of a process from here; empty when its number means the same here. Pure."""
    checks = (
        (not 0 < process.pid <= _MAX_PID, f"{process.pid} is not a process id"),
        (not process.started, "its start time was not recorded, so a later process could be taken for it"),
        (process.host != here.host, f"it runs on {process.host}, this is {here.host}"),
        (
            not process.boot or not here.boot,
            "this system has no boot id, so a machine of the same name may be another one",
        ),
        (
            process.boot != here.boot,
            "the host name is the same but the boot is another: a restart, or another machine",
        ),
        (
            not here.namespace or process.namespace != here.namespace,
            "it runs in another container (pid namespace) of this machine",
        ),
    )
    return next((why for is_so, why in checks if is_so), "")


def _same_boot(process: ProcessName) -> tuple[Life, str]:
    started = _started(process.pid)
    if not started:
        return _not_shown(process.pid)
    if started != process.started:
        return Life.GONE, f"process {process.pid} is another one, started later"
    state = _stat(process.pid)[_STATE_FIELD : _STATE_FIELD + 1]
    if state == ["T"]:
        return Life.STOPPED, f"process {process.pid} is alive but stopped (SIGSTOP or a debugger)"
    return Life.ALIVE, f"process {process.pid} with the same start time is alive"


def _not_shown(pid: int) -> tuple[Life, str]:
    """Judge a process that /proc or ps does not show: that it is hidden (hidepid) is not that it is gone."""
    if _state(pid) in _DEAD_STATES:
        return Life.GONE, f"process {pid} has ended"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return Life.GONE, f"no process {pid} on this host"
    except OSError:
        return Life.UNKNOWN, f"there is a process {pid}, and it is hidden from this user (hidepid)"
    return (Life.GONE if _state(pid) in _DEAD_STATES else Life.UNKNOWN), f"process {pid} was just ending, or is hidden"


def boot_id() -> str:
    """Return what names the current boot of this system; empty when nothing does."""
    found = _text(_PROC / "sys/kernel/random/boot_id")
    if found or platform.system() != "Darwin":
        return found
    import subprocess

    try:
        asked = subprocess.run(
            [find_program("sysctl", os.environ) or "/usr/sbin/sysctl", *_BOOT_OF_MACOS],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip()


def hides_processes() -> bool:
    """Say whether processes of others are kept from us: process 1, which always is, cannot be read."""
    return _PROC.is_dir() and not _stat(1)


def awaits_signal(pid: int, numbers: Iterable[int]) -> bool:
    """Say whether one of these signals was sent to a process that has not taken it yet, such as a stopped one.

    False where that cannot be seen (no /proc).
    """
    try:
        lines = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(mask >> (number - 1) & 1 for mask in masks for number in numbers)


def send_signal(process: ProcessName, number: int) -> bool:
    """Signal exactly this process, never a later one with its pid; False when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # macOS, BSD, gVisor: there the pid is all there is
        return _send_to_pid(process, number)
    try:
        if _started(process.pid) != process.started:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def _send_to_pid(process: ProcessName, number: int) -> bool:
    if _started(process.pid) != process.started:
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def group_members(group: int) -> list[int]:
    """Return the pids of the living processes of a process group; `[group]` for one that is hidden from us."""
    if not _PROC.is_dir():
        return _listed_members(group)
    if hides_processes() and _is_forbidden(group):
        return [group]
    members = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if len(fields) > _GROUP_FIELD and fields[_GROUP_FIELD] == str(group) and fields[0] not in _DEAD_STATES:
                members.append(int(entry.name))
    return sorted(members)


def _is_forbidden(group: int) -> bool:
    """Say whether a group has processes of another user only, which hidepid does not show."""
    try:
        os.killpg(group, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def ancestors(pid: int) -> list[int]:
    """Return the parent of a process, its parent, and so on, as far as /proc shows them."""
    above: list[int] = []
    while len(fields := _stat(above[-1] if above else pid)) > _PARENT_FIELD and int(fields[_PARENT_FIELD]) > 0:
        above.append(int(fields[_PARENT_FIELD]))
    return above


_WHO_CHARS = 300  # a host name has 253 at most


def who() -> str:
    """Return `user@host` as Terraform writes it in a lock's `Who`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    return one_line(f"{user}@{socket.gethostname()}", limit=_WHO_CHARS)  # USER may say anything


def person() -> str:
    """Return `account@host` by the account that this process runs as; the environment cannot call it another."""
    number = os.geteuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return one_line(f"{name}@{socket.gethostname()}", limit=_WHO_CHARS)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; empty when there is no such (living) process."""
    try:
        # the kernel cuts a name after 15 bytes, also within a character; such a process is no ended one
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text[text.rfind(")") + 2 :].split()


def _state(pid: int) -> str:
    return next(iter(_stat(pid)), "")


def _started(pid: int) -> str:
    if not _PROC.is_dir():
        return _listed("lstart=", pid)
    fields = _stat(pid)
    if len(fields) <= _START_TIME_FIELD or fields[_STATE_FIELD] in _DEAD_STATES:
        return ""
    return fields[_START_TIME_FIELD]


def _listed(column: str, pid: int) -> str:
    """Ask ps, where there is no /proc (macOS, BSD)."""
    import subprocess

    result = subprocess.run(
        [ps_program(), "-o", column, "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    return " ".join(result.stdout.split())


def ps_program() -> str:
    """Return the path of ps, never that of a file of the current folder with that name."""
    return find_program("ps", os.environ) or "/bin/ps"


def _listed_members(group: int) -> list[int]:
    import subprocess

    result = subprocess.run(
        [ps_program(), "-A", "-o", "pid=,pgid="], capture_output=True, text=True, check=False, timeout=10
    )
    pairs = [line.split() for line in result.stdout.splitlines()]
    return [int(pair[0]) for pair in pairs if pair[1:] == [str(group)]]


def _namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return platform.system()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
