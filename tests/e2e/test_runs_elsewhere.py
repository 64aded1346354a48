"""Runs on states that stay on other people's backends, with the real Terraform: the whole life on each."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.desk import CUT, SLEEPER, STEP_S, Answer, Desk, Started
from tests.program import is_tofu

from interlock.clock import SystemClock
from interlock.existing import Found
from interlock.existing.local import LocalBackend
from interlock.existing.packed import pack, unpack
from interlock.simulator.certificate import make_certificate
from interlock.testing.answers import answer_server
from interlock.testing.cloud_doubles import AzureBlobs, GoogleStorage
from interlock.testing.consul_double import ConsulAgent
from interlock.testing.consul_server import consul_agent
from interlock.testing.kubernetes_double import KubernetesApi
from interlock.testing.kubernetes_server import kubernetes_api
from interlock.testing.kubernetes_server import why_not as why_no_cluster
from interlock.testing.postgres import postgres_server, why_not
from interlock.testing.state_servers import GITLAB_PATH, GitLab, HttpStates
from interlock.testing.tfe_double import TOKEN, TfePlatform

pytestmark = pytest.mark.e2e

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@dataclass(kw_only=True)
class Place:
    """One backend with one state.

    Attributes:
        block: The backend's settings, as HCL.
        kind: Terraform's word.
        stored: Returns the stored state; None when there is none.
        is_locked: Says whether Terraform's own lock is held.
        put: Writes a state past every lock, as somebody with the right to.
        environ: What leads commands to it.
        has_plain: Plain Terraform can be led to it too.
    """

    block: str
    kind: str
    stored: Callable[[], bytes | None]
    is_locked: Callable[[], bool]
    put: Callable[[bytes], None]
    environ: dict[str, str] = field(default_factory=dict)
    has_plain: bool = True

    @property
    def serial(self) -> int:
        """Of what is stored; 0 for nothing."""
        body = self.stored()
        return int(json.loads(body)["serial"]) if body else 0

    @property
    def document(self) -> Any:
        """What is stored."""
        return json.loads(self.stored() or b"{}")


@contextmanager
def in_a_file(folder: Path) -> Iterator[Place]:
    path = folder / "kept" / "app.tfstate"
    backend = LocalBackend(path, found=Found(type="local"))

    def stored() -> bytes | None:
        return path.read_bytes() or None if path.exists() else None

    def put(body: bytes) -> None:
        path.write_bytes(body)

    yield Place(
        block='path = "../kept/app.tfstate"',
        kind="local",
        stored=stored,
        is_locked=lambda: bool(asyncio.run(backend.read_locks())),
        put=put,
    )


@contextmanager
def behind_http(_: Path) -> Iterator[Place]:
    with answer_server(NOW) as server:
        states = HttpStates()
        server.answer = states.answer
        names = {"address": "state/app", "lock_address": "lock", "unlock_address": "lock"}

        def put(body: bytes) -> None:
            states.state = body

        yield Place(
            block="\n".join(f'{name} = "{server.url}/{path}"' for name, path in names.items()),
            kind="http",
            stored=lambda: states.state,
            is_locked=states.is_locked,
            put=put,
        )


@contextmanager
def in_gitlab(_: Path) -> Iterator[Place]:
    with answer_server(NOW) as server:
        gitlab = GitLab()
        server.answer = gitlab.answer
        address = f"{server.url}{GITLAB_PATH}"
        settings = {
            "address": address,
            "lock_address": f"{address}/lock",
            "lock_method": "POST",
            "unlock_address": f"{address}/lock",
            "unlock_method": "DELETE",
            "username": "ann",
            "password": "glpat-hush",
        }

        def put(body: bytes) -> None:
            gitlab.versions[json.loads(body)["serial"]] = body

        yield Place(
            block="\n".join(f'{name} = "{value}"' for name, value in settings.items()),
            kind="http",
            stored=lambda: gitlab.versions[max(gitlab.versions)] if gitlab.versions else None,
            is_locked=lambda: gitlab.locked is not None,
            put=put,
        )


@contextmanager
def in_postgres(_: Path) -> Iterator[Place]:
    if reason := why_not():
        pytest.skip(reason)
    psycopg = pytest.importorskip("psycopg")
    with postgres_server() as conn, psycopg.connect(conn, autocommit=True) as connection:

        def stored() -> bytes | None:
            if connection.execute("SELECT to_regclass('terraform_remote_state.states')").fetchone()[0] is None:
                return None
            row = connection.execute("SELECT data FROM terraform_remote_state.states").fetchone()
            return row[0].encode() if row and row[0] else None

        def put(body: bytes) -> None:
            connection.execute("UPDATE terraform_remote_state.states SET data = %s", [body.decode()])

        def is_locked() -> bool:
            return bool(connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()[0])

        yield Place(block=f'conn_str = "{conn}"', kind="pg", stored=stored, is_locked=is_locked, put=put)


@contextmanager
def on_google(_: Path) -> Iterator[Place]:
    with answer_server(NOW) as server:
        storage = GoogleStorage("google-token")
        server.answer = storage.answer

        def put(body: bytes) -> None:
            storage.put("states", "app/default.tfstate", body)

        settings = {"bucket": "states", "prefix": "app", "access_token": "google-token"}
        settings["storage_custom_endpoint"] = f"{server.url}/storage/v1/"
        yield Place(
            block="\n".join(f'{name} = "{value}"' for name, value in settings.items()),
            kind="gcs",
            stored=lambda: storage.current("states", "app/default.tfstate"),
            is_locked=lambda: storage.current("states", "app/default.tflock") is not None,
            put=put,
        )


@contextmanager
def on_the_platform(folder: Path) -> Iterator[Place]:
    with answer_server(NOW) as server:
        platform = TfePlatform(server.url)
        server.answer = platform.answer
        config = folder / "cli.tfrc"
        config.write_text(
            f'host "tfe.test" {{\n  services = {{\n    "tfe.v2" = "{server.url}/api/v2/"\n  }}\n}}\n'
            f'credentials "tfe.test" {{\n  token = "{TOKEN}"\n}}\n'
        )
        yield Place(
            block='hostname = "tfe.test"\norganization = "acme"\nworkspaces {\nname = "app"\n}',
            kind="cloud",
            stored=platform.current,
            is_locked=lambda: platform.locked_by is not None,
            put=platform.put,
            environ={"TF_CLI_CONFIG_FILE": str(config), "TF_TOKEN_tfe_test": TOKEN},
        )


@contextmanager
def on_azure(folder: Path) -> Iterator[Place]:
    """Plain Terraform cannot be led to a double of Azure, so only runs are tried here."""
    del folder
    with answer_server(NOW) as server:
        blobs = AzureBlobs()
        server.answer = blobs.answer
        path = "/states/app.tfstate"

        def stored() -> bytes | None:
            return blobs.blobs[path].body or None if path in blobs.blobs else None

        def put(body: bytes) -> None:
            blobs.blobs[path].body, blobs.blobs[path].etag = body, blobs.blobs[path].etag + 1

        settings = {"storage_account_name": "acct", "container_name": "states", "key": "app.tfstate"}
        yield Place(
            block="\n".join(f'{name} = "{value}"' for name, value in settings.items()),
            kind="azurerm",
            stored=stored,
            is_locked=lambda: path in blobs.blobs and bool(blobs.blobs[path].lease),
            put=put,
            environ={"INTERLOCK_AZURE_BLOB_ENDPOINT": server.url, "ARM_SAS_TOKEN": blobs.sas},
            has_plain=False,
        )


@contextmanager
def in_consul(_: Path) -> Iterator[Place]:
    with answer_server(NOW) as server:
        agent = ConsulAgent(token="consul-token")
        server.answer = agent.answer

        def put(body: bytes) -> None:
            agent.put("team/app", body)

        settings = {"path": "team/app", "address": server.url, "access_token": "consul-token"}
        yield Place(
            block="\n".join(f'{name} = "{value}"' for name, value in settings.items()),
            kind="consul",
            stored=lambda: agent.value("team/app"),
            is_locked=agent.is_locked,
            put=put,
        )


@contextmanager
def in_real_consul(folder: Path) -> Iterator[Place]:
    if shutil.which("consul") is None:
        pytest.skip("Consul (consul) is not on PATH")
    with consul_agent(folder) as url:

        def asked(path: str, body: bytes | None = None) -> bytes:
            request = urllib.request.Request(f"{url}/v1/kv/{path}", body, method="GET" if body is None else "PUT")
            with suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=10) as answer:
                return bytes(answer.read())
            return b""

        def put(body: bytes) -> None:
            asked("team/app", body)

        yield Place(
            block=f'path = "team/app"\naddress = "{url}"',
            kind="consul",
            stored=lambda: asked("team/app?raw") or None,
            is_locked=lambda: b'"Session"' in asked("team/app/.lock"),
            put=put,
        )


@contextmanager
def in_kubernetes(folder: Path) -> Iterator[Place]:
    """By a file of kubectl, and HTTPS: over HTTP no client sends a token that stands in such a file."""
    made = make_certificate(folder, SystemClock().now())
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.chain, made.key)
    with answer_server(NOW, tls=tls) as server:
        cluster, secret = KubernetesApi(), "tfstate-default-app"
        server.answer = cluster.answer

        def stored() -> bytes | None:
            packed = (cluster.data(secret) or {}).get("tfstate")
            return unpack(packed) if packed else None

        def put(body: bytes) -> None:
            cluster.put(secret, {"tfstate": pack(body)})

        config = kubeconfig(folder, server.url, made.chain, cluster.token)
        settings = {"secret_suffix": "app", "config_path": str(config)}
        yield Place(
            block="\n".join(f'{name} = "{value}"' for name, value in settings.items()),
            kind="kubernetes",
            stored=stored,
            is_locked=cluster.is_locked,
            put=put,
        )


def kubeconfig(folder: Path, url: str, authority: Path, token: str) -> Path:
    """Write a file of kubectl."""
    named = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    users = [{"name": "c", "user": {"token": token}}]
    clusters = [{"name": "c", "cluster": {"server": url, "certificate-authority": str(authority)}}]
    document = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [named]}
    path = folder / "kubeconfig"
    path.write_text(json.dumps({**document, "users": users, "clusters": clusters}))
    return path


@contextmanager
def in_real_kubernetes(folder: Path) -> Iterator[Place]:
    if reason := why_no_cluster():
        pytest.skip(reason)
    made = folder / "cluster"
    made.mkdir()
    with kubernetes_api(made) as cluster:
        secret = "/api/v1/namespaces/default/secrets/tfstate-default-app"
        lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/lock-tfstate-default-app"

        def asked(path: str) -> Any:
            with suppress(urllib.error.HTTPError):
                return json.loads(cluster.ask(path))
            return {}

        def stored() -> bytes | None:
            packed = (asked(secret).get("data") or {}).get("tfstate")
            return unpack(base64.b64decode(packed)) if packed else None

        def put(body: bytes) -> None:
            data = {"data": {"tfstate": base64.b64encode(pack(body)).decode()}}
            cluster.ask(secret, json.dumps({**asked(secret), **data}).encode(), method="PUT")

        config = kubeconfig(folder, cluster.url, cluster.authority, cluster.token)
        yield Place(
            block=f'secret_suffix = "app"\nconfig_path = "{config}"',
            kind="kubernetes",
            stored=stored,
            is_locked=lambda: (asked(lease).get("spec") or {}).get("holderIdentity") is not None,
            put=put,
        )


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "azurerm": on_azure,
    "cloud": on_the_platform,
    "consul": in_consul,
    "consul-real": in_real_consul,
    "kubernetes": in_kubernetes,
    "kubernetes-real": in_real_kubernetes,
    "gcs": on_google,
    "local": in_a_file,
    "http": behind_http,
    "gitlab": in_gitlab,
    "pg": in_postgres,
}


QUICK = {"cloud", "local", "pg"}
"""A platform's lock, a file's and a session's; the others are tried by `make proofs`."""


@pytest.fixture(params=[pytest.param(at, marks=[] if at in QUICK else pytest.mark.slow) for at in sorted(PLACES)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with PLACES[request.param](tmp_path) as made:
        yield made


def root(desk: Desk, place: Place, text: str = SLEEPER, name: str = "app") -> Path:
    desk.environ |= place.environ
    head = "cloud" if place.kind == "cloud" else f'backend "{place.kind}"'
    block = f"terraform {{\n  {head} {{\n{place.block}\n  }}\n}}\n"
    return desk.module(name, block + text)


def apply(desk: Desk, module: Path, *words: object, hold: float = 0, round_: int = 1) -> Started:
    return desk.start("apply", module, "--auto-approve", *words, "--", f"-var=hold={hold}", f"-var=round={round_}")


def applied(desk: Desk, module: Path, *words: object, round_: int = 1) -> Answer:
    return apply(desk, module, *words, round_=round_).wait()


def plain(desk: Desk, module: Path, *words: object) -> Answer:
    """Run plain Terraform, or what the desk has in its place, with a data folder of its own."""
    program = desk.environ.get("INTERLOCK_TERRAFORM", "terraform")
    own = {**desk.environ, "TF_DATA_DIR": str(desk.folder / f"plain-{module.name}")}
    ready = [program, f"-chdir={module}", "init", "-input=false", "-no-color"]
    if not Path(own["TF_DATA_DIR"]).is_dir():
        subprocess.run(ready, env=own, check=True, capture_output=True, timeout=STEP_S)
    done = subprocess.run(
        [program, f"-chdir={module}", *map(str, words), "-no-color"],
        env=own,
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.promise("P1", "P3", "P8", "P11")
def test_a_whole_life_leaves_what_plain_terraform_goes_on_with(desk: Desk, place: Place) -> None:
    module = root(desk, place)
    planned = desk.run("plan", module, "--detailed-exitcode")
    assert planned.code == 2, planned.err
    assert ("queue: in " in planned.err) is (place.kind in {"cloud", "http", "local"}), "else it is beside the state"
    assert not place.document.get("resources")
    first = applied(desk, module)
    assert first.code == 0, first.err
    assert not place.is_locked()
    if place.has_plain:
        assert plain(desk, module, "plan", "-detailed-exitcode", "-input=false").code == 0
        by_hand = plain(desk, module, "apply", "-auto-approve", "-input=false", "-var=round=2")
        assert by_hand.code == 0, by_hand.err
    else:
        assert applied(desk, module, round_=2).code == 0
    serial = place.serial
    assert desk.run("plan", module, "--detailed-exitcode", "--", "-var=round=2").code == 0
    assert desk.run("drift", module, "--detailed-exitcode", "--", "-var=round=2").code == 0
    out = desk.folder / "r3.tfplan"
    kept = desk.run("plan", module, "--out", out, "--", "-var=round=3")
    assert kept.code == 0, kept.err
    done = desk.run("apply", module, "--auto-approve", "--plan", out)
    assert done.code == 0, done.err
    assert place.serial > serial
    again = desk.run("apply", module, "--auto-approve", "--plan", out)
    assert again.code == 21, again.err
    gone = desk.run("destroy", module, "--auto-approve")
    assert gone.code == 0, gone.err
    assert place.document["resources"] == []
    assert not place.is_locked()
    assert not list(module.glob("*.tfstate*")), "nothing was left beside the configuration"


@pytest.mark.promise("P1", "P5", "P9")
def test_a_killed_run_is_recovered_and_one_that_is_interrupted_saves_and_frees_the_lock(
    desk: Desk, place: Place
) -> None:
    module = root(desk, place)
    if place.kind == "kubernetes":  # there, `init` itself takes the lock to store an empty state
        assert plain(desk, module, "show").code == 0
    dead = apply(desk, module, hold=CUT)
    summary = desk.until_working()
    if place.has_plain:
        refused = plain(desk, module, "apply", "-auto-approve", "-input=false")
        assert refused.code == 1
        assert "Error acquiring the state lock" in refused.err
    waiting = apply(desk, module, hold=CUT, round_=2)
    waiter = desk.until_waiting()[0]
    dead.process.kill()
    dead.wait()
    desk.stop_supervisor(summary)
    desk.until(lambda: desk.summary(waiter).phase == "applying" or None, "the waiter's apply")
    verdicts = [entry.facts.get("verdict") for entry in desk.journal(waiter, "recovery")]
    assert verdicts[-2:] == ["gone", "broken"]
    assert place.is_locked()
    names = {resource["name"] for resource in place.document["resources"]}
    assert "kept" in names, "what the dead run had made"
    desk.until_working(waiter)
    waiting.signal(signal.SIGINT)
    ended = waiting.wait()
    assert ended.code == 130, ended.err
    assert not place.is_locked()
    assert applied(desk, module, round_=3).code == 0
    if place.has_plain:
        assert plain(desk, module, "plan", "-detailed-exitcode", "-input=false", "-var=round=3").code == 0


@pytest.mark.not_on("gcs", "local")
@pytest.mark.promise("P3", "P8")
def test_a_state_that_somebody_replaces_in_spite_of_the_lock_is_not_overwritten_but_where_terraform_writes(
    desk: Desk, place: Place
) -> None:
    """By plain Terraform with -lock=false, or by hand: no lock keeps that out."""
    module = root(desk, place)
    assert applied(desk, module).code == 0
    before = place.document
    gate = desk.gate()
    running = desk.start("apply", module, "--auto-approve", "--", "-var=round=2", f"-var=gate={gate}")
    desk.until_working()
    other = {**before, "serial": before["serial"] + 40, "outputs": {"mine": {"value": "x", "type": "string"}}}
    place.put(json.dumps(other).encode())
    gate.unlink()
    ended = running.wait()
    assert not place.is_locked()
    if place.kind in {"gcs", "local"}:  # Terraform itself writes, and asks nobody
        assert ended.code == 0, ended.err
        return
    assert ended.code not in (0, 2), ended.err
    assert place.document["outputs"], "somebody else's write was replaced"
    assert "errored.tfstate" in ended.err + "".join(path.name for path in desk.run_folder().iterdir())


@pytest.mark.slow
@pytest.mark.on("consul", "kubernetes")
@pytest.mark.promise("P3", "P11")
@pytest.mark.parametrize("kind", ["consul", "kubernetes"])
def test_a_large_state_goes_from_plain_terraform_to_runs_and_back(desk: Desk, tmp_path: Path, kind: str) -> None:
    """Consul keeps it in pieces, Kubernetes packed in two Secrets; each side must read what the other one wrote."""
    if kind == "kubernetes" and is_tofu():
        pytest.skip("OpenTofu keeps a state in one Secret, so none of this size comes from it")
    noise = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000))
    text = 'variable "round" {\n  default = "1"\n}\n'
    text += f'resource "terraform_data" "large" {{\n  input = "${{var.round}}{noise}"\n}}\n'
    with PLACES[kind](tmp_path) as place:
        module = root(desk, place, text=text)
        assert plain(desk, module, "apply", "-auto-approve", "-input=false").code == 0
        assert desk.run("plan", module, "--detailed-exitcode").code == 0
        changed = desk.run("apply", module, "--auto-approve", "--", "-var=round=2")
        assert changed.code == 0, changed.err
        seen = plain(desk, module, "plan", "-detailed-exitcode", "-input=false", "-var=round=2")
        assert seen.code == 0, seen.out + seen.err
        assert plain(desk, module, "destroy", "-auto-approve", "-input=false").code == 0
        assert desk.run("plan", module, "--detailed-exitcode").code == 2


@pytest.mark.on("pg", "consul", "kubernetes")
@pytest.mark.promise("P1", "P3", "P11")
@pytest.mark.parametrize(
    "kind", ["pg", pytest.param("consul", marks=pytest.mark.slow), pytest.param("kubernetes", marks=pytest.mark.slow)]
)
def test_a_workspace_of_a_state_that_only_we_write_is_terraforms_own_workspace(
    desk: Desk, tmp_path: Path, kind: str
) -> None:
    """Terraform's HTTP backend has none, so Terraform works on a copy there; `terraform.workspace` is right."""
    text = 'resource "terraform_data" "where" {\n  input = terraform.workspace\n}\n'
    with PLACES[kind](tmp_path) as place:
        module = root(desk, place, text=text)
        desk.environ["TF_WORKSPACE"] = "green"
        first = desk.run("apply", module, "--auto-approve")
        assert first.code == 0, first.err
        (made,) = json.loads(plain(desk, module, "state", "pull").out)["resources"]
        assert made["instances"][0]["attributes"]["input"]["value"] == "green"
        assert not place.is_locked()
        assert plain(desk, module, "plan", "-detailed-exitcode", "-input=false").code == 0
        again = desk.run("plan", module, "--detailed-exitcode")
        assert again.code == 0, again.err
        gone = desk.run("destroy", module, "--auto-approve")
        assert gone.code == 0, gone.err
        assert json.loads(plain(desk, module, "state", "pull").out)["resources"] == []
