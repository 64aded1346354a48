"""`terraform login`: the page, the code, and the token that Terraform gets for it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.cloud_api import MASTER, CloudServer

from interlock.rights import Role
from interlock.server.tfe.login import CODE_S, PAGE, PORTS, TOKEN_PATH
from interlock.server.tfe.logins import LOGINS_MAX
from interlock.store.memory import MemoryRecords
from interlock.testing.asking import Answered

VERIFIER = "7f9a4e0e-9a2b-4a07-8f6e-2f6f7a3d9c10.123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
REDIRECT = "http://localhost:10003/login"


@pytest.fixture
def server(tmp_path: Path) -> CloudServer:
    return CloudServer(tmp_path)


def address(**changed: str) -> str:
    query = {
        "client_id": "terraform-cli",
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "its own",
        **changed,
    }
    return f"{PAGE}?{urlencode(query)}"


async def give(server: CloudServer, token: str, **changed: str) -> Answered:
    return await server.ask(
        "POST", address(state="s1", **changed), token=None, body=urlencode({"token": token}).encode()
    )


def code_of(told: Answered) -> str:
    assert told.status == 303
    parts = urlsplit(told.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == REDIRECT
    assert parse_qs(parts.query)["state"] == ["s1"]
    return parse_qs(parts.query)["code"][0]


async def take(server: CloudServer, code: str, **changed: str) -> Answered:
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER, "redirect_uri": REDIRECT}
    return await server.ask("POST", TOKEN_PATH, token=None, body=urlencode({**form, **changed}).encode())


async def test_terraform_finds_the_api_and_the_login(server: CloudServer) -> None:
    found = (await server.ask("GET", "/.well-known/terraform.json", token=None)).json()
    assert {found[name] for name in ("tfe.v2", "tfe.v2.1", "tfe.v2.2", "state.v2")} == {"/api/v2/"}
    assert found["login.v1"] == {
        "client": "terraform-cli",
        "grant_types": ["authz_code"],
        "authz": PAGE,
        "token": TOKEN_PATH,
        "ports": list(PORTS),
    }


@pytest.mark.promise("P10")
async def test_the_token_that_a_person_types_is_what_terraform_gets_once(server: CloudServer) -> None:
    shown = await server.ask("GET", address(state="s1"), token=None)
    assert (shown.status, 'type="password"' in shown.body.decode()) == (200, True)
    token = await server.token(Role.RUNNER)
    code = code_of(await give(server, token))
    records = await server.home.store.records.list("login/")
    assert len(records) == 1
    assert token.encode() not in records[0].value
    assert code.encode() not in records[0].value + records[0].key.encode()
    told = await take(server, code)
    assert (told.status, told.json()) == (200, {"access_token": token, "token_type": "Bearer"})
    again = await take(server, code)
    assert (again.status, again.json()["error"]) == (400, "invalid_grant")
    assert await server.home.store.records.list("login/") == []


async def test_the_servers_own_token_is_good_for_a_login_too(server: CloudServer) -> None:
    assert (await take(server, code_of(await give(server, MASTER)))).json()["access_token"] == MASTER


async def test_a_token_that_is_not_good_is_asked_for_again(server: CloudServer) -> None:
    told = await give(server, "ilk_<script>alert(1)</script>")
    assert told.status == 401
    assert "<script>" not in told.body.decode()
    assert 'type="password"' in told.body.decode()
    revoked = await server.token()
    await server.book.revoke(revoked.split("_")[1])
    assert "revoked" in (await give(server, revoked)).body.decode()


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "redirect",
    [
        "https://evil.example/login",
        "http://localhost:9999/login",
        "http://localhost:10011/login",
        "http://localhost:10003/other",
        "http://localhost:10003/login?x=1",
        "http://localhost:10003@evil.example/login",
        "http://localhost.evil.example:10003/login",
        "http://127.0.0.1:10003/login\n",
        "//localhost:10003/login",
        "javascript:alert(1)",
        "",
    ],
)
async def test_a_code_goes_to_a_port_of_the_persons_own_machine_and_nowhere_else(
    server: CloudServer, redirect: str
) -> None:
    for told in (
        await server.ask("GET", address(redirect_uri=redirect), token=None),
        await give(server, MASTER, redirect_uri=redirect),
    ):
        assert told.status == 400
        assert "location" not in told.headers
        assert told.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge_method": "plain"},
        {"code_challenge": ""},
        {"code_challenge": "x" * 42},
        {"client_id": "other"},
        {"response_type": "token"},
        {"state": "x" * 513},
        {"state": "a\nb"},
    ],
)
async def test_a_login_of_another_kind_is_refused(server: CloudServer, changed: dict[str, str]) -> None:
    assert (await server.ask("GET", address(**{"state": "s", **changed}), token=None)).status == 400


@pytest.mark.promise("P10")
async def test_a_code_is_worth_nothing_to_whoever_did_not_ask_for_it(server: CloudServer) -> None:
    for changed in (
        {"code_verifier": "A" * 43},
        {"code_verifier": ""},
        {"redirect_uri": "http://localhost:10004/login"},
    ):
        code = code_of(await give(server, MASTER))
        refused = await take(server, code, **changed)
        assert (refused.status, refused.json()["error"]) == (400, "invalid_grant")
        assert (await take(server, code)).status == 400, "it is used up"
    code = code_of(await give(server, MASTER))
    assert (await take(server, code, grant_type="password")).status == 400
    server.clock.pass_time(CODE_S + 1)
    assert (await take(server, code)).json()["error"] == "invalid_grant"
    assert (await take(server, "A" * 43)).json()["error"] == "invalid_grant"


async def test_codes_that_nobody_uses_are_forgotten_and_are_not_many(server: CloudServer) -> None:
    for _ in range(LOGINS_MAX + 1):
        assert (await give(server, MASTER)).status == 303
    assert (await give(server, MASTER)).status == 503
    server.clock.pass_time(CODE_S + 1)
    assert (await give(server, MASTER)).status == 303
    assert len(await server.home.store.records.list("login/")) == 1


@pytest.mark.promise("P10")
async def test_the_page_runs_no_scripts_and_stands_in_no_frame(server: CloudServer) -> None:
    headers = (await server.ask("GET", address(state="s"), token=None)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://localhost:10003;" in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"


async def test_damaged_records_of_codes_end_no_login_and_are_let_go(server: CloudServer) -> None:
    records = server.home.store.records
    assert isinstance(records, MemoryRecords)
    for name in ("login/1", "login/2"):
        await records.swap(name, expected=None, value=b"x")
        records._sums[name] = b"damaged"
    token = await server.token(Role.RUNNER)
    told = await take(server, code_of(await give(server, token)))
    assert told.json()["access_token"] == token
    assert await records.list("login/") == []
