import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import UsageError
from interlock.terraform.lockinfo import (
    MAX_LOCK_INFO_BYTES,
    LockInfo,
    build_lock_info,
    find_lock_info,
    parse_go_time,
    parse_lock_info,
    render_lock_info,
)

# Sent by Terraform 1.11.4 with LOCK to a server on loopback.
SENT = (
    b'{"ID":"40150456-55e6-4734-2272-9b337a4425b4","Operation":"OperationTypePlan","Info":"","Who":"root@vm",'
    b'"Version":"1.11.4","Created":"2026-11-24T07:42:08.619022164Z","Path":""}'
)
# Printed by Terraform 1.11.4 when that server answered 423.
PRINTED = """Error message: HTTP remote state already locked: ID=11111111-2222-3333-4444-555555555555
Lock Info:
  ID:        40150456-55e6-4734-2272-9b337a4425b4
  Path:      \n  Operation: OperationTypePlan
  Who:       root@vm
  Version:   1.11.4
  Created:   2026-11-24 07:42:08.619022164 +0000 UTC
  Info:      \n

Terraform acquires a state lock to protect the state from being written
"""


def test_what_terraform_sends_is_read_and_written_back_unchanged() -> None:
    info = parse_lock_info(SENT)
    assert info.id == "40150456-55e6-4734-2272-9b337a4425b4"
    assert info.who == "root@vm"
    assert info.created_at == datetime(2026, 11, 24, 7, 42, 8, 619022, tzinfo=UTC)
    assert render_lock_info(info) == SENT


def test_the_printed_block_gives_the_same_lock() -> None:
    info = find_lock_info(PRINTED)
    assert info is not None
    sent = parse_lock_info(SENT)
    assert (info.id, info.operation, info.who, info.version, info.path) == (
        sent.id,
        sent.operation,
        sent.who,
        sent.version,
        "",
    )
    assert info.created_at == sent.created_at


def test_free_text_names_no_lock() -> None:
    assert find_lock_info("position 3 of 5") is None
    assert find_lock_info("Lock Info:\n  Who: somebody\n") is None


def test_unknown_fields_survive() -> None:
    info = parse_lock_info('{"ID":"a","Mood":{"x":[1]}}')
    assert json.loads(render_lock_info(info))["Mood"] == {"x": [1]}


def test_a_rendered_lock_is_always_complete() -> None:
    document = json.loads(render_lock_info(LockInfo(id="a")))
    assert list(document) == ["ID", "Operation", "Info", "Who", "Version", "Created", "Path"]
    assert all(isinstance(value, str) for value in document.values())


def test_a_built_lock_is_dated() -> None:
    now = datetime(2026, 11, 24, 8, 0, 0, 5, tzinfo=UTC)
    info = build_lock_info(id="a", operation="interlock", who="ci@host", version="0.1", now=now)
    assert info.created == "2026-11-24T08:00:00.000005Z"
    assert info.created_at == now


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"ID":""}',
        b'{"ID":7}',
        b'{"ID":"a","Who":null}',
        b'{"ID":"' + b"a" * 5000 + b'"}',
        b"[" * 60_000,
        b" " * (MAX_LOCK_INFO_BYTES + 1),
    ],
)
def test_an_unusable_document_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        parse_lock_info(data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T09:00:00+02:00", datetime(2026, 11, 24, 7, tzinfo=UTC)),
        ("2026-11-24 07:00:00 +0000 UTC", datetime(2026, 11, 24, 7, tzinfo=UTC)),
        ("2026-11-24T07:00:00Z", datetime(2026, 11, 24, 7, tzinfo=UTC)),
        ("2026-13-24T07:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
    ],
)
def test_go_times_are_read(text: str, expected: datetime | None) -> None:
    assert parse_go_time(text) == expected


@given(st.text(max_size=300))
def test_any_text_has_a_lock_or_none(text: str) -> None:
    found = find_lock_info("Lock Info:\n  ID: " + text)
    assert found is None or found.id


@given(st.builds(LockInfo, id=st.text(min_size=1, max_size=20), who=st.text(max_size=20), path=st.text(max_size=20)))
def test_rendering_loses_nothing(info: LockInfo) -> None:
    assert parse_lock_info(render_lock_info(info)) == info
