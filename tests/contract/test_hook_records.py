"""Comments are taken once and hooks are kept, on each store that a server may have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from interlock.clock import SystemClock
from interlock.errors import BackendUnavailable, UsageError
from interlock.ids import RandomIds
from interlock.server.hooks.book import DECIDING_S, HeardComments, HookBook
from interlock.server.hooks.hook import Hook, HookPlatform
from interlock.store import RecordDamaged
from interlock.store.opening import Store, open_store
from interlock.store.sealing import master_key
from interlock.store.vault import with_encryption
from interlock.testing.postgres import PostgresServer, why_not

POSTGRES = pytest.param("postgres", marks=pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"))


@pytest.fixture(params=["sqlite", POSTGRES])
async def clear(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    url = f"sqlite:{tmp_path / 'server.db'}"
    if request.param == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        url = f"{postgres.url}&schema=hooks_{uuid4().hex}"  # a test that leaves a record in clear stops the next one
    here, there = await open_store(url, clock=SystemClock()), await open_store(url, clock=SystemClock())
    yield here, there
    await here.close()
    await there.close()


@pytest.fixture
async def books(clear: tuple[Store, Store]) -> tuple[HookBook, HookBook]:
    made = []
    for store in clear:
        sealed = await with_encryption(store, [master_key(bytes(range(32)))], clock=store.clock)
        made.append(HookBook(sealed, store.clock, RandomIds()))
    return made[0], made[1]


def hook(books: tuple[HookBook, HookBook]) -> Hook:
    return Hook(
        name="prs",
        platform=HookPlatform.GITHUB,
        repository_id="74",
        states="prod/**",
        persons={"583231": "octocat"},
        secret=books[0].fresh_secret(),
        made_by="ann",
        made_at=SystemClock().now(),
    )


@pytest.mark.promise("P10")
async def test_a_person_who_is_taken_off_stays_off_when_another_administrator_changes_the_states_meanwhile(
    books: tuple[HookBook, HookBook],
) -> None:
    here, there = books
    await here.add(replace(hook(books), persons={"583231": "octocat", "12": "anna"}))

    async def meanwhile(about: Hook, _version: int) -> None:
        if "583231" in about.persons:
            await there.change("prs", persons={"12": "anna"})

    after = await here.change("prs", states="dev/**", before=meanwhile)
    assert (after.states, after.persons) == ("dev/**", {"12": "anna"})
    assert await there.find("prs") == after


async def test_one_of_all_replicas_takes_a_comment(clear: tuple[Store, Store]) -> None:
    now = clear[0].clock.now()
    until = now + timedelta(days=1)
    takers = [HeardComments(store.records) for store in clear * 4]
    taken = await asyncio.gather(
        *(taker.take("prs", "7", until=until, now=now) for taker in takers), return_exceptions=True
    )
    (mine,) = [each for each in taken if isinstance(each, int)]
    assert sum(isinstance(each, BackendUnavailable) for each in taken) == len(takers) - 1, taken
    assert await takers[0].take("other", "7", until=until, now=now), "another code host may have the same number"
    await takers[1].give_back("prs", "7", until=until, taken=mine)
    again = await takers[0].take("prs", "7", until=until, now=now)
    assert again is not None
    await takers[1].finish("prs", "7", until=until, taken=again)
    assert [await taker.take("prs", "7", until=until, now=now) for taker in takers] == [None] * len(takers)
    for later, kept in ((timedelta(), 2), (timedelta(days=2), 2), (timedelta(days=3), 0)):
        await takers[1].forget(until + later - timedelta(days=1))
        assert len(await clear[0].records.list("heard/")) == kept, later


@pytest.mark.promise("P10")
async def test_who_was_killed_before_the_decision_holds_a_comment_for_a_minute(clear: tuple[Store, Store]) -> None:
    here, there = (HeardComments(store.records) for store in clear)
    now = clear[0].clock.now()
    until = now + timedelta(days=1)
    killed = await here.take("prs", "7", until=until, now=now)
    assert killed is not None
    with pytest.raises(BackendUnavailable):
        await there.take("prs", "7", until=until, now=now + timedelta(seconds=DECIDING_S))
    for jump in (timedelta(seconds=DECIDING_S + 1), -timedelta(hours=1)):
        taken = await there.take("prs", "7", until=until, now=now + jump)
        assert taken is not None, "also by a clock that was set back"
        await here.give_back("prs", "7", until=until, taken=killed)
        with pytest.raises(BackendUnavailable):
            await here.take("prs", "7", until=until, now=now + jump)
    await clear[0].records.swap(f"heard/{until:%Y%m%d}/prs/8", expected=None, value=b"{}")
    assert await here.take("prs", "8", until=until, now=now) is None, "as a release before this one has written it"


@pytest.mark.promise("P10")
async def test_a_hook_is_kept_once_and_nobody_reads_its_secret(
    clear: tuple[Store, Store], books: tuple[HookBook, HookBook]
) -> None:
    here, there = books
    first = hook(books)
    assert await here.add(first) == first
    again = replace(first, secret=there.fresh_secret(), made_by="ben")
    assert await there.add(again) == first, "asked twice, as when the answer was lost"
    with pytest.raises(UsageError, match="already"):
        await there.add(replace(again, states="**"))
    assert await there.all() == ((first,), ())
    (record,) = await clear[0].records.list("hook/")
    assert first.secret.encode() not in record.value
    assert b"octocat" not in record.value
    after = await there.rotate("prs")
    assert after.secret != first.secret
    assert after.rotated_at is not None
    assert await here.find("prs") == after
    await here.remove("prs")
    assert await there.find("prs") is None
    for name in ("prs", "", "a/b", "\x00", "x" * 200):
        assert await here.find(name) is None
        with pytest.raises(UsageError):
            await here.remove(name)
        with pytest.raises(UsageError):
            await here.rotate(name)


@pytest.mark.promise("P10")
async def test_without_encryption_no_secret_is_taken_and_what_is_in_clear_lets_nobody_decide(
    clear: tuple[Store, Store], books: tuple[HookBook, HookBook]
) -> None:
    import msgspec

    bare = HookBook(clear[0], clear[0].clock, RandomIds())
    with pytest.raises(UsageError) as refusal:
        await bare.add(hook(books))
    assert "encryption new-key" in refusal.value.fix
    await clear[0].records.swap("hook/prs", expected=None, value=msgspec.json.encode(hook(books)))
    with pytest.raises(RecordDamaged, match="is damaged"):
        await books[0].find("prs")
