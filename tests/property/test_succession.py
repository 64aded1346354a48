"""May this document follow that one: whoever asks gets one answer (promise P6), for every pair of small documents."""

from __future__ import annotations

import itertools
import json

import pytest

from interlock.coordinator.archive import StateArchive, Writer
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import StateInvalid
from interlock.existing import StoredState
from interlock.lock import Requested
from interlock.site.succession import find_refusal
from interlock.state import Refusal, judge_successor, parse_document
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

pytestmark = pytest.mark.promise("P6")
STATE = "prod"
CHECKS = [{"object_kind": "check", "config_addr": name, "status": "pass"} for name in ("check.a", "check.b")]


def spell(lineage: str, serial: int, name: str, *, is_other_spelling: bool) -> bytes:
    rows = [
        {
            "mode": "managed",
            "type": "t",
            "name": name,
            "provider": 'provider["x/y"]',
            "instances": [{"attributes": {"id": "1"}}],
        }
    ]
    fields = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage, "outputs": {}}
    checks = CHECKS[::-1] if is_other_spelling else CHECKS
    return json.dumps(
        {**fields, "resources": rows, "check_results": checks}, indent=1 if is_other_spelling else 2
    ).encode()


DOCUMENTS = [
    spell(lineage, serial, name, is_other_spelling=other)
    for lineage, serial, name, other in itertools.product(("l", "m"), (1, 2, 3), ("a", "b"), (False, True))
]


async def archive_says(current: bytes, candidate: bytes) -> str:
    """Let the archive take one after the other; return the code of its refusal, or nothing."""
    clock, blobs = FakeClock(), MemoryBlobs()
    records = MemoryRecords(clock=clock)
    coordinator = LocalCoordinator(records, clock, CountingIds())
    archive = StateArchive(coordinator, records, blobs, clock)
    standing = await coordinator.request(STATE, Requested(ticket="t", run="r", who="ann", lease_s=60, patience_s=40))
    writer = Writer(who="ann", run="r", ticket="t", token=standing.token)
    await archive.write(STATE, current, writer=writer)
    try:
        written = await archive.write(STATE, candidate, writer=writer)
    except StateInvalid as error:
        return str(error.facts["finding"])
    return "same" if written.repeated else ""


def rule_says(current: bytes, candidate: bytes) -> str:
    judged = judge_successor(parse_document(current), parse_document(candidate))
    if isinstance(judged, Refusal):
        return judged.code
    return "same" if judged.name == "SAME" else ""


async def test_the_archive_answers_as_the_rule_does() -> None:
    for current, candidate in itertools.product(DOCUMENTS, DOCUMENTS):
        assert await archive_says(current, candidate) == rule_says(current, candidate), (current, candidate)


def test_what_lies_on_a_backend_elsewhere_is_judged_by_the_same_rule() -> None:
    for current, candidate in itertools.product(DOCUMENTS, DOCUMENTS):
        stored = StoredState(body=current)
        refusal = find_refusal(stored, parse_document(candidate), None)
        said = rule_says(current, candidate)
        assert (refusal.code if refusal else "") == ("" if said == "same" else said)


def test_a_document_that_is_only_spelled_otherwise_is_no_second_one() -> None:
    one, other = (spell("l", 2, "a", is_other_spelling=is_other) for is_other in (False, True))
    assert one != other
    assert rule_says(one, other) == "same"
