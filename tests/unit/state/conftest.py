from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from interlock.state import Document, parse_document

MakeState: TypeAlias = Callable[..., bytes]
MakeDocument: TypeAlias = Callable[..., Document]


def _instance(attributes: dict[str, Any], key: int | str | None, **more: Any) -> dict[str, Any]:
    head = {} if key is None else {"index_key": key}
    return {**head, **more, "schema_version": 0, "attributes": attributes, "sensitive_attributes": []}


def _resource(kind: str, name: str, *instances: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "mode": "managed",
        "type": kind,
        "name": name,
        "provider": "provider.p",
        **more,
        "instances": list(instances),
    }


@pytest.fixture
def instance() -> Callable[..., dict[str, Any]]:
    return _instance


@pytest.fixture
def resource() -> Callable[..., dict[str, Any]]:
    return _resource


@pytest.fixture
def state() -> MakeState:
    """Return a function that spells a state as Terraform does."""

    def make(*resources: dict[str, Any], serial: int = 1, lineage: str = "l-1", **more: Any) -> bytes:
        fields: dict[str, Any] = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage}
        fields |= {"outputs": {}, "resources": list(resources), "check_results": None}
        return (json.dumps({**fields, **more}, indent=2) + "\n").encode()

    return make


@pytest.fixture
def document(state: MakeState) -> MakeDocument:
    return lambda *resources, **more: parse_document(state(*resources, **more))


@pytest.fixture
def simple(state: MakeState) -> MakeState:
    """Return a function from `{address name: value}` to a state with one managed instance for each name."""

    def make(values: dict[str, Any], **more: Any) -> bytes:
        rows = [_resource("t", name, _instance({"id": name, "v": value}, None)) for name, value in values.items()]
        return state(*rows, **more)

    return make
