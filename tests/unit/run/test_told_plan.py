import json

import pytest

from interlock.run.told_plan import outputs_of_state, told_outputs, told_plan
from interlock.secrecy import know_secrets
from interlock.terraform.events import Output
from interlock.terraform.plan import parse_plan

pytestmark = pytest.mark.promise("P10")


def output(name: str, value: object, *, sensitive: bool = False) -> Output:
    return Output(name=name, sensitive=sensitive, value="" if sensitive else json.dumps(value))


def test_a_secret_output_is_masked_by_its_mark_its_name_and_its_looks() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nx"
    outputs = [
        output("marked", "s3cret", sensitive=True),
        output("api_token", "abcdef123"),
        output("nested", {"client_secret": "abcdef123", "plain": "x"}),
        output("key", key),
        output("known", "of-the-environment"),
        output("plain", [1, "x"]),
    ]
    told = told_outputs(outputs, know_secrets(["of-the-environment"]))
    assert told["marked"] == told["api_token"] == "(sensitive value)"
    assert told["nested"] == {"client_secret": "(sensitive)", "plain": "x"}
    assert "BEGIN" not in str(told["key"])
    assert "environment" not in str(told["known"])
    assert told["plain"] == [1, "x"]


def test_outputs_are_read_from_a_state_and_none_from_what_cannot_be_read() -> None:
    state = {"outputs": {"b": {"value": 1}, "a": {"value": "x", "sensitive": True}}}
    assert outputs_of_state(json.dumps(state).encode()) == (output("a", "x", sensitive=True), output("b", 1))
    for body in (None, b"", b"not JSON", b"[]", b'{"outputs": 5}', b"\xff"):
        assert outputs_of_state(body) == ()


def test_a_plan_for_programs_has_resources_attributes_and_outputs_by_address_and_name() -> None:
    def change(address: str, before: object, after: object, *actions: str) -> dict[str, object]:
        return {"address": address, "change": {"before": before, "after": after, "actions": list(actions)}}

    changes = [
        change("a.b[10]", {"x": 1}, {"x": 2}, "update"),
        change("a.b[9]", None, {"password": "hunter2hunter2"}, "create"),
        change("a.c", {}, {}, "no-op"),
    ]
    outputs = {"o": {"actions": ["create"], "before": None, "after": "v"}}
    told = told_plan(
        parse_plan(json.dumps({"format_version": "1.2", "resource_changes": changes, "output_changes": outputs}))
    )
    rows = told["resources"]
    assert isinstance(rows, list)
    assert [row["address"] for row in rows] == ["a.b[9]", "a.b[10]"]
    assert rows[1]["attributes"][0]["path"] == "x"
    assert "hunter2" not in json.dumps(told)
    assert told["outputs"] == [{"name": "o", "action": "create", "before": None, "after": "v", "sensitive": False}]
    assert told["counts"] == {"add": 1, "change": 1, "remove": 0, "imports": 0, "forget": 0}
