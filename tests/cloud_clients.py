"""A server as a command, and real Terraforms that use it by a `cloud` block or `backend "remote"`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests import forking

TOKEN = "e2e-server-token-of-the-cloud-tests"
STEP_S = 180.0  # far more than any step here takes; only a hang reaches it
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class CloudHost:
    """One `interlock serve`."""

    def __init__(self, home: Path, *words: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", "interlock", "serve", "--listen", "127.0.0.1:0", "--json", *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        with self.process.stdout as said:
            self.said: dict[str, Any] = json.loads(said.readline())
        self.port = int(self.said["address"].rpartition(":")[2])

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "INTERLOCK_HOME": str(self.home), "INTERLOCK_TOKEN": TOKEN}

    def interlock(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours in the server's home."""
        return forking.run(words, env=self.environ, cwd=self.home, timeout=STEP_S)

    def token(self, role: str, *, states: str = "**", note: str = "") -> str:
        made = self.interlock("token", "create", "--role", role, "--states", states, "--note", note, "--json")
        return str(json.loads(made.stdout)["token"])

    def queue(self, state: str) -> tuple[list[str], list[str]]:
        """Return who holds a state and who waits for it."""
        answer = self.interlock("lock", "show", state, "--json")
        if answer.returncode == 3:  # nobody has asked for it yet
            return [], []
        found = json.loads(answer.stdout)
        return [one["who"] for one in found["holders"]], [one["who"] for one in found["waiters"]]

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(STEP_S) == 0


_started: list[subprocess.Popen[str]] = []


def end_all() -> None:
    """Kill every Terraform that still runs, with what it started."""
    while _started:
        process = _started.pop()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + STEP_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class CloudModule:
    """A root module that one Terraform works on."""

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        tool: str = "terraform",
        kind: str = "cloud",
        token: str = TOKEN,
        organization: str = "acme",
        workspaces: str = 'name = "app"',
        resources: str = 'resource "terraform_data" "a" {\n  input = "x"\n}\n',
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.tool = folder, tool
        api = f"http://127.0.0.1:{port}/api/v2/"
        services = "".join(f'    "{name}" = "{api}"\n' for name in ("tfe.v2", "tfe.v2.1", "tfe.v2.2", "state.v2"))
        rc = folder / "terraform.rc"
        rc.write_text(
            f'host "localhost" {{\n  services = {{\n{services}  }}\n}}\n'
            f'credentials "localhost" {{\n  token = "{token}"\n}}\n'
        )
        word = "cloud" if kind == "cloud" else 'backend "remote"'
        self.block = (
            f'terraform {{\n  {word} {{\n    hostname = "localhost"\n    organization = "{organization}"\n'
            f"    workspaces {{\n      {workspaces}\n    }}\n  }}\n}}\n"
        )
        self.attach()
        (folder / "main.tf").write_text(resources)
        self.environ = {**os.environ, "TF_CLI_CONFIG_FILE": str(rc), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def attach(self) -> None:
        """Name the server in the configuration."""
        (self.folder / "backend.tf").write_text(self.block)

    def detach(self) -> None:
        """Take it out."""
        (self.folder / "backend.tf").unlink()

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [self.tool, *words],
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        _started.append(process)
        return process

    def try_(self, *words: str, answers: str = "", **environ: str) -> tuple[int, str]:
        """Run Terraform; return its exit status and what it said."""
        process = self.start(*words, **environ)
        said, _ = process.communicate(answers, timeout=STEP_S)
        return process.returncode, COLOURS.sub("", said)

    def run(self, *words: str, answers: str = "", **environ: str) -> str:
        status, said = self.try_(*words, answers=answers, **environ)
        assert status == 0, f"{words}: {said}"
        return said

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("state", "pull"))
        return found
