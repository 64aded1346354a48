"""A supervisor among fakes: every signal at every step, every failure of every hand at every step (P8, P9)."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.opentofu_documents import PLAN

from interlock.errors import (
    BackendUnavailable,
    InterlockError,
    Interrupted,
    LeaseLost,
    PolicyGate,
    StateNotSaved,
    Superseded,
    Terminated,
    TerraformFailed,
    UsageError,
)
from interlock.lock import Stage, stage_of
from interlock.run import plan_comparison, reviewed_plan
from interlock.run.binary import Binary
from interlock.run.encrypted_plan import bind, with_bound_label
from interlock.run.entries import InterruptEntry
from interlock.run.interrupts import BURST_S, STANDS_S, Cause
from interlock.run.order import Operation, Order
from interlock.run.planned_for import Label
from interlock.run.stage import Outcome, Running
from interlock.run.summary import Summary
from interlock.run.supervisor import Hands, Supervisor, _first
from interlock.run.surroundings import Current
from interlock.run.terraform_commands import Commands, TerraformCommands
from interlock.run.transcript import read
from interlock.run.workspace import open_workspace
from interlock.source.tree import Tool
from interlock.store.memory import MemoryRecords
from interlock.terraform.events import AnyEvent
from interlock.testing.clock import START, FakeClock
from interlock.testing.ids import CountingIds
from interlock.testing.run import (
    APPLIED,
    BEGUN,
    CUT,
    KILLED,
    PLANNED,
    SHOWN,
    STOPPING,
    Diary,
    DiaryCoordinator,
    DiaryJournal,
    Ending,
    FakeCommands,
    FakeCreations,
    FakeDoor,
    FakeGateway,
    FakeRescuer,
    FakeReview,
    FakeTerraform,
    error_line,
    line,
)

RUN = "r1"
BINARY = Binary(argv=("terraform",), name="fake", mark="fake")


class Scene:
    """One run and everything around it. By default a person approves an apply, and all goes well."""

    def __init__(
        self,
        folder: Path,
        *,
        diagnosed: InterlockError | None = None,
        commands: Callable[[Scene], Commands] | None = None,
        **ordered: object,
    ) -> None:
        self.diagnosed = diagnosed
        self.diary = Diary()
        self.clock = FakeClock()
        self.directory, self.home, self.folder = folder / "module", folder / "home", folder / "home" / "runs" / RUN
        self.directory.mkdir(exist_ok=True)
        self.folder.mkdir(parents=True)
        self.access = FakeDoor(diary=self.diary)
        self.gateway = FakeGateway(diary=self.diary)
        self.terraform = FakeTerraform(self.diary, self.access, self.clock)
        self.coordinator = DiaryCoordinator(MemoryRecords(clock=self.clock), self.clock, CountingIds())
        self.coordinator.diary = self.diary
        fields: dict[str, object] = {
            "run": RUN,
            "operation": Operation.APPLY,
            "directory": str(self.directory),
            "state": "prod",
            "who": "ann@desk",
            "home": str(self.home),
            "in_place": True,
            "first_apply": True,
            **ordered,
        }
        self.order = Order(**fields)  # type: ignore[arg-type]
        self.supervisor = self._supervisor(commands)
        self.diary.meets["approval"] = lambda: self._soon(lambda: self.supervisor.answer(approved=True))

    def came(self, writes: int | None) -> None:
        """Let so many calls have come to the gateway that may change something."""
        object.__setattr__(self.gateway, "writes", writes)

    def _supervisor(self, make_commands: Callable[[Scene], Commands] | None) -> Supervisor:
        summary = Summary(
            run=RUN, state="prod", operation="apply", who="ann@desk", directory="", phase="preparing", started_at=START
        )
        self.journal = DiaryJournal(self.folder, summary, self.clock, lambda: None)
        self.journal.diary = self.diary
        self.workspace = open_workspace(
            self.directory, home=self.home, run_folder=self.folder, in_place=True, binary_mark="fake", environ={}
        )
        hands = Hands(
            coordinator=self.coordinator,
            access=self.access,
            commands=self._commands() if make_commands is None else make_commands(self),
            rescuer=FakeRescuer(diary=self.diary),
            diagnose=self._diagnosed,
            clock=self.clock,
            gateway=self.gateway,
            review=FakeReview(diary=self.diary),
            creations=FakeCreations(diary=self.diary),
        )
        return Supervisor(
            self.order,
            hands=hands,
            workspace=self.workspace,
            binary=BINARY,
            journal=self.journal,
            run_folder=self.folder,
        )

    def _commands(self) -> Commands:
        return TerraformCommands(
            order=self.order,
            access=self.access,
            workspace=self.workspace,
            binary=BINARY,
            journal=self.journal,
            run_folder=self.folder,
            given={},
            diagnose=self._diagnosed,
            clock=self.clock,
            alive=0,
            start=self.terraform.start,
            ask=self.terraform.ask,
        )

    def _diagnosed(self, events: list[AnyEvent], text: str) -> InterlockError:
        return self.diagnosed or TerraformFailed("diagnosed", why=f"{len(events)} events; {text}", fix="look")

    def _soon(self, do: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(do)

    def wish(self, cause: Cause, *, at: str) -> None:
        """Somebody wants the run to stop at this step, and nobody answers the approval then."""
        self.diary.meets[at] = lambda: self.supervisor.wish(cause)

    async def run(self) -> int | InterlockError:
        """Run to the end; return the status or the failure."""
        try:
            return await asyncio.wait_for(self.supervisor.run(), 20)
        except InterlockError as error:
            return error
        finally:
            self.journal.close()

    async def stage(self) -> Stage:
        """Return where the run's ticket stands."""
        return stage_of((await self.coordinator.view("prod")).lock, RUN)

    def started_after(self, step: str) -> list[str]:
        """Return the commands that were started after a step, which may name a later time of it: `access.stored#2`."""
        name, _, number = step.partition("#")
        times = [n for n, each in enumerate(self.diary.steps) if each == name]
        later = self.diary.steps[times[int(number or 1) - 1] + 1 :]
        return [each for each in later if each.startswith("start:")]


INIT = ("record:init", "start:init", "during:init", "end:init")
QUEUED = (
    "phase:queued",
    "queue.acquire",
    "rescuer.attend",
    "queue.granted",
    "access.admit",
    "access.enter",
    *INIT,
    "gateway.open",
    "creations.begin",
)
PLANNING = (
    "phase:planning",
    "record:plan",
    "start:plan",
    "during:plan",
    "end:plan",
    "gateway.forecast",
    "creations.expect",
    "start:told",
    "during:told",
    "end:told",
    "start:rendered",
    "during:rendered",
    "end:rendered",
    "access.stored",
    "access.current",
    "record:show",
    "start:show",
    "during:show",
    "end:show",
    "review.check",
)
AWAITING = ("phase:awaiting", "approval", "access.stored")
APPLYING = ("phase:applying", "access.allow", "record:apply", "start:apply", "during:apply")
SETTLING = (
    "end:apply",
    "phase:settling",
    "access.rest",
    "access.settle",
    "access.current",
    "access.current",
    "creations.settle",
    "review.applied",
    "gateway.close",
    "access.leave",
    "queue.release",
    "phase:ended",
)
"""The steps of a run by its phases; from the end of the apply on, Terraform has stored what it did."""
STOPS = (Cause.SIGINT, Cause.SIGTERM, Cause.SIGHUP, Cause.FRONT_END_GONE, Cause.CANCELLED)
EACH = {
    "queued": [("during:init", cause) for cause in STOPS],
    "planning": [("during:plan", cause) for cause in STOPS],
    "awaiting": [("approval", cause) for cause in STOPS],
    "applying": [("during:apply", cause) for cause in STOPS],
    "settling": [("access.settle", cause) for cause in STOPS],
}
"""Every signal in every phase; the tests below add every step. What a cause means there is `interrupts.py`'s table."""


@pytest.mark.promise("P9")
async def test_a_run_takes_its_steps_in_this_order(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert await scene.run() == 0
    steps = tuple(step for step in scene.diary.steps if step != "queue.renew")
    whole = QUEUED + PLANNING + AWAITING + APPLYING + SETTLING
    # `init` goes on beside the wait for the turn: nothing says which of the two comes first before the gateway opens.
    assert [step for step in steps if step not in INIT] == [step for step in whole if step not in INIT]
    assert [step for step in steps if step in INIT] == list(INIT)
    assert steps.index("phase:queued") < steps.index("record:init")
    assert steps.index("end:init") < steps.index("gateway.open")


def numbered(steps: tuple[str, ...]) -> list[str]:
    """Return the steps; a further time of one is told apart by its number."""
    return [step if step not in steps[:n] else f"{step}#{steps[:n].count(step) + 1}" for n, step in enumerate(steps)]


def at_every(steps: tuple[str, ...], *phases: str, after: tuple[str, ...] = ()) -> list[tuple[str, Cause]]:
    """Return Ctrl-C at every one of these steps, and every other cause at one step of each of these phases.

    Args:
        steps: The steps.
        phases: Of which the other causes are tried.
        after: The steps of the run before those.
    """
    others = [pair for phase in phases for pair in EACH[phase] if pair[1] is not Cause.SIGINT]
    return [(step, Cause.SIGINT) for step in numbered(after + steps)[len(after) :]] + others


async def check_laws(scene: Scene, *, kept: bool = False) -> None:
    """Whatever happened: P8 and P9 as far as they can be seen from outside.

    Args:
        scene: A run that has ended.
        kept: Its grant is not current any more, or must be left to recovery.
    """
    steps = scene.diary.steps
    assert scene.terraform.faults == []
    assert scene.terraform.living == {}
    stage = await scene.stage()
    assert stage is Stage.HOLDING if kept else stage in (Stage.RELEASED, Stage.WITHDRAWN, Stage.ENDED), stage
    assert steps[-1] == "phase:ended"
    if "queue.release" in steps:
        before = steps[: steps.index("queue.release")]
        assert "access.leave" in before
        assert [step for step in steps[len(before) :] if step.startswith(("start:", "end:", "access."))] == []
        assert ("end:apply" in before) == ("access.settle" in before)


# -- every signal in every phase --------------------------------------------------------------------------------------


def stopped_by(cause: Cause) -> type[InterlockError]:
    return Interrupted if cause is Cause.SIGINT else Terminated


@pytest.mark.promise("P8")
@pytest.mark.parametrize("step", ["during:init", "during:plan", "during:apply"])
async def test_a_run_that_is_cancelled_from_another_machine_says_by_whom(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path)
    scene.diary.meets[step] = lambda: scene.supervisor.wish(Cause.CANCELLED, by="bob as bob (k1)")
    outcome = await scene.run()
    assert isinstance(outcome, InterlockError)
    assert "bob as bob (k1) cancelled it" in outcome.why
    (told,) = [each.told for each in read(scene.folder) if isinstance(each.told, InterruptEntry)]
    assert told.by == "bob as bob (k1)"


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize(("step", "cause"), at_every(QUEUED, "queued"))
async def test_a_run_that_waits_leaves_and_starts_nothing_more(tmp_path: Path, step: str, cause: Cause) -> None:
    scene = Scene(tmp_path)
    scene.wish(cause, at=step)
    outcome = await scene.run()
    assert type(outcome) is (Superseded if cause is Cause.CANCELLED else stopped_by(cause))
    assert scene.started_after(step) in ([], ["start:init"])
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize(("step", "cause"), at_every(PLANNING + AWAITING, "planning", "awaiting"))
async def test_a_run_that_plans_or_awaits_an_answer_applies_nothing(tmp_path: Path, step: str, cause: Cause) -> None:
    scene = Scene(tmp_path)
    scene.wish(cause, at=step)
    outcome = await scene.run()
    assert type(outcome) is stopped_by(cause)
    assert "nothing was changed" in (outcome.why or "")
    assert scene.started_after(step) == ([step.replace("record", "start")] if "record" in step else [])
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize(("step", "cause"), at_every(APPLYING, "applying"))
async def test_an_apply_is_asked_once_saves_and_then_releases(tmp_path: Path, step: str, cause: Cause) -> None:
    scene = Scene(tmp_path)
    scene.wish(cause, at=step)
    outcome = await scene.run()
    assert type(outcome) is stopped_by(cause)
    if "start:apply" in scene.diary.steps:
        assert scene.diary.steps.count("ask:apply") == 1
        assert scene.access.head.serial == 1, "its state is stored"
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize(
    ("step", "cause"), at_every(SETTLING, "settling", after=QUEUED + PLANNING + AWAITING + APPLYING)
)
async def test_a_wish_after_the_apply_changes_nothing(tmp_path: Path, step: str, cause: Cause) -> None:
    scene = Scene(tmp_path)
    scene.wish(cause, at=step)
    assert await scene.run() == 0
    assert not {"ask:apply", "kill:apply"} & set(scene.diary.steps)
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("cause", STOPS)
async def test_a_second_wish_is_no_second_signal_and_kills_only_after_its_warning(tmp_path: Path, cause: Cause) -> None:
    scene = Scene(tmp_path)
    wished: list[str] = []

    def wish_often() -> None:
        for pause_s in (0.0, 0.1, BURST_S, STANDS_S + BURST_S):
            scene.clock.pass_time(pause_s)
            scene.supervisor.wish(cause)
            wished.append("killed" if "kill:apply" in scene.diary.steps else "")

    scene.diary.meets["during:apply"] = wish_often
    outcome = await scene.run()
    may_kill = cause in (Cause.SIGINT, Cause.CANCELLED)
    assert wished == ["", "", "", "killed" if may_kill else ""]
    assert scene.diary.steps.count("ask:apply") <= 1
    assert type(outcome) is (StateNotSaved if may_kill else stopped_by(cause))
    await check_laws(scene)


# -- every failure of every hand --------------------------------------------------------------------------------------

DOWN = BackendUnavailable("it is down", fix="look")
HARMLESS = (
    "rescuer.attend",
    "queue.renew",
    "creations.begin",
    "access.rest",
    "creations.settle",
    "review.applied",
    "gateway.close",
    "queue.release",
)
"""Hands whose failure costs the run nothing: it goes on, or has done everything already."""
FIRST_STEPS = [step for step in numbered(QUEUED + PLANNING + AWAITING) if ":" not in step or "record:" in step]


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("step", [step for step in FIRST_STEPS if step not in (*HARMLESS, "access.admit", "approval")])
async def test_a_failure_before_the_apply_is_the_outcome_and_nothing_is_applied(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path)
    scene.diary.fails[step] = DOWN
    assert await scene.run() is DOWN
    assert "start:apply" not in scene.diary.steps
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("step", HARMLESS)
async def test_a_failure_that_costs_nothing_is_said_and_the_run_succeeds(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path)
    scene.diary.fails[step] = DOWN
    assert await scene.run() == 0
    assert "it is down" in (scene.folder / "journal.jsonl").read_text()
    await check_laws(scene, kept=step == "queue.release")


@pytest.mark.promise("P1", "P9")
async def test_a_grant_is_kept_when_terraforms_own_lock_could_not_be_given_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.diary.fails["access.leave"] = DOWN
    assert await scene.run() == 0
    assert "queue.release" not in scene.diary.steps
    await check_laws(scene, kept=True)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("name", ["init", "plan", "show", "apply"])
async def test_a_command_that_cannot_be_started_is_the_outcome(tmp_path: Path, name: str) -> None:
    scene = Scene(tmp_path)
    failure = TerraformFailed("cannot start terraform", fix="interlock doctor")
    scene.diary.fails[f"start:{name}"] = failure
    assert await scene.run() is failure
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("code", [1, KILLED])
@pytest.mark.parametrize("name", ["init", "plan", "show"])
async def test_a_command_that_fails_or_is_killed_ends_the_run_before_the_apply(
    tmp_path: Path, name: str, code: int
) -> None:
    scene = Scene(tmp_path)
    scene.terraform.ends[name] = Ending(says=error_line("it failed"), code=code)
    outcome = await scene.run()
    assert type(outcome) is TerraformFailed
    assert "start:apply" not in scene.diary.steps
    await check_laws(scene)


APPLIES = {
    "applied": (Ending(says=APPLIED, stores=True), 0),
    "failed": (Ending(says=APPLIED + error_line("no"), code=1, stores=True), TerraformFailed),
    "killed": (Ending(says=BEGUN, code=KILLED), StateNotSaved),
    "cut off": (Ending(says=BEGUN + CUT, code=1), StateNotSaved),
    "stopped elsewhere": (Ending(says=STOPPING + APPLIED, code=1, stores=True), Terminated),
}


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("how", APPLIES)
async def test_how_an_apply_ends_is_what_the_run_reports(tmp_path: Path, how: str) -> None:
    scene = Scene(tmp_path)
    scene.terraform.ends["apply"], expected = APPLIES[how]
    outcome = await scene.run()
    assert outcome == 0 if expected == 0 else type(outcome) is expected
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("cause", STOPS)
async def test_a_stop_that_was_cut_off_says_that_something_may_be_lost(tmp_path: Path, cause: Cause) -> None:
    scene = Scene(tmp_path)
    scene.terraform.stops["apply"] = Ending(says=BEGUN + CUT, code=1)
    scene.wish(cause, at="during:apply")
    outcome = await scene.run()
    assert isinstance(outcome, StateNotSaved)
    assert outcome.facts["in_flight"]
    await check_laws(scene)


AFTER_APPLY = ("access.rest", "access.stored#3", "access.settle", "access.current#2", "review.applied", "gateway.close")


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("step", [*AFTER_APPLY, "access.leave", "queue.release"])
@pytest.mark.parametrize("how", ["killed", "cut off", "failed"])
async def test_nothing_that_fails_after_an_apply_hides_how_it_ended(tmp_path: Path, how: str, step: str) -> None:
    scene = Scene(tmp_path)
    scene.terraform.ends["apply"], expected = APPLIES[how]
    scene.diary.fails[step] = DOWN
    assert type(await scene.run()) is expected
    await check_laws(scene, kept=step in ("access.leave", "queue.release"))


@pytest.mark.promise("P8")
@pytest.mark.parametrize("step", ["access.settle", "access.current#2"])
async def test_an_apply_whose_stored_state_cannot_be_looked_at_is_no_success(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path)
    scene.diary.fails[step] = DOWN
    assert await scene.run() is DOWN
    await check_laws(scene)


@pytest.mark.promise("P1", "P9")
async def test_a_defect_of_ours_during_an_apply_stops_it_and_leaves_lock_and_grant_to_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, follow = Scene(tmp_path), Running.follow

    async def fails(running: Running, on_event: Callable[[AnyEvent], None]) -> Outcome:
        if running.output.name == "apply.jsonl":
            raise RuntimeError("a defect")
        return await follow(running, on_event)

    monkeypatch.setattr(Running, "follow", fails)
    with pytest.raises(RuntimeError, match="a defect"):
        await scene.run()
    assert scene.diary.steps.count("ask:apply") == 1
    assert not {"kill:apply", "access.leave", "queue.release"} & set(scene.diary.steps)
    await check_laws(scene, kept=True)


@pytest.mark.promise("P9")
async def test_an_apply_that_was_asked_already_is_not_asked_again_when_we_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, follow = Scene(tmp_path), Running.follow

    async def fails(running: Running, on_event: Callable[[AnyEvent], None]) -> Outcome:
        outcome = await follow(running, on_event)
        if running.output.name == "apply.jsonl":
            raise RuntimeError("a defect")
        return outcome

    monkeypatch.setattr(Running, "follow", fails)
    scene.wish(Cause.SIGTERM, at="during:apply")
    with pytest.raises(RuntimeError, match="a defect"):
        await scene.run()
    assert scene.diary.steps.count("ask:apply") == 1
    assert "ask:nobody" not in scene.diary.steps
    await check_laws(scene, kept=True)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("is_stored", [True, False])
async def test_what_a_terraform_that_was_cut_off_could_store_is_not_called_unsaved(
    tmp_path: Path, is_stored: bool
) -> None:
    scene = Scene(tmp_path)
    scene.terraform.ends["apply"] = Ending(says=STOPPING + APPLIED + CUT, code=1, stores=True)
    if is_stored:
        scene.diary.meets["access.rest"] = lambda: setattr(scene.access, "document", MADE)
    outcome = await scene.run()
    assert isinstance(outcome, StateNotSaved)
    assert ("terraform_data.a" in outcome.why) == (not is_stored)
    await check_laws(scene)


@pytest.mark.promise("P1", "P9")
async def test_a_grant_is_kept_whatever_keeps_the_door_from_being_left(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.diary.fails["access.leave"] = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        await scene.run()
    await check_laws(scene, kept=True)


MADE = json.dumps(
    {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 1,
        "lineage": "l",
        "outputs": {},
        "resources": [
            {
                "mode": "managed",
                "type": "terraform_data",
                "name": "a",
                "provider": "provider.p",
                "instances": [{"attributes": {"id": "1"}}],
            }
        ],
    }
).encode()
"""A state that has what the fake Terraform makes."""


# -- a lost lease -----------------------------------------------------------------------------------------------------

LOST = LeaseLost("the lease was lost", why="it was broken", fix="look")


@pytest.mark.promise("P4", "P8")
@pytest.mark.parametrize("number", range(1, 7))
async def test_a_run_that_lost_its_lease_reports_that_and_gives_nothing_back(tmp_path: Path, number: int) -> None:
    scene = Scene(tmp_path)
    scene.diary.fails["queue.renew" if number == 1 else f"queue.renew#{number}"] = LOST
    assert await scene.run() is LOST
    assert not {"queue.release", "queue.withdraw"} & set(scene.diary.steps)
    await check_laws(scene, kept=True)


@pytest.mark.promise("P4", "P8")
@pytest.mark.parametrize("step", [*AFTER_APPLY, "access.leave"])
async def test_a_lost_lease_is_reported_whatever_fails_besides(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path)
    scene.diary.fails["queue.renew#6"] = LOST
    scene.diary.fails[step] = DOWN
    assert await scene.run() is LOST
    await check_laws(scene, kept=True)


@pytest.mark.promise("P4", "P8")
async def test_a_fenced_run_that_was_also_cut_off_reports_the_fence_and_names_what_was_cut(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.diary.fails["queue.renew#7"] = LOST
    scene.terraform.stops["apply"] = Ending(says=BEGUN + CUT, code=1)
    outcome = await scene.run()
    assert isinstance(outcome, LeaseLost)
    assert "signalled a second time" in (outcome.why or "")
    assert outcome.facts["in_flight"]
    await check_laws(scene, kept=True)


# -- other orders -----------------------------------------------------------------------------------------------------


@pytest.mark.promise("P9")
@pytest.mark.parametrize("step", ["during:plan", "access.stored", "review.check", "access.stored#2"])
async def test_an_apply_that_nobody_is_asked_about_is_not_begun_after_a_wish_to_stop(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path, auto_approve=True)
    scene.wish(Cause.SIGTERM, at=step)
    assert type(await scene.run()) is Terminated
    assert "start:apply" not in scene.diary.steps
    await check_laws(scene)


async def test_an_apply_that_nobody_is_asked_about_does_not_wait_until_its_plan_is_shown(tmp_path: Path) -> None:
    scene = Scene(tmp_path, auto_approve=True)
    assert await scene.run() == 0
    steps = scene.diary.steps
    assert steps.index("start:told") < steps.index("start:show") < steps.index("end:rendered")
    assert [entry.facts for entry in read(scene.folder) if entry.kind == "plan-text"] == [{"why": ""}]
    assert "phase:planning" in steps
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("name", ["told", "rendered"])
async def test_a_stop_ends_at_once_what_only_shows_the_plan(tmp_path: Path, name: str) -> None:
    scene = Scene(tmp_path, auto_approve=True)
    scene.wish(Cause.SIGINT, at=f"during:{name}")
    # It is shown beside the apply: on a busy machine that may have ended before the stop, and the run succeeds.
    ended = await scene.run()
    assert ended == 0 or (type(ended) is Interrupted and f"kill:{name}" in scene.diary.steps)
    await check_laws(scene)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("fault", [DOWN, RuntimeError("a defect")])
async def test_a_plan_that_cannot_be_shown_does_not_change_how_its_apply_ended(
    tmp_path: Path, fault: Exception
) -> None:
    scene = Scene(tmp_path, auto_approve=True, commands=faked)
    scene.diary.fails["describe"] = fault
    assert await scene.run() == 0
    notes = [str(entry.facts["text"]) for entry in read(scene.folder) if entry.kind == "note"]
    assert any(note.startswith(f"the plan cannot be shown: {str(fault)[0]}") for note in notes)
    await check_laws(scene)


@pytest.mark.promise("P8")
async def test_an_answer_of_no_is_told_from_a_stop(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.diary.meets["approval"] = lambda: scene.supervisor.answer(approved=False)
    assert type(await scene.run()) is PolicyGate
    assert "start:apply" not in scene.diary.steps
    await check_laws(scene)


@pytest.mark.promise("P8")
@pytest.mark.parametrize(("asked", "status"), [(False, 0), (True, 2)])
async def test_a_plan_changes_nothing_and_says_whether_there_are_changes(
    tmp_path: Path, asked: bool, status: int
) -> None:
    scene = Scene(tmp_path, operation=Operation.PLAN, detailed_exitcode=asked)
    assert await scene.run() == status
    assert "start:apply" not in scene.diary.steps
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("step", ["during:plan", "during:show", "review.scan", "access.current#2"])
async def test_a_drift_scan_that_is_stopped_says_so(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path, operation=Operation.DRIFT)
    scene.access.write()
    scene.wish(Cause.SIGINT, at=step)
    outcome = await scene.run()
    assert outcome == 0 if step == "access.current#2" else type(outcome) is Interrupted
    await check_laws(scene)


@pytest.mark.promise("P8", "P11")
async def test_a_drift_scan_of_nothing_is_refused_before_anything_is_planned(tmp_path: Path) -> None:
    scene = Scene(tmp_path, operation=Operation.DRIFT)
    outcome = await scene.run()
    assert isinstance(outcome, UsageError)
    assert "start:plan" not in scene.diary.steps
    await check_laws(scene)


@pytest.mark.promise("P8", "P11")
async def test_a_command_whose_store_never_saw_the_state_creates_nothing_unasked(tmp_path: Path) -> None:
    scene = Scene(tmp_path, auto_approve=True, first_apply=False)
    assert type(await scene.run()) is PolicyGate
    assert "start:apply" not in scene.diary.steps
    await check_laws(scene)


@pytest.mark.promise("P9")
async def test_a_stopped_init_is_not_kept_for_later_runs(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    missing = {"severity": "error", "summary": "Module not installed", "detail": ""}
    scene.terraform.ends["plan"] = Ending(says=line("diagnostic", diagnostic=missing), code=1)
    shutil.rmtree(scene.home / "cache", ignore_errors=True)
    scene.diary.meets["end:plan"] = lambda: shutil.rmtree(scene.home / "cache", ignore_errors=True)
    scene.wish(Cause.SIGINT, at="during:init#2")
    assert type(await scene.run()) is Interrupted
    assert not list((scene.home).glob("cache/init/*/complete"))
    await check_laws(scene)


@pytest.mark.parametrize("summary", ["Module source has changed", "Module version requirements have changed"])
async def test_a_kept_initialisation_with_a_module_from_elsewhere_is_done_again(tmp_path: Path, summary: str) -> None:
    scene = Scene(tmp_path)
    changed = {"severity": "error", "summary": summary, "detail": ""}
    planned = scene.terraform.ends["plan"]
    scene.terraform.ends["plan"] = Ending(says=line("diagnostic", diagnostic=changed), code=1)
    scene.diary.meets["start:plan#2"] = lambda: scene.terraform.ends.update(plan=planned)
    assert await scene.run() == 0
    started = [process.label for process in scene.terraform.started]
    assert started[:4] == ["init", "plan", "init", "plan"]
    await check_laws(scene)


PASSES = TerraformFailed("the API was busy", fix="again", category="api-rate-limit")
BUSY = Ending(says=error_line("429"), code=1)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("begun", [BUSY, Ending(says=APPLIED, stores=True)])
async def test_a_failure_that_passes_is_tried_again_from_a_fresh_plan(tmp_path: Path, begun: Ending) -> None:
    scene = Scene(tmp_path, diagnosed=PASSES, auto_approve=True)
    scene.terraform.ends["apply"] = BUSY
    scene.diary.meets["during:apply#2"] = lambda: scene.terraform.ends.update(apply=begun)
    outcome = await scene.run()
    assert outcome is PASSES if begun is BUSY else outcome == 0
    assert scene.diary.steps.count("start:plan") == scene.diary.steps.count("start:apply") == 2
    assert scene.diary.steps.count("queue.release") == 1
    await check_laws(scene)


@pytest.mark.promise("P9")
@pytest.mark.parametrize("step", ["access.settle", "during:apply"])
async def test_a_run_that_is_to_stop_is_not_tried_again(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path, diagnosed=PASSES, auto_approve=True)
    scene.terraform.ends["apply"] = BUSY
    scene.wish(Cause.SIGINT, at="during:apply")
    await scene.run()
    assert scene.diary.steps.count("start:plan") == 1
    await check_laws(scene)


CRASHED = TerraformFailed("a provider crashed", fix="again", category="provider-crash")
CRASHING = Ending(says=error_line("Plugin did not respond"), code=1)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("command", ["plan", "apply"])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_crash_before_any_change_is_repeated_once(tmp_path: Path, command: str, times: int) -> None:
    scene = Scene(tmp_path, diagnosed=CRASHED, auto_approve=True, retries=3)
    scene.terraform.ends[command] = CRASHING
    if times == 1:
        good = Ending(says=PLANNED, code=2) if command == "plan" else Ending(says=APPLIED, stores=True)
        scene.diary.meets[f"during:{command}#2"] = lambda: scene.terraform.ends.update({command: good})
    outcome = await scene.run()
    assert outcome == 0 if times == 1 else outcome is CRASHED
    assert scene.diary.steps.count(f"start:{command}") == 2
    await check_laws(scene)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("proof", ["a resource was begun", "a write came", "calls go past the gateway"])
async def test_a_crash_is_not_repeated_when_something_may_have_been_changed(tmp_path: Path, proof: str) -> None:
    scene = Scene(tmp_path, diagnosed=CRASHED, auto_approve=True, retries=3)
    says = BEGUN + error_line("Plugin did not respond") if proof == "a resource was begun" else CRASHING.says
    scene.terraform.ends["apply"] = Ending(says=says, code=1)
    if proof == "a write came":
        scene.diary.meets["during:apply"] = lambda: scene.came(1)
    if proof == "calls go past the gateway":
        scene.came(None)
    assert await scene.run() is not None
    assert scene.diary.steps.count("start:plan") == scene.diary.steps.count("start:apply") == 1


# -- commands of Terraform instead of plan and apply -------------------------------------------------------------------

MOVE: dict[str, Any] = {"operation": Operation.EXEC, "command": ("state", "mv", "a.b", "a.c"), "auto_approve": True}
TAINT: dict[str, Any] = {"operation": Operation.EXEC, "command": ("taint", "a.b"), "auto_approve": True}
LIST: dict[str, Any] = {"operation": Operation.READ, "command": ("state", "list"), "auto_approve": True}
CHANGING = ("phase:applying", "access.allow", "record:apply", "start:apply", "during:apply")


@pytest.mark.promise("P9")
async def test_a_command_that_changes_the_state_is_saved_and_released_like_an_apply(tmp_path: Path) -> None:
    scene = Scene(tmp_path, **TAINT)
    assert await scene.run() == 0
    steps = [step for step in scene.diary.steps if step not in {"queue.renew", "access.stored"}]
    assert tuple(steps[steps.index("phase:planning") :]) == ("phase:planning", *CHANGING, *SETTLING)
    assert scene.access.head.serial == 1
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize(("step", "cause"), at_every(CHANGING, "applying"))
async def test_a_command_that_changes_the_state_is_asked_once_saves_and_then_releases(
    tmp_path: Path, step: str, cause: Cause
) -> None:
    scene = Scene(tmp_path, **TAINT)
    scene.wish(cause, at=step)
    assert type(await scene.run()) is stopped_by(cause)
    if "start:apply" in scene.diary.steps:
        assert scene.diary.steps.count("ask:apply") == 1
        assert scene.access.head.serial == 1, "its state is stored"
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("ordered", [TAINT, LIST])
@pytest.mark.parametrize("step", ["phase:planning", "start:init", "gateway.open"])
async def test_a_command_is_not_begun_after_a_wish_to_stop(tmp_path: Path, ordered: dict[str, Any], step: str) -> None:
    scene = Scene(tmp_path, **ordered)
    scene.wish(Cause.SIGTERM, at=step)
    assert type(await scene.run()) is Terminated
    assert not {"start:apply", "start:read"} & set(scene.diary.steps)
    await check_laws(scene)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("cause", STOPS)
async def test_a_command_that_only_reads_ends_with_the_wish_to_stop(tmp_path: Path, cause: Cause) -> None:
    scene = Scene(tmp_path, **LIST)
    scene.wish(cause, at="during:read")
    assert type(await scene.run()) is stopped_by(cause)
    assert "phase:applying" not in scene.diary.steps
    await check_laws(scene)


@pytest.mark.promise("P8")
@pytest.mark.parametrize(("ordered", "name"), [(TAINT, "apply"), (LIST, "read")])
async def test_a_command_that_fails_is_the_outcome(tmp_path: Path, ordered: dict[str, Any], name: str) -> None:
    scene = Scene(tmp_path, **ordered)
    scene.terraform.ends[name] = Ending(says=b"no such object", code=1)
    outcome = await scene.run()
    assert isinstance(outcome, TerraformFailed)
    await check_laws(scene)


@pytest.mark.promise("P6")
async def test_what_a_command_would_take_out_is_known_before_it_begins(tmp_path: Path) -> None:
    def state(*names: str) -> bytes:
        instances = [{"attributes": {"id": name}, "index_key": name} for name in names]
        resource = {"mode": "managed", "type": "a", "name": "b", "provider": "p", "instances": instances}
        document = {"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "outputs": {}}
        return json.dumps({**document, "resources": [resource]}).encode()

    def rehearsing(scene: Scene) -> FakeCommands:
        return FakeCommands(diary=scene.diary, access=scene.access, rehearsed=state("x"))

    scene = Scene(tmp_path, commands=rehearsing, **MOVE, protected=True)
    scene.access.document = state("x", "y")
    outcome = await scene.run()
    assert type(outcome) is PolicyGate
    assert 'a.b["y"]' in (outcome.why or "")
    assert "execute" not in scene.diary.steps
    await check_laws(scene)


# -- the run alone, with commands that only say how they ended --------------------------------------------------------


def faked(scene: Scene) -> FakeCommands:
    return FakeCommands(diary=scene.diary, access=scene.access)


COMMANDS = ("init", "plan", "describe", "show", "apply")
"""What a run that asks a person lets Terraform do, in this order."""


@pytest.mark.promise("P9")
async def test_a_run_lets_terraform_do_these_things_in_this_order(tmp_path: Path) -> None:
    scene = Scene(tmp_path, commands=faked)
    assert await scene.run() == 0
    assert tuple(step for step in scene.diary.steps if step in COMMANDS) == COMMANDS
    assert scene.diary.steps.index("queue.release") > scene.diary.steps.index("access.settle")
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("cause", STOPS)
@pytest.mark.parametrize("name", COMMANDS)
async def test_a_wish_during_any_command_ends_the_run_there(tmp_path: Path, name: str, cause: Cause) -> None:
    scene = Scene(tmp_path, commands=faked)
    scene.wish(cause, at=name)
    outcome = await scene.run()
    is_waiting = name == "init"
    assert type(outcome) is (Superseded if is_waiting and cause is Cause.CANCELLED else stopped_by(cause))
    assert scene.diary.steps.count("stop") == (0 if is_waiting else 1)
    assert [step for step in scene.diary.steps if step in COMMANDS][-1] == name
    assert scene.access.head.serial == (1 if name == "apply" else 0), "an apply saves first"
    await check_laws(scene)


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("name", COMMANDS)
async def test_a_command_that_fails_is_the_outcome_and_nothing_follows_it(tmp_path: Path, name: str) -> None:
    scene = Scene(tmp_path, commands=faked)
    scene.diary.fails[name] = DOWN
    assert await scene.run() is DOWN
    assert [step for step in scene.diary.steps if step in COMMANDS][-1] == name
    await check_laws(scene)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("step", ["access.stored", "access.settle", "access.current", "review.applied", "access.leave"])
async def test_the_first_cause_of_a_failure_is_the_one_that_is_reported(tmp_path: Path, step: str) -> None:
    first, later = TerraformFailed("first", fix="look"), BackendUnavailable("later", fix="look")
    scene = Scene(tmp_path, diagnosed=first, commands=faked)
    commands = scene.supervisor._commands
    assert isinstance(commands, FakeCommands)
    commands.ends["apply"] = Ending(says=error_line("first"), code=1)
    scene.diary.meets["apply"] = lambda: scene.diary.fails.update({step: later, f"{step}#2": later, f"{step}#3": later})
    assert await scene.run() is first
    await check_laws(scene, kept=step == "access.leave")


@pytest.mark.promise("P8")
@pytest.mark.parametrize("first", [Cause.SIGINT, Cause.SIGTERM])
@pytest.mark.parametrize("step", ["init", "plan", "approval", "apply"])
async def test_who_wanted_the_stop_first_is_the_one_that_is_reported(tmp_path: Path, step: str, first: Cause) -> None:
    scene = Scene(tmp_path, commands=faked)
    second = Cause.SIGTERM if first is Cause.SIGINT else Cause.SIGINT

    def wish_twice() -> None:
        scene.supervisor.wish(first)
        scene.supervisor.wish(second)

    scene.diary.meets[step] = wish_twice
    outcome = await scene.run()
    assert type(outcome) is stopped_by(first)
    await check_laws(scene)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("ours_last", [False, True])
def test_of_failures_that_come_together_the_first_of_ours_counts(ours_last: bool) -> None:
    ours, later, defect = (
        TerraformFailed("ours", fix="look"),
        BackendUnavailable("later", fix="look"),
        OSError("defect"),
    )
    nested = BaseExceptionGroup("inner", [defect, ours] if ours_last else [ours, defect])
    assert _first(BaseExceptionGroup("outer", [RuntimeError("defect"), nested, later])) is ours
    assert _first(BaseExceptionGroup("outer", [defect, RuntimeError("defect")])) is defect


async def test_the_time_that_a_run_may_wait_begins_with_the_run(tmp_path: Path) -> None:
    scene = Scene(tmp_path, commands=faked, wait_s=60.0)
    scene.clock.pass_time(1000.0)
    assert await scene.run() == 0
    assert scene.access.timeout_s == 60.0


async def test_a_plan_that_stood_by_too_early_is_dismissed_before_the_run_waits(tmp_path: Path) -> None:
    scene = Scene(tmp_path, commands=faked)
    assert await scene.run() == 0
    assert scene.diary.steps.index("dismiss") < scene.diary.steps.index("queue.acquire")


@pytest.mark.promise("P6")
async def test_the_empty_state_of_an_encrypted_one_is_stored_under_the_rules_of_an_apply_and_no_longer(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, commands=faked, encrypted="main.tf:3")
    assert await scene.run() == 0
    steps = scene.diary.steps
    begun = steps.index("begin")
    assert "access.allow" in steps[:begun], "else it would be kept for review as suspect"
    assert "access.admit" in steps[begun : steps.index("plan")], "until a plan is known nothing may disappear"


@pytest.mark.parametrize(("lineage", "operation"), [("l", Operation.APPLY), ("", Operation.PLAN)])
async def test_nothing_is_begun_where_a_state_is_or_where_nothing_is_applied(
    tmp_path: Path, lineage: str, operation: Operation
) -> None:
    scene = Scene(tmp_path, commands=faked, operation=operation, encrypted="main.tf:3")
    if lineage:
        scene.access.write()
    assert await scene.run() == 0
    assert "begin" not in scene.diary.steps


@pytest.mark.promise("P11")
async def test_a_saved_plan_of_a_new_encrypted_state_is_applied_to_the_nothing_that_it_was_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty state that is stored before, as for a plan of the run's own, would make every such plan stale."""

    def shows(scene: Scene) -> FakeCommands:
        return FakeCommands(diary=scene.diary, access=scene.access, shown=SHOWN)

    plan = tmp_path / "prod.tfplan"
    scene = Scene(tmp_path, commands=shows, encrypted="main.tf:3", plan_file=str(plan))
    files = plan_comparison.read_checkout(scene.workspace, Tool.TOFU)
    held = scene.workspace
    bound = bind(Label(state="prod"), files, Current(), backend=held.backend, place=held.place, workspace="default")
    plan.write_bytes(with_bound_label(PLAN, bound))
    monkeypatch.setattr(reviewed_plan, "was_kept_here", lambda *_asked: True)
    assert await scene.run() == 0
    assert "begin" not in scene.diary.steps
    assert "apply" in scene.diary.steps


@pytest.mark.promise("P8")
@pytest.mark.parametrize(("name", "said"), [("tofu", True), ("fake", False)])
async def test_a_crash_under_opentofu_says_how_to_see_the_stack_trace_that_it_keeps_to_itself(
    tmp_path: Path, name: str, said: bool
) -> None:
    crashed = TerraformFailed("a provider crashed", fix="again", category="provider-crash")
    scene = Scene(tmp_path, diagnosed=crashed)
    scene.supervisor._binary = Binary(argv=(name,), name=name, mark=name)
    scene.terraform.ends["plan"] = Ending(code=1)
    outcome = await scene.run()
    assert isinstance(outcome, TerraformFailed)
    assert ("TF_LOG=error" in outcome.fix) is said
