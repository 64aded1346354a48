import threading
from collections.abc import Iterator

import pytest

from interlock.simulator import DEFAULT_CLIENT, FaultKind, FaultRule, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.pool import AuthError, Login, Pool
from interlock.simulator.provider.sdk import Pace, Patience, Upstream
from interlock.simulator.provider.wire import Endpoint

PACE = Pace(speed=1000.0, stopping=threading.Event())


@pytest.fixture
def served() -> Iterator[Served]:
    with serve_in_thread(Simulation()) as running:
        yield running


def pool(served: Served, size: int = 4, secret: str = DEFAULT_CLIENT.secret, pace: Pace = PACE) -> Pool:
    endpoint = Endpoint(scheme="http", host=served.host, port=served.port)
    upstream = Upstream(api=endpoint, login=endpoint)
    return Pool(upstream, Login(upstream, DEFAULT_CLIENT.id, secret, pace=pace), size=size, pace=pace)


def test_filling_mints_one_token_and_the_pool(served: Served) -> None:
    pool(served).fill()
    assert served.simulation.login.granted == 5


def test_each_client_of_the_pool_has_a_token_of_its_own(served: Served) -> None:
    filled = pool(served)
    filled.fill()
    with filled.client() as first, filled.client() as second:
        assert first.token != second.token
        assert first.call("GET", "/organizations/me")["defaultCountryCode"] == "US"


def test_the_login_limit_is_waited_out(served: Served) -> None:
    served.simulation.faults.replace([FaultRule(kind=FaultKind.LOGIN_LIMIT, times=4)])
    pool(served).fill()
    assert served.simulation.login.granted == 5


def test_at_a_speed_patience_ends_by_the_waits_that_were_made_and_not_by_a_busy_machines_clock() -> None:
    patience = Patience(Pace(speed=1e9, stopping=threading.Event()), 60.0)
    for _ in range(6):
        assert not patience.is_over
        patience.wait(10.0)
    assert patience.is_over


def test_any_other_refusal_is_fatal_and_names_no_secret(served: Served) -> None:
    with pytest.raises(AuthError, match=r"Auth Error: 401 - invalid_client") as failed:
        pool(served, secret="hunter2").fill()
    assert "hunter2" not in str(failed.value)


def test_a_missing_client_mints_one_more(served: Served) -> None:
    filled = pool(served, size=1)
    filled.fill()
    with filled.client() as first, filled.client() as second:
        assert first is not second
    assert served.simulation.login.granted == 3


def test_a_ready_made_token_is_shared_by_all_and_nothing_is_minted(served: Served) -> None:
    endpoint = Endpoint(scheme="http", host=served.host, port=served.port)
    shared = Pool(Upstream(api=endpoint, login=endpoint), None, size=2, pace=PACE)
    shared.fill("given")
    with shared.client() as first, shared.client() as second:
        assert (first.token, second.token) == ("given", "given")
    assert served.simulation.login.granted == 0


def test_a_token_is_renewed_before_it_expires(served: Served) -> None:
    served.simulation.login.set_life(60.2)  # due 0.2 s after the mint
    filled = pool(served, size=1)
    renewed = threading.Event()
    default = filled.fill()
    before = default.token
    served.simulation.login.set_life(86_400)
    for _ in range(100):
        if default.token != before:
            renewed.set()
            break
        threading.Event().wait(0.02)
    assert renewed.is_set()
