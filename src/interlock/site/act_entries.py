"""What the audit log is told of an act on a state, before it is done: the same here and at a server. A hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.lock import Paused, Resumed, changes_pause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.audit.entry import Fact
    from interlock.coordinator import Coordinator
    from interlock.home.interface import Home
    from interlock.lock import Event, Holder, Lock
    from interlock.state.history import Quarantined, Version

BREAK_DECIDED: Final = "force-unlock-decided"
BREAK_DONE: Final = "force-unlock"
QUEUE_PAUSED: Final = "queue-paused"
QUEUE_RESUMED: Final = "queue-resumed"
VERSIONS_PRUNED: Final = "versions-pruned"
QUARANTINE_DISCARDED: Final = "quarantine-discarded"
STATE_REPAIRED: Final = "state-repaired"
CHAIN_REPAIRED: Final[dict[str, Fact]] = {"record": "chain"}

_NAMED: Final = 200  # versions in one entry


def pruned_facts(versions: Sequence[Version]) -> dict[str, Fact]:
    """Return what is said of versions whose bytes are deleted."""
    return {"versions": [str(each.number) for each in versions][:_NAMED]}


def discarded_facts(entry: Quarantined) -> dict[str, Fact]:
    """Return what is said of a refused write that is forgotten."""
    said: dict[str, Fact] = {"id": entry.id, "why": entry.why, "who": entry.who, "run": entry.run}
    return {**said, "token": entry.token, "serial": entry.serial, "sha256": entry.digest}


def repaired_facts(record: str, version: Version) -> dict[str, Fact]:
    """Return what is said of a damaged record that names a version again."""
    return {"record": record, "version": version.number, "serial": version.serial}


def broken_facts(holder: Holder, reason: str) -> dict[str, Fact]:
    """Return what is said of a grant that somebody else ends; `reason` is empty where nobody gave one."""
    said: dict[str, Fact] = {"lock_id": holder.lock_id or holder.ticket, "who": holder.who, "run": holder.run}
    return {**said, "token": holder.token, "reasons": [reason] if reason else []}


def pause_entry(lock: Lock, event: Event) -> tuple[str, dict[str, Fact]] | None:
    """Return the action and the facts of an event that pauses or resumes a queue; None where it changes nothing."""
    match event:
        case Paused() if changes_pause(lock, event):
            return QUEUE_PAUSED, {"reason": event.reason}
        case Resumed() if changes_pause(lock, event):
            return QUEUE_RESUMED, {"reason": lock.pause.reason if lock.pause else ""}
        case _:
            return None


async def change_pause(queue: Coordinator, state: str, event: Paused | Resumed, *, home: Home, subject: str) -> None:
    """Pause or resume a queue, with its entry in the audit log before that; no entry where it changes nothing.

    Args:
        queue: The state's; one at a server writes the entry itself.
        state: Name of the queue.
        event: What is to be done.
        home: Where decisions are written down.
        subject: The state's address.
    """
    if not (home.approvals.writes_down and queue in (home.coordinator, home.beside)):
        entry = pause_entry((await queue.view(state)).lock, event)
        if entry is not None:
            action, facts = entry
            await home.audit.announce(action, subject=subject, by=home.me, facts=facts)
    if isinstance(event, Resumed):
        await queue.resume(state, by=event.by, reason=event.reason, while_held=event.while_held)
    else:
        mark, ticket = event.instead_of, event.while_held
        await queue.pause(state, by=event.by, reason=event.reason, instead_of=mark, while_held=ticket)
