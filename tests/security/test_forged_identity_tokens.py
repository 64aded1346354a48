"""Forged, stolen and repeated identity tokens at the exchange, each as an attacker would send it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from tests.identity_issuer import AUDIENCE, GITHUB, Issuer, identity_issuer, jwk, pem, rsa_key

from interlock.audit.log import AuditLog
from interlock.ids import RandomIds
from interlock.rights import Role, parse_token
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.server.api.serving import api_routes
from interlock.server.identity.endpoints import IdentityApi, identity_endpoints
from interlock.server.identity.exchange import GRANT_TYPE, Exchange
from interlock.server.identity.issuer_keys import IssuerKeys, fetch
from interlock.server.identity.platforms import Platform
from interlock.server.identity.records import SeenTokens, TrustBook
from interlock.server.identity.rules import Issuer as TrustedIssuer
from interlock.server.identity.rules import TrustRule
from interlock.store.memory import MemoryRecords
from interlock.testing.asking import Answered, ask
from interlock.testing.clock import FakeClock

MASTER = "the-own-token-of-this-server"
STATE = "prod/routing"


class Replica:
    """One server on records that it shares with others."""

    def __init__(self, records: MemoryRecords, clock: FakeClock) -> None:
        ids = RandomIds()
        self.clock = clock
        self.trust = TrustBook(records)
        self.book = TokenBook(records, clock, ids)
        self.audit = AuditLog(records, clock)
        exchange = Exchange(
            self.trust, self.book, SeenTokens(records), IssuerKeys(clock, fetch), self.audit, clock=clock, ids=ids,
            audiences=[AUDIENCE],
        )  # fmt: skip
        rows = identity_endpoints(IdentityApi(exchange, self.trust, self.book, self.audit, clock=clock))
        tokens = BookTokens(self.book, SingleToken(MASTER))
        import asyncio

        self.app = Starlette(routes=list(api_routes(rows, tokens=tokens, ending=asyncio.Event())))

    @property
    def now_s(self) -> float:
        return self.clock.now().timestamp()

    async def exchange(self, token: str, **form: str) -> Answered:
        whole = {
            "grant_type": GRANT_TYPE,
            "subject_token": token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "state": STATE,
            **form,
        }
        return await ask(self.app, "POST", "/api/v1/tokens/exchange", body=urlencode(whole).encode())


class Site:
    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.clock = FakeClock()
        self.records = MemoryRecords(clock=self.clock)
        self.here, self.there = Replica(self.records, self.clock), Replica(self.records, self.clock)

    async def trusting(self, *, algorithms: tuple[str, ...] = ("RS256",), **claims: str) -> Replica:
        wanted = {"repository_id": "74", "ref": "refs/heads/main", **claims}
        rule = TrustRule(
            name="prod",
            platform=Platform.GITHUB,
            issuer=TrustedIssuer(url=self.issuer.url, algorithms=algorithms),
            claims={name: (value,) for name, value in wanted.items()},
            role=Role.RUNNER,
            states="prod/*",
        )
        await self.here.trust.add(rule)
        return self.here

    def token(self, said: dict[str, Any] | None = None, **more: Any) -> str:
        return self.issuer.token({**GITHUB, **(said or {})}, now_s=self.here.now_s, **more)


@pytest.fixture(scope="module")
def running() -> Iterator[Issuer]:
    with identity_issuer() as issuer:
        yield issuer


@pytest.fixture
def site(running: Issuer) -> Site:
    running.asked.clear()
    running.is_away, running.answer, running.redirect = False, None, ""
    running.key, running.keys = rsa_key(), [jwk(rsa_key(), "k1")]
    running.discovery = {"issuer": running.url, "jwks_uri": f"{running.url}/keys"}
    return Site(running)


def spelled(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


async def refused(replica: Replica, token: str, status: int = 401, **form: str) -> str:
    answer = await replica.exchange(token, **form)
    assert answer.status == status, answer.body
    kept = (await replica.book.all()).tokens
    assert not kept, "nothing was given"
    assert token[-40:] not in answer.body.decode()
    return str(answer.json().get("detail", ""))


@pytest.mark.promise("P10")
async def test_a_genuine_token_of_a_trusted_job_gives_one_of_ours_for_its_state_and_role(site: Site) -> None:
    here = await site.trusting()
    answer = await here.exchange(site.token(), scope="planner", run="0123456789abcdef")
    assert answer.status == 200, answer.body
    said = answer.json()
    assert (said["token_type"], said["scope"], said["state"]) == ("Bearer", "planner", STATE)
    assert said["expires_in"] <= 900
    shown = parse_token(said["access_token"])
    assert shown is not None
    token = await site.there.book.identify(shown)
    assert (token.role, token.states) == (Role.PLANNER, STATE)
    kept = b"".join(record.value for record in await site.records.list(""))
    assert shown.secret.encode() not in kept
    assert [entry.action for entry in await here.audit.entries()] == ["token-exchanged"]


async def test_a_token_that_says_it_needs_no_signature_is_not_taken(site: Site) -> None:
    here = await site.trusting()
    body = site.token().split(".")[1]
    for algorithm in ("none", "None", "NONE", "nOnE", "", None, 0, ["RS256"]):
        head = spelled({"alg": algorithm, "kid": "k1", "typ": "JWT"})
        for signature in ("", spelled(b"x"), site.token().split(".")[2]):
            await refused(here, f"{head}.{body}.{signature}")


async def test_the_public_key_is_nobodys_secret(site: Site) -> None:
    """HS256 with the text of the public key, in each spelling that a library may take for it."""
    here = await site.trusting()
    body = site.token().split(".")[1]
    secrets = [pem(site.issuer.key), json.dumps(site.issuer.keys[0]).encode(), site.issuer.keys[0]["n"].encode(), b""]
    for secret in secrets:
        signed = f"{spelled({'alg': 'HS256', 'kid': 'k1'})}.{body}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        assert "RS256" in await refused(here, f"{signed}.{spelled(mac)}")


async def test_an_algorithm_that_is_not_the_issuers_is_not_taken_though_its_key_would_fit(site: Site) -> None:
    here = await site.trusting()
    for algorithm in ("RS384", "RS512", "PS256"):
        await refused(here, site.token(algorithm=algorithm))


async def test_a_key_that_the_token_brings_along_is_not_used(site: Site) -> None:
    here = await site.trusting()
    own = rsa_key(1)
    for headers in (
        {"jwk": jwk(own, "k1")},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MIIB"]},
    ):
        await refused(here, site.token(key=own, headers=headers))
    assert set(site.issuer.asked) <= {"/.well-known/openid-configuration", "/keys"}


@pytest.mark.parametrize(
    "kid", ["../../../../dev/null", "k1\x00", "k1' or '1'='1", "http://evil.example/k", "K1", "k1 ", "", "x" * 300]
)
async def test_the_name_of_a_key_is_only_a_name(site: Site, kid: str) -> None:
    here = await site.trusting()
    await refused(here, site.token(headers={"kid": kid}))
    assert len(site.issuer.asked) <= 2


async def test_headers_that_change_what_is_signed_are_not_taken(site: Site) -> None:
    here = await site.trusting()
    _, body, signature = site.token().split(".")
    extras: tuple[dict[str, Any], ...] = (
        {"crit": ["exp"]},
        {"b64": False, "crit": ["b64"]},
        {"crit": []},
        {"b64": True},
    )
    for extra in extras:
        await refused(here, f"{spelled({'alg': 'RS256', 'kid': 'k1', **extra})}.{body}.{signature}")


async def test_one_changed_letter_spoils_a_token(site: Site) -> None:
    here = await site.trusting()
    head, _, signature = site.token().split(".")
    other = spelled({**GITHUB, "iss": site.issuer.url, "aud": AUDIENCE, "iat": 0, "exp": 9e9, "jti": "x"})
    await refused(here, f"{head}.{other}.{signature}")
    for token in (f"{site.token()}A", f"{site.token()}.", site.token().replace(".", ".."), f" {site.token()}"):
        await refused(here, token)


@pytest.mark.parametrize(
    "said",
    [
        {"aud": "https://another.example"},
        {"aud": f"{AUDIENCE}.evil.example"},
        {"aud": []},
        {"exp": 1},
        {"exp": 4e9},
        {"iat": 4e9, "exp": 4e9 + 60},
        {"nbf": 4e9},
    ],
)
async def test_a_token_for_somebody_else_or_of_another_time_is_not_taken(site: Site, said: dict[str, Any]) -> None:
    await refused(await site.trusting(), site.token(said))


@pytest.mark.parametrize("name", ["aud", "exp", "iat", "iss"])
async def test_a_token_that_leaves_something_out_is_not_taken(site: Site, name: str) -> None:
    await refused(await site.trusting(), site.token(without=(name,)))


async def test_an_issuer_that_no_rule_names_is_not_even_asked(site: Site) -> None:
    here = await site.trusting()
    with identity_issuer() as evil:
        evil.key = rsa_key(1)
        for iss in (
            evil.url,
            f"{site.issuer.url}/",
            site.issuer.url.upper(),
            "file:///etc/passwd",
            "http://169.254.169.254",
        ):
            await refused(here, evil.token({**GITHUB, "iss": iss}, now_s=here.now_s, key=rsa_key(1)))
        await refused(here, evil.token({**GITHUB, "iss": site.issuer.url}, now_s=here.now_s, key=rsa_key(1)))
        assert evil.asked == []


async def test_what_is_huge_is_not_read(site: Site) -> None:
    here = await site.trusting()
    assert "characters" in await refused(here, site.token({"x": "y" * 16_000}))
    answer = await here.exchange("a.b." + "c" * 40_000)
    assert answer.status == 413
    deep = spelled(b'{"alg":"RS256","kid":"k1","x":' + b"[" * 5000 + b"]" * 5000 + b"}")
    await refused(here, f"{deep}.{spelled({'iss': site.issuer.url})}.{spelled(b'x')}")
    digits = spelled(b'{"iss":"x","exp":' + b"9" * 5000 + b"}")
    await refused(here, f"{spelled({'alg': 'RS256', 'kid': 'k1'})}.{digits}.{spelled(b'x')}")


@pytest.mark.promise("P10")
async def test_a_token_is_taken_once_also_at_another_replica_and_after_it_was_refused_there(site: Site) -> None:
    here = await site.trusting()
    token = site.token()
    assert (await here.exchange(token)).status == 200
    for replica in (here, site.there, Replica(site.records, site.clock)):
        answer = await replica.exchange(token)
        assert answer.status == 401
        assert "once" in answer.json()["detail"]
    assert (await site.there.exchange(site.token())).status == 200, "the next one of the job is"


async def test_the_same_job_token_is_taken_once_though_both_replicas_have_it_in_hand(site: Site) -> None:
    import asyncio

    here = await site.trusting()
    token = site.token(without=("jti",))
    answers = await asyncio.gather(*(replica.exchange(token) for replica in (here, site.there) * 3))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401, 401, 401]


async def test_a_token_is_remembered_for_as_long_as_it_is_good_and_then_forgotten(site: Site) -> None:
    here = await site.trusting()
    token = site.token()
    await here.exchange(token)
    site.clock.pass_time(329)
    assert (await here.exchange(token)).status == 401
    assert len(await site.records.list("trust/seen/")) == 1
    site.clock.pass_time(60)
    await here.exchange(site.token())
    assert len(await site.records.list("trust/seen/")) == 1, "the newer one alone"


async def test_a_stranger_of_the_same_public_service_learns_nothing_and_writes_nothing(site: Site) -> None:
    here = await site.trusting()
    why = await refused(here, site.token({"repository_id": "666"}), 403)
    assert "74" not in why
    assert await here.audit.entries() == ()
    assert await site.records.list("trust/seen/") == []


async def test_a_pull_request_of_the_project_gets_no_token_to_write_with(site: Site) -> None:
    here = await site.trusting()
    why = await refused(here, site.token({"event_name": "pull_request_target"}), 403)
    assert "pull_request_target" in why
    assert [entry.action for entry in await here.audit.entries()] == ["exchange-refused"]


async def test_a_token_of_a_job_reaches_no_other_state_and_no_other_run(site: Site) -> None:
    here = await site.trusting()
    for state in ("test/x", "prod/a/b", "prod", "prod/*", "**", "../prod/x", "prod/routing\n"):
        answer = await here.exchange(site.token(), state=state)
        assert answer.status in {400, 403}, state
    for run in ("x", "0123456789abcdef/..", "*"):
        assert (await here.exchange(site.token(), run=run)).status == 400
    for scope in ("admin", "operator"):
        assert (await here.exchange(site.token(), scope=scope)).status == 403
    assert (await here.exchange(site.token(), scope="runner planner")).status == 400


async def test_keys_of_another_kind_are_not_used(site: Site) -> None:
    here = await site.trusting(algorithms=("RS256", "ES256"))
    curve = ec.generate_private_key(ec.SECP256R1())
    good = jwk(rsa_key(), "k1")
    for keys in (
        [jwk(rsa_key(), "k1", use="enc")],
        [jwk(rsa_key(), "k1", alg="RS512")],
        [{"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}],
        [{"kty": "RSA", "kid": "k1"}],
        [{**good, "n": "!"}],
        [jwk(curve, "k1")],
        [jwk(rsa_key(2, bits=1024), "k1")],
    ):
        site.issuer.keys = keys
        site.clock.pass_time(3601)
        key = rsa_key(2, bits=1024) if "bits" in str(keys) else rsa_key()
        await refused(here, site.token(key=key))
    site.issuer.keys = [jwk(curve, "k1")]
    site.clock.pass_time(3601)
    good_one = site.issuer.token(GITHUB, now_s=here.now_s, key=curve, algorithm="ES256")
    assert (await here.exchange(good_one)).status == 200, "and the issuer's own are"


async def test_a_weak_key_signs_nothing_that_is_taken(site: Site) -> None:
    here = await site.trusting()
    weak = rsa_key(2, bits=1024)
    site.issuer.keys = [jwk(weak, "k1")]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = site.token(key=weak)
    assert "bits" in await refused(here, token)


async def test_tokens_that_name_unknown_keys_do_not_make_us_ask_again_and_again(site: Site) -> None:
    here = await site.trusting()
    for number in range(30):
        await refused(here, site.token(headers={"kid": f"unknown{number}"}))
    assert site.issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    site.clock.pass_time(61)
    await refused(here, site.token(headers={"kid": "unknown"}))
    assert len(site.issuer.asked) == 4


async def test_a_key_that_the_issuer_made_anew_is_found_within_a_minute_and_the_old_one_ends(site: Site) -> None:
    here = await site.trusting()
    assert (await here.exchange(site.token())).status == 200
    site.issuer.key, site.issuer.keys = rsa_key(1), [jwk(rsa_key(1), "k2")]
    site.clock.pass_time(61)
    assert (await here.exchange(site.token(headers={"kid": "k2"}))).status == 200
    assert (await here.exchange(site.token(key=rsa_key()))).status == 401


async def test_an_issuer_that_is_away_lets_nobody_in_that_it_did_not_vouch_for(site: Site) -> None:
    here = await site.trusting()
    site.issuer.is_away = True
    answer = await here.exchange(site.token())
    assert answer.status == 503
    assert answer.headers["retry-after"]
    site.issuer.is_away = False
    assert (await here.exchange(site.token())).status == 503, "not asked more than once a minute"
    site.clock.pass_time(61)
    assert (await here.exchange(site.token())).status == 200
    site.issuer.is_away = True
    site.clock.pass_time(7200)
    assert (await here.exchange(site.token())).status == 200, "a known key is good for a day meanwhile"
    site.clock.pass_time(86_400)
    assert (await here.exchange(site.token())).status == 503


@pytest.mark.parametrize(
    "answer", [b"x" * 300_000, b"[]", b"{", b"\xff", b'{"keys":7}', b'{"issuer":"https://evil.example"}', b"[" * 9000]
)
async def test_answers_of_an_issuer_are_bounded_and_checked(site: Site, answer: bytes) -> None:
    here = await site.trusting()
    site.issuer.answer = answer
    assert (await here.exchange(site.token())).status == 503


async def test_an_answer_that_would_be_good_is_not_read_when_it_is_too_large(site: Site) -> None:
    here = await site.trusting()
    site.issuer.discovery["more"] = "x" * 300_000
    assert (await here.exchange(site.token())).status == 503
    del site.issuer.discovery["more"]
    site.clock.pass_time(61)
    assert (await here.exchange(site.token())).status == 200


async def test_a_token_that_was_copied_from_an_old_log_is_not_taken(site: Site) -> None:
    here = await site.trusting()
    token = site.token()
    site.clock.pass_time(331)
    assert "expired" in await refused(here, token)


async def test_an_issuer_leads_nowhere_else(site: Site) -> None:
    here = await site.trusting()
    with identity_issuer() as evil:
        evil.keys = [jwk(rsa_key(1), "k1")]
        site.issuer.redirect = f"{evil.url}/keys"
        assert (await here.exchange(site.token(key=rsa_key(1)))).status == 503
        site.issuer.redirect = ""
        site.issuer.discovery = {"issuer": site.issuer.url, "jwks_uri": f"{evil.url}/keys"}
        site.clock.pass_time(61)
        assert (await here.exchange(site.token(key=rsa_key(1)))).status == 503
        assert evil.asked == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"grant_type=x", b"a=1&a=2", b"\xff\xfe", b"&".join(b"a%d=1" % n for n in range(50)), b"state"],
)
async def test_what_is_not_a_form_is_refused_without_a_defect(site: Site, body: bytes) -> None:
    here = await site.trusting()
    answer = await ask(here.app, "POST", "/api/v1/tokens/exchange", body=body)
    assert answer.status == 400


async def test_a_token_lasts_as_long_as_it_is_renewed_and_its_rule_is_there(site: Site) -> None:
    here = await site.trusting()
    said = (await here.exchange(site.token())).json()
    own = {"authorization": f"Bearer {said['access_token']}"}
    for _ in range(3):
        site.clock.pass_time(600)
        answer = await ask(site.there.app, "POST", "/api/v1/tokens/renew", headers=own)
        assert answer.status == 200, answer.body
    await here.trust.remove("prod")
    assert (await ask(here.app, "POST", "/api/v1/tokens/renew", headers=own)).status == 403
    site.clock.pass_time(901)
    assert (await ask(here.app, "POST", "/api/v1/tokens/renew", headers=own)).status == 401


async def test_no_token_is_renewed_beyond_the_life_of_a_job(site: Site) -> None:
    here = await site.trusting()
    own = {"authorization": f"Bearer {(await here.exchange(site.token())).json()['access_token']}"}
    statuses = []
    for _ in range(30):
        site.clock.pass_time(800)
        statuses.append((await ask(here.app, "POST", "/api/v1/tokens/renew", headers=own)).status)
    assert statuses == [200] * statuses.count(200) + [401] * statuses.count(401)
    assert statuses.count(200) == 26, "six hours"
    assert (
        await ask(here.app, "POST", "/api/v1/tokens/renew", headers={"authorization": f"Bearer {MASTER}"})
    ).status == 403


async def test_tokens_of_jobs_are_forgotten_a_day_after_their_end(site: Site) -> None:
    here = await site.trusting()
    for _ in range(3):
        await here.exchange(site.token())
    site.clock.pass_time(3 * 86_400)
    await here.exchange(site.token())
    assert len((await here.book.all()).tokens) == 1


@pytest.mark.promise("P10")
@pytest.mark.parametrize("key", ["trust/seen/000000000001/x", "token-ends/000000000001/x"])
async def test_a_damaged_record_of_what_has_ended_takes_no_job_its_token(site: Site, key: str) -> None:
    here = await site.trusting()
    await site.records.swap(key, expected=None, value=b"x")
    site.records._sums[key] = b"damaged"
    answer = await here.exchange(site.token())
    assert answer.status == 200, answer.body
