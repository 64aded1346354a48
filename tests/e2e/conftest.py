from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.desk import Desk

if TYPE_CHECKING:
    from tests.ci_jobs import Runner


@pytest.fixture(scope="module", autouse=True)
def leftovers() -> Iterator[None]:
    """Find what the tests of a module left open before a test of another folder is blamed for it."""
    yield
    gc.collect()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A home and folders of its own, and real commands."""
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def module(desk: Desk) -> Path:
    """A root module whose applies hold the state as long as they are told."""
    return desk.module()


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """Lend a CI machine, with the simulated organisation and the platform's API beside it."""
    from tests.ci_jobs import Runner
    from tests.platform_api import platform_api

    from interlock.simulator import Simulation
    from interlock.simulator.asgi import serve_in_thread

    with serve_in_thread(Simulation()) as served, platform_api() as api:
        yield Runner(folder=tmp_path, api=api, served=served)
