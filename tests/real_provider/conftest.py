"""The unmodified provider under real runs, against the simulated organisation.

It is found through INTERLOCK_TEST_PROVIDER (the binary, or its folder) or on PATH as `terraform-provider-genesyscloud`;
where it is absent every test here is skipped. Nothing of it is part of this repository.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.real_provider.trial import Trial

from interlock.simulator import Simulation, Terms
from interlock.simulator.asgi import serve_in_thread

NAME = "terraform-provider-genesyscloud"


@pytest.fixture(scope="session")
def provider() -> Path:
    """The folder of the real provider."""
    named = os.environ.get("INTERLOCK_TEST_PROVIDER", "")
    given = Path(named) / NAME if named and Path(named).is_dir() else Path(named)
    found = given if named else Path(shutil.which(NAME) or "")
    if not found.is_file():
        pytest.skip(f"no {NAME} on PATH or named by INTERLOCK_TEST_PROVIDER")
    return found.resolve().parent


@pytest.fixture
def trial_with(tmp_path: Path, provider: Path) -> Iterator[Callable[[Terms], Trial]]:
    """Open a trial in an organisation of these terms."""
    opened: list[Trial] = []
    with_exit: list[object] = []

    def open_trial(terms: Terms) -> Trial:
        serving = serve_in_thread(Simulation(terms))
        served = serving.__enter__()
        with_exit.append(serving)
        trial = Trial(tmp_path, served, provider)
        opened.append(trial)
        return trial

    yield open_trial
    for trial in opened:
        trial.desk.close()
    for serving in with_exit:
        serving.__exit__(None, None, None)  # type: ignore[attr-defined]


@pytest.fixture
def trial(trial_with: Callable[[Terms], Trial]) -> Trial:
    """A trial in an organisation without limits."""
    return trial_with(Terms(limits=()))
