"""Each HTTP client of ours, sent elsewhere by the server that it trusts: what it takes along."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.ci.platforms.api import Api
from interlock.ci.platforms.azure import _is_microsofts
from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError
from interlock.existing import google_login
from interlock.existing.http import HttpPlace, Line
from interlock.existing.rest import Rest, Service
from interlock.home.line import Line as ServerLine
from interlock.settings.values import Secret
from interlock.testing.answers import AnswerServer, Told, answer_server
from interlock.testing.clock import FakeClock
from interlock.trust.sending import Elsewhere, SameOrigin, find_origin

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SECRETS = {"Authorization": "Bearer secret", "PRIVATE-TOKEN": "secret", "Job-Token": "secret", "X-New-Header": "secret"}


@pytest.fixture
def own() -> Iterator[AnswerServer]:
    with answer_server(NOW) as server:
        yield server


@pytest.fixture
def other() -> Iterator[AnswerServer]:
    with answer_server(NOW) as server:
        server.answer = lambda _: Told(body=b'"theirs"')
        yield server


def api(server: AnswerServer) -> Api:
    return Api(base=server.url, headers=SECRETS, title="t", token_names="T")


@pytest.mark.promise("P10")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_answer_of_another_server_is_no_answer_of_ours(own: AnswerServer, other: AnswerServer, status: int) -> None:
    own.answer = lambda _: Told(status=status, headers={"Location": f"{other.url}/x"})
    with pytest.raises(BackendUnavailable, match="did not answer"):
        api(own).find("/x")
    with pytest.raises(BackendUnavailable, match="did not answer"):
        api(own).send("POST", "/x", {})
    assert other.calls == []


@pytest.mark.promise("P10")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_download_is_followed_without_any_credential(own: AnswerServer, other: AnswerServer, status: int) -> None:
    own.answer = lambda _: Told(status=status, headers={"Location": f"{other.url}/kept?sig=a%2Bb"})
    assert api(own).find_bytes("/artifact") == b'"theirs"'
    assert [call.path for call in other.calls] == ["/kept?sig=a%2Bb"]
    assert "secret" not in str(other.calls)
    assert "secret" in str(own.calls)


@pytest.mark.promise("P10")
def test_what_an_answer_names_gets_our_token_only_at_our_own_origin(own: AnswerServer, other: AnswerServer) -> None:
    own.answer = lambda _: Told(body=b"ours")
    assert api(own).download(f"{other.url}/state?sig=a%2Bb&x=1&x=2") == b'"theirs"'
    assert [call.path for call in other.calls] == ["/state?sig=a%2Bb&x=1&x=2"]
    assert "secret" not in str(other.calls)
    assert api(own).download(f"{own.url}/state") == b"ours"
    assert "secret" in str(own.calls)


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "url", ["http://tfe.example.com/state", "file:///etc/passwd", "ftp://a/b", "https://u:p@a/b", "x"]
)
def test_a_download_over_less_than_https_is_refused(url: str) -> None:
    secure = Api(base="https://tfe.example.com/api/v2", headers=SECRETS, title="t", token_names="T")
    with pytest.raises(UsageError, match="not https"):
        secure.download(url)


@pytest.mark.promise("P10")
async def test_the_password_of_an_http_backend_stays_with_its_server(own: AnswerServer, other: AnswerServer) -> None:
    own.answer = lambda _: Told(status=302, headers={"Location": f"{other.url}/state"})
    place = HttpPlace(address=own.url, lock_address=None, unlock_address=None, username="u", password="secret")
    assert (await Line(place, FakeClock()).send("GET", f"{own.url}/state")).status == 302
    assert other.calls == []


OLD = "https://ci.example.com/x"
WEAKER = ("http://ci.example.com/x", "http://ci.example.com:443/x", "ftp://ci.example.com/x", "file:///etc/passwd")
ELSEWHERE = ("https://ci.example.com:8443/x", "https://ci.example.com.evil.example/x", "https://evil.example/x")


class Request:
    """As much of a request as a redirect needs."""

    def __init__(self) -> None:
        self.full_url = OLD
        self.headers = dict(SECRETS)
        self.origin_req_host = "ci.example.com"

    def get_method(self) -> str:
        return "GET"


def redirected(handler: Any, url: str) -> Any:
    return handler.redirect_request(Request(), None, 302, "Found", {}, url)


@pytest.mark.promise("P10")
@pytest.mark.parametrize("url", [*WEAKER, *ELSEWHERE])
def test_no_redirect_leaves_the_origin(url: str) -> None:
    assert redirected(SameOrigin(), url) is None
    assert redirected(SameOrigin(), f"{OLD}/more").full_url == f"{OLD}/more"


@pytest.mark.promise("P10")
def test_no_download_is_led_from_https_to_http_and_none_takes_a_header_of_ours_along() -> None:
    assert [url for url in WEAKER if redirected(Elsewhere(), url) is not None] == []
    for url in ELSEWHERE:
        assert "secret" not in str(redirected(Elsewhere(), url).headers)
    assert "secret" in str(redirected(Elsewhere(), f"{OLD}/more").headers)


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("url", "is_theirs"),
    [
        ("https://artprodeus1.artifacts.visualstudio.com/a", True),
        ("https://x.dev.azure.com/a", True),
        ("https://evil.example/a", False),
        ("https://dev.azure.com.evil.example/a", False),
        ("https://evilvisualstudio.com/a", False),
        ("https://x.visualstudio.com:8443/a", False),
    ],
)
def test_only_azures_own_hosts_get_azures_token(url: str, *, is_theirs: bool) -> None:
    origin = find_origin(url)
    assert origin is not None
    assert _is_microsofts(origin) is is_theirs


def signed(request: urllib.request.Request, _body: bytes) -> None:
    request.add_header("Authorization", "Bearer secret")


@pytest.mark.promise("P10")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_store_of_blobs_leads_nobody_to_another_server(
    own: AnswerServer, other: AnswerServer, status: int
) -> None:
    own.answer = lambda _: Told(status=status, headers={"Location": f"{other.url}/x"})
    line = Rest(Service(title="t", login="", sign=signed), FakeClock())
    with pytest.raises(BackendUnavailable):
        await line.send("GET", f"{own.url}/x", repeats=False)
    assert "secret" in str(own.calls)
    assert other.calls == []


@pytest.mark.promise("P10")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_our_own_server_leads_no_token_to_another(own: AnswerServer, other: AnswerServer, status: int) -> None:
    own.answer = lambda _: Told(status=status, headers={"Location": f"{other.url}/x"})
    line = ServerLine(own.url, Secret(value="secret"), FakeClock())
    with pytest.raises(InterlockError):
        await line.ask("GET", "/locks", attempts=1)
    await line.close()
    assert "secret" in str(own.calls)
    assert other.calls == []


@pytest.mark.promise("P10")
def test_a_login_service_leads_nobody_to_another_server(own: AnswerServer, other: AnswerServer) -> None:
    own.answer = lambda _: Told(status=307, headers={"Location": f"{other.url}/x"})
    with pytest.raises(AuthenticationFailed):
        google_login._ask(f"{own.url}/token", b"assertion=secret", {})
    assert other.calls == []


def test_every_client_is_one_that_these_tests_know() -> None:
    clients = re.compile(
        r"build_opener|urlopen|HTTPS?Connection\(|ClientSession\(|open_connection\(|create_connection\("
    )
    source = Path(__file__).parents[2] / "src" / "interlock"
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if clients.search(path.read_text(encoding="utf-8"))
    }
    ours = {"azurite.py", "consul_server.py", "kubernetes_server.py"}
    assert found - {"simulator/provider/wire.py", *(f"testing/{name}" for name in ours)} == {
        "compose/provider.py",  # SameOrigin, below
        "compose/job_login.py",  # SameOrigin, below
        "home/line.py",  # here
        "server/identity/issuer_keys.py",  # follows no redirect, and sends no credential
        "ci/platforms/api.py",  # here
        "existing/azure_login.py",  # SameOrigin, below
        "existing/google_login.py",  # here
        "existing/rest.py",  # here
        "simulator/upstream.py",  # follows no redirect, below
        "existing/http.py",  # here
        "gateway/upstream.py",  # follows no redirect: tests/e2e/test_gateway_hostile.py
        "gateway/tunnel.py",  # has no credential
        "drift/organisation.py",  # a run's own gateway only, and follows no redirect
    }
    assert (source / "simulator/upstream.py").read_text(encoding="utf-8").count("allow_redirects=False") == 1
    login = (source / "existing/azure_login.py").read_text(encoding="utf-8")  # its host is Microsoft's, a constant
    assert login.count("build_opener(") == login.count("build_opener(SameOrigin())")
    for name in ("gateway/upstream.py", "drift/organisation.py"):
        text = (source / name).read_text(encoding="utf-8")
        assert text.count("_session.request(") == text.count("allow_redirects=False")
