"""One connection to PostgreSQL at a time, opened when needed and opened anew when it broke. A hand.

Whatever is asked has a time limit. A connection that is half open (the other machine is gone, or something between
holds back what is sent) never answers, not even that it is gone; so at the limit its socket is shut down, the driver
sees its end, and the next question gets a fresh connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

import psycopg

from interlock.clock import Clock
from interlock.errors import BackendUnavailable
from interlock.store.memory import store_is_closed
from interlock.store.postgres_errors import may_pass, translate, unreachable
from interlock.store.postgres_place import PostgresPlace

CONNECT_S = 5
"""Longest time for making a connection."""
STATEMENT_S = 10.0
"""Longest time for one question; the slowest honest one is a commit on a busy disk."""
OUTAGE_S = 8.0
"""How long a question outlasts a database that restarts or fails over; then whoever asked is told."""
_PAUSE_S_FIRST, _PAUSE_S_MAX = 0.02, 0.5
_ENDING_S = 1.0
_KEPT_ALIVE: Mapping[str, str] = {
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}

Connection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"
_T = TypeVar("_T")


async def connect(place: PostgresPlace, *, purpose: str, arguments: Mapping[str, str] | None = None) -> Connection:
    """Open a connection in autocommit mode.

    Nothing is set in the session, and no session parameter is passed: a pooler would refuse it, or give it to others.
    """
    named: dict[str, Any] = {
        "connect_timeout": str(CONNECT_S),
        **_KEPT_ALIVE,
        "application_name": f"interlock {purpose}",
        **(arguments or place.arguments),
    }
    return await psycopg.AsyncConnection.connect(
        **named, autocommit=True, prepare_threshold=5 if place.is_prepared else None
    )


async def within(connection: Connection, work: Coroutine[Any, Any, _T], limit_s: float) -> _T:
    """Await what uses a connection; at the limit end the connection, so that it fails.

    Raises:
        psycopg.Error: As `work` does.
        TimeoutError: It was ended.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=limit_s)
        if done:
            return task.result()
    except BaseException:  # the driver itself would wait for an answer to its wish to cancel
        _hang_up(connection)
        await _ended(task)
        raise
    _hang_up(connection)
    await _ended(task)
    raise TimeoutError(f"no answer within {limit_s:g} seconds")


def _hang_up(connection: Connection) -> None:
    # A copy of the descriptor: closing this one must not close that of the driver.
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as line:
        line.shutdown(socket.SHUT_RDWR)


async def _ended(task: asyncio.Future[Any]) -> None:
    await asyncio.wait({task}, timeout=_ENDING_S)
    task.cancel()
    await asyncio.wait({task}, timeout=_ENDING_S)
    if task.done() and not task.cancelled():
        task.exception()  # seen


class Session:
    """Asks one question after the other.

    Args:
        place: Where.
        purpose: For the application name, by which a database's administrator tells the connections apart.
        clock: For pauses.
    """

    def __init__(self, place: PostgresPlace, *, purpose: str, clock: Clock) -> None:
        self._place = place
        self._purpose = purpose
        self._clock = clock
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None
        self._work: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    async def ask(
        self, question: Callable[[Connection], Coroutine[Any, Any, _T]], *, limit_s: float | None = None
    ) -> _T:
        """Return the answer to a question; ask again when the connection breaks, for up to `OUTAGE_S`.

        So it must be one that may be asked twice. When the caller is cancelled, it is asked and answered all the same.

        Raises:
            InterlockError: The database refused it, or does not answer.
        """
        if self._is_closed:
            raise store_is_closed()
        task = asyncio.ensure_future(self._ask(question, STATEMENT_S if limit_s is None else limit_s))
        self._work.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Finish what is asked, and hang up."""
        self._is_closed = True
        while self._work:
            await asyncio.gather(*self._work, return_exceptions=True)
        await self._drop()

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may have left meanwhile

    async def _ask(self, question: Callable[[Connection], Coroutine[Any, Any, _T]], limit_s: float) -> _T:
        until_s, pause_s = self._clock.monotonic() + OUTAGE_S, _PAUSE_S_FIRST
        while True:
            try:
                return await self._once(question, limit_s)
            except (psycopg.Error, TimeoutError, OSError) as error:
                if not _passes(error) or self._is_closed or self._clock.monotonic() >= until_s:
                    raise known(error, self._place) from error
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    async def _once(self, question: Callable[[Connection], Awaitable[_T]], limit_s: float) -> _T:
        async with self._turn:
            connection = await self._connected()
            try:
                return await within(connection, _asked(question, connection), limit_s)
            except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, OSError):
                await self._drop()
                raise

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._place, purpose=self._purpose)
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                await connection.close()


class Sessions:
    """A few sessions; a question takes one that is idle.

    Args:
        most: So many questions at once.
        new: Makes one.
    """

    def __init__(self, most: int, new: Callable[[], Session]) -> None:
        self._idle = [new() for _ in range(most)]
        self._all = tuple(self._idle)
        self._free = asyncio.Semaphore(most)

    async def ask(
        self, question: Callable[[Connection], Coroutine[Any, Any, _T]], *, limit_s: float | None = None
    ) -> _T:
        """See `Session.ask`."""
        async with self._free:
            session = self._idle.pop()
            try:
                return await session.ask(question, limit_s=limit_s)
            finally:
                self._idle.append(session)

    async def close(self) -> None:
        """See `Session.close`."""
        for session in self._all:
            await session.close()


async def _asked(question: Callable[[Connection], Awaitable[_T]], connection: Connection) -> _T:
    return await question(connection)


def _passes(error: BaseException) -> bool:
    return not isinstance(error, psycopg.Error) or may_pass(error)


def known(error: BaseException, place: PostgresPlace) -> BaseException:
    """Return our error for one of the driver, of a socket or of a time limit."""
    if isinstance(error, psycopg.Error):
        return translate(error, place)
    if isinstance(error, TimeoutError | OSError):
        return unreachable(place, str(error) or type(error).__name__)
    return error


def crowded(place: PostgresPlace, most: int) -> BackendUnavailable:
    """Return the error for a question when too many wait."""
    return unreachable(place, f"{most} questions already wait for its answers")
