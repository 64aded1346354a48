from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError
from interlock.ids import RandomIds
from interlock.rights import Right, Role, TokenText, parse_token
from interlock.rights.book import USED_EVERY, TokenBook
from interlock.rights.token import PERSON_SCHEMA, SCHEMA, Forbidden
from interlock.store.memory import MemoryRecords
from interlock.testing.clock import FakeClock


class Site:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = MemoryRecords(clock=self.clock)
        self.book = TokenBook(self.records, self.clock, RandomIds())


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.promise("P10")
async def test_a_token_is_told_once_and_only_its_digest_is_kept(site: Site) -> None:
    token, text = await site.book.create(Role.RUNNER, states="prod/*", note="ci of prod", by="ann@host")
    assert text.whole().startswith(f"ilk_{token.id}_")
    assert parse_token(text.whole()) == text
    kept = b"".join(record.value for record in await site.records.list(""))
    assert text.secret.encode() not in kept
    assert text.secret not in repr(text) + repr(token) + repr((await site.book.all()).tokens)
    found = await site.book.identify(text)
    assert (found.role, found.states, found.who) == (Role.RUNNER, "prod/*", f"ci of prod ({token.id})")


async def test_a_token_that_says_whose_it_is_or_who_made_it_is_not_read_by_a_release_that_would_forget_it(
    site: Site,
) -> None:
    ann: tuple[str, ...] = ("name:ann",)
    for accounts, makers in ((ann, ()), ((), ann)):
        token, text = await site.book.create(Role.RUNNER, by="ann", accounts=accounts, makers=makers)
        assert token.schema == PERSON_SCHEMA
        assert (await site.book.identify(text)).party == token.party
    assert (await site.book.create(Role.RUNNER, by="ann"))[0].schema == SCHEMA


async def test_a_wrong_an_unknown_and_a_misspelled_token_are_refused(site: Site) -> None:
    token, text = await site.book.create(Role.ADMIN, by="ann")
    other = RandomIds().secret()
    for shown in (TokenText(token.id, other), TokenText("0" * 12, text.secret), TokenText("../x", text.secret)):
        with pytest.raises(AuthenticationFailed):
            await site.book.identify(shown)
    for word in ("", "ilk_", text.whole() + "x", text.whole()[:-1], text.whole().upper(), f" {text.whole()}"):
        assert parse_token(word) is None


async def test_a_token_ends_at_its_time_and_when_it_is_revoked(site: Site) -> None:
    short, short_text = await site.book.create(Role.READER, by="ann", lifetime=timedelta(hours=1))
    long, long_text = await site.book.create(Role.READER, by="ann")
    site.clock.pass_time(3599)
    await site.book.identify(short_text)
    site.clock.pass_time(1)
    with pytest.raises(AuthenticationFailed) as refusal:
        await site.book.identify(short_text)
    assert "expired" in refusal.value.why
    await site.book.identify(long_text)
    assert (await site.book.revoke(long.id)).revoked_at is not None
    with pytest.raises(AuthenticationFailed) as refusal:
        await site.book.identify(long_text)
    assert "revoked" in refusal.value.why
    assert await site.book.revoke(long.id) == next(
        each for each in (await site.book.all()).tokens if each.id == long.id
    )
    assert short.id in {each.id for each in (await site.book.all()).tokens}
    with pytest.raises(UsageError):
        await site.book.revoke("nobody")


async def test_the_last_use_is_kept_without_a_write_for_each(site: Site) -> None:
    token, text = await site.book.create(Role.READER, by="ann")
    await site.book.identify(text)
    first = (await site.records.get(f"token/{token.id}") or pytest.fail("gone")).version
    await site.book.identify(text)
    assert (await site.records.get(f"token/{token.id}") or pytest.fail("gone")).version == first
    site.clock.pass_time(USED_EVERY.total_seconds() + 1)
    await site.book.identify(text)
    assert (await site.book.all()).tokens[0].used_at == site.clock.now()


async def test_a_token_is_good_for_its_rights_on_its_states_only(site: Site) -> None:
    token, _ = await site.book.create(Role.PLANNER, states="prod/*", by="ann")
    token.check(Right.PLAN, "prod/a")
    for right, state in ((Right.APPLY, "prod/a"), (Right.PLAN, "dev/a"), (Right.READ_STATE, "prod/a/b")):
        with pytest.raises(Forbidden) as refusal:
            token.check(right, state)
        assert refusal.value.http_status == 403
        assert refusal.value.exit_status == AuthenticationFailed.exit_status


async def test_a_token_that_cannot_be_read_lets_nobody_in(site: Site) -> None:
    token, text = await site.book.create(Role.ADMIN, by="ann")
    record = await site.records.get(f"token/{token.id}") or pytest.fail("gone")
    await site.records.swap(record.key, expected=record.version, value=b'{"id": 1}')
    with pytest.raises(BackendUnavailable):
        await site.book.identify(text)


@pytest.mark.promise("P10")
async def test_a_token_that_was_revoked_stays_so_when_the_clock_goes_back(site: Site) -> None:
    token, text = await site.book.create(Role.ADMIN, by="ann")
    await site.book.revoke(token.id)
    site.clock.jump(-86_400)
    with pytest.raises(AuthenticationFailed) as refusal:
        await site.book.identify(text)
    assert "revoked" in refusal.value.why


ODD = {
    "a schema of a newer release": {"schema": 2},
    "an id of another": {"id": "0" * 12},
    "no digest": {"digest": ""},
    "a digest that is no hash": {"digest": "ü" * 64},
    "a role that is not known": {"role": "owner"},
    "an instant without a zone": {"expires_at": "2999-01-01T00:00:00"},
    "a use without a zone": {"used_at": "2026-01-01T00:00:00"},
    "a revocation that is no instant": {"revoked_at": True},
    "states that are a list": {"states": ["**"]},
}


@pytest.mark.promise("P10")
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_a_token_of_a_stranger_lets_nobody_in_and_hides_no_other(site: Site, odd: dict[str, Any]) -> None:
    token, text = await site.book.create(Role.ADMIN, by="ann")
    other, _ = await site.book.create(Role.READER, by="ann")
    record = await site.records.get(f"token/{token.id}") or pytest.fail("gone")
    written = json.dumps({**json.loads(record.value), **odd}).encode()
    await site.records.swap(record.key, expected=record.version, value=written)
    with pytest.raises(BackendUnavailable) as refusal:
        await site.book.identify(text)
    assert refusal.value.why
    assert refusal.value.fix
    listed = await site.book.all()
    assert [each.id for each in listed.tokens] == [other.id]
    assert listed.unreadable == (token.id,)


@pytest.mark.parametrize("lifetime_s", [0, -300])
async def test_a_token_that_would_have_ended_already_is_not_made(site: Site, lifetime_s: float) -> None:
    with pytest.raises(UsageError) as refusal:
        await site.book.create(Role.READER, by="ann", lifetime=timedelta(seconds=lifetime_s))
    assert refusal.value.fix
    assert (await site.book.all()).tokens == ()


@pytest.mark.parametrize(("states", "note"), [("[x]", ""), ("**", "a\nb"), ("**", "x" * 201)])
async def test_what_cannot_be_kept_makes_no_token(site: Site, states: str, note: str) -> None:
    with pytest.raises(UsageError):
        await site.book.create(Role.READER, states=states, note=note, by="ann")
    assert (await site.book.all()).tokens == ()


@pytest.mark.promise("P10")
async def test_the_first_start_on_an_empty_store_makes_one_administrator_for_a_day(site: Site) -> None:
    import asyncio

    both = (site.book, TokenBook(site.records, site.clock, RandomIds()))
    made = [each for each in await asyncio.gather(*(book.first() for book in both * 3)) if each is not None]
    ((token, text),) = made
    assert (token.role, token.states) == (Role.ADMIN, "**")
    await site.book.identify(text)
    site.clock.pass_time(86_401)
    with pytest.raises(AuthenticationFailed):
        await site.book.identify(text)
    assert await site.book.first() is None


@pytest.mark.parametrize("key", ["token/0123456789ab", "state/prod"])
async def test_a_store_that_holds_something_gets_no_administrator_by_itself(site: Site, key: str) -> None:
    await site.records.swap(key, expected=None, value=b"{}")
    assert await site.book.first() is None
