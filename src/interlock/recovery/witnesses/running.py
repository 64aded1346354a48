"""The processes of this machine that Terraform is, or that it left. A hand: it reads /proc, or asks ps.

Knows nothing of locks: `terraform` judges what is found here.
"""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from interlock.host import INITIAL_PIDS, boot_id, hides_processes, ps_program
from interlock.late_pattern import late
from interlock.secrecy import PartlyShown

_PROC = Path("/proc")
_PARENT_FIELD = 4 - 3  # proc(5) counts from 1; the name in brackets ends field 2
_START_TIME_FIELD = 22 - 3
_DEAD_STATES = frozenset({"Z", "X", "x"})
MAX_ARGV_BYTES = 64 * 1024  # of a command line that is looked at

# setup-terraform calls the real binary terraform-bin; version managers add the version.
_TERRAFORM = late(r"(?:terraform|tofu)(?:-bin|[-_]?v?\d[\w.]*)?(?:\.exe)?\Z")
_PROVIDER = late(r"terraform-provider-[\w.-]+\Z")
_EMBEDDED = "interlock.run.embedded"
_HARMLESS = frozenset(
    {"version", "fmt", "validate", "output", "show", "graph", "providers", "login", "logout", "get", "metadata"}
)


class Role(Enum):
    """What a process is to Terraform."""

    TERRAFORM = "terraform"
    PROVIDER = "provider"
    ORPHAN = "orphan"


class Running(PartlyShown, frozen=True, kw_only=True):
    """One process.

    Attributes:
        pid: Its id here.
        role: What it is.
        argv: Its command line; may be cut.
        folder: Where it works: its `-chdir`, or its working directory; None when we may not know.
        started_at: When it was started, by this machine's clock; None when that is not known.
        is_stopped: SIGSTOP or a debugger holds it.
        is_orphan: Its parent has gone.
        environ: Its environment, as far as we may read it.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"environ"})

    pid: int
    role: Role
    argv: tuple[str, ...]
    folder: Path | None
    started_at: datetime | None
    is_stopped: bool = False
    is_orphan: bool = False
    environ: Mapping[str, str] = {}

    @property
    def words(self) -> str:
        """What it is, for people: the program and its verb, never values, which may be secrets."""
        name = Path(self.argv[0]).name if self.argv else "?"
        verb = next((word for word in self.argv[1:] if not word.startswith("-")), "")
        return f"{name} {verb}".strip() if self.role is Role.TERRAFORM else name


class Sight(Struct, frozen=True, kw_only=True):
    """What this machine is, and what can be seen of it from here.

    Attributes:
        host: Its name, as Terraform writes it.
        up_since: When it was started, or this container was; None when that is not known.
        in_container: We are not in the machine's first pid namespace, so we see only a part of its processes.
        is_hidden: Processes of others are kept from us.
        has_boot: The system has a boot id and a list of processes (/proc), so that it can be told from others.
    """

    host: str
    up_since: datetime | None
    in_container: bool
    is_hidden: bool
    has_boot: bool


def look_around() -> Sight:
    """Return what can be seen from here."""
    contained = _PROC.is_dir() and _link("self/ns/pid") != INITIAL_PIDS
    return Sight(
        host=socket.gethostname(),
        up_since=(_started_at(1) if contained else _boot()),
        in_container=contained,
        is_hidden=hides_processes(),
        has_boot=_PROC.is_dir() and bool(boot_id()),
    )


def has_user(name: str) -> bool:
    """Say whether this machine knows the user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def find_running(directory: Path | None) -> list[Running]:
    """Return every Terraform and OpenTofu that may hold a lock, providers without one, and orphans in `directory`."""
    if not _PROC.is_dir():
        return _listed()
    found = [_read(pid, directory) for pid in pids()]
    return [process for process in found if process is not None]


def read_process(pid: int) -> Running | None:
    """Return one process of this machine; None when it is not Terraform, OpenTofu or orphaned provider."""
    return _read(pid, None)


def can_list() -> bool:
    """Say whether this system shows its processes in /proc."""
    return _PROC.is_dir()


def pids() -> list[int]:
    """Return the ids of all processes that can be seen, but not our own."""
    own = os.getpid()
    return sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit() and int(entry.name) != own)


def _read(pid: int, directory: Path | None) -> Running | None:
    fields = _fields(pid)
    if not fields or fields[0] in _DEAD_STATES:
        return None
    argv = _argv(pid)
    orphan = _is_orphan(int(fields[_PARENT_FIELD]))
    role = role_of(argv, orphan=orphan)
    folder = _folder(pid, argv) if role is not None else None
    if role is None or (role is Role.ORPHAN and not _is_inside(folder, directory)):
        return None
    found = Running(
        pid=pid,
        role=role,
        argv=argv,
        folder=folder,
        started_at=_started_at(pid),
        is_stopped=fields[0] in {"T", "t"},
        is_orphan=orphan,
        environ=_environ(pid),
    )
    # One that ended while we read it shows half of itself, and would be taken for one that we may not look at.
    return found if _argv(pid) == argv else None


def role_of(argv: tuple[str, ...], *, orphan: bool) -> Role | None:
    """Return what a command line is to Terraform; None when it does not matter."""
    name = Path(argv[0]).name if argv else ""
    if _TERRAFORM.match(name) or _EMBEDDED in argv:
        return None if _is_harmless(argv) else Role.TERRAFORM
    if _PROVIDER.match(name):
        return Role.PROVIDER if orphan else None
    return Role.ORPHAN if orphan and argv else None


def _is_harmless(argv: tuple[str, ...]) -> bool:
    """Say whether this command never locks."""
    rest = argv[argv.index(_EMBEDDED) + 1 :] if _EMBEDDED in argv else argv[1:]
    verb = next((word for word in rest if not word.startswith("-")), "")
    return verb in _HARMLESS or "-version" in rest or "--version" in rest


def _is_orphan(parent: int) -> bool:
    """Say whether the parent is process 1 or a reaper of orphans, such as systemd --user."""
    name = _text(_PROC / str(parent) / "comm")
    return parent <= 1 or name in {"systemd", "init", "tini", "dumb-init", "docker-init", "catatonit"}


def _is_inside(folder: Path | None, directory: Path | None) -> bool:
    return folder is not None and directory is not None and folder.is_relative_to(directory)


def _folder(pid: int, argv: tuple[str, ...]) -> Path | None:
    here = _link(f"{pid}/cwd")
    if not here:
        return None
    chosen = next((word.partition("=")[2] for word in argv[1:] if word.startswith(("-chdir=", "--chdir="))), "")
    return (Path(here) / chosen).resolve()


def _argv(pid: int) -> tuple[str, ...]:
    try:
        with (_PROC / str(pid) / "cmdline").open("rb") as stream:
            raw = stream.read(MAX_ARGV_BYTES)
    except OSError:
        return ()
    return tuple(word.decode(errors="replace") for word in raw.rstrip(b"\0").split(b"\0") if word)


def _environ(pid: int) -> dict[str, str]:
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.decode(errors="replace").partition("=") for entry in raw.split(b"\0") if b"=" in entry)
    return {name: value for name, _, value in pairs}


def _fields(pid: int) -> list[str]:
    text = _text(_PROC / str(pid) / "stat")
    return text[text.rfind(")") + 2 :].split()


def _started_at(pid: int) -> datetime | None:
    fields, boot = _fields(pid), _boot()
    if boot is None or len(fields) <= _START_TIME_FIELD:
        return None
    return boot + timedelta(seconds=int(fields[_START_TIME_FIELD]) / os.sysconf("SC_CLK_TCK"))


def _boot() -> datetime | None:
    for line in _text(_PROC / "stat").splitlines():
        if line.startswith("btime "):
            return datetime.fromtimestamp(int(line.split()[1]), UTC)
    return None


def _link(name: str) -> str:
    try:
        return str((_PROC / name).readlink())
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace", encoding="utf-8")
    except OSError:
        return ""


def _listed() -> list[Running]:
    """Ask ps, where there is no /proc (macOS, BSD): folders and instants are unknown then."""
    with suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(
            [ps_program(), "-A", "-o", "pid=,ppid=,stat=,command="],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
        return list(_listed_rows(result.stdout))
    return []


def _listed_rows(text: str) -> Iterator[Running]:
    for line in text.splitlines():
        pid, parent, state, *argv = line.split()
        role = role_of(tuple(argv), orphan=parent == "1")
        if role in (Role.TERRAFORM, Role.PROVIDER) and not state.startswith("Z"):
            yield Running(
                pid=int(pid),
                role=role,
                argv=tuple(argv),
                folder=None,
                started_at=None,
                is_stopped=state.startswith("T"),
                is_orphan=parent == "1",
            )
