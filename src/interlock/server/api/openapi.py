"""The OpenAPI 3.1 document of a table of endpoints. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from interlock.api.problem import PROBLEM_TYPE, Problem
from interlock.server.api.table import BASE, AnyEndpoint, NoBody

_REF: Final = "#/components/schemas/{name}"
_BINARY: Final = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def openapi(endpoints: Sequence[AnyEndpoint], *, version: str) -> dict[str, Any]:
    """Return the document.

    Args:
        endpoints: The whole table.
        version: Of the program that serves it.
    """
    _, components = msgspec.json.schema_components(_types(endpoints), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(BASE + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Interlock", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _types(endpoints: Iterable[AnyEndpoint]) -> list[type]:
    sent = (kind for endpoint in endpoints for kind in (endpoint.body, endpoint.answer))
    return [*dict.fromkeys(kind for kind in sent if kind not in (None, bytes, NoBody)), Problem]


def _operation(endpoint: AnyEndpoint) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "responses": {
            **_answers(endpoint.answer),
            "default": {
                "description": "Refused",
                "content": {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(name=Problem.__name__)}}},
            },
        },
    }
    if endpoint.right is not None:
        found["x-interlock-right"] = endpoint.right.value
    if endpoint.is_open:
        found["security"] = []
    if parameters := _parameters(endpoint):
        found["parameters"] = parameters
    if endpoint.body is not NoBody:
        found["requestBody"] = {"required": True, "content": _content(endpoint.body)}
    return found


def _answers(answer: type | None) -> dict[str, Any]:
    if answer is None:
        return {"204": {"description": "Done"}}
    return {"200": {"description": "Done", "content": _content(answer)}}


def _content(kind: type) -> dict[str, Any]:
    if kind is bytes:
        return _BINARY
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return {"application/json": {"schema": schema}}


def _parameters(endpoint: AnyEndpoint) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([endpoint.query], ref_template=_REF)
    schema = components.get(endpoint.query.__name__, {})
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        for name, each in schema.get("properties", {}).items()
    ]
