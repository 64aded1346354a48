import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.terraform.events import (
    MAX_LINE_BYTES,
    MAX_TEXT_CHARS,
    Action,
    Apply,
    ChangeSummary,
    Diagnostic,
    Event,
    Log,
    Other,
    Outputs,
    PlannedChange,
    Provision,
    Refresh,
    ResourceDrift,
    Severity,
    Stage,
    StateLock,
    Unparsed,
    Version,
    parse_event,
)
from interlock.terraform.plan import gather_plan

DATA = Path(__file__).parent / "data"
RESOURCE = {
    "addr": 'module.m.genesyscloud_user.u["a"]',
    "module": "module.m",
    "resource": 'genesyscloud_user.u["a"]',
    "implied_provider": "genesyscloud",
    "resource_type": "genesyscloud_user",
    "resource_name": "u",
    "resource_key": "a",
}


def read(name: str) -> list[Event]:
    return [parse_event(line) for line in (DATA / name).read_bytes().splitlines(keepends=True)]


def line(type_: str, **payload: object) -> str:
    return json.dumps({"@level": "info", "@message": "said", "@timestamp": "", "type": type_, **payload})


def test_a_recorded_apply_becomes_typed_events_without_a_rest() -> None:
    events = read("apply.jsonl")
    assert not [event for event in events if isinstance(event, Other | Unparsed)]
    assert events[0] == Version(
        message="Terraform 1.11.4",
        at=datetime(2026, 11, 24, 7, 35, 40, 70116, tzinfo=UTC),
        product="terraform",
        version="1.11.4",
        ui="1.2",
    )


def test_a_completed_operation_names_the_id_of_its_object() -> None:
    done = [event for event in read("apply.jsonl") if isinstance(event, Apply) and event.stage is Stage.COMPLETE]
    assert len(done) == 8
    assert all(event.id and event.action is Action.CREATE for event in done)


def test_keys_of_instances_are_text() -> None:
    changes = [event for event in read("plan.jsonl") if isinstance(event, PlannedChange)]
    keys = {event.resource.address: event.resource.key for event in changes}
    assert keys['terraform_data.b["x"]'] == "x"
    assert keys["terraform_data.a"] == ""


def test_a_move_names_the_address_it_came_from() -> None:
    moved = [event for event in read("plan.jsonl") if isinstance(event, PlannedChange) and event.previous]
    assert [(event.action, event.previous.address) for event in moved if event.previous] == [
        (Action.MOVE, "terraform_data.old")
    ]


def test_opentofus_plan_to_forget_an_object_and_make_its_like_is_a_replacement() -> None:
    event = parse_event(
        line("planned_change", change={"resource": RESOURCE, "action": "noop", "reason": "cannot_update"})
    )
    assert isinstance(event, PlannedChange)
    assert event.action is Action.REPLACE


@pytest.mark.parametrize("beside", [{"previous_resource": RESOURCE}, {"importing": {"id": "7"}}])
def test_a_plan_that_only_moves_or_imports_stays_one_to_do_nothing(beside: dict[str, object]) -> None:
    event = parse_event(line("planned_change", change={"resource": RESOURCE, "action": "noop", **beside}))
    assert isinstance(event, PlannedChange)
    assert event.action is Action.NOOP


@pytest.mark.parametrize("named", [{}, {"identity": {"id": "7"}}])
def test_an_import_by_identity_is_an_import(named: dict[str, object]) -> None:
    event = parse_event(line("planned_change", change={"resource": RESOURCE, "action": "noop", "importing": named}))
    facts = gather_plan([event])
    assert [change.importing for change in facts.changes] == ["(by its identity)"]
    assert not facts.is_empty


def test_refresh_summary_and_outputs_are_read() -> None:
    events = read("plan.jsonl")
    assert sum(isinstance(event, Refresh) for event in events) == 14
    summary = next(event for event in events if isinstance(event, ChangeSummary))
    assert (summary.operation, summary.add, summary.change, summary.remove) == ("plan", 1, 4, 2)
    outputs = next(event for event in events if isinstance(event, Outputs))
    assert [(output.name, output.action) for output in outputs.outputs] == [("o", "update")]


def test_a_failed_apply_tells_the_resource_and_the_place() -> None:
    events = read("failed-apply.jsonl")
    failed = next(event for event in events if isinstance(event, Apply) and event.stage is Stage.ERRORED)
    assert failed.resource.address == "terraform_data.bad"
    diagnostic = next(event for event in events if isinstance(event, Diagnostic))
    assert diagnostic.severity is Severity.ERROR
    assert diagnostic.summary == "local-exec provisioner error"
    assert (diagnostic.address, diagnostic.file, diagnostic.line) == ("terraform_data.bad", "main.tf", 6)
    assert not any(isinstance(event, ChangeSummary) and event.operation == "apply" for event in events)


def test_what_a_provisioner_prints_stays_its_output() -> None:
    said = [event.output for event in read("failed-apply.jsonl") if isinstance(event, Provision) and event.output]
    assert "Error 429" in said


def test_drift_and_lock_steps_are_events() -> None:
    drift = parse_event(line("resource_drift", change={"resource": RESOURCE, "action": "delete"}))
    assert isinstance(drift, ResourceDrift)
    assert drift.action is Action.DELETE
    assert drift.resource.address == RESOURCE["addr"]
    assert parse_event(line("state_lock_acquire")) == StateLock(message="said", step="acquire")


def test_init_messages_are_log_lines_with_their_code() -> None:
    assert parse_event(line("init_output", message_code="output_init_success_message")) == Log(
        message="said", code="output_init_success_message"
    )


def test_a_sensitive_output_keeps_no_value() -> None:
    event = parse_event(line("outputs", outputs={"p": {"sensitive": True, "value": "hunter2", "type": "string"}}))
    assert "hunter2" not in repr(event)


def test_an_output_keeps_its_json_value() -> None:
    event = parse_event(line("outputs", outputs={"p": {"value": {"a": [1, 100000000000000000000001]}}}))
    assert isinstance(event, Outputs)
    assert event.outputs[0].value == '{"a": [1, 100000000000000000000001]}'


def test_opentofu_names_itself() -> None:
    event = parse_event(line("version", tofu="1.10.2", terraform="1.10.2", ui="1.2"))
    assert isinstance(event, Version)
    assert (event.product, event.version) == ("tofu", "1.10.2")


def test_a_word_for_an_action_that_we_do_not_know_is_other() -> None:
    event = parse_event(line("planned_change", change={"resource": RESOURCE, "action": "transmute"}))
    assert isinstance(event, PlannedChange)
    assert event.action is Action.OTHER


@pytest.mark.parametrize(
    "text",
    [
        line("action_start", hook={"resource": RESOURCE}),
        line("policy_result", result=[1]),
        line("planned_change"),
        line("planned_change", change={"resource": {"nothing": 1}, "action": 7}),
        line("diagnostic", diagnostic={"severity": "catastrophe", "summary": "x"}),
        line("apply_complete", hook="none"),
    ],
)
def test_unknown_types_and_odd_payloads_become_other_with_their_message(text: str) -> None:
    event = parse_event(text)
    assert isinstance(event, Other)
    assert event.message == "said"


@pytest.mark.parametrize(
    "text", ["", "Error: Too many command line arguments", "{", '{"a": 1}', "[1, 2]", '{"type": 3}', "\ufeff{}", "null"]
)
def test_what_is_not_an_event_stays_text(text: str) -> None:
    assert parse_event(text) == Unparsed(message=text)


def test_deep_nesting_does_not_break_the_reader() -> None:
    text = '{"type":"outputs","@message":"m","outputs":{"a":{"value":' + "[" * 100_000 + "]" * 100_000 + "}}}"
    assert isinstance(parse_event(text), Other | Unparsed)


def test_a_line_beyond_the_limit_is_cut_not_read() -> None:
    event = parse_event(b'{"type":"log","@message":"' + b"x" * MAX_LINE_BYTES + b'"}')
    assert isinstance(event, Unparsed)
    assert event.cut
    assert len(event.message) == MAX_TEXT_CHARS


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_line_becomes_an_event(text: bytes | str) -> None:
    assert isinstance(parse_event(text), Event)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["version", "planned_change", "apply_complete", "outputs", "diagnostic", "change_summary", "log"]),
    st.dictionaries(st.sampled_from(["change", "hook", "changes", "outputs", "diagnostic", "terraform"]), json_values),
)
def test_any_payload_under_any_type_becomes_an_event(type_: str, payload: dict[str, object]) -> None:
    assert parse_event(json.dumps({"type": type_, "@message": "m", **payload})).message in {
        "m",
        json.dumps({"type": type_, "@message": "m", **payload}),
    }
