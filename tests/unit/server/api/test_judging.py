"""Tests of what a client may tell a lock, and as whom it is written down."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import Struct
from msgspec.structs import replace

from interlock.errors import AuthenticationFailed, UsageError
from interlock.lock import (
    NEW_LOCK,
    Broken,
    Bumped,
    Disconnected,
    Elapsed,
    Event,
    Lock,
    LockIdBound,
    Paused,
    Priority,
    Released,
    Renewed,
    Requested,
    Resumed,
    StillWaiting,
    Withdrawn,
    decide,
)
from interlock.rights import Right, Role, may
from interlock.rights.token import Forbidden
from interlock.server.api.judging import check_writer, is_of, judge, signed

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
STATE = "prod/routing"


class Somebody(Struct, frozen=True):
    key: str
    role: Role
    glob: str = "**"

    @property
    def who(self) -> str:
        return f"token ({self.key})"

    def check(self, right: Right, state: str) -> None:
        if not may(self.role, self.glob, right, state):
            raise Forbidden(f"{self.key} may not {right.value}")


ANNA = Somebody("a", Role.RUNNER)
BOB = Somebody("b", Role.RUNNER)
OPERATOR = Somebody("o", Role.OPERATOR)
PLANNER = Somebody("p", Role.PLANNER)


def asks(ticket: str, who: str = "anna@laptop", priority: Priority = Priority.APPLY) -> Requested:
    return Requested(ticket=ticket, who=who, lease_s=60.0, patience_s=40.0, priority=priority)


def told(lock: Lock, caller: Somebody, event: Event) -> Lock:
    return decide(lock, judge(caller, STATE, lock, event), now=NOW).lock


@pytest.fixture
def lock() -> Lock:
    """Anna holds, and waits a second time."""
    return told(told(NEW_LOCK, ANNA, asks("held")), ANNA, asks("waiting"))


def test_who_acts_for_their_own_record_is_named_once_and_for_anothers_after_them() -> None:
    recorded = signed("anna@laptop", ANNA)
    assert (recorded, signed(recorded, ANNA)) == ("anna@laptop as token (a)", recorded)
    assert signed(recorded, BOB) == "anna@laptop as token (a) as token (b)"
    assert signed(signed("", ANNA), ANNA) == "token (a)"


def test_the_tokens_own_name_stands_behind_what_the_client_says(lock: Lock) -> None:
    assert lock.holders[0].who == "anna@laptop as token (a)"
    assert is_of(lock.holders[0].who, ANNA)


@pytest.mark.promise("P10")
def test_no_client_can_say_that_it_is_another(lock: Lock) -> None:
    forged = told(NEW_LOCK, BOB, asks("x", who="anna@laptop as token (a)")).holders[0]
    assert not is_of(forged.who, ANNA)
    assert is_of(forged.who, BOB)
    assert is_of(signed("x" * 5000, BOB), BOB)


OF_A_GRANT: list[Event] = [
    Renewed(ticket="held", token=1),
    Released(ticket="held", token=1),
    Withdrawn(ticket="held", attempt="A"),
    Withdrawn(ticket="waiting"),
    Disconnected(ticket="held", attempt="A", patience_s=5.0),
    Broken(ticket="held", token=1, by="x", reason="y"),
    LockIdBound(ticket="held", token=1, lock_id="L"),
    StillWaiting(tickets=frozenset({"waiting", "unknown"})),
    asks("held"),
    replace(asks("new"), lock_id="L1"),
]


@pytest.mark.promise("P4")
@pytest.mark.parametrize("event", OF_A_GRANT, ids=lambda event: type(event).__name__)
def test_who_knows_a_ticket_or_a_lock_id_may_not_use_it(lock: Lock, event: Event) -> None:
    lock = replace(lock, holders=(replace(lock.holders[0], lock_id="L1"),))
    assert judge(ANNA, STATE, lock, event) is not None
    with pytest.raises(Forbidden):
        judge(BOB, STATE, lock, event)


@pytest.mark.parametrize(
    "event",
    [
        Released(ticket="held", token=1),
        Withdrawn(ticket="waiting"),
        Broken(ticket="held", token=1, by="x", reason="y"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_who_may_unlock_by_force_may_end_what_another_began(lock: Lock, event: Event) -> None:
    assert judge(OPERATOR, STATE, lock, event) is not None


@pytest.mark.parametrize("event", [Paused(by="x", reason="y"), Resumed(by="x"), Bumped(ticket="waiting")])
def test_only_operators_hold_up_a_queue_or_change_its_order(lock: Lock, event: Event) -> None:
    with pytest.raises(AuthenticationFailed):
        judge(ANNA, STATE, lock, event)
    assert is_of(getattr(judge(OPERATOR, STATE, lock, event), "by"), OPERATOR)  # noqa: B009 - of each of them


def test_only_operators_pass_a_pause(lock: Lock) -> None:
    passing = replace(asks("x"), through="an upgrade")
    with pytest.raises(AuthenticationFailed):
        judge(ANNA, STATE, lock, passing)
    assert judge(OPERATOR, STATE, lock, passing) is not None


def test_a_planner_takes_no_place_of_an_apply() -> None:
    assert judge(PLANNER, STATE, NEW_LOCK, asks("p", priority=Priority.PLAN)) is not None
    with pytest.raises(AuthenticationFailed):
        judge(PLANNER, STATE, NEW_LOCK, asks("p"))


@pytest.mark.parametrize("event", [Elapsed(doubts_clients=True), Elapsed(server="another")])
def test_only_servers_say_that_a_server_is_gone(lock: Lock, event: Event) -> None:
    assert judge(ANNA, STATE, lock, Elapsed()) == Elapsed()
    with pytest.raises(UsageError):
        judge(OPERATOR, STATE, lock, event)


@pytest.mark.promise("P4")
@pytest.mark.parametrize("name", [{"ticket": "held"}, {"token": 1}])
def test_nobody_writes_under_the_grant_of_another(lock: Lock, name: dict[str, str | int]) -> None:
    by = {"ticket": None, "token": None, "lock_id": None, **name}
    check_writer(ANNA, STATE, lock, **by)  # type: ignore[arg-type]
    with pytest.raises(Forbidden):
        check_writer(BOB, STATE, lock, **by)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "right"),
    [
        (Paused(by="x", reason="y"), Right.FREEZE),
        (Resumed(by="x"), Right.FREEZE),
        (Bumped(ticket="waiting", by="x"), Right.FREEZE),
        (Broken(ticket="held", token=1, by="x", reason="y"), Right.FORCE_UNLOCK),
        (Withdrawn(ticket="waiting", by="x"), Right.FORCE_UNLOCK),
        (asks("mine"), Right.APPLY),
        (asks("mine", priority=Priority.PLAN), Right.PLAN),
        (Elapsed(), Right.PLAN),
    ],
)
def test_a_reader_is_told_of_the_right_that_the_act_needs_and_not_of_a_lower_one(
    lock: Lock, event: Event, right: Right
) -> None:
    told_of = "unlock by force" if right is Right.FORCE_UNLOCK else f"may not {right.value}"
    with pytest.raises(Forbidden) as refused:
        judge(Somebody("r", Role.READER), STATE, lock, event)
    assert told_of in f"{refused.value.what} {refused.value.why}"
