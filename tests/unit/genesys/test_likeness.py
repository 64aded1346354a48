from __future__ import annotations

import pytest

from interlock.genesys.likeness import compare, find_object_path


def test_what_has_the_same_name_in_both_is_compared() -> None:
    attributes = {"id": "I", "name": "A", "division_id": "D", "auto_answer_only": True, "acw_timeout_ms": 300000}
    shown = {"id": "I", "name": "A", "division": {"id": "E"}, "autoAnswerOnly": True, "acwTimeoutMs": 300000.0}
    found = compare(attributes, shown)
    assert found.same == ("acw_timeout_ms", "auto_answer_only", "name")
    assert found.different == ("division_id",)


@pytest.mark.parametrize("value", [None, "", [], {}, ["a"], {"a": 1}])
def test_what_is_empty_or_not_plain_is_not_compared(value: object) -> None:
    found = compare({"name": value}, {"name": "A"})
    assert found.same == found.different == ()


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("genesyscloud_routing_queue", "/api/v2/routing/queues/I"),
        ("genesyscloud_flow", "/api/v2/flows/I"),
        ("genesyscloud_knowledge_label", None),
        ("aws_instance", None),
    ],
)
def test_an_object_is_read_at_its_own_path(kind: str, path: str | None) -> None:
    assert find_object_path(kind, "I") == path
