from __future__ import annotations

import pytest

from interlock.gateway.route import ANONYMOUS, Door, NamedCaller, Refused, Route, RunCaller, find_route


def test_a_runs_prefix_is_taken_off() -> None:
    route = find_route("GET", b"/r/run1/secret/api/v2/users/me", b"expand=a,b")
    assert route == Route(
        door=Door.API, caller=RunCaller(run="run1", token="secret"), path="/api/v2/users/me", query="expand=a,b"
    )


def test_a_clients_name_is_taken_off() -> None:
    route = find_route("POST", b"/c/archy/oauth/token", b"")
    assert route == Route(door=Door.LOGIN, caller=NamedCaller(name="archy"))


def test_without_a_prefix_the_client_has_no_name() -> None:
    route = find_route("GET", b"/api/v2/users", b"")
    assert isinstance(route, Route)
    assert route.caller == NamedCaller(name=ANONYMOUS)


def test_probes_answer_only_at_the_root() -> None:
    assert isinstance(find_route("GET", b"/healthz", b""), Route)
    assert isinstance(find_route("GET", b"/readyz", b""), Route)


@pytest.mark.parametrize(
    "path",
    [
        b"/api/v2/../../etc/passwd",
        b"/api/v2/%2e%2e/internal",
        b"/api/v2/%252e%252e/internal",
        b"/api/v2/.%2e/internal",
        b"/api/v2/..;/internal",
        b"/api/v2/a//b",
        b"/api/v2/a\\b",
        b"/api/v2/a%5cb",
        b"/api/v2/a%5c..%5cb",
        b"/api/v2/a%00b",
        b"/api/v2/a%0d%0aHost:%20evil",
        b"/api/v2/a b",
        b"/api/v2/%zz",
        b"/api/v2/\xff",
        b"http://evil/api/v2/users",
        b"//evil/api/v2/users",
        b"evil:80",
        b"*",
        b"",
        b"/api/v2/" + b"a" * 5000,
        b"/r/run1/secret/../../api/v2/users",
    ],
)
def test_paths_that_can_be_read_in_another_way_are_refused(path: bytes) -> None:
    route = find_route("GET", path, b"")
    assert isinstance(route, Refused)
    assert route.status == 400


@pytest.mark.parametrize("query", [b"a=\r\nX: 1", b"a b", b"a#b", b"\xff", b"a" * 20000])
def test_queries_that_could_break_a_request_line_are_refused(query: bytes) -> None:
    assert isinstance(find_route("GET", b"/api/v2/users", query), Refused)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "BREW", "get"])
def test_other_methods_are_refused(method: str) -> None:
    route = find_route(method, b"/api/v2/users", b"")
    assert isinstance(route, Refused)
    assert route.status == 405


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/api/v1/users",
        b"/login",
        b"/oauth/authorize",
        b"/c//api/v2/users",
        b"/c/na%20me/api/v2/users",
        b"/c/archy/healthy",
        b"/r/run1/api/v2",
        b"/r/run1//api/v2/users",
        b"/r/" + b"x" * 65 + b"/s/api/v2/users",
        b"/metadata/api/v2/users",
    ],
)
def test_everything_else_goes_nowhere(path: bytes) -> None:
    assert isinstance(find_route("GET", path, b""), Refused)


def test_a_row_key_with_an_encoded_slash_is_passed_as_it_came() -> None:
    route = find_route("GET", b"/api/v2/flows/datatables/1/rows/a%2Fb%20c", b"")
    assert isinstance(route, Route)
    assert route.path.endswith("/rows/a%2Fb%20c")
