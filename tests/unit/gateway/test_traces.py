from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.gateway.traces import Trace, is_guarded, leaves_traces, read_trace

pytestmark = pytest.mark.promise("P8")


def trace(method: str, sent: Any, found: Any, status: int = 200) -> Trace:
    return read_trace(method, json.dumps(sent).encode(), status, json.dumps(found).encode())


def test_a_put_is_done_when_all_that_it_sent_is_there() -> None:
    there = {"id": "1", "name": "a", "on": True, "version": 8, "skills": [{"id": "s", "name": "S"}]}
    assert trace("PUT", {"name": "a", "on": True, "skills": [{"id": "s"}], "version": 7}, there) is Trace.DONE
    assert trace("PUT", {"name": "a"}, there) is Trace.DONE


def test_a_put_is_not_done_while_its_version_is_still_current() -> None:
    assert trace("PUT", {"name": "a", "version": 7}, {"name": "old", "version": 7}) is Trace.NOT_DONE
    assert trace("PUT", {"name": "a", "version": "7"}, {"name": "a", "version": 7}) is Trace.NOT_DONE


def test_another_version_with_other_content_tells_nothing() -> None:
    assert trace("PUT", {"name": "a", "version": 7}, {"name": "b", "version": 9}) is Trace.UNCLEAR
    assert trace("PATCH", {"name": "a"}, {"name": "b"}) is Trace.UNCLEAR


def test_a_field_without_value_may_be_missing_and_one_with_a_value_may_not() -> None:
    assert trace("PUT", {"name": "a", "note": "", "more": []}, {"name": "a"}) is Trace.DONE
    assert trace("PUT", {"name": "a", "password": "x"}, {"name": "a"}) is Trace.UNCLEAR


def test_a_deletion_is_done_when_the_object_is_gone() -> None:
    assert read_trace("DELETE", b"", 404, b"") is Trace.DONE
    assert trace("DELETE", None, {"id": "1", "state": "deleted"}) is Trace.DONE
    assert trace("DELETE", None, {"id": "1", "state": "active"}) is Trace.NOT_DONE
    assert trace("DELETE", None, {}, status=503) is Trace.UNCLEAR


@pytest.mark.parametrize(("sent", "found"), [(b"[1]", b"{}"), (b"{", b"{}"), (b"{}", b"nonsense"), (b"[" * 500, b"{}")])
def test_what_cannot_be_read_tells_nothing(sent: bytes, found: bytes) -> None:
    assert read_trace("PUT", sent, 200, found) is Trace.UNCLEAR


def test_only_writes_to_an_object_leave_traces_and_only_a_version_guards() -> None:
    assert [leaves_traces(each) for each in ("PUT", "PATCH", "DELETE", "POST")] == [True, True, True, False]
    assert is_guarded(b'{"version": 3}')
    assert not is_guarded(b'{"version": null}')
    assert not is_guarded(b"[]")


names = st.text("abc", max_size=3)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(names, documents, max_size=4)


@given(fields, fields, st.integers(1, 9))
def test_an_object_that_holds_all_that_was_sent_under_a_new_version_shows_it_whatever_else_it_has(
    sent: dict[str, Any], more: dict[str, Any], version: int
) -> None:
    found = more | sent | {"version": version + 1}
    assert trace("PUT", sent | {"version": version}, found) is Trace.DONE
    assert trace("PUT", sent | {"version": version + 1}, found) is Trace.NOT_DONE
