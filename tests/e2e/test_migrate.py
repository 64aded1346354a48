"""`interlock migrate`, run as the command on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psycopg
import pytest

from interlock.testing.postgres import PostgresServer, why_not

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]


def migrate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "interlock", "migrate", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ})


def test_tables_are_made_once_and_a_second_time_there_is_nothing_to_do(postgres: PostgresServer) -> None:
    url = postgres.url.replace("interlock@", "interlock:hunter2@") + "&schema=migrated"
    dry = migrate("--store", url, "--dry-run")
    assert (dry.returncode, "are missing" in dry.stdout) == (0, True)
    done = migrate("--store", url, "--json")
    assert done.returncode == 0
    said = json.loads(done.stdout)
    assert said["statements"]
    again = migrate("--store", url)
    assert (again.returncode, "is up to date" in again.stdout) == (0, True)
    with psycopg.connect(postgres.url) as connection:
        found = connection.execute("SELECT to_regclass('migrated.records')").fetchone()
    assert found is not None
    assert found[0] is not None
    assert "hunter2" not in "".join(each for run in (dry, done, again) for each in (run.stdout, run.stderr))


@pytest.mark.parametrize("url", ["sqlite:/nowhere", "postgresql://ann:hunter2@127.0.0.1:x/db", ""])
def test_what_cannot_be_migrated_is_refused_with_a_next_step_and_without_a_password(url: str) -> None:
    refused = migrate("--store", url)
    assert refused.returncode == 3
    assert "next" in refused.stderr
    assert "hunter2" not in refused.stderr
