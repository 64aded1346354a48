"""A state that OpenTofu encrypted: what can be said of it, and that nobody takes it for an empty one."""

from __future__ import annotations

import pytest
from tests.opentofu_documents import FIRST, LINEAGE, SECOND, changed, in_clear

from interlock.errors import StateInvalid, UsageError
from interlock.state import (
    ENCRYPTED,
    EncryptedDocument,
    Refusal,
    Step,
    is_encrypted,
    judge_successor,
    parse_content,
    parse_document,
    parse_state,
    plan_restore,
    refusing,
    verify_state,
)


def test_lineage_serial_and_the_names_of_its_keys_are_read() -> None:
    document = parse_state(FIRST)
    assert isinstance(document, EncryptedDocument)
    assert (document.lineage, document.serial, document.keys) == (LINEAGE, 1, ("key_provider.pbkdf2.main",))
    assert is_encrypted(FIRST)
    assert not is_encrypted(in_clear(1))
    assert not is_encrypted(b"")
    assert not is_encrypted(b"{")


@pytest.mark.promise("P6")
def test_whoever_looks_into_a_state_is_told_that_it_is_encrypted_and_never_that_it_is_empty() -> None:
    with pytest.raises(StateInvalid) as caught:
        parse_document(FIRST)
    assert caught.value.facts["finding"] == ENCRYPTED
    with pytest.raises(UsageError, match="OpenTofu encrypted it"):
        parse_content(FIRST, "state s")
    assert parse_content(in_clear(1, "a"), "state s").instance_count() == 1
    with pytest.raises(StateInvalid):
        parse_content(b"{}x", "state s")


@pytest.mark.promise("P6")
def test_verify_says_what_it_could_not_check() -> None:
    (finding,) = verify_state(FIRST)
    assert finding.code == ENCRYPTED
    assert not finding.refuses


@pytest.mark.promise("P6")
@pytest.mark.parametrize(
    ("body", "finding"),
    [
        (changed(FIRST, lineage=""), "no-lineage"),
        (changed(FIRST, serial=0), "serial-zero"),
        (changed(FIRST, serial=2**64), "serial-range"),
        (changed(FIRST, serial="1"), "not-a-state"),
        (changed(FIRST, encrypted_data="not base64"), "bad-encryption"),
        (changed(FIRST, encrypted_data=""), "bad-encryption"),
        (changed(FIRST, Serial=9), "bad-encryption"),
        (FIRST.replace(b'"serial": 1', b'"serial": 1, "serial": 9'), "bad-encryption"),
        (FIRST[:-40], "truncated"),
    ],
)
def test_a_damaged_encrypted_state_is_refused(body: bytes, finding: str) -> None:
    assert [each.code for each in refusing(verify_state(body))] == [finding]


@pytest.mark.promise("P3", "P6")
def test_an_encrypted_state_follows_by_lineage_and_serial() -> None:
    first, second = parse_state(FIRST), parse_state(SECOND)
    assert judge_successor(None, first) is Step.FIRST
    assert judge_successor(first, second, frozenset()) is Step.NEXT
    assert judge_successor(first, parse_state(changed(FIRST))) is Step.SAME, "other white space"
    for current, candidate, code in (
        (second, FIRST, "older-serial"),
        (first, changed(SECOND, serial=1), "same-serial"),
        (first, changed(SECOND, lineage="other"), "foreign-lineage"),
    ):
        judged = judge_successor(current, parse_state(candidate))
        assert isinstance(judged, Refusal)
        assert judged.code == code


@pytest.mark.promise("P6")
def test_encryption_comes_and_goes_and_what_can_be_compared_still_is() -> None:
    plain, encrypted = parse_state(in_clear(1, "a", "b")), parse_state(SECOND)
    assert judge_successor(plain, encrypted, frozenset()) is Step.NEXT
    assert judge_successor(encrypted, parse_state(in_clear(3)), frozenset()) is Step.NEXT
    refused = judge_successor(plain, parse_state(in_clear(2, "a")), frozenset())
    assert isinstance(refused, Refusal)


@pytest.mark.promise("P3")
def test_a_restored_version_keeps_its_bytes_since_opentofu_refuses_it_under_another_serial() -> None:
    plan = plan_restore(current=parse_state(SECOND), target=parse_state(FIRST), highest_serial=7)
    assert (plan.body(), plan.next_serial, plan.opaque) == (FIRST, 1, True)
    opened = plan_restore(current=parse_state(SECOND), target=parse_state(in_clear(1, "a")), highest_serial=7)
    assert (opened.next_serial, opened.opaque) == (8, True)
    gone = plan_restore(current=None, target=parse_state(FIRST))
    assert gone.body() == FIRST
