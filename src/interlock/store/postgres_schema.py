"""Brings the tables of a PostgreSQL store up to date, statement by statement, and says how far they are. A hand.

Each number has up to two files, `postgres_<number>_pre.sql` and `..._post.sql`. What is before (`pre`) only adds, so
that servers of the version before go on working; what is after (`post`) takes away what only those needed. Each
statement is one transaction that also writes down that it was done: after a kill at any point the rest is done by
the next attempt. A statement that cannot be part of a transaction is one that may be repeated (`IF NOT EXISTS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, LiteralString

import psycopg
from msgspec import Struct

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, UsageError
from interlock.foreign_text import shell_word
from interlock.store.postgres_errors import NotMade
from interlock.store.postgres_place import PostgresPlace
from interlock.store.postgres_session import Connection, Session
from interlock.store.refusals import StoreUnfit

SCHEMA_NUMBER = 1
"""The newest migration that this version knows."""
LOCK_S = 3.0
"""How long one attempt waits for a table that others use: longer would hold up everybody who comes behind it."""
LOCK_ATTEMPTS = 20
LONGEST_S = 3600.0
"""Longest time of one statement: an index over a large table."""
_PAUSE_S = 1.0
_OUTSIDE = "CONCURRENTLY"
_LOCKED = frozenset({"55P03", "40P01"})
_TURN = 0x494C4B31  # "ILK1": of the advisory lock that lets one migration run at a time


class Step(Struct, frozen=True, order=True):
    """One statement of a migration.

    Attributes:
        number: Of the migration.
        phase: `pre` or `post`.
        step: Counted from 1 in its file.
        text: The statement.
    """

    number: int
    phase: str
    step: int
    text: str

    @property
    def name(self) -> tuple[int, str, int]:
        """What is written down when it was done."""
        return self.number, self.phase, self.step


def known_steps() -> list[Step]:
    """Return every statement that this version knows, in the order in which they are done."""
    folder = files("interlock.store.migrations")
    steps: list[Step] = []
    for number in range(1, SCHEMA_NUMBER + 1):
        for phase in ("pre", "post"):
            file = folder.joinpath(f"postgres_{number:04}_{phase}.sql")
            if file.is_file():
                steps += split_steps(number, phase, file.read_text(encoding="utf-8"))
    return steps


def split_steps(number: int, phase: str, text: str) -> list[Step]:
    """Return the statements of a file: each ends with a semicolon at the end of a line."""
    statements = [_without_comments(part) for part in text.split(";\n")]
    return [Step(number, phase, step, one) for step, one in enumerate(filter(None, statements), start=1)]


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip().rstrip(";")


class Migration:
    """The steps of one store.

    Args:
        place: Where.
        clock: For pauses.
        steps: What is known, in order.
    """

    def __init__(self, place: PostgresPlace, *, clock: Clock, steps: Sequence[Step] | None = None) -> None:
        self._place = place
        self._clock = clock
        self._steps = list(known_steps() if steps is None else steps)
        self._session = Session(place, purpose="migrate", clock=clock)

    async def missing(self) -> list[Step]:
        """Return the steps that were not done.

        Raises:
            UsageError: Some were done that this version does not know, and it cannot work with them.
            InterlockError: The database cannot be asked.
        """
        done = await self._done()
        self._refuse_newer(done)
        return [step for step in self._steps if step.name not in done]

    async def is_unmade(self) -> bool:
        """Say whether no server ever worked here: the first tables are missing, or were only begun."""
        return any(step.number == 1 and step.phase == "pre" for step in await self.missing())

    async def check(self) -> None:
        """See that a server of this version can work here.

        Raises:
            NotMade: A step is missing that it needs.
            UsageError: See `missing`.
        """
        needed = [step for step in await self.missing() if step.phase == "pre"]
        if needed:
            raise NotMade(self._place, why=f"{len(needed)} of the statements that make its tables were not done")

    async def run(self) -> list[Step]:
        """Do what is missing, in order, and return it.

        Raises:
            UsageError: See `missing`, or the role may not change the schema.
            BackendUnavailable: A table stayed in use, or the database cannot be reached.
        """
        await self._session.ask(self._begin)
        steps = await self.missing()
        for step in steps:
            await self._patiently(step)
        return steps

    async def close(self) -> None:
        """Hang up."""
        await self._session.close()

    async def _done(self) -> set[tuple[int, str, int]]:
        async def question(connection: Connection) -> set[tuple[int, str, int]]:
            found = await connection.execute(
                "SELECT to_regclass(%s) IS NOT NULL", (f"{self._place.quoted}.migrations",)
            )
            if (await found.fetchone() or (False,))[0] is not True:
                return set()
            rows = await connection.execute(self._sql("SELECT number, phase, step FROM {schema}.migrations"))
            return {(int(number), str(phase), int(step)) for number, phase, step in await rows.fetchall()}

        return await self._session.ask(question)

    def _refuse_newer(self, done: set[tuple[int, str, int]]) -> None:
        """A neighbour that is one newer may have added what we do not see; what is taken away we would miss."""
        ours = max((step.number for step in self._steps), default=0)
        newest = max((number for number, _, _ in done), default=0)
        has_taken_away = any(number > ours and phase == "post" for number, phase, _ in done)
        if newest > ours + 1 or has_taken_away:
            raise StoreUnfit(
                f"the database {self._place.shown} is newer than this program",
                why=f"its schema is version {newest}, this program knows {ours}",
                fix="pip install --upgrade interlock",
            )

    async def _begin(self, connection: Connection) -> None:
        """Make the table that says what was done, if it is not there."""
        found = await connection.execute("SELECT to_regclass(%s)", (f"{self._place.quoted}.migrations",))
        if (await found.fetchone() or (None,))[0] is not None:
            return  # also for a role that may not make schemas
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
            await connection.execute(self._sql("CREATE SCHEMA IF NOT EXISTS {schema}"))
            await connection.execute(
                self._sql(
                    "CREATE TABLE IF NOT EXISTS {schema}.migrations (number integer, phase text, step integer,"
                    " done_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (number, phase, step))"
                )
            )

    async def _patiently(self, step: Step) -> None:
        for attempt in range(LOCK_ATTEMPTS):
            try:
                await self._session.ask(lambda connection: self._do(connection, step), limit_s=LONGEST_S)
            except BackendUnavailable as error:
                cause = error.__cause__
                if (
                    not isinstance(cause, psycopg.Error)
                    or cause.sqlstate not in _LOCKED
                    or attempt == LOCK_ATTEMPTS - 1
                ):
                    raise
            else:
                return
            await self._clock.sleep(_PAUSE_S)

    async def _do(self, connection: Connection, step: Step) -> None:
        if _OUTSIDE in step.text:
            await connection.execute(self._sql(step.text))
            await connection.execute(self._sql(_NOTE), step.name)
            return
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {round(1000 * LOCK_S)}")
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
            noted = await connection.execute(self._sql(_NOTE), step.name)
            if noted.rowcount:  # else another migration did it while we waited for our turn
                await connection.execute(self._sql(step.text))

    def _sql(self, text: str) -> Any:
        return text.replace("{schema}", self._place.quoted)


_NOTE: LiteralString = (
    "INSERT INTO {schema}.migrations (number, phase, step) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
)


async def check_database(session: Session, place: PostgresPlace) -> list[str]:
    """Refuse a database in which an acknowledged write could be lost, or that cannot hold our keys.

    Returns:
        What an operator should know all the same.

    Raises:
        UsageError: It is set up so.
    """

    async def question(connection: Connection) -> tuple[Any, ...]:
        row = await connection.execute(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
            " current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes')"
        )
        return await row.fetchone() or ()

    version, encoding, commits, syncs, pages = await session.ask(question)
    if version < _OLDEST:
        raise _unfit(place, f"it is PostgreSQL {version // 10_000}", "use PostgreSQL 15 or newer")
    if encoding != "UTF8":
        raise _unfit(
            place,
            f"its encoding is {encoding}",
            f"createdb --maintenance-db={place.plain_word} --encoding=UTF8 --template=template0 {place.schema}",
        )
    if commits == "off":
        user = place.arguments.get("user", "ROLE")
        raise _unfit(
            place,
            "synchronous_commit is off: it acknowledges what a crash would lose",
            f"psql --dbname={place.plain_word} --command="
            + shell_word(f'ALTER ROLE "{user}" SET synchronous_commit = on'),
        )
    named = {"fsync": syncs, "full_page_writes": pages}
    return [f"{name} is off: a crash of its machine may damage it" for name, value in named.items() if value == "off"]


_OLDEST = 150_000


def _unfit(place: PostgresPlace, why: str, fix: str) -> UsageError:
    return StoreUnfit(f"the database {place.shown} cannot keep states", why=why, fix=fix)
