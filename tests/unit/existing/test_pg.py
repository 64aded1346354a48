from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

psycopg = pytest.importorskip("psycopg")

from interlock.errors import AuthenticationFailed, BackendUnavailable, LockHeld, UsageError  # noqa: E402
from interlock.existing import Found, TerraformLockMoved  # noqa: E402
from interlock.existing.pg import PgBackend, _translated, creation_of_tofu, open_pg, shown_address  # noqa: E402
from interlock.terraform.lockinfo import LockInfo, build_lock_info  # noqa: E402
from interlock.testing.postgres import (  # noqa: E402
    PostgresServer,
    pooler,
    running_server,
    why_no_pooler,
    why_not,
)

needs_postgres = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
STATE = b'{"version": 4, "serial": 1}'


def found(conn: str, workspace: str = "default") -> Found:
    return Found(type="pg", settings={"conn_str": conn, "schema_name": "terraform_remote_state"}, workspace=workspace)


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def server(cluster: PostgresServer) -> str:
    return cluster.url


@pytest.fixture
def table(server: str) -> str:
    """The schema as Terraform makes it, empty."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS terraform_remote_state CASCADE")
        connection.execute("CREATE SCHEMA terraform_remote_state")
        connection.execute("CREATE SEQUENCE IF NOT EXISTS public.global_states_id_seq AS bigint")
        connection.execute(
            "CREATE TABLE terraform_remote_state.states ("
            "id bigint NOT NULL DEFAULT nextval('public.global_states_id_seq') PRIMARY KEY,"
            " name text UNIQUE, data text)"
        )
    return server


@pytest.fixture
async def backend(table: str) -> AsyncIterator[PgBackend]:
    backend = await open_pg(found(table))
    yield backend
    await backend.close()


def hold(conn: str) -> Any:
    """Lock as Terraform does: by a session."""
    connection = psycopg.connect(conn, autocommit=True, application_name="terraform")
    connection.execute("SELECT pg_try_advisory_lock(id) FROM terraform_remote_state.states WHERE name = 'default'")
    return connection


def info() -> LockInfo:
    return build_lock_info(id="i", operation="restore", who="me@here", version="", now=datetime(2026, 1, 1, tzinfo=UTC))


@needs_postgres
async def test_a_state_is_written_only_over_what_was_read(backend: PgBackend) -> None:
    assert await backend.read_state() is None
    assert await backend.history() == ()
    first = await backend.write_state(STATE, expected=None)
    assert first.body == STATE
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(b"{}", expected=None)
    second = await backend.write_state(b'{"serial": 2}', expected=first)
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(b"{}", expected=first)
    assert (await backend.read_state()) == second
    versions = await backend.history()
    assert [await backend.read_version(version.id) for version in versions] == [second.body]
    assert await backend.repair_digest(expected=second) == second


@needs_postgres
async def test_a_session_that_holds_the_lock_is_seen_and_freed_only_while_it_is_the_same(
    backend: PgBackend, table: str
) -> None:
    assert await backend.read_locks() == ()
    await backend.write_state(STATE, expected=None)
    holder = hold(table)
    (lock,) = await backend.read_locks()
    assert "terraform" in lock.operation
    assert lock.created_at is not None

    holder.close()
    later = hold(table)
    with pytest.raises(TerraformLockMoved):
        await backend.delete_lock(lock)
    assert not later.closed
    (second,) = await backend.read_locks()
    await backend.delete_lock(second)
    assert await backend.read_locks() == ()
    with pytest.raises(psycopg.Error):
        later.execute("SELECT 1")


@needs_postgres
async def test_a_killed_client_leaves_no_lock(backend: PgBackend, table: str) -> None:
    await backend.write_state(STATE, expected=None)
    hold(table).close()
    for _ in range(100):  # the server notices within a moment
        if not await backend.read_locks():
            return
    raise AssertionError("the lock stayed")


@needs_postgres
@pytest.mark.parametrize("number", [-1, creation_of_tofu("terraform_remote_state")])
async def test_a_state_without_a_row_is_locked_as_terraform_and_opentofu_lock_it_and_given_back_with_one(
    backend: PgBackend, table: str, number: int
) -> None:
    held = await backend.take_lock(info())
    with psycopg.connect(table, autocommit=True) as other:
        query = f"SELECT pg_try_advisory_lock({number})"
        assert other.execute(query).fetchone() == (False,)
        await backend.write_state(STATE, expected=None)
        await backend.give_lock(held)
        assert other.execute(query).fetchone() == (True,)
        with pytest.raises(LockHeld):  # as Terraform refuses, while somebody makes a row
            await backend.take_lock(info())
        assert other.execute(f"SELECT pg_advisory_unlock({number})").fetchone() == (True,)
    await backend.give_lock(await backend.take_lock(info()))
    assert await backend.read_locks() == ()


@needs_postgres
@pytest.mark.promise("P5")
@pytest.mark.parametrize("number", [-1, creation_of_tofu("terraform_remote_state")])
async def test_who_makes_a_state_is_seen_and_freed_whichever_program_it_is(
    backend: PgBackend, table: str, number: int
) -> None:
    with psycopg.connect(table, autocommit=True, application_name="tofu") as other:
        other.execute(f"SELECT pg_advisory_lock({number})")
        with pytest.raises(LockHeld):
            await backend.take_lock(info())
        (lock,) = await backend.read_locks()
        assert "tofu" in lock.operation
        await backend.delete_lock(lock)
    await backend.give_lock(await backend.take_lock(info()))


@pytest.mark.promise("P11")
async def test_a_state_in_a_table_of_opentofus_choice_is_refused_and_not_taken_for_an_empty_one() -> None:
    other = Found(type="pg", settings={"conn_str": "postgres://h/d", "table_name": "mine"}, workspace="default")
    with pytest.raises(UsageError, match="not in the table"):
        await open_pg(other)


@pytest.mark.promise("P1")
@pytest.mark.skipif(bool(why_no_pooler()), reason=why_no_pooler() or "-")
@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pooler_that_lends_sessions_for_a_transaction_never_lets_two_hold(
    cluster: PostgresServer, mode: str
) -> None:
    with pooler(cluster, mode=mode, size=5, ignored="options") as port:
        through = cluster.url.replace(f":{cluster.port}/", f":{port}/")
        first, second = [await open_pg(found(through)) for _ in range(2)]
        if mode == "transaction":
            with pytest.raises(UsageError, match="cannot be locked"):
                await first.take_lock(info())
        else:
            held = await first.take_lock(info())
            assert await first.read_locks() == ()  # its own is nobody else's
            with pytest.raises(LockHeld):
                await second.take_lock(info())
            await first.give_lock(held)
        await first.close()
        await second.close()


@needs_postgres
async def test_schema_and_table_are_made_where_there_are_none(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS terraform_remote_state CASCADE")
    backend = await open_pg(found(server))
    held = await backend.take_lock(info())
    assert await backend.read_state() is None
    await backend.give_lock(held)
    await backend.close()


@needs_postgres
async def test_our_own_lock_keeps_terraform_out_and_is_given_back(backend: PgBackend, table: str) -> None:
    await backend.write_state(STATE, expected=None)
    held = await backend.take_lock(info())
    with psycopg.connect(table, autocommit=True) as other:
        query = "SELECT pg_try_advisory_lock(id) FROM terraform_remote_state.states WHERE name = 'default'"
        assert other.execute(query).fetchone() == (False,)
        await backend.give_lock(held)
        assert other.execute(query).fetchone() == (True,)
        with pytest.raises(LockHeld):
            await backend.take_lock(info())


@needs_postgres
async def test_locks_of_other_states_and_databases_are_not_taken_for_ours(backend: PgBackend, table: str) -> None:
    await backend.write_state(STATE, expected=None)
    with psycopg.connect(table, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(987654321), pg_advisory_lock(1, 2)")
        assert await backend.read_locks() == ()


@needs_postgres
async def test_a_database_without_the_table_is_a_usage_error(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS terraform_remote_state CASCADE")
    backend = await open_pg(found(server))
    with pytest.raises(UsageError, match="does not exist"):
        await backend.read_state()
    await backend.close()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await open_pg(found("postgres://u@127.0.0.1:1/x?connect_timeout=1"))


def test_a_refused_password_is_a_matter_of_authentication() -> None:
    error = psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "u"')
    assert isinstance(_translated(error, "pg://h/d"), AuthenticationFailed)


@pytest.mark.parametrize(
    ("conn", "shown"),
    [
        (
            "postgres://u:secret@db.example.com:5433/tf?sslmode=require",
            "pg://db.example.com:5433/tf/terraform_remote_state.states/default",
        ),
        ("host=db port=5433 dbname=tf user=u password=secret", "pg://db:5433/tf/terraform_remote_state.states/default"),
        ("", "pg:///terraform_remote_state.states/default"),
    ],
)
def test_the_address_shows_no_secret(conn: str, shown: str) -> None:
    assert shown_address(found(conn)) == shown


@needs_postgres
@pytest.mark.promise("P5")
async def test_a_loopback_address_is_nobodys_name(backend: PgBackend, table: str) -> None:
    await backend.write_state(STATE, expected=None)
    holder = hold(table)
    (lock,) = await backend.read_locks()
    assert lock.who == ""  # behind a tunnel or a pooler every client has this address
    assert lock.client is not None
    assert lock.client[0] == "127.0.0.1"
    assert lock.client[2] == holder.info.port
    holder.close()
