"""Identity tokens are taken once and rules are kept, on each store that a server may have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import AuthenticationFailed, UsageError
from interlock.ids import RandomIds
from interlock.rights import Binding, Role
from interlock.rights.book import TokenBook
from interlock.server.identity.platforms import Platform
from interlock.server.identity.records import SeenTokens, TrustBook
from interlock.server.identity.rules import Issuer, TrustRule
from interlock.store.opening import Store, open_store
from interlock.testing.postgres import PostgresServer, why_not

POSTGRES = pytest.param("postgres", marks=pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"))
RULE = TrustRule(
    name="prod",
    platform=Platform.GITHUB,
    issuer=Issuer(url="https://token.actions.githubusercontent.com"),
    claims={"repository_id": ("74",), "ref": ("refs/heads/main", "refs/heads/release")},
    role=Role.RUNNER,
    states="prod/*",
)


@pytest.fixture(params=["sqlite", POSTGRES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'server.db'}"
    postgres: PostgresServer = request.getfixturevalue("postgres")
    return f"{postgres.url}&schema=identity"


@pytest.fixture
async def replicas(url: str) -> AsyncIterator[tuple[Store, Store]]:
    here, there = await open_store(url, clock=SystemClock()), await open_store(url, clock=SystemClock())
    yield here, there
    await here.close()
    await there.close()


@pytest.mark.promise("P10")
async def test_one_of_all_who_show_a_token_at_once_has_it(replicas: tuple[Store, Store]) -> None:
    ends_s = replicas[0].clock.now().timestamp() + 300
    takers = [SeenTokens(store.records) for store in replicas * 4]
    taken = await asyncio.gather(*(taker.take("d1", ends_s=ends_s, by=str(n)) for n, taker in enumerate(takers)))
    assert sorted(taken) == [False] * 7 + [True]
    winner = str(taken.index(True))
    assert await takers[0].take("d1", ends_s=ends_s, by=winner), "an attempt whose answer was lost knows itself"
    assert await takers[1].take("d2", ends_s=ends_s, by="x")
    await takers[0].forget(ends_s + 1)
    assert not await takers[1].take("d1", ends_s=ends_s, by="y"), "remembered until clocks cannot disagree any more"
    await takers[0].forget(ends_s + 100)
    assert await replicas[1].records.list("trust/seen/") == []


async def test_rules_are_kept_once_and_one_issuer_has_one_set_of_keys(replicas: tuple[Store, Store]) -> None:
    here, there = (TrustBook(store.records) for store in replicas)
    await here.add(RULE)
    assert (await there.all()).rules == (RULE,)
    import msgspec

    again = msgspec.structs.replace(RULE, made_by="ben", made_at=replicas[0].clock.now())
    assert await there.add(again) == RULE, "asked twice, as when the answer was lost"
    with pytest.raises(UsageError):
        await there.add(msgspec.structs.replace(RULE, states="**"))
    other = msgspec.structs.replace(RULE, name="b", issuer=Issuer(url=RULE.issuer.url, algorithms=("ES256",)))
    with pytest.raises(UsageError):
        await there.add(other)
    await replicas[0].records.swap("trust/rule/broken", expected=None, value=b'{"name":"broken"}')
    loose = msgspec.structs.replace(RULE, name="loose", claims={"ref": ("refs/heads/main",)})
    await replicas[0].records.swap("trust/rule/loose", expected=None, value=msgspec.json.encode(loose))
    listed = await there.all()
    assert ([rule.name for rule in listed.rules], listed.unreadable) == (["prod"], ("broken", "loose"))
    await there.remove("prod")
    with pytest.raises(UsageError):
        await here.remove("prod")


async def test_a_bound_token_is_renewed_within_its_bounds_and_no_other(replicas: tuple[Store, Store]) -> None:
    here, there = (TokenBook(store.records, store.clock, RandomIds()) for store in replicas)
    until = replicas[0].clock.now() + timedelta(minutes=20)
    binding = Binding(rule="prod", job="github repository_id 74", until=until, run="0123456789abcdef")
    token, text = await here.issue(
        Role.RUNNER, state="prod/routing", binding=binding, by="trust rule prod", lifetime=timedelta(minutes=15)
    )
    found = await there.identify(text)
    assert found.bound == binding
    found.check_run("0123456789abcdef")
    with pytest.raises(AuthenticationFailed):
        found.check_run("0123456789abcdeg")
    renewed = await there.renew(token, lifetime=timedelta(hours=3))
    assert renewed.expires_at == until
    plain, _ = await here.create(Role.RUNNER, by="ann")
    with pytest.raises(AuthenticationFailed):
        await here.renew(plain, lifetime=timedelta(hours=3))
    await here.revoke(token.id)
    with pytest.raises(AuthenticationFailed):
        await there.renew(token, lifetime=timedelta(minutes=15))
