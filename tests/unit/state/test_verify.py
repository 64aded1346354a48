from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from interlock.state import refusing, verify_state
from interlock.state.verify import MAX_FINDINGS

Make = Callable[..., Any]


def _codes(body: bytes, **options: Any) -> list[tuple[str, str]]:
    return [(finding.code, finding.address) for finding in verify_state(body, **options)]


def test_a_whole_state_has_no_findings(simple: Make) -> None:
    assert verify_state(simple({"a": 1}), thorough=True) == ()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"version": 3}, "format-version"),
        ({"version": 5}, "format-version"),
        ({"lineage": ""}, "no-lineage"),
        ({"serial": 0}, "serial-zero"),
        ({"serial": -1}, "serial-range"),
        ({"serial": 2**64}, "serial-range"),
        ({"check_results": 3}, "bad-checks"),
    ],
)
def test_a_bad_header_refuses(state: Make, more: dict[str, Any], code: str) -> None:
    assert _codes(state(**more)) == [(code, "")]
    assert refusing(verify_state(state(**more)))


def test_truncated_bytes_and_foreign_bytes_are_one_finding(simple: Make) -> None:
    assert _codes(simple({"a": 1})[:-20]) == [("truncated", "")]
    assert _codes(b"PK\x03\x04") == [("not-json", "")]
    assert _codes(simple({"a": 1}), limit_bytes=10) == [("too-large", "")]


def test_an_instance_recorded_twice_is_named(state: Make, resource: Make, instance: Make) -> None:
    body = state(resource("t", "a", instance({}, 0), instance({}, 1)), resource("t", "a", instance({}, 1)))
    assert _codes(body) == [("duplicate-instance", "t.a[1]")]


def test_deposed_objects_beside_a_current_one_are_only_worth_knowing(
    state: Make, resource: Make, instance: Make
) -> None:
    objects = [instance({}, 0), instance({}, 0, deposed="0000000a"), instance({}, 0, deposed="0000000b")]
    findings = verify_state(state(resource("t", "a", *objects)))
    assert [(each.code, each.refuses) for each in findings] == [("deposed-left", False)] * 2
    assert not refusing(findings)


def test_one_deposed_key_twice_refuses(state: Make, resource: Make, instance: Make) -> None:
    objects = [instance({}, 0, deposed="0000000a"), instance({}, 0, deposed="0000000a")]
    assert ("duplicate-instance", "t.a[0]") in _codes(state(resource("t", "a", *objects)))


@pytest.mark.parametrize("key", [True, 1.5, [1], {"a": 1}, -1])
def test_a_bad_index_key_is_found(state: Make, resource: Make, instance: Make, key: Any) -> None:
    assert _codes(state(resource("t", "a", instance({}, key)))) == [("bad-index-key", "t.a")]


def test_odd_objects_are_found(state: Make, resource: Make, instance: Make) -> None:
    body = state(
        resource("t", "a", instance({}, 0, deposed="zz")),
        resource("t", "b", instance({}, None, status="tainted")),
        resource("t", "c", instance({}, None, status="odd")),
        resource("t", "d", instance({}, None), instance({}, 1)),
        resource("", "e", mode="ephemeral", provider=""),
    )
    assert _codes(body) == [
        ("bad-deposed-key", "t.a[0]"),
        ("tainted", "t.b"),
        ("bad-status", "t.c"),
        ("mixed-index-keys", "t.d"),
        ("bad-mode", "e"),
        ("bad-address", "e"),
        ("bad-provider", ".e"),
    ]


def test_a_dependency_that_leads_nowhere_is_found_when_asked(state: Make, resource: Make, instance: Make) -> None:
    body = state(
        resource("t", "a", instance({}, None, dependencies=["t.gone", "module.m.t.b"])),
        resource("t", "b", instance({}, None), module="module.m[0]"),
    )
    assert _codes(body) == []
    assert _codes(body, thorough=True) == [("dangling-dependency", "t.a")]


def test_findings_are_limited_but_never_hide_a_refusal(state: Make, resource: Make, instance: Make) -> None:
    many = [instance({}, place, status="tainted") for place in range(MAX_FINDINGS + 50)]
    findings = verify_state(state(resource("t", "a", *many), resource("t", "b", instance({}, 1.5))))
    assert len(findings) == MAX_FINDINGS + 1
    assert [each.code for each in refusing(findings)] == ["bad-index-key"]
