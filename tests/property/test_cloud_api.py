"""Whatever is sent to the TFE API, it answers below 500 and within bounds, tells nothing of itself, and goes on."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cloud_api import MASTER, STATE, CloudServer, settle, state, terraform

from interlock.server.tfe.login import PAGE, TOKEN_PATH
from interlock.server.tfe.table import BASE, ROWS

ANSWER_MAX = 64 * 1024
WORD = st.one_of(
    st.sampled_from(["acme", "app", "other", "..", "a@b", "%", "~", "ws-acme~app", "ws-acme~app~0123456789abcdef"]),
    st.sampled_from(["sv-acme~app~v1", "sv-acme~app~v999999999999999999", "sv-acme~app~u" + "0" * 20, "sv-", "wsout-"]),
    st.sampled_from(["wsout-acme~app~v1~bw", "wsout-acme~app~v1~_", "ws-acme~app~~", "x" * 300]),
    st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=30),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=10), below, max_size=4),
    max_leaves=15,
)
VERSION = st.fixed_dictionaries(
    {},
    optional={
        "serial": st.integers(-1, 5) | JSON,
        "lineage": st.sampled_from(["l", "other", ""]) | JSON,
        "md5": st.sampled_from(["0" * 32, "x"]) | JSON,
        "force": st.booleans() | JSON,
        "state": st.sampled_from([base64.b64encode(state(2, "a")).decode(), "!", ""]) | JSON,
        "name": st.sampled_from(["app", "new", "a/b"]) | JSON,
        "execution-mode": JSON,
        "reason": JSON,
    },
)
RELATED = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.fixed_dictionaries({"data": JSON}),
        "tag-bindings": st.fixed_dictionaries(
            {
                "data": st.lists(
                    st.fixed_dictionaries({"attributes": st.fixed_dictionaries({"key": JSON, "value": JSON})})
                )
            }
        ),
        "project": JSON,
    },
)
DOCUMENT = st.builds(
    lambda attributes, related: {"data": {"type": "x", "attributes": attributes, "relationships": related}},
    VERSION,
    RELATED,
)
BODY = st.one_of(st.binary(max_size=200), st.builds(lambda document: json.dumps(document).encode(), DOCUMENT | JSON))
QUERY = st.dictionaries(
    st.sampled_from(
        [
            "page[number]",
            "page[size]",
            "search[tags]",
            "search[name]",
            "search[wildcard-name]",
            "filter[tagged][0][key]",
            "filter[organization][name]",
            "filter[workspace][name]",
            "redirect_uri",
            "code_challenge",
            "client_id",
        ]
    ),
    st.sampled_from(["acme", "app", "1", "-1", "*" * 30, "99999999999999999999"]) | st.text(max_size=20),
    max_size=3,
)


def _address(parts: tuple[str, list[str]]) -> str:
    path, words = parts
    given_words = iter(words)
    pieces = [quote(next(given_words), safe="~@") if piece.startswith("{") else piece for piece in path.split("/")]
    return "/".join(pieces)


ADDRESS = st.one_of(
    st.builds(
        _address, st.tuples(st.sampled_from([BASE + row.path for row in ROWS]), st.lists(WORD, min_size=3, max_size=3))
    ),
    st.sampled_from([PAGE, TOKEN_PATH, "/.well-known/terraform.json", f"{BASE}/runs", f"{BASE}/", f"{BASE}//x"]),
)
REQUEST = st.tuples(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    ADDRESS,
    QUERY,
    BODY,
    st.sampled_from([MASTER, MASTER, MASTER, None, "wrong"]),
)


async def _try(server: CloudServer, request: tuple[str, str, dict[str, str], bytes, str | None]) -> None:
    method, path, query, body, token = request
    address = f"{path}?{'&'.join(f'{quote(name)}={quote(value)}' for name, value in query.items())}"
    sent = server.send(method, address, body=body, token=token)
    await settle()
    async with asyncio.timeout(60):
        for _ in range(200):
            if sent.task.done():
                break
            await server.clock.advance(1)
            await asyncio.sleep(0)
        sent.hang_up()
        while not sent.task.done():
            await server.clock.advance(1)
            await asyncio.sleep(0)
    await sent.task
    answered = sent.answered
    assert answered.status < 500, (request, answered)
    assert answered.status, request
    assert len(answered.body) <= ANSWER_MAX
    assert b"Traceback" not in answered.body
    assert b"site-packages" not in answered.body


async def _all(requests: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = CloudServer(Path(folder))
        mine = await terraform(server)
        await mine.lock()
        await mine.write(state(1, "a", outputs={"o": {"value": 1, "type": "number"}}))
        await mine.unlock()
        for request in requests:
            await _try(server, request)
        head = (await server.view()).head
        if head is not None and head.digest:
            assert (await server.ask("GET", f"/state/{STATE}")).status == 200, "the state can still be read"


@settings(max_examples=100)
@given(st.lists(REQUEST, min_size=1, max_size=12))
@pytest.mark.promise("P3", "P6")
def test_no_request_makes_the_server_fail(requests: list[Any]) -> None:
    asyncio.run(_all(requests))
