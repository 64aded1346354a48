"""Which requests are for a listener, by their heads."""

from __future__ import annotations

import pytest

from interlock.errors import UsageError
from interlock.listening.strangers import ONLY_LOOPBACK, ForBrowsers, Names, find_fault, is_loopback, names_of


def fault(*pairs: tuple[str, str], names: Names = ONLY_LOOPBACK) -> str:
    return find_fault([(name.encode(), value.encode("latin-1")) for name, value in pairs], names)


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:65535", "127.9.9.9", "[::1]", "[::1]:8650"]
)
def test_the_names_of_loopback_are_ours(host: str) -> None:
    assert fault(("host", host)) == ""


@pytest.mark.parametrize(
    "host",
    [
        *("rebound.example", "localhost.rebound.example", "127.0.0.1.rebound.example", "127.1", "0", "0.0.0.0", "::1"),
        *("rebound.example@127.0.0.1", "127.0.0.1@rebound.example", "127.0.0.1/", "127.0.0.1:x", "127.0.0.1 ", ""),
        *("[::1", "192.168.0.1", "\xe9", "127.0.0.1?", "127.0.0.1#"),
    ],
)
def test_no_other_host_is(host: str) -> None:
    assert "Host" in fault(("host", host))


def test_a_missing_or_repeated_host_is_refused() -> None:
    assert "Host" in fault()
    assert "Host" in fault(("host", "localhost"), ("host", "localhost"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("origin", "http://localhost"),
        ("origin", "null"),
        ("referer", ""),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "cross-site"),
    ],
)
@pytest.mark.parametrize("names", [ONLY_LOOPBACK, Names(any_host=True)])
def test_what_a_browser_sends_for_a_page_is_refused(name: str, value: str, names: Names) -> None:
    assert "web pages" in fault(("host", "localhost"), (name, value), names=names)
    assert fault(("host", "localhost"), ("sec-fetch-site", "none"), names=names) == ""


def test_the_name_of_a_proxy_is_ours_when_the_operator_says_so() -> None:
    names = names_of("127.0.0.1", ["States.Example.com"])
    assert fault(("host", "states.example.com:443"), names=names) == ""
    assert fault(("host", "localhost"), names=names) == ""
    assert "--host" in fault(("host", "other.example.com"), names=names)


def test_a_host_that_one_listener_knows_is_still_unknown_to_another() -> None:
    header, known = [(b"host", b"states.example.com")], names_of("127.0.0.1", ["states.example.com"])
    for _ in range(2):  # what was found out once is remembered
        assert find_fault(header, known) == ""
        assert "not a name of this listener" in find_fault(header, ONLY_LOOPBACK)
    longest = b"a" * 301
    assert "not a name of this listener" in find_fault([(b"host", longest)], known)


def test_beyond_loopback_every_name_is_ours_until_one_is_given() -> None:
    assert fault(names=names_of("192.0.2.7")) == ""
    named = names_of("192.0.2.7", ["states.example.com"])
    assert [bool(fault(("host", host), names=named)) for host in ("192.0.2.7:1", "states.example.com", "x")] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("name", ["http://a", "a:1", "a/b", "", "u@a"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        names_of("127.0.0.1", [name])


def test_only_loopback_is_loopback() -> None:
    given = (
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "localhost",
        "0.0.0.0",
        "::",
        "::ffff:10.0.0.1",
        "10.0.0.1",
        "a.localhost",
    )
    assert [each for each in given if is_loopback(each)] == ["127.0.0.1", "127.8.8.8", "::1", "localhost"]


PAGES = Names(browsers=ForBrowsers(pages=frozenset({b"/login"})))
OWN = [("Host", "localhost:8650"), ("Origin", "http://localhost:8650"), ("Sec-Fetch-Site", "same-origin")]


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("pairs", "path", "is_refused"),
    [
        (OWN, b"/login", False),
        ([*OWN, ("Referer", "http://localhost:8650/login?x=1")], b"/login", False),
        (OWN, b"/state/prod", True),
        (OWN, b"/login/other", True),
        ([("Host", "localhost:8650"), ("Sec-Fetch-Site", "none")], b"/login", False),
        ([("Host", "localhost:8650"), ("Sec-Fetch-Site", "cross-site")], b"/login", True),
        ([("Host", "localhost:8650"), ("Sec-Fetch-Site", "same-site")], b"/login", True),
        ([("Host", "localhost:8650"), ("Origin", "http://evil.example")], b"/login", True),
        ([("Host", "localhost:8650"), ("Origin", "null")], b"/login", True),
        ([("Host", "localhost:8650"), ("Referer", "http://localhost:8650.evil.example/")], b"/login", True),
        ([("Origin", "http://localhost:8650")], b"/login", True),
        ([("Host", "evil.example"), ("Origin", "http://evil.example")], b"/login", True),
    ],
)
def test_a_page_of_ours_may_be_used_by_itself_and_by_no_other_page(
    pairs: list[tuple[str, str]], path: bytes, is_refused: bool
) -> None:
    found = find_fault([(name.lower().encode(), value.encode()) for name, value in pairs], PAGES, path)
    assert bool(found) is is_refused


CALLBACK = Names(browsers=ForBrowsers(callbacks=frozenset({b"/callback"})))


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("host", "path", "is_refused"),
    [
        ("127.0.0.1:8400", b"/callback", False),
        ("127.0.0.1:8400", b"/", True),
        ("evil.example", b"/callback", True),
    ],
)
def test_a_provider_sends_a_browser_back_to_the_callback_and_to_nothing_else(
    host: str, path: bytes, is_refused: bool
) -> None:
    sent = [(b"host", host.encode()), (b"sec-fetch-site", b"cross-site"), (b"referer", b"https://provider.example/")]
    assert bool(find_fault(sent, CALLBACK, path)) is is_refused
