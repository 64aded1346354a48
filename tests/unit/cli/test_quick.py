"""Lists that are answered without a parser and without an event loop say what their commands say."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from interlock.cli import quick
from interlock.cli.main import main
from interlock.home.embedded import EmbeddedHome, open_home
from interlock.home.known import KnownState
from interlock.lock import Requested
from interlock.run.summary import Summary, write_summary
from interlock.settings.reading import load

NOW = datetime.now(UTC)
LISTS = [("queue", "ls"), ("queue", "ls", "--json"), ("runs", "ls"), ("runs", "ls", "--json")]
Say = Callable[..., tuple[str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def say(home: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    def run(*words: str) -> tuple[str, str]:
        with pytest.raises(SystemExit):
            main(words)
        out, err = capsys.readouterr()
        return re.sub(r"\b\d+(\.\d+)?s\b", "Ns", out), err  # how long somebody waits goes on

    return run


def by_the_command(say: Say, *words: str) -> tuple[str, str]:
    with mock.patch.object(quick, "answer", return_value=False):
        return say(*words)


async def _fill(opened: EmbeddedHome) -> None:
    for state in ("a", "b"):
        for who in ("ann", "bob", "cleo"):
            request = Requested(ticket=who, run=f"run-{who}", who=who, lease_s=60.0, patience_s=60.0)
            await opened.coordinator.request(state, request)
    await opened.coordinator.bump("a", "cleo", by="ann")
    await opened.coordinator.pause("b", by="ann", reason="freeze")
    await opened.states.remember(KnownState(queue="a", address="interlock:a", seen_at=NOW))


def fill(home: Path) -> None:
    async def work() -> None:
        async with open_home(load(home.parent, os.environ)) as opened:
            await _fill(opened)

    asyncio.run(work())
    for number in range(25):
        folder = home / "runs" / f"1m8nr6edy2fwk{number:03}"
        folder.mkdir(parents=True)
        began = NOW - timedelta(hours=number)
        run = Summary(
            run=folder.name, state="a", operation="apply", who="ann", directory="/d", phase="ended", started_at=began
        )
        write_summary(folder, run)


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
@pytest.mark.parametrize("is_filled", [False, True])
def test_a_plain_list_says_what_its_command_says(home: Path, say: Say, words: tuple[str, ...], is_filled: bool) -> None:
    if is_filled:
        fill(home)
    with mock.patch("interlock.cli.main.build", side_effect=AssertionError("the parser is not needed")):
        quickly = say(*words)
    assert quickly == by_the_command(say, *words)
    assert not is_filled or "ann" in quickly[0]
    assert is_filled or not home.exists(), "who only looks makes no home"


@pytest.mark.parametrize(
    "words", [("queue", "ls", "a"), ("runs", "ls", "--limit", "3"), ("queue", "ls", "--help"), ("state", "ls")]
)
def test_every_other_command_line_is_left_to_its_command(home: Path, words: tuple[str, ...]) -> None:
    assert not quick.answer(words)


def test_where_a_state_elsewhere_is_known_its_queue_is_asked_by_the_command(home: Path) -> None:
    async def know() -> None:
        async with open_home(load(home.parent, os.environ)) as opened:
            known = KnownState(queue="s3/x", address="s3://bucket/x", type="s3", seen_at=NOW)
            await opened.states.remember(known)

    asyncio.run(know())
    assert not quick.answer(["queue", "ls"])


def test_what_is_damaged_is_told_by_the_command(home: Path, say: Say) -> None:
    fill(home)
    with sqlite3.connect(home / "interlock.db") as database:
        database.execute("UPDATE records SET value = x'00' WHERE key LIKE '%/a'")
    database.close()
    assert say("queue", "ls") == by_the_command(say, "queue", "ls")
    assert "error" in say("queue", "ls")[1]


@pytest.mark.parametrize("words", LISTS[::2], ids=" ".join)
def test_neither_the_parser_nor_an_event_loop_is_imported(home: Path, words: tuple[str, ...]) -> None:
    fill(home)
    program = (
        "import sys\nfrom interlock.cli.main import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        "print(sorted({'typer', 'asyncio', 'subprocess', 'dataclasses', 'json'} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"
