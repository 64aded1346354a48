"""Whoever reaches a server plays the code host; whoever may comment plays the approver. Nothing is decided, or kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from tests.code_host import github_event, github_headers

from interlock.api.hooks import ChangedHook, NewHook
from interlock.errors import BackendUnavailable
from interlock.ids import RandomIds
from interlock.policy.approval import Approval, Kind, Standing, standing
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.server.api.serving import api_routes
from interlock.server.hooks.book import DECIDING_S, HeardComments, HookBook
from interlock.server.hooks.endpoints import HookKeeper, hook_endpoints
from interlock.server.hooks.hearing import GOOD_FOR, Hearing
from interlock.store.memory import MemoryRecords
from interlock.store.sealing import master_key
from interlock.store.vault import with_encryption
from interlock.testing.asking import Answered, ask
from interlock.testing.clock import FakeClock
from interlock.testing.home import memory_home

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DIGEST = "ab" * 32
LINE = f"/interlock approve r1 {DIGEST[:16]} seen"


class Place:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock(start=NOW)
        self.home = memory_home(folder, clock=self.clock)

    async def open(self) -> Place:
        sealed = await with_encryption(self.home.store, [master_key(bytes(range(32)))], clock=self.clock)
        book = HookBook(sealed, self.clock, RandomIds())
        self.keeper = keeper = HookKeeper(book, self.home.audit, clock=self.clock)
        asked = NewHook(
            name="prs", platform="github", repository_id="74", states="prod/**", persons={"583231": "o", "12": "anna"}
        )
        made = await keeper.add(asked, by="admin")
        self.secret, self.path = made.secret, made.about.path
        hearing = Hearing(book, HeardComments(self.home.store.records), self.home)
        tokens = BookTokens(
            TokenBook(self.home.store.records, self.clock, RandomIds()), SingleToken("the-own-token-of-this-server")
        )
        rows = hook_endpoints(keeper, hearing)
        self.app = Starlette(routes=list(api_routes(rows, tokens=tokens, ending=asyncio.Event())))
        await self.clock.advance(60)
        await self.home.approvals.ask(self.request())
        return self

    def request(self, **more: Any) -> Approval:
        asked = Approval(
            id="r1", kind=Kind.APPLY, state="prod/routing", digest=f"sha256:{DIGEST}", what="apply prod/routing",
            asked_by="github 74 (t1)", asked_at=self.clock.now(), expires_at=self.clock.now() + timedelta(days=7),
            needed=1, policy="production", ordered_by="github:12", comments_on="github",
        )  # fmt: skip
        return replace(asked, **more)

    def event(self, text: str = LINE, **more: Any) -> dict[str, Any]:
        return github_event(text, **{"created_at": f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}", **more})

    async def send(self, body: bytes, headers: Mapping[str, str]) -> Answered:
        small = {name.lower(): value for name, value in headers.items()}
        return await ask(self.app, "POST", self.path, headers=small, body=body)

    async def tells(self, event: dict[str, Any]) -> Answered:
        body = json.dumps(event).encode()
        return await self.send(body, github_headers(body, self.secret))

    async def outcome(self, event: dict[str, Any]) -> str:
        answer = await self.tells(event)
        assert answer.status == 200, answer.body
        return str(answer.json()["outcome"])

    async def standing(self, name: str = "r1") -> Standing:
        return standing(await self.home.approvals.get(name), self.clock.now())

    async def kept(self) -> tuple[int, int]:
        """How much is written down: entries of the audit log, and comments that are remembered."""
        return len(await self.home.audit.entries()), len(await self.home.store.records.list("heard/"))


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    return await Place(tmp_path).open()


@pytest.mark.promise("P10")
async def test_a_flood_of_what_is_not_signed_leaves_nothing_behind(place: Place) -> None:
    before = await place.kept()
    body = json.dumps(place.event()).encode()
    for number in range(500):
        answer = await place.send(body, github_headers(body, f"whsec_{number}"))
        assert (answer.status, answer.json()["kind"]) == (401, "AuthenticationFailed")
    assert await place.kept() == before
    assert await place.standing() is Standing.WAITING


@pytest.mark.promise("P10")
async def test_a_hook_that_is_not_there_is_refused_as_a_wrong_signature_is(place: Place) -> None:
    body = json.dumps(place.event()).encode()
    wrong = await place.send(body, github_headers(body, "whsec_x"))
    for name in ("other", "", "..", "%00", "x" * 300, "hook%2Fprs"):
        place.path = f"/api/v1/hooks/comment?name={name}"
        answer = await place.send(body, github_headers(body, place.secret))
        assert (answer.status, answer.body) == (wrong.status, wrong.body)
    from interlock.server.hooks.signature import NO_SECRET

    assert (await place.send(body, github_headers(body, NO_SECRET))).status == 401, (
        "what anybody can read in our source"
    )


@pytest.mark.promise("P10")
async def test_strangers_who_may_comment_fill_neither_the_log_nor_the_store(place: Place) -> None:
    before = await place.kept()
    for number in range(1, 200):
        assert await place.outcome(place.event(person=number + 1_000_000)) == "refused"
        assert await place.outcome(place.event("/interlock approve", person=number + 1_000_000)) == "refused"
        assert await place.outcome(place.event(repository=number + 100)) == "refused"
        assert await place.outcome(place.event("looks good", person=583231)) == "ignored"
    assert await place.kept() == before
    assert await place.standing() is Standing.WAITING


@pytest.mark.promise("P10")
async def test_a_comment_from_another_day_or_from_before_the_hook_decides_nothing(place: Place) -> None:
    before = await place.kept()
    now = place.clock.now()
    for written_at in (
        now - GOOD_FOR,
        now + timedelta(minutes=6),
        NOW - timedelta(minutes=6),
        NOW - timedelta(days=400),
    ):
        event = place.event(created_at=f"{written_at:%Y-%m-%dT%H:%M:%SZ}")
        assert await place.outcome(event) == "refused", written_at
    assert await place.kept() == before
    assert await place.standing() is Standing.WAITING


@pytest.mark.promise("P10")
async def test_a_comment_of_one_who_was_listed_later_is_not_heard_when_it_is_told_again(place: Place) -> None:
    event = place.event(person=77)
    assert await place.outcome(event) == "refused"
    await place.clock.advance(3_600)
    await place.keeper.change("prs", ChangedHook(states="prod/**", persons={"77": "new"}), by="admin")
    assert await place.outcome(event) == "refused"
    assert await place.standing() is Standing.WAITING
    assert await place.outcome(place.event(person=77)) == "approved"


@pytest.mark.promise("P10")
async def test_a_captured_comment_decides_nothing_a_second_time_nor_a_day_later(place: Place) -> None:
    event = place.event()
    await place.home.approvals.ask(place.request(id="r0", state="other/routing"))
    assert await place.outcome(place.event(LINE.replace("r1", "r0"))) == "refused", "a state of others"
    assert await place.outcome(event) == "approved"
    kept = await place.kept()
    assert [await place.outcome(event) for _ in range(3)] == ["repeated"] * 3
    for _ in range(4):
        await place.clock.advance(86_400)
        assert await place.outcome(event) == "refused"
    assert await place.kept() == kept
    await place.home.approvals.ask(place.request(id="r2", digest="sha256:" + "cd" * 32))
    assert await place.outcome(place.event(f"/interlock approve r2 {'cd' * 8} x")) == "approved"
    assert (await place.kept())[1] == 1, "what is too old to be taken is forgotten"


@pytest.mark.promise("P8")
async def test_no_comment_decides_for_its_own_run_for_a_lock_or_for_another_plan(place: Place) -> None:
    for name, more in (
        ("r3", {"kind": Kind.FORCE_UNLOCK}),
        ("r4", {"kind": Kind.RESTORE}),
        ("r5", {"state": "staging/routing"}),
        ("r6", {"ordered_by": ""}),
        ("r7", {"ordered_by": "gitlab:12"}),
        ("r8", {"digest": "sha256:" + "cd" * 32}),
        ("r9", {"ordered_by": "github:583231"}),
    ):
        await place.home.approvals.ask(place.request(id=name, **more))
        assert await place.outcome(place.event(LINE.replace("r1", name))) == "refused", name
        assert await place.standing(name) is Standing.WAITING
    assert await place.outcome(place.event(person=12)) == "refused", "anna began it"
    assert await place.outcome(place.event(LINE.replace("r1", "nosuch"))) == "refused"
    told = [entry for entry in await place.home.audit.entries() if entry.action == "comment-refused"]
    assert len(told) == 9
    assert all("github.com" in str(entry.facts["via"]) for entry in told)
    assert "staging" not in json.dumps([str(entry.subject) for entry in told])


@pytest.mark.promise("P10")
async def test_what_is_typed_is_shown_to_nobody_as_it_is(place: Place) -> None:
    poison = "\x1b[2J\u202e::add-mask::x"
    event = place.event(f"{LINE} {poison}", html_url=f"https://github.com/{poison}\n" + "x" * 5000)
    event["comment"]["user"]["login"] = event["sender"]["login"] = poison
    assert await place.outcome(event) == "approved"
    (said,) = (await place.home.approvals.get("r1")).decisions
    for shown in (said.who, said.reason, said.via):
        assert shown.isprintable()
        assert len(shown) < 1000


@pytest.mark.promise("P5")
async def test_a_comment_that_could_not_be_decided_is_not_lost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    event = place.event()

    async def away(*_: object, **__: object) -> None:
        raise BackendUnavailable("the store is away")

    with monkeypatch.context() as broken:
        broken.setattr(place.home.approvals, "decide", away)
        assert (await place.tells(event)).status == 503
    assert await place.standing() is Standing.WAITING
    assert await place.outcome(event) == "approved", "the code host tells it again"


@pytest.mark.promise("P10")
async def test_a_comment_whose_store_went_away_at_any_write_decides_when_it_is_told_again(tmp_path: Path) -> None:
    for writes in range(1, 12):
        place = await Place(tmp_path / str(writes)).open()
        event = place.event()
        with store_gone_after(place, writes) as written:
            await place.tells(event)
        if len(written) < writes:
            break
        await place.clock.advance(DECIDING_S + 1)
        assert await place.outcome(event) in {"approved", "repeated"}, written
        assert await place.standing() is Standing.APPROVED, written
        assert len([each for each in await place.home.audit.entries() if each.action == "approved"]) == 1, written
    else:
        pytest.fail("there were more writes than were tried")
    assert writes > 4


@contextmanager
def store_gone_after(place: Place, writes: int) -> Iterator[list[str]]:
    records, written = place.home.store.records, list[str]()
    swap = records.swap

    async def refused(key: str, *, expected: int | None, value: bytes | None) -> int:
        if len(written) == writes:
            raise BackendUnavailable("the store is away")
        version = await swap(key, expected=expected, value=value)
        written.append(key)
        return version

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(records, "swap", refused)
        yield written


@pytest.mark.promise("P10")
async def test_a_damaged_record_of_an_old_comment_keeps_no_new_one_from_deciding(place: Place) -> None:
    records = place.home.store.records
    assert isinstance(records, MemoryRecords)
    await records.swap("heard/20200101/prs/1", expected=None, value=b"{}")
    records._sums["heard/20200101/prs/1"] = b"damaged"
    assert await place.outcome(place.event()) == "approved"
