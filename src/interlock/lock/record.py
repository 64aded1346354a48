"""A lock as plain data with a schema version, and back.

Plain data means dicts, lists, strings, numbers, booleans, None and aware datetimes: the JSON hand spells instants (ISO
8601, UTC) three times faster than we could, and this is the hottest path. Reading takes them as text or as datetimes.
Fields that this release does not know are left out at its next write; a field that must survive raises the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from msgspec import to_builtins

from interlock.errors import BackendUnavailable, UsageError, reason_of
from interlock.lock.claim import WHOLE_STATE, Claim, claim_of
from interlock.lock.events import LEASE_S_MAX, check_run_id
from interlock.lock.invariants import assert_whole
from interlock.lock.lease import Holder, Lease
from interlock.lock.lock import Departure, Lock, Pause, Stage
from interlock.lock.spent import NOTHING_SPENT, Spent
from interlock.lock.ticket import NOBODY_SAID, Party, Priority, Waiter

SCHEMA = 1
"""Version of the data that `to_data` writes. Raise it when an older release must not write the record any more."""

_COUNT_MAX = 2**63 - 1  # what every JSON reader of ours can hold
_Fact = TypeVar("_Fact")
_PRIORITIES = {priority.name.lower(): priority for priority in Priority}
_SPELLED = {priority: name for name, priority in _PRIORITIES.items()}
_STAGES = {stage.value: stage for stage in Stage}


def to_data(lock: Lock) -> dict[str, Any]:
    """Return the lock as plain data."""
    return _data(lock, to_builtins(list(lock.departed), builtin_types=(datetime,)))


def to_json_data(lock: Lock) -> dict[str, Any]:
    """Return what msgspec writes as JSON as it writes `to_data`, with less work: it spells departures by itself."""
    return _data(lock, lock.departed)


def _data(lock: Lock, departed: object) -> dict[str, Any]:
    # `freeze` and `promoted` are the keys of every database so far: another key would lose the pauses in them.
    return {
        "schema": SCHEMA,
        "token": lock.token,
        "arrivals": lock.arrivals,
        "holders": [_holder_data(holder) for holder in lock.holders],
        "waiters": [_waiter_data(waiter) for waiter in lock.waiters],
        "freeze": _pause_data(lock.pause) if lock.pause else None,
        "departed": departed,
        "spent": {"newer": lock.spent.newer, "older": lock.spent.older, "since": lock.spent.since},
    }


def from_data(data: object) -> Lock:
    """Return the lock that `to_data` wrote, by this release or an earlier one.

    Raises:
        BackendUnavailable: The data is of a newer schema, or cannot be read.
        LockBroken: The lock breaks a promise.
    """
    if not isinstance(data, Mapping):
        raise _unreadable("it is not an object")
    schema = data.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise _unreadable("it names no schema version")
    if schema > SCHEMA:
        raise BackendUnavailable(
            "the lock record was written by a newer Interlock",
            why=f"its schema is {schema}, this release knows up to {SCHEMA}",
            fix="upgrade Interlock on this machine, then try again",
            schema=schema,
        )
    try:
        return assert_whole(_lock(data))
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise _unreadable(reason_of(error)) from error


def _lock(data: Mapping[str, Any]) -> Lock:
    pause = data["freeze"]
    return Lock(
        token=_whole_number(data["token"]),
        arrivals=_whole_number(data["arrivals"]),
        holders=_each(data["holders"], _holder),
        waiters=_each(data["waiters"], _waiter),
        pause=_pause(pause) if pause is not None else None,
        departed=_each(data["departed"], _departure),
        spent=_spent(data.get("spent")),
    )


def _party_data(party: Party) -> dict[str, Any]:
    return {
        "ticket": party.ticket,
        "run": party.run,
        "who": party.who,
        "info": party.info,
        "claim": _claim_data(party.claim),
        "priority": _SPELLED[party.priority],
        "lock_id": party.lock_id,
    }


def _holder_data(holder: Holder) -> dict[str, Any]:
    lease = holder.lease
    data = _party_data(holder)
    data["token"] = holder.token
    data["lease"] = {
        "lease_s": lease.lease_s,
        "granted_at": lease.granted_at,
        "renewed_at": lease.renewed_at,
        "beat": lease.beat,
    }
    data["attempts"] = list(holder.attempts)
    data["arrival"] = holder.arrival
    data["promoted"] = holder.bumped
    return data


def _waiter_data(waiter: Waiter) -> dict[str, Any]:
    data = _party_data(waiter)
    data["lease_s"] = waiter.lease_s
    data["patience_s"] = waiter.patience_s
    data["arrival"] = waiter.arrival
    data["turn"] = waiter.turn
    data["promoted"] = waiter.bumped
    data["joined_at"] = waiter.joined_at
    data["seen_at"] = waiter.seen_at
    data["doubted_at"] = waiter.doubted_at
    data["attempts"] = list(waiter.attempts)
    if waiter.held:  # most are not, and records of many waiters are written often
        data["held"] = waiter.held
    if waiter.through:
        data["through"] = waiter.through
    return data


def _claim_data(claim: Claim) -> dict[str, Any]:
    if claim.whole:
        return {"whole": True}
    return {"whole": False, "writes": sorted(claim.writes), "reads": sorted(claim.reads)}


def _pause_data(pause: Pause) -> dict[str, Any]:
    return {"reason": pause.reason, "by": pause.by, "since": pause.since}


def _party(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "ticket": _text(data["ticket"]),
        "run": check_run_id(_text(data["run"])),
        "who": _text(data["who"]),
        "info": _text(data["info"]),
        "claim": _claim(data["claim"]),
        "priority": _PRIORITIES[data["priority"]],
        "lock_id": _text_or_none(data["lock_id"]),
    }


def _holder(data: Mapping[str, Any]) -> Holder:
    lease = data["lease"]
    return Holder(
        **_party(data),
        token=_whole_number(data["token"]),
        lease=Lease(
            lease_s=_seconds(lease["lease_s"]),
            granted_at=_instant(lease["granted_at"]),
            renewed_at=_instant(lease["renewed_at"]),
            beat=_whole_number(lease["beat"]),
        ),
        attempts=_attempts(data),
        arrival=_whole_number(data.get("arrival", 0)),
        bumped=_whole_number(data.get("promoted", 0)),
    )


def _waiter(data: Mapping[str, Any]) -> Waiter:
    doubted_at = data["doubted_at"]
    return Waiter(
        **_party(data),
        lease_s=_seconds(data["lease_s"]),
        patience_s=_seconds(data["patience_s"]),
        arrival=_whole_number(data["arrival"]),
        turn=_whole_number(data["turn"]),
        bumped=_whole_number(data["promoted"]),
        joined_at=_instant(data["joined_at"]),
        seen_at=_instant(data["seen_at"]),
        doubted_at=_instant(doubted_at) if doubted_at is not None else None,
        attempts=_attempts(data),
        held=_text(data.get("held", "")),
        through=_text(data.get("through", "")),
    )


def _attempts(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the attempts; a release that knew of none wrote nothing, and nobody can call off what it granted."""
    attempts = data.get("attempts", [NOBODY_SAID])
    if not isinstance(attempts, list):
        raise TypeError(f"a list was expected, not {type(attempts).__name__}")
    return tuple(map(_text, attempts))


def _spent(data: Mapping[str, Any] | None) -> Spent:
    if data is None or data["since"] is None:
        return NOTHING_SPENT
    return Spent(newer=_text(data["newer"]), older=_text(data["older"]), since=_instant(data["since"]))


def _claim(data: Mapping[str, Any]) -> Claim:
    if data["whole"] is True:
        return WHOLE_STATE
    return claim_of(writes=map(_text, data["writes"]), reads=map(_text, data["reads"]))


def _pause(data: Mapping[str, Any]) -> Pause:
    return Pause(reason=_text(data["reason"]), by=_text(data["by"]), since=_instant(data["since"]))


def _departure(data: Mapping[str, Any]) -> Departure:
    return Departure(
        ticket=_text(data["ticket"]),
        lock_id=_text_or_none(data["lock_id"]),
        token=_whole_number(data["token"]),
        how=_STAGES[data["how"]],
        at=_instant(data["at"]),
        by=_text(data["by"]),
        reason=_text(data["reason"]),
    )


def _each(items: object, read: Callable[[Mapping[str, Any]], _Fact]) -> tuple[_Fact, ...]:
    if not isinstance(items, list):
        raise TypeError(f"a list was expected, not {type(items).__name__}")
    return tuple(map(read, items))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {type(value).__name__}")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _whole_number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _COUNT_MAX:
        raise TypeError(f"a whole number was expected, not {value!r:.40}")
    return value


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= LEASE_S_MAX:
        raise TypeError(f"seconds were expected, not {value!r:.40}")
    return float(value)


def _instant(value: object) -> datetime:
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    if instant.tzinfo is None:
        raise ValueError("an instant has no time zone")
    return instant.astimezone(UTC) if instant.tzinfo is not UTC else instant


def _unreadable(why: str) -> BackendUnavailable:
    return BackendUnavailable(
        "the lock record cannot be read",
        why=why,
        fix="interlock doctor; the record was left as it is",
    )
