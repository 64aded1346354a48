import http.client
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic

import pytest

from interlock.errors import BackendUnavailable
from interlock.simulator import DEFAULT_CLIENT, FaultKind, FaultRule, Simulation
from interlock.simulator.asgi import Served, serve, serve_in_thread


class ImpatientClock:
    """Real, but never sleeps; remembers how long it should have."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()

    async def sleep(self, wait_s: float) -> None:
        self.slept_s.append(wait_s)


@pytest.fixture
def clock() -> ImpatientClock:
    return ImpatientClock()


@pytest.fixture
def served(clock: ImpatientClock) -> Iterator[Served]:
    with serve_in_thread(Simulation(), clock=clock) as running:
        yield running


def call(
    served: Served, method: str, path: str, body: bytes = b"", token: str = ""
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(served.host, served.port, timeout=60)
    connection.request(method, path, body, {"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    return answer.status, raw, {name.lower(): value for name, value in answer.getheaders()}


def login(served: Served) -> str:
    form = f"grant_type=client_credentials&client_id={DEFAULT_CLIENT.id}&client_secret={DEFAULT_CLIENT.secret}"
    return str(json.loads(call(served, "POST", "/oauth/token", form.encode())[1])["access_token"])


def test_the_organisation_is_served_over_http(served: Served) -> None:
    token = login(served)
    status, raw, headers = call(served, "POST", "/api/v2/routing/skills", b'{"name": "Billing"}', token)
    assert (status, headers["content-type"]) == (200, "application/json")
    skill = json.loads(raw)["id"]
    assert call(served, "DELETE", f"/api/v2/routing/skills/{skill}", token=token)[:2] == (204, b"")
    found = call(served, "GET", "/api/v2/routing/skills?name=Billing%20x&pageSize=25", token=token)
    assert json.loads(found[1])["total"] == 0


async def test_it_is_served_in_the_running_loop_and_ends_with_the_block() -> None:
    async with serve(Simulation()) as running:
        assert running.url == f"http://127.0.0.1:{running.port}"
        with socket.create_connection((running.host, running.port), timeout=60):
            pass
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((running.host, running.port), timeout=60)


def test_a_port_that_is_taken_is_said_so(served: Served) -> None:
    with pytest.raises(BackendUnavailable) as failed, serve_in_thread(Simulation(), port=served.port):
        pass
    assert str(served.port) in failed.value.what


def test_a_reset_fault_cuts_the_connection(served: Served) -> None:
    token = login(served)
    served.simulation.faults.replace([FaultRule(kind=FaultKind.LOST_REPLY, times=1)])
    with pytest.raises(ConnectionResetError):
        call(served, "POST", "/api/v2/routing/skills", b'{"name": "Billing"}', token)
    assert json.loads(call(served, "GET", "/api/v2/routing/skills", token=token)[1])["total"] == 1


def test_a_hang_waits_before_the_answer_and_a_drip_within_it(served: Served, clock: ImpatientClock) -> None:
    token = login(served)
    served.simulation.faults.replace(
        [FaultRule(kind=FaultKind.HANG, seconds=20.0, times=1), FaultRule(kind=FaultKind.DRIP, seconds=10.0, times=1)]
    )
    assert call(served, "GET", "/api/v2/organizations/me", token=token)[0] == 200
    assert clock.slept_s == [20.0]
    status, raw, _ = call(served, "GET", "/api/v2/organizations/me", token=token)
    assert (status, json.loads(raw)["defaultCountryCode"]) == (200, "US")
    assert clock.slept_s[1:] == [1.0] * 10


def test_a_huge_body_is_refused_and_the_server_lives_on(served: Served) -> None:
    token = login(served)
    assert call(served, "POST", "/api/v2/routing/skills", b"x" * 20_000_000, token)[0] == 413
    assert call(served, "GET", "/api/v2/organizations/me", token=token)[0] == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /%ff%fe?%ff=%00&&&=== HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n",
        b"GET /_control/nothing HTTP/1.1\r\nConnection: close\r\n\r\n",
    ],
)
def test_hostile_bytes_get_a_4xx(served: Served, raw: bytes) -> None:
    with socket.create_connection((served.host, served.port), timeout=60) as connection:
        connection.sendall(raw)
        assert connection.recv(100).startswith(b"HTTP/1.1 4")


def test_many_clients_at_once_are_all_served(served: Served) -> None:
    token = login(served)
    statuses: list[int] = []

    def work() -> None:
        statuses.extend(call(served, "GET", "/api/v2/organizations/me", token=token)[0] for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 80
