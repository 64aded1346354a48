"""All queues in one list: each state elsewhere is asked in its turn, and being listed is not use (promise P11)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable
from interlock.home.embedded import EmbeddedHome, open_home
from interlock.home.known import KnownState
from interlock.operate import queue as locks
from interlock.operate.queue_seen import Queue
from interlock.settings.reading import load
from interlock.site import opening
from interlock.site.opening import open_queue, remember
from interlock.site.which import ref_of_run

pytestmark = pytest.mark.promise("P11")
S3 = 'terraform {\n  backend "s3" {\n    bucket = "states"\n    key = "app.tfstate"\n    region = "eu-west-1"\n  }\n}\n'
QUEUE = "s3/states/app.tfstate"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {"INTERLOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}


def known(number: int) -> KnownState:
    name = f"b/k{number}"
    return KnownState(queue=f"s3/{name}", address=f"s3://{name}", type="s3", seen_at=SystemClock().now())


async def test_many_states_elsewhere_are_asked_some_at_a_time(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    at_once = 0

    async def look(one: KnownState, home: EmbeddedHome, environ: dict[str, str]) -> Queue:
        nonlocal at_once
        at_once += 1
        asked.append(at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return Queue(state=one.queue, view=None)

    monkeypatch.setattr(locks, "_look", look)
    async with open_home(load(tmp_path, environ)) as home:
        for number in range(50):
            await home.states.remember(known(number))
        assert len(await locks.queues(None, home, environ)) == 50
    assert max(asked) <= 8, "sixty at once had none answered in its ten seconds"


@pytest.fixture
def no_site(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def site(*_: object) -> AsyncIterator[Any]:
        yield SimpleNamespace(coordinator="the queue")

    monkeypatch.setattr(opening, "open_site", site)


@pytest.mark.usefixtures("no_site")
@pytest.mark.parametrize("is_use", [True, False])
async def test_a_state_that_is_only_listed_is_forgotten_in_time(
    tmp_path: Path, environ: dict[str, str], is_use: bool
) -> None:
    (tmp_path / "main.tf").write_text(S3)
    settings = load(tmp_path, environ)
    ref = ref_of_run(tmp_path, settings, environ)
    async with open_home(settings) as home:
        clock = home.clock
        home.clock = SimpleNamespace(now=lambda: LONG_AGO)
        await remember(ref, home)
        home.clock = clock
        async with open_queue(ref, home, is_use=is_use):
            pass
        found = await home.states.find(QUEUE)
    assert found is not None
    assert (found.seen_at == LONG_AGO) is not is_use


@pytest.mark.usefixtures("no_site")
async def test_a_home_that_cannot_be_written_keeps_nobody_from_a_queue_elsewhere(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "main.tf").write_text(S3)
    settings = load(tmp_path, environ)
    entered = False

    async def full(*_: object) -> None:
        raise BackendUnavailable("the disk is full")

    async with open_home(settings) as home:
        monkeypatch.setattr(opening, "remember", full)
        async with open_queue(ref_of_run(tmp_path, settings, environ), home):
            entered = True
    assert entered


@pytest.mark.parametrize("words", ["queue import queues", "states import stored_states"])
def test_looking_at_all_states_loads_nothing_that_runs_terraform(words: str) -> None:
    program = f"import sys; from interlock.operate.{words}; print(*sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert f"interlock.operate.{words.split(maxsplit=1)[0]}" in shown
    assert not {"interlock.compose.supervising", "interlock.operate.ordering", "interlock.run"} & set(shown)
    assert not {"interlock.existing", "interlock.terraform", "interlock.hcl"} & set(shown)
