"""`interlock migrate`: the tables of a store."""

from __future__ import annotations

from msgspec import Struct

from interlock.clock import SystemClock
from interlock.errors import UsageError


class Migrated(Struct, frozen=True, kw_only=True):
    """What a migration did, or would do.

    Attributes:
        store: The store's address, without password.
        statements: The statements, in order.
    """

    store: str
    statements: tuple[str, ...]


async def migrate(url: str, *, is_dry: bool) -> Migrated:
    """Bring the tables of a PostgreSQL store up to date.

    Raises:
        UsageError: It is another store, or newer than this program.
        InterlockError: The database refused it, or cannot be reached.
    """
    from interlock.store.opening import find_postgres

    place = find_postgres(url)
    if place is None:
        raise UsageError(
            "there is nothing to migrate",
            why="only a PostgreSQL store is migrated by itself; the others are brought up to date when they are opened",
            fix="interlock migrate --store postgresql://USER@HOST/DATABASE",
        )
    from interlock.store.postgres_schema import Migration

    migration = Migration(place, clock=SystemClock())
    try:
        steps = await (migration.missing() if is_dry else migration.run())
    finally:
        await migration.close()
    return Migrated(store=place.shown, statements=tuple(step.text for step in steps))
