from __future__ import annotations

import os
import signal
import subprocess
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from interlock.host import Life, ProcessName, name_process
from interlock.recovery import Evidence, Says
from interlock.recovery.witnesses import process
from interlock.recovery.witnesses.process import Recorded, collect

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def look(**processes: ProcessName) -> list[Evidence]:
    return collect(Recorded(processes=processes, source="summary.json"), now=NOW)


def says(recorded: Recorded) -> list[Says]:
    return [item.says for item in collect(recorded, now=NOW)]


@pytest.fixture
def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], start_new_session=True)


def test_a_process_lives_also_while_it_is_stopped_and_is_gone_when_it_ended(child: subprocess.Popen[bytes]) -> None:
    name = name_process(child.pid)
    assert [item.says for item in look(terraform=name)] == [Says.ALIVE]
    child.send_signal(signal.SIGSTOP)
    assert [item.says for item in look(terraform=name)] == [Says.ALIVE]
    child.kill()
    child.wait()
    assert [item.says for item in look(terraform=name)] == [Says.GONE]


def test_one_living_process_is_enough_and_one_unseen_keeps_it_open(child: subprocess.Popen[bytes]) -> None:
    living, gone = name_process(os.getpid()), name_process(child.pid)
    child.kill()
    child.wait()
    elsewhere = replace(gone, host="elsewhere")
    assert Says.ALIVE in [item.says for item in look(supervisor=gone, terraform=living)]
    found = look(supervisor=gone, terraform=elsewhere)
    assert [item.says for item in found] == [Says.NOTHING]
    assert "interlock lock explain" in found[0].how_to


def test_a_later_process_with_the_same_id_is_another_one() -> None:
    ours = name_process(os.getpid())
    assert [item.says for item in look(supervisor=replace(ours, started="1"))] == [Says.GONE]


def test_without_a_name_nothing_is_said() -> None:
    found = look()
    assert [item.says for item in found] == [Says.NOTHING]
    assert found[0].how_to


HELD, FREE, UNSEEN = (Life.ALIVE, "held"), (Life.GONE, "free"), (Life.UNKNOWN, "it is on nfs4")


@pytest.mark.promise("P5")
def test_a_held_lock_file_outweighs_a_record_in_which_everything_is_gone() -> None:
    gone = {"supervisor": replace(name_process(os.getpid()), started="1")}
    assert says(Recorded(processes=gone)) == [Says.GONE]
    assert says(Recorded(processes=gone, kernel=HELD)) == [Says.ALIVE]
    assert says(Recorded(kernel=HELD)) == [Says.ALIVE]


@pytest.mark.promise("P5")
def test_a_record_that_may_lack_a_process_never_proves_gone_by_itself() -> None:
    gone = {"supervisor": replace(name_process(os.getpid()), started="1")}
    stale = Recorded(processes=gone, gap="it was starting terraform apply", kernel=UNSEEN)
    assert says(stale) == [Says.NOTHING]
    assert "nfs4" in collect(stale, now=NOW)[0].text
    assert says(replace(stale, kernel=FREE)) == [Says.GONE]


@pytest.mark.promise("P5")
def test_a_living_process_outweighs_a_free_lock_file() -> None:
    assert says(Recorded(processes={"terraform": name_process(os.getpid())}, kernel=FREE)) == [Says.ALIVE]


def test_a_free_lock_file_proves_it_also_for_a_run_of_another_container_of_this_machine() -> None:
    inside = {"supervisor": replace(name_process(os.getpid()), namespace="pid:[1]")}
    assert says(Recorded(processes=inside, kernel=UNSEEN)) == [Says.NOTHING]
    assert says(Recorded(processes=inside, kernel=FREE)) == [Says.GONE]


@pytest.mark.promise("P5")
def test_what_a_terraform_that_has_ended_left_running_keeps_the_run_alive(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = name_process(child.pid)
    child.kill()
    child.wait()
    monkeypatch.setattr(process, "group_members", lambda leader: [4711] if leader == gone.pid else [])
    (item,) = look(terraform=gone)
    assert item.says is Says.ALIVE
    assert "4711" in item.text


@pytest.mark.promise("P5")
def test_a_supervisor_that_told_its_end_is_no_holders_process_but_what_it_started_is(
    child: subprocess.Popen[bytes],
) -> None:
    tidying, working = name_process(os.getpid()), name_process(child.pid)
    told = Recorded(processes={"supervisor": tidying}, told_end=True)
    assert says(told) == [Says.GONE]
    assert says(replace(told, kernel=FREE)) == [Says.GONE]
    assert says(replace(told, kernel=HELD)) == [Says.ALIVE]
    assert says(replace(told, gap="it was starting terraform apply")) == [Says.NOTHING]
    assert says(replace(told, processes={"supervisor": tidying, "terraform": working})) == [Says.ALIVE]
    child.kill()
    child.wait()
    assert says(replace(told, processes={"supervisor": tidying, "terraform": working})) == [Says.GONE]
    assert says(replace(told, told_end=False)) == [Says.ALIVE]
