"""The organisation's audit log: what to ask it, how its events read, and which of them tells who caused a finding.

One query without service or entity goes out and events are matched here: the vendor's entity filter wants a type, and
one object is audited under several. Source: the public SDKs' models (`AuditQueryRequest`, `AuditLogMessage`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.drift.finding import Cause, Kind

PATH = "/audits/query"
PAGE_SIZE = 500
"""The most that the API gives at once."""
MAX_PAGES = 20
"""So at most 10,000 events are read, newest first."""
MAX_DAYS = 30
"""Longest interval of one query."""
OVERLAP = timedelta(hours=1)
"""Before the last write of the state: that run read the organisation before it wrote, and clocks differ."""
CLOCKS = timedelta(minutes=2)
"""By how much the organisation's clock and ours may differ: a change so near a run is taken for that run's."""
_DELETES = frozenset({"delete", "remove"})
_CREATES = frozenset({"create", "add", "restore"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the log.

    Attributes:
        entity: Id of the object.
        properties: Names of what changed, in the API's spelling.
    """

    entity: str
    action: str
    at: datetime
    who: str
    user: str
    client: str
    properties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """The time in which one run could change the organisation.

    Attributes:
        run: Its id.
        begun: When it got the state, or was ordered.
        ended: When it ended; None while it goes on.
    """

    run: str
    begun: datetime
    ended: datetime | None


def place(cause: Cause, times: Sequence[UnderWay], *, known_since: datetime | None) -> Cause:
    """Return a cause with the run that was under way, or with the word that none was.

    Args:
        cause: What our own client did; another's is returned as it is.
        times: Of the runs that are known.
        known_since: Since when runs are known; None when none is, so that nothing can be said.
    """
    if not cause.ours or known_since is None or cause.at < known_since:
        return cause
    under_way = [each.run for each in times if _covers(each, cause.at)]
    return replace(cause, run=under_way[0]) if under_way else replace(cause, outside=True)


def _covers(time: UnderWay, at: datetime) -> bool:
    return time.begun - CLOCKS <= at and (time.ended is None or at <= time.ended + CLOCKS)


def interval(*, since: datetime | None, now: datetime, whole: bool) -> tuple[datetime, datetime, bool]:
    """Return the instants to ask about, and whether the beginning was cut.

    Args:
        since: When the state was last written; None when it never was.
        now: Aware UTC instant.
        whole: Ask as far back as one query can, because something is older than the state.
    """
    earliest = now - timedelta(days=MAX_DAYS)
    wanted = earliest if whole or since is None else since - OVERLAP
    return max(wanted, earliest), now + timedelta(minutes=5), wanted < earliest


def query(since: datetime, until: datetime) -> dict[str, Any]:
    """Return the body of the query, newest events first."""
    return {
        "interval": f"{_spell(since)}/{_spell(until)}",
        "sort": [{"name": "Timestamp", "sortOrder": "descending"}],
    }


def read_events(entities: object) -> list[Event]:
    """Read the entities of one page of results; what has no id or time is passed over."""
    rows = entities if isinstance(entities, list) else []
    return [event for row in rows if isinstance(row, dict) and (event := _event(row)) is not None]


def find_cause(
    events: Iterable[Event], *, obj: str, kind: Kind, roots: frozenset[str], our_client: str, since: datetime | None
) -> Cause | None:
    """Return who most likely caused a finding.

    An event that names a drifted attribute goes before one that does not, a stranger's before our own client's (a run
    writes objects too), a newer one before an older one.

    Args:
        events: In any order.
        obj: Id of the object.
        kind: What happened to it.
        roots: First parts of the drifted paths, as Terraform times them.
        our_client: Id of the OAuth client that Terraform uses.
        since: When the state was last written; older events cannot have caused drift. None for no bound.
    """
    earliest = None if since is None or kind is Kind.UNMANAGED else since - OVERLAP
    about = [e for e in events if e.entity == obj and (earliest is None or e.at >= earliest) and _fits(e, kind)]
    best = max(about, key=lambda e: (_touches(e, roots), e.client != our_client, e.at), default=None)
    return None if best is None else _cause(best, our_client)


def _fits(event: Event, kind: Kind) -> bool:
    word = event.action.casefold()
    match kind:
        case Kind.GONE:
            return word in _DELETES
        case Kind.UNMANAGED:
            return word in _CREATES
        case _:
            return word not in _DELETES


def _touches(event: Event, roots: frozenset[str]) -> bool:
    plain = {_plain(name) for name in event.properties}
    return any(one.startswith(other) or other.startswith(one) for one in plain for other in map(_plain, roots) if other)


def _plain(name: str) -> str:
    return name.replace("_", "").casefold()


def _cause(event: Event, our_client: str) -> Cause:
    return Cause(
        who=event.who or event.user or event.client,
        user=event.user,
        client=event.client,
        action=event.action,
        at=event.at,
        ours=bool(event.client) and event.client == our_client,
    )


def _event(row: Mapping[str, Any]) -> Event | None:
    entity, user, client = (_object(row, name) for name in ("entity", "user", "client"))
    at = _instant(row.get("eventDate"))
    if at is None or not _text(entity, "id"):
        return None
    changes = row.get("propertyChanges")
    return Event(
        entity=_text(entity, "id"),
        action=_text(row, "action"),
        at=at,
        who=_text(user, "name") or _text(user, "displayName") or _text(client, "name"),
        user=_text(user, "id"),
        client=_text(client, "id"),
        properties=tuple(_text(each, "property") for each in changes if isinstance(each, dict))
        if isinstance(changes, list)
        else (),
    )


def _object(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = row.get(name)
    return found if isinstance(found, dict) else {}


def _text(row: Mapping[str, Any], name: str) -> str:
    found = row.get(name)
    return found if isinstance(found, str) else ""


def _instant(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if found is None else found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)


def _spell(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
