import json

import pytest

from interlock.dependencies import from_plan_json, from_state
from interlock.errors import UsageError
from interlock.state import parse_document

PLAN = {
    "format_version": "1.2",
    "prior_state": {
        "values": {
            "root_module": {
                "resources": [
                    {"mode": "managed", "type": "a_b", "name": "x", "index": "k", "values": {"id": "1", "name": "One"}},
                    {"mode": "data", "type": "a_b", "name": "d", "values": {"id": "1"}},
                ],
                "child_modules": [
                    {
                        "address": "module.m[0]",
                        "resources": [{"mode": "managed", "type": "a_b", "name": "y", "values": {"id": 7}}],
                    }
                ],
            }
        }
    },
}


def test_a_plans_prior_state_is_an_inventory() -> None:
    inventory = from_plan_json(json.dumps(PLAN))
    assert str(inventory.by_id["1"].address) == 'a_b.x["k"]'
    assert inventory.counts == {"a_b.x": 1, "data.a_b.d": 1, "module.m.a_b.y": 1}


def test_a_shown_state_is_an_inventory_too() -> None:
    prior = PLAN["prior_state"]
    assert isinstance(prior, dict)
    assert "1" in from_plan_json(json.dumps({"format_version": "1.0", **prior})).by_id


def test_deposed_objects_are_not_counted() -> None:
    document = {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 1,
        "lineage": "l",
        "resources": [
            {
                "mode": "managed",
                "type": "a_b",
                "name": "x",
                "provider": "provider.p",
                "instances": [
                    {"schema_version": 0, "attributes": {"id": "new", "name": ["odd"]}},
                    {"schema_version": 0, "deposed": "00000001", "attributes": {"id": "old"}},
                ],
            }
        ],
    }
    inventory = from_state(parse_document(json.dumps(document).encode()))
    assert list(inventory.by_id) == ["new"]


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        from_plan_json(text)


@pytest.mark.parametrize("text", ['{"format_version":"1"}', '{"format_version":"1","values":{"root_module":[1]}}'])
def test_a_document_without_objects_is_empty(text: str) -> None:
    assert not from_plan_json(text).by_id
