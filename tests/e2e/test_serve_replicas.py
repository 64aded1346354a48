"""Several `interlock serve` on one PostgreSQL: hand-over, their ends, and a Terraform that notices nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.balancer import balancing
from tests.replicas import AUTH, STEP_S, TOKEN, Replica, answer, lock_body, send, state_body

from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.ids import RandomIds
from interlock.lock import Lock
from interlock.store.opening import open_store
from interlock.testing.postgres import PostgresServer, why_not

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

STATE = "prod/routing"


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return f"{postgres.url}&schema=s{uuid.uuid4().hex[:12]}"


Start = Callable[..., Replica]


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Start]:
    started: list[Replica] = []

    def one(*words: str) -> Replica:
        started.append(Replica(url, tmp_path / f"home{len(started)}", *words))
        return started[-1]

    yield one
    for replica in started:
        with suppress(ProcessLookupError):
            replica.process.send_signal(signal.SIGCONT)
        replica.process.kill()
        replica.process.wait(STEP_S)


def look(url: str) -> Lock:
    """Read the lock, as another server does."""

    async def read() -> Lock:
        store = await open_store(url, clock=SystemClock())
        view = await LocalCoordinator(store.records, store.clock, RandomIds()).view(STATE)
        await store.close()
        return view.lock

    return asyncio.run(read())


def await_waiters(url: str, *tickets: str) -> None:
    until = time.monotonic() + STEP_S
    while [waiter.ticket for waiter in look(url).waiters] != list(tickets):
        assert time.monotonic() < until, look(url)
        time.sleep(0.05)


@pytest.mark.promise("P1", "P2")
def test_who_waits_at_one_replica_is_granted_when_the_holder_unlocks_at_another(start: Start, url: str) -> None:
    one, two = start(), start()
    assert one.said["store"].startswith("postgresql://")
    assert one.lock("a", STATE) == 200
    waiting = []
    for number, name in enumerate("bcdef"):
        waiting.append((one, two)[number % 2].send("LOCK", STATE, lock_body(name), "?wait=60s"))
        await_waiters(url, *"bcdef"[: number + 1])
    holder = "a"
    for number, name in enumerate("bcdef"):
        assert (one, two)[number % 2].unlock(holder, STATE) == 200  # at the other one for each second waiter
        assert answer(waiting[number])[0] == 200
        assert [each.ticket for each in look(url).holders] == [name]
        holder = name


@pytest.mark.promise("P1", "P2", "P3")
def test_a_killed_replica_costs_nobody_a_lock_a_place_or_a_write(start: Start, url: str) -> None:
    one, two = start(), start()
    assert one.lock("a", STATE) == 200
    assert one.ask("POST", STATE, state_body(1, "l", "first"), "?ID=a")[0] == 200
    first = one.send("LOCK", STATE, lock_body("b"), "?wait=60s")
    await_waiters(url, "b")
    second = two.send("LOCK", STATE, lock_body("c"), "?wait=60s")
    await_waiters(url, "b", "c")
    one.end(signal.SIGKILL)
    with pytest.raises(OSError, match=r"."):
        answer(first)
    again = two.send("LOCK", STATE, lock_body("b"), "?wait=60s")  # as Terraform does, a second later
    assert two.ask("POST", STATE, state_body(2, "l", "second"), "?ID=a")[0] == 200  # the holder goes on at the other
    assert two.lock("a", STATE) == 200
    assert two.unlock("a", STATE) == 200
    assert answer(again)[0] == 200
    status, body = two.ask("GET", STATE)
    assert (status, body) == (200, state_body(2, "l", "second"))
    assert two.unlock("b", STATE) == 200
    assert answer(second)[0] == 200


@pytest.mark.slow
@pytest.mark.promise("P2", "P9")
def test_a_replica_that_ends_sends_its_waiters_to_the_others_with_their_places(start: Start, url: str) -> None:
    one, two = start(), start()
    assert two.lock("a", STATE) == 200
    first = one.send("LOCK", STATE, lock_body("b"), "?wait=60s")
    await_waiters(url, "b")
    second = two.send("LOCK", STATE, lock_body("c"), "?wait=60s")
    await_waiters(url, "b", "c")
    assert one.end() == 0
    status, _, headers = answer(first)
    assert (status, headers["Retry-After"]) == (503, "2")
    again = two.send("LOCK", STATE, lock_body("b"), "?wait=60s")
    until = time.monotonic() + STEP_S
    while look(url).waiters[0].doubted_at is not None:
        assert time.monotonic() < until
    assert two.unlock("a", STATE) == 200
    assert answer(again)[0] == 200
    assert [waiter.ticket for waiter in look(url).waiters] == ["c"]
    assert two.unlock("b", STATE) == 200
    assert answer(second)[0] == 200


CONFIGURATION = """
terraform {{
  backend "http" {{
    address        = "http://127.0.0.1:{port}/state/{state}"
    lock_address   = "http://127.0.0.1:{port}/state/{state}"
    unlock_address = "http://127.0.0.1:{port}/state/{state}"
    username       = "terraform"
  }}
}}
resource "terraform_data" "long" {{
  count = 3
  provisioner "local-exec" {{
    command = "touch '{folder}/begun'; until [ -e '{folder}/go-on' ]; do sleep 0.1; done"
  }}
}}
"""


@pytest.mark.slow
@pytest.mark.promise("P2", "P3", "P9")
def test_a_rolling_restart_is_not_noticed_by_a_plain_terraform_that_works_or_waits(
    start: Start, url: str, tmp_path: Path
) -> None:
    with balancing() as balancer:
        replicas = [start(), start()]
        balancer.backends = [replica.port for replica in replicas]
        works, waits = (_module(tmp_path / name, balancer.port) for name in ("works", "waits"))
        applying = _terraform(works, "apply", "-auto-approve", "-input=false")
        _await_file(works / "begun")
        waiting = _terraform(waits, "apply", "-auto-approve", "-input=false", "-lock-timeout=5m")
        until = time.monotonic() + STEP_S
        while len(look(url).waiters) != 1:
            assert time.monotonic() < until
            time.sleep(0.05)
        for number in range(2):  # each is replaced by a new one while the other serves
            balancer.backends = [replicas[1 - number].port]
            assert replicas[number].end() == 0
            replicas[number] = start()
            balancer.backends = [replica.port for replica in replicas]
            time.sleep(3)  # for who was sent away to come back
        (works / "go-on").touch()
        (waits / "go-on").touch()
        for process in (applying, waiting):
            said, _ = process.communicate(timeout=STEP_S)
            assert process.returncode == 0, said.decode()
        assert look(url).holders == ()


def _module(folder: Path, port: int) -> Path:
    folder.mkdir()
    (folder / "main.tf").write_text(CONFIGURATION.format(port=port, state=STATE, folder=folder))
    init = _terraform(folder, "init", "-input=false")
    said, _ = init.communicate(timeout=STEP_S)
    assert init.returncode == 0, said.decode()
    return folder


def _terraform(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    import os

    return subprocess.Popen(
        ["terraform", *words],
        cwd=folder,
        env={**os.environ, "TF_HTTP_PASSWORD": TOKEN, "TF_IN_AUTOMATION": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _await_file(path: Path) -> None:
    until = time.monotonic() + STEP_S
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_readiness_is_told_to_all_and_numbers_to_who_has_a_token(start: Start) -> None:
    import urllib.request

    one = start()
    for path, wanted in (("/readyz", b"ready"), ("/metrics", b"interlock_listen_gap_seconds_total")):
        request = urllib.request.Request(f"{one.said['address']}{path}")
        if path == "/metrics":
            request.add_header("Authorization", AUTH)
        with urllib.request.urlopen(request, timeout=STEP_S) as response:
            assert wanted in response.read()


def test_the_address_is_told_in_json_and_nothing_of_a_password(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.url.replace("interlock@", "interlock:hunter2@") + "&schema=told"
    one = Replica(url, tmp_path / "home")
    assert one.said["address"] == f"http://127.0.0.1:{one.port}"
    assert "hunter2" not in str(one.said)
    assert one.said["token"] == "INTERLOCK_TOKEN"
    assert answer(send(one.port, "GET", STATE))[0] == 204
    assert one.end() == 0
