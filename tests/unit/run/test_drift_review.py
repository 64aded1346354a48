"""What one run does about drift: when it looks, and what it lets pass."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock.drift.ledger import LedgerBook
from interlock.errors import BackendUnavailable
from interlock.genesys.spellings import Equal
from interlock.run import drift_review
from interlock.run.drift_review import DriftReview, Means, rules_of, times_of
from interlock.run.order import Operation, Order
from interlock.run.summary import Summary
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.terraform.events import Action, PlannedChange, Resource, ResourceDrift
from interlock.terraform.plan import PlanFacts
from interlock.testing.clock import START, FakeClock
from interlock.testing.ids import CountingIds


async def no_states() -> AsyncIterator[tuple[str, bytes]]:
    return
    yield


async def never() -> datetime | None:
    return None


def review(*, drift_gate: bool = True, section: Mapping[str, Any] | None = None) -> DriftReview:
    order = Order(
        run="r",
        operation=Operation.APPLY,
        directory="d",
        state="prod",
        who="ann",
        home="h",
        drift_gate=drift_gate,
    )
    means = Means(
        book=LedgerBook(MemoryRecords(clock=FakeClock()), MemoryBlobs()),
        way=None,
        states=no_states,
        written_at=never,
        section=lambda: section or {},
        runs=Path("nowhere"),
    )
    return DriftReview(order, means, clock=FakeClock(), ids=CountingIds())


def changes(address: str) -> PlanFacts:
    return PlanFacts(changes=(PlannedChange(resource=Resource(address=address), action=Action.UPDATE),))


DRIFTED = PlanFacts(drift=(ResourceDrift(resource=Resource(address="genesyscloud_user.a"), action=Action.UPDATE),))


@pytest.mark.parametrize(
    ("gate", "plan", "looks"),
    [
        (True, DRIFTED, True),
        (False, DRIFTED, False),
        (True, PlanFacts(), False),
        (True, changes("genesyscloud_user.a"), False),
        (True, changes("genesyscloud_flow.ivr"), True),
        (True, changes("module.x.genesyscloud_flow.ivr[0]"), True),
        (False, changes("genesyscloud_flow.ivr"), False),
    ],
)
def test_an_apply_is_looked_at_where_the_gate_is_on_and_there_is_something_to_see(
    gate: bool, plan: PlanFacts, looks: bool
) -> None:
    assert review(drift_gate=gate).is_needed(plan) is looks


class FakeInspector:
    """Notes which flows it is told of; may never answer."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.flows: list[str] = []
        self._hangs = hangs

    async def published(self, flows: list[str]) -> None:
        self.flows += flows
        if self._hangs:
            await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("made", "noted"),
    [
        ({"genesyscloud_flow.ivr": "f1", "genesyscloud_user.a": "u1"}, ["f1"]),
        ({'module.x["a"].genesyscloud_flow.ivr': "f2"}, ["f2"]),
        ({"genesyscloud_user.a": "u1"}, []),
        ({}, []),
    ],
)
async def test_of_what_was_made_the_flows_are_noted(
    monkeypatch: pytest.MonkeyPatch, made: dict[str, str], noted: list[str]
) -> None:
    inspector = FakeInspector()
    monkeypatch.setattr(DriftReview, "_inspector", lambda _self: inspector)
    await review().applied(made)
    assert inspector.flows == noted


async def test_an_organisation_that_does_not_answer_does_not_keep_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DriftReview, "_inspector", lambda _self: FakeInspector(hangs=True))
    monkeypatch.setattr(drift_review, "_NOTE_S", 0.0)
    with pytest.raises(BackendUnavailable, match="did not answer"):
        await review().applied({"genesyscloud_flow.ivr": "f1"})


async def test_without_a_way_to_the_api_nobody_is_asked() -> None:
    async with review()._organisation() as organisation:
        assert organisation is None


def test_rules_of_the_file_come_before_the_built_in_ones() -> None:
    built_in = rules_of({})
    own = {"type": "genesyscloud_user", "attribute": "name", "equal": "case", "reason": "ours"}
    first, *rest = rules_of({"noise": [own]})
    assert (first.equal, first.reason) == (Equal.CASE, "ours")
    assert tuple(rest) == built_in


def test_a_home_tells_when_its_applies_could_change_the_organisation_and_since_when_it_knows() -> None:
    def record(run: str, operation: str, *, start_s: float, held_s: float | None, end_s: float | None) -> Summary:
        held, ended = (None if each is None else START + timedelta(seconds=each) for each in (held_s, end_s))
        facts = {"state": "s", "who": "ann", "directory": "", "phase": "ended", "held_at": held, "ended_at": ended}
        began = START + timedelta(seconds=start_s)
        return Summary(run=run, operation=operation, started_at=began, **facts)  # type: ignore[arg-type]

    runs = [
        record("r3", "apply", start_s=30, held_s=40, end_s=None),
        record("r2", "plan", start_s=20, held_s=21, end_s=25),
        record("r1", "destroy", start_s=10, held_s=None, end_s=12),
        record("r0", "drift", start_s=0, held_s=1, end_s=2),
    ]
    times, since = times_of(runs)
    assert [(each.run, (each.begun - START).seconds, each.ended) for each in times] == [
        ("r3", 40, None),
        ("r1", 10, START + timedelta(seconds=12)),
    ]
    assert since == START
    assert times_of([]) == ([], None)
