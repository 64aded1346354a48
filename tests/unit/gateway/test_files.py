import asyncio
import gzip
import json
from typing import Any, cast

import pytest
from yarl import URL

import interlock.gateway.files
from interlock.gateway.answers import Answer, fenced
from interlock.gateway.files import AT_ONCE_MAX, Files, read_address
from interlock.gateway.retries import Failure
from interlock.gateway.upstream import Broken, Reply
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


def readdressed(body: bytes, method: str = "POST", path: str = PATH, **more: Any) -> tuple[Files, Reply, Reply]:
    files = Files(
        api=API, upstream=cast("Any", None), tokens=cast("Any", None), ids=CountingIds(), clock=cast("Any", None)
    )
    reply = Reply(**{"status": 200, "headers": (), "body": body, **more})
    return files, reply, files.readdressed(method, path, reply, base="http://127.0.0.1:1/r/run/secret")


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
    assert str(files.find(name)) == GIVEN
    assert files.find("/files/another") is None


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


async def sent(places: Places, *, fences: int = 0, is_lost: bool = False) -> tuple[Reply | Broken | Answer, FakeClock]:
    """Send a file; the run is fenced from the asking with the number `fences` on, 0 for never."""
    clock = FakeClock()
    asked: list[None] = []
    files = Files(
        api=API, upstream=cast("Any", places), tokens=cast("Any", Tokens()), ids=CountingIds(), clock=cast("Any", clock)
    )

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
    files = Files(
        api=API, upstream=cast("Any", None), tokens=cast("Any", None), ids=CountingIds(), clock=cast("Any", None)
    )
    held, most = 0, 0

    async def one() -> None:
        nonlocal held, most
        async with files.turn() as is_there:
            held += is_there
            most = max(most, held)
            await asyncio.sleep(0)
            held -= 1

    await asyncio.gather(*(one() for _ in range(10)))
    assert (held, most) == (0, AT_ONCE_MAX)
