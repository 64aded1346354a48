"""Completion as a person meets it: the real shell reads our script and asks it what may follow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.desk import Desk

pytestmark = pytest.mark.e2e

BASH = """
eval "$(interlock completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_interlock_completion interlock
echo "${{COMPREPLY[@]}}"
"""
ZSH = """
autoload -Uz compinit && compinit -u -d {dump}
eval "$(interlock completion zsh)"
env _TYPER_COMPLETE_ARGS={line!r} _INTERLOCK_COMPLETE=complete_zsh interlock
"""
FISH = """
interlock completion fish | source
complete -C {line!r}
"""


@pytest.fixture
def applied(desk: Desk) -> Desk:
    assert desk.run("apply", desk.module(), "--state", "prod-app", "--auto-approve").code == 0
    return desk


def ask(desk: Desk, shell: str, script: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), desk.environ["PATH"]])
    environ = {**desk.environ, "PATH": path}
    done = subprocess.run(
        [shell, "-c", script], env=environ, cwd=desk.folder, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout


CASES = [
    (("st",), "state"),
    (("state", "sh"), "show"),
    (("state", "show", ""), "prod-app"),
    (("queue", "pause", "pr"), "prod-app"),
    (("plan", "--state", ""), "prod-app"),
    (("runs", "show", "la"), "latest"),
    (("apply", "--auto"), "--auto-approve"),
]


def test_bash_completes_commands_options_states_and_runs(applied: Desk) -> None:
    for words, wanted in CASES:
        typed = " ".join(f'"{word}"' for word in ("interlock", *words))
        assert wanted in ask(applied, "bash", BASH.format(words=typed)).split(), words


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed here")
def test_zsh_completes_commands_options_states_and_runs(applied: Desk) -> None:
    for words, wanted in CASES:
        line = " ".join(("interlock", *words))
        assert wanted in ask(applied, "zsh", ZSH.format(line=line, dump=applied.folder / "zcompdump")), words


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed here")
def test_fish_completes_commands_options_states_and_runs(applied: Desk) -> None:
    for words, wanted in CASES:
        assert wanted in ask(applied, "fish", FISH.format(line=" ".join(("interlock", *words)))), words


def test_a_home_that_does_not_exist_is_not_made_by_completing(desk: Desk) -> None:
    assert ask(desk, "bash", BASH.format(words='"interlock" "state" "show" ""')).strip() == ""
    assert not (Path(desk.environ["INTERLOCK_HOME"]) / "interlock.db").exists()
