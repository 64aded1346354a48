"""Queues as values, and as people see them. Knows neither command lines nor event loops, which take most of a start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.cli import view
from interlock.errors import command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from interlock.lock import Lock
    from interlock.operate.queue_seen import Queue

_TROUBLES = 5  # states that could not be asked and are named one by one


def show_queues(found: Sequence[Queue], now: datetime, *, json: bool) -> None:
    """Print queues."""
    rows = [queue_values(each) for each in found]
    view.emit({"states": rows}, json=json, human=lambda: _show(rows, now))


def queue_values(found: Queue) -> dict[str, Any]:
    """Return one state's queue as plain values. One that could not be seen has its `trouble` in the place of a lock."""
    values: dict[str, Any] = {"state": found.state}
    if found.address:
        values["address"] = found.address
    if found.view is None:
        return {**values, "trouble": found.trouble, "holders": [], "waiters": [], "paused": None}
    return {**values, **lock_values(found.view.lock)}


def lock_values(lock: Lock) -> dict[str, Any]:
    """Return holders, waiters and pause as plain values."""
    from interlock.lock import in_front_of

    waiters = sorted(lock.waiters, key=lambda waiter: len(in_front_of(lock, waiter)))
    return {
        "token": lock.token,
        "holders": [
            {
                "ticket": holder.ticket,
                "run": holder.run,
                "who": holder.who,
                "info": holder.info,
                "token": holder.token,
                "lock_id": holder.lock_id,
                "since": holder.lease.granted_at,
                "renewed_at": holder.lease.renewed_at,
                "lapses_at": holder.lease.lapses_at(),
            }
            for holder in lock.holders
        ],
        "waiters": [
            {
                "position": number,
                "ticket": waiter.ticket,
                "run": waiter.run,
                "who": waiter.who,
                "info": waiter.info,
                "class": waiter.priority.name.lower(),
                "since": waiter.joined_at,
                "bumped": waiter.bumped > 0,
                "held": waiter.held or None,
            }
            for number, waiter in enumerate(waiters, 1)
        ],
        "paused": None
        if lock.pause is None
        else {"reason": lock.pause.reason, "by": lock.pause.by, "since": lock.pause.since},
    }


def _show(rows: list[dict[str, Any]], now: datetime) -> None:
    lines = [line for row in rows for line in _lines(row, now)]
    view.table(("STATE", "PLACE", "RUN", "WHO", "WHAT", "FOR"), lines, empty="no state is locked and nobody is waiting")
    tell_unseen(rows)
    for row in rows:
        for waiter in row["waiters"]:
            if waiter["held"]:
                who = view.plain(waiter["run"] or waiter["ticket"])
                view.note(f"{who} does not want its turn yet: {waiter['held']}")
        if row["paused"]:
            view.note(f"{row['state']} is paused by {row['paused']['by']}: {row['paused']['reason']}")


def tell_unseen(rows: list[dict[str, Any]]) -> None:
    """Say of which states elsewhere nothing was seen; a machine whose checkouts come and go knows many of them."""
    unseen = [row for row in rows if row.get("trouble")]
    for row in unseen[:_TROUBLES]:
        view.note(f"{row['state']} could not be asked: {row['trouble']}")
    if len(unseen) > _TROUBLES:
        view.note(f"{len(unseen) - _TROUBLES} more could not be asked; to see them: {command('queue', 'ls', '--json')}")


def _lines(row: dict[str, Any], now: datetime) -> list[tuple[str, ...]]:
    parties = [("holds", party) for party in row["holders"]]
    parties += [(f"{'*' if party['bumped'] else ''}{party['position']}", party) for party in row["waiters"]]
    return [
        (
            row["state"],
            place,
            view.plain(party["run"] or party["ticket"]),
            party["who"],
            party["info"],
            view.duration(max((now - party["since"]).total_seconds(), 0.0)),
        )
        for place, party in parties
    ]
