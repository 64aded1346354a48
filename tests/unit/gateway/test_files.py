import gzip
import json
from typing import Any, cast

import pytest
from yarl import URL

from interlock.gateway.files import Files, read_address
from interlock.gateway.upstream import Reply
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
    files = Files(api=API, upstream=cast("Any", None), tokens=cast("Any", None), ids=CountingIds())
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
