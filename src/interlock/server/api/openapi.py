"""The OpenAPI 3.1 document of a table of endpoints. Pure.

Each operation names all statuses that it may answer: a client made from the document, or a test, finds any other one to
be a mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from interlock.api.problem import PROBLEM_TYPE, Problem
from interlock.api.versions import Framed
from interlock.server.api.table import BASE, FORM, OCTETS, AnyEndpoint, NoBody

_REF: Final = "#/components/schemas/{name}"
_RESPONSE_REF: Final = "#/components/responses/{name}"
_JSON: Final = "application/json"

REFUSALS: Final[Mapping[int, str]] = {
    400: "The request is wrong, or names something that does not exist",
    401: "The token is unknown, or has expired",
    403: "The token does not have the right, or a policy forbids it",
    404: "Nothing has this name",
    409: "It is not as the client supposes: a grant that ended, another version, a state that is refused",
    413: "The body is too large",
    423: "Somebody else holds the state",
    500: "The server has a defect, or Terraform failed; its log tells more",
    503: "The store cannot be reached, or the server is ending; ask again",
}
"""Statuses of refusals, and what each means."""
_HEADERS: Final[Mapping[int, tuple[str, str, Mapping[str, Any]]]] = {
    401: ("WWW-Authenticate", "How to say who asks", {"type": "string"}),
    503: ("Retry-After", "Seconds until it makes sense to ask again", {"type": "integer"}),
}
_Schemas = Mapping[type, Mapping[str, Any]]


def openapi(endpoints: Sequence[AnyEndpoint], *, version: str) -> dict[str, Any]:
    """Return the document.

    Args:
        endpoints: The whole table.
        version: Of the program that serves it.
    """
    kinds = _types(endpoints)
    # Together: two structs of one name get longer names then, and every reference must name the same one.
    listed, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schemas = dict(zip(kinds, listed, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(BASE + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Interlock", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {name: _as_taken(schema) for name, schema in components.items()},
            "responses": {str(status): _refusal(status, schemas) for status in REFUSALS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _types(endpoints: Iterable[AnyEndpoint]) -> list[type]:
    sent = (kind for each in endpoints for kind in (each.body, each.form, each.answered))
    return [*dict.fromkeys(kind for kind in sent if kind not in (None, bytes, NoBody)), Problem]


def _as_taken(schema: Any) -> Any:
    """Return a schema without what is not asked for: a name that is there twice in a set is there once."""
    if isinstance(schema, dict):
        return {name: _as_taken(value) for name, value in schema.items() if (name, value) != ("uniqueItems", True)}
    return [_as_taken(each) for each in schema] if isinstance(schema, list) else schema


def _operation(endpoint: AnyEndpoint, schemas: _Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "responses": {
            **_answers(endpoint, schemas),
            **{str(status): {"$ref": _RESPONSE_REF.format(name=status)} for status in refusals_of(endpoint)},
        },
    }
    if endpoint.right is not None:
        found["x-interlock-right"] = endpoint.right.value
    if endpoint.is_open:
        found["security"] = []
    if parameters := _parameters(endpoint):
        found["parameters"] = parameters
    if endpoint.body is not NoBody:
        found["requestBody"] = {"required": True, "content": _body(endpoint, schemas)}
    return found


def refusals_of(endpoint: AnyEndpoint) -> list[int]:
    """Return the statuses of the refusals that an endpoint may answer."""
    never: set[int] = set()
    if endpoint.body is NoBody:
        never.add(413)
    if endpoint.method == "GET":
        never.add(423)
    return [status for status in REFUSALS if status not in never]


def _refusal(status: int, schemas: _Schemas) -> dict[str, Any]:
    told: dict[str, Any] = {
        "description": REFUSALS[status],
        "content": {PROBLEM_TYPE: {"schema": schemas[Problem]}},
    }
    if status in _HEADERS:
        name, description, schema = _HEADERS[status]
        told["headers"] = {name: {"description": description, "required": True, "schema": schema}}
    return told


def _answers(endpoint: AnyEndpoint, schemas: _Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if endpoint.answered is not None:
        content = _content(endpoint.answered, schemas, endpoint.media_type)
        found["200"] = {"description": "Done", "content": content}
    if endpoint.may_be_absent:
        found["204"] = {"description": "There is nothing" if found else "Done"}
    return found


def _body(endpoint: AnyEndpoint, schemas: _Schemas) -> dict[str, Any]:
    if endpoint.form is not None:
        return {FORM: {"schema": schemas[endpoint.form]}}
    return _content(endpoint.body, schemas, OCTETS)


def _content(kind: type, schemas: _Schemas, media_type: str) -> dict[str, Any]:
    if kind in (bytes, Framed):
        return {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {_JSON: {"schema": schemas[kind]}}


def _parameters(endpoint: AnyEndpoint) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([endpoint.query], ref_template=_REF)
    schema = components.get(endpoint.query.__name__, {})
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        for name, each in schema.get("properties", {}).items()
    ]
