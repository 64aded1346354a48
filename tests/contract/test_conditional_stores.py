"""Records beside states of other people's services keep the rules of every store."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
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
from interlock.testing.answers import answer_server
from interlock.testing.azurite import AZURITE_KEY, CONTAINER, azurite_blobs
from interlock.testing.cloud_doubles import AzureBlobs, GoogleStorage
from interlock.testing.consul_double import ConsulAgent
from interlock.testing.kubernetes_double import KubernetesApi
from interlock.testing.kubernetes_server import Cluster
from interlock.testing.kubernetes_server import why_not as why_no_cluster
from interlock.testing.postgres import postgres_server, why_not
from interlock.testing.store_contract import RecordStoreContract, Rewrite

pytestmark = pytest.mark.promise("P2", "P3")
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
QUICK = Polling(first_s=0.01, growth=1.2, most_s=0.05)


class TwoHandles(RecordStoreContract):
    """Opens the same place twice. Inherit from this, and give `place` and `opened`."""

    @pytest.fixture
    async def record_store(self, place: Any) -> RecordStore:
        return self.opened(place)

    @pytest.fixture
    def record_store_peer(self, place: Any) -> RecordStore:
        return self.opened(place)

    def opened(self, place: Any) -> RecordStore:
        raise NotImplementedError


class OnDouble(TwoHandles):
    """Speaks to the double of a service. Inherit from this, and give `double`, `opened` and `rewrite_record`."""

    @pytest.fixture
    def place(self, double: Any) -> Iterator[str]:
        with answer_server(NOW) as api:
            api.answer = double.answer
            yield api.url


class OnRealService(TwoHandles):
    """Speaks to the service itself. Inherit from this, and give `place` and `opened`."""

    @pytest.fixture
    def rewrite_record(self) -> Rewrite:
        pytest.skip("a record is damaged by hand on the double alone")


@pytest.mark.on("gcs")
class TestOnGoogle(OnDouble):
    @pytest.fixture
    def double(self) -> GoogleStorage:
        return GoogleStorage("t")

    def opened(self, place: str) -> RecordStore:
        endpoint = {"storage_custom_endpoint": f"{place}/storage/v1/", "access_token": "t"}
        backend = open_gcs(Found(type="gcs", settings={"bucket": "b", **endpoint}), clock=SystemClock())
        return GcsRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())

    @pytest.fixture
    def rewrite_record(self, double: GoogleStorage) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            double.put("b", OBJECTS + key, change(double.current("b", OBJECTS + key) or b""))

        return rewrite


@pytest.mark.on("azurerm")
class TestOnAzure(OnDouble):
    @pytest.fixture
    def double(self) -> AzureBlobs:
        return AzureBlobs()

    def opened(self, place: str) -> RecordStore:
        settings = {"storage_account_name": "acct", "container_name": "states", "key": "app.tfstate"}
        more = {"blob_endpoint": place, "sas_token": "sig=azure-sas"}
        backend = open_azurerm(Found(type="azurerm", settings={**settings, **more}), clock=SystemClock())
        return AzureRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())

    @pytest.fixture
    def rewrite_record(self, double: AzureBlobs) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            blob = double.blobs[f"/states/{BLOBS}{key}"]
            blob.body, blob.etag = change(blob.body), blob.etag + 1

        return rewrite


@pytest.mark.on("consul")
class TestInConsul(OnDouble):
    @pytest.fixture
    def double(self) -> ConsulAgent:
        return ConsulAgent()

    def opened(self, place: str) -> RecordStore:
        found = Found(type="consul", settings={"path": "team/app", "address": place})
        return ConsulRecords(
            open_consul(found, clock=SystemClock()), polling=QUICK, clock=SystemClock(), ids=RandomIds()
        )

    @pytest.fixture
    def rewrite_record(self, double: ConsulAgent) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            name = f"team/{KEYS}{quote(key, safe='').replace('.', '%2E')}"
            double.put(name, change(double.value(name) or b""))

        return rewrite


@pytest.mark.on("consul")
@pytest.mark.skipif(shutil.which("consul") is None, reason="Consul (consul) is not on PATH")
class TestInRealConsul(OnRealService):
    @pytest.fixture
    def place(self, consul: str, tmp_path: Path) -> tuple[str, Path]:
        return consul, tmp_path

    def opened(self, place: tuple[str, Path]) -> RecordStore:
        url, folder = place
        found = Found(type="consul", settings={"path": f"{folder.name}/app", "address": url})
        clock = SystemClock()
        return ConsulRecords(open_consul(found, clock=clock), polling=QUICK, clock=clock, ids=RandomIds())


@pytest.mark.on("kubernetes")
class TestInKubernetes(OnDouble):
    @pytest.fixture
    def double(self) -> KubernetesApi:
        return KubernetesApi()

    def opened(self, place: str) -> RecordStore:
        found = Found(type="kubernetes", settings={"secret_suffix": "app", "host": place, "token": "kube-token"})
        backend = open_kubernetes(found, clock=SystemClock())
        return KubernetesRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())

    @pytest.fixture
    def rewrite_record(self, double: KubernetesApi) -> Rewrite:
        async def rewrite(key: str, change: Callable[[bytes], bytes]) -> None:
            name = record_name(key)
            there = double.data(name) or {}
            double.put(name, {**there, "body": change(there["body"])})

        return rewrite


@pytest.mark.on("kubernetes")
@pytest.mark.skipif(bool(why_no_cluster()), reason=why_no_cluster() or "-")
class TestInRealKubernetes(OnRealService):
    @pytest.fixture
    def place(self, kubernetes: Cluster) -> Cluster:
        return kubernetes

    def opened(self, place: Cluster) -> RecordStore:
        login = {"token": place.token, "cluster_ca_certificate": place.authority.read_text()}
        found = Found(type="kubernetes", settings={"secret_suffix": "app", "host": place.url, **login})
        backend = open_kubernetes(found, clock=SystemClock())
        return KubernetesRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())


@pytest.fixture(scope="module")
def azurite() -> Iterator[str]:
    with azurite_blobs() as address:
        yield address


@pytest.mark.on("azurerm")
@pytest.mark.skipif(shutil.which("azurite-blob") is None, reason="Azurite (azurite-blob) is not on PATH")
class TestOnAzurite(OnRealService):
    @pytest.fixture
    def place(self, azurite: str) -> str:
        return azurite

    def opened(self, place: str) -> RecordStore:
        settings = {"storage_account_name": "devstoreaccount1", "container_name": CONTAINER, "key": "app.tfstate"}
        more = {"blob_endpoint": place, "access_key": AZURITE_KEY}
        backend = open_azurerm(Found(type="azurerm", settings={**settings, **more}), clock=SystemClock())
        return AzureRecords(backend, polling=QUICK, clock=SystemClock(), ids=RandomIds())


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
