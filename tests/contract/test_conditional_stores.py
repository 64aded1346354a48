"""Records beside states of other people's services keep the rules of every store."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from interlock.clock import SystemClock
from interlock.existing import Found
from interlock.existing.azurerm import RECORDS as BLOBS
from interlock.existing.azurerm import AzureRecords, open_azurerm
from interlock.existing.consul import RECORDS as KEYS
from interlock.existing.consul import ConsulRecords, open_consul
from interlock.existing.gcs import RECORDS as OBJECTS
from interlock.existing.gcs import GcsRecords, open_gcs
from interlock.existing.kubernetes import KubernetesRecords, open_kubernetes, record_name
from interlock.existing.pg import PgRecords, open_pg
from interlock.ids import RandomIds
from interlock.store.polling import Polling
from interlock.store.records import RecordStore
from interlock.testing.answers import AnswerServer, answer_server
from interlock.testing.azurite import AZURITE_KEY, CONTAINER, azurite_blobs
from interlock.testing.cloud_doubles import AzureBlobs, GoogleStorage
from interlock.testing.consul_double import ConsulAgent
from interlock.testing.consul_server import consul_agent
from interlock.testing.kubernetes_double import KubernetesApi
from interlock.testing.kubernetes_server import Cluster, kubernetes_api
from interlock.testing.kubernetes_server import why_not as why_no_cluster
from interlock.testing.postgres import postgres_server, why_not
from interlock.testing.store_contract import RecordStoreContract, Rewrite

pytestmark = pytest.mark.promise("P2", "P3")
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
QUICK = Polling(first_s=0.01, growth=1.2, most_s=0.05)


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    with answer_server(NOW) as made:
        yield made


@pytest.mark.on("gcs")
class TestOnGoogle(RecordStoreContract):
    @pytest.fixture
    def storage(self, api: AnswerServer) -> GoogleStorage:
        made = GoogleStorage("t")
        api.answer = made.answer
        return made

    @pytest.fixture
    async def record_store(self, api: AnswerServer, storage: GoogleStorage) -> RecordStore:  # noqa: ARG002 - it answers
        return self.opened(api)

    @pytest.fixture
    def record_store_peer(self, api: AnswerServer, storage: GoogleStorage) -> RecordStore:  # noqa: ARG002 - likewise
        return self.opened(api)

    def opened(self, api: AnswerServer) -> RecordStore:
        endpoint = {"storage_custom_endpoint": f"{api.url}/storage/v1/", "access_token": "t"}
        backend = open_gcs(Found(type="gcs", settings={"bucket": "b", **endpoint}), clock=SystemClock())
        return GcsRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())

    @pytest.fixture
    def rewrite_record(self, storage: GoogleStorage) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            storage.put("b", OBJECTS + key, change(storage.current("b", OBJECTS + key) or b""))

        return rewrite


@pytest.mark.on("azurerm")
class TestOnAzure(RecordStoreContract):
    @pytest.fixture
    def blobs(self, api: AnswerServer) -> AzureBlobs:
        made = AzureBlobs()
        api.answer = made.answer
        return made

    @pytest.fixture
    async def record_store(self, api: AnswerServer, blobs: AzureBlobs) -> RecordStore:  # noqa: ARG002 - it answers
        return self.opened(api)

    @pytest.fixture
    def record_store_peer(self, api: AnswerServer, blobs: AzureBlobs) -> RecordStore:  # noqa: ARG002 - likewise
        return self.opened(api)

    def opened(self, api: AnswerServer) -> RecordStore:
        settings = {"storage_account_name": "acct", "container_name": "states", "key": "app.tfstate"}
        more = {"blob_endpoint": api.url, "sas_token": "sig=azure-sas"}
        backend = open_azurerm(Found(type="azurerm", settings={**settings, **more}), clock=SystemClock())
        return AzureRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())

    @pytest.fixture
    def rewrite_record(self, blobs: AzureBlobs) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            blob = blobs.blobs[f"/states/{BLOBS}{key}"]
            blob.body, blob.etag = change(blob.body), blob.etag + 1

        return rewrite


@pytest.mark.on("consul")
class TestInConsul(RecordStoreContract):
    @pytest.fixture
    def agent(self, api: AnswerServer) -> ConsulAgent:
        made = ConsulAgent()
        api.answer = made.answer
        return made

    @pytest.fixture
    async def record_store(self, api: AnswerServer, agent: ConsulAgent) -> RecordStore:  # noqa: ARG002 - it answers
        return self.opened(api)

    @pytest.fixture
    def record_store_peer(self, api: AnswerServer, agent: ConsulAgent) -> RecordStore:  # noqa: ARG002 - likewise
        return self.opened(api)

    def opened(self, api: AnswerServer) -> RecordStore:
        found = Found(type="consul", settings={"path": "team/app", "address": api.url})
        return ConsulRecords(
            open_consul(found, clock=SystemClock()), polling=QUICK, clock=SystemClock(), ids=RandomIds()
        )

    @pytest.fixture
    def rewrite_record(self, agent: ConsulAgent) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            name = f"team/{KEYS}{quote(key, safe='').replace('.', '%2E')}"
            agent.put(name, change(agent.value(name) or b""))

        return rewrite


@pytest.fixture(scope="module")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real agent; only a test that uses it starts it."""
    with consul_agent(tmp_path_factory.mktemp("consul")) as url:
        yield url


@pytest.mark.on("consul")
@pytest.mark.skipif(shutil.which("consul") is None, reason="Consul (consul) is not on PATH")
class TestInRealConsul(RecordStoreContract):
    @pytest.fixture
    async def record_store(self, consul: str, tmp_path: Path) -> RecordStore:
        return self.opened(consul, tmp_path)

    @pytest.fixture
    def record_store_peer(self, consul: str, tmp_path: Path) -> RecordStore:
        return self.opened(consul, tmp_path)

    def opened(self, url: str, folder: Path) -> RecordStore:
        found = Found(type="consul", settings={"path": f"{folder.name}/app", "address": url})
        clock = SystemClock()
        return ConsulRecords(open_consul(found, clock=clock), polling=QUICK, clock=clock, ids=RandomIds())

    @pytest.fixture
    def rewrite_record(self) -> Rewrite:
        pytest.skip("a record is damaged by hand on the double alone")


@pytest.mark.on("kubernetes")
class TestInKubernetes(RecordStoreContract):
    @pytest.fixture
    def cluster(self, api: AnswerServer) -> KubernetesApi:
        made = KubernetesApi()
        api.answer = made.answer
        return made

    @pytest.fixture
    async def record_store(self, api: AnswerServer, cluster: KubernetesApi) -> RecordStore:  # noqa: ARG002 - it answers
        return self.opened(api)

    @pytest.fixture
    def record_store_peer(self, api: AnswerServer, cluster: KubernetesApi) -> RecordStore:  # noqa: ARG002 - likewise
        return self.opened(api)

    def opened(self, api: AnswerServer) -> RecordStore:
        found = Found(type="kubernetes", settings={"secret_suffix": "app", "host": api.url, "token": "kube-token"})
        backend = open_kubernetes(found, clock=SystemClock())
        return KubernetesRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())

    @pytest.fixture
    def rewrite_record(self, cluster: KubernetesApi) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            name = record_name(key)
            there = cluster.data(name) or {}
            cluster.put(name, {**there, "body": change(there["body"])})

        return rewrite


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API; only a test that uses it starts it."""
    with kubernetes_api(tmp_path_factory.mktemp("kubernetes")) as cluster:
        yield cluster


@pytest.mark.on("kubernetes")
@pytest.mark.skipif(bool(why_no_cluster()), reason=why_no_cluster() or "-")
class TestInRealKubernetes(RecordStoreContract):
    @pytest.fixture
    async def record_store(self, kubernetes: Cluster) -> RecordStore:
        return self.opened(kubernetes)

    @pytest.fixture
    def record_store_peer(self, kubernetes: Cluster) -> RecordStore:
        return self.opened(kubernetes)

    def opened(self, cluster: Cluster) -> RecordStore:
        login = {"token": cluster.token, "cluster_ca_certificate": cluster.authority.read_text()}
        found = Found(type="kubernetes", settings={"secret_suffix": "app", "host": cluster.url, **login})
        backend = open_kubernetes(found, clock=SystemClock())
        return KubernetesRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())

    @pytest.fixture
    def rewrite_record(self) -> Rewrite:
        pytest.skip("a record is damaged by hand on the double alone")


@pytest.fixture(scope="module")
def azurite() -> Iterator[str]:
    with azurite_blobs() as address:
        yield address


@pytest.mark.on("azurerm")
@pytest.mark.skipif(shutil.which("azurite-blob") is None, reason="Azurite (azurite-blob) is not on PATH")
class TestOnAzurite(RecordStoreContract):
    @pytest.fixture
    async def record_store(self, azurite: str) -> RecordStore:
        settings = {"storage_account_name": "devstoreaccount1", "container_name": CONTAINER, "key": "app.tfstate"}
        more = {"blob_endpoint": azurite, "access_key": AZURITE_KEY}
        backend = open_azurerm(Found(type="azurerm", settings={**settings, **more}), clock=SystemClock())
        return AzureRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())

    @pytest.fixture
    def rewrite_record(self) -> Rewrite:
        pytest.skip("a record is damaged by hand on the double alone")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as conn:
        yield conn


@pytest.mark.on("pg")
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
class TestInPostgres(RecordStoreContract):
    @pytest.fixture
    async def record_store(self, server: str) -> AsyncIterator[RecordStore]:
        backend = await open_pg(Found(type="pg", settings={"conn_str": server}))
        yield PgRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())
        await backend.close()

    @pytest.fixture
    async def record_store_peer(self, server: str) -> AsyncIterator[RecordStore]:
        backend = await open_pg(Found(type="pg", settings={"conn_str": server}))
        yield PgRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())
        await backend.close()

    @pytest.fixture
    def rewrite_record(self, server: str) -> Rewrite:
        psycopg = pytest.importorskip("psycopg")

        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute("SET search_path TO terraform_remote_state")
                (body,) = connection.execute("SELECT body FROM interlock_records WHERE name = %s", [key]).fetchone()
                query = "UPDATE interlock_records SET body = %s, mark = mark + 1 WHERE name = %s"
                connection.execute(query, [change(bytes(body)), key])

        return rewrite
