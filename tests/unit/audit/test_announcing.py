"""An act of the server or of a command at its store has an entry before it is done, wherever who does it is killed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.killed_writers import killed_after

from interlock.api.hooks import ChangedHook, NewHook
from interlock.api.organisations import NewClient, NewOrganisation
from interlock.audit.announcing import NOT_DONE, announcing
from interlock.errors import PolicyGate, UsageError
from interlock.home.embedded import EmbeddedHome
from interlock.ids import RandomIds
from interlock.operate.approving import decide
from interlock.operate.policies import put_own
from interlock.persons import Party
from interlock.policy.approval import Approval, Kind, Verdict
from interlock.policy.policy import Policy
from interlock.rights import Role, Token
from interlock.rights.book import TokenBook
from interlock.rights.token import TokenText
from interlock.server.gateway.book import OrganisationBook
from interlock.server.gateway.endpoints import OrganisationKeeper
from interlock.server.hooks.book import HookBook
from interlock.server.hooks.endpoints import HookKeeper
from interlock.server.identity.endpoints import (
    TokenWanted,
    added_rule,
    made_token,
    removed_rule,
    revoked_token,
    telling_of_token,
)
from interlock.server.identity.platforms import Platform
from interlock.server.identity.records import TrustBook
from interlock.server.identity.rules import Issuer, TrustRule
from interlock.site.second_person import have_second_person
from interlock.store.memory import MemoryRecords
from interlock.store.sealing import master_key
from interlock.store.vault import with_encryption
from interlock.testing.home import memory_home

ACME = NewOrganisation(
    name="acme", region="eu-central-1", client_id="client", secret="hush-hush-hush", states=["prod/**"]
)
RULE = TrustRule(
    name="prod",
    platform=Platform.GITHUB,
    issuer=Issuer(url="https://token.actions.githubusercontent.com"),
    claims={"repository_id": ("74",), "ref": ("refs/heads/main",)},
    role=Role.RUNNER,
    states="prod/*",
    made_by="ada",
)
PRS = NewHook(name="prs", platform="github", repository_id="74", states="prod/**", persons={"583231": "octocat"})


class Desk:
    """A home in memory, encrypted, and the acts that change what administrators keep in it."""

    def __init__(self, home: EmbeddedHome) -> None:
        assert isinstance(home.store.records, MemoryRecords)
        self.home, self.base = home, home.store.records
        self.tokens = TokenBook(self.base, home.clock, RandomIds())
        self.trust = TrustBook(self.base)
        self.keeper: Any = None
        self.hooks: Any = None

    async def open(self) -> None:
        store = await with_encryption(self.home.store, [master_key(bytes(range(32)))], clock=self.home.clock)
        self.keeper = OrganisationKeeper(OrganisationBook(store, self.home.clock), self.home.audit)
        hooks = HookBook(store, self.home.clock, RandomIds())
        self.hooks = HookKeeper(hooks, self.home.audit, clock=self.home.clock)

    async def kept(self, prefix: str) -> list[tuple[str, int]]:
        return [(each.key, each.version) for each in await self.base.list(prefix)]

    async def prepared(self) -> None:
        await self.keeper.add(ACME, by="ada")
        await self.hooks.add(PRS, by="ada")
        await added_rule(self.trust, self.home.audit, RULE)
        await put_own((Policy(name="careful", states="prod", two_persons=True),), self.home, source="file", who="ada")

    async def a_token(self) -> tuple[Token, TokenText]:
        wanted = TokenWanted(role=Role.READER, states="**")
        return await made_token(self.tokens, self.home.audit, wanted, by="ada", made_with=Party())

    async def changed_hook(self) -> None:
        """Let the hook be for the states that it is not for."""
        (hook,) = (await self.hooks.all()).hooks
        states = "prod/**" if hook.states == "prod/*" else "prod/*"
        await self.hooks.change("prs", ChangedHook(states=states), by="ada")

    async def asked(self) -> None:
        with suppress(PolicyGate):
            await have_second_person(self.home, "prod", Kind.RESTORE, exact=(1,), what="restore", by="ben")

    async def approved(self) -> Approval:
        (one, *_), _ = await self.home.approvals.all()
        return await decide(one.id, Verdict.APPROVE, self.home, reason="seen", who="ada")


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    made = Desk(memory_home(tmp_path, ids=RandomIds()))
    await made.open()
    return made


Act = Callable[[Desk], Awaitable[object]]
ACTS: dict[str, tuple[str, Act]] = {
    "organisation-rotated": (
        "organisation/",
        lambda desk: desk.keeper.rotate("acme", NewClient(secret="hush-2"), by="ada"),
    ),
    "organisation-removed": ("organisation/", lambda desk: desk.keeper.remove("acme", by="ada")),
    "organisation-added": ("organisation/", lambda desk: desk.keeper.add(ACME, by="ada")),
    "trust-rule-removed": ("trust/rule/", lambda desk: removed_rule(desk.trust, desk.home.audit, "prod", by="ada")),
    "trust-rule-added": ("trust/rule/", lambda desk: added_rule(desk.trust, desk.home.audit, RULE)),
    "hook-rotated": ("hook/", lambda desk: desk.hooks.rotate("prs", by="ada")),
    "hook-changed": ("hook/", lambda desk: desk.changed_hook()),
    "hook-removed": ("hook/", lambda desk: desk.hooks.remove("prs", by="ada")),
    "hook-added": ("hook/", lambda desk: desk.hooks.add(PRS, by="ada")),
    "policies-set": ("policies", lambda desk: put_own((), desk.home, source="file", who="ada")),
}


@pytest.mark.promise("P10")
async def test_an_act_that_is_killed_at_any_write_has_its_entry_and_a_repetition_makes_no_second_one(
    desk: Desk,
) -> None:
    await desk.prepared()
    for action, (prefix, act) in ACTS.items():
        for writes in range(8):
            await again(desk, action)
            before, count = await desk.kept(prefix), await entries(desk, action)
            with killed_after(desk.base, writes) as written:
                await act(desk)
            done = await desk.kept(prefix) != before
            assert not done or await entries(desk, action) == count + 1, (action, writes, written)
            if not done:
                await act(desk)
            assert await entries(desk, action) == count + 1, (action, writes, written)
    assert (await desk.home.audit.verify())[1] == ""


async def again(desk: Desk, action: str) -> None:
    """Make things as they were, so that the act can be done anew."""
    other = {"-removed": "-added", "-added": "-removed"}
    for end, undone_by in other.items():
        if action.endswith(end):
            with suppress(UsageError):  # they are so
                await ACTS[action.removesuffix(end) + undone_by][1](desk)


async def entries(desk: Desk, action: str) -> int:
    return sum(each.action == action for each in await desk.home.audit.entries())


@pytest.mark.promise("P10")
async def test_no_token_is_made_or_ended_without_an_entry(desk: Desk) -> None:
    for writes in range(6):
        with killed_after(desk.base, writes):
            await desk.a_token()
        told = {each.subject for each in await desk.home.audit.entries() if each.action == "token-created"}
        assert {each.id for each in (await desk.tokens.all()).tokens} <= told, writes
    token, _ = await desk.a_token()
    for writes in range(6):
        with killed_after(desk.base, writes):
            await revoked_token(desk.tokens, desk.home.audit, token.id, by="ada")
        ended = [each.id for each in (await desk.tokens.all()).tokens if each.revoked_at]
        assert len(ended) <= await entries(desk, "token-revoked") <= 1, writes
    assert ended == [token.id]


@pytest.mark.promise("P10")
async def test_the_first_token_of_a_server_has_its_entry_before_it_is_good(desk: Desk) -> None:
    with killed_after(desk.base, 3):
        await desk.tokens.first(before=telling_of_token(desk.home.audit))
    assert (await desk.tokens.all()).tokens == ()
    assert await entries(desk, "token-created") == 1


@pytest.mark.promise("P5")
async def test_no_request_for_approval_is_asked_decided_or_used_without_an_entry(desk: Desk) -> None:
    await desk.prepared()
    steps: list[tuple[str, Act]] = [
        ("approval-asked", Desk.asked),
        ("approved", Desk.approved),
        ("approval-used", Desk.asked),
    ]
    for action, act in steps:
        for writes in range(6):
            before = await desk.kept("approval/")
            with killed_after(desk.base, writes):
                await act(desk)
            done = await desk.kept("approval/") != before
            assert await entries(desk, action) >= done, (action, writes)
            if done:
                break
        assert done, action


async def test_an_act_that_is_refused_behind_its_entry_has_one_that_says_so(desk: Desk) -> None:
    async def refused() -> None:
        async with announcing(desk.home.audit, by="ada") as announce:
            await announce("trust-rule-removed", subject="prod", facts={})
            raise UsageError("there is none")

    with pytest.raises(UsageError):
        await refused()
    done, undone = await desk.home.audit.entries()
    assert (undone.action, undone.subject, undone.by) == (NOT_DONE, "prod", "ada")
    assert undone.facts == {"entry": done.number, "action": "trust-rule-removed", "why": "there is none"}
