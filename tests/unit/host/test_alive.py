from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from interlock.host import INITIAL_PIDS, Life, ProcessName, alive, name_process

HERE = ProcessName(host="vm", machine="m", boot="b", namespace=INITIAL_PIDS, pid=1, started="1")


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A folder whose locks prove something."""
    if alive.file_system_of(tmp_path) not in alive.LOCAL_FILE_SYSTEMS:
        pytest.skip(f"temporary files are on {alive.file_system_of(tmp_path)}, whose locks prove nothing")
    return tmp_path


@pytest.fixture
def child(local: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that inherited a run's lock file from one that is gone."""
    handle = alive.take(local)
    script = "import sys; print('up', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(handle,),
        text=True,
    )
    os.close(handle)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.mark.promise("P5")
def test_a_run_lives_until_the_last_process_that_inherited_its_lock_file_has_ended(
    local: Path, child: subprocess.Popen[str]
) -> None:
    life, why = alive.look(local)
    assert (life, str(child.pid) in why) == (Life.ALIVE, True)
    assert alive.look(local)[0] is Life.ALIVE  # looking takes nothing away
    child.kill()
    child.wait()
    assert alive.look(local)[0] is Life.GONE


@pytest.mark.promise("P5")
def test_a_free_copy_of_a_lock_file_proves_nothing(local: Path, tmp_path: Path) -> None:
    os.close(alive.take(local))
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy2(local / alive.FILE, copy / alive.FILE)
    assert alive.look(copy) == (Life.UNKNOWN, "its lock file is free, but it is a copy")


@pytest.mark.parametrize("content", [b"[" * 4096, b"\xff\xfe", b"", b"[]", b"null", b"1" * 4096])
def test_a_lock_file_with_anything_else_in_it_proves_nothing(local: Path, content: bytes) -> None:
    (local / alive.FILE).write_bytes(content)
    assert alive.look(local)[0] is Life.UNKNOWN


def test_what_is_missing_or_damaged_proves_nothing(local: Path) -> None:
    assert alive.look(local)[0] is Life.UNKNOWN
    os.close(alive.take(local))
    (local / alive.FILE).write_text("")
    assert alive.look(local)[0] is Life.UNKNOWN


def test_a_run_has_one_lock_file_and_no_draft_is_left(local: Path) -> None:
    os.close(alive.take(local))
    assert [entry.name for entry in local.iterdir()] == [alive.FILE]
    assert (local / alive.FILE).stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_makes_no_lock_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        alive.take(tmp_path / "none")


@pytest.mark.promise("P5")
@pytest.mark.parametrize(
    ("record", "here", "file_system", "part"),
    [
        ({}, HERE, "ext4", ""),
        ({}, HERE, "nfs4", "nfs4"),
        ({}, HERE, "fuse.sshfs", "fuse.sshfs"),
        ({}, HERE, "", "unknown file system"),
        ({"schema": 2}, HERE, "ext4", "another version"),
        ({"number": 1}, HERE, "ext4", "a copy"),
        ({"device": 1}, HERE, "ext4", "a copy"),
        ({"boot": ""}, HERE, "ext4", "no boot id"),
        ({"boot": ""}, replace(HERE, boot=""), "ext4", "no boot id"),
        ({}, replace(HERE, namespace="pid:[5]"), "ext4", ""),
        ({"boot": "earlier"}, HERE, "ext4", ""),
        ({"boot": "earlier", "device": 1}, HERE, "ext4", ""),
        ({"boot": "earlier", "machine": ""}, replace(HERE, machine=""), "ext4", "another boot"),
        ({"boot": "earlier"}, replace(HERE, machine="n"), "ext4", "another boot"),
        ({"boot": "earlier"}, replace(HERE, host="vm2"), "ext4", "another boot"),
        ({"boot": "earlier"}, replace(HERE, namespace="pid:[5]"), "ext4", "another boot"),
    ],
)
def test_a_free_lock_file_proves_something_only_to_the_kernel_that_it_was_locked_with(
    record: dict[str, object], here: ProcessName, file_system: str, part: str, tmp_path: Path
) -> None:
    stat = tmp_path.stat()
    whole = {
        "schema": alive.SCHEMA,
        "device": stat.st_dev,
        "number": stat.st_ino,
        "host": HERE.host,
        "machine": HERE.machine,
        "boot": HERE.boot,
        "namespace": HERE.namespace,
    }
    doubt = alive.why_no_proof({**whole, **record}, stat, here, file_system)
    assert (part in doubt) if part else doubt == ""


def test_the_record_in_the_file_names_this_boot(local: Path) -> None:
    os.close(alive.take(local))
    record = json.loads((local / alive.FILE).read_text())
    assert record["boot"] == name_process(os.getpid()).boot


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/a", "ext4"), ("/home/x", "nfs4"), ("/home/x/local/y", "xfs"), ("/homeless", "ext4"), ("/a b/c", "tmpfs")],
)
def test_the_innermost_and_latest_mount_decides_the_file_system(path: str, kind: str) -> None:
    lines = [
        "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw",
        "23 22 0:40 / /home rw - ext4 /dev/sdb1 rw",
        "24 22 0:40 / /home rw - nfs4 server:/home rw",
        "25 24 8:2 / /home/x/local rw - xfs /dev/sdc1 rw",
        "26 22 0:41 / /a\\040b rw - tmpfs tmpfs rw",
        "a line that is none",
    ]
    assert alive.type_of_mount(Path(path), alive._linux_mounts(lines)) == kind


def test_mounts_are_read_on_macos_too() -> None:
    lines = [
        "/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)",
        "map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)",
        "//me@nas/share on /Volumes/share (smbfs, nodev, nosuid, mounted by me)",
    ]
    assert alive.type_of_mount(Path("/Users/me"), alive._darwin_mounts(lines)) == "apfs"
    assert alive.type_of_mount(Path("/Volumes/share/x"), alive._darwin_mounts(lines)) == "smbfs"
