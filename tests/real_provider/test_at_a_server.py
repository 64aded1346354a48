"""The real provider at a server that keeps the OAuth client: no secret on the runner."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real_provider.trial import Trial
from tests.team import TOKEN, TeamServer, a_team

from interlock.simulator import DEFAULT_CLIENT
from interlock.store.sealing import spell_key

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.real_provider]

KEY = spell_key(bytes(range(32)))
WORDS = ("--region", "us-east-1", "--client-id", DEFAULT_CLIENT.id, "--states", "**")


@pytest.fixture
def at_server(trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Trial, TeamServer]]:
    """A trial whose runs are at a server, which alone has the OAuth client."""
    monkeypatch.setenv("INTERLOCK_ENCRYPTION_KEY", KEY)
    for name in ("ID", "SECRET"):
        monkeypatch.delenv(f"GENESYSCLOUD_OAUTHCLIENT_{name}", raising=False)
    for name in [name for name in trial.desk.environ if name.startswith(("GENESYSCLOUD_", "INTERLOCK_UPSTREAM_"))]:
        trial.desk.environ.pop(name)
    with a_team(tmp_path, laptops=0) as (server, _):
        monkeypatch.delenv("INTERLOCK_ENCRYPTION_KEY")
        upstream = [f"--upstream-{each}=http://127.0.0.1:{trial.port}" for each in ("api", "login")]
        subprocess.run(
            [sys.executable, "-m", "interlock", "organisation", "add", "acme", *WORDS, *upstream],
            env={
                **os.environ,
                "INTERLOCK_HOME": str(server.home),
                "HOME": str(server.home),
                "INTERLOCK_ENCRYPTION_KEY": KEY,
            },
            input=DEFAULT_CLIENT.secret,
            text=True,
            check=True,
            timeout=60,
        )
        trial.desk.environ |= {"INTERLOCK_SERVER": server.url, "INTERLOCK_TOKEN": TOKEN}
        yield trial, server


@pytest.mark.promise("P10")
def test_the_sounds_of_prompts_are_sent_without_any_secret_on_the_runner(
    at_server: tuple[Trial, TeamServer],
) -> None:
    trial, _ = at_server
    trial.applied(trial.room("menus"), "--first-apply")
    trial.unchanged(trial.room("menus"))
    trial.applied(trial.room("menus", 2))
    sent = [entry.status for entry in trial.simulation.journal if entry.path.startswith("/uploads/")]
    assert sent == [200, 200]
    destroyed = trial.run("destroy", trial.room("menus", 2), "--auto-approve")
    assert destroyed.code == 0, destroyed.err[-6000:]
    assert trial.names("prompt") == []
    kept = [file for file in trial.desk.folder.rglob("*") if file.is_file() and "server" not in file.parts]
    assert not any(DEFAULT_CLIENT.secret.encode() in file.read_bytes() for file in kept)
