"""What may follow what is stored, where the backend asks nothing: also when one of the two is encrypted."""

from __future__ import annotations

import pytest
from tests.opentofu_documents import FIRST, SECOND, changed, in_clear

from interlock.existing import StoredState
from interlock.site.succession import find_fault, find_refusal
from interlock.state import Refusal, parse_state


def stored(body: bytes) -> StoredState:
    return StoredState(body=body)


def code(found: Refusal | None) -> str:
    return found.code if found is not None else ""


@pytest.mark.promise("P3", "P6")
def test_an_encrypted_state_is_judged_by_what_it_has_in_clear() -> None:
    before = stored(FIRST)
    assert code(find_fault(before, stored(SECOND), frozenset())) == ""
    assert code(find_fault(stored(in_clear(1, "a")), stored(SECOND), frozenset())) == "", "who sees what it lacks?"
    assert code(find_fault(stored(SECOND), before, frozenset())) == "older-serial"
    assert code(find_fault(before, stored(changed(SECOND, lineage="other")), frozenset())) == "foreign-lineage"
    assert code(find_fault(before, stored(SECOND[:-60]), frozenset())) == "truncated"


@pytest.mark.promise("P3")
def test_only_a_runs_own_writer_takes_a_serial_again_and_only_where_nobody_can_compare() -> None:
    again = changed(SECOND, serial=1)
    for own, expected in ((False, "same-serial"), (True, "")):
        assert code(find_fault(stored(FIRST), stored(again), frozenset(), own=own)) == expected
        assert code(find_fault(stored(in_clear(1, "a")), stored(again), frozenset(), own=own)) == expected
        assert code(find_refusal(stored(FIRST), parse_state(in_clear(1, "a")), frozenset(), own=own)) == expected
    assert code(find_fault(stored(in_clear(1, "a")), stored(in_clear(1, "b")), frozenset(), own=True)) == "same-serial"
    assert code(find_fault(stored(SECOND), stored(FIRST), frozenset(), own=True)) == "older-serial"
