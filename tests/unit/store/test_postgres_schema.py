"""Migrations of a real PostgreSQL, ended at every statement, and those of other versions."""

from __future__ import annotations

import asyncio
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from interlock.clock import SystemClock
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError
from interlock.store import postgres_schema
from interlock.store.opening import open_store
from interlock.store.postgres_errors import NotMade, unreachable
from interlock.store.postgres_place import PostgresPlace, parse_place
from interlock.store.postgres_schema import Migration, Step, known_steps, split_steps
from interlock.testing.postgres import PostgresServer, find_program, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

TABLES = """
SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
 WHERE table_schema = %s AND table_name <> 'migrations' ORDER BY 1, 2
"""


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return f"{postgres.url}&schema=s{uuid.uuid4().hex[:12]}"


@pytest.fixture
def place(url: str) -> PostgresPlace:
    return parse_place(urlsplit(url))


Made = Callable[..., Migration]


@pytest.fixture
async def migration(place: PostgresPlace) -> AsyncIterator[Made]:
    made: list[Migration] = []

    def make(steps: list[Step] | None = None) -> Migration:
        made.append(Migration(place, clock=SystemClock(), steps=steps))
        return made[-1]

    yield make
    for each in made:
        await each.close()


def rows(postgres: PostgresServer, text: str, *words: object) -> list[tuple[object, ...]]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        found = connection.execute(text, words)
        return found.fetchall() if found.description else []


def typed(refusal: InterlockError) -> None:
    """Type what a refusal says to do next, as it is printed."""
    words = refusal.fix.partition("    ")[0]
    program = find_program(words.partition(" ")[0])
    assert program is not None
    environ = {**os.environ, "PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", words], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def ended_at(steps: list[Step], index: int) -> list[Step]:
    """The steps, of which one ends its own connection after it was done and before its commit."""
    step = steps[index]
    end = "SELECT pg_terminate_backend(pg_backend_pid())"
    return [*steps[:index], Step(step.number, step.phase, step.step, f"{step.text}; {end}")]


async def test_a_migration_ended_at_any_statement_is_finished_by_the_next(
    postgres: PostgresServer, place: PostgresPlace, migration: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.store.postgres_session.OUTAGE_S", 0.0)
    steps = known_steps()
    await migration().run()
    whole = rows(postgres, TABLES, place.schema)
    for index in range(len(steps)):
        rows(postgres, f"DROP SCHEMA {place.schema} CASCADE")
        with pytest.raises(InterlockError):
            await migration(ended_at(steps, index)).run()
        assert [step.name for step in await migration().missing()] == [step.name for step in steps[index:]]
        assert [step.name for step in await migration().run()] == [step.name for step in steps[index:]]
        assert rows(postgres, TABLES, place.schema) == whole
        assert await migration().missing() == []


async def test_servers_that_start_at_once_make_the_tables_once(url: str, place: PostgresPlace) -> None:
    stores = await asyncio.gather(*(open_store(url, clock=SystemClock()) for _ in range(4)))
    await stores[0].records.swap("k", expected=None, value=b"x")
    assert (await stores[3].records.get("k") or pytest.fail("absent")).value == b"x"
    for store in stores:
        await store.close()


async def test_a_start_that_was_killed_while_it_made_the_tables_is_finished_by_the_next(
    url: str, migration: Made
) -> None:
    await migration(known_steps()[:2]).run()
    store = await open_store(url, clock=SystemClock())
    await store.close()
    assert await migration().missing() == []


def later(number: int, phase: str, text: str) -> Step:
    return Step(number, phase, 1, text)


async def test_a_server_works_beside_one_that_is_one_version_newer(url: str, migration: Made) -> None:
    newer = [*known_steps(), later(2, "pre", "ALTER TABLE {schema}.records ADD COLUMN colour text")]
    await migration(newer).run()
    store = await open_store(url, clock=SystemClock())
    version = await store.records.swap("k", expected=None, value=b"x")
    await store.records.swap("k", expected=version, value=b"y")
    await store.close()


@pytest.mark.parametrize(("number", "phase"), [(2, "post"), (3, "pre"), (3, "post")])
async def test_a_server_refuses_a_database_that_is_too_new_for_it(
    url: str, migration: Made, number: int, phase: str
) -> None:
    await migration([*known_steps(), later(number, phase, "SELECT 1")]).run()
    with pytest.raises(UsageError) as refusal:
        await open_store(url, clock=SystemClock())
    assert f"version {number}" in refusal.value.why
    assert refusal.value.fix


async def test_a_server_whose_tables_are_older_says_how_they_are_migrated(
    url: str, place: PostgresPlace, migration: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migration().run()
    newer = [*known_steps(), later(2, "pre", "ALTER TABLE {schema}.records ADD COLUMN colour text")]
    monkeypatch.setattr(postgres_schema, "known_steps", lambda: newer)
    with pytest.raises(NotMade) as refusal:
        await open_store(url, clock=SystemClock())
    assert refusal.value.fix.startswith("interlock migrate --store 'postgresql://")
    await migration(newer).run()
    store = await open_store(url, clock=SystemClock())
    await store.close()


async def test_a_migration_does_not_hold_up_those_who_use_a_table_and_tries_again(
    postgres: PostgresServer, place: PostgresPlace, migration: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migration().run()
    monkeypatch.setattr(postgres_schema, "LOCK_S", 0.02)
    step = later(2, "pre", "ALTER TABLE {schema}.records ADD COLUMN colour text")
    async with await psycopg.AsyncConnection.connect(postgres.url) as user:
        await user.execute(f"LOCK TABLE {place.schema}.records IN SHARE MODE")  # its transaction stays open
        changing = asyncio.create_task(migration([*known_steps(), step]).run())
        until = asyncio.get_running_loop().time() + 20
        while "lock timeout" not in (await _log_of(postgres)):
            assert asyncio.get_running_loop().time() < until
            await asyncio.sleep(0.02)
        assert not changing.done()
        await user.rollback()
        assert await changing == [step]


async def _log_of(postgres: PostgresServer) -> str:
    return await asyncio.to_thread(postgres.log)


async def test_a_statement_outside_of_a_transaction_is_done_again_when_it_was_not_noted(
    postgres: PostgresServer, place: PostgresPlace, migration: Made
) -> None:
    await migration().run()
    text = "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_version ON {schema}.records (version)"
    rows(postgres, text.replace("{schema}", place.schema))  # it was killed before it could note this
    step = later(2, "pre", text)
    assert await migration([*known_steps(), step]).run() == [step]
    assert await migration([*known_steps(), step]).missing() == []


def test_a_file_is_split_into_its_statements_without_their_comments() -> None:
    steps = split_steps(7, "pre", "-- why\nSELECT 1;\n\n-- more\nSELECT\n  2;\n")
    assert [(step.step, step.text) for step in steps] == [(1, "SELECT 1"), (2, "SELECT\n  2")]


@pytest.mark.promise("P3")
async def test_a_database_that_acknowledges_what_a_crash_would_lose_is_refused(
    postgres: PostgresServer, url: str
) -> None:
    rows(postgres, "ALTER ROLE interlock SET synchronous_commit = off")
    try:
        with pytest.raises(UsageError) as refusal:
            await open_store(url, clock=SystemClock())
    finally:
        rows(postgres, "ALTER ROLE interlock RESET synchronous_commit")
    assert "synchronous_commit" in refusal.value.why
    typed(refusal.value)
    await (await open_store(url, clock=SystemClock())).close()
    rows(postgres, "ALTER ROLE interlock RESET synchronous_commit")


async def test_a_database_that_cannot_hold_every_name_is_refused(postgres: PostgresServer) -> None:
    with suppress(psycopg.errors.DuplicateDatabase):
        rows(postgres, "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(UsageError) as refusal:
        await open_store(postgres.url.replace("/postgres?", "/latin?"), clock=SystemClock())
    assert "LATIN1" in refusal.value.why


async def test_a_role_without_rights_is_told_so(postgres: PostgresServer, url: str) -> None:
    with suppress(psycopg.errors.DuplicateObject):
        rows(postgres, "CREATE ROLE guest LOGIN")
    with pytest.raises(AuthenticationFailed) as refusal:
        await open_store(url.replace("interlock@", "guest:hunter2@"), clock=SystemClock())
    assert "hunter2" not in str(refusal.value)
    assert "permission denied" in refusal.value.why
    assert refusal.value.http_status == 503  # whoever asks a server did not send these credentials
    typed(refusal.value)


async def test_a_role_that_is_not_there_is_refused_at_once_and_the_database_is_not_called_unreachable(
    postgres: PostgresServer, url: str
) -> None:
    with pytest.raises(AuthenticationFailed) as refusal:
        await open_store(url.replace("interlock@", "database:hunter2@"), clock=SystemClock())
    assert 'role "database" does not exist' in refusal.value.why
    assert "hunter2" not in str(refusal.value)


async def test_a_role_that_may_not_make_tables_works_with_those_that_are_there(
    postgres: PostgresServer, url: str, place: PostgresPlace, migration: Made
) -> None:
    await migration().run()
    with suppress(psycopg.errors.DuplicateObject):
        rows(postgres, "CREATE ROLE guest LOGIN")
    rows(postgres, f"GRANT USAGE ON SCHEMA {place.schema} TO guest")
    rows(postgres, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {place.schema} TO guest")
    rows(postgres, f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {place.schema} TO guest")
    store = await open_store(url.replace("interlock@", "guest@"), clock=SystemClock())
    version = await store.records.swap("k", expected=None, value=b"x")
    assert await store.records.swap("k", expected=version, value=None) == 0
    await store.blobs.delete(await store.blobs.put(b"x" * 10_000_000))
    await store.close()


async def test_a_database_that_is_not_there_is_named_without_a_password(postgres: PostgresServer) -> None:
    url = postgres.url.replace("interlock@", "interlock:hunter2@").replace("/postgres?", "/no%20where?schema=s&")
    with pytest.raises(UsageError) as refusal:
        await open_store(url, clock=SystemClock())
    assert "hunter2" not in str(refusal.value)
    typed(refusal.value)
    store = await open_store(url, clock=SystemClock())
    await store.close()
    rows(postgres, 'DROP DATABASE "no where"')


async def test_a_database_that_is_away_is_looked_at_with_the_command_that_is_printed(
    postgres: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = parse_place(urlsplit(f"{url}&application_name=it's%20me&prepared=off"))
    typed(unreachable(place, "-"))
    monkeypatch.setattr("interlock.store.postgres_session.OUTAGE_S", 0.0)
    with pytest.raises(BackendUnavailable) as refusal:
        await open_store(url.replace(f":{postgres.port}/", ":1/"), clock=SystemClock())
    assert refusal.value.fix.startswith("pg_isready --dbname='postgresql://")
