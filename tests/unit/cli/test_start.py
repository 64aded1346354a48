"""Where a command begins, and how it leaves."""

from __future__ import annotations

import subprocess
import sys

import pytest

_LEAVES = """
import sys, threading
import interlock.cli.main
from interlock.cli import start
def command(_arguments):
    threading.Thread(target=threading.Event().wait).start()  # a request to a network that is silent
    print("said")
    sys.exit({status})
interlock.cli.main.main = command
sys.argv = ["interlock", "recover", "s"]
start.main()
"""


@pytest.mark.promise("P8")
@pytest.mark.parametrize("status", [130, 143])
def test_a_command_that_was_stopped_waits_for_no_request_that_it_had_sent(status: int) -> None:
    """It hung after its last word, and a second Ctrl-C ended it with a traceback."""
    words = [sys.executable, "-P", "-c", _LEAVES.format(status=status)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "said\n", "")
