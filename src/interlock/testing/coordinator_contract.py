"""What every `Coordinator` must do, near or far, as a test class to inherit from.

With pytest and pytest-asyncio (`asyncio_mode = "auto"`) installed:

    class TestMyCoordinator(CoordinatorContract):
        @pytest.fixture
        async def coordinator(self) -> AsyncIterator[Coordinator]: ...

One that also says which version of a state is current passes `HeadContract`.

Give `coordinator_peer` too when two of them can be open on the same data; what one decides, the other must see. The
suite never expects an empty coordinator: each test uses states of its own. Its clock must run by itself.
"""
# ruff: noqa: D102 - a test's name is the sentence it proves
# ruff: noqa: PLR2004 - literal expectations are clearer than named ones

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from interlock.coordinator import Coordinator, Head, HeadMoved, Standing
from interlock.coordinator.interface import HeadKeeper
from interlock.errors import InterlockError, LeaseLost, LockHeld, Superseded, UsageError, WaitTimeout
from interlock.ids import RandomIds
from interlock.lock import (
    Broken,
    Claim,
    Disconnected,
    Elapsed,
    Grant,
    Lock,
    LockIdBound,
    LockIdUnbound,
    Priority,
    Refuse,
    RefuseReason,
    Released,
    Renewed,
    Requested,
    Stage,
    claim_of,
    may_write,
    stage_of,
)
from interlock.lock.claim import WHOLE_STATE

PATIENCE_S = 20.0
"""How long a test waits for what must happen; only a failing test ever waits that long."""

_Answer = TypeVar("_Answer")
_numbers = itertools.count()
_WRITTEN_AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def _state() -> str:
    """Return the name of a state that no other test of this process uses."""
    return f"contract/t{next(_numbers)}-{RandomIds().fresh()}"


def _request(
    ticket: str,
    *,
    queue: bool = True,
    claim: Claim = WHOLE_STATE,
    lock_id: str | None = None,
    patience_s: float = 40.0,
    attempt: str = "",
) -> Requested:
    return Requested(
        ticket=ticket,
        run=f"run-{ticket}",
        who=f"{ticket}@host",
        claim=claim,
        priority=Priority.APPLY,
        lease_s=60.0,
        patience_s=patience_s,
        lock_id=lock_id,
        queue=queue,
        attempt=attempt,
    )


def _head(number: int, *, token: int) -> Head:
    return Head(
        number=number,
        digest=f"{number:064x}",
        serial=number,
        lineage="lineage",
        size_bytes=100,
        written_at=_WRITTEN_AT,
        token=token,
        run="run",
    )


async def _soon(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    return await asyncio.wait_for(work, PATIENCE_S)


class CoordinatorContract:
    """Inherit from this in your tests; see the module."""

    @pytest.fixture
    async def coordinator(self) -> Coordinator:
        raise NotImplementedError

    @pytest.fixture
    async def coordinator_peer(self, coordinator: Coordinator) -> Coordinator:
        """Return another handle on the same data; by default the same one."""
        return coordinator

    async def test_the_first_to_ask_holds_and_the_second_waits(self, coordinator: Coordinator) -> None:
        state = _state()
        first = await coordinator.request(state, _request("a"))
        second = await coordinator.request(state, _request("b"))
        assert (first.stage, first.token, first.position) == (Stage.HOLDING, 1, 0)
        assert (second.stage, second.token, second.position) == (Stage.WAITING, None, 1)
        assert [holder.ticket for holder in second.holders] == ["a"]

    async def test_asking_again_changes_nothing(self, coordinator: Coordinator, coordinator_peer: Coordinator) -> None:
        state = _state()
        for ticket in ("a", "b", "c"):
            await coordinator.request(state, _request(ticket))
        assert (await coordinator_peer.request(state, _request("a"))).token == 1
        assert (await coordinator_peer.request(state, _request("b"))).position == 1
        assert (await coordinator_peer.request(state, _request("c"))).position == 2

    async def test_an_event_is_made_for_the_lock_that_it_meets(
        self, coordinator: Coordinator, coordinator_peer: Coordinator
    ) -> None:
        state, met = _state(), list[list[str]]()

        def ask(lock: Lock, _now: datetime) -> Requested:
            met.append([party.ticket for party in (*lock.holders, *lock.waiters)])
            return _request(f"after-{'-'.join(met[-1])}")

        await coordinator.request(state, _request("a"))
        await coordinator_peer.request(state, _request("b"))
        standing = await coordinator.request_of(state, ask)
        assert (standing.ticket, standing.position, met[-1]) == ("after-a-b", 2, ["a", "b"])

    async def test_what_refuses_an_event_has_seen_the_lock_as_it_is(
        self, coordinator: Coordinator, coordinator_peer: Coordinator
    ) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        await coordinator_peer.release(state, ticket="a")

        def refuse(lock: Lock, _now: datetime) -> Released:
            raise LockHeld(f"{len(lock.holders)} hold")

        with pytest.raises(LockHeld, match="0 hold"):
            await coordinator.apply_event_of(state, refuse)
        assert stage_of((await coordinator.view(state)).lock, "a") is Stage.RELEASED

    async def test_the_same_lock_id_is_the_same_party(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a", lock_id="L1"))
        again = await coordinator.request(state, _request("b", lock_id="L1"))
        assert (again.ticket, again.token) == ("a", 1)

    async def test_who_would_not_wait_is_told_who_holds(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        with pytest.raises(WaitTimeout) as caught:
            await coordinator.request(state, _request("b", queue=False))
        assert "a@host" in caught.value.why
        assert (await coordinator.view(state)).lock.waiters == ()

    async def test_disjoint_claims_hold_side_by_side(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a", claim=claim_of(writes=["x.a"])))
        assert (await coordinator.request(state, _request("b", claim=claim_of(writes=["x.b"])))).token == 2

    async def test_a_waiter_is_granted_when_its_turn_comes(
        self, coordinator: Coordinator, coordinator_peer: Coordinator
    ) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        await coordinator_peer.request(state, _request("b"))
        waiting = asyncio.create_task(_soon(coordinator_peer.await_grant(state, "b", timeout_s=PATIENCE_S)))
        await coordinator.release(state, "a", 1)
        assert await waiting == Grant(ticket="b", token=2)

    async def test_many_are_served_in_the_order_in_which_they_joined(
        self, coordinator: Coordinator, coordinator_peer: Coordinator
    ) -> None:
        state, served = _state(), list[str]()

        async def live(ticket: str, hand: Coordinator) -> None:
            grant = await hand.await_grant(state, ticket, timeout_s=PATIENCE_S)
            served.append(ticket)
            await hand.release(state, ticket, grant.token)

        tickets = [f"t{n}" for n in range(12)]
        for ticket in tickets:
            await coordinator.request(state, _request(ticket))
        hands = itertools.cycle((coordinator, coordinator_peer))
        await _soon(_all([live(ticket, next(hands)) for ticket in reversed(tickets)]))
        assert served == tickets

    async def test_standings_are_told_once_for_each_noticeable_change(self, coordinator: Coordinator) -> None:
        state, told = _state(), list[Standing]()
        for ticket in ("a", "b", "c"):
            await coordinator.request(state, _request(ticket))
        first = asyncio.Event()

        def hear(standing: Standing) -> None:
            told.append(standing)
            first.set()

        waiting = asyncio.create_task(_soon(coordinator.await_grant(state, "c", timeout_s=None, on_change=hear)))
        await _soon(first.wait())
        await coordinator.apply_event(state, Renewed(ticket="a", token=1))
        await coordinator.withdraw(state, "b")
        await coordinator.release(state, "a", 1)
        assert (await waiting).token == 2
        assert told[0].position == 2
        assert [waiter.ticket for waiter in told[0].ahead] == ["b"]
        assert told[-1].stage is Stage.HOLDING
        assert len({standing.shape() for standing in told}) == len(told)

    async def test_waiting_ends_in_time_and_keeps_the_place(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        await coordinator.request(state, _request("b"))
        with pytest.raises(WaitTimeout) as caught:
            await _soon(coordinator.await_grant(state, "b", timeout_s=0.01))
        assert "a@host" in caught.value.why
        assert [waiter.ticket for waiter in (await coordinator.view(state)).lock.waiters] == ["b"]

    async def test_a_withdrawn_waiter_is_told_by_whom(
        self, coordinator: Coordinator, coordinator_peer: Coordinator
    ) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        await coordinator.request(state, _request("b"))
        waiting = asyncio.create_task(_soon(coordinator.await_grant(state, "b", timeout_s=None)))
        await coordinator_peer.withdraw(state, "b", by="anna", reason="newer commit")
        with pytest.raises(Superseded) as caught:
            await waiting
        assert "anna" in caught.value.why
        assert "newer commit" in caught.value.why

    async def test_only_the_party_itself_withdraws_its_grant(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a", attempt="A"))
        with pytest.raises(UsageError):
            await coordinator.withdraw(state, "a", by="anna")
        await coordinator.withdraw(state, "a", attempt="A")
        assert (await coordinator.view(state)).lock.holders == ()

    async def test_acquire_waits_and_returns_the_grant(self, coordinator: Coordinator) -> None:
        state = _state()
        assert await _soon(coordinator.acquire(state, _request("a"), timeout_s=None)) == Grant(ticket="a", token=1)
        waiting = asyncio.create_task(_soon(coordinator.acquire(state, _request("b"), timeout_s=None)))
        await coordinator.release(state, "a", 1)
        assert await waiting == Grant(ticket="b", token=2)

    async def test_acquire_that_gives_up_or_is_cancelled_leaves_nothing_behind(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        with pytest.raises(WaitTimeout):
            await _soon(coordinator.acquire(state, _request("b"), timeout_s=0.01))
        joined = asyncio.Event()
        waiting = asyncio.create_task(
            coordinator.acquire(state, _request("c"), timeout_s=None, on_change=lambda _: joined.set())
        )
        await _soon(joined.wait())
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await coordinator.view(state)).lock.waiters == ()

    async def test_a_heartbeat_extends_the_lease(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        assert (await coordinator.renew(state, "a", 1)).beat == 1
        assert (await coordinator.renew(state, "a", 1)).beat == 2

    async def test_a_broken_grant_is_fenced(self, coordinator: Coordinator, coordinator_peer: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        await coordinator_peer.break_(state, Broken(ticket="a", token=1, by="anna", reason="process gone"))
        for attempt in (
            coordinator.renew(state, "a", 1),
            coordinator.release(state, "a", 1),
            coordinator.request(state, _request("a")),
        ):
            with pytest.raises(LeaseLost) as caught:
                await attempt
            assert "process gone" in caught.value.why
        view = await coordinator.view(state)
        assert view.head is None
        assert not may_write(view.lock, 1)

    async def test_a_grant_that_is_not_current_cannot_be_broken(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        with pytest.raises(LeaseLost):
            await coordinator.break_(state, Broken(ticket="a", token=7, by="x", reason=""))
        assert may_write((await coordinator.view(state)).lock, 1)

    async def test_release_is_idempotent(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a", lock_id="L1"))
        await coordinator.release(state, lock_id="L1")
        await coordinator.release(state, lock_id="L1")
        await coordinator.release(state, "a", 1)
        assert (await coordinator.view(state)).lock.holders == ()

    async def test_a_release_under_another_lock_id_is_refused(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.request(state, _request("a", lock_id="L1"))
        with pytest.raises(LockHeld):
            await coordinator.release(state, "a", lock_id="L2")

    async def test_a_paused_state_grants_nothing_until_resumed(self, coordinator: Coordinator) -> None:
        state = _state()
        await coordinator.pause(state, by="anna", reason="maintenance")
        standing = await coordinator.request(state, _request("a"))
        assert standing.stage is Stage.WAITING
        assert standing.pause is not None
        assert standing.pause.reason == "maintenance"
        with pytest.raises(WaitTimeout) as caught:
            await _soon(coordinator.await_grant(state, "a", timeout_s=0.01))
        assert "maintenance" in caught.value.why
        await coordinator.resume(state, by="anna")
        assert await _soon(coordinator.await_grant(state, "a", timeout_s=None)) == Grant(ticket="a", token=1)

    async def test_a_bumped_waiter_is_next(self, coordinator: Coordinator) -> None:
        state = _state()
        for ticket in ("a", "b", "c"):
            await coordinator.request(state, _request(ticket))
        await coordinator.bump(state, "c", by="anna")
        assert (await coordinator.request(state, _request("c"))).position == 1
        with pytest.raises(UsageError):
            await coordinator.bump(state, "a")

    async def test_a_refused_event_is_a_value_not_an_error(self, coordinator: Coordinator) -> None:
        state = _state()
        decision = await coordinator.apply_event(state, Renewed(ticket="nobody"))
        assert decision.effects == (Refuse(ticket="nobody", reason=RefuseReason.NOT_HOLDING),)
        assert (await coordinator.apply_event(state, Elapsed())).effects == ()

    async def test_a_failed_attempt_takes_nothing_from_another_one_of_its_ticket(
        self, coordinator: Coordinator, coordinator_peer: Coordinator
    ) -> None:
        state = _state()
        await coordinator.request(state, _request("a", attempt="A1"))
        await coordinator_peer.request(state, _request("a", attempt="A2"))
        await coordinator_peer.withdraw(state, "a", attempt="A2")
        await coordinator_peer.apply_event(state, Disconnected(ticket="a", attempt="A2", patience_s=5.0))
        await coordinator_peer.withdraw(state, "a", attempt="unknown")
        assert (await coordinator.renew(state, "a", 1)).beat == 1
        await coordinator.apply_event(state, Disconnected(ticket="a", attempt="A1", patience_s=5.0))
        assert may_write((await coordinator.view(state)).lock, 1), "it was seen to act"

    async def test_an_acquire_that_is_cancelled_takes_nothing_from_another_one_of_its_ticket(
        self, coordinator: Coordinator, coordinator_peer: Coordinator
    ) -> None:
        state, joined = _state(), asyncio.Event()
        await coordinator.request(state, _request("a"))
        first = asyncio.create_task(
            coordinator.acquire(state, _request("b"), timeout_s=None, on_change=lambda _: joined.set())
        )
        await _soon(joined.wait())
        joined.clear()
        second = asyncio.create_task(
            coordinator_peer.acquire(state, _request("b"), timeout_s=None, on_change=lambda _: joined.set())
        )
        await _soon(joined.wait())
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await coordinator.release(state, "a", 1)
        assert await asyncio.wait_for(first, PATIENCE_S) == Grant(ticket="b", token=2)

    async def test_a_finished_ticket_is_not_granted_again_however_many_ended_since(
        self, coordinator: Coordinator
    ) -> None:
        state = _state()
        for n in range(40):
            token = (await coordinator.request(state, _request(f"t{n}"))).token
            await coordinator.release(state, f"t{n}", token)
        with pytest.raises(LeaseLost):
            await coordinator.request(state, _request("t0"))

    async def test_watching_returns_when_something_changes(
        self, coordinator: Coordinator, coordinator_peer: Coordinator
    ) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        seen = await coordinator.view(state)
        watching = asyncio.create_task(_soon(coordinator.watch(state, seen=seen.version, timeout_s=PATIENCE_S)))
        await coordinator_peer.release(state, "a", 1)
        changed = await watching
        assert changed.version != seen.version
        assert changed.lock.holders == ()
        assert await coordinator.watch(state, seen=changed.version, timeout_s=0.01) == changed

    async def test_a_state_that_nobody_asked_for_is_free(self, coordinator: Coordinator) -> None:
        view = await coordinator.view(_state())
        assert (view.version, view.head, view.lock.holders) == (None, None, ())

    async def test_states_are_listed_by_prefix(self, coordinator: Coordinator) -> None:
        prefix = _state()
        for name in ("b", "a", "c/d"):
            await coordinator.request(f"{prefix}/{name}", _request("x"))
        views = await coordinator.states(f"{prefix}/")
        assert [view.state for view in views] == [f"{prefix}/a", f"{prefix}/b", f"{prefix}/c/d"]
        assert views[0].lock.holders[0].ticket == "x"
        page = await coordinator.states(f"{prefix}/", after=f"{prefix}/a", limit=1)
        assert [view.state for view in page] == [f"{prefix}/b"]

    @pytest.mark.parametrize("name", ["", "..", "a/../b", "/a", "a/", "a//b", "a b", "é", "a" * 201, "a\n", ".hidden"])
    async def test_what_is_no_state_name_is_refused(self, coordinator: Coordinator, name: str) -> None:
        for attempt in (
            coordinator.view(name),
            coordinator.request(name, _request("a")),
        ):
            with pytest.raises(UsageError):
                await attempt

    async def test_tickets_are_fresh(self, coordinator: Coordinator, coordinator_peer: Coordinator) -> None:
        assert coordinator.new_ticket() != coordinator.new_ticket() != coordinator_peer.new_ticket()

    async def test_a_crowd_of_two_processes_never_holds_twice(
        self, coordinator: Coordinator, coordinator_peer: Coordinator
    ) -> None:
        state, inside, most = _state(), set[str](), 0

        async def live(ticket: str, hand: Coordinator) -> None:
            nonlocal most
            grant = await hand.acquire(state, _request(ticket), timeout_s=PATIENCE_S)
            inside.add(ticket)
            most = max(most, len(inside))
            await asyncio.sleep(0)
            inside.discard(ticket)
            await hand.release(state, ticket, grant.token)

        hands = itertools.cycle((coordinator, coordinator_peer))
        await _soon(_all([live(f"t{n}", next(hands)) for n in range(10)]))
        assert most == 1
        view = await coordinator.view(state)
        assert (view.lock.token, view.lock.holders, view.lock.waiters) == (10, (), ())


class HeadContract(CoordinatorContract):
    """For a coordinator at its store: the same, and which version is current."""

    @pytest.fixture
    async def coordinator(self) -> HeadKeeper:
        raise NotImplementedError

    @pytest.fixture
    async def coordinator_peer(self, coordinator: HeadKeeper) -> HeadKeeper:
        """Return another handle on the same data; by default the same one."""
        return coordinator

    async def test_under_a_broken_grant_nothing_is_written(self, coordinator: HeadKeeper) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        await coordinator.break_(state, Broken(ticket="a", token=1, by="anna", reason="process gone"))
        with pytest.raises(LeaseLost):
            await coordinator.update_head(state, token=1, expected_head=None, new_head=_head(1, token=1))
        assert (await coordinator.view(state)).head is None

    async def test_no_head_is_kept_under_what_is_no_state_name(self, coordinator: HeadKeeper) -> None:
        with pytest.raises(UsageError):
            await coordinator.update_head("a/../b", token=1, expected_head=None, new_head=None)

    async def test_a_lock_id_is_bound_and_unbound_under_a_grant(self, coordinator: HeadKeeper) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        await coordinator.apply_event(state, LockIdBound(ticket="a", token=1, lock_id="L1"))
        head = _head(1, token=1)
        assert await coordinator.update_head(state, lock_id="L1", expected_head=None, new_head=head) == head
        await coordinator.apply_event(state, LockIdUnbound(ticket="a", token=1, lock_id="L1"))
        with pytest.raises(LeaseLost):
            await coordinator.update_head(state, lock_id="L1", expected_head=head, new_head=_head(2, token=1))

    async def test_the_head_moves_from_version_to_version(
        self, coordinator: HeadKeeper, coordinator_peer: HeadKeeper
    ) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        one, two = _head(1, token=1), _head(2, token=1)
        assert await coordinator.update_head(state, ticket="a", expected_head=None, new_head=one) == one
        assert await coordinator_peer.update_head(state, token=1, expected_head=one, new_head=two) == two
        assert (await coordinator.view(state)).head == two

    async def test_a_refusal_rests_on_what_others_wrote_meanwhile(
        self, coordinator: HeadKeeper, coordinator_peer: HeadKeeper
    ) -> None:
        state, one, two = _state(), _head(1, token=2), _head(2, token=2)
        await coordinator.request(state, _request("a"))
        await coordinator_peer.release(state, "a", 1)
        await coordinator_peer.request(state, _request("b"))
        assert await coordinator.update_head(state, token=2, expected_head=None, new_head=one) == one
        await coordinator_peer.update_head(state, token=2, expected_head=one, new_head=two)
        third = _head(3, token=2)
        assert await coordinator.update_head(state, token=2, expected_head=two, new_head=third) == third

    async def test_writing_settles_a_grant(self, coordinator: HeadKeeper) -> None:
        state = _state()
        await coordinator.request(state, _request("a", attempt="A1"))
        await coordinator.update_head(state, token=1, expected_head=None, new_head=_head(1, token=1))
        await coordinator.withdraw(state, "a", attempt="A1")
        assert may_write((await coordinator.view(state)).lock, 1)

    async def test_a_repeated_write_is_the_same_as_one(self, coordinator: HeadKeeper) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        one = _head(1, token=1)
        for _ in range(2):
            assert await coordinator.update_head(state, token=1, expected_head=None, new_head=one) == one

    async def test_a_write_that_replaces_another_version_is_refused(self, coordinator: HeadKeeper) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        one = _head(1, token=1)
        await coordinator.update_head(state, token=1, expected_head=None, new_head=one)
        for expected in (None, replace(one, serial=7)):
            with pytest.raises(HeadMoved):
                await coordinator.update_head(state, token=1, expected_head=expected, new_head=_head(2, token=1))
        assert (await coordinator.view(state)).head == one

    async def test_a_write_names_its_own_token(self, coordinator: HeadKeeper) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        for name in ({"ticket": "b"}, {"lock_id": "L9"}, {"token": 9}):
            with pytest.raises(LeaseLost):
                await coordinator.update_head(state, expected_head=None, new_head=_head(1, token=1), **name)
        with pytest.raises(LeaseLost):
            await coordinator.update_head(state, ticket="a", expected_head=None, new_head=_head(1, token=9))
        assert (await coordinator.view(state)).head is None

    async def test_of_two_writers_of_one_version_one_wins(
        self, coordinator: HeadKeeper, coordinator_peer: HeadKeeper
    ) -> None:
        state = _state()
        await coordinator.request(state, _request("a"))
        attempts = [
            hand.update_head(state, token=1, expected_head=None, new_head=replace(_head(1, token=1), digest=digest))
            for hand, digest in ((coordinator, "a" * 64), (coordinator_peer, "b" * 64))
        ]
        outcomes = await _soon(_all_outcomes(attempts))
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Head", "HeadMoved"]


async def _all(work: list[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*work)


async def _all_outcomes(work: list[Coroutine[Any, Any, Head | None]]) -> list[object]:
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    return [outcome for outcome in outcomes if isinstance(outcome, Head | InterlockError)]
