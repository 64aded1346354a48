from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED = """
import os, signal, sys
from interlock.run.front_end import leaving_at_a_signal

try:
    with leaving_at_a_signal():
        exec("os.kill(os.getpid(), signal.SIGTERM)")
except KeyboardInterrupt:
    sys.exit(131)
"""


@pytest.mark.promise("P8")
def test_who_leaves_at_a_signal_ends_with_its_own_status_wherever_the_signal_finds_it(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    done = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, check=False, timeout=60)
    assert done.returncode == 131
