"""Hears that somebody at another machine wants a run to stop, which the run's server tells. A hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from interlock.clock import Clock
from interlock.errors import InterlockError

if TYPE_CHECKING:
    from interlock.api.runs import StopRequests

PAUSE_S: Final = 0.25
"""Seconds between two questions: a server that is about to end answers at once."""
RETRY_S: Final = 5.0
"""Seconds after a question that was not answered."""


class StopRecord(Protocol):
    """Where people ask; see `interlock.home.server_runs.ServerRuns`."""

    async def stop_requests(self, run: str, state: str, *, seen: int) -> StopRequests:
        """Return the requests beyond the first `seen` ones; waits some seconds while there are none."""
        ...


async def hear_stop_requests(
    record: StopRecord, *, run: str, state: str, wish: Callable[[str], None], clock: Clock
) -> None:
    """Pass on who wants the run to stop, each request once, until cancelled. Nothing of the run waits for it.

    Args:
        record: Where people ask.
        run: The run's id.
        state: Its state.
        wish: Told who wants it.
        clock: For the pauses.
    """
    seen = 0
    while True:
        try:
            asked = await record.stop_requests(run, state, seen=seen)
        except InterlockError:
            await clock.sleep(RETRY_S)
            continue
        for by in asked.by:
            wish(by)
        seen = asked.count
        await clock.sleep(PAUSE_S)
