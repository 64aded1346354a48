"""How long the command takes to start, against an interpreter that does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks import Row, compared

REPEATS = 15


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        environ = {**os.environ, "INTERLOCK_HOME": name}
        interlock = [str(Path(sys.executable).with_name("interlock"))]
        subprocess.run([*interlock, "queue", "pause", "s", "--reason", "makes a database"], env=environ, check=True)
        nothing = seconds([sys.executable, "-c", "pass"], environ)
        return [
            compared(f"interlock {' '.join(words)}", seconds([*interlock, *words], environ), "s", baseline=nothing)
            for words in (["--version"], ["queue", "ls"], ["runs", "ls"], ["--help"])
        ]


def seconds(words: Sequence[str], environ: Mapping[str, str], cwd: Path | None = None, repeats: int = REPEATS) -> float:
    """Return the median duration of a command."""
    return median(_once(words, environ, cwd) for _ in range(repeats))


def _once(words: Sequence[str], environ: Mapping[str, str], cwd: Path | None) -> float:
    began_s = time.perf_counter()
    subprocess.run(words, env=environ, cwd=cwd, capture_output=True, check=True)
    return time.perf_counter() - began_s
