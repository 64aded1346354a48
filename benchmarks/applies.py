"""Eight applies that hold one state for 2 s each: by hand, by Interlock, by plain Terraform that polls for its lock.

Also what supervision adds to an apply that has nothing to do. Durations contain the start of every process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from benchmarks import Row, compared
from benchmarks.startup import seconds

APPLIES = 8
HOLD_S = 2.0
APART_S = 0.4  # between two starts, so that one has joined before the next starts, also on a busy machine
REPEATS = 7
PAIRS = APPLIES * (APPLIES - 1) // 2

MODULE = """
variable "round" {
  type = number
}

variable "hold" {
  type = number
}

resource "terraform_data" "work" {
  triggers_replace = [var.round]
  provisioner "local-exec" {
    command = "exec sleep ${var.hold}"
  }
}
"""
INTERLOCK = str(Path(sys.executable).with_name("interlock"))


@dataclass(frozen=True, slots=True)
class Contest:
    """How a contest went: seconds from first start to last finish, and pairs that finished against their arrival."""

    total_s: float
    inversions: int


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        bench = _Bench(Path(name))
        by_hand_s = bench.by_hand()
        ours = bench.interlock()
        rows = [
            compared(
                f"{APPLIES} applies at once, Interlock", ours.total_s, "s", baseline=by_hand_s, aim="ratio at most 1.02"
            ),
            Row(name="the same: finished against arrival", value=ours.inversions, unit=f"of {PAIRS} pairs", aim="0"),
        ]
        contests = [("on interlock serve", bench.plain_on_http), ("on S3 and DynamoDB (moto)", bench.plain_on_aws)]
        for place, contest in contests:
            found = contest()
            rows += [
                compared(f"the same, plain Terraform {place}", found.total_s, "s", baseline=by_hand_s),
                Row(name="the same: finished against arrival", value=found.inversions, unit=f"of {PAIRS} pairs"),
            ]
        return [*rows, *bench.nothing_to_do()]


def values(round_: int, hold_s: float = HOLD_S) -> list[str]:
    return [f"-var=round={round_}", f"-var=hold={hold_s}"]


class _Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "INTERLOCK_HOME": str(folder / "home"),
            "TF_CLI_CONFIG_FILE": os.devnull,
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
        }

    def module(self, name: str, backend: str = "") -> Path:
        folder = self.folder / name
        folder.mkdir()
        (folder / "main.tf").write_text((f"terraform {{\n{backend}\n}}\n" if backend else "") + MODULE)
        return folder

    def by_hand(self) -> float:
        module = self.module("by-hand")
        self.run(["terraform", "init"], module)
        began_s = time.perf_counter()
        for number in range(APPLIES):
            self.run(["terraform", "apply", "-auto-approve", *values(number)], module)
        return time.perf_counter() - began_s

    def interlock(self) -> Contest:
        module = self.module("interlock")
        words = [INTERLOCK, "apply", str(module), "--state", "s", "--auto-approve", "--first-apply", "--"]
        return self.contest(lambda number: self.start([*words, *values(number)], self.folder))

    def plain_on_http(self) -> Contest:
        environ = {
            **self.environ,
            "INTERLOCK_HOME": str(self.folder / "server"),
            "INTERLOCK_TOKEN": "benchmark-token-benchmark",
        }
        module = self.module("http", '  backend "http" {}')
        with serving(environ) as port:
            address = f"http://127.0.0.1:{port}/state/s"
            names = ("ADDRESS", "LOCK_ADDRESS", "UNLOCK_ADDRESS")
            backend = {**{f"TF_HTTP_{name}": address for name in names}, "TF_HTTP_USERNAME": "bench"}
            return self.plain(module, {**backend, "TF_HTTP_PASSWORD": environ["INTERLOCK_TOKEN"]})

    def plain_on_aws(self) -> Contest:
        from interlock.testing.aws import local_aws

        with local_aws() as aws:
            settings = {"bucket": aws.new_bucket(), "key": "s.tfstate", "region": "us-east-1"}
            settings["dynamodb_table"] = aws.new_table()
            lines = [f'    {name} = "{value}"' for name, value in settings.items()]
            lines += ["    use_path_style = true", "    skip_credentials_validation = true"]
            lines += ["    skip_requesting_account_id = true", "    skip_metadata_api_check = true"]
            lines += [f'    endpoints = {{ s3 = "{aws.url}", dynamodb = "{aws.url}" }}']
            module = self.module("aws", '  backend "s3" {\n' + "\n".join(lines) + "\n  }")
            return self.plain(module, aws.environment)

    def plain(self, module: Path, environ: Mapping[str, str]) -> Contest:
        environ = {**self.environ, **environ}
        self.run(["terraform", "init"], module, environ)
        words = ["terraform", "apply", "-auto-approve", "-lock-timeout=10m"]
        return self.contest(lambda number: self.start([*words, *values(number)], module, environ))

    def contest(self, start: Callable[[int], subprocess.Popen[bytes]]) -> Contest:
        began_s = time.perf_counter()
        running: dict[int, subprocess.Popen[bytes]] = {}
        for number in range(APPLIES):
            running[number] = start(number)
            time.sleep(APART_S)
        finished: list[int] = []
        while running:
            for number, process in list(running.items()):
                if process.poll() is not None:
                    assert process.returncode == 0, f"apply {number} exited {process.returncode}"
                    finished.append(number)
                    del running[number]
            time.sleep(0.01)
        inversions = sum(first > second for first, second in combinations(finished, 2))
        return Contest(time.perf_counter() - began_s, inversions)

    def nothing_to_do(self) -> list[Row]:
        module = self.folder / "by-hand"
        plain_s = seconds(["terraform", "apply", "-auto-approve", *values(APPLIES - 1)], self.environ, module, REPEATS)
        words = [
            INTERLOCK,
            "apply",
            str(self.folder / "interlock"),
            "--state",
            "s",
            "--auto-approve",
            "--first-apply",
            "--",
        ]
        self.run([*words, *values(1, 0.0)], self.folder)
        ours_s = seconds([*words, *values(1, 0.0)], self.environ, self.folder, REPEATS)
        return [
            compared("apply with nothing to do, Interlock", ours_s, "s", baseline=plain_s),
            Row(name="the same: added by Interlock", value=ours_s - plain_s, unit="s", aim="at most 0.25"),
        ]

    def run(self, words: list[str], cwd: Path, environ: Mapping[str, str] | None = None) -> None:
        subprocess.run(words, cwd=cwd, env=environ or self.environ, capture_output=True, check=True)

    def start(self, words: list[str], cwd: Path, environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        nothing = subprocess.DEVNULL
        return subprocess.Popen(
            words, cwd=cwd, env=environ or self.environ, stdin=nothing, stdout=nothing, stderr=nothing
        )


@contextmanager
def serving(environ: Mapping[str, str]) -> Iterator[int]:
    """Run `interlock serve` on a free port; yield the port."""
    words = [INTERLOCK, "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        try:
            yield int(line.split("127.0.0.1:")[1].split("/")[0])
        finally:
            server.terminate()
