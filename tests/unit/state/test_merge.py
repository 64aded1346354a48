from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from interlock.state import (
    Conflicted,
    Document,
    Merged,
    Writes,
    hard_since,
    merge_documents,
    parse_document,
    remember_hard,
)

Make = Callable[..., Any]
ALL = Writes(planned=frozenset({"t.a", "t.b", "t.c"}))


def _values(document: Document) -> dict[str, Any]:
    return {str(key): msgspec.json.decode(raw)["attributes"].get("v", None) for key, raw in document.objects().items()}


def _merge(simple: Make, base: Any, trunk: Any, ours: Any, *, planned: str = "", hard: str = "", **more: Any) -> Any:
    made = [
        parse_document(simple(values, serial=serial, **more)) for values, serial in ((base, 1), (trunk, 3), (ours, 2))
    ]
    writes = Writes(planned=frozenset(planned.split()), hard_since=frozenset(hard.split()))
    return merge_documents(base=made[0], trunk=made[1], ours=made[2], writes=writes)


def test_disjoint_changes_join(simple: Make) -> None:
    merged = _merge(simple, {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 3}, planned="t.b", hard="t.a")
    assert isinstance(merged, Merged)
    assert _values(merged.document) == {"t.a": 2, "t.b": 3}
    assert (merged.document.serial, merged.hard) == (4, frozenset({"t.b"}))
    assert not merged.dropped


def test_additions_and_deletions_join(simple: Make) -> None:
    merged = _merge(simple, {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}, {"b": 1, "d": 1}, planned="t.a t.d", hard="t.c")
    assert _values(merged.document) == {"t.b": 1, "t.c": 1, "t.d": 1}
    assert merged.hard == {"t.a", "t.d"}


def test_one_instance_changed_by_two_plans_is_a_conflict(simple: Make) -> None:
    merged = _merge(simple, {"a": 1}, {"a": 2}, {"a": 3}, planned="t.a", hard="t.a")
    assert isinstance(merged, Conflicted)
    assert [each.address for each in merged.conflicts] == ["t.a"]


def test_both_plans_arriving_at_one_value_is_no_conflict(simple: Make) -> None:
    assert isinstance(_merge(simple, {"a": 1}, {"a": 2}, {"a": 2}, planned="t.a", hard="t.a"), Merged)


def test_a_planned_write_wins_over_a_soft_one(simple: Make) -> None:
    merged = _merge(simple, {"a": 1}, {"a": 2}, {"a": 3}, planned="t.a")
    assert _values(merged.document) == {"t.a": 3}


def test_a_soft_write_is_taken_when_the_trunk_stood_still(simple: Make) -> None:
    merged = _merge(simple, {"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 9, "b": 1})
    assert _values(merged.document) == {"t.a": 9, "t.b": 2}
    assert merged.hard == frozenset()


def test_a_soft_write_loses_against_a_newer_trunk(simple: Make) -> None:
    merged = _merge(simple, {"a": 1}, {"a": 2}, {"a": 9}, hard="t.a")
    assert _values(merged.document) == {"t.a": 2}
    assert merged.dropped == {"t.a"}
    assert merged.document.serial == 3, "nothing changed, so no serial is spent"


def test_a_soft_deletion_of_what_the_trunk_replaced_is_dropped(simple: Make) -> None:
    merged = _merge(simple, {"a": 1}, {"a": 2}, {}, hard="t.a")
    assert _values(merged.document) == {"t.a": 2}


def test_the_last_reader_of_a_data_source_wins(document: Make, resource: Make, instance: Make) -> None:
    made = [
        document(resource("d", "x", instance({"v": value}, None), mode="data"), serial=value) for value in (1, 2, 3)
    ]
    merged = merge_documents(base=made[0], trunk=made[1], ours=made[2], writes=Writes(planned=frozenset()))
    assert isinstance(merged, Merged)
    assert _values(merged.document) == {"data.d.x": 3}


def test_for_each_keys_added_by_both_runs_join(document: Make, resource: Make, instance: Make) -> None:
    def made(*keys: str, provider: str = "p") -> Document:
        result: Document = document(resource("t", "a", *[instance({"v": 1}, key) for key in keys], provider=provider))
        return result

    writes = Writes(planned=frozenset({'t.a["y"]'}), hard_since=frozenset({'t.a["x"]'}))
    merged = merge_documents(base=made("k"), trunk=made("k", "x"), ours=made("k", "y", provider="q"), writes=writes)
    assert isinstance(merged, Merged)
    assert list(_values(merged.document)) == ['t.a["k"]', 't.a["x"]', 't.a["y"]']
    assert merged.document.resources[0].provider == "q", "the provider comes from the writing side"


def test_an_address_without_keys_plans_all_instances(document: Make, resource: Make, instance: Make) -> None:
    base, ours = (document(resource("t", "a", instance({"v": value}, 0), module='module.m["k"]')) for value in (1, 2))
    merged = merge_documents(base=base, trunk=base, ours=ours, writes=Writes(planned=frozenset({"module.m.t.a"})))
    assert isinstance(merged, Merged)
    assert merged.hard == {'module.m["k"].t.a[0]'}


def test_outputs_changed_on_both_sides_are_dirty(simple: Make) -> None:
    def made(serial: int, **values: int) -> Document:
        return parse_document(simple({}, serial=serial, outputs={name: {"value": v} for name, v in values.items()}))

    merged = merge_documents(
        base=made(1, a=1, b=1, c=1, e=1), trunk=made(3, a=2, b=1, c=2, d=7), ours=made(2, a=1, b=3, c=3, e=1),
        writes=ALL,
    )  # fmt: skip
    assert isinstance(merged, Merged)
    values = {name: msgspec.json.decode(raw)["value"] for name, raw in merged.document.outputs.items()}
    assert values == {"a": 2, "b": 3, "c": 3, "d": 7}
    assert merged.dirty_outputs == {"c"}


def test_the_last_writer_of_a_check_wins_and_the_order_is_fixed(state: Make) -> None:
    def made(serial: int, **status: str) -> Document:
        rows = [{"object_kind": "check", "config_addr": name, "status": text} for name, text in status.items()]
        return parse_document(state(serial=serial, check_results=rows))

    merged = merge_documents(
        base=made(1, b="pass", a="pass"), trunk=made(2, c="fail", b="pass", a="pass"), ours=made(2, a="pass", b="fail"),
        writes=ALL,
    )  # fmt: skip
    assert isinstance(merged, Merged)
    rows = msgspec.json.decode(merged.document.check_results)
    assert [(row["config_addr"], row["status"]) for row in rows] == [("a", "pass"), ("b", "fail"), ("c", "fail")]


def test_documents_without_a_common_past_conflict(simple: Make) -> None:
    mine, other = parse_document(simple({})), parse_document(simple({}, lineage="else"))
    merged = merge_documents(base=mine, trunk=mine, ours=other, writes=ALL)
    assert isinstance(merged, Conflicted)


def test_the_newest_terraform_version_is_kept(simple: Make) -> None:
    def made(version: str, value: int) -> Document:
        return parse_document(simple({"a": value}, terraform_version=version))

    for versions, newest in ((("1.9.0", "1.11.4"), "1.11.4"), (("1.12.0", "1.12.0-rc1"), "1.12.0")):
        merged = merge_documents(
            base=made(versions[0], 1), trunk=made(versions[0], 1), ours=made(versions[1], 2), writes=ALL
        )
        assert isinstance(merged, Merged)
        assert merged.document.terraform_version == newest


def test_hard_writes_are_remembered_with_their_serial(simple: Make) -> None:
    merged = _merge(simple, {"a": 1}, {"a": 1}, {"a": 2}, planned="t.a")
    written = remember_hard({"t.b": 2}, merged)
    assert written == {"t.a": 4, "t.b": 2}
    assert hard_since(written, 2) == {"t.a"}
