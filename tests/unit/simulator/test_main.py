import json
import signal
import subprocess
import sys
import urllib.request

import pytest

from interlock.simulator.__main__ import main

COMMAND = [sys.executable, "-m", "interlock.simulator"]


def test_a_process_of_its_own_says_where_it_is_and_ends_when_told() -> None:
    faults = '[{"kind": "server-error", "status": 502, "path": "/users"}]'
    command = [*COMMAND, "--limits", "[]", "--faults", faults]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            with urllib.request.urlopen(ready["url"] + "/_control/counts", timeout=60) as answer:
                assert json.load(answer)["faults"] == {"server-error": 0}
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


@pytest.mark.parametrize("arguments", [["--limits", "{"], ["--faults", '[{"kind": "flood"}]'], ["--port", "x"]])
def test_wrong_options_are_said_so_without_a_traceback(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
