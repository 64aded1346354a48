"""Every place where a state may be passes one suite (promise P11: a command means the same wherever the state is)."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.clock import SystemClock
from interlock.coordinator import Coordinator
from interlock.errors import InterlockError, LeaseLost, LockHeld, PolicyGate, UsageError
from interlock.existing import Found
from interlock.existing.opening import whole_address_of
from interlock.gateway.identity import client_ledger_key
from interlock.home.embedded import open_home
from interlock.ids import RandomIds
from interlock.lock import Broken
from interlock.operate import hold
from interlock.operate.moving import move, plan_move
from interlock.rights.token import Forbidden
from interlock.settings.values import Settings
from interlock.site.interface import Site
from interlock.site.kinds import Can
from interlock.site.moved import address_moved_to, check_not_moved
from interlock.site.naming import name_of_address
from interlock.site.opening import budgets_of, open_site, queue_of
from interlock.site.ref import Existing, StateRef
from interlock.site.which import own_ref
from interlock.terraform.lockinfo import build_lock_info
from interlock.testing.answers import answer_server
from interlock.testing.aws import LocalAws
from interlock.testing.azurite import AZURITE_KEY, CONTAINER, azurite_blobs
from interlock.testing.cloud_doubles import AzureBlobs, GoogleStorage
from interlock.testing.consul_double import ConsulAgent
from interlock.testing.home import memory_home
from interlock.testing.kubernetes_double import KubernetesApi
from interlock.testing.kubernetes_server import Cluster
from interlock.testing.kubernetes_server import why_not as why_no_cluster
from interlock.testing.postgres import postgres_server, why_not
from interlock.testing.site_contract import COMMAND, SiteContract, state
from interlock.testing.state_servers import GITLAB_PATH, GitLab, HttpStates
from interlock.testing.tfe_double import TOKEN, TfePlatform

pytestmark = pytest.mark.promise("P11")
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@asynccontextmanager
async def opened(found: Found, folder: Path) -> AsyncIterator[Site]:
    address = whole_address_of(found, folder)
    ref = StateRef(
        queue=name_of_address(found.type, address), address=address, where=Existing(found=found), directory=folder
    )
    home = memory_home(folder / "home", clock=SystemClock(), ids=RandomIds())
    async with open_site(ref, home) as site:
        yield site


class MovingContract(SiteContract):
    """A state can be moved from every place to our own store, and back."""

    async def test_what_is_current_is_nothing_before_the_first_version(self, site: Site) -> None:
        assert await site.versions.current() is None
        await site.versions.push(state(1, "a"), force=False)
        assert await site.versions.current() == state(1, "a")

    async def test_its_workspaces_are_those_that_have_a_state(self, site: Site) -> None:
        if site.backend is None:
            return
        assert await site.backend.workspaces() == ()
        await site.versions.push(state(1, "a"), force=False)
        assert await site.backend.workspaces() == (site.ref.found.workspace,)

    @pytest.mark.promise("P1", "P5")
    async def test_what_is_held_is_locked_for_plain_terraform_and_runs_and_free_afterwards(self, site: Site) -> None:
        await site.versions.push(state(1, "a"), force=False)
        async with site.held("a test"):
            if site.backend is not None and site.kind != "pg":  # which does not show a session its own lock
                assert await site.read_locks()
            if site.coordinator is not None:
                assert (await site.coordinator.view(site.ref.queue)).lock.holders
        assert not await site.read_locks()
        assert site.coordinator is None or not (await site.coordinator.view(site.ref.queue)).lock.holders

    @pytest.mark.promise("P7")
    async def test_limits_are_shared_by_whoever_shares_the_queue_and_are_no_queue(self, site: Site) -> None:
        place = budgets_of(site)
        if place is None:
            assert site.ref.is_own or site.kind in {"local", "http", "gitlab", "cloud", "memory"}, site.kind
            return
        key = client_ledger_key("https://api.test", "client")
        await place.records.swap(key, expected=None, value=b"drawn")
        async with open_site(site.ref, site.home) as elsewhere:
            same = budgets_of(elsewhere)
            assert same is not None
            found = await same.records.get(key)
            assert found is not None
            assert found.value == b"drawn"
            assert await queue_of(elsewhere).states() == []

    @pytest.mark.promise("P1")
    async def test_what_a_person_took_another_command_gives_back_and_nothing_else(self, site: Site) -> None:
        if site.backend is None or Can.HOLD not in site.can:
            return
        await site.versions.push(state(1, "a"), force=False)
        held = await hold.take_terraforms(site, "an upgrade", 0.0)
        with pytest.raises(LockHeld):
            await hold.take_terraforms(site, "another", 0.0)
        assert (await hold.give_terraforms(site, "app")).state == held.state
        assert not await site.read_locks()
        now = site.home.clock.now()
        info = build_lock_info(id="l", operation="OperationTypeApply", who="bob@desk", version="1", now=now)
        foreign = await site.backend.take_lock(info)
        with pytest.raises(LockHeld, match="only a lock that was acquired by hand"):
            await hold.give_terraforms(site, "app")
        await site.backend.give_lock(foreign)

    async def test_who_may_not_at_the_server_gets_neither_place_nor_lock_where_the_server_keeps_no_queue(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if site.backend is None:
            return
        await site.versions.push(state(1, "a"), force=False)
        monkeypatch.setattr(site.home, "check_may", _forbids)
        async with open_site(site.ref, site.home) as again:
            for attempt in (_moved_here, _held_for, lambda one: hold.take_terraforms(one, "an upgrade", 0.0), _pushed):
                with pytest.raises(Forbidden):
                    await attempt(again)
            assert not await again.read_locks()
            assert again.coordinator is None or not (await again.coordinator.view(site.ref.queue)).lock.holders
            assert await again.versions.current() == state(1, "a")

    @pytest.mark.promise("P3", "P6")
    async def test_a_state_is_moved_to_our_store_and_back_and_each_place_says_where_it_is(self, site: Site) -> None:
        await site.versions.push(state(3, "a", "b"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            planned = await plan_move(site, own)
            assert planned is not None
            assert (planned.content.serial, planned.content.resources, planned.stored) == (3, 2, False)
            await move(site, own)
            assert await own.versions.current() == await site.versions.current() == state(3, "a", "b")
            await _check_marked(site, "interlock:adopted")
            again = await plan_move(site, own)
            assert again is not None
            assert again.stored
            await own.versions.push(state(4, "a", "b", "c"), force=False)
            await move(own, site)
            assert await site.versions.current() == state(4, "a", "b", "c")
            await _check_marked(own, site.ref.address)
            assert site.coordinator is None or (await site.coordinator.view(site.ref.queue)).lock.pause is None

    @pytest.mark.promise("P3")
    async def test_a_move_that_broke_off_before_its_mark_is_done_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            with monkeypatch.context() as broken:
                broken.setattr("interlock.operate.moving._mark", _breaks)
                with pytest.raises(ConnectionError):
                    await move(site, own)
            assert not await site.read_locks()
            planned = await plan_move(site, own)
            assert planned is not None
            assert (planned.stored, planned.done) == (True, False)
            await move(site, own)
            await _check_marked(site, "interlock:adopted")

    @pytest.mark.promise("P1", "P3")
    @pytest.mark.parametrize("step", ["_store", "_mark"])
    async def test_a_move_that_was_killed_leaves_at_most_one_place_open_and_the_same_command_finishes_it(
        self, site: Site, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            for source, target in ((site, own), (own, site)):
                with monkeypatch.context() as killed:
                    killed.setattr(f"interlock.operate.moving.{step}", _breaks)
                    killed.setattr("interlock.operate.moving._reopen", _nothing)
                    with pytest.raises(ConnectionError):
                        await move(source, target)
                if source.coordinator is not None:
                    assert not await _is_open(source)
                    with pytest.raises(UsageError, match="is being moved to"):
                        check_not_moved(await source.coordinator.view(source.ref.queue), source.ref)
                await move(source, target)
                await _check_marked(source, target.ref.address)
                assert await _is_open(target)

    @pytest.mark.promise("P3")
    async def test_a_move_that_failed_before_anything_was_stored_opens_the_source_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            with monkeypatch.context() as broken:
                broken.setattr("interlock.operate.moving._store", _breaks)
                with pytest.raises(ConnectionError):
                    await move(site, own)
            assert await _is_open(site)

    @pytest.mark.promise("P3")
    async def test_a_place_with_content_of_another_origin_is_not_written_over(self, site: Site) -> None:
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            await own.versions.push(state(2, "b"), force=False)
            for one, other in ((site, own), (own, site)):
                with pytest.raises(InterlockError):
                    await move(one, other)
            assert (await site.versions.current(), await own.versions.current()) == (state(3, "a"), state(2, "b"))

    @pytest.mark.promise("P1", "P3")
    async def test_a_state_that_was_moved_gets_no_second_copy_in_another_store(
        self, site: Site, tmp_path: Path
    ) -> None:
        if site.coordinator is None:
            return
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            await move(site, own)
        other = memory_home(tmp_path / "other", clock=SystemClock(), ids=RandomIds())
        for home, name in ((other, "adopted"), (other, "another"), (site.home, "another")):
            async with open_site(own_ref(name), home) as second:
                for attempt in (plan_move(site, second), move(site, second)):
                    with pytest.raises(UsageError, match="was moved to interlock:adopted already"):
                        await attempt
                assert await second.versions.current() is None
        await _check_marked(site, "interlock:adopted")

    async def test_a_second_move_changes_nothing_when_the_target_went_on(self, site: Site) -> None:
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            for one, other, serial in ((site, own, 4), (own, site, 5)):
                await move(one, other)
                await other.versions.push(state(serial, "a", "b"), force=False)
                if one.coordinator is None:
                    return
                planned = await plan_move(one, other)
                assert planned is not None
                assert planned.done
                await move(one, other)
                assert await other.versions.current() == state(serial, "a", "b")

    @pytest.mark.promise("P1")
    async def test_moves_at_once_make_one_and_none_of_them_waits_for_ever(self, site: Site) -> None:
        if site.coordinator is None:
            return
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own, asyncio.timeout(30):
            answers = await asyncio.gather(*(move(site, own) for _ in range(3)), return_exceptions=True)
            assert any(not isinstance(each, BaseException) for each in answers)
            assert {type(each) for each in answers if isinstance(each, BaseException)} <= {LockHeld}, answers
            assert await own.versions.current() == state(3, "a")
            assert not (await queue_of(own).view("adopted")).lock.waiters
        assert not (await site.coordinator.view(site.ref.queue)).lock.waiters
        await _check_marked(site, "interlock:adopted")

    async def test_a_state_that_a_run_got_while_its_mover_was_stopped_is_not_left(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if site.backend is not None or site.coordinator is None:
            return  # there, Terraform's own lock has no lease
        queue, name = site.coordinator, site.ref.queue
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            pause = queue.pause

            async def stopped(*words: Any, **named: Any) -> Any:
                await _break_holder(queue, name)
                await site.versions.push(state(4, "a", "b"), force=False)
                return await pause(*words, **named)

            monkeypatch.setattr(queue, "pause", stopped)
            with pytest.raises(LeaseLost, match="was not left"):
                await move(site, own)
            assert await own.versions.current() is None
        assert (await queue.view(name)).lock.pause is None
        assert await site.versions.current() == state(4, "a", "b")

    async def test_nobody_gets_a_state_whose_mover_was_stopped_once_it_is_closed(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if site.backend is not None or site.coordinator is None:
            return
        queue, name = site.coordinator, site.ref.queue
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            store = own.versions.push

            async def stopped(*words: Any, **named: Any) -> Any:
                await _break_holder(queue, name)
                with pytest.raises(UsageError, match="is being moved to interlock:adopted"):
                    await site.versions.push(state(4, "a", "b"), force=False)
                return await store(*words, **named)

            with monkeypatch.context() as meanwhile:
                meanwhile.setattr(own.versions, "push", stopped)
                with pytest.raises(LeaseLost, match="was not left"):
                    await move(site, own)
            assert not await _is_open(site)
            await move(site, own)
        await _check_marked(site, "interlock:adopted")

    async def test_a_pause_that_came_meanwhile_is_not_taken_for_the_mark(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue, name = site.coordinator, site.ref.queue
        if queue is None:
            return
        await site.versions.push(state(3, "a"), force=False)
        async with open_site(own_ref("adopted"), site.home) as own:
            pause_it = queue.pause

            async def paused(*words: Any, **named: Any) -> Any:
                await pause_it(name, by="ann", reason="an upgrade")
                return await pause_it(*words, **named)

            with monkeypatch.context() as meanwhile:
                meanwhile.setattr(queue, "pause", paused)
                with pytest.raises(PolicyGate, match="was not left"):
                    await move(site, own)
            pause = (await queue.view(name)).lock.pause
            assert pause is not None
            assert pause.reason == "an upgrade"
            await queue.resume(name, by="ann")
            await move(site, own)
        await _check_marked(site, "interlock:adopted")


async def _forbids(*_: object) -> None:
    raise Forbidden("a reader may not")


async def _held_for(site: Site) -> None:
    async with site.held("a test"):
        pass


async def _moved_here(site: Site) -> None:
    async with open_site(own_ref("adopted"), site.home) as own:
        await move(site, own)


async def _pushed(site: Site) -> None:
    await site.versions.push(state(2, "a"), force=False)


async def _breaks(*_: object, **__: object) -> None:
    raise ConnectionError


async def _nothing(*_: object, **__: object) -> None:
    pass


async def _break_holder(queue: Coordinator, name: str) -> None:
    [holder] = (await queue.view(name)).lock.holders
    await queue.break_(name, Broken(ticket=holder.ticket, token=holder.token, by="r", reason="gone"))


async def _is_open(site: Site) -> bool:
    """Say whether a run would be let in."""
    return site.coordinator is None or (await site.coordinator.view(site.ref.queue)).lock.pause is None


async def _check_marked(site: Site, address: str) -> None:
    """See that a run is refused where a state was left; only a queue can say it."""
    if site.coordinator is None:
        return
    view = await site.coordinator.view(site.ref.queue)
    assert address_moved_to(view.lock.pause) == address
    with pytest.raises(UsageError, match=re.escape(address)) as raised:
        check_not_moved(view, site.ref)
    assert COMMAND.search(raised.value.fix)


class TestInMemory(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        async with open_site(own_ref("prod/app"), memory_home(tmp_path / "home")) as site:
            yield site


@pytest.mark.on("own")
class TestInSqlite(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        async with open_home(Settings(home=tmp_path)) as home, open_site(own_ref("prod/app"), home) as site:
            yield site


@pytest.mark.on("s3")
class TestOnS3WithATable(MovingContract):
    @pytest.fixture
    async def site(self, aws: LocalAws, tmp_path: Path) -> AsyncIterator[Site]:
        async with opened(s3(aws, dynamodb_table=aws.new_table()), tmp_path) as site:
            yield site


@pytest.mark.slow  # as with a table, but for who keeps the lock; runs with both are tried end to end
@pytest.mark.on("s3")
class TestOnS3WithALockFile(MovingContract):
    @pytest.fixture
    async def site(self, aws: LocalAws, tmp_path: Path) -> AsyncIterator[Site]:
        async with opened(s3(aws, use_lockfile=True), tmp_path) as site:
            yield site


def s3(aws: LocalAws, **more: object) -> Found:
    bucket = aws.new_bucket()
    aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    place = {"bucket": bucket, "key": "k.tfstate", "region": "us-east-1", "workspace_key_prefix": "env:"}
    endpoints = {"endpoints.s3": aws.url, "endpoints.dynamodb": aws.url, "use_path_style": True}
    return Found(type="s3", settings={**place, **endpoints, **more})


@pytest.mark.on("local")
class TestInAFile(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        async with opened(Found(type="local", settings={"path": "app.tfstate"}), tmp_path) as site:
            yield site


@pytest.mark.on("http")
class TestBehindHttp(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        with answer_server(NOW) as server:
            server.answer = HttpStates().answer
            lock = f"{server.url}/lock"
            settings = {"address": f"{server.url}/state/app", "lock_address": lock, "unlock_address": lock}
            async with opened(Found(type="http", settings=settings), tmp_path) as site:
                yield site


@pytest.mark.on("gitlab")
class TestInGitLab(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        with answer_server(NOW) as server:
            server.answer = GitLab().answer
            address = f"{server.url}{GITLAB_PATH}"
            lock = {"lock_address": f"{address}/lock", "lock_method": "POST"}
            unlock = {"unlock_address": f"{address}/lock", "unlock_method": "DELETE"}
            settings = {"address": address, **lock, **unlock, "username": "ann", "password": "glpat-secret"}
            async with opened(Found(type="http", settings=settings), tmp_path) as site:
                yield site


@pytest.mark.on("gcs")
class TestOnGoogle(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        with answer_server(NOW) as server:
            server.answer = GoogleStorage("google-token").answer
            endpoint = f"{server.url}/storage/v1/"
            settings = {"bucket": "states", "prefix": "app", "access_token": "google-token"}
            found = Found(type="gcs", settings={**settings, "storage_custom_endpoint": endpoint})
            async with opened(found, tmp_path) as site:
                yield site


@pytest.mark.on("consul")
class TestInConsul(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        with answer_server(NOW) as server:
            server.answer = ConsulAgent(token="consul-token").answer
            settings = {"path": "team/app", "address": server.url, "access_token": "consul-token"}
            async with opened(Found(type="consul", settings=settings), tmp_path) as site:
                yield site


@pytest.mark.on("consul")
@pytest.mark.skipif(shutil.which("consul") is None, reason="Consul (consul) is not on PATH")
class TestInRealConsul(MovingContract):
    @pytest.fixture
    async def site(self, consul: str, tmp_path: Path) -> AsyncIterator[Site]:
        settings = {"path": f"{tmp_path.name}/app", "address": consul}
        async with opened(Found(type="consul", settings=settings), tmp_path) as site:
            yield site


@pytest.mark.on("kubernetes")
class TestInKubernetes(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        with answer_server(NOW) as server:
            server.answer = KubernetesApi().answer
            settings = {"secret_suffix": "app", "namespace": "default", "host": server.url, "token": "kube-token"}
            async with opened(Found(type="kubernetes", settings=settings), tmp_path) as site:
                yield site


@pytest.mark.on("kubernetes")
@pytest.mark.skipif(bool(why_no_cluster()), reason=why_no_cluster() or "-")
class TestInRealKubernetes(MovingContract):
    @pytest.fixture
    async def site(self, kubernetes: Cluster, tmp_path: Path) -> AsyncIterator[Site]:
        space = kubernetes.make_namespace(f"test-{RandomIds().fresh()}")
        settings = {"secret_suffix": "app", "namespace": space, "host": kubernetes.url}
        login = {"token": kubernetes.token, "cluster_ca_certificate": kubernetes.authority.read_text()}
        async with opened(Found(type="kubernetes", settings={**settings, **login}), tmp_path) as site:
            yield site


@pytest.mark.on("cloud")
class TestOnThePlatform(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
        with answer_server(NOW) as server:
            server.answer = TfePlatform(server.url).answer
            config = tmp_path / "cli.tfrc"
            config.write_text(f'host "tfe.test" {{\n  services = {{\n    "tfe.v2" = "{server.url}/api/v2/"\n  }}\n}}\n')
            monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(config))
            settings = {"hostname": "tfe.test", "organization": "acme", "workspaces.name": "app", "token": TOKEN}
            async with opened(Found(type="cloud", settings=settings), tmp_path) as site:
                yield site


@pytest.mark.on("azurerm")
class TestOnAzure(MovingContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        with answer_server(NOW) as server:
            server.answer = AzureBlobs("sig=azure-sas").answer
            settings = {"storage_account_name": "acct", "container_name": "states", "key": "app.tfstate"}
            endpoint = {"blob_endpoint": server.url, "sas_token": "?sv=2021&sig=azure-sas"}
            async with opened(Found(type="azurerm", settings={**settings, **endpoint}), tmp_path) as site:
                yield site


@pytest.fixture(scope="module")
def azurite() -> Iterator[str]:
    """The emulator of Azure's storage, with one container; yields the address of its account."""
    with azurite_blobs() as address:
        yield address


@pytest.mark.on("azurerm")
@pytest.mark.skipif(shutil.which("azurite-blob") is None, reason="Azurite (azurite-blob) is not on PATH")
class TestOnAzurite(MovingContract):
    @pytest.fixture
    async def site(self, azurite: str, tmp_path: Path) -> AsyncIterator[Site]:
        settings = {"storage_account_name": "devstoreaccount1", "container_name": CONTAINER, "access_key": AZURITE_KEY}
        place = {"blob_endpoint": azurite, "key": f"{tmp_path.name}.tfstate"}
        async with opened(Found(type="azurerm", settings={**settings, **place}), tmp_path) as site:
            yield site


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """PostgreSQL; only a test that uses it starts it."""
    with postgres_server() as conn:
        yield conn


@pytest.mark.on("pg")
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
class TestInPostgres(MovingContract):
    @pytest.fixture
    async def site(self, server: str, tmp_path: Path) -> AsyncIterator[Site]:
        psycopg = pytest.importorskip("psycopg")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS terraform_remote_state CASCADE")
            connection.execute("CREATE SCHEMA terraform_remote_state")
            connection.execute("CREATE SEQUENCE IF NOT EXISTS public.global_states_id_seq AS bigint")
            connection.execute(
                "CREATE TABLE terraform_remote_state.states ("
                "id bigint NOT NULL DEFAULT nextval('public.global_states_id_seq') PRIMARY KEY,"
                " name text UNIQUE, data text)"
            )
        settings = {"conn_str": server, "schema_name": "terraform_remote_state"}
        async with opened(Found(type="pg", settings=settings), tmp_path) as site:
            yield site
