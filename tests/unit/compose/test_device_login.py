"""A person at a command line, a provider on loopback that keeps to the protocol, and a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.identity_issuer import CLIENT, PERSON, Issuer, identity_issuer, rsa_key

from interlock.backend.asgi import Service
from interlock.backend.serving import serving
from interlock.compose.device_login import Code, LoggedIn, device_login
from interlock.compose.gateways import open_doors
from interlock.compose.serving import open_exchange, server_app
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError
from interlock.home.embedded import EmbeddedHome, open_home
from interlock.rights import Right, Role, parse_token
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.rights.token import Forbidden
from interlock.server.identity.platforms import Platform
from interlock.server.identity.records import TrustBook
from interlock.server.identity.rules import Issuer as TrustedIssuer
from interlock.server.identity.rules import TrustRule
from interlock.settings.values import Settings
from interlock.testing.clock import FakeClock


class Quick(FakeClock):
    """Time passes at once for whoever sleeps; network does not wait for it."""

    async def sleep(self, wait_s: float) -> None:
        self.pass_time(wait_s)


@dataclass
class Site:
    provider: Issuer
    home: EmbeddedHome
    url: str
    clock: Quick = field(default_factory=Quick)
    told: list[Code] = field(default_factory=list)

    async def trusting(self, role: Role = Role.OPERATOR, rule_name: str = "ops", /, **claims: str) -> None:
        rule = TrustRule(
            name=rule_name,
            platform=Platform.PERSON,
            issuer=TrustedIssuer(url=self.provider.url, audience=CLIENT),
            claims={key: (value,) for key, value in (claims or {"groups": "operators"}).items()},
            role=role,
            states="prod/*",
        )
        await TrustBook(self.home.store.records).add(rule)

    async def login(self, **more: Any) -> LoggedIn:
        return await device_login(self.url, self.told.append, clock=self.clock, **more)


@pytest.fixture
def provider() -> Iterator[Issuer]:
    with identity_issuer() as running:
        yield running


@pytest.fixture
async def site(provider: Issuer, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_home(Settings(home=tmp_path), store="memory:") as home, open_doors(home) as doors:
        tokens = BookTokens(TokenBook(home.store.records, home.clock, home.ids), SingleToken("the-own-token-of-it"))
        app = server_app(home, Service(home.ids), tokens, doors, open_exchange(home, []), is_https=False)
        async with serving(app, host="127.0.0.1", port=0) as (_, port):
            site = Site(provider, home, f"http://127.0.0.1:{port}")
            real = provider.people.now_s
            provider.people.now_s = lambda: real() + site.clock.monotonic()  # as the person's clock goes
            yield site


@pytest.mark.promise("P10")
async def test_a_person_logs_in_with_a_code_and_gets_what_the_rules_say(site: Site) -> None:
    await site.trusting()
    site.provider.people.says = ["authorization_pending", "slow_down", "authorization_pending"]
    given = await site.login()
    assert (site.told[0].code, site.told[0].page) == ("WDJB-MJHT", "https://provider.example/device")
    assert site.provider.people.wrong == [], "asked as often as the provider likes, and each code once"
    assert site.clock.monotonic() == 5 + 5 + 10 + 10
    assert (given.role, given.states, given.expires_in) == ("operator", "prod/*", 43_200)
    shown = parse_token(given.token)
    assert shown is not None
    token = await TokenBook(site.home.store.records, site.home.clock, site.home.ids).identify(shown)
    token.check(Right.FORCE_UNLOCK, "prod/routing")
    assert "ann" in token.who
    assert str(PERSON["sub"]) in token.who
    (entry,) = await site.home.audit.entries()
    assert (entry.action, entry.subject) == ("token-exchanged", "prod/*")
    assert given.token not in repr(given)


@pytest.mark.parametrize(
    ("says", "error", "word"),
    [
        (["access_denied"], AuthenticationFailed, "refused"),
        (["expired_token"], AuthenticationFailed, "in time"),
        (["invalid_grant"], AuthenticationFailed, "as it was told to"),
        (["authorization_pending"] * 200, AuthenticationFailed, "in time"),
    ],
)
async def test_a_login_that_does_not_come_about_ends_and_says_why(
    site: Site, says: list[str], error: type[InterlockError], word: str
) -> None:
    await site.trusting()
    site.provider.people.says = says
    with pytest.raises(error) as refused:
        await site.login()
    assert word in str(refused.value)
    assert site.clock.monotonic() <= 605
    assert site.provider.people.wrong == []


async def test_a_person_without_a_rule_and_a_token_of_another_client_get_nothing(site: Site) -> None:
    await site.trusting()
    site.provider.people.person = {**PERSON, "groups": ["staff"]}
    with pytest.raises(Forbidden):
        await site.login()
    for said in ({"aud": "another"}, {"aud": [CLIENT, "x"], "azp": "x"}, {"sub": "u", "groups": None}):
        site.provider.people.person = {**PERSON, **said}
        with pytest.raises(AuthenticationFailed):
            await site.login()
    site.provider.people.person = dict(PERSON)
    site.provider.key = rsa_key(1)
    with pytest.raises(AuthenticationFailed):
        await site.login()
    site.provider.key = rsa_key()
    await site.login()


async def test_rules_for_people_name_what_lasts_and_who_their_client_is(site: Site) -> None:
    for claim in ("email", "preferred_username", "name", "upn", "aud"):
        with pytest.raises(UsageError):
            await site.trusting(Role.READER, "r", **{claim: "ann@example.com"})
    await site.trusting(sub="u-1017")
    assert (await site.login()).role == "operator"


async def test_a_server_without_a_provider_or_with_several_says_so(site: Site) -> None:
    with pytest.raises(UsageError) as refused:
        await site.login()
    assert "no login for people" in str(refused.value)
    await site.trusting()
    with identity_issuer() as other:
        rule = TrustRule(
            name="b",
            platform=Platform.PERSON,
            issuer=TrustedIssuer(url=other.url, audience=CLIENT),
            claims={"groups": ("operators",)},
            role=Role.READER,
            states="**",
        )
        await TrustBook(site.home.store.records).add(rule)
        with pytest.raises(UsageError) as refused:
            await site.login()
        assert other.url in str(refused.value)
        assert (await site.login(issuer=site.provider.url)).role == "operator"


async def test_a_provider_that_leads_elsewhere_or_answers_nonsense_is_refused(site: Site) -> None:
    await site.trusting()
    good = dict(site.provider.discovery)
    for change in (
        {"issuer": "https://evil.example"},
        {"device_authorization_endpoint": "http://evil.example/device"},
        {"device_authorization_endpoint": 7},
        {"token_endpoint": "http://evil.example/token"},
        {"token_endpoint": None},
    ):
        site.provider.discovery = {**good, **change}
        with pytest.raises(BackendUnavailable):
            await site.login()
    site.provider.discovery = {**good, "device_authorization_endpoint": None}
    with pytest.raises(UsageError):
        await site.login()
    site.provider.discovery = good
    for answer in (
        b"",
        b"[]",
        b"{",
        b'{"device_code":7}',
        b'{"device_code":"a","user_code":"b","verification_uri":"javascript:x"}',
    ):
        site.provider.answer = None
        real = site.provider.people.answer
        site.provider.people.answer = lambda *_, _answer=answer: (200, _read(_answer))  # type: ignore[method-assign]
        with pytest.raises((AuthenticationFailed, BackendUnavailable)):
            await site.login()
        site.provider.people.answer = real  # type: ignore[method-assign]


def _read(answer: bytes) -> Any:
    import json

    try:
        return json.loads(answer)
    except ValueError:
        return {}
