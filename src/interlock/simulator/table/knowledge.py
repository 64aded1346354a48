"""Knowledge bases with categories, labels and documents; libraries of responses. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.simulator.answer import Json, Moment, bad_request
from interlock.simulator.call import Call
from interlock.simulator.collection import Declared
from interlock.simulator.field import (
    ANY,
    FLAG,
    LIST,
    NAME,
    OBJECT,
    TEXT,
    choice,
    fields,
    given,
    held_all,
    needed,
    once,
    refer_all,
    usual,
)
from interlock.simulator.org import Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import PARENT, Paging, Row, Versioning, children

_IN_BASE = "/knowledge/knowledgebases/{base}/"


def _base_view(call: Call, record: Record, view: Json) -> Json:
    documents = sum(1 for _ in children(call.org, "knowledgedocument", record.id))
    return {**view, "published": record.body["published"], "faqCount": 0, "articleCount": documents}


def _base_of(call: Call, record: Record) -> Json:
    base = call.org.find("knowledgebase", record.body[PARENT])
    language = base.body.get("coreLanguage") if base is not None else None
    return {"id": record.body[PARENT], "languageCode": language}


def _category_view(call: Call, record: Record, view: Json) -> Json:
    shown_category = {**view, "knowledgeBase": _base_of(call, record), "documentCount": 0}
    parent = call.org.find("knowledgecategory", shown_category.pop("parentCategoryId", None) or "")
    if parent is not None:
        shown_category["parentCategory"] = {"id": parent.id, "name": parent.body["name"]}
    return shown_category


def _category_shape(call: Call, body: Json, _current: Json | None) -> Json:
    parent = body.get("parentCategoryId")
    if parent and call.org.find("knowledgecategory", parent) is None:
        raise bad_request("parentCategoryId names a category that does not exist", "invalid.reference")
    return body


def _document_shape(call: Call, body: Json, _current: Json | None) -> Json:
    labels = body.get("labelIds") or []
    known = {"knowledgecategory": [body["categoryId"]] if body.get("categoryId") else [], "knowledgelabel": labels}
    for kind, names in known.items():
        if any(not isinstance(name, str) or call.org.find(kind, name) is None for name in names):
            raise bad_request(f"The document names a {kind} that does not exist", "invalid.reference")
    return body


def _document_view(call: Call, record: Record, view: Json) -> Json:
    shown_document = {**view, "knowledgeBase": _base_of(call, record)}
    category = call.org.find("knowledgecategory", shown_document.pop("categoryId", None) or "")
    if category is not None:
        shown_document["category"] = {"id": category.id, "name": category.body["name"]}
    labels = [call.org.find("knowledgelabel", label) for label in shown_document.pop("labelIds", None) or []]
    shown_document["labels"] = [{"id": label.id, "name": label.body["name"]} for label in labels if label is not None]
    return shown_document


BASES = Row(
    kind="knowledgebase",
    entity="KnowledgeBase",
    service="Knowledge",
    path="/knowledge/knowledgebases",
    permission="knowledge:knowledgebase",
    fields={
        "name": NAME,
        "description": TEXT,
        "coreLanguage": once(
            choice("en-US", "en-UK", "en-AU", "de-DE", "es-US", "es-ES", "fr-FR", "pt-BR", "nl-NL", "it-IT", "fr-CA")
        ),
        "published": given(False),
    },
    updates=("PATCH",),
    deleted=200,
    paging=Paging.CURSOR,
    view=_base_view,
)
CATEGORIES = Row(
    kind="knowledgecategory",
    entity="KnowledgeCategory",
    service="Knowledge",
    path=_IN_BASE + "categories",
    permission="knowledge:category",
    fields={"name": NAME, **fields(TEXT, "description externalId parentCategoryId")},
    updates=("PATCH",),
    deleted=200,
    parent="knowledgebase",
    paging=Paging.CURSOR,
    shape=_category_shape,
    view=_category_view,
)
LABELS = Row(
    kind="knowledgelabel",
    entity="KnowledgeLabel",
    service="Knowledge",
    path=_IN_BASE + "labels",
    permission="knowledge:label",
    fields={"name": NAME, "color": needed(TEXT), "externalId": TEXT},
    updates=("PATCH",),
    deleted=200,
    parent="knowledgebase",
    paging=Paging.CURSOR,
)
DOCUMENTS = Row(
    kind="knowledgedocument",
    entity="KnowledgeDocument",
    service="Knowledge",
    path=_IN_BASE + "documents",
    permission="knowledge:document",
    fields={
        "title": NAME,
        "visible": usual(FLAG, True),
        "alternatives": LIST,
        **fields(TEXT, "categoryId externalId externalUrl"),
        "labelIds": LIST,
        "state": given("Draft"),
    },
    updates=("PATCH",),
    parent="knowledgebase",
    unique="",
    paging=Paging.CURSOR,
    shape=_document_shape,
    view=_document_view,
)


def _response_view(call: Call, _record: Record, view: Json) -> Json:
    """A response shows its libraries by name; what was deleted since keeps its id alone."""
    shown_libraries = [{**each, **_named_library(call, each["id"])} for each in view["libraries"]]
    return {**view, "libraries": shown_libraries}


def _named_library(call: Call, identifier: str) -> Json:
    library = call.org.find("library", identifier)
    return {} if library is None else {"name": library.body["name"]}


LIBRARIES = Row(
    kind="library",
    entity="Library",
    service="ResponseManagement",
    path="/responsemanagement/libraries",
    permission="responses:library",
    fields={"name": NAME, "responseType": TEXT},
    versioning=Versioning.NEEDED,
    stamps=("dateCreated", ""),
)
RESPONSES = Row(
    kind="response",
    entity="Response",
    service="ResponseManagement",
    path="/responsemanagement/responses",
    permission="responses:response",
    fields={
        "name": NAME,
        "libraries": needed(held_all("library")),
        "texts": needed(LIST),
        **fields(TEXT, "interactionType responseType"),
        "substitutions": LIST,
        "substitutionsSchema": ANY,
        "assets": refer_all(),
        **fields(OBJECT, "messagingTemplate footer"),
    },
    versioning=Versioning.NEEDED,
    unique="",
    stamps=("dateCreated", ""),
    narrowed={"libraryId": "libraries"},
    view=_response_view,
)
KINDS: tuple[Kind, ...] = ()
ROWS = (BASES, CATEGORIES, LABELS, DOCUMENTS, LIBRARIES, RESPONSES)


def routes(_engines: Mapping[str, Declared]) -> list[Route]:
    """Return no routes: the usual ones suffice."""
    return []


def found(_org: Organisation, _moment: Moment) -> None:
    """Do nothing: no organisation is born with any of these."""
