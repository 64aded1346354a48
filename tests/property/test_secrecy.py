"""No secret of a document is in any way of showing it, whatever its spelling and wherever its copy."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from interlock.cli.state import difference
from interlock.cli.view import as_json
from interlock.secrecy import MASK, MIN_COPY_CHARS, gather_secrets, hide_shapes, may_look_secret
from interlock.state import Document, masked_document, parse_document
from interlock.terraform.plan import hide_secrets, parse_plan, secret_texts

_LAW = settings(max_examples=100, deadline=None)  # a slow machine is not a counterexample
_SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=MIN_COPY_CHARS, max_size=30)
_PROVIDER = 'provider["registry.terraform.io/x/y"]'
_WAYS = ("mark", "schema", "name", "header", "output")
_COPIES: dict[str, Callable[[str], str]] = {
    "whole": lambda text: text,
    "within": lambda text: f"before {text} after",
    "url": lambda text: "https://h/?k=" + urllib.parse.quote(text, safe=""),
    "plus": lambda text: "k=" + urllib.parse.quote_plus(text),
    "json": lambda text: json.dumps({"k": text}),
    "json-plain": lambda text: json.dumps({"k": text}, ensure_ascii=False),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
}


def _document(secret: Any, way: str, copies: list[Any], serial: int) -> Document:
    first: dict[str, Any] = {"id": "1"}
    instance: dict[str, Any] = {"schema_version": 0, "attributes": first}
    kind = "x_y"
    outputs: dict[str, Any] = {"copies": {"value": copies, "type": ["tuple", ["dynamic"] * len(copies)]}}
    match way:
        case "mark":
            first["thing"] = [secret]
            instance["sensitive_attributes"] = [[{"type": "get_attr", "value": "thing"}]]
        case "schema":
            kind, first["result"] = "random_password", secret
        case "name":
            first["admin_password"] = secret
        case "header":
            first["headers"] = [{"name": "X-Api-Key", "value": secret}]
        case _:
            outputs["o"] = {"value": {"a": [secret]}, "type": "dynamic", "sensitive": True}
    other = {"schema_version": 0, "attributes": {"id": "2", "copies": copies, "map": {str(copies[0]): 1}}}
    rows = [
        {"mode": "managed", "type": kind, "name": "a", "provider": _PROVIDER, "instances": [instance]},
        {"mode": "data", "type": "x_z", "name": "b", "provider": _PROVIDER, "instances": [other]},
    ]
    body = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l", "outputs": outputs}
    return parse_document(json.dumps({**body, "resources": rows}).encode())


def _renderings(older: Document, newer: Document) -> str:
    both = [masked_document(older), difference(older, newer), difference(newer, older)]
    return json.dumps(json.loads(as_json(both)), ensure_ascii=False)


@pytest.mark.promise("P10")
@_LAW
@given(_SECRETS, st.sampled_from(_WAYS), st.lists(st.sampled_from(sorted(_COPIES)), min_size=1, max_size=3))
@example("hunter2-é", "mark", ["base64", "url"])
def test_no_secret_of_a_state_is_in_any_rendering(secret: str, way: str, names: list[str]) -> None:
    copies = [_COPIES[name](secret) for name in names]
    healthy = _document("", "name", ["-"], 1)
    assume(secret not in _renderings(healthy, healthy))
    shown = _renderings(_document(secret, way, copies, 2), healthy)
    for spelled in {secret, json.dumps(secret)[1:-1], *(copies if names != ["within"] else ())}:
        assert spelled not in shown


@pytest.mark.promise("P10")
@given(st.integers(10 ** (MIN_COPY_CHARS - 1), 10**15))
def test_a_marked_number_is_hidden_also_where_it_is_a_text(number: int) -> None:
    healthy = _document("", "name", ["-"], 1)
    assume(str(number) not in _renderings(healthy, healthy))
    assert str(number) not in _renderings(_document(number, "mark", [number, f"pin {number}"], 2), healthy)


@pytest.mark.promise("P10")
@_LAW
@given(_SECRETS, st.sampled_from(["after", "before"]), st.sampled_from(sorted(_COPIES)))
def test_no_secret_of_a_plan_is_in_its_changes_or_its_text(secret: str, side: str, name: str) -> None:
    copy = _COPIES[name](secret)
    change = {
        "actions": ["update"],
        "before": {"a": 1, "note": "-"},
        "after": {"a": 1, "note": "-"},
        f"{side}_sensitive": {"thing": True},
    }
    change[side] = {"a": 1, "thing": secret, "note": copy}
    entry = {"address": "x_y.a", "type": "x_y", "name": "a", "mode": "managed", "change": change}
    plan = {"format_version": "1.2", "resource_changes": [entry]}
    assume(secret not in as_json(parse_plan(json.dumps({"format_version": "1.2", "resource_changes": []}))))
    shown = json.dumps(json.loads(as_json(parse_plan(json.dumps(plan)))), ensure_ascii=False)
    assume(all(secret not in word for word in ("x_y.a", "managed", "update", "resource_changes", "(sensitive value)")))
    assert copy not in shown
    if name != "within":
        assert copy not in hide_secrets(f"  ~ note = {copy}\n", secret_texts(json.dumps(plan)))


@pytest.mark.promise("P10")
@_LAW
@given(st.text(max_size=200))
def test_looking_for_shapes_ends_and_knows_its_own_mask(text: str) -> None:
    assert hide_shapes(hide_shapes(text)) == hide_shapes(text)


@pytest.mark.promise("P10")
@_LAW
@given(
    st.text(max_size=40)
    | st.sampled_from(
        [
            *(
                "-----BEGIN PRIVATE KEY-----\nx",
                "client-key-data: x",
                "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.x",
                "xoxb-0123456789",
                f"ilk_{'0' * 12}_{'a' * 43}",
            ),
            *(f"{head}{'a' * 36}" for head in ("ghp_", "github_pat_", "glpat-", "hvs.", "sk_live_", "AIza")),
        ]
    )
)
def test_json_that_holds_a_text_of_a_secret_shape_is_not_passed_over(text: str) -> None:
    for ascii_only in (True, False):
        assert may_look_secret(json.dumps({"a": text}, ensure_ascii=ascii_only)) or hide_shapes(text) != MASK


@_LAW
@given(st.lists(_SECRETS, max_size=5), st.text(max_size=60))
def test_hiding_leaves_what_is_no_secret(secrets: list[str], text: str) -> None:
    assume(not any(each[:MIN_COPY_CHARS] in text for each in secrets))
    assert gather_secrets(secrets).hide(text) == hide_shapes(text)
