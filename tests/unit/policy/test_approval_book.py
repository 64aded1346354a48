"""Requests in a store: two at once, a process that is killed at each step, plans that nobody needs any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from interlock.errors import BackendUnavailable, InterlockError, PolicyGate, UsageError
from interlock.policy.approval import Approval, Decision, KeptPlan, Kind, Standing, Verdict, standing
from interlock.policy.approval_book import KEPT, ApprovalBook
from interlock.store.blobs import BlobMissing, blob_digest
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock

PLAN = b"the plan file"


class Killed(Exception):
    """The process is gone."""


class Store:
    """A store under a book; `dies_at` counts its writes: before or after that one the process is killed."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = MemoryRecords(clock=self.clock)
        self.blobs = MemoryBlobs()
        self.writes = 0
        self.dies_at: tuple[int, bool] | None = None
        self._tap()
        self.book = ApprovalBook(self.records, self.blobs, self.clock)

    def _tap(self) -> None:
        for owner, name in ((self.records, "swap"), (self.blobs, "put"), (self.blobs, "delete")):
            setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, write: Callable[..., object]) -> Callable[..., object]:
        async def counted(*args: object, **named: object) -> object:
            self.writes += 1
            at, after = self.dies_at or (0, False)
            if at == self.writes and not after:
                raise Killed
            result = await write(*args, **named)  # type: ignore[misc]
            if at == self.writes:
                raise Killed
            return result

        return counted

    def request(self, name: str = "r1", *, needed: int = 1, plan: bytes = PLAN) -> Approval:
        now = self.clock.now()
        kept = KeptPlan(blob=blob_digest(plan), essence="e", operation="apply", directory="/repo")
        return Approval(
            id=name,
            kind=Kind.APPLY,
            state="prod",
            digest=f"d-{name}",
            what="apply prod",
            asked_by="ann",
            asked_at=now,
            expires_at=now + timedelta(days=7),
            needed=needed,
            plan=kept,
        )

    async def asked(self, name: str = "r1", *, needed: int = 1) -> None:
        await self.book.ask(self.request(name, needed=needed))
        await self.book.keep(PLAN, self.request(name))

    def says(self, who: str, verdict: Verdict = Verdict.APPROVE) -> Decision:
        return Decision(who=who, verdict=verdict, reason="fine", at=self.clock.now())


@pytest.fixture
def store() -> Store:
    return Store()


async def test_a_request_is_asked_decided_and_used(store: Store) -> None:
    await store.asked()
    assert await store.book.plan(await store.book.get("r1")) == PLAN
    await store.book.decide("r1", store.says("ben"))
    after = await store.book.use("r1", by="r2", digest="d-r1")
    assert (after.used_by, after.approvers) == ("r2", ("ben",))
    with pytest.raises(PolicyGate, match="no valid approval"):
        await store.book.use("r1", by="r3", digest="d-r1")


@pytest.mark.promise("P8")
async def test_of_two_runs_that_use_one_approval_at_once_one_does(store: Store) -> None:
    await store.asked()
    await store.book.decide("r1", store.says("ben"))
    other = ApprovalBook(store.records, store.blobs, store.clock)
    books = [store.book, other, store.book, other]
    found = await asyncio.gather(
        *(book.use("r1", by=f"run{n}", digest="d-r1") for n, book in enumerate(books)), return_exceptions=True
    )
    assert sum(isinstance(one, Approval) for one in found) == 1
    assert all(isinstance(one, Approval | PolicyGate) for one in found)


async def test_two_persons_who_decide_at_once_are_both_heard(store: Store) -> None:
    await store.asked(needed=2)
    await asyncio.gather(*(store.book.decide("r1", store.says(who)) for who in ("ben", "cid")))
    approval = await store.book.get("r1")
    assert sorted(approval.approvers) == ["ben", "cid"]
    assert standing(approval, store.clock.now()) is Standing.APPROVED


async def test_of_an_approval_and_a_rejection_at_once_nothing_can_be_used_after(store: Store) -> None:
    await store.asked()
    await asyncio.gather(
        store.book.decide("r1", store.says("ben")),
        store.book.decide("r1", store.says("cid", Verdict.REJECT)),
        return_exceptions=True,
    )
    with pytest.raises(PolicyGate):
        await store.book.use("r1", by="r2", digest="d-r1")


async def _life(store: Store, applied: list[str], run: str) -> None:
    """Go the whole way of a request, as several processes do one after the other; each may be killed."""
    if await store.book.find("r1") is None:
        await store.book.ask(store.request(needed=2))
        await store.book.keep(PLAN, await store.book.get("r1"))
    for who in ("ben", "cid"):
        await store.book.decide("r1", store.says(who))
    approval = await store.book.get("r1")
    try:
        await store.book.plan(approval)
        digest = "d-r1"
    except BlobMissing:
        digest = "e"  # the plan is made again, and is an equal one
    await store.book.use("r1", by=run, digest=digest)
    applied.append(run)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("after", [False, True])
async def test_killed_at_each_write_nothing_is_applied_unapproved_or_twice(*, after: bool) -> None:
    whole = Store()
    await _life(whole, [], "run0")
    assert whole.writes >= 5
    for at in range(1, whole.writes + 1):
        store, applied = Store(), list[str]()
        store.dies_at = (at, after)
        with pytest.raises(Killed):
            await _life(store, applied, "run1")
        store.dies_at = None
        for run in ("run2", "run3"):
            with contextlib.suppress(InterlockError):
                await _life(store, applied, run)
        assert len(applied) <= 1, at
        approval = await store.book.get("r1")
        assert sorted(approval.approvers) == ["ben", "cid"]
        assert not applied or approval.used_by == applied[0]
        assert approval.used_by, "somebody can always go on, or ask anew"


async def test_the_plan_of_a_request_that_is_over_is_deleted(store: Store) -> None:
    await store.asked()
    await store.book.decide("r1", store.says("ben", Verdict.REJECT))
    with pytest.raises(BlobMissing):
        await store.book.plan(await store.book.get("r1"))


async def test_a_plan_that_another_open_request_names_stays(store: Store) -> None:
    await store.asked("r1")
    await store.asked("r2")
    await store.book.decide("r1", store.says("ben", Verdict.REJECT))
    assert await store.book.plan(await store.book.get("r2")) == PLAN


async def test_old_requests_and_their_plans_are_cleared_away(store: Store) -> None:
    await store.asked("r1")
    store.clock.pass_time(8 * 86_400)
    await store.book.ask(store.request("r2", plan=b"another"))
    with pytest.raises(BlobMissing):
        await store.book.plan(await store.book.get("r1"))
    store.clock.pass_time(KEPT.total_seconds())
    await store.book.ask(store.request("r3", plan=b"a third"))
    found, unreadable = await store.book.all()
    assert ([one.id for one in found], unreadable) == (["r2", "r3"], ())


async def test_a_request_that_cannot_be_read_hides_no_other_and_nothing_is_done_on_it(store: Store) -> None:
    await store.asked("r1")
    await store.records.swap("approval/bad", expected=None, value=b"{")
    found, unreadable = await store.book.all()
    assert ([one.id for one in found], unreadable) == (["r1"], ("bad",))
    with pytest.raises(InterlockError, match="cannot be read"):
        await store.book.decide("bad", store.says("ben"))
    for name in ("", "../x", "no", "x" * 200):
        with pytest.raises(UsageError, match="there is no request"):
            await store.book.get(name)


async def test_only_an_open_request_for_the_very_same_is_found(store: Store) -> None:
    await store.asked("r1")
    assert (await store.book.find_open(Kind.APPLY, "prod", "d-r1")) is not None
    assert (await store.book.find_open(Kind.APPLY, "prod", "other")) is None
    assert (await store.book.find_open(Kind.EXEC, "prod", "d-r1")) is None
    await store.book.decide("r1", store.says("ben", Verdict.REJECT))
    assert (await store.book.find_open(Kind.APPLY, "prod", "d-r1")) is None


@pytest.mark.promise("P8")
async def test_an_equal_plan_finds_the_request_that_was_approved_before_one_that_waits(store: Store) -> None:
    for name in ("r1", "r2", "r3"):
        await store.asked(name)
        store.clock.pass_time(1.0)
    await store.book.decide("r1", store.says("ben"))
    found = await store.book.find_open(Kind.APPLY, "prod", "e")
    assert found is not None
    assert found.id == "r1"
    await store.book.use("r1", by="r4", digest="e")
    found = await store.book.find_open(Kind.APPLY, "prod", "e")
    assert found is not None
    assert found.id == "r3", "the newest that waits"


async def test_a_store_that_never_takes_the_change_is_told_as_unavailable(store: Store) -> None:
    from interlock.store.records import Mismatch

    await store.asked()

    async def lost(key: str, *, expected: int | None, value: bytes | None) -> int:
        raise Mismatch(key, expected=expected, current=await store.records.get(key))

    store.records.swap = lost  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailable, match="was not changed"):
        await store.book.decide("r1", store.says("ben"))
