from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.opentofu_documents import FIRST

from interlock.drift.audit import Event
from interlock.drift.decisions import Choice, Ruling, decide, with_flows
from interlock.drift.finding import Finding, Kind, Scan, Verdict
from interlock.drift.inspector import Inspector, Subject
from interlock.drift.ledger import LedgerBook
from interlock.drift.unmanaged import LeftBehind, Listed, Look
from interlock.errors import AuthenticationFailed, DriftGate
from interlock.genesys.listings import Listing
from interlock.genesys.spellings import spellings
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

Make = Callable[..., Any]
KIND = "genesyscloud_routing_queue"
QUEUE = f"{KIND}.q"
FLOW = "genesyscloud_flow.f"
PRIOR_FLOW = {"address": FLOW, "mode": "managed", "type": "genesyscloud_flow", "values": {"id": "f-1", "name": "F"}}


class Site:
    """An organisation as the inspector sees it."""

    client = "terraform"

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.log: list[Event] | None = []
        self.lists: dict[str, list[dict[str, Any]]] = {}

    async def published(self, flow: str) -> str | None:
        return self.versions.get(flow)

    async def events(self, _since: datetime, _until: datetime) -> AsyncIterator[list[Event]]:
        if self.log is None:
            raise AuthenticationFailed("/audits/query is not allowed")
        yield self.log

    async def entities(self, listing: Listing) -> AsyncIterator[Any]:
        for entity in self.lists.get(listing.path, []):
            yield entity


class Bench:
    """An inspector with everything that it works with."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.book = LedgerBook(MemoryRecords(clock=self.clock), MemoryBlobs())
        self.site: Site | None = Site()
        self.since: datetime | None = self.clock.now() - timedelta(days=1)
        self.others: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.left_behind: tuple[LeftBehind, ...] = ()

    def inspector(self, look: Look | None = None) -> Inspector:
        return Inspector(
            Subject(state="s", run="r", rules=spellings(), look=look or Look(), left_behind=self.left_behind),
            book=self.book,
            states=self.states,
            written_at=self.written_at,
            organisation=self.organisation,  # type: ignore[arg-type]
            clock=self.clock,
            ids=CountingIds(),
        )

    async def states(self) -> AsyncIterator[tuple[str, bytes]]:
        for name, body in self.others.items():
            yield name, body

    async def written_at(self) -> datetime | None:
        return self.since

    @asynccontextmanager
    async def organisation(self) -> AsyncIterator[Site | None]:
        yield self.site

    async def generate(self, blocks: str, addresses: tuple[str, ...]) -> tuple[str, bytes, str]:
        assert all(address in blocks for address in addresses)
        self.asked += addresses
        return "", b"", "it was not possible"

    async def scan(self, shown: bytes, look: Look | None = None) -> Scan:
        await self.inspector(look).scan(shown, self.generate)
        found = await self.book.last_scan("s")
        assert found is not None
        return found

    async def decide(self, finding: Finding, choice: Choice, scan: Scan) -> None:
        ruling = Ruling(choice=choice, who="ana", at=scan.at)
        await self.book.change("s", lambda ledger: decide(ledger, finding, ruling, salt=scan.salt))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def drifted(make_entry: Make, make_plan: Make) -> bytes:
    shown: bytes = make_plan([make_entry(QUEUE, {"id": "q-1", "d": "old"}, {"id": "q-1", "d": "new"})])
    return shown


def event(bench: Bench, entity: str, who: str = "Ana", client: str = "ui", action: str = "Update") -> Event:
    return Event(entity=entity, action=action, at=bench.clock.now(), who=who, user="u", client=client)


async def test_a_part_that_cannot_be_looked_at_is_a_note(bench: Bench, drifted: bytes) -> None:
    assert bench.site is not None
    bench.site.log = None
    found = await bench.scan(drifted)
    assert len(found.open) == 1
    assert found.notes == ("nobody can be named: /audits/query is not allowed",)


async def test_what_a_run_left_behind_is_named_once_without_a_listing_at_the_address_that_was_planned(
    bench: Bench, drifted: bytes
) -> None:
    assert bench.site is not None
    listed = Listed(type=KIND, id="q-9", name="Support")
    bench.left_behind = (LeftBehind(listed=listed, address=f"{KIND}.support", run="r0"),)
    [found] = [each for each in (await bench.scan(drifted)).findings if each.kind is Kind.UNMANAGED]
    assert (found.address, found.object) == (f"{KIND}.support", "q-9")
    assert found.hint == "made by run r0, in no state"
    assert bench.asked == [f"{KIND}.support"], "its configuration is generated"
    bench.site.lists["/routing/queues"] = [{"id": "q-9", "name": "Support"}, {"id": "q-1", "name": "x"}]
    again = await bench.scan(drifted, Look(types=(KIND,)))
    assert [each.object for each in again.findings if each.kind is Kind.UNMANAGED] == ["q-9"]


async def test_without_a_gateway_drift_is_still_found(bench: Bench, drifted: bytes) -> None:
    bench.site = None
    found = await bench.scan(drifted)
    assert len(found.open) == 1
    assert "no gateway" in found.notes[0]


async def test_a_decision_holds_for_later_scans_and_is_forgotten_when_it_is_settled(
    bench: Bench, drifted: bytes, make_plan: Make
) -> None:
    first = await bench.scan(drifted)
    await bench.decide(first.findings[0], Choice.REVERT, first)
    assert (await bench.scan(drifted)).findings[0].verdict is Verdict.REVERT
    assert len((await bench.book.read("s")).decisions) == 1
    await bench.scan(make_plan([]))
    assert (await bench.book.read("s")).decisions == ()


async def test_a_flow_that_is_seen_for_the_first_time_is_ours_unless_a_stranger_published_it(
    bench: Bench, make_plan: Make
) -> None:
    assert bench.site is not None
    shown = make_plan([], [], [PRIOR_FLOW])
    bench.site.versions = {"f-1": "4.0"}
    bench.site.log = [event(bench, "f-1")]
    assert [each.address for each in (await bench.scan(shown)).open] == [FLOW]
    assert (await bench.book.read("s")).flows == {}
    bench.site.log = [event(bench, "f-1", client="terraform")]
    assert (await bench.scan(shown)).findings == ()
    assert (await bench.book.read("s")).flows == {"f-1": "4.0"}
    bench.site.versions, bench.site.log = {"f-1": "5.0"}, []
    assert [each.address for each in (await bench.scan(shown)).open] == [FLOW]


async def test_what_a_run_publishes_is_ours(bench: Bench, make_plan: Make) -> None:
    assert bench.site is not None
    bench.site.versions = {"f-1": "5.0"}
    await bench.inspector().published(["f-1", "f-2"])
    assert (await bench.book.read("s")).flows == {"f-1": "5.0"}
    assert (await bench.scan(make_plan([], [], [PRIOR_FLOW]))).findings == ()


async def test_objects_of_other_states_are_not_unmanaged(bench: Bench, make_plan: Make) -> None:
    assert bench.site is not None
    bench.site.lists["/routing/skills"] = [
        {"id": "a", "name": "Ours"},
        {"id": "b", "name": "Theirs"},
        {"id": "c", "name": "C"},
    ]
    bench.others["other"] = (
        b'{"version":4,"serial":1,"lineage":"l","resources":[{"mode":"managed","type":"genesyscloud_routing_skill",'
        b'"name":"x","provider": "provider.p","instances":[{"attributes":{"id":"b"}}]}]}'
    )
    prior = {"address": "t.ours", "mode": "managed", "type": "t", "values": {"id": "a"}}
    found = await bench.scan(make_plan([], [], [prior]), Look(types=("genesyscloud_routing_skill",)))
    assert [each.object for each in found.open] == ["c"]
    assert found.elsewhere == 1
    assert bench.asked == ["genesyscloud_routing_skill.c"]
    assert found.notes == ("configuration could not be generated: it was not possible",)


async def test_a_decision_about_what_was_not_listed_this_time_stays(bench: Bench, make_plan: Make) -> None:
    assert bench.site is not None
    bench.site.lists["/routing/skills"] = [{"id": "c", "name": "C"}]
    look = Look(types=("genesyscloud_routing_skill",))
    first = await bench.scan(make_plan([]), look)
    await bench.decide(first.findings[0], Choice.ACCEPT, first)
    await bench.scan(make_plan([]))
    assert (await bench.scan(make_plan([]), look)).findings[0].verdict is Verdict.ACCEPTED
    bench.site.lists["/routing/skills"] = []
    await bench.scan(make_plan([]), look)
    assert (await bench.book.read("s")).decisions == ()


async def test_the_gate_lets_nothing_pass_that_it_cannot_see(bench: Bench, make_entry: Make, make_plan: Make) -> None:
    shown = make_plan([], [make_entry(FLOW, {"id": "f-1", "hash": "a"}, {"id": "f-1", "hash": "b"})])
    await bench.inspector().check(shown)
    known: Mapping[str, str] = {"f-1": "1.0"}
    await bench.book.change("s", lambda ledger: with_flows(ledger, known))
    assert bench.site is not None
    bench.site.versions = {"f-1": "1.0"}
    await bench.inspector().check(shown)
    bench.site.versions = {"f-1": "2.0"}
    with pytest.raises(DriftGate):
        await bench.inspector().check(shown)
    bench.site = None
    with pytest.raises(DriftGate, match="published over"):
        await bench.inspector().check(shown)


async def test_encrypted_states_are_named_since_what_they_manage_may_be_called_unmanaged(
    bench: Bench, make_plan: Make
) -> None:
    assert bench.site is not None
    bench.site.lists["/routing/skills"] = [{"id": "b", "name": "Theirs"}]
    bench.others = {"other": FIRST}
    found = await bench.scan(make_plan([], [], []), Look(types=("genesyscloud_routing_skill",)))
    assert [each.object for each in found.open] == ["b"]
    assert "encrypted, so what they manage may be listed as unmanaged: other" in found.notes
