"""Laws of state documents, over documents that Hypothesis makes up."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.state import (
    Document,
    Merged,
    Writes,
    apply_diff,
    content_digest,
    diff_documents,
    find_deletions,
    merge_documents,
    parse_document,
    refusing,
    render_document,
    verify_state,
)

_LAW = settings(max_examples=60, deadline=None)  # a slow machine is not a counterexample
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=6
)
_ATTRIBUTES = st.dictionaries(st.sampled_from(["id", "name", "n", "password"]), _VALUES, max_size=3)
_KEYS = st.none() | st.integers(0, 2) | st.sampled_from(["k", "0", 'a "b"'])
_NAMES = st.tuples(st.sampled_from(["", "module.m[0]"]), st.sampled_from(["managed", "data"]), st.sampled_from("ab"))
_OBJECTS = st.dictionaries(
    st.tuples(_NAMES, _KEYS, st.sampled_from(["", "0000000a"])), st.tuples(_ATTRIBUTES, _TEXT), max_size=6
)
_OUTPUTS = st.dictionaries(st.sampled_from(["x", "y", "token"]), _VALUES, max_size=3)
_CHECKS = st.dictionaries(st.sampled_from(["check.a", "check.b"]), st.sampled_from(["pass", "fail"]))


def _spell(objects: Any, outputs: Any, checks: Any, serial: int) -> bytes:
    rows: dict[Any, list[Any]] = {}
    for (name, key, deposed), (attributes, private) in objects.items():
        instance = {"attributes": attributes, "private": base64.b64encode(private.encode()).decode()}
        instance |= {} if key is None else {"index_key": key}
        instance |= {"deposed": deposed} if deposed else {}
        rows.setdefault(name, []).append(instance)
    resources = [
        {**({"module": module} if module else {}), "mode": mode, "type": "t", "name": name, "provider": "provider.p"}
        | {"instances": instances}
        for (module, mode, name), instances in rows.items()
    ]
    results = [{"object_kind": "check", "config_addr": name, "status": status} for name, status in checks.items()]
    document = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l"}
    document |= {"outputs": {name: _output(value) for name, value in outputs.items()}, "resources": resources}
    return (json.dumps({**document, "check_results": results or None}, indent=2, ensure_ascii=False) + "\n").encode()


def _output(value: Any) -> dict[str, Any]:
    return {"value": value, "type": _type_of(value)}


def _type_of(value: Any) -> Any:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case list():
            return ["tuple", [_type_of(each) for each in value]]
        case dict():
            return ["object", {name: _type_of(each) for name, each in value.items()}]
        case _:
            return "string"


def _documents(serial: int = 1) -> st.SearchStrategy[Document]:
    return st.builds(
        lambda objects, outputs, checks: parse_document(_spell(objects, outputs, checks, serial)),
        _OBJECTS,
        _OUTPUTS,
        _CHECKS,
    )


def _exact(body: bytes) -> Any:
    return json.loads(body, parse_float=Decimal)


def _everything(*documents: Document) -> Writes:
    return Writes(planned=frozenset(str(key.address()) for each in documents for key in each.objects()))


@pytest.mark.promise("P3")
@_LAW
@given(_documents())
def test_parsing_and_rendering_change_nothing(document: Document) -> None:
    body = document.source or b""
    assert render_document(document) == body
    assert _exact(render_document(replace(document, source=None))) == _exact(body)
    assert content_digest(parse_document(render_document(replace(document, source=None)))) == content_digest(document)


@pytest.mark.promise("P6")
@_LAW
@given(_documents())
def test_whole_documents_pass_verification(document: Document) -> None:
    assert not refusing(verify_state(document.source or b"", thorough=True))


@pytest.mark.promise("P6")
@_LAW
@given(_documents(), st.data())
def test_every_truncation_is_found(document: Document, data: st.DataObject) -> None:
    body = (document.source or b"").rstrip()
    cut = data.draw(st.integers(0, len(body) - 1))
    assert refusing(verify_state(body[:cut]))


@pytest.mark.promise("P6")
@_LAW
@given(st.binary(max_size=200))
def test_no_bytes_bring_the_verifier_down(body: bytes) -> None:
    assert refusing(verify_state(body))


@pytest.mark.promise("P6")
@_LAW
@given(_VALUES, st.sampled_from(["outputs", "resources", "check_results", "serial", "version", "lineage", "extra"]))
def test_no_value_in_a_field_brings_the_verifier_down(value: Any, field: str) -> None:
    body = json.dumps({"version": 4, "serial": 1, "lineage": "l", "resources": [], field: value}).encode()
    findings = verify_state(body, thorough=True)
    if not refusing(findings):
        assert content_digest(parse_document(body))


@_LAW
@given(_documents(), _documents(serial=2))
def test_a_diff_applied_to_its_first_document_gives_its_second(first: Document, second: Document) -> None:
    applied = apply_diff(first, diff_documents(first, second))
    assert content_digest(applied) == content_digest(second)
    assert diff_documents(applied, second).is_empty()
    assert parse_document(render_document(applied)).objects() == applied.objects()


@_LAW
@given(_documents(), st.randoms(use_true_random=False))
def test_the_order_of_resources_is_no_content(document: Document, chance: random.Random) -> None:
    shuffled = list(document.resources)
    chance.shuffle(shuffled)
    assert content_digest(replace(document, resources=tuple(shuffled), source=None)) == content_digest(document)


@pytest.mark.promise("P6")
@_LAW
@given(_documents(), _documents(serial=2))
def test_deletions_are_the_managed_removals_of_the_diff(first: Document, second: Document) -> None:
    removed = {
        change.address
        for change in diff_documents(first, second).objects
        if change.after is None and change.key.mode == "managed"
    }
    assert find_deletions(first, second) == removed


@pytest.mark.promise("P3")
@_LAW
@given(_documents(), _documents(serial=2))
def test_merging_into_a_trunk_that_stood_still_gives_ours(base: Document, ours: Document) -> None:
    merged = merge_documents(base=base, trunk=base, ours=ours, writes=_everything(base, ours))
    assert isinstance(merged, Merged)
    assert merged.document.objects() == ours.objects()
    assert diff_documents(merged.document, ours).outputs == ()
    assert not merged.dropped
    assert not merged.dirty_outputs


@_LAW
@given(_documents(), _documents(serial=2))
def test_merging_a_run_that_changed_nothing_keeps_the_trunk(base: Document, trunk: Document) -> None:
    merged = merge_documents(base=base, trunk=trunk, ours=base, writes=_everything(base, trunk))
    assert isinstance(merged, Merged)
    assert merged.document == trunk
    assert not merged.hard


@_LAW
@given(_documents(), _documents(serial=2))
def test_merging_the_same_write_twice_changes_nothing(base: Document, ours: Document) -> None:
    writes = _everything(base, ours)
    once = merge_documents(base=base, trunk=base, ours=ours, writes=writes)
    assert isinstance(once, Merged)
    twice = merge_documents(base=base, trunk=once.document, ours=ours, writes=writes)
    assert isinstance(twice, Merged)
    assert twice.document.objects() == once.document.objects()
    assert twice.document.serial == once.document.serial


@pytest.mark.promise("P3")
@_LAW
@given(_documents(), _documents(serial=2), _documents(serial=2), st.sets(st.sampled_from(["t.a", "module.m.t.a"])))
def test_disjoint_runs_merge_in_either_order(base: Document, one: Document, other: Document, mine: set[str]) -> None:
    """Two runs that each touch only their own resources end in one state, whoever writes first."""
    yours = {"t.a", "t.b", "module.m.t.a", "module.m.t.b"} - mine
    left, right = _only(base, one, mine), _only(base, other, yours)
    assert _in_order(base, left, mine, right, yours) == _in_order(base, right, yours, left, mine)


def _only(base: Document, other: Document, addresses: set[str]) -> Document:
    """Return `base` with the managed objects at `addresses` taken from `other`."""
    diff = diff_documents(base, other)
    chosen = tuple(
        each for each in diff.objects if each.key.mode == "managed" and each.key.address().config() in addresses
    )
    header = replace(base, resources=(), outputs={}, source=None)
    return apply_diff(base, replace(diff, objects=chosen, outputs=(), headers=_needed(diff.headers), second=header))


def _needed(headers: Any) -> Any:
    return tuple(each for each in headers if each.after is not None)


def _in_order(base: Document, first: Document, w1: set[str], second: Document, w2: set[str]) -> Any:
    once = merge_documents(base=base, trunk=base, ours=first, writes=Writes(planned=frozenset(w1)))
    assert isinstance(once, Merged)
    writes = Writes(planned=frozenset(w2), hard_since=once.hard)
    twice = merge_documents(base=base, trunk=once.document, ours=second, writes=writes)
    assert isinstance(twice, Merged), "disjoint runs never conflict"
    return {str(key): msgspec.json.decode(raw) for key, raw in sorted(twice.document.objects().items(), key=str)}
