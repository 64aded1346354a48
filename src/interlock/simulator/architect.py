"""Schedules, schedule groups, IVRs and data tables, with what keeps each from being deleted. Pure.

Source: docs/facts/genesys.md#genesys-30 and #genesys-36.
"""

from __future__ import annotations

import re

from .answer import ApiRefusal, Json, Reply, bad_request, conflict, not_found
from .call import MAX_LIST_ITEMS, Call, division, page, reference, references, shown, text
from .collection import Collection
from .org import Kind, Record, VersionForm
from .routes import Route

KINDS = (
    Kind(name="schedule", entity="Schedule", service="Architect", version=VersionForm.NUMBER),
    Kind(name="schedulegroup", entity="ScheduleGroup", service="Architect", version=VersionForm.NUMBER),
    Kind(name="ivr", entity="IVRConfig", service="Architect", version=VersionForm.NUMBER, limit=2000),
    Kind(name="datatable", entity="DataTable", service="Architect"),
)

MAX_COLUMNS = 50
MAX_ROWS = 5000

_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?")
_PHONE_NUMBER = re.compile(r"\+[1-9]\d{3,14}")
_COLUMN_TYPES = frozenset({"string", "integer", "number", "boolean"})
_ROLES = ("openSchedules", "closedSchedules", "holidaySchedules")
_FLOWS = ("openHoursFlow", "closedHoursFlow", "holidayHoursFlow")


def routes() -> list[Route]:
    """Return the routes of this module."""
    rows = "/flows/datatables/{id}/rows"
    row_edit = ("architect:datatableRow:edit", "architect:datatable:edit")
    return [
        *SCHEDULES.routes(),
        *SCHEDULE_GROUPS.routes(),
        *IVRS.routes(),
        *DATA_TABLES.routes(),
        Route(method="GET", path=rows, handler=_list_rows, permissions=("architect:datatable:view",)),
        Route(method="POST", path=rows, handler=_add_row, permissions=row_edit),
        Route(method="GET", path=rows + "/{key}", handler=_read_row, permissions=("architect:datatable:view",)),
        Route(method="PUT", path=rows + "/{key}", handler=_put_row, permissions=row_edit),
        Route(method="DELETE", path=rows + "/{key}", handler=_drop_row, permissions=row_edit),
    ]


def _build_schedule(call: Call, body: Json, current: Json | None) -> Json:
    return {
        "name": text(body, "name", required=True),
        "description": text(body, "description", limit=1000) or "",
        "division": division(call, body, current),
        "start": _local_time(body, "start"),
        "end": _local_time(body, "end"),
        "rrule": text(body, "rrule", limit=1000) or "",
        "state": "active",
    }


def _local_time(body: Json, name: str) -> str:
    value = text(body, name, required=True)
    if value is None or _LOCAL_TIME.fullmatch(value) is None:
        raise bad_request(f"The field '{name}' must be a local time such as 2006-01-02T15:04:05.000000", "invalid.date")
    return value


def _build_group(call: Call, body: Json, current: Json | None) -> Json:
    return {
        "name": text(body, "name", required=True),
        "description": text(body, "description", limit=1000) or "",
        "division": division(call, body, current),
        "timeZone": text(body, "timeZone") or "",
        **{role: references(call, body, role, "schedule") for role in _ROLES},
        "state": "active",
    }


def _build_ivr(call: Call, body: Json, current: Json | None) -> Json:
    numbers = body.get("dnis") or []
    if not isinstance(numbers, list) or len(numbers) > MAX_LIST_ITEMS:
        raise bad_request("dnis must be a list of phone numbers", "invalid.value")
    if any(not isinstance(number, str) or _PHONE_NUMBER.fullmatch(number) is None for number in numbers):
        raise bad_request("dnis must hold numbers such as +13175550100", "invalid.value")
    group = reference(call, body, "scheduleGroup", "schedulegroup")
    flows = {name: flow for name in _FLOWS if (flow := reference(call, body, name, "flow")) is not None}
    return {
        "name": text(body, "name", required=True),
        "description": text(body, "description", limit=1000) or "",
        "division": division(call, body, current),
        "dnis": numbers,
        **flows,
        **({"scheduleGroup": group} if group is not None else {}),
        "state": "active",
    }


def _build_table(call: Call, body: Json, current: Json | None) -> Json:
    return {
        "name": text(body, "name", required=True),
        "description": text(body, "description", limit=1000) or "",
        "division": division(call, body, current),
        "schema": _schema(body.get("schema")),
        "rows": current["rows"] if current else {},
    }


def _schema(given: object) -> Json:
    properties = given.get("properties") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(properties, dict) or "key" not in properties:
        raise bad_request("schema.properties must have a column 'key'", "invalid.schema")
    if len(properties) > MAX_COLUMNS:
        raise bad_request(f"A data table has at most {MAX_COLUMNS} columns", "invalid.schema")
    for name, column in properties.items():
        if not isinstance(column, dict) or column.get("type") not in _COLUMN_TYPES:
            raise bad_request(f"The column '{name[:100]}' needs a type", "invalid.schema")
    return given


def _guard_schedule(call: Call, record: Record) -> None:
    for group in call.org.living("schedulegroup"):
        if any(item["id"] == record.id for role in _ROLES for item in group.body[role]):
            raise conflict(f"The schedule is in use by the schedule group {group.body['name']} ({group.id})", "in.use")


def _guard_group(call: Call, record: Record) -> None:
    for ivr in call.org.living("ivr"):
        if ivr.body.get("scheduleGroup", {}).get("id") == record.id:
            raise conflict(f"The schedule group is in use by the IVR {ivr.body['name']} ({ivr.id})", "in.use")


def _guard_table(call: Call, record: Record) -> None:
    """With force a table goes even when rows or flows need it (docs/facts/genesys.md#genesys-9)."""
    if call.request.query.get("force", "").lower() != "true" and record.body["rows"]:
        raise ApiRefusal(409, "datatable.in.use", "The data table has rows; use force to delete it")


class _Tables(Collection):
    """Data tables answer with their schema only when asked, and never with their rows."""

    def create(self, call: Call) -> Reply:
        return _without_rows(super().create(call))

    def read(self, call: Call) -> Reply:
        reply = _without_rows(super().read(call))
        if "schema" not in (call.request.query.get("expand") or ""):
            reply.content.pop("schema")
        return reply

    def update(self, call: Call) -> Reply:
        return _without_rows(super().update(call))

    def list(self, call: Call) -> Reply:
        reply = super().list(call)
        for entity in reply.content["entities"]:
            entity.pop("rows")
        return reply


def _without_rows(reply: Reply) -> Reply:
    reply.content.pop("rows")
    return reply


def _list_rows(call: Call) -> Reply:
    body = call.get("datatable", call.params[0]).body
    return page(call, list(body["rows"].values()))


def _add_row(call: Call) -> Reply:
    row = call.fields()
    key = text(row, "key", required=True) or ""
    record = call.get("datatable", call.params[0])
    if key in record.body["rows"]:
        raise conflict(f"A row with the key {key} already exists", "row.exists")
    return _store_row(call, record, key, row)


def _read_row(call: Call) -> Reply:
    body = call.get("datatable", call.params[0]).body
    return Reply(content=_row(body, call.params[1]))


def _put_row(call: Call) -> Reply:
    record = call.get("datatable", call.params[0])
    _row(record.body, call.params[1])
    return _store_row(call, record, call.params[1], {**call.fields(), "key": call.params[1]})


def _drop_row(call: Call) -> Reply:
    record = call.get("datatable", call.params[0])
    _row(record.body, call.params[1])
    rows = {key: row for key, row in record.body["rows"].items() if key != call.params[1]}
    call.org.change(record, {**record.body, "rows": rows}, call.moment)
    return Reply(status=204)


def _store_row(call: Call, record: Record, key: str, row: Json) -> Reply:
    columns = record.body["schema"]["properties"]
    unknown = next((name for name in row if name not in columns), None)
    if unknown is not None:
        raise bad_request(
            f"The row names the column '{unknown[:100]}', which the data table does not have", "invalid.row"
        )
    if len(record.body["rows"]) >= MAX_ROWS:
        raise bad_request(f"A data table has at most {MAX_ROWS} rows", "limit.exceeded")
    call.org.change(record, {**record.body, "rows": {**record.body["rows"], key: row}}, call.moment)
    return Reply(content=row)


def _row(body: Json, key: str) -> Json:
    row: Json | None = body["rows"].get(key)
    if row is None:
        raise not_found("data table row", key)
    return row


def users_of_flow(call: Call, flow_id: str) -> list[tuple[Record, str]]:
    """Return what uses a flow, each with the vendor's object type."""
    ivrs = [
        (ivr, "IVRCONFIGURATION")
        for ivr in call.org.living("ivr")
        if any(ivr.body.get(name, {}).get("id") == flow_id for name in _FLOWS)
    ]
    queues = [
        (queue, "QUEUE") for queue in call.org.living("queue") if queue.body.get("queueFlow", {}).get("id") == flow_id
    ]
    return ivrs + queues


def described(record: Record) -> Json:
    """Return id, name and version of an object, as dependency tracking shows it."""
    return {"id": record.id, "name": record.body.get("name", ""), "version": str(shown(record, {}).get("version", 1))}


SCHEDULES = Collection(
    kind="schedule",
    path="/architect/schedules",
    build=_build_schedule,
    add="routing:schedule:add",
    view="routing:schedule:view",
    edit="routing:schedule:edit",
    delete="routing:schedule:delete",
    guard=_guard_schedule,
)
SCHEDULE_GROUPS = Collection(
    kind="schedulegroup",
    path="/architect/schedulegroups",
    build=_build_group,
    add="routing:scheduleGroup:add",
    view="routing:scheduleGroup:view",
    edit="routing:scheduleGroup:edit",
    delete="routing:scheduleGroup:delete",
    guard=_guard_group,
)
IVRS = Collection(
    kind="ivr",
    path="/architect/ivrs",
    build=_build_ivr,
    add="routing:callRoute:add",
    view="routing:callRoute:view",
    edit="routing:callRoute:edit",
    delete="routing:callRoute:delete",
)
DATA_TABLES = _Tables(
    kind="datatable",
    path="/flows/datatables",
    build=_build_table,
    add="architect:datatable:add",
    view="architect:datatable:view",
    edit="architect:datatable:edit",
    delete="architect:datatable:delete",
    guard=_guard_table,
)
