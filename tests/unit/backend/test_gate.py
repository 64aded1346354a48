"""What a run's gate remembers of the last write, for the supervisor that saves what Terraform could not."""

from __future__ import annotations

import json

import pytest

from interlock.backend.gate import RunGate
from interlock.coordinator.archive import StateArchive
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import BackendUnavailable, StateInvalid
from interlock.lock import Requested
from interlock.state.history import VersionKind
from interlock.store.memory import MemoryBlobs, MemoryRecords
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

DOWN = BackendUnavailable("the disk is full", fix="free some space")


def state(serial: int, *names: str) -> bytes:
    rows = [
        {"mode": "managed", "type": "t", "name": name, "provider": "provider.p", "instances": [{"attributes": {}}]}
        for name in names
    ]
    head = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l", "outputs": {}}
    return json.dumps({**head, "resources": rows, "check_results": None}).encode()


class Scene:
    """A gate whose run holds its state, and an archive that may fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = FakeClock()
        records = MemoryRecords(clock=clock)
        self.coordinator = LocalCoordinator(records, clock, CountingIds())
        self.archive = StateArchive(self.coordinator, records, MemoryBlobs(), clock)
        self.gate = RunGate(self.coordinator, self.archive, state="s", run="r1", who="a@b")
        self._monkeypatch = monkeypatch

    async def hold(self) -> None:
        request = Requested(ticket="r1", run="r1", who="a@b", lease_s=6.0, patience_s=15.0)
        grant = await self.coordinator.acquire("s", request, timeout_s=0.0)
        self.gate.admit(ticket=grant.ticket, token=grant.token)

    def fail(self) -> None:
        async def fails(*_: object, **__: object) -> None:
            raise DOWN

        self._monkeypatch.setattr(self.archive, "write", fails)


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene(monkeypatch)
    await made.hold()
    return made


@pytest.mark.promise("P3")
async def test_what_the_store_could_not_take_is_kept_until_a_later_write_is_taken(scene: Scene) -> None:
    with pytest.MonkeyPatch.context() as broken:
        scene._monkeypatch = broken
        scene.fail()
        with pytest.raises(BackendUnavailable):
            await scene.gate.write(state(1, "a"), None)
        assert (scene.gate.unsaved(), scene.gate.refused()) == (state(1, "a"), DOWN)
    await scene.gate.write(state(2, "a"), None)
    assert (scene.gate.unsaved(), scene.gate.refused()) == (None, None)


@pytest.mark.promise("P3", "P8")
async def test_a_refused_write_is_remembered_as_refused_and_not_as_unsaved(scene: Scene) -> None:
    await scene.gate.write(state(2, "a"), None)
    with pytest.raises(StateInvalid):
        await scene.gate.write(state(1, "a"), None)
    assert isinstance(scene.gate.refused(), StateInvalid)
    assert scene.gate.unsaved() is None
    await scene.gate.write(state(3, "a"), None)
    assert scene.gate.refused() is None


@pytest.mark.promise("P6")
async def test_what_terraform_left_is_bounded_by_the_deletions_that_its_plan_allowed(scene: Scene) -> None:
    await scene.gate.write(state(1, "a", "b"), None)
    kept = await scene.gate.push(state(2, "a"), frozenset({"t.b"}), kind=VersionKind.PUSH)
    assert kept.suspect == ()
    kept = await scene.gate.push(state(3), frozenset(), kind=VersionKind.PUSH)
    assert kept.suspect == ("t.a",)
