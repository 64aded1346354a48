from __future__ import annotations

import pytest

from interlock.errors import UsageError
from interlock.lock.claim import ADDRESSES_MAX, WHOLE_STATE, Claim, claim_of, conflicts

QUEUE = "genesyscloud_routing_queue.support"
SKILL = "genesyscloud_routing_skill.german"


def test_the_whole_state_conflicts_with_everything() -> None:
    assert conflicts(WHOLE_STATE, claim_of())
    assert conflicts(claim_of(reads=[QUEUE]), WHOLE_STATE)


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (claim_of(writes=[QUEUE]), claim_of(writes=[QUEUE]), True),
        (claim_of(writes=[QUEUE]), claim_of(reads=[QUEUE]), True),
        (claim_of(reads=[QUEUE]), claim_of(writes=[QUEUE]), True),
        (claim_of(reads=[QUEUE]), claim_of(reads=[QUEUE]), False),
        (claim_of(writes=[QUEUE], reads=[SKILL]), claim_of(writes=["x.y"], reads=[SKILL]), False),
        (claim_of(), claim_of(writes=[QUEUE]), False),
    ],
)
def test_a_write_conflicts_with_writes_and_reads_of_the_same_address(one: Claim, other: Claim, expected: bool) -> None:
    assert conflicts(one, other) is expected
    assert conflicts(other, one) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a.b", "a.b[0]", True),
        ('a.b["x"]', "a.b", True),
        ("a.b[0]", "a.b[1]", False),
        ('a.b["x"]', 'a.b["y"]', False),
        ('module.m["x"].a.b', 'module.m["y"].a.b', False),
        ('module.m["x"].a.b', "module.m.a.b", True),
        ('module.m["x"].a.b', 'module.m["x"].a.b[3]', True),
        ('module.m["x"].a.b[2]', 'module.m["x"].a.b[3]', False),
        ('module.m["a.b]."].a.b', 'module.m["c"].a.b', False),
        ("module.m.a.b", "a.b", False),
        ("data.a.b", "a.b", False),
    ],
)
def test_instances_are_apart_only_when_two_given_keys_differ(one: str, other: str, expected: bool) -> None:
    assert conflicts(claim_of(writes=[one]), claim_of(writes=[other])) is expected
    assert conflicts(claim_of(writes=[other]), claim_of(writes=[one])) is expected


def test_a_claim_with_an_unreadable_address_is_refused() -> None:
    with pytest.raises(UsageError, match="claim"):
        claim_of(writes=["not an address"])


def test_a_claim_is_the_whole_state_or_addresses_not_both() -> None:
    with pytest.raises(UsageError):
        Claim(whole=True, writes=frozenset([QUEUE]))


def test_a_claim_of_too_many_addresses_is_refused() -> None:
    with pytest.raises(UsageError):
        claim_of(writes=(f"a.b{n}" for n in range(ADDRESSES_MAX + 1)))
