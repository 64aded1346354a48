"""Who changed what: the audit log and its query API. Pure.

The query API is asynchronous in the vendor's way: POST a query, poll its state, read the results by cursor. Events can
be late (`AuditTerms.lag_s`). Field names follow the public SDKs; services and actions are ours where nothing is
documented.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from .answer import Json, Reply, bad_request, not_found
from .call import Call, Caller, query_number
from .chance import Chance
from .org import Change
from .routes import Route

MAX_EVENTS = 50_000
MAX_QUERIES = 1000
MAX_FILTERS = 20
MAX_RESULTS = 500
MAX_VALUE_LENGTH = 500

_HIDDEN = frozenset({"key", "names", "rows"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTerms:
    """How late an event is found by queries, in the organisation's own time."""

    lag_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    view: Json
    at: datetime
    found_from_s: float


class AuditLog:
    """Every write, as the audit API tells it.

    Args:
        terms: How late it is.
        chance: For ids.
    """

    def __init__(self, terms: AuditTerms, *, chance: Chance) -> None:
        self._terms = terms
        self._chance = chance
        self._events: deque[_Event] = deque(maxlen=MAX_EVENTS)
        self._queries: dict[str, list[_Event]] = {}

    def routes(self) -> list[Route]:
        """Return the routes of the query API."""
        view = ("audits:audit:view",)
        return [
            Route(method="POST", path="/audits/query", handler=self._query, permissions=view),
            Route(method="POST", path="/audits/query/realtime", handler=self._realtime, permissions=view),
            Route(method="GET", path="/audits/query/servicemapping", handler=self._services, permissions=view),
            Route(method="GET", path="/audits/query/{id}", handler=self._state, permissions=view),
            Route(method="GET", path="/audits/query/{id}/results", handler=self._results, permissions=view),
        ]

    def record(self, change: Change, caller: Caller | None) -> None:
        """Add an event; without a caller the organisation itself did it."""
        at = change.moment.at
        body = change.after or change.before or {}
        view = {
            "id": self._chance.uuid(),
            "user": {"id": caller.user_id or "" if caller else "", "name": caller.client_name if caller else "system"},
            "client": {"id": caller.client_id if caller else ""},
            "remoteIp": ["127.0.0.1"],
            "serviceName": change.kind.service,
            "level": "USER",
            "eventDate": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "action": change.action,
            "entity": {"id": change.id, "name": body.get("name", "")},
            "entityType": change.kind.entity,
            "status": "SUCCESS",
            "propertyChanges": _property_changes(change.before or {}, change.after or {}),
        }
        self._events.append(_Event(view=view, at=at, found_from_s=change.moment.elapsed_s + self._terms.lag_s))

    def _query(self, call: Call) -> Reply:
        found = self._matching(call)
        identifier = self._chance.uuid()
        if len(self._queries) >= MAX_QUERIES:
            self._queries.pop(next(iter(self._queries)))
        self._queries[identifier] = found
        return Reply(status=202, content={"id": identifier, "state": "Queued"})

    def _realtime(self, call: Call) -> Reply:
        found = [event.view for event in self._matching(call)][:MAX_RESULTS]
        return Reply(content={"entities": found, "pageSize": len(found), "pageNumber": 1, "total": len(found)})

    def _state(self, call: Call) -> Reply:
        self._found(call)
        return Reply(content={"id": call.params[0], "state": "Succeeded"})

    def _results(self, call: Call) -> Reply:
        found = self._found(call)
        start = query_number(call, "cursor", 0, least=0, most=MAX_EVENTS)
        size = query_number(call, "pageSize", 25, most=MAX_RESULTS)
        part = [event.view for event in found[start : start + size]]
        content: Json = {"id": call.params[0], "pageSize": size, "entities": part}
        if start + size < len(found):
            content["cursor"] = str(start + size)
        return Reply(content=content)

    def _services(self, _call: Call) -> Reply:
        services = sorted({(event.view["serviceName"], event.view["entityType"]) for event in self._events})
        names = dict.fromkeys(service for service, _ in services)
        listing = [
            {"name": name, "entities": [{"name": entity} for service, entity in services if service == name]}
            for name in names
        ]
        return Reply(content={"services": listing})

    def _found(self, call: Call) -> list[_Event]:
        found = self._queries.get(call.params[0])
        if found is None:
            raise not_found("audit query", call.params[0])
        return found

    def _matching(self, call: Call) -> list[_Event]:
        body = call.fields()
        since, until = _interval(body.get("interval"))
        filters = _filters(body)
        found = [
            event
            for event in self._events
            if since <= event.at < until
            and event.found_from_s <= call.moment.elapsed_s
            and all(_value(event.view, name) == value for name, value in filters)
        ]
        return found[::-1] if _is_descending(body) else found


def _interval(given: object) -> tuple[datetime, datetime]:
    try:
        since, until = str(given).split("/")
        return _instant(since), _instant(until)
    except ValueError as error:
        raise bad_request("interval must be two instants with a slash between", "invalid.interval") from error


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _filters(body: Json) -> list[tuple[str, str]]:
    given = body.get("filters") or []
    if not isinstance(given, list) or len(given) > MAX_FILTERS:
        raise bad_request(f"filters must be a list of at most {MAX_FILTERS}", "invalid.value")
    pairs = [(str(item.get("property")), str(item.get("value"))) for item in given if isinstance(item, dict)]
    service = body.get("serviceName")
    return [*pairs, ("ServiceName", str(service))] if service else pairs


def _value(view: Json, name: str) -> str:
    match name.casefold():
        case "servicename":
            return str(view["serviceName"])
        case "entityid":
            return str(view["entity"]["id"])
        case "entitytype":
            return str(view["entityType"])
        case "action":
            return str(view["action"])
        case "userid":
            return str(view["user"]["id"])
        case "clientid":
            return str(view["client"]["id"])
        case _:
            raise bad_request(f"The filter property '{name[:50]}' is not known", "invalid.value")


def _is_descending(body: Json) -> bool:
    order = body.get("sort")
    first = order[0] if isinstance(order, list) and order else {}
    return isinstance(first, dict) and str(first.get("sortOrder", "")).lower().startswith("desc")


def _property_changes(before: Json, after: Json) -> list[Json]:
    names = [name for name in {**before, **after} if name not in _HIDDEN and before.get(name) != after.get(name)]
    return [
        {"property": name, "oldValues": _spelled(before.get(name)), "newValues": _spelled(after.get(name))}
        for name in names
    ]


def _spelled(value: Any) -> list[str]:
    if value is None:
        return []
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return [text[:MAX_VALUE_LENGTH]]
