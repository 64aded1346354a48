"""Many clients, several states and two real servers on one PostgreSQL, in the middle of their ends and pauses."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import itertools
import random
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from tests.balancer import Balancer, balancing
from tests.replicas import Replica, answer, lock_body, send, state_body
from tests.server_history import Turn, judge

from interlock.clock import SystemClock
from interlock.store.opening import open_store
from interlock.testing.postgres import PostgresServer, why_not

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

CLIENTS, STATES, TROUBLES = 20, 4, 6
PATIENCE_S = 240.0
PAUSE_S = 14.0  # longer than the silence after which a server is taken for gone
_BUSY = frozenset({423, 503})


class Client:
    """Takes turns at one state, as a patient Terraform does: it asks again until it is answered."""

    def __init__(self, port: int, name: str, state: str) -> None:
        self.turns: list[Turn] = []
        self._port, self._name, self._state = port, name, state

    def work(self, over: threading.Event) -> None:
        """Take turns until it is over."""
        for number in itertools.count():
            if over.is_set():
                return
            self.turns.append(self._turn(f"{self._name}-{number}"))

    def _turn(self, lock_id: str) -> Turn:
        status, _ = self._ask("LOCK", lock_body(lock_id), "?wait=20s")
        granted_s = time.monotonic()
        assert status == 200, (lock_id, status)
        status, body = self._ask("GET")
        read = _serial(body) if status == 200 else 0
        wanted = state_body(read + 1, self._state, lock_id)
        status, _ = self._ask("POST", wanted, f"?ID={lock_id}")
        released_s = time.monotonic()
        assert self._ask("UNLOCK", lock_body(lock_id))[0] == 200, lock_id
        return Turn(
            state=self._state,
            lock_id=lock_id,
            granted_s=granted_s,
            released_s=released_s,
            read=read,
            wrote=read + 1,
            digest=hashlib.sha256(wanted).hexdigest(),
            is_acknowledged=status == 200,
        )

    def _ask(self, method: str, body: bytes = b"", query: str = "") -> tuple[int, bytes]:
        """Ask until somebody answers; whatever is asked may be asked twice."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                status, said, _ = answer(send(self._port, method, self._state, body, query))
            except (OSError, http.client.HTTPException):
                status, said = 503, b""
            if status not in _BUSY or (method == "POST" and status == 423):
                return status, said
            assert time.monotonic() < until_s, (method, self._state, status, said)
            time.sleep(0.2)


def _serial(body: bytes) -> int:
    import json

    return int(json.loads(body)["serial"])


def _trouble(url: str, folder: Path, balancer: Balancer, replicas: list[Replica]) -> None:
    """Kill one server, pause the other beyond its lease, end one in order, and so on."""
    chance = random.Random(20261130)
    for count in range(TROUBLES):
        time.sleep(chance.uniform(1.0, 2.5))  # how long the clients work undisturbed
        number, how = count % 2, ("kill", "pause", "end")[count % 3]
        if how == "pause":
            replicas[number].process.send_signal(signal.SIGSTOP)
            time.sleep(PAUSE_S)
            replicas[number].process.send_signal(signal.SIGCONT)
        else:
            replicas[number].end(signal.SIGKILL if how == "kill" else signal.SIGTERM)
            replicas[number] = Replica(url, folder / f"again{count}")
            balancer.backends = [replica.port for replica in replicas]


async def _stored(postgres: PostgresServer, schema: str) -> frozenset[str]:
    """Return the digests of all states that are in the database, whoever refers to them."""
    with psycopg.connect(postgres.url) as connection:
        rows = connection.execute(f"SELECT digest FROM {schema}.blobs").fetchall()  # noqa: S608 - made here
    store = await open_store(f"{postgres.url}&schema={schema}", clock=SystemClock())
    blobs = [await store.blobs.get(digest) for (digest,) in rows]
    await store.close()
    bodies = [blob[blob.index(b'{"version": 4') :] for blob in blobs if b'{"version": 4' in blob]
    return frozenset(hashlib.sha256(body).hexdigest() for body in bodies)


@pytest.mark.slow
@pytest.mark.promise("P1", "P3", "P4")
def test_many_clients_of_two_servers_that_are_killed_paused_and_restarted_lose_nothing(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    schema = f"s{uuid.uuid4().hex[:12]}"
    url = f"{postgres.url}&schema={schema}"
    replicas = [Replica(url, tmp_path / f"home{number}") for number in range(2)]
    over = threading.Event()
    try:
        with balancing() as balancer, ThreadPoolExecutor(CLIENTS) as threads:
            balancer.backends = [replica.port for replica in replicas]
            clients = [Client(balancer.port, f"c{n}", f"team/{n % STATES}") for n in range(CLIENTS)]
            working = [threads.submit(client.work, over) for client in clients]
            try:
                _trouble(url, tmp_path, balancer, replicas)
            finally:
                over.set()
            for each in working:
                each.result(2 * PATIENCE_S)
        finals = {f"team/{n}": _serial(replicas[0].ask("GET", f"team/{n}")[1]) for n in range(STATES)}
    finally:
        for replica in replicas:
            replica.process.send_signal(signal.SIGCONT)
            replica.end(signal.SIGKILL)
    stored = asyncio.run(_stored(postgres, schema))
    turns = [turn for client in clients for turn in client.turns]
    assert len(turns) >= CLIENTS
    broken = judge(turns, finals=finals, stored=stored)
    assert not broken, "\n".join(broken)
