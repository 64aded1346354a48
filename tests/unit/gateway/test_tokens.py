from __future__ import annotations

import asyncio
import json

import pytest

from interlock.gateway.oauth import Credentials, Secret, new_pool
from interlock.gateway.retries import Failure
from interlock.gateway.tokens import TokenKeeper
from interlock.gateway.upstream import Broken, Reply, Upstream, parse_base
from interlock.genesys import login_limit
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

LOCAL = parse_base("http://127.0.0.1:9", "the address")


class Login(Upstream):
    """A login service that answers as told, and hands out numbered tokens when told nothing."""

    def __init__(self, *answers: Reply | Broken) -> None:
        super().__init__(api=LOCAL, login=LOCAL)
        self.answers = list(answers)
        self.asked = 0

    async def mint(self, credentials: Credentials) -> Reply | Broken:  # noqa: ARG002 - the real one needs them
        self.asked += 1
        await asyncio.sleep(0)
        return self.answers.pop(0) if self.answers else token(f"t{self.asked}")


def token(value: str, life_s: int = 3600) -> Reply:
    body = json.dumps({"access_token": value, "token_type": "bearer", "expires_in": life_s})
    return Reply(status=200, headers=(), body=body.encode())


def keeper(login: Login, clock: FakeClock, slots: list[frozenset[int]]) -> TokenKeeper:
    return TokenKeeper(
        Credentials(client_id="id", secret=Secret("hush")),
        pool=new_pool(login_limit(), 3),
        upstream=login,
        clock=clock,
        ids=CountingIds(),
        changed=slots.append,
    )


async def test_the_first_token_comes_unasked_and_is_announced() -> None:
    slots: list[frozenset[int]] = []
    tokens = keeper(Login(), FakeClock(), slots)
    tokens.open()
    await tokens.wait_settled(5.0)
    await asyncio.sleep(0)
    assert tokens.bearer(0) == ("t1", 1)
    assert slots[-1] == {0}
    await tokens.aclose()


async def test_a_refused_client_is_known_after_the_first_answer() -> None:
    refusal = Reply(status=401, headers=(), body=b'{"error":"invalid_client"}')
    tokens = keeper(Login(refusal), FakeClock(), [])
    tokens.open()
    await tokens.wait_settled(5.0)
    assert tokens.pool.refused
    assert tokens.bearer(0) is None
    assert "hush" not in repr(tokens.pool)
    await tokens.aclose()


async def test_an_unreachable_login_service_is_no_refusal() -> None:
    tokens = keeper(Login(Broken(failure=Failure.UNSENT, why="no route")), FakeClock(), [])
    tokens.open()
    await tokens.wait_settled(0.1)
    assert not tokens.pool.refused
    assert tokens.pool.fault
    await tokens.aclose()


async def test_a_rejected_token_is_not_used_again() -> None:
    slots: list[frozenset[int]] = []
    tokens = keeper(Login(), FakeClock(), slots)
    tokens.open()
    await tokens.wait_settled(5.0)
    tokens.reject(0, 1)
    assert tokens.bearer(0) is None
    assert slots[-1] == frozenset()
    await tokens.aclose()


async def test_a_token_that_ended_meanwhile_is_not_handed_out() -> None:
    clock = FakeClock()
    tokens = keeper(Login(token("short", life_s=60)), clock, [])
    tokens.open()
    await tokens.wait_settled(5.0)
    await clock.advance(59.0)
    assert tokens.bearer(0) is None
    await tokens.aclose()


@pytest.mark.parametrize(
    "url", ["ftp://a", "http://", "http://a/b?c", "http://u:p@a", "http://a?x", "a", "http://a:99999"]
)
def test_an_upstream_is_a_scheme_a_host_and_a_port(url: str) -> None:
    from interlock.errors import UsageError

    with pytest.raises(UsageError):
        parse_base(url, "the address")


async def test_a_secret_that_was_rotated_is_read_again_and_tried_at_once() -> None:
    refusal = Reply(status=401, headers=(), body=b'{"error":"invalid_client"}')
    login = Login(refusal)
    tokens = keeper(login, FakeClock(), [])
    new = Credentials(client_id="id", secret=Secret("rotated"))

    async def reread() -> Credentials:
        return new

    tokens.reread = reread
    tokens.open()
    await tokens.wait_settled(5.0)
    assert tokens.bearer(0) is not None
    assert tokens.credentials is new
    assert (login.asked, tokens.pool.refused) == (2, False)
    await tokens.aclose()


async def test_a_secret_that_reads_the_same_again_stays_refused() -> None:
    refusal = Reply(status=401, headers=(), body=b'{"error":"invalid_client"}')
    tokens = keeper(Login(refusal), FakeClock(), [])

    async def reread() -> Credentials | None:
        return tokens.credentials

    tokens.reread = reread
    tokens.open()
    await tokens.wait_settled(5.0)
    assert tokens.pool.refused
    await tokens.aclose()
