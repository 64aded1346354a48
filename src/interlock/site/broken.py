"""What the audit log says of a grant that was broken because its holder was provably gone, and nobody was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.home.interface import Home
    from interlock.lock import Holder
    from interlock.recovery.breaker import Log

ACTION = "force-unlock"
_KEPT_CHARS = 1000  # of what was saved


def log_of(home: Home, address: str, *, is_own: bool) -> Log | None:
    """Return what writes such a break down; None where a server does, which has seen it.

    Args:
        home: Ours.
        address: Of the state.
        is_own: It is in the home's own store, or in that of the home's server.
    """
    if is_own and home.settings.server is not None:
        return None

    async def write(holder: Holder, reason: str, saved: str) -> None:
        facts: dict[str, str | int | list[str] | None] = {
            "lock_id": holder.lock_id or holder.ticket,
            "who": holder.who,
            "run": holder.run,
            "token": holder.token,
            "verdict": "gone",
            "reasons": [reason],
            "done": saved[:_KEPT_CHARS],
        }
        await home.audit.append(ACTION, subject=address, by=home.me, facts=facts)

    return write
