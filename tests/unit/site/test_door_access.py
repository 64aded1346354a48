"""The run's own address before a state elsewhere: every write is fenced, judged, made once, and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interlock.backend.gate import answer_request
from interlock.backend.protocol import Answer
from interlock.errors import BackendUnavailable, InterlockError, StateInvalid
from interlock.existing import StoredState, find_reference
from interlock.lock import Broken, Requested
from interlock.run.entries import AnyEntry, NoteEntry
from interlock.run.order import Operation, Order
from interlock.run.surroundings import Seat
from interlock.site.door_access import DoorAccess
from interlock.terraform.lockinfo import LockInfo, build_lock_info, render_lock_info
from interlock.terraform.versions import Product, ToolVersion
from interlock.testing.existing import MemoryBackend
from interlock.testing.home import memory_home
from interlock.testing.site_contract import state

pytestmark = pytest.mark.on("http", "gitlab", "pg", "azurerm")

QUEUE = "http/app"
TERRAFORM = ToolVersion(product=Product.TERRAFORM, release=(1, 11, 4))
TOFU = ToolVersion(product=Product.TOFU, release=(1, 12, 6))


class Flaky(MemoryBackend):
    """Fails, or loses the answers of, its next writes."""

    def __init__(self) -> None:
        super().__init__(mechanisms=("http",), address="https://h/app")
        self.fates: list[str] = []
        self.parts = 1

    async def read_state(self) -> StoredState | None:
        """See `MemoryBackend`."""
        stored = await super().read_state()
        return replace(stored, parts=self.parts) if stored else None

    async def write_state(self, body: bytes, *, expected: StoredState | None) -> StoredState:
        """See `MemoryBackend`."""
        fate = self.fates.pop(0) if self.fates else ""
        if fate == "fail":
            raise BackendUnavailable("the server does not answer", fix="try again")
        stored = await super().write_state(body, expected=expected)
        if fate == "lose":
            raise BackendUnavailable("the answer was lost", fix="try again")
        return stored


class Scene:
    """A run that holds a state at version 2, and its Terraform's requests."""

    def __init__(self, folder: Path, version: ToolVersion = TERRAFORM) -> None:
        self.home, self.backend = memory_home(folder), Flaky()
        self.said: list[str] = []
        self.backend.bodies = [state(1, "a"), state(2, "a", "b")]
        order = Order(run="r1", operation=Operation.APPLY, directory="/d", state=QUEUE, who="me@here", home=str(folder))
        (folder / "runs" / "r1").mkdir(parents=True)
        self.access = DoorAccess(
            backend_hand=self.backend,
            coordinator=self.home.coordinator,
            order=order,
            run_folder=folder / "runs" / "r1",
            store="",
            own_workspace="default",
            version=version,
            clock=self.home.clock,
            ids=self.home.ids,
        )
        self.info = build_lock_info(
            id="tf-1", operation="OperationTypeApply", who="me@here", version="1.11.4", now=self.home.clock.now()
        )

    async def enter(self) -> None:
        request = Requested(ticket="r1", run="r1", who="me@here", lease_s=30.0, patience_s=15.0)
        grant = await self.home.coordinator.acquire(QUEUE, request, timeout_s=1.0)
        self.access.admit(Seat(ticket="r1", token=grant.token))
        await self.access.enter(self.tell, timeout_s=1.0)

    def tell(self, entry: AnyEntry) -> None:
        if isinstance(entry, NoteEntry):
            self.said.append(entry.text)

    async def lose_grant(self) -> None:
        (holder,) = (await self.home.coordinator.view(QUEUE)).lock.holders
        broken = Broken(ticket="r1", token=holder.token, by="test", reason="test")
        await self.home.coordinator.break_(QUEUE, broken)

    async def ask(self, method: str, body: bytes = b"", **query: str) -> Answer:
        return await answer_request(self.access, method, query, body, md5=None)

    async def lock(self, info: LockInfo | None = None) -> int:
        return (await self.ask("LOCK", render_lock_info(info or self.info))).status

    async def write(self, body: bytes, lock_id: str = "tf-1") -> int:
        return (await self.ask("POST", body, ID=lock_id)).status


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    await made.enter()
    assert await made.lock() == 200
    made.access.allow_deletions(frozenset())
    return made


@pytest.mark.promise("P1")
async def test_the_backends_lock_is_the_runs_from_entering_to_leaving_and_terraform_only_binds_its_id(
    scene: Scene,
) -> None:
    (lock,) = await scene.backend.read_locks()
    reference = find_reference(lock.info)
    assert reference is not None
    assert reference.run == "r1"
    assert (await scene.ask("UNLOCK", render_lock_info(scene.info))).status == 200
    assert await scene.backend.read_locks() == (lock,)
    await scene.access.leave()
    assert await scene.backend.read_locks() == ()


async def test_before_its_turn_a_run_reads_and_cannot_lock_or_write(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert (await scene.ask("GET")).body == state(2, "a", "b")
    assert await scene.lock() == 423
    assert await scene.write(state(3, "a", "b", "c")) == 409
    assert scene.backend.bodies[-1] == state(2, "a", "b")


@pytest.mark.promise("P3")
async def test_a_write_is_stored_read_back_and_remembered_beside_the_queue(scene: Scene) -> None:
    assert await scene.write(state(3, "a", "b", "c")) == 200
    assert (await scene.ask("GET")).body == scene.backend.bodies[-1] == state(3, "a", "b", "c")
    head = (await scene.home.coordinator.view(QUEUE)).head
    assert head is not None
    assert (head.serial, head.run) == (3, "r1")
    accepted = scene.access.accepted()
    assert accepted is not None
    assert accepted.serial == 3
    assert scene.access.refused() is None


@pytest.mark.promise("P4")
async def test_a_run_that_lost_its_grant_writes_nothing(scene: Scene) -> None:
    await scene.lose_grant()
    assert await scene.write(state(3, "a", "b", "c")) == 409
    assert scene.backend.bodies[-1] == state(2, "a", "b")
    assert scene.access.refused() is not None


@pytest.mark.promise("P4")
async def test_another_terraform_that_found_the_address_neither_locks_nor_writes(scene: Scene) -> None:
    other = build_lock_info(id="tf-2", operation="apply", who="x", version="1", now=scene.home.clock.now())
    assert await scene.lock(other) == 423
    assert await scene.write(state(3, "a", "b", "c"), lock_id="tf-2") == 409
    assert scene.backend.bodies[-1] == state(2, "a", "b")


@pytest.mark.promise("P6")
@pytest.mark.parametrize("body", [b"{", state(1, "a", "b"), state(3, "a", "b", lineage="two"), state(3, "a", "a")])
async def test_what_may_not_follow_is_refused_before_it_is_sent(scene: Scene, body: bytes) -> None:
    assert await scene.write(body) >= 400
    assert scene.backend.bodies[-1] == state(2, "a", "b")
    assert isinstance(scene.access.refused(), InterlockError)


@pytest.mark.promise("P6")
async def test_what_an_apply_drops_without_a_reason_is_stored_and_held_for_review(scene: Scene) -> None:
    assert await scene.write(state(3, "a")) == 200
    assert scene.access.suspect() == ("terraform_data.b",)
    assert (await scene.home.coordinator.view(QUEUE)).lock.pause is not None


@pytest.mark.promise("P6")
async def test_before_the_apply_nothing_may_disappear(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.enter()
    await scene.lock()
    assert await scene.write(state(3, "a")) >= 400
    assert scene.backend.bodies[-1] == state(2, "a", "b")


@pytest.mark.promise("P3")
async def test_a_write_whose_answer_was_lost_counts_once_and_the_next_follows_it(scene: Scene) -> None:
    scene.backend.fates = ["lose"]
    assert await scene.write(state(3, "a", "b", "c")) == 503
    assert await scene.write(state(3, "a", "b", "c")) == 200, "Terraform repeats it"
    assert scene.backend.bodies.count(state(3, "a", "b", "c")) == 1
    scene.backend.fates = ["lose"]
    await scene.write(state(4, "a", "b", "c"))
    assert await scene.write(state(5, "a", "b", "c", "d")) == 200, "or goes on"
    assert scene.access.unsaved() is None


@pytest.mark.promise("P3")
async def test_a_write_that_the_backend_does_not_take_is_kept_and_offered_again(scene: Scene) -> None:
    scene.backend.fates = ["fail"]
    assert await scene.write(state(3, "a", "b", "c")) == 503
    assert scene.access.unsaved() == state(3, "a", "b", "c")
    pushed = await scene.access.push(state(3, "a", "b", "c"), frozenset())
    assert pushed.serial == 3
    assert (scene.access.unsaved(), scene.access.refused()) == (None, None)


@pytest.mark.promise("P3", "P8")
async def test_what_somebody_else_wrote_meanwhile_is_neither_replaced_nor_called_ours(scene: Scene) -> None:
    scene.backend.bodies.append(state(9, "theirs"))
    assert await scene.write(state(3, "a", "b", "c")) >= 400
    assert scene.backend.bodies[-1] == state(9, "theirs")
    await scene.access.settle(lambda _: None)
    refused = scene.access.refused()
    assert isinstance(refused, StateInvalid)
    assert "not the one that this run wrote" in refused.what


async def test_the_empty_state_of_an_interrupted_first_plan_is_not_stored(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.backend.bodies = []
    await scene.enter()
    await scene.lock()
    assert await scene.write(state(1)) == 200
    assert scene.backend.bodies == []


async def test_terraform_is_told_an_address_on_loopback_that_ends_with_the_run(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.access.opened():
        assert scene.access.backend is not None
        assert scene.access.backend.address.startswith("http://127.0.0.1:")
        assert scene.access.backend.address not in repr(scene.access)
    assert (scene.access.workspace, scene.access.lock, scene.access.files) == ("", None, ())


@pytest.mark.parametrize(
    ("tool", "named"),
    [
        (TERRAFORM, ""),
        (ToolVersion(product=Product.TERRAFORM, release=(1, 5, 7)), "Terraform 1.5.7"),
        (TOFU, "OpenTofu 1.12.6"),
    ],
)
async def test_a_run_says_once_that_its_own_tool_could_not_read_a_state_of_several_parts(
    tmp_path: Path, tool: ToolVersion, named: str
) -> None:
    """As when an encrypted state, which no packing makes smaller, grows past the one Secret that OpenTofu reads."""
    scene = Scene(tmp_path, tool)
    await scene.enter()
    assert await scene.lock() == 200
    scene.access.allow_deletions(frozenset())
    assert scene.said == []
    scene.backend.parts = 3
    assert await scene.write(state(3, "a", "b", "c")) == 200
    for _ in range(2):
        await scene.access.settle(scene.tell)
    assert [(named in text, "3 Secrets" in text) for text in scene.said] == ([(True, True)] if named else [])
    await scene.access.leave()
    again = Scene(tmp_path / "again", tool)
    again.backend.parts = 2
    await again.enter()
    assert ["2 Secrets" in text for text in again.said] == ([True] if named else [])
