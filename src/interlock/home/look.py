"""One look at the queues of a home without an event loop. A hand.

For `queue ls` when all states are our own, and for a run that may begin at once.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

from interlock.clock import Clock
from interlock.coordinator.names import key_of
from interlock.coordinator.record import decode
from interlock.errors import InterlockError
from interlock.settings.values import Settings
from interlock.store.sqlite_look import look_at

if TYPE_CHECKING:
    from interlock.coordinator.view import View
    from interlock.home.known import KnownState
    from interlock.store.records import RecordStore

_T = TypeVar("_T")


def look_at_queues(settings: Settings, clock: Clock) -> tuple[list[View], list[KnownState]]:
    """Return the states whose queues are kept here, and all that are known, of which some may be elsewhere.

    Raises:
        InterlockError: The database cannot be read as it is; `open_home` mends what can be mended.
    """
    from interlock.coordinator.listing import list_views
    from interlock.home.known import KnownStates

    if not settings.database.exists():
        return [], []
    with look_at(settings.database, clock=clock) as looked:
        records = cast("RecordStore", looked)  # nothing else of one is asked for
        return _done(list_views(records)), _done(KnownStates(records).all())


def is_free(settings: Settings, state: str, clock: Clock) -> bool:
    """Say whether a state is kept here that nobody holds or waits for; False where that cannot be told."""
    if not settings.database.exists():
        return False
    try:
        with look_at(settings.database, clock=clock) as looked:
            found = _done(looked.list(key_of(state), limit=1))
            lock = decode(found[0].value).lock if found and found[0].key == key_of(state) else None
    except InterlockError:
        return False  # the run itself meets it too, and tells it
    return lock is not None and not (lock.holders or lock.waiters or lock.pause)


def _done(answer: Coroutine[Any, Any, _T]) -> _T:
    """Return what a coroutine returns that never waits."""
    try:
        answer.send(None)
    except StopIteration as returned:
        return cast("_T", returned.value)
    answer.close()
    raise AssertionError("a look that waits")
