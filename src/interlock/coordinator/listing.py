"""The states of a record store, page by page."""

from __future__ import annotations

from collections.abc import Callable

from interlock.coordinator.names import key_prefix, state_of
from interlock.coordinator.record import decode
from interlock.coordinator.view import View
from interlock.store.records import LIST_LIMIT_MAX, Record, RecordStore


def view_of(record: Record) -> View:
    """Return what a record says of its state.

    Raises:
        BackendUnavailable: See `decode`.
    """
    found = decode(record.value)
    return View(state=state_of(record.key), version=record.version, lock=found.lock, head=found.head)


async def list_views(
    records: RecordStore,
    prefix: str = "",
    *,
    after: str = "",
    limit: int | None = None,
    read: Callable[[Record], View] = view_of,
) -> list[View]:
    """Return the states whose names begin with `prefix`, by name.

    Args:
        records: Where they are kept.
        prefix: The beginning of their names.
        after: The name behind which to begin.
        limit: Most of them; None for all. No more are read.
        read: Reads one.
    """
    views: list[View] = []
    last = key_prefix(after) if after else ""
    while True:
        room = LIST_LIMIT_MAX if limit is None else min(LIST_LIMIT_MAX, limit - len(views))
        page = await records.list(key_prefix(prefix), after=last, limit=room)
        views += map(read, page)
        if len(page) < room or len(views) == limit:
            return views
        last = page[-1].key
