"""One look at the queues of a home without an event loop: what `queue ls` shows when all states are our own. A hand."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from interlock.clock import Clock
from interlock.coordinator.listing import list_views
from interlock.coordinator.view import View
from interlock.home.known import KnownState, KnownStates
from interlock.settings.values import Settings
from interlock.store.records import RecordStore
from interlock.store.sqlite_look import look_at

_T = TypeVar("_T")


def look_at_queues(settings: Settings, clock: Clock) -> tuple[list[View], list[KnownState]]:
    """Return the states whose queues are kept here, and all that are known, of which some may be elsewhere.

    Raises:
        InterlockError: The database cannot be read as it is; `open_home` mends what can be mended.
    """
    if not settings.database.exists():
        return [], []
    with look_at(settings.database, clock=clock) as looked:
        records = cast("RecordStore", looked)  # nothing else of one is asked for
        return _done(list_views(records)), _done(KnownStates(records).all())


def _done(answer: Coroutine[Any, Any, _T]) -> _T:
    """Return what a coroutine returns that never waits."""
    try:
        answer.send(None)
    except StopIteration as returned:
        return cast("_T", returned.value)
    answer.close()
    raise AssertionError("a look that waits")
