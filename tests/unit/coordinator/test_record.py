from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from interlock.coordinator.record import NEW_STATE, SCHEMA, Head, StateRecord, decode, encode
from interlock.errors import BackendUnavailable
from interlock.lock import NEW_LOCK, Paused, Requested, decide

NOW = datetime(2026, 11, 24, 8, 0, 0, 123456, tzinfo=UTC)
HEAD = Head(
    number=3,
    digest="d" * 64,
    serial=2**63,
    lineage="lineage",
    size_bytes=100,
    written_at=NOW,
    token=7,
    run="run",
    meta_digest="m" * 64,
)


@pytest.fixture
def record(ask: Callable[..., Requested]) -> StateRecord:
    lock = decide(NEW_LOCK, ask("ä"), now=NOW).lock
    return StateRecord(lock=decide(lock, ask("b"), now=NOW).lock, head=HEAD)


def test_a_record_survives_storage(record: StateRecord) -> None:
    assert decode(encode(record)) == record
    assert decode(encode(NEW_STATE)) == NEW_STATE


def test_unknown_fields_are_left_out(record: StateRecord) -> None:
    data = json.loads(encode(record))
    data["novelty"] = {"x": 1}
    data["head"]["novelty"] = 1
    assert decode(json.dumps(data).encode()) == record


def test_a_newer_record_is_refused_with_the_way_out(record: StateRecord) -> None:
    data = json.loads(encode(record))
    data["schema"] = SCHEMA + 1
    with pytest.raises(BackendUnavailable, match="newer") as caught:
        decode(json.dumps(data).encode())
    assert "upgrade" in caught.value.fix


@pytest.mark.parametrize(
    "value",
    [b"", b"\xff", b"[]", b"{}", b'{"schema": 1, "lock": {}, "head": null}', b"[" * 10_000, b'"\\ud800"'],
)
def test_what_is_no_record_is_refused(value: bytes) -> None:
    with pytest.raises(BackendUnavailable):
        decode(value)


def test_a_damaged_head_is_refused(record: StateRecord) -> None:
    data = json.loads(encode(record))
    data["head"]["serial"] = "x"
    with pytest.raises(BackendUnavailable):
        decode(json.dumps(data).encode())


@pytest.mark.promise("P3")
@pytest.mark.parametrize("name", ["schema", "lock", "head", *(f"head.{name}" for name in Head.__struct_fields__)])
def test_a_missing_field_is_damage_and_never_no_state(record: StateRecord, name: str) -> None:
    data = json.loads(encode(record))
    *path, last = name.split(".")
    owner = data[path[0]] if path else data
    del owner[last]
    with pytest.raises(BackendUnavailable):
        decode(json.dumps(data).encode())


@pytest.mark.promise("P3")
@pytest.mark.parametrize("kind", ["new", "lock and head", "paused"])
def test_no_flipped_bit_of_a_record_without_checksum_reads_as_no_state(record: StateRecord, kind: str) -> None:
    paused = replace(record, lock=decide(record.lock, Paused(by="ann", reason="a pause"), now=NOW).lock)
    whole = encode({"new": NEW_STATE, "lock and head": record, "paused": paused}[kind])
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = decode(bytes(damaged))
        except BackendUnavailable:
            continue
        assert (found.head is None) == (kind == "new"), bytes(damaged)
