from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from tests.unit.server.identity.test_deciding import rule_of

from interlock.audit.log import AuditLog
from interlock.coordinator.local import LocalCoordinator
from interlock.errors import AuthenticationFailed
from interlock.ids import RandomIds
from interlock.lock import Requested
from interlock.rights import Binding, Role, Token
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.server.identity.exchange import Exchange
from interlock.server.identity.issuer_keys import IssuerKeys
from interlock.server.identity.platforms import Platform
from interlock.server.identity.records import SeenTokens, TrustBook
from interlock.server.identity.renewing import RenewedTokens
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock

STATE = "prod/routing"


class Site:
    def __init__(self) -> None:
        self.clock, ids = FakeClock(), RandomIds()
        self.records = MemoryRecords(clock=self.clock)
        self.book = TokenBook(self.records, self.clock, ids)
        self.trust = TrustBook(self.records)
        self.coordinator = LocalCoordinator(self.records, self.clock, ids)
        exchange = Exchange(
            self.trust,
            self.book,
            SeenTokens(self.records),
            IssuerKeys(self.clock, cast("Any", None)),
            AuditLog(self.records, self.clock),
            clock=self.clock,
            ids=ids,
            audiences=(),
        )
        known = BookTokens(self.book, SingleToken("the-own-token-of-this-server"))
        self.tokens = RenewedTokens(known, exchange, self.coordinator, self.clock)

    async def job(self) -> tuple[Token, str]:
        binding = Binding(rule="r", job="github 74", until=self.clock.now() + timedelta(hours=6))
        lifetime = timedelta(minutes=15)
        token, text = await self.book.issue(Role.RUNNER, state=STATE, binding=binding, by="r", lifetime=lifetime)
        return token, text.whole()

    async def hold(self, who: str) -> None:
        asked = Requested(ticket="t1", run="0123456789abcdef", who=who, lease_s=60, patience_s=60)
        await self.coordinator.request(STATE, asked)


@pytest.fixture
async def site() -> Site:
    site = Site()
    await site.trust.add(rule_of(Platform.GITHUB))
    return site


@pytest.mark.promise("P9")
async def test_the_token_of_a_job_lasts_while_the_job_holds_its_state_and_no_longer_than_a_job_may(site: Site) -> None:
    token, text = await site.job()
    await site.hold(f"ci@runner as {token.who}")
    for _ in range(30):
        site.clock.pass_time(600)
        await site.tokens.identify("", text)
    site.clock.pass_time(4 * 3600)
    with pytest.raises(AuthenticationFailed):
        await site.tokens.identify("", text)


async def test_it_ends_within_a_quarter_of_an_hour_once_the_job_holds_nothing(site: Site) -> None:
    _, text = await site.job()
    await site.hold("another@host (0123456789ab)")
    for _ in range(2):
        site.clock.pass_time(449)
        await site.tokens.identify("", text)
    site.clock.pass_time(3)
    with pytest.raises(AuthenticationFailed):
        await site.tokens.identify("", text)


async def test_it_is_not_renewed_once_its_rule_is_gone(site: Site) -> None:
    token, text = await site.job()
    await site.hold(token.who)
    await site.trust.remove("r")
    site.clock.pass_time(600)
    await site.tokens.identify("", text)
    site.clock.pass_time(301)
    with pytest.raises(AuthenticationFailed):
        await site.tokens.identify("", text)


async def test_what_a_person_made_is_left_as_it_is(site: Site) -> None:
    _, text = await site.book.create(Role.RUNNER, by="ann", lifetime=timedelta(minutes=15))
    await site.hold("ann")
    site.clock.pass_time(600)
    await site.tokens.identify("", text.whole())
    site.clock.pass_time(301)
    with pytest.raises(AuthenticationFailed):
        await site.tokens.identify("", text.whole())
