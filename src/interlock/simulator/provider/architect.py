"""Schedules, schedule groups, IVRs, data tables, flows and scripts. Source: docs/facts/genesys.md#genesys-30."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

from tf.types import Unknown

from .managed import Lookup, Managed, State
from .routing import division_body, known
from .sdk import ApiError, Sdk
from .shapes import FLAG, TEXT_MAP, Blocks, Texts, computed, defaulted, optional, required, settled

JOB_POLL_S = 15.0
JOB_LIMIT_S = 960.0

_CONFLICT = 409
_OK = 200
_ROLES = {
    "open_schedules_id": "openSchedules",
    "closed_schedules_id": "closedSchedules",
    "holiday_schedules_id": "holidaySchedules",
}
_FLOWS = {
    "open_hours_flow_id": "openHoursFlow",
    "closed_hours_flow_id": "closedHoursFlow",
    "holiday_hours_flow_id": "holidayHoursFlow",
}
_COLUMNS = Blocks("properties", required("name"), required("type"), optional("title"), optional("default"), least=1)


class _Versioned(Managed):
    """A type that is updated with GET, then PUT under the version read; deletions retry 409."""

    path = ""

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`."""
        return str(sdk.call("POST", self.path, self.body(wanted))["id"])

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`."""
        answer = sdk.call("GET", f"{self.path}/{identifier}")
        return None if answer.get("state") == "deleted" else {**_common(answer), **self.state(answer)}

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:  # noqa: ARG002 - see `Managed`
        """See `Managed`."""

        def attempt() -> None:
            version = sdk.call("GET", f"{self.path}/{identifier}").get("version")
            sdk.call("PUT", f"{self.path}/{identifier}", {**self.body(wanted), "version": version})

        self.retried(attempt, 404, 408, _CONFLICT)

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        self.retried(lambda: sdk.call("DELETE", f"{self.path}/{identifier}"), _CONFLICT)

    def body(self, wanted: State) -> dict[str, Any]:
        """Return the request body of a creation or an update."""
        raise NotImplementedError

    def state(self, answer: dict[str, Any]) -> State:
        """Return the attributes besides name, description and division."""
        raise NotImplementedError


class Schedule(_Versioned):
    """`genesyscloud_architect_schedules`."""

    kind = "architect_schedules"
    label = "schedule"
    path = "/architect/schedules"
    fields = (
        required("name"),
        settled("division_id"),
        optional("description"),
        required("start"),
        required("end"),
        optional("rrule"),
    )

    def body(self, wanted: State) -> dict[str, Any]:
        """See `_Versioned`."""
        times = {"start": wanted["start"], "end": wanted["end"], "rrule": wanted.get("rrule") or ""}
        return {**_common_body(wanted), **times}

    def state(self, answer: dict[str, Any]) -> State:
        """See `_Versioned`."""
        return {"start": answer["start"], "end": answer["end"], "rrule": answer.get("rrule")}


class ScheduleGroup(_Versioned):
    """`genesyscloud_architect_schedulegroups`."""

    kind = "architect_schedulegroups"
    label = "schedule group"
    path = "/architect/schedulegroups"
    fields = (
        required("name"),
        settled("division_id"),
        optional("description"),
        optional("time_zone"),
        required("open_schedules_id", Texts()),
        optional("closed_schedules_id", Texts()),
        optional("holiday_schedules_id", Texts()),
    )

    def body(self, wanted: State) -> dict[str, Any]:
        """See `_Versioned`."""
        roles = {field: _refs(wanted.get(name)) for name, field in _ROLES.items()}
        return {**_common_body(wanted), "timeZone": wanted.get("time_zone") or "", **roles}

    def state(self, answer: dict[str, Any]) -> State:
        """See `_Versioned`."""
        roles = {name: [item["id"] for item in answer.get(field) or []] for name, field in _ROLES.items()}
        return {"time_zone": answer.get("timeZone"), **roles}


class Ivr(_Versioned):
    """`genesyscloud_architect_ivr`."""

    kind = "architect_ivr"
    label = "IVR config"
    path = "/architect/ivrs"
    fields = (
        required("name"),
        settled("division_id"),
        optional("description"),
        optional("dnis", Texts()),
        *(optional(name) for name in _FLOWS),
        optional("schedule_group_id"),
    )

    def body(self, wanted: State) -> dict[str, Any]:
        """See `_Versioned`."""
        flows = {field: {"id": wanted[name]} for name, field in _FLOWS.items() if known(wanted.get(name))}
        group = known(wanted.get("schedule_group_id"))
        return {
            **_common_body(wanted),
            "dnis": known(wanted.get("dnis")) or [],
            **flows,
            **({"scheduleGroup": {"id": group}} if group else {}),
        }

    def state(self, answer: dict[str, Any]) -> State:
        """See `_Versioned`."""
        flows = {name: (answer.get(field) or {}).get("id") for name, field in _FLOWS.items()}
        group = (answer.get("scheduleGroup") or {}).get("id")
        return {"dnis": answer.get("dnis") or [], **flows, "schedule_group_id": group}


class DataTable(Managed):
    """`genesyscloud_architect_datatable`; deletion is forced."""

    kind = "architect_datatable"
    label = "data table"
    fields = (
        required("name"),
        settled("division_id"),
        optional("description"),
        _COLUMNS,
    )

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`."""
        return str(sdk.call("POST", "/flows/datatables", _table(wanted))["id"])

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`."""
        answer = sdk.call("GET", f"/flows/datatables/{identifier}", query={"expand": "schema"})
        columns = sorted(answer["schema"]["properties"].items(), key=lambda item: item[1].get("displayOrder", 0))
        return {**_common(answer), "properties": [_column_state(name, column) for name, column in columns]}

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:  # noqa: ARG002 - see `Managed`
        """See `Managed`."""
        sdk.call("PUT", f"/flows/datatables/{identifier}", _table(wanted))

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        sdk.call("DELETE", f"/flows/datatables/{identifier}", query={"force": "true"})


class DataTableRow(Managed):
    """`genesyscloud_architect_datatable_row`; its id is that of the table and its key."""

    kind = "architect_datatable_row"
    label = "data table row"
    fields = (
        required("datatable_id", replaces=True),
        required("key_value", replaces=True),
        settled("properties_json"),
    )

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`."""
        sdk.call("POST", _rows(wanted["datatable_id"]), _row(wanted))
        return f"{wanted['datatable_id']}/{wanted['key_value']}"

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`."""
        table, _, key = identifier.partition("/")
        answer = sdk.call("GET", f"{_rows(table)}/{key}", query={"showbrief": "false"})
        properties = {name: value for name, value in answer.items() if name != "key"}
        return {"datatable_id": table, "key_value": key, "properties_json": json.dumps(properties, sort_keys=True)}

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:  # noqa: ARG002 - see `Managed`
        """See `Managed`."""
        table, _, key = identifier.partition("/")
        sdk.call("PUT", f"{_rows(table)}/{key}", _row(wanted))

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        table, _, key = identifier.partition("/")
        sdk.call("DELETE", f"{_rows(table)}/{key}")

    def _mismatch(self, wanted: State, fresh: State) -> str:
        """Compare the JSON of a row by what it means."""
        return "" if _row(wanted) == _row(fresh) else "properties_json"

    def _complete(self, known_state: State, fresh: State, identifier: str) -> State:
        """Keep the JSON as it was written while it means the same."""
        written = known_state.get("properties_json")
        same = isinstance(written, str) and _row({**fresh, "properties_json": written}) == _row(fresh)
        return super()._complete(known_state, {**fresh, "properties_json": written} if same else fresh, identifier)


def _rows(table: Any) -> str:
    return f"/flows/datatables/{table}/rows"


def _row(wanted: State) -> dict[str, Any]:
    properties = known(wanted.get("properties_json")) or "{}"
    return {**json.loads(properties), "key": wanted["key_value"]}


class Flow(Managed):
    """`genesyscloud_flow`: its content is a file; a flow edited elsewhere shows no difference."""

    kind = "flow"
    label = "flow"
    fields = (
        required("filepath"),
        computed("file_content_hash"),
        optional("update_trigger_hash"),
        optional("substitutions", TEXT_MAP),
        defaulted("force_unlock", FLAG, default=False),
        settled("name"),
        settled("type"),
    )

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`: creation and update are the same, the id comes from the flow named in the file."""
        job = sdk.call("POST", "/flows/jobs")
        content = _substituted(wanted)
        response = sdk.upload(job["presignedUrl"], content, job["headers"])
        if response.status != _OK:
            raise ApiError(f"failed to upload the flow: status {response.status}", method="PUT", path="")
        return self._await(sdk, str(job["id"]))

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`: only name and type are read."""
        answer = sdk.call("GET", f"/flows/{identifier}", query={"deleted": "false"})
        return {"name": answer["name"], "type": answer["type"]}

    def plan(self, ctx: Any, current: State, planned: State) -> State:
        """See `Managed`: a file of another content is a change."""
        planned = super().plan(ctx, current, planned)
        digest = _hash_of(planned)
        if digest and digest != current.get("file_content_hash"):
            planned["file_content_hash"] = Unknown
        return planned

    def update(self, ctx: Any, current: State, planned: State) -> State | None:
        """See `Managed`; the hash is the local file's."""
        return _with_hash(super().update(ctx, current, planned))

    def create(self, ctx: Any, planned: State) -> State | None:
        """See `Managed`; the hash is the local file's."""
        return _with_hash(super().create(ctx, planned))

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:  # noqa: ARG002 - see `Managed`
        """See `Managed`."""
        if wanted["force_unlock"]:
            sdk.call("POST", "/flows/actions/unlock", query={"flow": identifier})
        self.make(sdk, wanted)

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        self.retried(lambda: sdk.call("DELETE", f"/flows/{identifier}"), _CONFLICT)

    def _await(self, sdk: Sdk, job: str) -> str:
        for _ in range(int(JOB_LIMIT_S / JOB_POLL_S)):
            answer = sdk.call("GET", f"/flows/jobs/{job}", query={"expand": "messages"})
            if answer["status"] == "Success":
                return str(answer["flow"]["id"])
            if answer["status"] == "Failure":
                texts = "; ".join(message["text"] for message in answer.get("messages") or [])
                raise ApiError(f"flow publish failed. JobID: {job}, tracing messages: {texts}", method="GET", path="")
            self.session.pace.wait(JOB_POLL_S)
        raise ApiError(f"flow publish timed out. JobID: {job}", method="GET", path="")


class Script(Managed):
    """`genesyscloud_script`, uploaded past the gateway."""

    kind = "script"
    label = "script"
    fields = (
        required("script_name"),
        required("filepath"),
        settled("file_content_hash"),
        optional("substitutions", TEXT_MAP),
        settled("division_id"),
    )

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`."""
        name = str(wanted["script_name"])
        body, kind = _form(name, _substituted(wanted))
        headers = {"Authorization": f"Bearer {sdk.token}", "Content-Type": kind}
        response = sdk.upload(f"{_apps_host(sdk)}/uploads/v2/scripter", body, headers, "POST")
        if response.status != _OK:
            raise ApiError(f"failed to upload script: status {response.status}", method="POST", path="")
        found = sdk.call("GET", "/scripts", query={"name": name, "pageSize": "50", "pageNumber": "1"})["entities"]
        if not found:
            raise ApiError(f"no script found with name {name}", method="GET", path="")
        sdk.call("POST", "/scripts/published", {"scriptId": found[0]["id"]})
        return str(found[0]["id"])

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`."""
        answer = sdk.call("GET", f"/scripts/{identifier}")
        return {"script_name": answer["name"], "division_id": answer["division"]["id"]}

    def create(self, ctx: Any, planned: State) -> State | None:
        """See `Managed`; the hash is the local file's when it was not given."""
        return _with_hash(super().create(ctx, planned))

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:  # noqa: ARG002 - see `Managed`
        """See `Managed`."""
        self.make(sdk, wanted)

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        sdk.call("DELETE", f"/scripts/{identifier}")


class ScheduleLookup(Lookup):
    """`data.genesyscloud_architect_schedules`."""

    kind = "architect_schedules"
    label = "schedule"
    path = "/architect/schedules"


class ScheduleGroupLookup(Lookup):
    """`data.genesyscloud_architect_schedulegroups`."""

    kind = "architect_schedulegroups"
    label = "schedule group"
    path = "/architect/schedulegroups"


class IvrLookup(Lookup):
    """`data.genesyscloud_architect_ivr`."""

    kind = "architect_ivr"
    label = "IVR config"
    path = "/architect/ivrs"


class DataTableLookup(Lookup):
    """`data.genesyscloud_architect_datatable`."""

    kind = "architect_datatable"
    label = "data table"
    path = "/flows/datatables"


class FlowLookup(Lookup):
    """`data.genesyscloud_flow`."""

    kind = "flow"
    label = "flow"
    path = "/flows"
    narrowing = ("type",)


class ScriptLookup(Lookup):
    """`data.genesyscloud_script`."""

    kind = "script"
    label = "script"
    path = "/scripts"


def _common(answer: dict[str, Any]) -> State:
    return {
        "name": answer["name"],
        "division_id": answer["division"]["id"],
        "description": answer.get("description"),
    }


def _common_body(wanted: State) -> dict[str, Any]:
    return {"name": wanted["name"], "description": wanted.get("description") or "", **division_body(wanted)}


def _refs(identifiers: Any) -> list[dict[str, str]]:
    return [{"id": identifier} for identifier in known(identifiers) or []]


def _table(wanted: State) -> dict[str, Any]:
    columns = {column["name"]: _column(column, order) for order, column in enumerate(wanted["properties"])}
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "required": ["key"],
        "properties": columns,
        "additionalProperties": False,
    }
    return {**_common_body(wanted), "schema": schema}


def _column(column: State, order: int) -> dict[str, Any]:
    name = column["name"]
    body = {"$id": f"/properties/{name}", "type": column["type"], "title": column.get("title") or name}
    default = column.get("default")
    return {**body, "displayOrder": order, **({} if default is None else {"default": default})}


def _column_state(name: str, column: dict[str, Any]) -> State:
    title = column.get("title")
    return {
        "name": name,
        "type": column["type"],
        "title": None if title == name else title,
        "default": column.get("default"),
    }


def _substituted(wanted: State) -> bytes:
    """Return the file with every `{{name}}` replaced as text."""
    try:
        content = Path(str(wanted["filepath"])).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ApiError(f"cannot read {wanted['filepath']}: {error}", method="", path="") from error
    for name, value in (known(wanted.get("substitutions")) or {}).items():
        content = content.replace("{{" + name + "}}", str(value))
    return content.encode()


def _with_hash(state: State | None) -> State | None:
    if state is None or state.get("file_content_hash"):
        return state
    return {**state, "file_content_hash": _hash_of(state)}


def _hash_of(state: State) -> str:
    """Return the hash of the local file, empty when it cannot be read."""
    try:
        return hashlib.sha256(Path(str(state["filepath"])).read_bytes()).hexdigest()
    except OSError:
        return ""


def _form(name: str, content: bytes) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex  # noqa: TID251 - a plugin process of its own
    parts = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="scriptName"\r\n\r\n{name}\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="script.json"\r\n\r\n'.encode(),
        content,
        f"\r\n--{boundary}--\r\n".encode(),
    )
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _apps_host(sdk: Sdk) -> str:
    """Return the uploads' host: where the API is, without the gateway's prefix.

    The real provider takes apps.<domain> of the region and ignores the gateway; there is no such host here unless
    INTERLOCK_SIMULATOR_APPS names one.
    """
    import os

    given = os.environ.get("INTERLOCK_SIMULATOR_APPS")
    return given or f"{sdk.upstream.api.scheme}://{sdk.upstream.api.authority}"
