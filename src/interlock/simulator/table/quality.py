"""Evaluation and survey forms with their published versions, and retention policies. Pure.

A form that is published stays readable as a version of its own; the next draft keeps the context of all its versions.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping

from interlock.simulator.answer import Json, Moment, Reply, bad_request
from interlock.simulator.call import Call, named, page
from interlock.simulator.collection import Declared
from interlock.simulator.field import FLAG, LIST, NAME, OBJECT, TEXT, WHOLE, Field, fields, given, needed, usual
from interlock.simulator.org import Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import Row

MAX_CONTEXTS = 100


def _with_ids(value: object, path: str = "form") -> object:
    """Give every group, question and answer an id, as the API does; one that is sent with its id keeps it."""
    if isinstance(value, list):
        return [_with_ids(item, f"{path}-{at}") for at, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    inner = {name: _with_ids(item, f"{path}-{name}") if name in _PARTS else item for name, item in value.items()}
    return {**inner, "id": value.get("id") or path}


def _form_shape(_call: Call, body: Json, current: Json | None) -> Json:
    if current is not None and current["published"]:
        raise bad_request("A published form may not be changed", "form.published")
    context = current["contextId"] if current else ""
    return {**body, "questionGroups": _with_ids(body["questionGroups"]), "contextId": context}


def _form_view(_call: Call, record: Record, view: Json) -> Json:
    """The id of the first version is the context of all."""
    return {**view, "contextId": _context(record)}


def _context(record: Record) -> str:
    return record.body["contextId"] or record.id


_PARTS = frozenset({"questions", "answerOptions"})
_FORM: dict[str, Field] = {
    "name": NAME,
    "published": given(False),
    "contextId": given(""),
    "questionGroups": needed(LIST),
}
EVALUATIONS = Row(
    kind="evaluationform",
    entity="EvaluationForm",
    service="Quality",
    path="/quality/forms/evaluations",
    operations="CRUD",
    permission="quality:evaluationForm",
    fields={**_FORM, "evaluationSettings": OBJECT, "aiScoring": OBJECT, "weightMode": TEXT},
    unique="",
    deleted=200,
    stamps=("", "modifiedDate"),
    shape=_form_shape,
    view=_form_view,
)
SURVEYS = Row(
    kind="surveyform",
    entity="SurveyForm",
    service="Quality",
    path="/quality/forms/surveys",
    operations="CRUD",
    permission="quality:surveyForm",
    fields={**_FORM, "disabled": usual(FLAG, False), "language": usual(TEXT, "en-US"), **fields(TEXT, "header footer")},
    updates=("PUT", "PATCH"),
    unique="",
    deleted=200,
    stamps=("", "modifiedDate"),
    shape=_form_shape,
    view=_form_view,
)
POLICIES = Row(
    kind="retentionpolicy",
    entity="MediaRetentionPolicy",
    service="Recording",
    path="/recording/mediaretentionpolicies",
    permission="recording:retentionPolicy",
    fields={
        "name": NAME,
        "order": usual(WHOLE, 0),
        "description": TEXT,
        "enabled": usual(FLAG, False),
        **fields(OBJECT, "mediaPolicies conditions actions policyErrors"),
    },
    unique="",
    stamps=("createdDate", "modifiedDate"),
)
KINDS: tuple[Kind, ...] = ()
ROWS = (EVALUATIONS, SURVEYS, POLICIES)


def routes(engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of publishing and of versions."""
    evaluations, surveys = _Forms(engines["evaluationform"]), _Forms(engines["surveyform"])
    view = ("quality:evaluationForm:view",)
    return [
        *_form_routes(evaluations, "evaluations", "quality:evaluationForm"),
        *_form_routes(surveys, "surveys", "quality:surveyForm"),
        Route(
            method="GET",
            path="/quality/forms/evaluations/bulk/contexts",
            handler=evaluations.published,
            permissions=view,
        ),
    ]


def found(_org: Organisation, _moment: Moment) -> None:
    """Do nothing: no organisation is born with any of these."""


def _form_routes(forms: _Forms, path: str, permission: str) -> list[Route]:
    base, view, edit = f"/quality/forms/{path}", (permission + ":view",), (permission + ":edit",)
    return [
        Route(method="GET", path=base, handler=forms.list, permissions=view),
        Route(method="GET", path=base + "/{id}/versions", handler=forms.versions, permissions=view),
        Route(method="POST", path=f"/quality/publishedforms/{path}", handler=forms.publish, permissions=edit),
    ]


class _Forms:
    """Publishing, and what was published."""

    def __init__(self, engine: Declared) -> None:
        self._engine = engine
        self._kind = engine.row.kind

    def list(self, call: Call) -> Reply:
        """Show the drafts: every context has one."""
        drafts = [
            self._engine.shown(call, record, body) for record, body in call.listed(self._kind) if not body["published"]
        ]
        return page(call, named(call, drafts))

    def publish(self, call: Call) -> Reply:
        """Publish a draft, and answer the draft that follows it."""
        wanted = call.fields().get("id")
        if not isinstance(wanted, str):
            raise bad_request("The field 'id' is required", "invalid.value")
        record = call.get(self._kind, wanted)
        if record.body["published"]:
            raise bad_request("The form is published already", "form.published")
        self._engine.store(call, record, {**record.body, "published": True})
        following = call.org.add(self._kind, {**record.body, "contextId": _context(record)}, call.moment)
        return Reply(content=self._engine.shown(call, following, following.body))

    def versions(self, call: Call) -> Reply:
        """Show every version of the form's context, the newest first."""
        context = _context(call.get(self._kind, call.params[0]))
        return page(call, [form for form in reversed(self._all(call)) if form["contextId"] == context])

    def published(self, call: Call) -> Reply:
        """Show what is published of each of the contexts."""
        contexts = (call.request.query.get("contextId") or "").split(",")[:MAX_CONTEXTS]
        return Reply(content=[form for form in self._all(call) if form["published"] and form["contextId"] in contexts])

    def _all(self, call: Call) -> builtins.list[Json]:
        return [self._engine.shown(call, record, body) for record, body in call.listed(self._kind)]
