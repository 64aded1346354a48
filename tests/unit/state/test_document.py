from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from interlock.errors import StateInvalid
from interlock.state import ObjectKey, content_digest, empty_document, parse_document, render_document
from interlock.state.document import MAX_STATE_BYTES

Make = Callable[..., Any]
LONG = b"100000000000000000000001"


def test_an_untouched_document_renders_to_its_own_bytes() -> None:
    body = b'{ "serial":3,"version":4, "lineage":"x",\n"resources":[],"outputs":null }'
    assert render_document(parse_document(body)) == body


def test_a_new_serial_changes_nothing_but_the_serial(state: Make, resource: Make, instance: Make) -> None:
    body: bytes = state(resource("t", "a", instance({"n": 7, "b": [], "c": {}}, 0), instance({"n": 8}, "k")), serial=41)
    body = body.replace(b'"n": 7', b'"n": ' + LONG).replace(b'"n": 8', b'"n": 1.100')
    assert render_document(parse_document(body).with_serial(42)) == body.replace(b'"serial": 41', b'"serial": 42')


def test_unknown_fields_survive_at_every_level(state: Make, resource: Make, instance: Make) -> None:
    odd = instance({"x": 1}, None, identity={"id": "\u00e9"}, skip_destroy=True)
    body = state(resource("t", "a", odd, moved_by={"who": 1}), future={"a": [1.50]})
    document = parse_document(body)
    assert document.unknown.keys() == {"future"}
    assert document.resources[0].unknown.keys() == {"moved_by"}
    again = parse_document(render_document(document.with_serial(9)))
    assert content_digest(again) == content_digest(document)
    assert b'"moved_by"' in render_document(again)
    assert b'"skip_destroy": true' in render_document(again)


def test_objects_are_indexed_by_instance_and_deposed_key(document: Make, resource: Make, instance: Make) -> None:
    found = document(
        resource("t", "a", instance({}, "k"), instance({}, "k", deposed="00ff00ff"), module="module.m[0]")
    ).objects()
    assert [str(key) for key in found] == ['module.m[0].t.a["k"]', 'module.m[0].t.a["k"] (deposed 00ff00ff)']
    assert ObjectKey("module.m[0]", "managed", "t", "a", "k") in found


def test_two_objects_with_one_key_cannot_be_indexed(document: Make, resource: Make, instance: Make) -> None:
    doubled = document(resource("t", "a", instance({}, 0), instance({}, 0)))
    with pytest.raises(StateInvalid) as caught:
        doubled.objects()
    assert caught.value.facts["finding"] == "duplicate-instance"


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        (b"", "truncated"),
        (b'{"version": 4, "serial', "truncated"),
        (b"[]", "not-a-state"),
        (b'{"version": "4"}', "not-a-state"),
        (b'{"version": 4, "resources": [1]}', "not-a-state"),
        (b'{"version": 4, "resources": [{"mode": 1}]}', "not-a-state"),
        (b'{"serial": 1, "lineage": "l", "meta": {}, "encrypted_data": "AAAA"}', "encrypted"),
        (b'{"version": 4} x', "not-json"),
        (b"<html>", "not-json"),
        (b'{"lineage": "\xff"}', "not-utf8"),
        (b'{"outputs": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "too-deep"),
    ],
)
def test_what_is_no_state_is_refused_with_its_finding(body: bytes, finding: str) -> None:
    with pytest.raises(StateInvalid) as caught:
        parse_document(body)
    assert caught.value.facts["finding"] == finding


def test_a_body_beyond_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.state.document.MAX_STATE_BYTES", 10)
    with pytest.raises(StateInvalid, match="not a Terraform state"):
        parse_document(b'{"version": 4}')
    assert MAX_STATE_BYTES > 100_000_000


def test_the_content_digest_ignores_what_terraform_writes_at_random(state: Make) -> None:
    checks: list[Any] = [
        {"object_kind": "check", "config_addr": "check.b", "status": "pass", "objects": None},
        {
            "object_kind": "check",
            "config_addr": "check.a",
            "status": "pass",
            "objects": [{"object_addr": "x[1]", "status": "pass"}, {"object_addr": "x[0]", "status": "pass"}],
        },
    ]
    shuffled = [{**checks[1], "objects": checks[1]["objects"][::-1]}, checks[0]]
    one, other = (parse_document(state(check_results=rows)) for rows in (checks, shuffled))
    assert content_digest(one) == content_digest(other)
    failed = parse_document(state(check_results=[{**checks[0], "status": "fail"}, checks[1]]))
    assert content_digest(failed) != content_digest(one)


def test_the_content_digest_ignores_layout_and_serial_but_not_values(simple: Make) -> None:
    body: bytes = simple({"a": 1, "b": 2})
    same = simple({"b": 2, "a": 1}, serial=9).replace(b"  ", b"")
    assert content_digest(parse_document(body)) == content_digest(parse_document(same))
    assert content_digest(parse_document(simple({"a": 1, "b": 3}))) != content_digest(parse_document(body))


def test_an_instance_moved_to_another_key_changes_the_content(document: Make, resource: Make, instance: Make) -> None:
    one = document(resource("t", "a", instance({"x": 1}, 0)))
    other = document(resource("t", "a", instance({"x": 1}, "0")))
    assert content_digest(one) != content_digest(other)


def test_a_seed_document_has_lineage_and_a_serial_above_zero() -> None:
    seed = empty_document(lineage="l")
    again = parse_document(render_document(seed))
    assert replace(again, source=None) == replace(seed, source=None)
    assert (again.serial, again.lineage, again.version) == (1, "l", 4)
