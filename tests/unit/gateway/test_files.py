import asyncio
import gzip
import json
from typing import Any, cast

import pytest
from yarl import URL

import interlock.gateway.files
from interlock.gateway.answers import Answer, fenced
from interlock.gateway.files import (
    ADDRESS_MAX,
    AT_ONCE_MAX,
    OWN,
    SERVERS,
    Files,
    Patience,
    Relayed,
    Sealed,
    read_address,
)
from interlock.gateway.retries import Failure
from interlock.gateway.route import PATH_MAX
from interlock.gateway.upstream import Broken, Reply
from interlock.ids import RandomIds
from interlock.testing.clock import FakeClock
from interlock.testing.ids import CountingIds

API = URL("https://api.mypurecloud.de")
GIVEN = "https://apps.mypurecloud.de/uploads/v2/x?signature=a%2Fb"
PATH = "/api/v2/architect/prompts/p1/resources"


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("given", "is_ours"),
    [
        (GIVEN, True),
        ("https://api.mypurecloud.de/uploads/x", True),
        ("https://apps.mypurecloud.com/uploads/x", False),
        ("https://apps.mypurecloud.de.evil.example/uploads/x", False),
        ("https://evil.example/uploads/x", False),
        ("http://apps.mypurecloud.de/uploads/x", False),
        ("https://apps.mypurecloud.de:8443/uploads/x", False),
        ("https://user:word@apps.mypurecloud.de/uploads/x", False),
        ("https://:word@apps.mypurecloud.de/uploads/x", False),
        ("https://evil.example\\@apps.mypurecloud.de/uploads/x", False),
        ("https://apps.mypurecloud.de\\@evil.example/uploads/x", False),
        ("https://apps.mypurecloud.de@evil.example/uploads/x", False),
        ("https://apps.mypurecloud.de%2f@evil.example/uploads/x", False),
        ("https://apps%2emypurecloud.de/uploads/x", False),
        ("https://xn--pps-8cd.mypurecloud.de/uploads/x", False),
        ("https://[::ffff:127.0.0.1]/uploads/x", False),
        ("https://apps.mypurecloud.de:0/uploads/x", False),
        ("https://apps.mypurecloud.de.:443/uploads/x", False),
        ("https:apps.mypurecloud.de/x", False),
        ("https://apps.mypurecloud.de:port/x", False),
        ("https://apps.mypurecloud.de/x\r\nHost: evil.example", False),
        ("/uploads/x", False),
        ("", False),
        (None, False),
        (5, False),
    ],
)
def test_a_token_goes_only_to_the_hosts_of_the_regions_api(given: object, is_ours: bool) -> None:
    assert (read_address(given, API) is not None) is is_ours


KEY = b"k" * 32


def files_with(upstream: object = None, tokens: object = None, clock: object = None, patience: Patience = OWN) -> Files:
    return Files(
        addresses=Sealed(API, KEY, RandomIds()),
        patience=patience,
        upstream=cast("Any", upstream),
        tokens=cast("Any", tokens),
        clock=cast("Any", clock),
        ids=CountingIds(),
    )


def readdressed(body: bytes, method: str = "POST", path: str = PATH, **more: Any) -> tuple[Files, Reply, Reply]:
    files = files_with()
    reply = Reply(**{"status": 200, "headers": (), "body": body, **more})
    return files, reply, files.readdressed(method, path, reply, base="http://127.0.0.1:1/r/run/secret", run="run")


@pytest.mark.parametrize("packed", [False, True])
def test_the_answer_that_gives_an_address_gives_one_of_ours_and_the_rest_as_it_was(packed: bool) -> None:
    plain = json.dumps({"language": "en-us", "uploadUri": GIVEN}).encode()
    headers = ((b"content-encoding", b"gzip"),) if packed else ()
    files, _, reply = readdressed(gzip.compress(plain) if packed else plain, headers=headers)
    body = json.loads(reply.body)
    assert reply.headers == ()
    assert body.pop("uploadUri").startswith("http://127.0.0.1:1/r/run/secret/files/")
    assert body == {"language": "en-us"}
    name = json.loads(reply.body)["uploadUri"].removeprefix("http://127.0.0.1:1/r/run/secret")
    assert str(files.find(name, "run")) == GIVEN
    assert files.find("/files/another", "run") is None


@pytest.mark.parametrize(
    "other",
    [
        {"body": b"no json"},
        {"body": b"[5]"},
        {"body": b'{"uploadUri": "https://evil.example/x"}'},
        {"body": json.dumps({"uploadUri": GIVEN}).encode(), "method": "GET"},
        {"body": json.dumps({"uploadUri": GIVEN}).encode(), "path": "/api/v2/greetings/1"},
        {"body": json.dumps({"uploadUri": GIVEN}).encode(), "status": 409},
    ],
)
def test_any_other_answer_is_given_on_untouched(other: dict[str, Any]) -> None:
    _, before, after = readdressed(**other)
    assert after is before


class Tokens:
    """A pool of two tokens."""

    def __init__(self) -> None:
        self.rejected: list[str] = []

    async def wait_bearer(self) -> str:
        return "second" if self.rejected else "first"

    def reject_bearer(self, value: str) -> None:
        self.rejected.append(value)


class Places:
    """Where files go: gives its answers in order, and hangs when there are none."""

    def __init__(self, *answers: Reply) -> None:
        self.answers = list(answers)
        self.bearers: list[str] = []
        self.is_cut = False

    async def send_file(self, _address: URL, *, bearer: str, **_: Any) -> Reply:
        self.bearers.append(bearer)
        try:
            return self.answers.pop(0) if self.answers else await asyncio.Future()
        except asyncio.CancelledError:
            self.is_cut = True
            raise


def reply(status: int, **headers: str) -> Reply:
    pairs = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Reply(status=status, headers=pairs, body=b"")


async def sent(
    places: Places, *, fences: int = 0, is_lost: bool = False, patience: Patience = OWN
) -> tuple[Reply | Broken | Answer, FakeClock]:
    """Send a file; the run is fenced from the asking with the number `fences` on, 0 for never."""
    clock = FakeClock()
    asked: list[None] = []
    files = files_with(places, Tokens(), clock, patience)

    async def fence() -> Answer | None:
        asked.append(None)
        return fenced("run", correlation="x") if len(asked) == fences else None

    async def lost() -> bool:
        return is_lost

    sending = asyncio.create_task(files.send(URL(GIVEN), [], b"x", fence=fence, is_lost=lost))
    while not sending.done():
        await asyncio.sleep(0)
        await clock.advance(1.0)
    return await sending, clock


@pytest.mark.promise("P4")
async def test_a_run_that_is_fenced_between_two_attempts_sends_no_second_one() -> None:
    places = Places(reply(401), reply(200))
    answer, _ = await sent(places, fences=2)
    assert (answer.status if isinstance(answer, Answer) else answer, places.bearers) == (409, ["first"])
    places = Places(reply(401), reply(200))
    answer, _ = await sent(places)
    assert (answer.status if isinstance(answer, Reply) else answer, places.bearers) == (200, ["first", "second"])


@pytest.mark.promise("P4")
async def test_a_file_that_is_under_way_when_its_run_loses_the_lock_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interlock.gateway.files, "LOOK_S", 0.001)
    places = Places()
    answer, _ = await sent(places, is_lost=True)
    assert isinstance(answer, Broken)
    assert (answer.failure, places.is_cut) == (Failure.LOST, True)


@pytest.mark.promise("P10")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_an_answer_that_leads_a_file_elsewhere_is_not_given_on(status: int) -> None:
    answer, _ = await sent(Places(reply(status, location="https://evil.example/x")))
    assert isinstance(answer, Broken)


@pytest.mark.promise("P7")
async def test_a_file_that_is_refused_for_now_is_sent_again_as_soon_as_it_may_be() -> None:
    places = Places(reply(429, retry_after="7"), reply(429), reply(200))
    answer, clock = await sent(places)
    assert isinstance(answer, Reply)
    assert (answer.status, len(places.bearers), clock.monotonic() >= 9.0) == (200, 3, True)
    places = Places(*[reply(429, retry_after="170")] * 3)
    answer, _ = await sent(places)
    assert isinstance(answer, Reply)
    assert (answer.status, len(places.bearers)) == (429, 2)


async def test_files_wait_for_each_other_so_that_no_more_than_two_are_held() -> None:
    files = files_with()
    held, most = 0, 0

    async def one() -> None:
        nonlocal held, most
        async with files.turn([]) as is_there:
            held += is_there
            most = max(most, held)
            await asyncio.sleep(0)
            held -= 1

    await asyncio.gather(*(one() for _ in range(10)))
    assert (held, most) == (0, AT_ONCE_MAX)


@pytest.mark.promise("P10")
def test_an_address_is_good_for_the_run_that_got_it_at_every_gateway_that_shares_the_key_and_for_nobody_else() -> None:
    one, other, stranger = (Sealed(API, key, RandomIds()) for key in (KEY, KEY, b"s" * 32))
    name = one.name(GIVEN, "a")
    assert name is not None
    assert str(other.find(f"/files/{name}", "a")) == GIVEN
    changed = ("B" if name[40] == "A" else "A").join((name[:40], name[41:]))
    found = [other.find(f"/files/{name}", "b"), stranger.find(f"/files/{name}", "a")]
    found += [other.find(f"/files/{each}", "a") for each in (changed, name[:-4], "", "A", "%zz", name + "/x")]
    assert found == [None] * 8
    assert "apps" not in name
    elsewhere = Sealed(URL("https://evil.example"), KEY, RandomIds()).name("https://evil.example/x", "a")
    assert other.find(f"/files/{elsewhere}", "a") is None


def test_the_longest_address_that_is_taken_fits_into_a_path() -> None:
    longest = "https://apps.mypurecloud.de/".ljust(ADDRESS_MAX, "x")
    name = Sealed(API, KEY, RandomIds()).name(longest, "r")
    assert name is not None
    assert len(f"/r/{'r' * 64}/{'t' * 128}/files/{name}") <= PATH_MAX
    relayed = Relayed(URL("https://server.example/gateway/acme/r/w/secret"))
    assert relayed.name(f"https://server.example/gateway/acme/r/w/secret/files/{name}", "r") == name
    assert Sealed(API, KEY, RandomIds()).name(longest + "x", "r") is None


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("https://server.example/gateway/acme/r/w/secret/files/abc-_9", "abc-_9"),
        ("http://10.0.0.1:8080/gateway/acme/r/w/secret/files/abc", "abc"),  # behind a proxy
        ("https://server.example/gateway/acme/r/other/secret/files/abc", None),
        ("https://server.example/gateway/acme/r/w/secret/files/a/../../b", None),
        ("https://server.example/gateway/acme/r/w/secret/files/", None),
        ("https://apps.mypurecloud.de/files/abc", None),
        ("http://[", None),
        (5, None),
    ],
)
def test_a_runs_gateway_takes_for_its_server_what_that_gave_it_and_nothing_else(
    given: object, name: str | None
) -> None:
    server = "https://server.example/gateway/acme/r/w/secret"
    relayed = Relayed(URL(server))
    assert relayed.name(given, "run") == name
    found = relayed.find(f"/files/{name or 'a/b'}", "run")
    assert (None if found is None else str(found)) == (None if name is None else f"{server}/files/{name}")


@pytest.mark.promise("P7")
async def test_a_server_holds_no_file_while_none_is_taken_for_long_and_says_when_to_come_back() -> None:
    places = Places(reply(429, retry_after="170"), reply(200))
    answer, clock = await sent(places, patience=SERVERS)
    assert (answer.status if isinstance(answer, Reply) else answer) == 429
    files = files_with(places, Tokens(), clock, SERVERS)
    files._closed_until_s = clock.monotonic() + 100.0

    async def current() -> Answer | None:
        return None

    async def held() -> bool:
        return False

    again = await files.send(URL(GIVEN), [], b"x", fence=current, is_lost=held)
    assert isinstance(again, Answer)
    assert (again.status, dict(again.headers)[b"retry-after"], len(places.bearers)) == (429, b"100", 1)
