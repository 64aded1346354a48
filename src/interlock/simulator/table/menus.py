"""What Architect has besides flows and schedules: prompts, emergency groups, outcomes, milestones, grammars. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.simulator.answer import Json, Moment, Reply
from interlock.simulator.call import Call
from interlock.simulator.collection import Declared
from interlock.simulator.field import DIVISION, FLAG, LIST, NAME, OBJECT, TEXT, fields, given, once, secret, usual
from interlock.simulator.media import shown_resource
from interlock.simulator.org import Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import Row, Versioning, children


def _prompt_view(call: Call, record: Record, view: Json) -> Json:
    if call.request.query.get("includeResources", "").lower() == "false":
        return view
    found_resources = children(call.org, "promptresource", record.id)
    return {**view, "resources": [shown_resource(call, each, _visible(each)) for each in found_resources]}


def _visible(resource: Record) -> Json:
    hidden = PROMPT_RESOURCES.hidden()
    return {name: value for name, value in resource.body.items() if name not in hidden}


PROMPTS = Row(
    kind="prompt",
    entity="UserPrompt",
    service="Architect",
    path="/architect/prompts",
    permission="architect:userPrompt",
    fields={"name": once(NAME), "description": TEXT},
    stamps=("", ""),
    view=_prompt_view,
)
PROMPT_RESOURCES = Row(
    kind="promptresource",
    entity="UserPromptResource",
    service="Architect",
    path="/architect/prompts/{prompt}/resources",
    permission="architect:userPrompt",
    verbs=("edit", "view", "edit", "edit"),
    operations="CL",
    fields={
        "language": once(NAME),
        **fields(TEXT, "ttsString text"),
        "tags": OBJECT,
        "media": secret(given(None)),
    },
    parent="prompt",
    unique="language",
    stamps=("", ""),
    view=shown_resource,
)
EMERGENCY_GROUPS = Row(
    kind="emergencygroup",
    entity="EmergencyGroup",
    service="Architect",
    path="/architect/emergencygroups",
    permission="routing:emergencyGroup",
    fields={
        "name": NAME,
        "division": DIVISION,
        "description": TEXT,
        "enabled": usual(FLAG, False),
        "emergencyCallFlows": usual(LIST, []),
        "state": given("active"),
    },
    versioning=Versioning.NEEDED,
)
OUTCOMES = Row(
    kind="flowoutcome",
    entity="FlowOutcome",
    service="Architect",
    path="/flows/outcomes",
    permission="architect:flowOutcome",
    operations="CRLU",
    fields={"name": NAME, "division": DIVISION, "description": TEXT},
    stamps=("", ""),
)
MILESTONES = Row(
    kind="flowmilestone",
    entity="FlowMilestone",
    service="Architect",
    path="/flows/milestones",
    permission="architect:flowMilestone",
    fields={"name": NAME, "division": DIVISION, "description": TEXT},
    deleted=200,
    stamps=("", ""),
)
GRAMMARS = Row(
    kind="grammar",
    entity="Grammar",
    service="Architect",
    path="/architect/grammars",
    permission="architect:grammar",
    fields={"name": NAME, "description": TEXT, "languages": given([])},
    updates=("PATCH",),
    stamps=("", ""),
)
KINDS: tuple[Kind, ...] = ()
ROWS = (PROMPTS, PROMPT_RESOURCES, EMERGENCY_GROUPS, OUTCOMES, MILESTONES, GRAMMARS)


def routes(engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of a prompt's resources, which are named by their language."""
    one, edit = "/architect/prompts/{prompt}/resources/{language}", ("architect:userPrompt:edit",)
    resources = _Resources(engines["promptresource"])
    return [
        Route(method="GET", path=one, handler=resources.read, permissions=("architect:userPrompt:view",)),
        Route(method="PUT", path=one, handler=resources.update, permissions=edit),
        Route(method="DELETE", path=one, handler=resources.remove, permissions=edit),
    ]


def found(_org: Organisation, _moment: Moment) -> None:
    """Do nothing: no organisation is born with any of these."""


class _Resources:
    """One language of a prompt."""

    def __init__(self, engine: Declared) -> None:
        self._engine = engine

    def read(self, call: Call) -> Reply:
        return self._engine.read(self._addressed(call))

    def update(self, call: Call) -> Reply:
        return self._engine.update(self._addressed(call))

    def remove(self, call: Call) -> Reply:
        return self._engine.remove(self._addressed(call))

    def _addressed(self, call: Call) -> Call:
        """Return the call with the resource's id in place of its language."""
        prompt, language = call.params
        owner = call.org.owner_of("promptresource", f"{prompt}/{language}")
        return call.at(prompt, owner or language)
