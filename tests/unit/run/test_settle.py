from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.opentofu_documents import FIRST, SECOND, changed

from interlock.clock import SystemClock
from interlock.coordinator import Standing
from interlock.errors import (
    THIS_STATE,
    BackendUnavailable,
    InterlockError,
    LeaseLost,
    StateInvalid,
    StateNotSaved,
    StateSuspect,
    TerraformFailed,
    command,
)
from interlock.lock import WHOLE_STATE, Pause, Priority, Waiter
from interlock.lock import Stage as LockStage
from interlock.run.leaving import note_before_apply, read_allowed
from interlock.run.process import Ended
from interlock.run.settle import Saving, completed, facts_of, following, plan_entry, settle, standing_entry
from interlock.run.stage import Outcome
from interlock.run.summary import Summary
from interlock.run.surroundings import Current, Tell
from interlock.run.transcript import Journal, read
from interlock.run.workspace import Workspace
from interlock.state import parse_document
from interlock.terraform.events import Action, AnyEvent, Apply, Diagnostic, PlannedChange, Resource, Severity, Stage
from interlock.terraform.plan import PlanDocument, PlanFacts
from interlock.testing.clock import START, FakeClock

STATE = b'{"version":4,"terraform_version":"1.11.4","serial":3,"lineage":"l","outputs":{},"resources":[]}'
APPLIED: AnyEvent = Apply(
    stage=Stage.COMPLETE, resource=Resource(address="a.b"), action=Action.CREATE, elapsed_s=0.0, id="1"
)
SAVING_FAILED: AnyEvent = Diagnostic(severity=Severity.ERROR, summary="Failed to save state", detail="")


class FakeDoor:
    """A access behind which a test has put what is stored."""

    backend = None

    def __init__(self, stored: Current, *, accepted: Current | None = None) -> None:
        self.head = stored
        self.document: bytes | None = None
        self.unseen: InterlockError | None = None
        self._accepted = accepted
        self.refusal: InterlockError | None = None
        self.lacking: tuple[str, ...] = ()
        self.push_refusal: InterlockError | None = None
        self.pushed: list[bytes] = []
        self.left: bytes | None = None
        self.push_fails = 0

    def accepted(self) -> Current | None:
        return self._accepted

    def refused(self) -> InterlockError | None:
        return self.refusal

    def suspect(self) -> tuple[str, ...]:
        return self.lacking

    def unsaved(self) -> bytes | None:
        return self.left

    async def current(self) -> Current:
        return self.head

    async def stored(self) -> bytes | None:
        return self.document

    async def settle(self, _tell: Tell) -> None:
        """Look at what was stored."""
        if self.unseen is not None:
            raise self.unseen

    async def push(self, document: bytes, _allowed: frozenset[str] | None) -> Current:
        self.pushed.append(document)
        if self.push_refusal is not None and (not self.push_fails or len(self.pushed) <= self.push_fails):
            raise self.push_refusal
        self.head = self._accepted = Current(lineage="l", serial=9, digest="d", number=9)
        return self.head


class Room:
    """A run that has just applied."""

    patience_s = 0.0

    def __init__(self, folder: Path) -> None:
        summary = Summary(
            run="r1", state="prod", operation="apply", who="a@b", directory="/d", phase="applying", started_at=START
        )
        self.folder = folder / "run"
        self.folder.mkdir()
        self.journal = Journal(self.folder, summary, FakeClock(), lambda: None)
        tree = folder / "tree"
        tree.mkdir()
        self.space = Workspace(directory=folder, folder=tree, data_dir=folder / "data", seed=folder / "seed")

    async def settle(
        self, access: FakeDoor, *events: AnyEvent, code: int = 0, failure: InterlockError | None = None
    ) -> None:
        await settle(
            Outcome(ended=Ended(code=code), events=list(events)),
            failure=failure,
            plan=PlanFacts(changes=(PlannedChange(resource=Resource(address="a.b"), action=Action.CREATE),)),
            access=access,  # type: ignore[arg-type]  # only what settle uses
            workspace=self.space,
            journal=self.journal,
            saving=Saving(clock=SystemClock(), patience_s=self.patience_s),
        )


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


WRITTEN = Current(lineage="l", serial=4, digest="d", number=2)


async def test_success_is_believed_when_the_stored_state_is_the_one_that_was_written(room: Room) -> None:
    await room.settle(FakeDoor(WRITTEN, accepted=WRITTEN), APPLIED)
    assert [entry.facts["serial"] for entry in read(room.folder) if entry.kind == "state"] == [4]


async def test_success_without_a_write_or_with_another_stored_state_is_none(room: Room) -> None:
    with pytest.raises(StateInvalid, match="wrote no state"):
        await room.settle(FakeDoor(WRITTEN), APPLIED)
    other = Current(lineage="l", serial=5, digest="other", number=3)
    with pytest.raises(StateInvalid, match="not the one"):
        await room.settle(FakeDoor(other, accepted=WRITTEN), APPLIED)


async def test_a_refused_write_is_never_success(room: Room) -> None:
    access = FakeDoor(WRITTEN, accepted=WRITTEN)
    access.refusal = StateInvalid("dropped")
    with pytest.raises(StateInvalid, match="dropped"):
        await room.settle(access, APPLIED)


@pytest.mark.promise("P4")
@pytest.mark.parametrize("family", [StateNotSaved, LeaseLost])
async def test_what_was_refused_of_a_run_that_lost_something_is_named(room: Room, family: type[InterlockError]) -> None:
    access = FakeDoor(WRITTEN, accepted=WRITTEN)
    access.refusal = LeaseLost("not written", why="the grant is not current", quarantine="abc123")
    with pytest.raises(family) as lost:
        await room.settle(
            access, APPLIED, code=1, failure=family("cut off", why="in flight: a.b", fix="interlock plan")
        )
    assert lost.value.why.startswith("in flight: a.b; its last write was refused (the grant is not current)")
    assert "abc123 --raw" in lost.value.fix
    assert lost.value.fix.startswith("interlock plan")


@pytest.mark.promise("P8")
async def test_the_same_serial_with_other_content_is_not_what_terraform_wrote(room: Room) -> None:
    other = Current(lineage="l", serial=WRITTEN.serial, digest="other", number=3)
    with pytest.raises(StateInvalid, match="not the one"):
        await room.settle(FakeDoor(other, accepted=WRITTEN), APPLIED)


@pytest.mark.promise("P8")
async def test_a_refused_write_comes_before_what_else_went_wrong(room: Room) -> None:
    access = FakeDoor(WRITTEN, accepted=WRITTEN)
    access.refusal = StateInvalid("dropped")
    with pytest.raises(StateInvalid, match="dropped"):
        await room.settle(access, APPLIED, code=1, failure=TerraformFailed("some error"))


@pytest.mark.promise("P4")
async def test_a_lease_that_is_found_lost_in_the_end_decides_the_exit_status(room: Room) -> None:
    access = FakeDoor(WRITTEN, accepted=WRITTEN)
    access.unseen = LeaseLost("somebody else has it")
    access.push_refusal = LeaseLost("fenced")
    room.space.errored.write_bytes(STATE)
    with pytest.raises(LeaseLost, match="somebody else has it"):
        await room.settle(access, APPLIED, code=1, failure=StateNotSaved("cut off"))


@pytest.mark.promise("P8")
async def test_a_failure_to_save_that_only_terraform_reports_is_mended_by_storing_what_it_left(room: Room) -> None:
    access = FakeDoor(WRITTEN)
    room.space.errored.write_bytes(STATE)
    said = StateNotSaved("the newest state could not be stored", category="state-not-saved")
    await room.settle(access, APPLIED, SAVING_FAILED, code=1, failure=said)
    assert access.pushed == [STATE]


@pytest.mark.promise("P8")
async def test_a_suspect_state_is_neither_a_success_nor_a_lost_state(room: Room) -> None:
    access = FakeDoor(WRITTEN, accepted=WRITTEN)
    access.lacking = ("a.b", "a.c")
    with pytest.raises(StateSuspect) as held:
        await room.settle(access, APPLIED)
    assert held.value.exit_status == 23
    assert "a.b, a.c" in held.value.why
    assert command("state", "accept", THIS_STATE) in held.value.fix
    assert command("state", "restore", THIS_STATE) in held.value.fix
    kinds = [entry.kind for entry in read(room.folder)]
    assert kinds[-2:] == ["state", "suspect"]
    with pytest.raises(StateSuspect, match="held for review") as failed:
        await room.settle(access, APPLIED, code=1, failure=TerraformFailed("it failed"))
    assert "besides: it failed" in failed.value.why
    with pytest.raises(LeaseLost):
        await room.settle(access, APPLIED, code=1, failure=LeaseLost("gone"))


@pytest.mark.promise("P8")
async def test_an_errored_state_that_lay_there_before_the_run_is_left_alone(room: Room) -> None:
    room.space.errored.write_bytes(STATE)
    note_before_apply(room.folder, errored=room.space.errored, allowed=frozenset({"a.b"}))
    access = FakeDoor(WRITTEN, accepted=WRITTEN)
    await room.settle(access, APPLIED)
    assert access.pushed == []
    assert room.space.errored.read_bytes() == STATE
    assert read_allowed(room.folder) == frozenset({"a.b"})


async def test_a_state_that_terraform_left_is_stored_and_makes_good_a_failure_to_save(room: Room) -> None:
    room.space.errored.write_bytes(STATE)
    access = FakeDoor(WRITTEN)
    await room.settle(access, APPLIED, SAVING_FAILED, code=1, failure=TerraformFailed("it could not save"))
    assert access.pushed == [STATE]
    assert not list(room.folder.parent.rglob("errored.tfstate"))


async def test_another_failure_stands_although_the_state_was_stored(room: Room) -> None:
    room.space.errored.write_bytes(STATE)
    broken = Diagnostic(severity=Severity.ERROR, summary="a resource failed", detail="")
    with pytest.raises(TerraformFailed):
        await room.settle(FakeDoor(WRITTEN), APPLIED, SAVING_FAILED, broken, code=1, failure=TerraformFailed("x"))


@pytest.mark.promise("P11")
async def test_an_apply_that_nobody_heard_of_names_the_plan_of_its_state_in_its_folder(room: Room) -> None:
    """It named `plan prod`, where `prod` is no folder."""
    access = FakeDoor(WRITTEN)
    access.left = STATE
    with pytest.raises(BackendUnavailable) as unheard:
        await room.settle(access, APPLIED, code=1, failure=BackendUnavailable("disk full"))
    assert unheard.value.fix.startswith("interlock plan --state prod /d ")


async def test_a_state_that_cannot_be_stored_is_kept_privately_and_named(room: Room) -> None:
    room.space.errored.write_bytes(STATE)
    access = FakeDoor(WRITTEN)
    access.push_refusal = StateInvalid("older")
    with pytest.raises(StateNotSaved) as lost:
        await room.settle(access, APPLIED, SAVING_FAILED, code=1, failure=TerraformFailed("x"))
    kept = room.folder / "errored.tfstate"
    assert str(kept) in lost.value.why
    assert "--state prod" in lost.value.fix
    assert kept.read_bytes() == STATE
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.promise("P3")
async def test_a_state_that_only_memory_has_is_stored_when_terraforms_file_is_empty(room: Room) -> None:
    room.space.errored.write_bytes(b"")  # as Terraform leaves it on a full disk
    access = FakeDoor(WRITTEN)
    access.left = STATE
    await room.settle(access, APPLIED, SAVING_FAILED, code=1, failure=TerraformFailed("x"))
    assert access.pushed == [STATE]
    assert not room.space.errored.exists()
    assert not (room.folder / "errored.tfstate").exists()


@pytest.mark.promise("P3")
async def test_a_store_that_cannot_take_a_state_is_offered_it_again_while_the_run_holds(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.run.saving.RETRY_S", 0.0)
    room.patience_s = 60.0
    access = FakeDoor(WRITTEN)
    access.left, access.push_refusal, access.push_fails = STATE, BackendUnavailable("disk full"), 3
    await room.settle(access, APPLIED, SAVING_FAILED, code=1, failure=TerraformFailed("x"))
    assert len(access.pushed) == 4
    assert not (room.folder / "errored.tfstate").exists()
    assert "trying again" in str(read(room.folder)[0].facts["text"])


@pytest.mark.promise("P3")
async def test_a_state_that_only_memory_has_is_kept_where_there_is_room_and_named(room: Room) -> None:
    access = FakeDoor(WRITTEN)
    access.left, access.push_refusal = STATE, BackendUnavailable("disk full")
    room.folder.joinpath("errored.tfstate").mkdir()  # as a disk that takes nothing
    theirs = room.space.directory / "errored.tfstate"
    theirs.write_text("of an earlier time")
    with pytest.raises(StateNotSaved) as lost:
        await room.settle(access, APPLIED, SAVING_FAILED, code=1, failure=TerraformFailed("x"))
    kept = room.space.directory / "errored-r1.tfstate"
    assert str(kept) in lost.value.why
    assert str(kept) in lost.value.fix
    assert kept.read_bytes() == STATE
    assert kept.stat().st_mode & 0o077 == 0
    assert theirs.read_text() == "of an earlier time"


@pytest.mark.promise("P8")
async def test_an_empty_file_is_never_told_as_a_kept_state(room: Room) -> None:
    room.space.errored.write_bytes(b"")
    with pytest.raises(StateNotSaved) as lost:
        await room.settle(FakeDoor(WRITTEN), APPLIED, SAVING_FAILED, code=1, failure=TerraformFailed("x"))
    assert "is not a state: it has 0 bytes" in lost.value.why
    assert "the state is kept" not in lost.value.why


async def test_a_fenced_run_stays_fenced_and_says_where_its_state_is(room: Room) -> None:
    room.space.errored.write_bytes(STATE)
    access = FakeDoor(WRITTEN)
    access.push_refusal = LeaseLost("fenced")
    with pytest.raises(LeaseLost, match="gone") as lost:
        await room.settle(access, APPLIED, code=1, failure=LeaseLost("gone", why="broken"))
    assert "errored.tfstate" in lost.value.why


@pytest.mark.promise("P8")
async def test_what_was_cut_off_stays_told_when_a_late_write_was_refused_too(room: Room) -> None:
    access = FakeDoor(WRITTEN)
    access.refusal = StateInvalid("the lock was given back already")
    with pytest.raises(StateNotSaved, match="cut off"):
        await room.settle(access, APPLIED, code=1, failure=StateNotSaved("cut off"))


def test_a_first_state_without_a_lineage_gets_the_same_one_from_everybody() -> None:
    bare = STATE.replace(b'"lineage":"l"', b'"lineage":""').replace(b'"serial":3', b'"serial":0')
    once, twice = completed(bare, "r1"), completed(bare, "r1")
    assert once == twice
    document = parse_document(once)
    assert document.lineage
    assert document.serial == 1
    assert completed(bare, "r2") != once
    assert completed(STATE, "r1") == STATE
    with pytest.raises(StateInvalid):
        completed(b"no state", "r1")


@pytest.mark.promise("P3")
def test_what_opentofu_encrypted_is_offered_as_it_is() -> None:
    """Its lineage and its serial stand inside too, so nobody else may write into it."""
    bare = changed(FIRST, lineage="", serial=0)
    assert completed(bare, "r1") == bare
    assert completed(FIRST, "r1") == FIRST
    again = changed(SECOND, serial=1)
    assert following(again, FIRST) == again
    assert following(changed(FIRST), FIRST) == FIRST, "stored already"
    assert following(SECOND, FIRST) == SECOND


def test_a_place_in_the_queue_is_told_with_its_expected_start() -> None:
    standing = Standing(
        state="s",
        ticket="t",
        stage=LockStage.WAITING,
        token=None,
        position=3,
        ahead=(),
        waiter=None,
        holders=(),
        pause=None,
        departure=None,
    )
    told = standing_entry(standing, 10.0, START + timedelta(seconds=1))
    assert told.position == 3
    assert told.expected_s == 30.0
    assert told.holder is None
    assert standing_entry(standing, None, START).expected_s is None
    paused = replace(standing, pause=Pause(reason="holidays", by="ann", since=START))
    assert standing_entry(paused, 10.0, START).expected_s is None, "nobody knows how long it lasts"
    waiter = Waiter(
        ticket="t",
        run="r",
        who="ann",
        info="apply",
        claim=WHOLE_STATE,
        priority=Priority.APPLY,
        lease_s=60.0,
        patience_s=60.0,
        arrival=1,
        turn=1,
        joined_at=START,
        seen_at=START,
        lock_id=None,
        held="policy p: holidays",
    )
    assert standing_entry(replace(standing, waiter=waiter), 10.0, START).expected_s is None


def test_a_plan_is_told_in_counts_and_a_bounded_list() -> None:
    changes = tuple(
        PlannedChange(resource=Resource(address=f"a.b[{number}]"), action=Action.DELETE) for number in range(2_005)
    )
    told = plan_entry(PlanFacts(changes=changes))
    assert (told.left_out, told.destroyed, told.empty) == (5, 2_005, False)
    assert facts_of(PlanDocument()).is_empty


@pytest.mark.promise("P3")
def test_what_a_run_left_follows_what_it_stored_itself_under_the_same_serial() -> None:
    def state(serial: int, *outputs: str, lineage: str = "l") -> bytes:
        values = ",".join(f'"{name}":{{"value":1,"type":"number"}}' for name in outputs)
        return STATE.replace(b'"outputs":{}', b'"outputs":{' + values.encode() + b"}").replace(
            b'"serial":3,"lineage":"l"', f'"serial":{serial},"lineage":"{lineage}"'.encode()
        )

    stored = state(1)
    assert parse_document(following(state(1, "a"), stored)).serial == 2
    assert following(state(1, "a"), None) == state(1, "a")
    assert following(state(3, "a"), stored) == state(3, "a")
    assert following(state(1, "a", lineage="other"), stored) == state(1, "a", lineage="other")
    assert following(state(1, "a"), state(2, "a")) == state(2, "a")  # repeated after it was stored


TAINTED = (
    b'{"version":4,"terraform_version":"1.11.4","serial":4,"lineage":"l","outputs":{},"resources":[{"mode":"managed",'
    b'"type":"t","name":"a","provider":"provider[\\"x/y\\"]","instances":[{"status":"tainted","schema_version":0,'
    b'"attributes":{"id":"1"}}]}]}'
)


async def test_what_the_next_apply_would_make_anew_is_named_when_a_run_failed(room: Room) -> None:
    access = FakeDoor(WRITTEN, accepted=WRITTEN)
    access.document = TAINTED
    with pytest.raises(TerraformFailed):
        await room.settle(access, APPLIED, code=1, failure=TerraformFailed("stopped", why="", fix="interlock plan"))
    (note,) = [entry.facts["text"] for entry in read(room.folder) if entry.kind == "note"]
    assert "tainted: t.a" in note
    assert "interlock state pull prod > prod.tfstate && terraform untaint -state=prod.tfstate t.a" in note
