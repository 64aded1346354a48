import os
import subprocess
from dataclasses import replace

from interlock.host import name_process
from interlock.recovery import Says
from interlock.recovery.witnesses.process import collect
from interlock.testing.clock import START

US = name_process(os.getpid())
DEAD = replace(US, started="1")  # our pid, of an earlier process


def says(**processes: object) -> list[Says]:
    found = collect(processes, source="summary.json", now=START)  # type: ignore[arg-type]  # names of processes
    return [evidence.says for evidence in found]


def test_any_living_process_of_the_holder_means_alive() -> None:
    assert says(supervisor=US) == [Says.ALIVE]
    assert says(supervisor=DEAD, terraform=US) == [Says.ALIVE]


def test_all_dead_means_gone() -> None:
    assert says(supervisor=DEAD) == [Says.GONE]


def test_blindness_is_never_evidence() -> None:
    assert says() == [Says.NOTHING]
    assert says(supervisor=replace(US, host="elsewhere")) == [Says.NOTHING]
    assert says(supervisor=DEAD, terraform=replace(US, host="elsewhere")) == [Says.NOTHING]


def test_what_a_dead_terraform_started_and_still_runs_means_alive() -> None:
    script = "sleep 60 & echo $!; exec sleep 0"
    with subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE) as shell:
        name = name_process(shell.pid)
        assert shell.stdout is not None
        child = int(shell.stdout.readline())
        shell.wait()
        try:
            assert says(supervisor=DEAD, terraform=name) == [Says.ALIVE]
        finally:
            os.kill(child, 9)
