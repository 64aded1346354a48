"""Integrations with their configuration, credentials and data actions. Pure.

Which properties an integration of a type takes is not checked: the vendor's schemas are not public.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.simulator.answer import ApiRefusal, Json, Moment, Reply, bad_request, conflict
from interlock.simulator.call import Call, page_after
from interlock.simulator.collection import Declared
from interlock.simulator.field import (
    FLAG,
    NAME,
    OBJECT,
    TEXT,
    choice,
    fields,
    given,
    needed,
    once,
    secret,
    usual,
)
from interlock.simulator.org import Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import Row, Versioning

MAX_CREDENTIALS = 20

_NEW_CONFIG: Json = {"version": 1, "properties": {}, "advanced": {}, "notes": "", "credentials": {}}


def _integration_shape(_call: Call, body: Json, current: Json | None) -> Json:
    """The name stands in the configuration; a new integration is named after its type."""
    kind = body["integrationType"].get("id")
    if not isinstance(kind, str) or not kind:
        raise bad_request("integrationType needs an id", "invalid.value")
    config = current["config"] if current else {**_NEW_CONFIG, "name": body.get("name") or kind}
    return {**body, "integrationType": {"id": kind, "name": kind}, "config": config, "name": config["name"]}


def _integration_view(_call: Call, record: Record, view: Json) -> Json:
    config = {**record.body["config"], "id": record.id}
    return {**view, "config": {"current": config}, "reportedState": {"code": "ACTIVE"}, "notes": config["notes"]}


def _guard_credential(call: Call, record: Record) -> None:
    for integration in call.org.living("integration"):
        named = integration.body["config"]["credentials"].values()
        if any(item.get("id") == record.id for item in named):
            name = integration.body["name"]
            raise conflict(f"The credential is in use by the integration {name} ({integration.id})", "in.use")


def _guard_integration(call: Call, record: Record) -> None:
    for action in call.org.living("action"):
        if action.body["integrationId"] == record.id:
            name = action.body["name"]
            raise conflict(f"The integration is in use by the action {name} ({action.id})", "in.use")


def _action_shape(call: Call, body: Json, _current: Json | None) -> Json:
    if call.org.find("integration", body["integrationId"]) is None:
        raise bad_request("integrationId names an integration that does not exist", "invalid.reference")
    contract = body["contract"]
    if not isinstance(contract.get("input"), dict) or not isinstance(contract.get("output"), dict):
        raise bad_request("contract needs input and output", "invalid.contract")
    return body


def _action_view(call: Call, record: Record, view: Json) -> Json:
    """Schemas and templates are answered only to who asks for them."""
    expand = call.request.query.get("expand") or ""
    return (
        view if "contract" in expand or call.request.method != "GET" else {**view, "contract": record.body["contract"]}
    )


INTEGRATIONS = Row(
    kind="integration",
    entity="Integration",
    service="Integrations",
    path="/integrations",
    permission="integrations:integration",
    fields={
        "name": once(TEXT),
        "integrationType": once(needed(OBJECT)),
        "intendedState": choice("DISABLED", "ENABLED", "DELETED"),
        "config": once(OBJECT),
    },
    updates=("PATCH",),
    unique="",
    deleted=200,
    stamps=("", ""),
    shape=_integration_shape,
    view=_integration_view,
    guard=_guard_integration,
)
CREDENTIALS = Row(
    kind="credential",
    entity="Credential",
    service="Integrations",
    path="/integrations/credentials",
    permission="integrations:credential",
    operations="CRUD",
    fields={"name": NAME, "type": needed(OBJECT), "credentialFields": secret(usual(OBJECT, {}))},
    unique="",
    stamps=("createdDate", "modifiedDate"),
    guard=_guard_credential,
)
ACTIONS = Row(
    kind="action",
    entity="Action",
    service="Integrations",
    path="/integrations/actions",
    permission="integrations:action",
    fields={
        **fields(NAME, "name category"),
        "integrationId": once(NAME),
        "contract": needed(OBJECT),
        "config": OBJECT,
        "secure": usual(FLAG, False),
        "status": given("Published"),
    },
    updates=("PATCH",),
    versioning=Versioning.IF_GIVEN,
    unique="",
    stamps=("", ""),
    shape=_action_shape,
    view=_action_view,
)
KINDS: tuple[Kind, ...] = ()
ROWS = (INTEGRATIONS, CREDENTIALS, ACTIONS)


def routes(engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of configurations, of the listing of credentials and of templates."""
    config = "/integrations/{id}/config/current"
    view, edit = ("integrations:integration:view",), ("integrations:integration:edit",)
    credentials, actions = engines["credential"], _Actions(engines["action"])
    return [
        Route(method="GET", path=config, handler=_read_config, permissions=view),
        Route(method="PUT", path=config, handler=_put_config, permissions=edit),
        Route(
            method="GET",
            path="/integrations/credentials/listing",
            handler=lambda call: page_after(call, credentials.all_shown(call)),
            permissions=("integrations:credential:view",),
        ),
        Route(
            method="GET",
            path="/integrations/actions/{id}/templates/{file}",
            handler=actions.template,
            permissions=("integrations:action:view",),
        ),
    ]


def found(_org: Organisation, _moment: Moment) -> None:
    """Do nothing: no organisation is born with any of these."""


def _read_config(call: Call) -> Reply:
    record = call.get("integration", call.params[0])
    return Reply(content={**record.body["config"], "id": record.id})


def _put_config(call: Call) -> Reply:
    record, body = call.get("integration", call.params[0]), call.fields()
    current = record.body["config"]
    if body.get("version") != current["version"]:
        raise conflict(f"The version does not match the current version {current['version']}", "version.mismatch")
    config = {
        "version": current["version"] + 1,
        "name": _text(body, "name") or current["name"],
        "notes": _text(body, "notes"),
        "properties": _object(body, "properties"),
        "advanced": _object(body, "advanced"),
        "credentials": _credentials(call, _object(body, "credentials")),
    }
    call.org.change(record, {**record.body, "config": config, "name": config["name"]}, call.moment)
    return Reply(content={**config, "id": record.id})


def _text(body: Json, name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"The field '{name}' must be a string", "invalid.value")
    return value or ""


def _object(body: Json, name: str) -> Json:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise bad_request(f"The field '{name}' must be an object", "invalid.value")
    return value or {}


def _credentials(call: Call, wanted: Json) -> Json:
    if len(wanted) > MAX_CREDENTIALS:
        raise bad_request(f"At most {MAX_CREDENTIALS} credentials are allowed", "invalid.value")
    return {name: _credential(call, value) for name, value in wanted.items()}


def _credential(call: Call, value: object) -> Json:
    identifier = value.get("id") if isinstance(value, dict) else None
    record = call.org.find("credential", identifier) if isinstance(identifier, str) else None
    if record is None:
        raise bad_request("credentials names a credential that does not exist", "invalid.reference")
    return {"id": record.id, "name": record.body["name"]}


class _Actions:
    """The templates of a data action."""

    def __init__(self, engine: Declared) -> None:
        self._engine = engine

    def template(self, call: Call) -> Reply:
        record = call.get("action", call.params[0])
        config = record.body.get("config") or {}
        part = "request" if "request" in call.params[1] else "response"
        template = (config.get(part) or {}).get("requestTemplate" if part == "request" else "successTemplate")
        if not isinstance(template, str):
            raise ApiRefusal(404, "not.found", "The action has no such template")
        return Reply(content=template.encode(), headers=(("Content-Type", "text/plain"),))
