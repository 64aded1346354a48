from __future__ import annotations

import pytest

from interlock.gateway.forward_proxy import ForwardProxy, Proxying, make_proxy, proxy_of_environment
from interlock.gateway.oauth import Secret


def made(**values: str) -> ForwardProxy | Proxying | str:
    return make_proxy(**{"protocol": "http", "host": "h", "port": "1", "user": "", "password": "", **values})


def test_a_login_counts_only_when_it_is_whole_as_in_the_provider() -> None:
    assert made(user="u", password="p") == ForwardProxy(scheme="http", host="h", port=1, user="u", password=Secret("p"))
    assert made(user="u") == made(password="p") == ForwardProxy(scheme="http", host="h", port=1)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "1a", "\u0663"])
def test_a_port_that_is_no_port_is_said(port: str) -> None:
    assert made(port=port) == "the port of its proxy is not a port number"


@pytest.mark.promise("P10")
def test_what_is_not_encrypted_goes_through_a_proxy_of_this_machine_alone() -> None:
    far, near = ForwardProxy(scheme="http", host="far", port=1), ForwardProxy(scheme="http", host="127.0.0.1", port=1)
    assert [(each.carries("https"), each.carries("http")) for each in (far, near)] == [(True, False), (True, True)]


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("squid:3128", ForwardProxy(scheme="http", host="squid", port=3128)),
        ("http://squid", ForwardProxy(scheme="http", host="squid", port=80)),
        (
            "https://u:p%40@squid:3128/",
            ForwardProxy(scheme="https", host="squid", port=3128, user="u", password=Secret("p@")),
        ),
        ("http://u@[::1]:3128", ForwardProxy(scheme="http", host="::1", port=3128, user="u")),
        ("", None),
    ],
)
def test_the_environments_proxy_is_read_as_people_write_it(text: str, proxy: ForwardProxy | None) -> None:
    assert proxy_of_environment({"https": text}, scheme="https") == proxy
    assert proxy_of_environment({"https": text, "http": text}, scheme="http") is None


@pytest.mark.parametrize("text", ["socks5://squid:1080", "http://squid:port", "http://"])
def test_a_proxy_of_the_environment_that_cannot_be_used_is_said(text: str) -> None:
    found = proxy_of_environment({"https": text}, scheme="https")
    assert isinstance(found, str)
    assert "HTTPS_PROXY" in found
