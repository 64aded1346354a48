import signal
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.host import INITIAL_PIDS
from interlock.run import protection
from interlock.run.protection import Choice, Kept, Level, Protection, choose, control_group

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seccomp is Linux's")

STUBBORN = """
import os, signal, subprocess, sys
def heard(number, _frame):
    print("heard", signal.Signals(number).name, flush=True)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, heard)
if sys.argv[1:]:
    sys.exit(subprocess.call([sys.executable, __file__, *sys.argv[2:]]))
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    os.kill(os.getpid(), number)
print("end", flush=True)
"""
"""Asks for all three signals, then sends them to itself; with an argument, lets a child do it."""


@pytest.fixture
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("program") / "stubborn.py"
    path.write_text(STUBBORN)
    return str(path)


def run(level: Level, *words: str) -> tuple[list[str], Kept]:
    with Protection(level) as protected:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=protected.in_child,  # noqa: PLW1509 - what is tested
        )
    out, _ = process.communicate()
    return [*out.splitlines(), f"exit {process.returncode}"], protected.kept


@LINUX
@pytest.mark.promise("P9")
def test_a_protected_program_hears_neither_sigterm_nor_sighup_although_it_asks_and_sigint_as_ever(
    stubborn: str,
) -> None:
    assert run(Level.FULL, stubborn) == (["heard SIGINT", "end", "exit 0"], Kept.WHOLE)


@LINUX
@pytest.mark.promise("P9")
def test_so_do_the_programs_that_it_starts(stubborn: str) -> None:
    assert run(Level.FULL, stubborn, "child", "child") == (["heard SIGINT", "end", "exit 0"], Kept.WHOLE)


def test_protected_from_a_hang_up_alone_it_may_still_ask_for_it(stubborn: str) -> None:
    heard, kept = run(Level.HANGUP, stubborn)
    assert (heard[0], heard[-1], kept) == ("heard SIGTERM", "exit 0", Kept.WHOLE)
    quiet = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('lives')"
    assert run(Level.HANGUP, "-c", quiet)[0] == ["lives", "exit 0"]
    assert run(Level.NONE, "-c", quiet)[0] == [f"exit -{int(signal.SIGHUP)}"]


def test_without_seccomp_the_signals_are_ignored_and_that_is_said(
    stubborn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protection, "_filter_installer", lambda: None)
    heard, kept = run(Level.FULL, stubborn)
    assert kept is Kept.IGNORED_ONLY
    assert heard[-1] == "exit 0"
    monkeypatch.setattr(protection, "_filter_installer", lambda: lambda: False)
    assert run(Level.FULL, stubborn)[1] is Kept.IGNORED_ONLY


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_a_program_that_does_not_start_leaves_no_file_open() -> None:
    before = open_files()
    with pytest.raises(FileNotFoundError), Protection(Level.FULL) as protected:
        subprocess.Popen(["/nowhere/program"], preexec_fn=protected.in_child)  # noqa: PLW1509 - what is tested
    assert open_files() == before


CASES = [
    ({}, INITIAL_PIDS, "/user.slice/user-1000.slice/session-3.scope", Level.HANGUP),
    ({}, INITIAL_PIDS, "/user.slice/user-1000.slice/user@1000.service/app.slice/vte.scope", Level.HANGUP),
    ({}, "Darwin", "", Level.HANGUP),
    ({}, "", "", Level.HANGUP),
    ({"GITLAB_CI": "true"}, INITIAL_PIDS, "", Level.FULL),
    ({"CI": "true"}, "Darwin", "", Level.FULL),
    ({"TF_BUILD": "True"}, INITIAL_PIDS, "", Level.FULL),
    ({}, "pid:[4026532281]", "/", Level.FULL),
    ({}, INITIAL_PIDS, "/system.slice/actions.runner.team.service", Level.FULL),
]


@pytest.mark.promise("P9")
@pytest.mark.parametrize(("environ", "namespace", "group", "level"), CASES)
def test_it_is_full_wherever_signals_come_to_whole_process_trees(
    environ: dict[str, str], namespace: str, group: str, level: Level
) -> None:
    chosen, why = choose(Choice.AUTO, environ, namespace=namespace, control_group=group)
    assert chosen is level
    assert why


def test_a_persons_word_decides_everywhere() -> None:
    for environ, namespace, group, _ in CASES:
        for choice, level in ((Choice.ALWAYS, Level.FULL), (Choice.NEVER, Level.NONE)):
            assert choose(choice, environ, namespace=namespace, control_group=group)[0] is level


def test_the_control_group_of_this_process_can_be_asked() -> None:
    assert isinstance(control_group(), str)
