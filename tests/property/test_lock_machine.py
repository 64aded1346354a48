"""P1, P2 and P4 over random histories, with duplicated, late and reordered events and clocks that jump."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import combinations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from interlock.lock import (
    NEW_LOCK,
    WHOLE_STATE,
    Broken,
    Bumped,
    Claim,
    Decision,
    Disconnected,
    Elapsed,
    Event,
    Grant,
    HeldBack,
    Lock,
    LockIdBound,
    LockIdUnbound,
    Paused,
    Priority,
    Refuse,
    Released,
    Renewed,
    Requested,
    Resumed,
    Revoke,
    StillWaiting,
    Withdrawn,
    assert_follows,
    claim_of,
    conflicts,
    decide,
    from_data,
    may_write,
    to_data,
    to_json_data,
)
from interlock.lock.invariants import broken_rules
from interlock.lock.turns import due_waiters, without_paused

T0 = datetime(2026, 11, 24, tzinfo=UTC)
TICKETS = [f"t{n}" for n in range(6)]
CLAIMS = [
    WHOLE_STATE,
    claim_of(writes=["x.a"]),
    claim_of(writes=["x.b"], reads=["x.a"]),
    claim_of(writes=["x.b[0]"]),
    claim_of(reads=["x.a", "x.b"]),
    claim_of(),
]

tickets = st.sampled_from(TICKETS)
tokens = st.integers(0, 12)
attempts = st.sampled_from(["", "A0", "A1", "A2"])
lock_ids = st.sampled_from(["L0", "L1", "L2"])
requests = st.builds(
    Requested,
    ticket=tickets,
    who=st.just("w"),
    claim=st.sampled_from(CLAIMS),
    priority=st.sampled_from(Priority),
    lease_s=st.just(60.0),
    patience_s=st.sampled_from([10.0, 40.0]),
    lock_id=st.none() | lock_ids,
    queue=st.booleans(),
    polls=st.booleans(),
    attempt=attempts,
    held=st.sampled_from(["", "", "window"]),
    through=st.sampled_from(["", "", "r", "s"]),
)
events: st.SearchStrategy[Event] = st.one_of(
    requests,
    requests,
    st.builds(Renewed, ticket=tickets, token=st.none() | tokens),
    st.builds(Released, ticket=tickets, lock_id=st.none() | lock_ids, token=st.none() | tokens),
    st.builds(Released, lock_id=lock_ids),
    st.builds(Withdrawn, ticket=tickets, attempt=attempts),
    st.builds(Disconnected, ticket=tickets, attempt=st.sampled_from(["A0", "A1", "A2"]), patience_s=st.just(5.0)),
    st.builds(StillWaiting, tickets=st.frozensets(tickets)),
    st.builds(Broken, ticket=tickets, token=tokens, by=st.just("b"), reason=st.just("r")),
    st.builds(Bumped, ticket=tickets),
    st.builds(HeldBack, ticket=tickets, reason=st.sampled_from(["", "window"])),
    st.builds(LockIdBound, ticket=tickets, token=tokens, lock_id=lock_ids),
    st.builds(LockIdUnbound, ticket=tickets, token=tokens, lock_id=lock_ids),
    st.just(Elapsed()),
    st.builds(Paused, by=st.just("f"), reason=st.sampled_from(["r", "s"]), instead_of=st.sampled_from(["", "r", "s"])),
    st.builds(Resumed, by=st.just("f"), reason=st.sampled_from(["", "r", "s"])),
)
steps = st.tuples(events, st.floats(-30, 60))


@dataclass
class History:
    """What an observer saw: every grant and revocation, in order."""

    lock: Lock = NEW_LOCK
    now: datetime = T0
    granted: dict[int, str] = field(default_factory=dict)
    fenced: set[int] = field(default_factory=set)

    def tell(self, event: Event, after_s: float) -> Decision:
        self.now += timedelta(seconds=after_s)
        before = self.lock
        decision = decide(before, event, now=self.now)
        self.lock = decision.lock
        self._check(before, decision, event)
        return decision

    def _check(self, before: Lock, decision: Decision, event: Event) -> None:
        after = decision.lock
        assert_follows(before, after)
        assert not list(broken_rules(after))
        if any(isinstance(effect, Refuse) for effect in decision.effects):
            assert after is before
        for one, other in combinations(after.holders, 2):
            assert not conflicts(one.claim, other.claim), "P1"
        self._check_tokens(before, decision)
        assert not list(due_waiters(without_paused(after))), "somebody waits without a reason"
        if before.pause is not None and before.pause == after.pause:
            new = {holder.ticket for holder in after.holders} - {holder.ticket for holder in before.holders}
            through = {each.ticket for each in before.waiters if each.through == before.pause.reason}
            if isinstance(event, Requested) and event.through == before.pause.reason:
                through.add(event.ticket)
            assert new <= through, "a pause holds back all but those that settle it"

    def _check_tokens(self, before: Lock, decision: Decision) -> None:
        current = {holder.token: holder.ticket for holder in decision.lock.holders}
        for effect in decision.effects:
            if isinstance(effect, Grant):
                assert current[effect.token] == effect.ticket
                assert effect.token > before.token or self.granted[effect.token] == effect.ticket, "P4"
                self.granted[effect.token] = effect.ticket
            if isinstance(effect, Revoke):
                assert decision.lock.token > before.token, "P4"
        self.fenced |= self.granted.keys() - current.keys()
        assert not self.fenced & current.keys(), "P4: a fenced token is current again"
        assert all(not may_write(decision.lock, token) for token in self.fenced)


@pytest.mark.promise("P1", "P2", "P4")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=40))
def test_no_history_breaks_a_promise(history: list[tuple[Event, float]]) -> None:
    seen = History()
    for event, after_s in history:
        seen.tell(event, after_s)


@pytest.mark.promise("P1", "P2", "P4")
@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=25), st.data())
def test_duplicated_late_and_reordered_events_break_no_promise(
    history: list[tuple[Event, float]], data: st.DataObject
) -> None:
    sent = [event for event, _ in history]
    delivered = data.draw(st.permutations(sent + sent)) if sent else []
    seen = History()
    for event in delivered:
        seen.tell(event, 1.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=30))
def test_an_event_told_twice_in_a_row_is_the_same_as_once_but_for_signs_of_life(
    history: list[tuple[Event, float]],
) -> None:
    seen = History()
    for event, after_s in history:
        seen.tell(event, after_s)
        once = seen.lock
        seen.tell(event, 0.0)
        if not isinstance(event, Renewed):
            assert seen.lock == once


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=30))
def test_every_reachable_lock_survives_storage(history: list[tuple[Event, float]]) -> None:
    seen = History()
    for event, after_s in history:
        seen.tell(event, after_s)
        assert from_data(json.loads(msgspec.json.encode(to_data(seen.lock)))) == seen.lock
        assert msgspec.json.encode(to_json_data(seen.lock)) == msgspec.json.encode(to_data(seen.lock))


@pytest.mark.promise("P2")
@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(Priority), min_size=1, max_size=30))
def test_each_class_is_served_first_come_first_served_and_none_starves(priorities: list[Priority]) -> None:
    seen = History()
    ticket_class: dict[str, Priority] = {}
    for n, priority in enumerate(priorities):
        ticket_class[f"t{n}"] = priority
        seen.tell(Requested(ticket=f"t{n}", who="", priority=priority, lease_s=60, patience_s=3600), 0.0)
    served: list[str] = []
    while seen.lock.holders:
        served.append(seen.lock.holders[0].ticket)
        seen.tell(Released(ticket=served[-1]), 1.0)
    assert sorted(served) == sorted(ticket_class)
    for priority in Priority:
        same = [int(ticket[1:]) for ticket in served if ticket_class[ticket] is priority]
        assert same == sorted(same), "P2"


addresses = st.sampled_from(["x.a", "x.a[0]", "x.a[1]", "x.b", 'module.m["k"].x.a', "module.m.x.a", "data.x.a"])
claims = st.just(WHOLE_STATE) | st.builds(Claim, writes=st.frozensets(addresses), reads=st.frozensets(addresses))


@pytest.mark.promise("P1")
@given(claims, claims)
def test_conflict_is_symmetric_and_more_claimed_means_no_less_conflict(one: Claim, other: Claim) -> None:
    assert conflicts(one, other) == conflicts(other, one)
    if not one.whole and conflicts(one, other):
        assert conflicts(claim_of(writes=one.writes | {"x.z"}, reads=one.reads), other)


class Deliveries(RuleBasedStateMachine):
    """Runs that live their lives over a network that delays, repeats and drops what they send."""

    sent = Bundle("sent")

    @initialize()
    def begin(self) -> None:
        self.seen = History()
        self.numbers = 0
        self.order: dict[Priority, list[str]] = {priority: [] for priority in Priority}
        self.first_grant: list[str] = []
        self.priority: dict[str, Priority] = {}

    def _deliver(self, event: Event, after_s: float = 1.0) -> None:
        before = {waiter.ticket for waiter in self.seen.lock.waiters}
        held = {holder.ticket for holder in self.seen.lock.holders}
        self.seen.tell(event, after_s)
        waiting = {waiter.ticket for waiter in self.seen.lock.waiters}
        holding = [holder.ticket for holder in self.seen.lock.holders]
        self.first_grant += [ticket for ticket in holding if ticket not in held]
        for ticket in [*holding, *sorted(waiting)]:
            if ticket not in before | held:
                self.order[self.priority[ticket]].append(ticket)
        for ticket in before - waiting - set(holding):  # withdrawn or silent: its place is gone
            self.order[self.priority[ticket]].remove(ticket)

    @rule(target=sent, priority=st.sampled_from(Priority))
    def ask(self, priority: Priority) -> Event:
        self.numbers += 1
        ticket = f"run{self.numbers}"
        self.priority[ticket] = priority
        event = Requested(ticket=ticket, who="", priority=priority, lease_s=60, patience_s=30, attempt=f"{ticket}/1")
        self._deliver(event)
        return event

    @precondition(lambda self: self.seen.lock.holders)
    @rule(target=sent)
    def finish(self) -> Event:
        holder = self.seen.lock.holders[0]
        event = Released(ticket=holder.ticket, token=holder.token)
        self._deliver(event)
        return event

    @precondition(lambda self: self.seen.lock.holders)
    @rule(target=sent)
    def recover(self) -> Event:
        holder = self.seen.lock.holders[0]
        event = Broken(ticket=holder.ticket, token=holder.token, by="b", reason="gone")
        self._deliver(event)
        return event

    @precondition(lambda self: self.seen.lock.waiters)
    @rule(target=sent, data=st.data())
    def leave(self, data: st.DataObject) -> Event:
        ticket = data.draw(st.sampled_from([waiter.ticket for waiter in self.seen.lock.waiters]))
        event = Withdrawn(ticket=ticket, attempt=f"{ticket}/1")
        self._deliver(event)
        return event

    @rule()
    def everybody_shows_a_sign_of_life(self) -> None:
        for waiter in self.seen.lock.waiters:
            self._deliver(Renewed(ticket=waiter.ticket), 0.1)

    @rule(after_s=st.floats(-20, 40))
    def time_passes(self, after_s: float) -> None:
        self._deliver(Elapsed(), after_s)

    @rule(event=sent)
    def an_old_message_arrives_again(self, event: Event) -> None:
        self._deliver(event)

    @invariant()
    def one_holds_at_most(self) -> None:
        assert len(self.seen.lock.holders) <= 1, "P1"

    @invariant()
    def those_who_stayed_are_served_in_the_order_in_which_they_joined(self) -> None:
        for priority, joined in self.order.items():
            served = [ticket for ticket in self.first_grant if self.priority[ticket] is priority]
            assert served == [ticket for ticket in joined if ticket in served], "P2"


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
