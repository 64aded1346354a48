from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interlock.errors import LockHeld, UsageError
from interlock.existing import ExistingBackend, Found, TerraformLockMoved, Unsupported
from interlock.existing.local import LocalBackend, path_of
from interlock.terraform.lockinfo import LockInfo

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
INFO = LockInfo(id="mine", operation="OperationTypeApply", who="me@here")


@contextmanager
def hold(path: Path) -> Iterator[int]:
    """Let another process hold the lock; yield its pid."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder.pid


def is_locked(path: Path) -> bool:
    """Say whether another process cannot lock the file."""
    tried = f"import fcntl; fcntl.lockf(open({str(path)!r}, 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    return subprocess.run([sys.executable, "-c", tried], capture_output=True, check=False).returncode == 1


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    return LocalBackend(tmp_path / "terraform.tfstate", found=Found(type="local"))


def test_workspaces_are_where_terraform_has_them(tmp_path: Path) -> None:
    assert path_of(Found(type="local"), tmp_path) == tmp_path / "terraform.tfstate"
    green = Found(type="local", workspace="green")
    assert path_of(green, tmp_path) == tmp_path / "terraform.tfstate.d/green/terraform.tfstate"


async def test_an_information_file_without_a_lock_locks_nothing(backend: LocalBackend) -> None:
    backend.path.write_bytes(b"{}")
    backend.info_path.write_text('{"ID": "x", "Who": "dead@host"}')
    assert await backend.read_locks() == ()


async def test_a_living_holder_is_seen_with_its_process_and_cannot_be_broken(backend: LocalBackend) -> None:
    backend.path.write_bytes(b"{}")
    backend.info_path.write_text('{"ID": "x", "Who": "alice@host"}')
    with hold(backend.path) as pid:
        (lock,) = await backend.read_locks()
        assert (lock.id, lock.who, lock.condition) == ("x", "alice@host", f"pid {pid}")
        with pytest.raises(LockHeld, match="alice@host"):
            await backend.take_lock(INFO)
        with pytest.raises(Unsupported):
            await backend.delete_lock(lock)
    assert await backend.read_locks() == ()


async def test_our_lock_keeps_others_out_until_it_is_given_back(backend: LocalBackend) -> None:
    other: ExistingBackend = backend
    held = await other.take_lock(INFO)
    assert [lock.id for lock in await backend.read_locks()] == ["mine"]
    assert is_locked(backend.path)
    await backend.read_state()
    assert is_locked(backend.path)
    again = LocalBackend(backend.path, found=Found(type="local"))
    assert [lock.id for lock in await again.read_locks()] == ["mine"], "looking from this process frees nothing"
    assert is_locked(backend.path)
    backend.path.write_bytes(b"{}")
    await other.give_lock(held)
    assert not is_locked(backend.path)
    assert not backend.info_path.exists()


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="this system has no locks of open files")
@pytest.mark.promise("P1")
async def test_who_inherits_the_open_file_keeps_the_lock_when_we_are_gone(backend: LocalBackend) -> None:
    held = await backend.take_lock(INFO)
    (handle,) = held.files
    child = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, pass_fds=[handle])
    spare = os.open(os.devnull, os.O_RDONLY)
    os.dup2(spare, handle)  # closes it, as the kernel does with all files of a process that is killed
    os.close(spare)
    assert is_locked(backend.path)
    child.terminate()
    await child.wait()
    assert not is_locked(backend.path)
    os.close(handle)
    backend._held = None  # we are gone


async def test_an_empty_file_that_the_lock_made_goes_with_it(backend: LocalBackend) -> None:
    held = await backend.take_lock(INFO)
    assert backend.path.exists()
    await backend.give_lock(held)
    assert not backend.path.exists()


async def test_a_write_replaces_what_was_read_and_keeps_it(backend: LocalBackend) -> None:
    held = await backend.take_lock(INFO)
    first = await backend.write_state(b"one-and-more", expected=None)
    second = await backend.write_state(b"two", expected=first)
    assert (second.body, backend.backup_path.read_bytes()) == (b"two", b"one-and-more")
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(b"three", expected=first)
    await backend.give_lock(held)
    assert [(version.id, version.current) for version in await backend.history()] == [
        ("current", True),
        ("backup", False),
    ]
    assert await backend.read_version("backup") == b"one-and-more"
    with pytest.raises(UsageError):
        await backend.read_version("older")
    assert backend.path.stat().st_uid == os.getuid()
