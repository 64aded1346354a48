"""Fields that are there twice: found wherever a state says what it holds, and only there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.state_mutants import HEALTHY

from interlock.state import refusing, verify_state
from interlock.state.doubles import doubled_keys

WRITTEN = json.dumps(HEALTHY)


@pytest.mark.promise("P6")
@pytest.mark.parametrize(
    ("first", "doubled"),
    [
        ('"serial"', '"serial": 9, "serial"'),
        ('"serial"', '"seri\\u0061l": 9, "serial"'),
        ('"resources"', '"resources": [], "resources"'),
        ('"outputs"', '"outputs": {}, "outputs"'),
        ('"greeting"', '"greeting": {"value": 1, "type": "number"}, "greeting"'),
        ('"value"', '"value": "other", "value"'),
        ('"instances"', '"instances": [], "instances"'),
        ('"name"', '"name": "z", "name"'),
        ('"index_key"', '"index_key": "z", "index_key"'),
        ('"attributes"', '"attributes": {"id": "z"}, "attributes"'),
        ('"check_results"', '"check_results": null, "check_results"'),
        ('"check_results"', '"later": 1, "later": 2, "check_results"'),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_field_that_is_there_twice_is_refused(first: str, doubled: str, indent: int | None) -> None:
    written = json.dumps(HEALTHY, indent=indent, ensure_ascii=False)
    body = written.replace(first, doubled, 1).encode()
    assert "duplicate-key" in {finding.code for finding in refusing(verify_state(body))}


def test_a_name_twice_among_attributes_is_for_the_provider_to_judge() -> None:
    body = WRITTEN.replace('"id": "1"', '"id": "0", "id": "1"').encode()
    assert list(doubled_keys(body)) == []


@given(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=3) | st.just({}), max_size=4))
def test_what_is_there_once_is_never_taken_for_twice(more: dict[str, Any]) -> None:
    fields = {**more, **HEALTHY, "outputs": {name: {"value": 1, **more} for name in more}}
    assert list(doubled_keys(json.dumps(fields).encode("utf-8", "surrogatepass"))) == []
    assert list(doubled_keys(json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass"))) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b"{", b'{"resources": 1}', b'{"outputs": {"a": 1}}', b"[" * 100_000]
)
def test_what_is_no_state_is_left_to_others(body: bytes) -> None:
    assert list(doubled_keys(body)) == []
