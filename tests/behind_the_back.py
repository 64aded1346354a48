"""Changes what a store holds behind its back, as a disk or a stranger would. See `Rewrite`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg import sql

from interlock.testing.store_contract import Rewrite


def record_in_sqlite(database: Path) -> Rewrite:
    async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
        with closing(sqlite3.connect(database)) as connection:
            ((value,),) = connection.execute("SELECT value FROM records WHERE key = ?", (key,))
            connection.execute("UPDATE records SET value = ? WHERE key = ?", (change(value), key))
            connection.commit()

    return rewrite


def blob_in_sqlite(database: Path) -> Rewrite:
    async def rewrite(digest: str, change: Callable[[bytes], bytes]) -> None:
        with closing(sqlite3.connect(database)) as connection:
            ((upload,),) = connection.execute("SELECT upload FROM blobs WHERE digest = ?", (digest,))
            rows = connection.execute("SELECT data FROM parts WHERE upload = ? ORDER BY number", (upload,))
            stored = b"".join(data for (data,) in rows)
            connection.execute("DELETE FROM parts WHERE upload = ?", (upload,))
            connection.execute("INSERT INTO parts VALUES (?, 0, ?)", (upload, change(stored)))
            connection.commit()

    return rewrite


def record_in_postgres(url: str, schema: str) -> Rewrite:
    async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
        table = sql.Identifier(schema, "records")
        async with await psycopg.AsyncConnection.connect(url) as connection:
            row = await connection.execute(sql.SQL("SELECT value FROM {} WHERE key = %s").format(table), (key,))
            ((value,),) = await row.fetchall()
            update = sql.SQL("UPDATE {} SET value = %s WHERE key = %s").format(table)
            await connection.execute(update, (change(bytes(value)), key))

    return rewrite


def blob_in_postgres(url: str, schema: str) -> Rewrite:
    async def rewrite(digest: str, change: Callable[[bytes], bytes]) -> None:
        blobs, parts = (sql.Identifier(schema, table) for table in ("blobs", "parts"))
        async with await psycopg.AsyncConnection.connect(url) as connection:
            row = await connection.execute(sql.SQL("SELECT upload FROM {} WHERE digest = %s").format(blobs), (digest,))
            ((upload,),) = await row.fetchall()
            rows = await connection.execute(
                sql.SQL("DELETE FROM {} WHERE upload = %s RETURNING number, data").format(parts), (upload,)
            )
            stored = b"".join(data for _, data in sorted(await rows.fetchall()))
            insert = sql.SQL("INSERT INTO {} VALUES (%s, 0, %s)").format(parts)
            await connection.execute(insert, (upload, change(stored)))

    return rewrite
