"""One person comes in every way that there is, and tries to be two: to approve their own run, to be their own second
person. Who is behind credentials is decided in `interlock.persons`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from msgspec.structs import replace
from tests.code_host import github_event, github_headers
from tests.identity_issuer import AUDIENCE, CLIENT, GITHUB, Issuer, identity_issuer

from interlock.api.hooks import NewHook
from interlock.api.locks import told_event
from interlock.api.versions import Grant, WriteAsked, line_of
from interlock.backend.asgi import Service
from interlock.compose.gateways import open_doors
from interlock.compose.serving import open_exchange, server_app
from interlock.ids import RandomIds
from interlock.lock import Requested
from interlock.policy import Policy
from interlock.policy.approval import Approval, Kind, Standing, standing
from interlock.rights import Role, parse_token
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken, party_of
from interlock.rights.token import TokenText
from interlock.server.hooks.book import HeardComments, HookBook
from interlock.server.hooks.endpoints import HookKeeper
from interlock.server.hooks.hearing import Hearing
from interlock.server.identity.exchange import GRANT_TYPE
from interlock.server.identity.platforms import Platform
from interlock.server.identity.records import TrustBook
from interlock.server.identity.rules import Issuer as Trusted
from interlock.server.identity.rules import TrustRule, of_accounts
from interlock.store.sealing import master_key
from interlock.store.vault import with_encryption
from interlock.testing.asking import Answered, ask
from interlock.testing.home import memory_home

OWN = "the-own-token-of-this-server"
STATE = "prod/routing"
FORM = "application/x-www-form-urlencoded"
ANNA, BOB, CID = 12, 13, 14
"""Their accounts at GitHub."""

Client = dict[str, str]


class Place:
    """A server with every way in, whose policies want another person."""

    def __init__(self, folder: Path, issuer: Issuer, other: Issuer, *, linked: bool) -> None:
        self.home = memory_home(folder, ids=RandomIds())
        self.issuer, self.other, self.linked = issuer, other, linked
        self.book = TokenBook(self.home.store.records, self.home.clock, RandomIds())
        self.app: Any = None
        self.github: Issuer = issuer
        self.names = count()
        self.own: Client = {"authorization": f"Bearer {OWN}"}

    async def open(self) -> None:
        policy = Policy(name="production", states="prod/**", approvals=1, two_persons=True)
        await self.home.policies.replace((policy,))
        trust = TrustBook(self.home.store.records)
        for name, at in (("ops", self.issuer), ("others", self.other)):
            rule = TrustRule(
                name=name, platform=Platform.PERSON, issuer=Trusted(url=at.url, audience=CLIENT),
                claims={"groups": ("operators",)}, role=Role.ADMIN, states="**",
            )  # fmt: skip
            await trust.add(rule)
            if self.linked:
                rules = [("anna", f"github:{ANNA}"), ("bob", f"github:{BOB}"), ("cid", f"github:{CID}")]
                for person, account in rules:
                    one = replace(rule, name=f"{name}-{person}", claims={"sub": (f"u-{person}",)}, role=Role.READER)
                    await trust.add(of_accounts(one, (person, account)))
        await self._open_hook()

    async def _open_hook(self) -> None:
        sealed = await with_encryption(self.home.store, [master_key(bytes(range(32)))], clock=self.home.clock)
        book = self.hooks = HookBook(sealed, self.home.clock, RandomIds())
        persons = {str(ANNA): "anna", str(BOB): "bob", str(CID): "cid"}
        asked = NewHook(name="prs", platform="github", repository_id="74", states="prod/**", persons=persons)
        made = await HookKeeper(book, self.home.audit, clock=self.home.clock).add(asked, by="admin")
        self.secret = made.secret
        self.hearing = Hearing(book, HeardComments(self.home.store.records), self.home)

    async def call(self, method: str, path: str, who: Client, sends: object = None) -> Answered:
        body = b"" if sends is None else sends if isinstance(sends, bytes) else msgspec.json.encode(sends)
        return await ask(self.app, method, f"/api/v1{path}", headers=who, body=body)

    # -- ways in ----------------------------------------------------------------------------------------------------

    async def token(self, *person: str, by: Client | None = None, role: Role = Role.ADMIN) -> Client:
        """Make a token as an administrator does, at the server."""
        sends = {"role": role.value, "states": "**", "person": list(person)}
        made = await self.call("POST", "/tokens", by or self.own, sends)
        assert made.status == 200, made.body
        return {"authorization": f"Bearer {made.json()['token']}"}

    async def login(self, name: str, issuer: Issuer | None = None) -> Client:
        said = {"sub": f"u-{name}", "groups": ["operators"]}
        return await self._exchanged(issuer or self.issuer, said, audience=CLIENT)

    async def job(self, actor: int = 0) -> Client:
        """Let a pipeline begin a job; without an actor a program's account did."""
        whose = {"actor_id": str(actor)} if actor else {"actor_id": "41898282", "actor": "github-actions[bot]"}
        return await self._exchanged(self.github, {**GITHUB, **whose}, audience=AUDIENCE, state=STATE)

    async def _exchanged(self, issuer: Issuer, said: dict[str, Any], *, audience: str, **more: str) -> Client:
        shown = issuer.token(said, now_s=self.home.clock.now().timestamp(), audience=audience)
        kind = "urn:ietf:params:oauth:token-type:id_token"
        form = {"grant_type": GRANT_TYPE, "subject_token_type": kind, "subject_token": shown, **more}
        made = await self.call("POST", "/tokens/exchange", {"content-type": FORM}, urlencode(form).encode())
        assert made.status == 200, made.body
        return {"authorization": f"Bearer {made.json()['access_token']}"}

    # -- what they do -----------------------------------------------------------------------------------------------

    async def asks(self, who: Client) -> str:
        """Let a run ask for approval; return its request."""
        name, now = f"r{next(self.names)}", self.home.clock.now()
        asked = Approval(
            id=name, kind=Kind.EXEC, state=STATE, digest=f"{next(self.names):064x}", what="terraform import",
            asked_by="me", asked_at=now, expires_at=now + timedelta(days=1), needed=0, policy="production",
        )  # fmt: skip
        answer = await self.call("POST", f"/approvals?state={STATE}", who, asked)
        assert answer.status == 200, answer.body
        return name

    async def approves(self, who: Client, request: str) -> str:
        """Approve a request by the API; return why not, or nothing."""
        said = {"verdict": "approve", "reason": "seen"}
        answer = await self.call("POST", f"/approvals/decide?id={request}", who, said)
        assert answer.status in {200, 403}, answer.body
        told = answer.json()
        return "" if answer.status == 200 else f"{told['detail']}: {told['next']}"

    async def comments(self, person: int, request: str) -> None:
        """Approve a request by a comment; what is refused decides nothing."""
        digest = (await self.home.approvals.get(request)).digest
        at = f"{self.home.clock.now():%Y-%m-%dT%H:%M:%SZ}"
        event = github_event(f"/interlock approve {request} {digest[:16]} seen", person=person, created_at=at)
        body = json.dumps(event).encode()
        await self.hearing.hear("prs", {k.lower(): v for k, v in github_headers(body, self.secret).items()}, body)

    async def standing(self, request: str) -> Standing:
        return standing(await self.home.approvals.get(request), self.now())

    def now(self) -> datetime:
        return self.home.clock.now()

    async def begins(self, who: Client) -> tuple[Client, Grant]:
        """Hold the state, once it has two versions."""
        ticket = f"t{next(self.names)}"
        wish = Requested(ticket=ticket, run="", who="me", lease_s=60.0, patience_s=60.0, attempt=ticket)
        assert (await self.call("POST", f"/locks/events?state={STATE}", who, told_event(wish))).status == 200
        holder = next(each for each in (await self.home.coordinator.view(STATE)).lock.holders if each.ticket == ticket)
        return who, Grant(ticket=ticket, token=holder.token, run="")

    async def pushes(self, who: Client, grant: Grant, body: bytes) -> Answered:
        return await self.call("POST", f"/versions?state={STATE}", who, line_of(WriteAsked(grant=grant)) + body)


@asynccontextmanager
async def a_place(folder: Path, *, linked: bool) -> AsyncIterator[Place]:
    with identity_issuer() as issuer, identity_issuer() as other, identity_issuer() as github:
        place = Place(folder, issuer, other, linked=linked)
        place.github = github
        await place.open()
        claims = {"repository_id": ("74",), "ref": ("refs/heads/main",)}
        jobs = TrustRule(
            name="jobs", platform=Platform.GITHUB, issuer=Trusted(url=github.url), claims=claims, role=Role.RUNNER,
            states="prod/**",
        )  # fmt: skip
        await TrustBook(place.home.store.records).add(jobs)
        tokens = BookTokens(place.book, SingleToken(OWN))
        async with open_doors(place.home) as doors:
            exchange = open_exchange(place.home, [AUDIENCE])
            place.app = server_app(place.home, Service(place.home.ids), tokens, doors, exchange, is_https=False)
            yield place


Way = Callable[[Place], Awaitable[Client]]


async def _for_dora(place: Place) -> Client:
    """Make a token in the name of another, and keep it."""
    return await place.token("dora", by=await place.token("anna"))


async def _for_a_program(place: Place) -> Client:
    return await place.token(by=await place.token("Anna"))


async def _of_what_she_made_for_a_program(place: Place) -> Client:
    return await place.token("dora", by=await _for_a_program(place))


WAYS: dict[str, Way] = {
    "a token of hers": lambda place: place.token("anna"),
    "a token of hers, spelled otherwise": lambda place: place.token("ANNA", f"github:{ANNA}"),
    "a token that names her account at the code host": lambda place: place.token(f"github:{ANNA}"),
    "a token that she made for dora": _for_dora,
    "a token that she made for a program": _for_a_program,
    "a token for dora, made with one that she made for a program": _of_what_she_made_for_a_program,
    "a token that names nobody": lambda place: place.token(),
    "the server's own token": lambda place: _done(place.own),
    "a login": lambda place: place.login("anna"),
    "a login at another provider": lambda place: place.login("anna", place.other),
    "a job that she began": lambda place: place.job(ANNA),
    "a job of which nobody says who began it": lambda place: place.job(),
}
"""How Anna comes; Azure's jobs are like the last one: their tokens name a service connection."""

PROGRAMS = (
    "a token that names nobody",
    "the server's own token",
    "a job that she began",
    "a job of which nobody says who began it",
)
"""Ways in which no person asks: whoever agrees to it counts."""
HERS = [way for way in WAYS if way not in PROGRAMS]


async def _done(client: Client) -> Client:
    return client


@pytest.fixture(params=[False, True], ids=["unlinked", "linked"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(tmp_path, linked=request.param) as made:
        yield made


@pytest.mark.promise("P8")
@pytest.mark.parametrize("asks", HERS)
async def test_nobody_approves_their_own_run_in_whatever_two_ways_they_come(place: Place, asks: str) -> None:
    for approves, way in WAYS.items():
        if approves.startswith("a job"):
            continue  # a job's token has the role runner at most: `test_rights_of_every_route.py`
        request = await place.asks(await WAYS[asks](place))
        why = await place.approves(await way(place), request)
        assert await place.standing(request) is Standing.WAITING, approves
        assert not why or ": interlock " in why, (approves, why)
        digest = (await place.home.approvals.get(request)).digest
        used = await place.call("POST", f"/approvals/use?id={request}", place.own, {"by": "r", "digest": digest})
        assert used.status == 403, approves
    request = await place.asks(await WAYS[asks](place))
    await place.comments(ANNA, request)
    assert await place.standing(request) is Standing.WAITING, "a comment"


@pytest.mark.promise("P8")
@pytest.mark.parametrize("asks", HERS)
async def test_all_ways_of_one_person_together_are_not_two(place: Place, asks: str) -> None:
    request = await place.asks(await WAYS[asks](place))
    for approves, way in WAYS.items():
        if not approves.startswith("a job"):
            await place.approves(await way(place), request)
    await place.comments(ANNA, request)
    assert await place.standing(request) is Standing.WAITING


@pytest.mark.promise("P8")
@pytest.mark.parametrize("asks", WAYS)
async def test_others_approve_and_where_it_is_not_known_who_asked_one_more_does(place: Place, asks: str) -> None:
    request = await place.asks(await WAYS[asks](place))
    assert await place.approves(await place.login("bob"), request) == ""
    one = {"a login", *PROGRAMS, *(_LINKED if place.linked else ())}
    assert await place.standing(request) is (Standing.APPROVED if asks in one else Standing.WAITING)
    assert await place.approves(await place.login("cid"), request) == ""
    assert await place.standing(request) is Standing.APPROVED


_LINKED = (
    "a login at another provider",
    "a token that names her account at the code host",
    *[way for way in WAYS if "hers" in way or "for dora" in way],
)
"""Ways that are told apart from Bob's login once it is known which accounts each of them has."""


@pytest.mark.promise("P8")
async def test_where_accounts_are_linked_one_other_person_approves_what_a_job_asks(tmp_path: Path) -> None:
    async with a_place(tmp_path, linked=True) as place:
        request = await place.asks(await place.job(ANNA))
        assert await place.approves(await place.login("bob"), request) == ""
        assert await place.standing(request) is Standing.APPROVED
        own = await place.asks(await place.job(ANNA))
        assert "they asked for it" in await place.approves(await place.login("anna"), own)


@pytest.mark.promise("P8")
@pytest.mark.parametrize("asks", PROGRAMS)
async def test_what_a_program_asks_is_approved_by_one_with_a_token_that_names_nobody_but_not_by_itself(
    place: Place, asks: str
) -> None:
    program = await WAYS[asks](place)
    request = await place.asks(program)
    if not asks.startswith("a job"):
        assert "they asked for it" in await place.approves(program, request)
    assert await place.approves(await place.token(role=Role.OPERATOR), request) == ""
    assert await place.standing(request) is Standing.APPROVED


@pytest.mark.promise("P5")
@pytest.mark.parametrize("acts", HERS)
async def test_nobody_is_their_own_second_person_in_whatever_two_ways_they_come(place: Place, acts: str) -> None:
    who, grant = await place.begins(await WAYS[acts](place))
    for number, (agrees, way) in enumerate(WAYS.items(), start=1):
        if agrees.startswith("a job"):
            continue
        pushed = _state(number)
        refused = await place.pushes(who, grant, pushed)
        assert refused.status == 403, refused.body
        request = refused.json()["facts"]["approval"]
        await place.approves(await way(place), request)
        await place.comments(ANNA, request)
        again = await place.pushes(who, grant, pushed)
        assert (again.status, again.json()["facts"]["approval"]) == (403, request), agrees
    assert await place.home.archive.history(STATE) == (), "nothing was changed"


@pytest.mark.promise("P5")
@pytest.mark.parametrize("acts", [each for each in WAYS if not each.startswith("a job")])
async def test_others_agree_to_an_act_and_one_more_where_it_is_not_known_who_acts(place: Place, acts: str) -> None:
    who, grant = await place.begins(await WAYS[acts](place))
    pushed = _state(1)
    refused = await place.pushes(who, grant, pushed)
    request = refused.json()["facts"]["approval"]
    for name in ("zoe", "yan"):
        await place.approves(await place.token(name), request)
    assert (await place.pushes(who, grant, pushed)).status == 200


@pytest.mark.promise("P8")
async def test_what_is_refused_says_what_to_do_and_that_works(place: Place) -> None:
    request = await place.asks(await place.token("anna"))
    why = await place.approves(await place.token(), request)
    assert "their token names no person" in why
    assert "where people log in, log in" in why
    assert f"interlock token create --role operator --states {STATE} --person NAME" in why
    assert "whoever asked made their token" in await place.approves(await _for_dora(place), request)
    program = await place.asks(await _for_a_program(place))
    assert "they made the token that asked for it" in await place.approves(await place.token("anna"), program)
    assert await place.approves(await place.token("bob"), request) == ""
    assert await place.standing(request) is Standing.APPROVED


def _state(serial: int) -> bytes:
    document = {"version": 4, "serial": serial, "lineage": f"l{serial}", "resources": []}
    return json.dumps(document).encode()


@pytest.mark.promise("P8")
async def test_a_comment_is_offered_and_counts_where_a_person_of_another_kind_has_an_account_there(
    place: Place,
) -> None:
    keeper = HookKeeper(place.hooks, place.home.audit, clock=place.home.clock)
    accounts = party_of(await place.book.identify(token_in(await place.token("anna", f"github:{ANNA}")))).accounts
    assert await keeper.comments_on(STATE, accounts) == "github"
    assert await keeper.comments_on(STATE, ("name:anna",)) == ""
    request = await place.asks(await place.token("anna", f"github:{ANNA}"))
    await place.comments(BOB, request)
    assert await place.standing(request) is Standing.APPROVED


def token_in(client: Client) -> TokenText:
    shown = parse_token(client["authorization"].removeprefix("Bearer "))
    assert shown is not None
    return shown
