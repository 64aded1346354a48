"""A plan that one run keeps and a later one applies: taken once, and compared with what is there then."""

import io
import zipfile
from pathlib import Path

import pytest

from interlock.errors import InterlockError, PlanStale, PolicyGate, UsageError
from interlock.run import plan_comparison, reviewed_plan
from interlock.run.binary import Binary
from interlock.run.order import Operation, Order
from interlock.run.planned_files import Difference, digest_of
from interlock.run.planned_for import Label, Target, read_planned_for, with_label
from interlock.run.reviewed_plan import adapted, check_target, keep_plan, take_plan
from interlock.run.summary import Summary, write_summary
from interlock.run.surroundings import Current
from interlock.run.transcript import Journal, read
from interlock.run.workspace import Workspace, open_workspace
from interlock.testing.clock import START, FakeClock
from interlock.testing.run import Diary, FakeGateway, plan_file

BINARY = Binary(argv=("terraform",), name="fake", mark="fake")
OTHER = Difference(subject="main.tf", why="it is another file")


def plan_of() -> bytes:
    """Return a saved plan that was made from serial 3 of lineage l, on our own backend."""
    buffer = io.BytesIO(plan_file("l", 3))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("tfplan", b"")
    return buffer.getvalue()


def summary(run: str, **values: object) -> Summary:
    told = {"state": "prod", "operation": "plan", "who": "ann", "directory": "", "phase": "ended", **values}
    return Summary(run=run, started_at=START, **told)  # type: ignore[arg-type]


class Scene:
    """A saved plan, and the run that is to apply it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **ordered: object) -> None:
        self.module, self.folder = folder / "module", folder / "home" / "runs" / "r1"
        self.module.mkdir()
        self.folder.mkdir(parents=True)
        self.path = folder / "prod.tfplan"
        self.path.write_bytes(plan_of())
        fields = {"operation": Operation.APPLY, "directory": "d", "state": "prod", "who": "ann", "home": "h", **ordered}
        self.order = Order(run="r1", **fields)  # type: ignore[arg-type]
        self.journal = Journal(self.folder, summary("r1", phase="queued", operation="apply"), FakeClock(), lambda: None)
        self.workspace: Workspace = open_workspace(
            self.module, home=folder / "home", run_folder=self.folder, in_place=True, binary_mark="fake", environ={}
        )
        self.difference: Difference | None = None
        self.vouched: list[bool] = []
        monkeypatch.setattr(plan_comparison, "find_planned_elsewhere", self._compare)

    def _compare(self, *_plan: object, vouched: bool, **_more: object) -> Difference | None:
        self.vouched.append(vouched)
        return self.difference

    def take(self) -> bytes:
        return take_plan(self.path, self.order, self.workspace, BINARY, environ={}, journal=self.journal)

    async def check(self, plan: bytes, current: Current, gateway: FakeGateway | None = None) -> None:
        await check_target(plan, self.order, self.workspace, space="default", current=current, gateway=gateway)


def test_a_taken_plan_is_told_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch)
    scene.take()
    digest = digest_of(scene.path.read_bytes())
    assert scene.journal.summary.plan_digest == digest
    assert [(entry.kind, entry.facts) for entry in read(scene.folder)] == [("saved-plan", {"digest": digest})]


@pytest.mark.promise("P11")
def test_another_plan_than_the_one_that_was_approved_is_refused_before_anything_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, monkeypatch, plan_digest="f" * 64)
    with pytest.raises(PolicyGate):
        scene.take()
    assert scene.vouched == []


@pytest.mark.promise("P11")
@pytest.mark.parametrize("allowed", [False, True])
def test_a_plan_of_other_files_is_refused_or_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    scene = Scene(tmp_path, monkeypatch, allow_other_files=allowed)
    scene.difference = OTHER
    if not allowed:
        with pytest.raises(PlanStale):
            scene.take()
        return
    scene.take()
    assert any("main.tf" in str(entry.facts.get("text")) for entry in read(scene.folder))


@pytest.mark.promise("P10", "P11")
@pytest.mark.parametrize(("operation", "vouched"), [("plan", True), ("apply", False)])
def test_only_a_run_of_this_home_that_planned_vouches_for_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, vouched: bool
) -> None:
    scene = Scene(tmp_path, monkeypatch)
    scene.take()
    earlier = scene.folder.parent / "r0"
    earlier.mkdir()
    write_summary(earlier, summary("r0", operation=operation, plan_digest=digest_of(scene.path.read_bytes())))
    scene.take()
    assert scene.vouched == [False, vouched]


@pytest.mark.promise("P3")
@pytest.mark.parametrize(
    ("current", "is_stale"),
    [
        (Current(lineage="l", serial=3), False),
        (Current(lineage="l", serial=4), True),
        (Current(lineage="other", serial=3), True),
        (Current(), True),
    ],
)
async def test_a_plan_of_another_version_of_the_state_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, current: Current, is_stale: bool
) -> None:
    scene = Scene(tmp_path, monkeypatch)
    labelled = with_label(plan_of(), Label(state="prod"))
    planned = read_planned_for(labelled)
    monkeypatch.setattr(reviewed_plan, "check_place", lambda *_planned, **_place: None)
    assert planned.label is not None
    if not is_stale:
        await scene.check(labelled, current)
        return
    with pytest.raises(PlanStale):
        await scene.check(labelled, current)


@pytest.mark.promise("P11")
async def test_a_plan_of_another_organisation_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch)
    monkeypatch.setattr(reviewed_plan, "check_place", lambda *_planned, **_place: None)
    target = Target(api="https://api.mypurecloud.ie", organisation="one")
    plan = with_label(plan_of(), Label(state="prod", targets={"genesyscloud": target}))
    with pytest.raises(InterlockError):
        await scene.check(plan, Current(lineage="l", serial=3), FakeGateway(diary=Diary()))


def test_a_kept_plan_carries_its_label_and_its_digest_names_just_those_bytes(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.tfplan", tmp_path / "prod.tfplan"
    plan.write_bytes(plan_of())
    digest = keep_plan(plan, out, Label(state="prod"))
    assert digest == digest_of(out.read_bytes())
    label = read_planned_for(out.read_bytes()).label
    assert label is not None
    assert label.state == "prod"


def test_a_plan_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    plan = tmp_path / "plan.tfplan"
    plan.write_bytes(plan_of())
    with pytest.raises(UsageError, match="could not be kept"):
        keep_plan(plan, tmp_path / "none" / "prod.tfplan", Label(state="prod"))


def test_a_plan_goes_through_the_gateway_of_the_run_that_applies_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Scene(tmp_path, monkeypatch).workspace
    assert adapted(b"no zip", workspace, FakeGateway(diary=Diary())) == b"no zip"
    plan = plan_of()
    assert adapted(plan, workspace, None) == plan, "it holds no override of ours"
