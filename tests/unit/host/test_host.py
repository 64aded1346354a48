import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.host import Life, ProcessName, group_members, life_of, name_process, who


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a group of its own."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def name(sleeper: "subprocess.Popen[bytes]") -> ProcessName:
    return name_process(sleeper.pid)


def test_a_running_process_is_alive_and_a_stopped_one_is_stopped(
    sleeper: "subprocess.Popen[bytes]", name: ProcessName
) -> None:
    assert life_of(name)[0] is Life.ALIVE
    assert group_members(sleeper.pid) == [sleeper.pid]
    os.kill(sleeper.pid, 19)
    while life_of(name)[0] is Life.ALIVE:
        os.sched_yield()
    assert life_of(name)[0] is Life.STOPPED


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="ps shows whole names")
def test_a_process_whose_name_the_kernel_cut_within_a_character_is_seen(tmp_path: Path) -> None:
    program = tmp_path / "terraform-1.11é"  # the kernel keeps 15 bytes: half of the é
    program.symlink_to(which("sleep") or "")
    process = subprocess.Popen([program, "60"])
    try:
        seen = life_of(name_process(process.pid))[0]
    finally:
        process.kill()
        process.wait()
    assert seen is Life.ALIVE


def test_an_ended_process_is_gone_also_before_it_is_reaped(
    sleeper: "subprocess.Popen[bytes]", name: ProcessName
) -> None:
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert life_of(name)[0] is Life.GONE
    assert group_members(sleeper.pid) == []
    sleeper.wait()
    assert life_of(name)[0] is Life.GONE


def test_a_pid_that_was_used_again_is_not_the_same_process(name: ProcessName) -> None:
    life, why = life_of(replace(name, started="1"))
    assert (life, "started later" in why) == (Life.GONE, True)


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"namespace": "pid:[1]"}, {"started": ""}])
def test_what_cannot_be_seen_from_here_is_unknown_never_gone(name: ProcessName, elsewhere: dict[str, str]) -> None:
    assert life_of(replace(name, pid=2**22, **elsewhere))[0] is Life.UNKNOWN


@pytest.mark.promise("P5")
def test_another_boot_is_unknown_also_where_host_name_and_machine_id_are_the_same(name: ProcessName) -> None:
    other_boot = replace(name, boot="another")
    assert life_of(other_boot)[0] is Life.UNKNOWN
    assert life_of(replace(other_boot, machine="another"))[0] is Life.UNKNOWN


@pytest.mark.promise("P5")
@pytest.mark.parametrize("empty", [{"boot": ""}, {"namespace": ""}])
def test_an_empty_identity_is_unknown_never_equal(
    name: ProcessName, empty: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(name, **empty)
    monkeypatch.setattr("interlock.host.name_process", lambda _pid: here)
    assert life_of(replace(here, pid=2**22))[0] is Life.UNKNOWN


@pytest.mark.parametrize("pid", [-1, 0, 2**31, 10**30])
def test_a_number_that_is_no_process_id_is_unknown(name: ProcessName, pid: int) -> None:
    assert life_of(replace(name, pid=pid))[0] is Life.UNKNOWN


@pytest.mark.promise("P5")
def test_a_process_that_is_hidden_from_us_is_unknown_not_gone(
    name: ProcessName, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("interlock.host._PROC", tmp_path)  # as with hidepid: there is a /proc, and it shows nothing
    monkeypatch.setattr("interlock.host.name_process", lambda _pid: replace(name, pid=1))
    life, why = life_of(name)
    assert (life, "hidden" in why) == (Life.UNKNOWN, True)
    assert life_of(replace(name, pid=2**22))[0] is Life.GONE


def test_people_are_named_as_terraform_names_them() -> None:
    user, _, host = who().partition("@")
    assert user
    assert host
