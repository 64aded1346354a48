"""Which process is the Terraform that is to hear a wish to stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.host import group_members, name_process
from interlock.recovery.witnesses.running import _argv
from interlock.run.behind_script import find_left, terraform_behind

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")

SHELL = "/bin/sh"


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Make a program that has Terraform's name and sleeps."""
    program = tmp_path / "real" / "terraform"
    program.parent.mkdir()
    program.symlink_to(shutil.which("sleep") or "")
    return program


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that a test started, each in a group of its own; all of it is killed at the end."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start(started: list[subprocess.Popen[bytes]], words: list[str], cwd: Path, *, below: Path) -> int:
    """Start a shell by any name, and wait for the program that its script starts."""
    process = subprocess.Popen(words, executable=SHELL, cwd=cwd, start_new_session=True)
    started.append(process)
    limit_s = time.monotonic() + 30
    while not any(_argv(pid)[:1] == (str(below),) for pid in group_members(process.pid)):
        assert time.monotonic() < limit_s
        time.sleep(0.01)
    return process.pid


def test_a_script_leads_to_the_terraform_that_it_starts(
    tmp_path: Path, real: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    (tmp_path / "script").write_text(f"{real} 60\nexit $?\n")
    pid = start(started, ["sh", "script"], tmp_path, below=real)
    (below,) = set(group_members(pid)) - {pid}
    assert terraform_behind(name_process(pid)).pid == below
    os.kill(pid, signal.SIGKILL)
    assert find_left(pid)


def test_a_program_of_its_name_leads_to_one_with_the_same_arguments_and_a_provisioners_own_is_passed_over(
    tmp_path: Path, real: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    (tmp_path / "60").write_text(f"{real} 60\nexit $?\n")
    (tmp_path / "61").write_text(f"{real} 62\nexit $?\n")
    proxy = start(started, ["terraform", "60"], tmp_path, below=real)
    own = start(started, ["terraform", "61"], tmp_path, below=real)
    (below,) = set(group_members(proxy)) - {proxy}
    assert terraform_behind(name_process(proxy)).pid == below
    assert terraform_behind(name_process(own)).pid == own


def test_what_is_no_terraform_and_starts_none_is_asked_itself(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    sleep = Path(shutil.which("sleep") or "")
    (tmp_path / "script").write_text(f"{sleep} 60\nexit $?\n")
    pid = start(started, ["sh", "script"], tmp_path, below=sleep)
    assert terraform_behind(name_process(pid)).pid == pid
    assert not find_left(pid)
