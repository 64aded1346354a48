"""Workbins, worktypes with their statuses, and schemas of workitems. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from interlock.simulator.answer import Json, Moment, Reply, bad_request, conflict
from interlock.simulator.call import Call
from interlock.simulator.collection import Declared
from interlock.simulator.field import (
    DIVISION,
    FLAG,
    LIST,
    NAME,
    OBJECT,
    TEXT,
    WHOLE,
    Field,
    choice,
    fields,
    given,
    needed,
    once,
    usual,
)
from interlock.simulator.org import Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import KEY, PARENT, Row, Versioning, children, key_of
from interlock.simulator.search import queried

# What a worktype is sent as a plain id, the name under which it is answered, and our kind.
_NAMED = {
    "defaultWorkbinId": ("defaultWorkbin", "workbin"),
    "defaultQueueId": ("defaultQueue", "queue"),
    "defaultLanguageId": ("defaultLanguage", "language"),
    "defaultScriptId": ("defaultScript", "script"),
    "schemaId": ("schema", "workitemschema"),
    "defaultStatusId": ("defaultStatus", "workitemstatus"),
}


def _worktype_shape(call: Call, body: Json, _current: Json | None) -> Json:
    named = [(kind, body.get(name)) for name, (_, kind) in _NAMED.items()]
    named += [("skill", skill) for skill in body.get("defaultSkillIds") or []]
    for kind, identifier in named:
        if identifier and (not isinstance(identifier, str) or call.org.find(kind, identifier) is None):
            raise bad_request(f"The worktype names a {kind} that does not exist", "invalid.reference")
    return body


def _worktype_view(call: Call, record: Record, view: Json) -> Json:
    shown_type = {name: value for name, value in view.items() if name not in _NAMED and name != "defaultSkillIds"}
    for name, (answered, _) in _NAMED.items():
        if record.body.get(name):
            shown_type[answered] = {"id": record.body[name]}
    if "schema" in shown_type:
        shown_type["schema"]["version"] = record.body.get("schemaVersion", 1)
    shown_type["defaultSkills"] = [{"id": skill} for skill in record.body.get("defaultSkillIds") or []]
    statuses = children(call.org, "workitemstatus", record.id)
    shown_type["statuses"] = [_status_view(call, status, {"id": status.id, **_visible(status)}) for status in statuses]
    return shown_type


def _visible(record: Record) -> Json:
    return {name: value for name, value in record.body.items() if not name.startswith("_")}


def _status_view(_call: Call, record: Record, view: Json) -> Json:
    shown_status = {
        name: value
        for name, value in view.items()
        if name not in {"destinationStatusIds", "defaultDestinationStatusId"}
    }
    shown_status["destinationStatuses"] = [{"id": each} for each in record.body.get("destinationStatusIds") or []]
    if record.body.get("defaultDestinationStatusId"):
        shown_status["defaultDestinationStatus"] = {"id": record.body["defaultDestinationStatusId"]}
    shown_status["worktype"] = {"id": record.body[PARENT]}
    return shown_status


def _guard_workbin(call: Call, record: Record) -> None:
    for worktype in call.org.living("worktype"):
        if worktype.body.get("defaultWorkbinId") == record.id:
            raise conflict(f"The workbin is in use by the worktype {worktype.body['name']} ({worktype.id})", "in.use")


def _guard_status(call: Call, record: Record) -> None:
    worktype = call.org.get("worktype", record.body[PARENT])
    if worktype.body.get("defaultStatusId") == record.id:
        raise bad_request("The default status of a worktype may not be deleted", "default.status")


WORKBINS = Row(
    kind="workbin",
    entity="Workbin",
    service="TaskManagement",
    path="/taskmanagement/workbins",
    permission="workitems:workbin",
    operations="CRUD",
    fields={"name": NAME, "description": TEXT, "division": DIVISION},
    updates=("PATCH",),
    guard=_guard_workbin,
)
_SECONDS = "defaultDurationSeconds defaultExpirationSeconds defaultDueDurationSeconds defaultTtlSeconds"
WORKTYPES = Row(
    kind="worktype",
    entity="Worktype",
    service="TaskManagement",
    path="/taskmanagement/worktypes",
    permission="workitems:worktype",
    operations="RUD",
    fields={
        "name": NAME,
        "description": TEXT,
        "division": DIVISION,
        **fields(TEXT, "defaultQueueId defaultLanguageId defaultScriptId schemaId defaultStatusId"),
        "defaultWorkbinId": NAME,
        **fields(WHOLE, _SECONDS + " schemaVersion serviceLevelTarget"),
        "defaultPriority": usual(WHOLE, 0),
        "defaultSkillIds": LIST,
        "assignmentEnabled": usual(FLAG, False),
        "ruleSettings": OBJECT,
    },
    updates=("PATCH",),
    shape=_worktype_shape,
    view=_worktype_view,
)
_STATUS: dict[str, Field] = {
    "name": NAME,
    "category": once(choice("Open", "InProgress", "Waiting", "Closed")),
    "destinationStatusIds": LIST,
    "description": TEXT,
    **fields(TEXT, "defaultDestinationStatusId statusTransitionTime"),
    "statusTransitionDelaySeconds": WHOLE,
    "autoTerminateWorkitem": usual(FLAG, False),
}
STATUSES = Row(
    kind="workitemstatus",
    entity="WorkitemStatus",
    service="TaskManagement",
    path="/taskmanagement/worktypes/{worktype}/statuses",
    permission="workitems:worktype",
    fields=_STATUS,
    updates=("PATCH",),
    parent="worktype",
    stamps=("", ""),
    view=_status_view,
    guard=_guard_status,
)
SCHEMAS = Row(
    kind="workitemschema",
    entity="WorkitemSchema",
    service="TaskManagement",
    path="/taskmanagement/workitems/schemas",
    permission="workitems:schema",
    verbs=("manage", "view", "manage", "manage"),
    fields={
        "name": NAME,
        "jsonSchema": needed(OBJECT),
        "enabled": usual(FLAG, True),
        "appliesTo": given(["WORKITEM"]),
    },
    versioning=Versioning.NEEDED,
)
KINDS: tuple[Kind, ...] = ()
ROWS = (WORKBINS, WORKTYPES, STATUSES, SCHEMAS)


def routes(engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of queries, and of creating a worktype with its first statuses."""
    worktypes = _Worktypes(engines["worktype"])
    view, add = ("workitems:worktype:view",), ("workitems:worktype:add",)
    return [
        Route(
            method="POST",
            path="/taskmanagement/workbins/query",
            handler=_query(engines["workbin"]),
            permissions=("workitems:workbin:view",),
        ),
        Route(
            method="POST",
            path="/taskmanagement/worktypes/query",
            handler=_query(engines["worktype"]),
            permissions=view,
        ),
        Route(method="POST", path="/taskmanagement/worktypes", handler=worktypes.create, permissions=add),
    ]


def found(_org: Organisation, _moment: Moment) -> None:
    """Do nothing: no organisation is born with any of these."""


def _query(engine: Declared) -> Callable[[Call], Reply]:
    def query(call: Call) -> Reply:
        return queried(call, [engine.shown(call, record, body) for record, body in call.listed(engine.row.kind)])

    return query


class _Worktypes:
    """A worktype is born with an open and a closed status unless the request says otherwise."""

    def __init__(self, engine: Declared) -> None:
        self._engine = engine

    def create(self, call: Call) -> Reply:
        given_body = call.fields()
        made = self._engine.made(call, given_body)
        record = call.org.get("worktype", made["id"])
        if given_body.get("disableDefaultStatusCreation") is not True:
            first = self._add_status(call, record, "Open Status", "Open")
            self._add_status(call, record, "Closed Status", "Closed")
            record = call.org.change(record, {**record.body, "defaultStatusId": first.id}, call.moment)
        return Reply(content=self._engine.shown(call, record, record.body))

    def _add_status(self, call: Call, worktype: Record, name: str, category: str) -> Record:
        body: Json = {"name": name, "category": category, "autoTerminateWorkitem": False, PARENT: worktype.id}
        body[KEY] = key_of(STATUSES, worktype.id, body)
        return call.org.add("workitemstatus", body, call.moment)
