from __future__ import annotations

import json

import pytest
from tests.unit.creations.test_creation import creation

from interlock.creations.holdings import Holdings, find_holdings
from interlock.errors import StateInvalid

QUEUE = "genesyscloud_routing_queue"


def state(*resources: tuple[str, dict[str, object]], **facts: object) -> bytes:
    made = [
        {
            "mode": "managed",
            "type": kind,
            "name": f"n{number}",
            "provider": 'provider["registry.terraform.io/mypurecloud/genesyscloud"]',
            "instances": [{"schema_version": 1, "attributes": attributes, **facts}],
        }
        for number, (kind, attributes) in enumerate(resources)
    ]
    document = {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}}
    return json.dumps({**document, "resources": made}).encode()


def test_an_object_is_held_by_its_type_and_id() -> None:
    held = Holdings(state((QUEUE, {"id": "I"})))
    assert held.holds(creation(type=QUEUE, id="I"))
    assert not held.holds(creation(type=QUEUE, id="J"))
    assert not held.holds(creation(type="genesyscloud_user", id="I"))


@pytest.mark.parametrize("facts", [{"status": "tainted"}, {"deposed": "0123abcd"}])
def test_a_tainted_and_a_deposed_object_are_held(facts: dict[str, object]) -> None:
    assert Holdings(state((QUEUE, {"id": "I"}), **facts)).holds(creation(type=QUEUE, id="I"))


def test_a_part_of_another_object_is_held_by_what_imports_it() -> None:
    label = "genesyscloud_knowledge_label"
    assert Holdings(state((label, {"id": "I,K"}))).holds(creation(type=label, id="I", import_id="I,K"))


def test_what_gets_another_id_when_it_is_published_is_held_by_its_name() -> None:
    form = "genesyscloud_quality_forms_evaluation"
    held = Holdings(state((form, {"id": "published", "name": "F"})))
    assert held.holds(creation(type=form, id="draft", name="F"))
    assert not Holdings(state((QUEUE, {"id": "a", "name": "F"}))).holds(creation(type=QUEUE, id="b", name="F"))


def test_an_object_of_an_unknown_type_is_held_where_its_id_stands() -> None:
    held = Holdings(state((QUEUE, {"id": "I", "peer_id": "0f6d"})))
    assert held.holds(creation(id="0f6d"))
    assert not held.holds(creation(id="1f6d"))
    assert not held.holds(creation())


def test_no_state_holds_nothing_and_one_that_cannot_be_read_says_so() -> None:
    assert not Holdings(None).holds(creation(type=QUEUE, id="I"))
    assert find_holdings(b"{") is None
    assert find_holdings(json.dumps({"encrypted_data": "x", "encryption_version": "v0"}).encode()) is None
    with pytest.raises(StateInvalid):
        Holdings(b"{")
