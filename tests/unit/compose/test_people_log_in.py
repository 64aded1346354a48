"""A person with a command line and a browser, a provider on loopback that keeps to the protocol, and a real server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.identity_issuer import CLIENT, PERSON, Issuer, identity_issuer, rsa_key

from interlock.backend.asgi import Service
from interlock.backend.serving import serving
from interlock.compose.browser_login import browser_login
from interlock.compose.device_login import Code, device_login
from interlock.compose.gateways import open_doors
from interlock.compose.provider import Given
from interlock.compose.serving import open_exchange, server_app
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError
from interlock.home.embedded import EmbeddedHome, open_home
from interlock.ids import RandomIds
from interlock.listening.strangers import ForBrowsers
from interlock.rights import Right, Role, parse_token
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.rights.token import Forbidden
from interlock.server.identity.platforms import Platform
from interlock.server.identity.records import TrustBook
from interlock.server.identity.rules import Issuer as TrustedIssuer
from interlock.server.identity.rules import TrustRule
from interlock.server.tfe.login import CALLBACKS, PAGES
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

    async def login(self, **more: Any) -> Given:
        return await device_login(self.url, self.told.append, clock=self.clock, **more)

    async def in_browser(
        self, browser: Callable[[str], Coroutine[Any, Any, object]] | None = None, **more: Any
    ) -> Given:
        """Log in with a browser that opens the page that is told; by default one that only follows redirects."""
        opened: list[asyncio.Task[object]] = []

        def tell(page: str) -> None:
            opened.append(asyncio.create_task((browser or visit)(page)))

        try:
            return await browser_login(self.url, tell, ids=RandomIds(), **more)
        finally:
            await asyncio.gather(*opened)


async def visit(page: str) -> tuple[int, str]:
    """Open a page as a browser does that a provider sends on."""
    request = urllib.request.Request(page, headers={"Sec-Fetch-Site": "cross-site", "Referer": page})

    def open_it() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(open_it)


@pytest.fixture
def provider() -> Iterator[Issuer]:
    with identity_issuer() as running:
        yield running


@pytest.fixture
async def site(provider: Issuer, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_home(Settings(home=tmp_path), store="memory:") as home, open_doors(home) as doors:
        tokens = BookTokens(TokenBook(home.store.records, home.clock, home.ids), SingleToken("the-own-token-of-it"))
        app = server_app(home, Service(home.ids), tokens, doors, open_exchange(home, []), is_https=False)
        browsers = ForBrowsers(pages=PAGES, callbacks=CALLBACKS)
        async with serving(app, host="127.0.0.1", port=0, browsers=browsers) as (_, port):
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
    assert refused.value.fix.startswith(f"interlock login {site.url} ")
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
        assert refused.value.fix.startswith(f"interlock login {site.url} --device --issuer http")
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


@pytest.mark.promise("P10")
async def test_a_person_logs_in_with_the_browser_of_their_machine(site: Site) -> None:
    await site.trusting()
    seen: list[tuple[str, tuple[int, str]]] = []

    async def browser(page: str) -> None:
        seen.append((page, await visit(page)))

    given = await site.in_browser(browser)
    assert (given.role, given.states) == ("operator", "prod/*")
    assert site.provider.people.wrong == []
    ((page, (status, text)),) = seen
    assert (status, text) == (200, "Go back to the terminal. You may close this page.\n")
    asked = parse_qs(urlsplit(page).query)
    assert asked["tenant"] == ["ours"], "what the provider's address has itself stays"
    assert "code_verifier" not in asked
    back = urlsplit(asked["redirect_uri"][0])
    assert (back.hostname, back.path) == ("127.0.0.1", "/callback")
    with pytest.raises(urllib.error.URLError):
        await visit(back.geturl())


@pytest.mark.promise("P10")
async def test_an_answer_that_is_not_to_this_login_is_refused_and_the_login_goes_on(site: Site) -> None:
    await site.trusting()
    told: list[int] = []

    async def browser(page: str) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(page).query).items()}
        back, state = asked["redirect_uri"], asked["state"]
        answers = (
            {"code": "x"},
            {"code": "x", "state": "guessed"},
            {"code": "x", "state": state, "iss": "https://evil.example"},
            {"code": "x", "state": state + "\u00e9"},
        )
        pages = [*(f"{back}?{urlencode(answer)}" for answer in answers), f"{back}/other", page]
        told.extend([(await visit(each))[0] for each in pages])

    assert (await site.in_browser(browser)).role == "operator"
    assert told == [400, 400, 400, 400, 404, 200]


@pytest.mark.parametrize(
    ("back", "forged", "word"),
    [
        ({"code": "", "error": "access_denied", "error_description": "no"}, {}, "access_denied: no"),
        ({"code": "another"}, {}, "invalid_grant"),
        ({}, {"nonce": "another"}, "not that of this login"),
        ({}, {"nonce": 7}, "not that of this login"),
    ],
)
async def test_a_login_in_the_browser_that_does_not_come_about_says_why(
    site: Site, back: dict[str, str], forged: dict[str, Any], word: str
) -> None:
    await site.trusting()
    site.provider.people.back = back
    site.provider.people.forged = forged
    with pytest.raises(AuthenticationFailed) as refused:
        await site.in_browser()
    assert word in str(refused.value)


async def test_nobody_is_waited_for_longer_than_the_login_lasts(site: Site) -> None:
    async def nobody(_page: str) -> None:
        return

    await site.trusting()
    with pytest.raises(AuthenticationFailed) as refused:
        await site.in_browser(nobody, wait_s=0.05, redirect="http://localhost/back")
    assert refused.value.fix == f"interlock login {site.url} --browser --redirect http://localhost/back"
    assert "in time" in str(refused.value)


@pytest.mark.parametrize(
    "redirect",
    [
        "https://127.0.0.1/callback",
        "http://evil.example/callback",
        "http://127.0.0.1/c?x=1",
        "http://u:p@127.0.0.1/c",
        "http://127.8.8.8/c",
        "x",
    ],
)
async def test_a_browser_is_sent_to_this_machine_alone(site: Site, redirect: str) -> None:
    await site.trusting()
    with pytest.raises(UsageError) as refused:
        await site.in_browser(redirect=redirect)
    assert "--redirect" in str(refused.value)
    assert refused.value.fix == f"interlock login {site.url} --browser"
    assert (await site.in_browser(redirect="http://localhost")).role == "operator"


async def test_a_provider_without_a_safe_login_in_the_browser_is_not_used(site: Site) -> None:
    await site.trusting()
    good = dict(site.provider.discovery)
    for change, error in (
        ({"authorization_endpoint": None}, UsageError),
        ({"code_challenge_methods_supported": ["plain"]}, UsageError),
        ({"code_challenge_methods_supported": "S256"}, UsageError),
        ({"authorization_endpoint": "http://evil.example/authorize"}, BackendUnavailable),
    ):
        site.provider.discovery = {**good, **change}
        with pytest.raises(error):
            await site.in_browser()


async def test_a_port_that_somebody_has_is_named_with_the_command_to_repeat(site: Site) -> None:
    await site.trusting()
    taken = f"http://127.0.0.1:{urlsplit(site.url).port}/callback"
    with pytest.raises(UsageError) as refused:
        await site.in_browser(redirect=taken)
    assert "is not free" in str(refused.value)
    assert refused.value.fix == f"interlock login {site.url} --browser --redirect {taken}    once it is"


class Jar:
    """A browser that keeps cookies, opens what Terraform names, and follows each redirect but that to Terraform."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    async def open(self, address: str, **headers: str) -> tuple[int, str, str]:
        """Return the status, the text, and where it is sent on."""
        return await asyncio.to_thread(self._open, address, headers)

    def _open(self, address: str, headers: dict[str, str]) -> tuple[int, str, str]:
        parts = urlsplit(address)
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        connection = HTTPConnection(parts.netloc, timeout=10)
        connection.request("GET", f"{parts.path}?{parts.query}", headers={**cookies, **headers})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        for each in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = each.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, text, answer.headers.get("Location", "")


VERIFIER = "7f9a4e0e-9a2b-4a07-8f6e-2f6f7a3d9c10.123456789"
TERRAFORM = {
    "client_id": "terraform-cli",
    "response_type": "code",
    "redirect_uri": "http://localhost:10003/login",
    "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("="),
    "code_challenge_method": "S256",
    "state": "its-own",
}
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
OTHER_SITE = {"Sec-Fetch-Site": "cross-site"}


async def at_provider(site: Site, browser: Jar) -> str:
    """Open the page of `terraform login`, follow its link; return where the provider sends the browser then."""
    status, text, _ = await browser.open(f"{site.url}/login/terraform?{urlencode(TERRAFORM)}")
    assert status == 200, text
    link = re.search(r'<a href="([^"]+)"', text)
    assert link is not None, text
    status, _, to = await browser.open(site.url + html.unescape(link[1]), **OWN_PAGE)
    assert (status, urlsplit(to).netloc) == (303, urlsplit(site.provider.url).netloc)
    status, _, back = await browser.open(to, **OTHER_SITE)
    assert (status, back.startswith(f"{site.url}/login/terraform/back?")) == (302, True)
    return back


async def taken(site: Site, code: str) -> dict[str, str]:
    """Return what Terraform gets for its code."""
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    data = urlencode({**form, "redirect_uri": TERRAFORM["redirect_uri"]}).encode()

    def ask() -> dict[str, str]:
        with urllib.request.urlopen(f"{site.url}/login/terraform/token", data, timeout=10) as answer:
            told: dict[str, str] = json.loads(answer.read())
            return told

    return await asyncio.to_thread(ask)


@pytest.mark.promise("P10")
async def test_terraform_login_leads_to_the_provider_and_gives_a_token_with_the_rights_of_the_person(
    site: Site,
) -> None:
    await site.trusting(Role.RUNNER)
    browser = Jar()
    status, text, to = await browser.open(await at_provider(site, browser), **OTHER_SITE)
    assert status == 303, text
    assert to.startswith(TERRAFORM["redirect_uri"])
    said = parse_qs(urlsplit(to).query)
    assert said["state"] == ["its-own"]
    token = (await taken(site, said["code"][0]))["access_token"]
    shown = parse_token(token)
    assert shown is not None
    found = await TokenBook(site.home.store.records, site.home.clock, RandomIds()).identify(shown)
    assert (found.role, found.states) == (Role.RUNNER, "prod/*")
    assert not any(browser.cookies.values()), "it is of no use any more"
    assert site.provider.people.wrong == []


@pytest.mark.promise("P10")
async def test_an_answer_of_a_provider_is_taken_from_the_browser_that_asked_and_from_no_other(site: Site) -> None:
    await site.trusting()
    browser, other = Jar(), Jar()
    back = await at_provider(site, browser)
    forged = back.replace("state=", "state=x")
    elsewhere = f"{back.partition('&iss=')[0]}&iss=https%3A%2F%2Fevil.example"
    for who, address in ((other, back), (browser, forged), (browser, elsewhere)):
        status, text, to = await who.open(address, **OTHER_SITE)
        assert (status, to) == (400, ""), text
        assert "not the answer to a login that is under way" in text
        assert "terraform login" in text
    site.provider.people.forged["nonce"] = "another"
    status, text, to = await browser.open(back, **OTHER_SITE)
    assert (status, to) == (401, ""), text
    audited = [entry.action for entry in await site.home.audit.entries()]
    assert "token-exchanged" not in audited


async def test_terraform_login_of_somebody_without_a_rule_or_who_says_no_ends_with_that_reason(site: Site) -> None:
    await site.trusting(groups="others")
    browser = Jar()
    status, text, to = await browser.open(await at_provider(site, browser), **OTHER_SITE)
    assert (status, to) == (403, ""), text
    assert "no trust rule" in text
    back = await at_provider(site, browser)
    denied = re.sub(r"code=[^&]+", "error=access_denied", back)
    status, text, to = await browser.open(denied, **OTHER_SITE)
    assert (status, to, "access_denied" in text) == (401, "", True), text


@pytest.mark.promise("P10")
async def test_no_other_site_sends_a_browser_to_a_provider_for_terraform_and_no_other_provider_is_asked(
    site: Site,
) -> None:
    plain = await Jar().open(f"{site.url}/login/terraform?{urlencode(TERRAFORM)}")
    assert "<a " not in plain[1], "without a provider the page is as it was"
    await site.trusting()
    link = f"{site.url}/login/terraform/provider?{urlencode({**TERRAFORM, 'issuer': site.provider.url})}"
    assert (await Jar().open(link, **OTHER_SITE))[0] != 303
    assert (await Jar().open(link, **OWN_PAGE))[0] == 303
    # A link in a message says `none`, and a browser says nothing to a server in clear: the warning is shown first.
    for said in ({"Sec-Fetch-Site": "none"}, {}):
        status, _, to = await Jar().open(link, **said)
        assert (status, to) == (303, f"/login/terraform?{urlencode(TERRAFORM)}")
    assert urlsplit((await Jar().open(link, Referer=f"{site.url}/login/terraform?x"))[2]).path != "/login/terraform"
    for changed in ({"issuer": "https://evil.example"}, {"redirect_uri": "https://evil.example/login"}):
        status, text, _ = await Jar().open(
            f"{site.url}/login/terraform/provider?" + urlencode({**TERRAFORM, "issuer": site.provider.url, **changed}),
            **OWN_PAGE,
        )
        assert status == 400, text
