"""Web deployments with their configurations, and journey segments and outcomes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.simulator.answer import Json, Moment, Reply, bad_request
from interlock.simulator.call import Call
from interlock.simulator.collection import Declared
from interlock.simulator.field import (
    FLAG,
    LIST,
    NAME,
    OBJECT,
    TEXT,
    WHOLE,
    fields,
    given,
    needed,
    once,
    refers,
    secret,
    usual,
)
from interlock.simulator.org import Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import Row, Versioning

DRAFT = "draft"


def _configuration_view(_call: Call, record: Record, view: Json) -> Json:
    """A draft is shown without a number; the version that was published last carries it."""
    number = record.body["number"]
    return {**view, "version": str(number) if number else "draft", "status": "Active"}


def _deployment_shape(call: Call, body: Json, _current: Json | None) -> Json:
    named = body["configuration"]
    identifier = named.get("id")
    if not isinstance(identifier, str) or call.org.find("webconfiguration", identifier) is None:
        raise bad_request("configuration names a configuration that does not exist", "invalid.reference")
    return {**body, "configuration": {"id": identifier, "version": str(named.get("version") or "")}, "status": "Active"}


def _deployment_view(_call: Call, record: Record, view: Json) -> Json:
    return {**view, "snippet": f"<script>/* deployment {record.id} */</script>"}


CONFIGURATIONS = Row(
    kind="webconfiguration",
    entity="WebDeploymentConfiguration",
    service="WebDeployments",
    path="/webdeployments/configurations",
    permission="webDeployments:configuration",
    operations="CLD",
    fields={
        "name": NAME,
        **fields(TEXT, "description defaultLanguage"),
        **fields(LIST, "languages customI18nLabels"),
        **fields(
            OBJECT,
            "headlessMode messenger position supportCenter cobrowse journeyEvents authenticationSettings video",
        ),
        "number": secret(once(usual(WHOLE, 0))),
    },
    view=_configuration_view,
)
DEPLOYMENTS = Row(
    kind="webdeployment",
    entity="WebDeployment",
    service="WebDeployments",
    path="/webdeployments/deployments",
    permission="webDeployments:deployment",
    fields={
        "name": NAME,
        "description": TEXT,
        "allowAllDomains": usual(FLAG, False),
        "allowedDomains": usual(LIST, []),
        "supportedContent": refers(),
        "flow": refers("flow"),
        "pushIntegrations": LIST,
        "configuration": needed(OBJECT),
        "status": TEXT,
    },
    shape=_deployment_shape,
    view=_deployment_view,
)
SEGMENTS = Row(
    kind="journeysegment",
    entity="Segment",
    service="Journey",
    path="/journey/segments",
    permission="journey:segment",
    fields={
        "displayName": NAME,
        "isActive": usual(FLAG, True),
        **fields(TEXT, "description color"),
        "scope": given("Session"),
        "shouldDisplayToAgent": usual(FLAG, False),
        **fields(OBJECT, "context journey externalSegment"),
        "assignmentExpirationDays": WHOLE,
    },
    updates=("PATCH",),
    versioning=Versioning.IF_GIVEN,
    unique="displayName",
    stamps=("createdDate", "modifiedDate"),
)
OUTCOMES = Row(
    kind="journeyoutcome",
    entity="Outcome",
    service="Journey",
    path="/journey/outcomes",
    permission="journey:outcome",
    fields={
        "displayName": NAME,
        "isActive": usual(FLAG, True),
        "description": TEXT,
        "isPositive": usual(FLAG, True),
        **fields(OBJECT, "context journey associatedValueField"),
    },
    updates=("PATCH",),
    versioning=Versioning.IF_GIVEN,
    unique="displayName",
    stamps=("createdDate", "modifiedDate"),
)
KINDS: tuple[Kind, ...] = ()
ROWS = (CONFIGURATIONS, DEPLOYMENTS, SEGMENTS, OUTCOMES)


def routes(engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of versions, drafts and publishing."""
    configurations = _Configurations(engines["webconfiguration"])
    versions = "/webdeployments/configurations/{id}/versions"
    view, edit = ("webDeployments:configuration:view",), ("webDeployments:configuration:edit",)
    return [
        Route(method="GET", path=versions, handler=configurations.versions, permissions=view),
        Route(method="GET", path=versions + "/{version}", handler=configurations.version, permissions=view),
        Route(method="PUT", path=versions + "/draft", handler=configurations.write, permissions=edit),
        Route(method="GET", path=versions + "/draft", handler=configurations.version, permissions=view),
        Route(method="POST", path=versions + "/draft/publish", handler=configurations.publish, permissions=edit),
    ]


def found(_org: Organisation, _moment: Moment) -> None:
    """Do nothing: no organisation is born with any of these."""


class _Configurations:
    """A configuration is written as a draft and published under the next number."""

    def __init__(self, engine: Declared) -> None:
        self._engine = engine

    def versions(self, call: Call) -> Reply:
        record = call.get("webconfiguration", call.params[0])
        latest = [self._shown(call, record)] if record.body["number"] else []
        return Reply(content={"entities": latest, "total": len(latest)})

    def version(self, call: Call) -> Reply:
        return Reply(content=self._shown(call, call.get("webconfiguration", call.params[0])))

    def write(self, call: Call) -> Reply:
        return self._engine.update(call)

    def publish(self, call: Call) -> Reply:
        record = call.get("webconfiguration", call.params[0])
        changed = self._engine.store(call, record, {**record.body, "number": record.body["number"] + 1})
        return Reply(content=self._shown(call, changed))

    def _shown(self, call: Call, record: Record) -> Json:
        return self._engine.shown(call, record, record.body)
