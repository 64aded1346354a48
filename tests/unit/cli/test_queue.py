"""What a person is told of a queue that was paused or resumed: a name that was mistyped must not look like success."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.cli.main import main
from interlock.home.embedded import open_home
from interlock.lock import Requested
from interlock.settings.reading import load

Say = Callable[..., str]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["queue", *words])
        assert left.value.code == 0
        return capsys.readouterr().err

    return run


@pytest.mark.promise("P11")
def test_a_pause_of_a_name_that_nobody_ever_used_says_so(say: Say) -> None:
    assert "nobody ever queued for prodd before" in say("pause", "prodd", "--reason", "freeze")
    assert "nobody ever" not in say("pause", "prodd", "--reason", "again")


@pytest.mark.promise("P11")
def test_a_pause_of_a_state_that_was_worked_with_is_only_told(say: Say, tmp_path: Path) -> None:
    async def queue() -> None:
        async with open_home(load(tmp_path, {"INTERLOCK_HOME": str(tmp_path / "home")})) as home:
            request = Requested(ticket="t", who="ann", lease_s=60.0, patience_s=60.0)
            await home.coordinator.request("prod", request)

    asyncio.run(queue())
    assert say("pause", "prod", "--reason", "freeze").count("\n") == 1


@pytest.mark.promise("P11")
def test_a_queue_that_was_not_paused_is_not_said_to_be_resumed(say: Say) -> None:
    say("pause", "prod", "--reason", "freeze")
    assert "prod is resumed" in say("resume", "prod")
    assert "prod was not paused" in say("resume", "prod")
