"""Every place where a state may be passes one suite (promise P11: a command means the same wherever the state is)."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.existing import Found
from interlock.existing.opening import whole_address_of
from interlock.home.embedded import open_home
from interlock.ids import RandomIds
from interlock.settings.values import Settings
from interlock.site.interface import Site
from interlock.site.naming import name_of_address
from interlock.site.opening import open_site
from interlock.site.ref import Existing, StateRef
from interlock.site.which import own_ref
from interlock.testing.answers import answer_server
from interlock.testing.aws import LocalAws
from interlock.testing.azurite import AZURITE_KEY, CONTAINER, azurite_blobs
from interlock.testing.cloud_doubles import AzureBlobs, GoogleStorage
from interlock.testing.home import memory_home
from interlock.testing.postgres import postgres_server, why_not
from interlock.testing.site_contract import SiteContract
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


class TestInMemory(SiteContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        async with open_site(own_ref("prod/app"), memory_home(tmp_path / "home")) as site:
            yield site


@pytest.mark.on("own")
class TestInSqlite(SiteContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        async with open_home(Settings(home=tmp_path)) as home, open_site(own_ref("prod/app"), home) as site:
            yield site


@pytest.mark.on("s3")
class TestOnS3WithATable(SiteContract):
    @pytest.fixture
    async def site(self, aws: LocalAws, tmp_path: Path) -> AsyncIterator[Site]:
        async with opened(s3(aws, dynamodb_table=aws.new_table()), tmp_path) as site:
            yield site


@pytest.mark.on("s3")
class TestOnS3WithALockFile(SiteContract):
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
class TestInAFile(SiteContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        async with opened(Found(type="local", settings={"path": "app.tfstate"}), tmp_path) as site:
            yield site


@pytest.mark.on("http")
class TestBehindHttp(SiteContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        with answer_server(NOW) as server:
            server.answer = HttpStates().answer
            lock = f"{server.url}/lock"
            settings = {"address": f"{server.url}/state/app", "lock_address": lock, "unlock_address": lock}
            async with opened(Found(type="http", settings=settings), tmp_path) as site:
                yield site


@pytest.mark.on("gitlab")
class TestInGitLab(SiteContract):
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
class TestOnGoogle(SiteContract):
    @pytest.fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        with answer_server(NOW) as server:
            server.answer = GoogleStorage("google-token").answer
            endpoint = f"{server.url}/storage/v1/"
            settings = {"bucket": "states", "prefix": "app", "access_token": "google-token"}
            found = Found(type="gcs", settings={**settings, "storage_custom_endpoint": endpoint})
            async with opened(found, tmp_path) as site:
                yield site


@pytest.mark.on("cloud")
class TestOnThePlatform(SiteContract):
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
class TestOnAzure(SiteContract):
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
class TestOnAzurite(SiteContract):
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
class TestInPostgres(SiteContract):
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
