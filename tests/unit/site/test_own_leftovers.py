import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from interlock.coordinator.archive import StateArchive, Writer
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import InterlockError, StateInvalid, StateNotSaved, Terminated
from interlock.host import ProcessName, alive, name_process
from interlock.lock import Holder, Requested
from interlock.recovery import Says
from interlock.recovery.witnesses.process import Recorded, collect
from interlock.run.leaving import note_before_apply
from interlock.run.summary import Seen, Summary, find_summary, write_summary
from interlock.run.transcript import read
from interlock.site.own_leftovers import OwnLeftovers, close_run, known_of_runs, outcome_of, program_of_run
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import START, FakeClock
from interlock.testing.ids import CountingIds


def state(serial: int, *names: str, lineage: str = "l") -> bytes:
    rows = [
        {"mode": "managed", "type": "t", "name": name, "provider": "provider.p", "instances": [{"attributes": {}}]}
        for name in names
    ]
    head = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage, "outputs": {}}
    return json.dumps({**head, "resources": rows, "check_results": None}).encode()


def event(kind: str, **fields: object) -> str:
    return json.dumps({"@level": "info", "@message": "m", "@module": "t", "type": kind, **fields}) + "\n"


def hook(address: str) -> dict[str, object]:
    return {"resource": {"addr": address}, "action": "create", "id_key": "id", "id_value": "x1", "elapsed_seconds": 1}


class Scene:
    """A run r1 that holds state s and whose processes are gone."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.runs = folder / "runs"
        self.folder = self.runs / "r1"
        self.tree = folder / "tree"
        for made in (self.folder, self.tree):
            made.mkdir(parents=True)
        records = MemoryRecords(clock=self.clock)
        self.coordinator = LocalCoordinator(records, self.clock, CountingIds())
        self.archive = StateArchive(self.coordinator, records, MemoryBlobs(), self.clock)
        self.leftovers = OwnLeftovers(runs=self.runs, archive=self.archive, clock=self.clock)
        summary = Summary(
            run="r1", state="s", operation="apply", who="a@b", directory="/d", phase="applying", started_at=START
        )
        summary.folder = str(self.tree)
        write_summary(self.folder, summary)

    async def hold(self) -> Holder:
        request = Requested(ticket="r1", run="r1", who="a@b", lease_s=6.0, patience_s=15.0)
        await self.coordinator.acquire("s", request, timeout_s=0.0)
        return (await self.coordinator.view("s")).lock.holders[0]

    async def serials(self) -> list[int]:
        return [version.serial for version in await self.archive.history("s")]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_what_a_dead_run_could_not_save_is_stored_under_its_own_grant(scene: Scene) -> None:
    holder = await scene.hold()
    (scene.tree / "errored.tfstate").write_bytes(state(1, "a"))
    assert "stored as serial 1" in await scene.leftovers.salvage("s", holder)
    (version,) = await scene.archive.history("s")
    assert (version.run, version.token) == ("r1", holder.token)
    assert not list(scene.runs.parent.rglob("errored.tfstate"))
    assert "no unsaved state" in await scene.leftovers.salvage("s", holder)
    assert isinstance(outcome_of(scene.folder), Terminated)


_TERRAFORM = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
print("up", flush=True)
while True:
    time.sleep(60)
"""


def ended_process() -> ProcessName:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        return name_process(process.pid)


@pytest.fixture
def unwritten(scene: Scene) -> Iterator[subprocess.Popen[str]]:
    """A Terraform that has the run's lock file open, and whose process nobody could write down."""
    handle = alive.take(scene.folder)
    words = ["terraform", "-c", _TERRAFORM, "apply"]
    process = subprocess.Popen(words, executable=sys.executable, stdout=subprocess.PIPE, pass_fds=(handle,), text=True)
    os.close(handle)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.mark.promise("P9")
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only /proc says which process has a file open")
@pytest.mark.parametrize("earlier", [False, True])
async def test_a_terraform_that_was_never_written_down_is_found_by_the_runs_lock_file_and_asked_once(
    scene: Scene, unwritten: subprocess.Popen[str], earlier: bool
) -> None:
    gone = ended_process()
    summary = find_summary(scene.folder)
    assert summary is not None
    summary.processes = {"supervisor": gone, **({"terraform": gone} if earlier else {})}
    summary.starting = "apply"
    write_summary(scene.folder, summary)
    asked = asyncio.create_task(scene.leftovers.ask_to_stop("r1"))
    while not asked.done():
        await scene.clock.advance(0.1)
    assert f"process {unwritten.pid}" in asked.result()
    assert unwritten.wait(timeout=60) == 7
    assert await scene.leftovers.ask_to_stop("r1") == ""


async def test_two_that_salvage_at_once_store_it_once(scene: Scene) -> None:
    holder = await scene.hold()
    (scene.tree / "errored.tfstate").write_bytes(state(0, "a", lineage=""))
    both = [asyncio.create_task(scene.leftovers.salvage("s", holder)) for _ in range(2)]
    while not all(task.done() for task in both):
        await scene.clock.advance(0.1)
    assert await scene.serials() == [1]
    assert sorted("stored" in task.result() for task in both) == [False, True]


@pytest.mark.promise("P6")
async def test_a_state_that_drops_what_the_dead_runs_plan_kept_is_stored_as_suspect(scene: Scene) -> None:
    holder = await scene.hold()
    (scene.tree / "errored.tfstate").write_bytes(state(1, "a", "b"))
    await scene.leftovers.salvage("s", holder)
    (scene.tree / "errored.tfstate").write_bytes(state(2, "a"))
    assert "suspect: it lacks t.b" in await scene.leftovers.salvage("s", holder)
    assert (await scene.archive.history("s"))[0].suspect == ("t.b",)
    pause = (await scene.coordinator.view("s")).lock.pause
    assert pause is not None
    assert "interlock state accept s" in pause.reason


@pytest.mark.promise("P6")
async def test_what_a_dead_run_wrote_down_before_its_apply_may_be_missing(scene: Scene) -> None:
    holder = await scene.hold()
    (scene.tree / "errored.tfstate").write_bytes(state(1, "a", "b"))
    await scene.leftovers.salvage("s", holder)
    note_before_apply(scene.folder, errored=scene.tree / "errored.tfstate", allowed=frozenset({"t.b"}))
    (scene.tree / "errored.tfstate").write_bytes(state(2, "a"))
    assert "suspect" not in await scene.leftovers.salvage("s", holder)
    assert (await scene.archive.history("s"))[0].suspect == ()


@pytest.mark.promise("P9")
async def test_a_dead_run_that_did_not_hear_that_its_first_state_was_stored_loses_nothing(scene: Scene) -> None:
    holder = await scene.hold()
    (scene.tree / "errored.tfstate").write_bytes(state(1))  # as if its Terraform had stored it
    await scene.leftovers.salvage("s", holder)
    for _ in range(2):  # once more for a rescuer that was killed before it removed the file
        (scene.tree / "errored.tfstate").write_bytes(state(1, "a"))
        assert "stored as serial 2" in await scene.leftovers.salvage("s", holder)
    assert await scene.serials() == [2, 1]
    assert isinstance(outcome_of(scene.folder), Terminated)


async def test_what_a_dead_run_left_does_not_take_the_serial_of_another_run(scene: Scene) -> None:
    earlier = Requested(ticket="r0", run="r0", who="a@b", lease_s=6.0, patience_s=15.0)
    token = (await scene.coordinator.acquire("s", earlier, timeout_s=0.0)).token
    await scene.archive.write("s", state(1), writer=Writer(who="a@b", run="r0", ticket="r0", token=token))
    await scene.coordinator.release("s", ticket="r0", token=token)
    holder = await scene.hold()
    (scene.tree / "errored.tfstate").write_bytes(state(1, "a"))
    with pytest.raises(StateInvalid):
        await scene.leftovers.salvage("s", holder)
    assert await scene.serials() == [1]


async def test_a_file_that_lay_there_before_the_run_is_not_what_the_run_left(scene: Scene) -> None:
    holder = await scene.hold()
    (scene.tree / "errored.tfstate").write_bytes(state(7, "old"))
    note_before_apply(scene.folder, errored=scene.tree / "errored.tfstate", allowed=frozenset())
    assert "no unsaved state" in await scene.leftovers.salvage("s", holder)
    assert (scene.tree / "errored.tfstate").read_bytes() == state(7, "old")
    (scene.tree / "errored.tfstate").write_bytes(state(1, "a"))  # Terraform writes over it
    assert "stored as serial 1" in await scene.leftovers.salvage("s", holder)


async def test_a_state_of_another_lineage_that_a_dead_run_left_is_not_stored_and_kept(scene: Scene) -> None:
    holder = await scene.hold()
    (scene.tree / "errored.tfstate").write_bytes(state(1, "a", "b"))
    await scene.leftovers.salvage("s", holder)
    (scene.tree / "errored.tfstate").write_bytes(state(2, "a", lineage="m"))
    with pytest.raises(StateInvalid):
        await scene.leftovers.salvage("s", holder)
    kept = scene.folder / "errored.tfstate"
    assert kept.stat().st_mode & 0o077 == 0
    assert await scene.serials() == [1]
    told = outcome_of(scene.folder)
    assert isinstance(told, StateNotSaved)
    assert str(kept) in told.why


@pytest.mark.promise("P3", "P10")
async def test_a_holder_that_names_the_run_of_another_state_gets_nothing_of_it_and_does_not_end_it(
    scene: Scene,
) -> None:
    (scene.tree / "errored.tfstate").write_bytes(state(1, "secret"))
    request = Requested(ticket="x", run="r1", who="m@b", lease_s=6.0, patience_s=15.0)
    await scene.coordinator.acquire("t", request, timeout_s=0.0)
    (holder,) = (await scene.coordinator.view("t")).lock.holders
    await scene.leftovers.salvage("t", holder)
    scene.leftovers.close("t", holder)
    assert not await scene.archive.history("t")
    summary = find_summary(scene.folder)
    assert summary is not None
    assert summary.exit is None
    assert "stored as serial 1" in await scene.leftovers.salvage("s", await scene.hold())


async def test_a_holder_without_a_run_leaves_nothing(scene: Scene) -> None:
    request = Requested(ticket="hand", who="a@b", lease_s=6.0, patience_s=15.0)
    await scene.coordinator.acquire("t", request, timeout_s=0.0)
    (holder,) = (await scene.coordinator.view("t")).lock.holders
    assert "no unsaved state" in await scene.leftovers.salvage("t", holder)
    assert scene.leftovers.recorded("") == Recorded(source=str(scene.runs / "summary.json"))


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ("", Terminated),  # it had not begun
        (event("apply_start", hook=hook("a.b")), StateNotSaved),
        (event("apply_complete", hook=hook("a.b")), StateNotSaved),
        (
            event("apply_complete", hook=hook("a.b"))
            + event("change_summary", changes={"add": 1, "change": 0, "remove": 0, "operation": "apply"}),
            Terminated,  # Terraform came to its own end
        ),
        (
            event("apply_complete", hook=hook("a.b"))
            + event("diagnostic", diagnostic={"severity": "error", "summary": "Failed to save state", "detail": ""}),
            StateNotSaved,
        ),
    ],
)
def test_how_a_killed_run_ended_is_read_from_what_terraform_said(
    scene: Scene, events: str, kind: type[InterlockError]
) -> None:
    (scene.folder / "apply.jsonl").write_text(events)
    told = outcome_of(scene.folder)
    assert type(told) is kind
    assert ("x1" in told.why) == (kind is StateNotSaved and "apply_complete" in events)


@pytest.mark.parametrize(
    ("said", "program"),
    [
        ({"tofu": "1.12.6", "terraform": "1.12.6", "ui": "1.2"}, "tofu"),
        ({"terraform": "1.11.4", "ui": "1.2"}, "terraform"),
        (None, "terraform"),
    ],
)
def test_a_hint_about_a_dead_run_names_the_program_that_spoke_in_it(
    scene: Scene, said: dict[str, str] | None, program: str
) -> None:
    if said is not None:
        (scene.folder / "apply.jsonl").write_text(event("version", **said) + event("apply_start", hook=hook("a.b")))
    assert program_of_run(scene.folder) == program


def test_the_end_of_a_run_is_written_into_its_journal_and_summary(scene: Scene) -> None:
    close_run(scene.folder, StateNotSaved("it was killed", why="w", fix="f"), START)
    (entry,) = read(scene.folder)
    assert (entry.kind, entry.facts["exit"], entry.facts["next"]) == ("end", 131, "f")
    summary = find_summary(scene.folder)
    assert summary is not None
    assert (summary.phase, summary.exit, summary.code) == ("ended", 131, "state-not-saved")


async def _stored(scene: Scene, document: bytes) -> None:
    grant = await scene.coordinator.acquire(
        "s", Requested(ticket="w", run="w", who="a", lease_s=6.0, patience_s=6.0), timeout_s=0.0
    )
    await scene.archive.write("s", document, writer=Writer(who="a", run="w", ticket="w", token=grant.token))
    await scene.coordinator.release("s", ticket="w", token=grant.token)


def _saw(scene: Scene, serial: int, digest: str) -> None:
    summary = find_summary(scene.folder)
    assert summary is not None
    summary.seen = Seen(lineage="l", serial=serial, digest=digest)
    write_summary(scene.folder, summary)


@pytest.mark.promise("P3")
async def test_a_database_that_lacks_what_a_run_saw_stored_has_lost_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert await scene.leftovers.find_lost("s") is None
    _saw(scene, 2, "d2")
    lost = await scene.leftovers.find_lost("s")
    assert lost is not None
    assert lost.spell() == "serial 2 was stored (run r1)"
    await _stored(scene, state(1, "a"))
    assert await scene.leftovers.find_lost("s") == lost


@pytest.mark.promise("P3")
async def test_a_version_that_is_kept_is_not_lost_though_an_older_one_follows(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await _stored(scene, state(1, "a"))
    (version,) = await scene.archive.history("s", limit=1)
    _saw(scene, 1, version.digest)
    assert await scene.leftovers.find_lost("s") is None
    _saw(scene, 9, version.digest)
    assert await scene.leftovers.find_lost("s") is None, "these very bytes are there"


# -- who is asked to stop, and what is told ---------------------------------------------------------------------------

ELSEWHERE = ProcessName(host="elsewhere", machine="m", boot="b", namespace="n", pid=1, started="1")


@pytest.mark.promise("P5", "P9")
@pytest.mark.parametrize("unseen", ["supervisor", "terraform"])
async def test_nobody_is_asked_to_stop_on_behalf_of_a_process_that_cannot_be_seen(
    scene: Scene, unseen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown is not gone: the supervisor may live, and what has Terraform's number here may be anybody."""

    async def asks(*_: object, **__: object) -> None:
        pytest.fail("somebody was asked to stop")

    monkeypatch.setattr("interlock.site.own_leftovers.ask_once", asks)
    gone, ours = ended_process(), name_process(os.getpid())
    processes = {"supervisor": gone, "terraform": ours} | {unseen: ELSEWHERE}
    summary = find_summary(scene.folder)
    assert summary is not None
    summary.processes = processes
    write_summary(scene.folder, summary)
    assert await scene.leftovers.ask_to_stop("r1") == ""


@pytest.mark.promise("P8")
@pytest.mark.parametrize("saved", [False, True])
def test_an_apply_that_was_cut_off_is_not_told_as_saved_though_a_state_of_it_was_stored(
    scene: Scene, saved: bool
) -> None:
    said = event("apply_start", hook=hook("t.a")) + event("log", **{"@message": "Two interrupts received. Exiting"})
    said += event("diagnostic", diagnostic={"severity": "error", "summary": "operation canceled", "detail": ""})
    (scene.folder / "apply.jsonl").write_text(said)
    if saved:
        (scene.folder / "saved").touch()
    assert isinstance(outcome_of(scene.folder), StateNotSaved)


@pytest.mark.promise("P3", "P4")
@pytest.mark.parametrize("token", [0, 1])
async def test_a_left_state_of_a_serial_that_another_grant_stored_does_not_follow_it(scene: Scene, token: int) -> None:
    holder = await scene.hold()
    writer = Writer(who="a", run="r1", ticket="r1", token=holder.token)
    await scene.archive.write("s", state(1, "a"), writer=writer)
    other = structs.replace(holder, token=holder.token - token)
    found = await scene.leftovers._stored_by("s", other)
    assert (found is None) == bool(token)


@pytest.mark.promise("P8")
async def test_what_was_stored_on_another_server_with_such_a_bucket_is_no_witness(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    _saw(scene, 2, "d2")
    summary = find_summary(scene.folder)
    assert summary is not None
    runs = scene.folder.parent
    assert [one.serial for one in known_of_runs(runs, "s", "")] == [2], "an older record counts everywhere"
    summary.store = "localhost:4566"
    write_summary(scene.folder, summary)
    assert known_of_runs(runs, "s", "") == []
    assert [one.serial for one in known_of_runs(runs, "s", "localhost:4566")] == [2]
    assert [one.serial for one in known_of_runs(runs, "s")] == [2]


@pytest.mark.promise("P8")
async def test_a_run_that_told_its_end_keeps_it_when_its_lock_is_broken_later(scene: Scene) -> None:
    holder = await scene.hold()
    summary = find_summary(scene.folder)
    assert summary is not None
    summary.phase, summary.exit, summary.told_end = "ended", 131, True
    write_summary(scene.folder, summary)
    scene.leftovers.close("s", holder)
    after = find_summary(scene.folder)
    assert after is not None
    assert (after.exit, after.message) == (131, "")
    assert not (scene.folder / "journal.jsonl").exists()


@pytest.mark.promise("P5")
def test_a_supervisor_that_told_its_end_lets_recovery_begin_and_its_terraform_does_not(
    scene: Scene, unwritten: subprocess.Popen[str]
) -> None:
    summary = find_summary(scene.folder)
    assert summary is not None
    summary.processes, summary.told_end, summary.starting = {"supervisor": name_process(os.getpid())}, True, ""
    write_summary(scene.folder, summary)
    assert [each.says for each in collect(scene.leftovers.recorded("r1"), now=START)] == [Says.ALIVE]
    unwritten.kill()
    unwritten.wait()
    assert [each.says for each in collect(scene.leftovers.recorded("r1"), now=START)] == [Says.GONE]
