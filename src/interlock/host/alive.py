"""The kernel's word on whether a run still lives: a lock file that its supervisor opens and Terraform inherits. A hand.

A record of process ids can be stale: the disk was full, or its writer died between starting a program and writing it
down. A file lock cannot: the kernel keeps it for as long as any process has the open file, and Terraform, its provider
plugins and the commands of provisioners inherit that file. Held means alive, also across the pid namespaces of one
machine. Free means gone only where the kernel that we ask is the one that the run locked it with: the same file
(number and device, so not a copy), on a file system of this machine (a lock on NFS ends with the connection), in the
same boot.
Source: flock(2), "locks created by flock() are associated with an open file description".
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from interlock.host import INITIAL_PIDS, Life, ProcessName, name_process

FILE = "run.lock"
"""In the run's folder."""

SCHEMA = 1
LOCAL_FILE_SYSTEMS = frozenset(
    {
        "apfs",
        "bcachefs",
        "btrfs",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "hfs",
        "jfs",
        "overlay",
        "ramfs",
        "reiserfs",
        "tmpfs",
        "xfs",
        "zfs",
    }
)
"""File systems whose locks are this kernel's own. Not in it: NFS, SMB, 9p, virtiofs and FUSE, whose server decides."""

_RECORD_BYTES = 4096
_MOUNT_POINT_FIELD, _AFTER_DASH = 4, 1  # proc(5), /proc/PID/mountinfo
_OCTAL = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def take(folder: Path) -> int:
    """Make the lock file of a run and hold it; return the open file, which the run's children are to inherit.

    It gets its name only when it is locked, so nobody ever finds it free while the run lives.

    Raises:
        OSError: It cannot be made, for instance because the disk is full.
    """
    draft = folder / f"{FILE}.{os.getpid()}"
    handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(handle, json.dumps(_record(handle)).encode())
        os.fsync(handle)  # where space is promised late, only this says whether there is any
        draft.rename(folder / FILE)
    except OSError:
        os.close(handle)
        draft.unlink(missing_ok=True)
        raise
    return handle


def _record(handle: int) -> dict[str, object]:
    """Return what tells this file from a copy of it, and this boot of this machine from another."""
    us, stat = name_process(os.getpid()), os.fstat(handle)
    return {
        "schema": SCHEMA,
        "device": stat.st_dev,
        "number": stat.st_ino,
        "host": us.host,
        "machine": us.machine,
        "boot": us.boot,
        "namespace": us.namespace,
    }


def look(folder: Path) -> tuple[Life, str]:
    """Say whether anything of a run lives, and how that is known: `ALIVE`, `GONE` or `UNKNOWN`. Nothing is changed."""
    path = folder / FILE
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Life.UNKNOWN, "it has no lock file here"
    except OSError as error:
        return Life.UNKNOWN, f"its lock file cannot be opened: {error.strerror}"
    try:
        return _ask(handle, path)
    finally:
        os.close(handle)


def _ask(handle: int, path: Path) -> tuple[Life, str]:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Life.ALIVE, f"the kernel says that a process of the run still has its lock file open{_named(handle)}"
    except OSError as error:
        return Life.UNKNOWN, f"its lock file cannot be asked: {error.strerror}"
    try:
        record = json.loads(os.read(handle, _RECORD_BYTES))
    except (OSError, ValueError, RecursionError):
        return Life.UNKNOWN, "its lock file is damaged"
    doubt = why_no_proof(record, os.fstat(handle), name_process(os.getpid()), file_system_of(path))
    if doubt:
        return Life.UNKNOWN, f"its lock file is free, but {doubt}"
    return Life.GONE, "the kernel says that no process has the run's lock file open any more"


def why_no_proof(record: object, stat: os.stat_result, here: ProcessName, file_system: str) -> str:
    """Return why a free lock file proves nothing; empty when it does prove that the run is gone. Pure."""
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        return "another version of Interlock wrote it"
    if file_system not in LOCAL_FILE_SYSTEMS:
        return f"it is on {file_system or 'an unknown file system'}, whose locks say nothing of other machines"
    if record.get("number") != stat.st_ino:
        return "it is a copy"
    boot = str(record.get("boot") or "")
    if not boot or not here.boot:
        return "this system has no boot id, so it may be another machine's"
    if boot == here.boot:
        return "" if record.get("device") == stat.st_dev else "it is a copy"
    return "" if _is_same_machine(record, here) else "it was locked in another boot, perhaps of another machine"


def _is_same_machine(record: dict[str, object], here: ProcessName) -> bool:
    """Say whether an earlier boot was of this machine: a file of its own disk, its id, and no container."""
    whole = record.get("namespace") == here.namespace == INITIAL_PIDS
    return whole and bool(here.machine) and (record.get("machine"), record.get("host")) == (here.machine, here.host)


# -- the file system --------------------------------------------------------------------------------------------------


def file_system_of(path: Path) -> str:
    """Return the type of the file system that a file is on; empty when that cannot be found out."""
    try:
        if platform.system() == "Darwin":
            listed = subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False, timeout=10).stdout
            return type_of_mount(path.resolve(), _darwin_mounts(listed.splitlines()))
        return type_of_mount(
            path.resolve(),
            _linux_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()),
        )
    except (OSError, subprocess.SubprocessError):
        return ""


def type_of_mount(path: Path, mounts: Iterable[tuple[str, str]]) -> str:
    """Return the type of the innermost mount that holds a path; of two at one place, the later. Pure.

    Args:
        path: Absolute, without links.
        mounts: Mount point and type, in the order in which they were made.
    """
    holding = [
        (len(Path(point).parts), place, kind) for place, (point, kind) in enumerate(mounts) if _holds(point, path)
    ]
    return max(holding)[2] if holding else ""


def _holds(point: str, path: Path) -> bool:
    return path.is_relative_to(point)


def _linux_mounts(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        fields = line.split(" ")
        if "-" in fields:
            yield _unescaped(fields[_MOUNT_POINT_FIELD]), fields[fields.index("-") + _AFTER_DASH]


def _darwin_mounts(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Read lines such as `/dev/disk3s1 on /System/Volumes/Data (apfs, local, journaled)`."""
    for line in lines:
        place, _, options = line.rpartition(" (")
        _, is_mount, point = place.partition(" on ")
        if is_mount:
            yield point, options.partition(",")[0].rstrip(")")


def _unescaped(text: str) -> str:
    for escape, character in _OCTAL.items():
        text = text.replace(escape, character)
    return text


# -- who has it open --------------------------------------------------------------------------------------------------


def holders(folder: Path) -> list[int]:
    """Return which processes of this pid namespace have a run's lock file open; none where that cannot be seen."""
    try:
        return _open_in((folder / FILE).stat())
    except OSError:
        return []


def _open_in(file: os.stat_result) -> list[int]:
    return [pid for pid in _pids() if pid != os.getpid() and _has_open(pid, file)]


def _named(handle: int) -> str:
    """Return which processes of ours have the file open, for people; nothing when that cannot be seen."""
    found = _open_in(os.fstat(handle))
    return f": process {', '.join(map(str, found))}" if found else ""


def _pids() -> Iterator[int]:
    try:
        yield from sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    except OSError:
        return


def _has_open(pid: int, file: os.stat_result) -> bool:
    try:
        for entry in (Path("/proc") / str(pid) / "fd").iterdir():
            opened = entry.stat()
            if (opened.st_dev, opened.st_ino) == (file.st_dev, file.st_ino):
                return True
    except OSError:
        return False
    return False
