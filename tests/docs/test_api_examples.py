"""The examples of the API that the documentation has are run, and their answers have the form that is printed there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette

from interlock.api.locks import told_event
from interlock.api.versions import Grant, WriteAsked, line_of
from interlock.backend.asgi import Service
from interlock.compose.gateways import open_doors
from interlock.compose.serving import open_exchange, server_app
from interlock.home.embedded import open_home
from interlock.lock import Priority, Requested
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken
from interlock.settings.values import Settings
from interlock.testing.asking import Answered, ask

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PAGE = ROOT / "docs/reference/server-api.md"
TOKEN = "the-own-token-of-a-server-in-tests"
RUN, STATE = "1m8p0000000000aa", "prod/routing"
VALUES = {"INTERLOCK_SERVER": "", "INTERLOCK_TOKEN": TOKEN, "RUN": RUN}
_EXAMPLE = re.compile(r"```sh\n(curl [^`]*?)```\n(?:\n```json\n(.*?)```)?", re.DOTALL)
_MEANT = {"--header": "header", "--data": "data", "--request": "method"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Starlette]:
    """A server with a state that has a version and a holder, and a run that is told of."""
    async with open_home(Settings(home=tmp_path), store="memory:") as home, open_doors(home) as doors:
        tokens = BookTokens(TokenBook(home.store.records, home.clock, home.ids), SingleToken(TOKEN))
        exchange = open_exchange(home, ["https://interlock.example.com"])
        app = server_app(home, Service(home.ids), tokens, doors, exchange, is_https=False)
        state = {
            "version": 4,
            "terraform_version": "1.11.4",
            "serial": 1,
            "lineage": "l",
            "outputs": {},
            "resources": [],
        }
        summary = {"operation": "plan", "who": "ann", "directory": "infra", "phase": "planning",
                   "started_at": "2026-11-30T10:00:00Z"}  # fmt: skip
        wants = Requested(
            ticket="t", who="ann@laptop", info="apply", priority=Priority.APPLY, lease_s=60.0, patience_s=60.0
        )
        written = line_of(WriteAsked(grant=Grant(ticket="t", run=RUN))) + json.dumps(state).encode()
        for method, address, sent in (
            ("POST", "locks/events", msgspec.json.encode(told_event(wants))),
            ("POST", "versions", written),
            ("PUT", f"runs?run={RUN}", json.dumps({"summary": summary}).encode()),
        ):
            place = f"/api/v1/{address}{'&' if '?' in address else '?'}state={STATE}"
            assert (await asked(app, method, place, sent)).status == 200, address
        yield app


async def asked(app: Starlette, method: str, address: str, body: bytes = b"", token: str = TOKEN) -> Answered:
    headers = {"authorization": f"Bearer {token}", "host": "127.0.0.1"}
    return await ask(app, method, address, headers=headers, body=body)


def examples(page: Path) -> list[tuple[str, str]]:
    return [(found[1], found[2] or "") for found in _EXAMPLE.finditer(page.read_text())]


def form_of(value: Any) -> Any:
    """Return the keys and kinds of an answer; what may be null is not compared."""
    match value:
        case dict():
            return {key: form_of(each) for key, each in value.items()}
        case list():
            return [form_of(each) for each in value[:1]]
        case str() | bool() | int() | float():
            return type(value).__name__
        case _:
            return None


def test_every_example_that_asks_the_api_is_on_the_page_whose_examples_are_run() -> None:
    elsewhere = [
        page for page in PAGES if page != PAGE and re.search(r"^\s*curl .*/api/v1", page.read_text(), re.MULTILINE)
    ]
    assert elsewhere == []
    assert len(examples(PAGE)) == PAGE.read_text().count("```sh\ncurl")
    assert len(examples(PAGE)) > 5


@pytest.mark.parametrize("number", range(len(examples(PAGE))))
async def test_an_example_of_the_api_answers_as_it_is_printed(server: Starlette, number: int) -> None:
    command, answer = examples(PAGE)[number]
    filled = re.sub(r"\$(\w+)", lambda found: VALUES[found[1]], command.replace("\\\n", " "))
    words = shlex.split(filled)
    given = {_MEANT[word]: words[place + 1] for place, word in enumerate(words) if word in _MEANT}
    (address,) = [word for word in words if word.startswith("/api/v1")]
    method = given.get("method", "POST" if "data" in given else "GET")
    token = given["header"].removeprefix("Authorization: Bearer ") if "header" in given else ""
    told = await asked(server, method, address, given.get("data", "").encode(), token)
    if answer:
        assert form_of(told.json()) == form_of(json.loads(answer)), json.dumps(told.json(), indent=2)
        assert told.status == json.loads(answer).get("status", 200)
    else:
        assert told.status == 200, told.body
