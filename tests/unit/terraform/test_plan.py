import json
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import TerraformFailed
from interlock.terraform.events import Action, parse_event
from interlock.terraform.plan import SENSITIVE, UNKNOWN, Counts, PlanDocument, gather_plan, hide_secrets, parse_plan

DATA = Path(__file__).parent / "data"
GONE = {"terraform_data.gone", "terraform_data.r", "terraform_data.forget", "terraform_data.old"}


@pytest.fixture
def document() -> PlanDocument:
    return parse_plan((DATA / "plan.json").read_bytes())


def entry(before: object, after: object, **change: object) -> dict[str, Any]:
    actions = change.pop("actions", ["update"])
    return {
        "address": "t.n",
        "mode": "managed",
        "type": "t",
        "name": "n",
        "change": {"actions": actions, "before": before, "after": after, **change},
    }


def plan_of(*entries: dict[str, Any], **more: object) -> PlanDocument:
    return parse_plan(json.dumps({"format_version": "1.2", "resource_changes": entries, **more}))


def paths(document: PlanDocument) -> list[tuple[str, object, object]]:
    return [(found.path, found.before, found.after) for found in document.changes[0].attributes]


def test_the_events_of_a_plan_give_its_facts() -> None:
    facts = gather_plan(map(parse_event, (DATA / "plan.jsonl").read_bytes().splitlines()))
    assert facts.counts == Counts(add=1, change=4, remove=2, forget=1)
    assert facts.changed_outputs == ("o",)
    assert facts.destroyed == ("terraform_data.gone", "terraform_data.r")
    assert not facts.is_empty


def test_deleted_replaced_forgotten_and_moved_addresses_may_leave_the_state() -> None:
    facts = gather_plan(map(parse_event, (DATA / "plan.jsonl").read_bytes().splitlines()))
    assert facts.may_delete == GONE


def test_both_sources_agree_on_what_may_leave_the_state(document: PlanDocument) -> None:
    assert document.may_delete == GONE
    assert document.counts == Counts(add=1, change=4, remove=2, forget=1)


def test_an_import_by_identity_and_a_replacement_that_keeps_the_object_are_counted() -> None:
    by_identity = {"actions": ["no-op"], "importing": {"identity": {"id": "7"}}}
    forgotten = {"actions": ["forget", "create"], "before": {}, "after": {}}
    document = plan_of(
        {"address": "t.a", "mode": "managed", "change": by_identity},
        {"address": "t.b", "mode": "managed", "change": forgotten},
    )
    assert document.counts == Counts(add=1, imports=1, forget=1)
    assert [change.address for change in document.changed] == ["t.a", "t.b"]


def test_an_object_that_the_refresh_found_gone_may_leave_the_state() -> None:
    drift = {"type": "resource_drift", "@message": "", "change": {"resource": {"addr": "t.n"}, "action": "delete"}}
    assert gather_plan([parse_event(json.dumps(drift))]).may_delete == {"t.n"}


def test_a_plan_without_changes_is_empty_and_without_summary_has_no_counts() -> None:
    assert gather_plan([]).is_empty
    assert gather_plan([]).counts is None


def test_attributes_show_old_and_new_and_what_is_not_known_yet(document: PlanDocument) -> None:
    changed = {change.address: change for change in document.changes}
    shown = [(found.path, found.before, found.after) for found in changed["terraform_data.a"].attributes]
    assert shown == [("input", "one", "two"), ("output", "one", UNKNOWN)]


def test_the_attribute_that_forces_a_replacement_is_marked(document: PlanDocument) -> None:
    replaced = next(change for change in document.changes if change.action is Action.REPLACE)
    assert [found.path for found in replaced.attributes if found.forces_replacement] == ["triggers_replace[0]"]


def test_a_moved_only_entry_is_a_move_and_not_a_no_op(document: PlanDocument) -> None:
    moved = next(change for change in document.changes if change.previous)
    assert moved.action is Action.MOVE
    assert moved in document.changed


def test_secrets_are_masked_where_marked_and_where_copied(document: PlanDocument) -> None:
    assert "s3cr3t" not in repr(document)
    secret = next(change for change in document.changes if change.address == "terraform_data.s")
    assert secret.attributes[0].path == "input.t"
    assert secret.attributes[0].before == SENSITIVE
    assert secret.attributes[0].sensitive


def test_a_secret_below_a_changed_shape_is_masked() -> None:
    plan = plan_of(entry({"a": ["hunter2!"]}, {"a": "plain"}, before_sensitive={"a": [True]}))
    assert paths(plan) == [("a", [SENSITIVE], "plain")]


def test_paths_are_spelled_as_in_terraform() -> None:
    plan = plan_of(entry({"m": {"a b": 1}, "l": [1, 2]}, {"m": {"a b": 2}, "l": [1]}))
    assert paths(plan) == [("l[1]", 2, None), ('m["a b"]', 1, 2)]


def test_true_is_not_one_and_numbers_stay_exact() -> None:
    plan = plan_of(
        entry({"a": 1, "b": 9007199254740993, "c": 1.5}, {"a": True, "b": 9007199254740992, "c": 1.5}),
    )
    assert [path for path, _, _ in paths(plan)] == ["a", "b"]
    exact = parse_plan(
        '{"format_version":"1.2","resource_changes":[{"address":"t.n","change":{"actions":["update"],'
        '"before":{"x":0.10000000000000000001},"after":{"x":0.1}}}]}'
    )
    assert paths(exact) == [("x", "0.10000000000000000001", 0.1)]


def test_a_created_object_lists_its_attributes() -> None:
    plan = plan_of(entry(None, {"name": "x"}, actions=["create"], after_unknown={"id": True}))
    assert paths(plan) == [("id", None, UNKNOWN), ("name", None, "x")]


def test_output_changes_are_read_and_masked() -> None:
    change = {"actions": ["update"], "before": "a", "after": "b", "before_sensitive": True, "after_sensitive": True}
    plan = plan_of(output_changes={"o": change})
    assert plan.outputs[0].before == plan.outputs[0].after == SENSITIVE


def test_an_errored_plan_says_so() -> None:
    assert plan_of(errored=True).errored
    assert plan_of().applyable is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "{",
        '{"format_version":"9.0"}',
        '{"format_version":"1.2","resource_changes":[1]}',
        '{"format_version":"1.2","resource_changes":[{"address":"a"}]}',
        '{"format_version":"1.2","output_changes":{"o":1}}',
        '{"format_version":"1.2","resource_changes":7}',
        "[" * 100_000,
    ],
)
def test_what_is_not_a_plan_is_refused(text: str) -> None:
    with pytest.raises(TerraformFailed):
        parse_plan(text)


def test_copies_of_secrets_are_hidden_in_a_printed_plan() -> None:
    printed = '  ~ output = "hu\\"sh-hush" -> (known after apply)\n  name = "not hush"\n  <<-EOT\n    line one\n  EOT\n'
    hidden = hide_secrets(printed, frozenset({'hu"sh-hush', "hush", "line one\nok\n"}))
    assert hidden.splitlines() == [
        "  ~ output = (sensitive value) -> (known after apply)",
        '  name = "not hush"',
        "  <<-EOT",
        "    (sensitive value)",
        "  EOT",
    ]


@pytest.mark.promise("P10")
@pytest.mark.parametrize("mark", ["\x85", "\x0b", "\x0c", "\x1c", "\u2028", "\u2029", "\r"])
def test_a_secret_with_a_character_at_which_python_parts_lines_is_hidden_whole(mark: str) -> None:
    secret = f"abcd{mark}efgh"
    assert hide_secrets(f"  ~ note = {secret}\n", frozenset({secret})) == f"  ~ note = {SENSITIVE}\n"
