"""The access when calls fail: a run ends right or with exit 30, and Terraform's lock never outlives the grant."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError
from msgspec.structs import replace

from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.coordinator.record import keep_s
from interlock.errors import BackendUnavailable, InterlockError, LeaseLost, StateInvalid, UsageError, WaitTimeout
from interlock.existing import Found, find_reference
from interlock.existing.interface import md5_of
from interlock.existing.s3 import S3Backend, S3Place
from interlock.ids import RandomIds
from interlock.lock import Broken, Requested
from interlock.run.entries import AnyEntry
from interlock.run.order import Operation, Order
from interlock.run.summary import Seen, Summary, write_summary
from interlock.run.surroundings import Seat
from interlock.run.workspace import ERRORED
from interlock.site.existing_access import ExistingAccess
from interlock.site.existing_leftovers import ExistingLeftovers
from interlock.state import REVIEWER
from interlock.store.dynamodb import DynamoRecords
from interlock.store.polling import Polling
from interlock.terraform.versions import Product, ToolVersion
from interlock.testing.aws import LocalAws

STATE = "s3/x"
_numbers = itertools.count()


class Hurried(SystemClock):
    """Back-off in a thousandth of its time."""

    async def sleep(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s / 1000)


@dataclass
class Weather:
    """What happens to calls: `fate` to call number `strikes_at`, or to all from it on."""

    fate: str = ""
    strikes_at: int = 0
    lasting: bool = False
    calls: list[str] = field(default_factory=list)

    def strike(self, name: str) -> bool:
        self.calls.append(name)
        number = len(self.calls)
        return bool(self.fate) and (number >= self.strikes_at if self.lasting else number == self.strikes_at)


class Client:
    """An SDK's client in this weather."""

    def __init__(self, client: Any, weather: Weather) -> None:
        self._client = client
        self._weather = weather

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            fate = self._weather.fate if self._weather.strike(name) else ""
            if fate == "throttle":
                answer: Any = {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
                raise ClientError(answer, name)
            if fate == "drop":
                raise ConnectTimeoutError(endpoint_url="http://x")
            try:
                return operation(**arguments)
            finally:
                if fate == "lose":
                    raise ReadTimeoutError(endpoint_url="http://x")

        call.__name__ = name
        return call


@dataclass
class World:
    """One state, one run of it, and the weather."""

    aws: LocalAws
    folder: Path
    table: str
    bucket: str
    lockfile: bool = True
    weather: Weather = field(default_factory=Weather)
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    workspace: str = "default"

    @property
    def place(self) -> S3Place:
        return S3Place(bucket=self.bucket, key="k.tfstate", table=self.table, use_lockfile=self.lockfile)

    def backend(self) -> S3Backend:
        s3, dynamodb = Client(self.aws.s3, self.weather), Client(self.aws.dynamodb, self.weather)
        found = Found(type="s3")
        return S3Backend(self.place, found=found, s3=s3, dynamodb=dynamodb, clock=Hurried(), ids=RandomIds())

    def coordinator(self) -> LocalCoordinator:
        records = DynamoRecords(
            Client(self.aws.dynamodb, self.weather),
            table=self.table,
            expires_s=lambda value: keep_s(value, 100.0),
            polling=Polling(first_s=0.01, most_s=0.05),
            clock=Hurried(),
            ids=RandomIds(),
        )
        return LocalCoordinator(records, Hurried(), RandomIds(), first_token=lambda: 1000)

    def access(self, coordinator: LocalCoordinator, run: str = "run1") -> ExistingAccess:
        order = Order(
            run=run, operation=Operation.APPLY, directory="/d", state=STATE, who="me@here", home="/h", job="https://j/1"
        )
        return ExistingAccess(
            backend_hand=self.backend(),
            coordinator=coordinator,
            order=order,
            run_folder=self.folder,
            store="",
            own_workspace=self.workspace,
            begins_empty=self.workspace != "default",
            version=ToolVersion(product=Product.TERRAFORM, release=(1, 11, 4)),
            clock=Hurried(),
            ids=RandomIds(),
        )

    async def granted(self, run: str = "run1") -> ExistingAccess:
        """Return the access of a run that holds the state in our queue."""
        coordinator = self.coordinator()
        request = Requested(ticket=run, run=run, who="me@here", lease_s=5.0, patience_s=5.0)
        grant = await coordinator.acquire(STATE, request, timeout_s=None)
        access = self.access(coordinator, run)
        access.admit(Seat(ticket=run, token=grant.token))
        return access

    def tell(self, entry: AnyEntry) -> None:
        self.told.append((entry.KIND, entry.facts()))

    def store(self, body: bytes, *, digest: str | None = None) -> None:
        """Store a state as Terraform does."""
        self.aws.s3.put_object(Bucket=self.bucket, Key="k.tfstate", Body=body)
        item = {"LockID": {"S": self.place.path + "-md5"}, "Digest": {"S": digest or md5_of(body)}}
        self.aws.dynamodb.put_item(TableName=self.table, Item=item)

    async def locks(self) -> list[str]:
        self.weather.fate = ""
        backend = self.backend()
        try:
            return [lock.info for lock in await backend.read_locks()]
        finally:
            await backend.close()

    async def run(self, run: str = "run1") -> None:
        """Do what a supervisor does, with a Terraform that stores one state."""
        coordinator = self.coordinator()
        request = Requested(ticket=run, run=run, who="me@here", lease_s=5.0, patience_s=5.0)
        grant = await coordinator.acquire(STATE, request, timeout_s=None)
        access = self.access(coordinator, run)
        access.admit(Seat(ticket=run, token=grant.token))
        stranded = False
        try:
            await access.enter(self.tell, timeout_s=5.0)
            self.store(state(serial=2))
            await access.settle(self.tell)
            if (refused := access.refused()) is not None:
                raise refused
        finally:
            try:
                await access.leave()
            except InterlockError:
                stranded = True
            await access.backend_hand.close()
            if not stranded:
                await coordinator.release(STATE, ticket=run, token=grant.token)


def state(*, serial: int = 1, lineage: str = "l", names: tuple[str, ...] = ("a",)) -> bytes:
    rows = [
        {
            "mode": "managed",
            "type": "t",
            "name": name,
            "provider": 'provider["x"]',
            "instances": [{"schema_version": 0, "attributes": {}}],
        }
        for name in names
    ]
    document = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage}
    return json.dumps({**document, "outputs": {}, "resources": rows, "check_results": None}).encode()


@pytest.fixture
def world(aws: LocalAws, tmp_path: Path) -> World:
    bucket = aws.new_bucket()
    aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    folder = tmp_path / "runs" / "own"
    folder.mkdir(parents=True)
    made = World(aws=aws, folder=folder, table=aws.new_table(), bucket=bucket)
    made.store(state())
    return made


async def test_a_run_holds_terraforms_lock_with_its_reference_and_gives_it_back(world: World) -> None:
    coordinator = world.coordinator()
    access = world.access(coordinator)
    await access.enter(world.tell, timeout_s=1.0)
    references = [find_reference(info) for info in await world.locks()]
    assert [(found.run, found.job) for found in references if found] == [("run1", "https://j/1")] * 2
    await access.leave()
    await access.leave()
    assert await world.locks() == []


@pytest.mark.parametrize(
    "fate", [*(pytest.param(fate, marks=pytest.mark.slow) for fate in ("throttle", "drop")), "lose"]
)
async def test_every_call_may_fail_once_and_the_run_ends_right(world: World, fate: str) -> None:
    await world.run("calm")
    calls = len(world.weather.calls)
    assert calls > 10
    for number in range(1, calls + 1):
        world.store(state())
        world.weather = Weather(fate, number)
        await world.run(f"{fate}{number}")
        assert await world.locks() == []
        holders = (await world.coordinator().view(STATE)).lock.holders
        assert holders == (), (fate, number, world.weather.calls[number - 1])


@pytest.mark.parametrize("fate", [pytest.param("throttle", marks=pytest.mark.slow), "lose"])
async def test_when_every_call_fails_from_some_point_on_nothing_outlives_the_grant(world: World, fate: str) -> None:
    await world.run("calm")
    calls = len(world.weather.calls)
    for number in range(1, calls + 1, 2):
        world.store(state())
        world.weather = Weather(fate, number, lasting=True)
        run = f"{fate}{number}"
        with suppress(BackendUnavailable):  # any other failure is a wrong answer
            await world.run(run)
        world.weather.fate = ""
        holders = (await world.coordinator().view(STATE)).lock.holders
        left = [reference.run for info in await world.locks() if (reference := find_reference(info))]
        assert set(left) <= {run}
        assert not left or [holder.run for holder in holders] == [run], "a lock was left whose grant is gone"
        for holder in holders:  # what recovery does when it knows that nobody acts for the run any more
            broken = Broken(ticket=holder.ticket, token=holder.token, by="test", reason="gone")
            await world.coordinator().break_(STATE, broken)
        await world.run(f"after-{run}")
        assert await world.locks() == []


async def test_a_lock_that_somebody_forced_and_took_is_left_alone_when_we_leave(world: World) -> None:
    access, other = world.access(world.coordinator()), world.access(world.coordinator(), "other")
    await access.enter(world.tell, timeout_s=1.0)
    for lock in await access.backend_hand.read_locks():
        await access.backend_hand.delete_lock(lock)
    await other.enter(world.tell, timeout_s=1.0)
    await access.leave()
    assert {found.run for info in await world.locks() if (found := find_reference(info))} == {"other"}
    await other.leave()


async def test_a_lock_left_by_an_ended_run_is_cleared_and_that_of_a_living_one_is_waited_for(world: World) -> None:
    coordinator = world.coordinator()
    left = world.access(coordinator, "dead")
    await left.enter(world.tell, timeout_s=1.0)
    with pytest.raises(WaitTimeout) as waited:
        await world.access(coordinator, "next").enter(world.tell, timeout_s=0.0)
    assert "me@here" in waited.value.what
    request = Requested(ticket="dead", run="dead", who="me@here", lease_s=5.0, patience_s=5.0)
    grant = await coordinator.acquire(STATE, request, timeout_s=None)
    await coordinator.break_(STATE, Broken(ticket="dead", token=grant.token, by="test", reason="gone"))
    following = world.access(coordinator, "next")
    await following.enter(world.tell, timeout_s=1.0)
    assert any("left behind by an ended run" in str(facts.get("text")) for _, facts in world.told)
    await following.leave()


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        (state(serial=2, lineage="other"), "lineage"),
        (state(serial=1, names=("a", "b")), "already taken"),
        (b'{"version": 4, "se', "JSON"),
    ],
)
async def test_what_must_not_stand_is_refused_with_the_version_before(world: World, stored: bytes, word: str) -> None:
    before = world.aws.s3.head_object(Bucket=world.bucket, Key="k.tfstate")["VersionId"]
    access = await world.granted()
    await access.enter(world.tell, timeout_s=1.0)
    world.store(stored)
    await access.settle(world.tell)
    refused = access.refused()
    assert isinstance(refused, StateInvalid)
    assert word in refused.why
    assert refused.fix == f"interlock state restore {access.order.directory} --version {before}"
    assert access.accepted() is None
    assert (world.folder / "before.tfstate").read_bytes() == state()
    await access.leave()


@pytest.mark.promise("P6")
async def test_what_a_run_stored_without_an_object_that_nothing_took_out_stands_as_suspect(world: World) -> None:
    access = await world.granted()
    coordinator = access.coordinator
    await access.enter(world.tell, timeout_s=1.0)
    world.store(state(serial=2, names=("b",)))
    await access.settle(world.tell)
    assert access.refused() is None
    assert access.suspect() == ("t.a",)
    assert (access.accepted() or await access.current()).serial == 2
    pause = (await coordinator.view(access.order.state)).lock.pause
    assert pause is not None
    assert pause.by == REVIEWER
    assert f"interlock state accept {access.order.directory}" in pause.reason
    assert "t.a" in pause.reason
    assert (world.folder / "before.tfstate").read_bytes() == state()
    await access.leave()


@pytest.mark.promise("P6")
async def test_a_left_state_without_an_object_that_nothing_took_out_is_stored_as_suspect(world: World) -> None:
    access = await world.granted()
    await access.enter(world.tell, timeout_s=1.0)
    assert (await access.push(state(serial=3, names=()), frozenset())).serial == 3
    assert access.suspect() == ("t.a",)
    await access.leave()


async def test_a_planned_deletion_stands_and_a_digest_that_terraform_could_not_store_is_mended(world: World) -> None:
    access = await world.granted()
    await access.enter(world.tell, timeout_s=1.0)
    access.allow_deletions(frozenset({"t.a"}))
    world.store(state(serial=2, names=("b",)), digest=md5_of(state()))
    await access.settle(world.tell)
    assert access.refused() is None
    assert (access.accepted() or await access.current()).serial == 2
    stored = await access.backend_hand.read_state()
    assert stored is not None
    assert stored.digest_agrees
    assert any("digest" in str(facts.get("text")) for _, facts in world.told)
    await access.leave()


async def break_grant(access: ExistingAccess) -> None:
    (holder,) = (await access.coordinator.view(STATE)).lock.holders
    broken = Broken(ticket=holder.ticket, token=holder.token, by="test", reason="it was stopped for long")
    await access.coordinator.break_(STATE, broken)


@pytest.mark.promise("P4")
@pytest.mark.promise("P8")
async def test_a_run_whose_grant_was_broken_claims_nothing_that_is_stored_and_pushes_nothing(world: World) -> None:
    access = await world.granted()
    await access.enter(world.tell, timeout_s=1.0)
    await break_grant(access)
    world.store(state(serial=7))  # another run's
    with pytest.raises(LeaseLost):
        await access.settle(world.tell)
    with pytest.raises(LeaseLost):
        await access.push(state(serial=8), frozenset())
    assert access.accepted() is None
    assert (await world.backend().read_state() or pytest.fail("gone")).body == state(serial=7)
    await access.leave()


@pytest.mark.promise("P3")
async def test_a_digest_of_no_version_is_evidence_of_a_lost_state_and_is_not_mended(world: World) -> None:
    access = await world.granted()
    await access.enter(world.tell, timeout_s=1.0)
    world.store(state(serial=2), digest="f" * 32)
    with pytest.raises(StateInvalid, match="no stored version"):
        await access.settle(world.tell)
    stored = await world.backend().read_state()
    assert stored is not None
    assert stored.digest_stored == "f" * 32
    await access.leave()


async def test_a_pushed_state_replaces_only_what_was_read(world: World) -> None:
    access = await world.granted()
    await access.enter(world.tell, timeout_s=1.0)
    pushed = await access.push(state(serial=3), frozenset())
    assert pushed.serial == 3
    with pytest.raises(StateInvalid):
        await access.push(state(serial=2), frozenset())
    world.store(state(serial=9))
    with pytest.raises(InterlockError):
        await access.push(state(serial=10), frozenset())
    await access.leave()


async def test_a_state_that_is_not_sound_is_refused_before_terraform_starts(world: World) -> None:
    for body, digest in ((state(), "f" * 32), (b"{", None)):
        world.store(body, digest=digest)
        access = world.access(world.coordinator())
        with pytest.raises(StateInvalid) as refused:
            await access.enter(world.tell, timeout_s=1.0)
        assert refused.value.fix
        await access.leave()
        assert await world.locks() == []


async def test_a_new_workspace_is_made_under_the_lock(world: World, aws: LocalAws) -> None:
    world.bucket, world.workspace = aws.new_bucket(), "green"
    aws.dynamodb.delete_item(TableName=world.table, Key={"LockID": {"S": world.place.path + "-md5"}})
    access = world.access(world.coordinator())
    assert not await access.may_initialise()
    await access.enter(world.tell, timeout_s=1.0)
    assert (await access.current()).serial == 1
    assert await access.may_initialise()
    await access.leave()


async def test_a_new_workspace_of_an_encrypted_state_is_not_begun_in_clear(world: World, aws: LocalAws) -> None:
    world.bucket, world.workspace = aws.new_bucket(), "green"
    aws.dynamodb.delete_item(TableName=world.table, Key={"LockID": {"S": world.place.path + "-md5"}})
    access = world.access(world.coordinator())
    access.order = replace(access.order, encrypted="TF_ENCRYPTION is set", terraform="/usr/bin/tofu")
    with pytest.raises(UsageError) as refused:
        await access.enter(world.tell, timeout_s=1.0)
    assert refused.value.fix == "tofu -chdir=/d workspace new green"
    assert await world.backend().read_state() is None
    await access.leave()
    assert await world.locks() == []


# -- a newer state that was deleted -----------------------------------------------------------------------------------


def delete_newest(world: World, *, digest_of: bytes | None) -> None:
    """Delete the newest version for good; the digest in the table is missing, or that of the older state."""
    newest = world.aws.s3.head_object(Bucket=world.bucket, Key="k.tfstate")["VersionId"]
    world.aws.s3.delete_object(Bucket=world.bucket, Key="k.tfstate", VersionId=newest)
    key = {"LockID": {"S": world.place.path + "-md5"}}
    world.aws.dynamodb.delete_item(TableName=world.table, Key=key)
    if digest_of is not None:
        world.aws.dynamodb.put_item(TableName=world.table, Item={**key, "Digest": {"S": md5_of(digest_of)}})


@pytest.mark.promise("P3")
@pytest.mark.parametrize("digest_of", [None, state()])
async def test_a_run_does_not_plan_against_an_older_state_whose_newer_one_was_deleted(
    world: World, digest_of: bytes | None
) -> None:
    await world.run("r1")
    assert (await world.coordinator().view(STATE)).head is not None
    delete_newest(world, digest_of=digest_of)
    access = await world.granted("r2")
    with pytest.raises(StateInvalid, match="newer state") as refused:
        await access.enter(world.tell, timeout_s=1.0)
    assert "serial 2 was stored" in refused.value.why
    assert "run r1" in refused.value.why
    await access.leave()
    assert await world.locks() == []


@pytest.mark.promise("P3")
@pytest.mark.parametrize("workspace", ["default", "blue"])
async def test_a_run_does_not_begin_anew_where_a_state_was_deleted(world: World, workspace: str) -> None:
    await world.run("r1")
    assert (await world.coordinator().view(STATE)).head is not None
    for version in world.aws.s3.list_object_versions(Bucket=world.bucket, Prefix="k.tfstate")["Versions"]:
        world.aws.s3.delete_object(Bucket=world.bucket, Key=version["Key"], VersionId=version["VersionId"])
    world.aws.dynamodb.delete_item(TableName=world.table, Key={"LockID": {"S": world.place.path + "-md5"}})
    access = await world.granted("r2")
    access.own_workspace = workspace
    with pytest.raises(StateInvalid, match="the state is gone") as refused:
        await access.enter(world.tell, timeout_s=1.0)
    assert "serial 2 was stored" in refused.value.why
    assert await world.backend().read_state() is None
    await access.leave()


@pytest.mark.promise("P3")
async def test_a_run_of_this_machine_is_a_witness_too(world: World) -> None:
    access = await world.granted("r1")
    await access.enter(world.tell, timeout_s=1.0)
    world.store(state(serial=2))
    await access.settle(world.tell)
    current = await access.current()
    assert current.at is not None
    await access.leave()
    folder = world.folder.parent / "r0"
    folder.mkdir()
    summary = Summary(
        run="r0", state=STATE, operation="plan", who="a@b", directory="/d", phase="ended", started_at=current.at
    )
    summary.seen = Seen(lineage="l", serial=7, digest="d7", at=current.at + timedelta(seconds=5))
    write_summary(folder, summary)
    with pytest.raises(StateInvalid, match="newer state") as refused:
        await world.access(world.coordinator(), "r2").enter(world.tell, timeout_s=1.0)
    assert "run r0" in refused.value.why


@pytest.mark.promise("P3")
async def test_a_state_that_plain_terraform_or_a_person_put_there_later_is_not_called_old(world: World) -> None:
    await world.run("r1")
    for number, later in enumerate((state(serial=3), state(serial=1), state(serial=1, lineage="new"))):
        world.store(later)
        access = world.access(world.coordinator(), f"later{number}")
        await access.enter(world.tell, timeout_s=1.0)
        await access.leave()


@pytest.mark.promise("P3", "P9")
@pytest.mark.parametrize("is_held", [True, False])
async def test_the_second_state_of_a_new_lineage_that_a_dead_run_left_is_stored(
    world: World, tmp_path: Path, is_held: bool
) -> None:
    access = await world.granted("r1")
    await access.enter(world.tell, timeout_s=1.0)
    world.store(state(serial=1, lineage="new", names=("a",)))  # stored, and Terraform did not hear of it
    folder = tmp_path / "runs" / "r1"
    folder.mkdir()
    (folder / ERRORED).write_bytes(state(serial=1, lineage="new", names=("a", "b")))
    if not is_held:
        await access.leave()
    leftovers = ExistingLeftovers(
        runs=folder.parent,
        archive=None,  # type: ignore[arg-type]  # the state is not kept there
        clock=Hurried(),
        backend=world.backend(),
        coordinator=access.coordinator,
    )
    (holder,) = (await access.coordinator.view(STATE)).lock.holders
    done = await leftovers.salvage(STATE, holder)
    stored = await world.backend().read_state()
    assert stored is not None
    serial = json.loads(stored.body)["serial"]
    assert (serial, "stored as serial 2" in done) == ((2, True) if is_held else (1, False))
    assert await world.locks() == []
