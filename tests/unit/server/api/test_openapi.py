"""The OpenAPI document of the whole table that `interlock serve` has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

import pytest

from interlock.api.problem import _CLASSES
from interlock.compose.gateways import open_doors
from interlock.compose.serving import _endpoints, open_exchange
from interlock.errors import BudgetExhausted
from interlock.home.embedded import open_home
from interlock.server.api.openapi import REFUSALS, openapi, refusals_of
from interlock.server.api.table import FORM, AnyEndpoint, Sent
from interlock.settings.values import Settings


@pytest.fixture
async def rows(tmp_path: Path) -> AsyncIterator[list[AnyEndpoint]]:
    async with open_home(Settings(home=tmp_path), store="memory:") as home, open_doors(home) as doors:
        yield _endpoints(home, doors, open_exchange(home, ["https://interlock.example"]))


def references(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(found := document.get("$ref"), str):
            yield found
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


def at(document: dict[str, Any], reference: str) -> object:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_every_reference_of_the_document_leads_somewhere(rows: list[AnyEndpoint]) -> None:
    document = openapi(rows, version="1")
    found = list(dict.fromkeys(references(document)))
    assert len(found) > 60
    assert all(at(document, each) for each in found)


def test_a_row_answers_what_its_function_returns(rows: list[AnyEndpoint]) -> None:
    for row in rows:
        said = get_type_hints(row.do)["return"]
        parts = set(get_args(said)) if isinstance(said, UnionType) else {said}
        returned = {bytes if kind is Sent else kind for kind in parts} - {NoneType}
        assert {row.answered} - {None} == returned, f"{row.method} {row.path}"
        if Sent not in parts:  # that may be 204 by itself
            assert row.may_be_absent == (NoneType in parts), f"{row.method} {row.path}"


def test_what_a_client_sends_is_described_as_the_server_takes_it(rows: list[AnyEndpoint]) -> None:
    paths = openapi(rows, version="1")["paths"]
    form = paths["/api/v1/tokens/exchange"]["post"]["requestBody"]["content"]
    assert list(form) == [FORM]
    (limit,) = [each for each in paths["/api/v1/runs"]["get"]["parameters"] if each["name"] == "limit"]
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 1000)
    export = paths["/api/v1/audit/export"]["post"]["responses"]["200"]["content"]
    assert list(export) == ["application/jsonl"]
    assert "uniqueItems" not in str(openapi(rows, version="1")), "a name that is there twice in a set is there once"


def test_every_status_of_our_refusals_is_in_the_document(rows: list[AnyEndpoint]) -> None:
    known = {kind.http_status for kind in _CLASSES} - {BudgetExhausted.http_status}  # that is a run's own gateway
    assert known <= set(REFUSALS)
    document = openapi(rows, version="1")
    for row in rows:
        answers = document["paths"][f"/api/v1{row.path}"][row.method.lower()]["responses"]
        assert {int(status) for status in answers} - {200, 204} == set(refusals_of(row))
        assert {"401", "403", "503"} <= set(answers)
        assert "default" not in answers, "it would make every status one that is documented"
