"""What the audit log says of a grant that is broken because its holder is provably gone, and nobody was asked."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from interlock.audit.announcing import announcing
from interlock.site.act_entries import BREAK_DECIDED, BREAK_DONE, broken_facts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from interlock.home.interface import Home
    from interlock.lock import Holder
    from interlock.recovery.breaker import Log

_KEPT_CHARS = 1000  # of what was saved


def log_of(home: Home, address: str, *, is_own: bool) -> Log | None:
    """Return what writes such a break down; None where a server does, which sees it.

    Args:
        home: Ours.
        address: Of the state.
        is_own: It is in the home's own store, or in that of the home's server.
    """
    if is_own and home.settings.server is not None:
        return None

    @asynccontextmanager
    async def written(holder: Holder, reason: str, saved: str) -> AsyncIterator[None]:
        facts = {**broken_facts(holder, reason), "verdict": "gone"}
        async with announcing(home.audit, by=home.me) as announce:
            await announce(BREAK_DECIDED, subject=address, facts=facts)
            yield
        facts["done"] = saved[:_KEPT_CHARS]
        await home.audit.append(BREAK_DONE, subject=address, by=home.me, facts=facts)

    return written
