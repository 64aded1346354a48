from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from interlock.host import ProcessName, name_process
from interlock.recovery import Evidence, Says
from interlock.recovery.witnesses.process import collect

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def look(**processes: ProcessName) -> list[Evidence]:
    return collect(processes, source="summary.json", now=NOW)


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
    assert "interlock lock explain on" in found[0].how_to


def test_a_later_process_with_the_same_id_is_another_one() -> None:
    ours = name_process(os.getpid())
    assert [item.says for item in look(supervisor=replace(ours, started="1"))] == [Says.GONE]


def test_without_a_name_nothing_is_said() -> None:
    found = look()
    assert [item.says for item in found] == [Says.NOTHING]
    assert found[0].how_to
