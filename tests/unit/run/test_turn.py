"""The run's turn: its place in the queue, its grant, its heartbeat, and giving back."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.errors import BackendUnavailable, LeaseLost, WaitTimeout
from interlock.instants import spelled
from interlock.lock import Broken, Priority, Requested, Stage, stage_of
from interlock.policy.windows import HOLD_LOOK_S, Held
from interlock.recovery.breaker import Noticed
from interlock.run.order import Operation, Order
from interlock.run.summary import Summary
from interlock.run.transcript import read
from interlock.run.turn import NEXT_S, PRIORITY, Turn
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import START, FakeClock, settle
from interlock.testing.ids import CountingIds
from interlock.testing.run import Diary, DiaryCoordinator, DiaryJournal, FakeRescuer


class Scene:
    """One run's turn at a queue in memory."""

    def __init__(self, folder: Path, **ordered: object) -> None:
        self.diary, self.clock, self.folder = Diary(), FakeClock(), folder / "r1"
        self.folder.mkdir(parents=True)
        self.coordinator = DiaryCoordinator(MemoryRecords(clock=self.clock), self.clock, CountingIds())
        self.coordinator.diary = self.diary
        summary = Summary(
            run="r1", state="prod", operation="apply", who="ann", directory="", phase="queued", started_at=START
        )
        self.journal = DiaryJournal(self.folder, summary, self.clock, lambda: None)
        self.journal.diary = self.diary
        fields = {"operation": Operation.APPLY, "directory": "d", "state": "prod", "who": "ann", "home": "h", **ordered}
        self.lost: list[str] = []
        self.turn = Turn(
            order=Order(run="r1", **fields),  # type: ignore[arg-type]
            coordinator=self.coordinator,
            rescuer=FakeRescuer(diary=self.diary),
            clock=self.clock,
            journal=self.journal,
            runs=folder,
            on_next=lambda: self.diary.note("next"),
            on_lost=lambda: self.lost.append("lost"),
            on_away=lambda: self.lost.append("away"),
        )
        self.turn.begin()

    async def taken_by(self, ticket: str) -> int:
        """Let somebody else hold the state."""
        request = Requested(ticket=ticket, run=ticket, who="bob", lease_s=60.0, patience_s=60.0)
        return (await self.coordinator.acquire("prod", request, timeout_s=0.0)).token

    async def stage(self) -> Stage:
        return stage_of((await self.coordinator.view("prod")).lock, "r1")

    def kinds(self) -> list[str]:
        return [entry.kind for entry in read(self.folder)]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_a_grant_is_written_down_before_it_is_used(scene: Scene) -> None:
    seat = await scene.turn.take()
    assert scene.journal.summary.token == seat.token
    assert scene.journal.summary.held_at is not None
    assert "granted" in scene.kinds()
    assert await scene.stage() is Stage.HOLDING


async def test_a_run_outside_of_its_window_waits_in_its_place_and_lets_others_pass(scene: Scene) -> None:
    until = scene.clock.now() + timedelta(minutes=10)
    scene.turn.hold = lambda now: Held(policy="prod", reason="window", until=until) if now < until else None
    taking = asyncio.create_task(scene.turn.take())
    await settle()
    assert await scene.stage() is Stage.WAITING
    standing = next(entry for entry in read(scene.folder) if entry.kind == "standing")
    assert standing.facts["held"] == f"policy prod: window, until {spelled(until)}"
    token = await scene.taken_by("r0")
    await scene.coordinator.release("prod", "r0", token)
    for _ in range(25):
        await scene.clock.advance(HOLD_LOOK_S)
        if scene.clock.now() < until:
            assert await scene.stage() is Stage.WAITING
    assert (await taking).token == token + 1


async def test_a_window_that_closes_while_a_run_waits_holds_it_too(scene: Scene) -> None:
    closes = scene.clock.now() + timedelta(minutes=1)
    token = await scene.taken_by("r0")
    scene.turn.hold = lambda now: Held(policy="prod", reason="frozen: audit") if now >= closes else None
    taking = asyncio.create_task(scene.turn.take())
    for _ in range(4):
        await settle()
        await scene.clock.advance(HOLD_LOOK_S)
    await scene.coordinator.release("prod", "r0", token)
    await settle()
    assert await scene.stage() is Stage.WAITING
    assert (await scene.coordinator.view("prod")).lock.waiters[0].held == "policy prod: frozen: audit"
    taking.cancel()
    await asyncio.wait({taking})


async def test_a_run_that_would_not_wait_is_told_what_holds_it_and_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "other", queue=False)
    scene.turn.hold = lambda _: Held(policy="prod", reason="frozen: audit")
    with pytest.raises(WaitTimeout) as refusal:
        await scene.turn.take()
    assert "frozen: audit" in refusal.value.why
    assert await scene.stage() is Stage.ABSENT


async def test_the_shorter_of_two_limits_on_waiting_counts(tmp_path: Path) -> None:
    for own, policy, expected in ((None, 30.0, 30.0), (10.0, 30.0, 10.0), (50.0, 30.0, 30.0), (None, None, None)):
        scene = Scene(tmp_path / f"{own}-{policy}", wait_s=own)
        scene.turn.limit_s = policy
        assert scene.turn.wait_left_s() == expected


@pytest.mark.promise("P8")
async def test_a_newer_preview_of_a_branch_sends_older_ones_home_and_nothing_else(tmp_path: Path) -> None:
    first = Scene(tmp_path / "first", operation=Operation.PLAN, branch="GITHUB_REF=refs/pull/1/merge")
    first.turn.supersedes = True
    await first.taken_by("r0")
    coordinator = first.coordinator
    mark = " [GITHUB_REF=refs/pull/1/merge]"
    for ticket, priority, info in (
        ("older", Priority.PLAN, f"interlock plan{mark}"),
        ("other", Priority.PLAN, "interlock plan [GITHUB_REF=refs/pull/2/merge]"),
        ("apply", Priority.APPLY, f"interlock destroy{mark}"),
        ("drift", Priority.DRIFT, f"interlock drift{mark}"),
    ):
        asked = Requested(
            ticket=ticket, run=ticket, who="b", info=info, priority=priority, lease_s=60.0, patience_s=60.0
        )
        await coordinator.request("prod", asked)
    taking = asyncio.create_task(first.turn.take())
    await settle()
    waiting = [waiter.ticket for waiter in (await coordinator.view("prod")).lock.waiters]
    assert sorted(waiting) == ["apply", "drift", "other", "r1"]
    taking.cancel()
    await asyncio.wait({taking})


async def test_a_run_that_applies_what_was_approved_goes_to_the_front(scene: Scene, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "other", approval="r9")
    token = await scene.taken_by("r0")
    waits = Requested(ticket="r2", run="r2", who="bob", lease_s=60.0, patience_s=60.0)
    await scene.coordinator.request("prod", waits)
    taking = asyncio.create_task(scene.turn.take())
    await settle()
    assert [waiter.ticket for waiter in (await scene.coordinator.view("prod")).lock.waiters] == ["r1", "r2"]
    await scene.coordinator.release("prod", "r0", token)
    await settle()
    await taking
    assert await scene.stage() is Stage.HOLDING


async def test_who_waits_is_told_its_place_and_prepares_when_it_is_next(scene: Scene) -> None:
    token = await scene.taken_by("r0")
    taking = asyncio.create_task(scene.turn.take())
    await settle()
    assert "next" not in scene.diary.steps
    await scene.clock.advance(NEXT_S)
    assert "next" in scene.diary.steps
    assert "standing" in scene.kinds()
    await scene.coordinator.release("prod", ticket="r0", token=token)
    assert (await taking).token > token


async def test_a_turn_is_open_where_nobody_holds_or_waits(scene: Scene) -> None:
    assert await scene.turn.is_open()
    token = await scene.taken_by("r0")
    assert not await scene.turn.is_open()
    await scene.coordinator.release("prod", ticket="r0", token=token)
    await scene.coordinator.pause("prod", by="ann", reason="audit")
    assert not await scene.turn.is_open()


async def test_a_turn_of_which_nothing_can_be_learned_is_not_called_open(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_state: str) -> None:
        raise BackendUnavailable("it is down", fix="look")

    monkeypatch.setattr(scene.turn.coordinator, "view", fails)
    assert not await scene.turn.is_open()


async def test_who_is_granted_before_it_prepared_prepares_no_more(scene: Scene) -> None:
    token = await scene.taken_by("r0")
    taking = asyncio.create_task(scene.turn.take())
    await settle()
    await scene.coordinator.release("prod", ticket="r0", token=token)
    await taking
    await scene.clock.advance(NEXT_S)
    assert "next" not in scene.diary.steps


@pytest.mark.parametrize(
    ("queue", "wait_s", "passed_s", "left_s"),
    [(True, None, 9.0, None), (True, 10.0, 4.0, 6.0), (True, 10.0, 40.0, 0.0), (False, None, 0.0, 0.0)],
)
async def test_the_wait_is_bounded_as_it_was_ordered(
    tmp_path: Path, queue: bool, wait_s: float | None, passed_s: float, left_s: float | None
) -> None:
    scene = Scene(tmp_path, queue=queue, wait_s=wait_s)
    scene.clock.pass_time(passed_s)
    assert scene.turn.wait_left_s() == left_s


@pytest.mark.promise("P2")
async def test_who_gives_up_waiting_leaves_the_queue(tmp_path: Path) -> None:
    scene = Scene(tmp_path, wait_s=0.0)
    await scene.taken_by("r0")
    with pytest.raises(WaitTimeout):
        await scene.turn.take()
    await scene.turn.give_back()
    assert await scene.stage() is not Stage.WAITING


@pytest.mark.promise("P4")
async def test_a_grant_that_was_taken_away_is_said_once_and_not_given_back(scene: Scene) -> None:
    seat = await scene.turn.take()
    keeping = asyncio.create_task(scene.turn.keep(seat))
    broken = Broken(ticket=seat.ticket, token=seat.token, by="ann", reason="it is gone")
    await scene.coordinator.break_("prod", broken)
    await scene.clock.advance(10.0)
    await keeping
    assert isinstance(scene.turn.lost, LeaseLost)
    assert scene.lost == ["lost"]
    await scene.turn.give_back()
    assert "queue.release" not in scene.diary.steps


@pytest.mark.promise("P9")
async def test_a_grant_is_left_to_recovery_with_what_stays_behind(scene: Scene) -> None:
    await scene.turn.take()
    scene.turn.is_stranded = True
    await scene.turn.give_back()
    assert await scene.stage() is Stage.HOLDING


async def test_a_release_that_fails_is_said_and_ends_nothing(scene: Scene) -> None:
    await scene.turn.take()
    scene.diary.fails["queue.release"] = BackendUnavailable("it is down", fix="look")
    await scene.turn.give_back()
    assert any("could not be given back" in str(entry.facts.get("text")) for entry in read(scene.folder))


async def test_what_is_found_out_about_a_holder_stands_in_our_journal(scene: Scene) -> None:
    scene.turn._tell_noticed(Noticed(verdict="gone", token=4, run="r0", text="its process has ended"))
    (entry,) = read(scene.folder)
    assert (entry.kind, entry.facts) == (
        "recovery",
        {"verdict": "gone", "token": 4, "run": "r0", "text": "its process has ended"},
    )


def test_every_operation_has_its_class() -> None:
    assert set(PRIORITY) == set(Operation)
