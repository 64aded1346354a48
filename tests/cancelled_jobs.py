"""Jobs of generated pipelines that are cancelled while Terraform works; see `tests/ci_jobs.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.ci_jobs import MODULE, STEP_S, Runner

WORKING = """
resource "terraform_data" "working" {
  depends_on = [genesyscloud_routing_skill.billing]

  provisioner "local-exec" {
    command = "touch $MARK; while [ -e $GATE ]; do sleep 0.1; done"
  }
}
"""
WHOLE = ["genesyscloud_routing_skill", "terraform_data"]


@dataclass(kw_only=True)
class Step:
    """A step that runs, and those that wait for its run."""

    runner: Runner
    process: subprocess.Popen[bytes]
    waits: list[str]
    environ: dict[str, str]

    def until_working(self) -> None:
        mark = self.runner.folder / "began"
        deadline = time.monotonic() + STEP_S
        while not mark.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def end(self) -> tuple[int, dict[str, object]]:
        """Let the work go on when Terraform stops, and wait as the job's last steps do; return status and report."""
        with ThreadPoolExecutor(1) as side:
            waiting = side.submit(self._wait)
            deadline = time.monotonic() + STEP_S
            while not self._is_stopping():
                assert not waiting.done(), waiting.result()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            self._until_saved(deadline)
            (self.runner.folder / "gate").unlink()
            codes = waiting.result()
        self.process.wait(timeout=STEP_S)
        run = json.loads(self.runner.run("interlock", "runs", "ls", "--json"))["runs"][0]
        return codes[-1], run

    def _until_saved(self, deadline: float) -> None:
        """Wait for what Terraform saves before it stops its operations: they could end before, and all be applied."""
        while WHOLE[0] not in self.runner.run("interlock", "state", "pull", "prod/routing"):
            assert time.monotonic() < deadline

    def _wait(self) -> list[int]:
        return [self.runner.shell("wait", script, self.environ).code for script in self.waits]

    def _is_stopping(self) -> bool:
        events = (self.runner.folder / "home" / "runs").glob("*/apply.jsonl")
        return any("Stopping operation" in path.read_text() for path in events)

    def tracked(self, mark: str) -> list[int]:
        """Return what the platform's clean-up at the end of a job kills."""
        return [pid for pid, environ in self.processes() if f"{mark}=".encode() in environ]

    def processes(self) -> Iterator[tuple[int, bytes]]:
        """Yield every process of the job's container, and its environment: those that know this runner's folder."""
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                environ = entry.read_bytes()
                if str(self.runner.folder).encode() in environ:
                    yield int(entry.parent.name), environ


def start(
    runner: Runner, script: str, environ: dict[str, str], *waits: str, by: tuple[str, ...] = ("bash", "-e")
) -> Step:
    """Start a step of a checkout that was prepared, and return when its Terraform is at work."""
    (runner.folder / "gate").touch()
    file = runner.temp / "apply.sh"
    file.write_text(script)
    process = subprocess.Popen(
        [*by, str(file)],
        cwd=runner.checkout,
        env={**runner.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    step = Step(runner=runner, process=process, waits=list(waits), environ=environ)
    step.until_working()
    return step


def prepare(runner: Runner, platform: str) -> None:
    """Write a pipeline whose apply works on until its gate is taken away."""
    (runner.checkout / "infra/main.tf").write_text(MODULE + WORKING)
    runner.environ |= {"MARK": str(runner.folder / "began"), "GATE": str(runner.folder / "gate")}
    runner.generate(platform)


def kill(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def saved(runner: Runner) -> list[str]:
    state = json.loads(runner.run("interlock", "state", "pull", "prod/routing"))
    holders = json.loads(runner.run("interlock", "queue", "ls", "--json"))["states"][0]["holders"]
    assert holders == []
    return sorted(resource["type"] for resource in state["resources"])
