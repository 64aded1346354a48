from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.server.identity.claims import LEEWAY_S, LIFE_S_MAX, Claims, read_claims
from interlock.server.identity.platforms import Platform
from interlock.server.identity.rules import Issuer

NOW_S = 1_790_000_000.0
URL = "https://interlock.example"
ISSUER = Issuer(url="https://issuer.example")
GOOD: dict[str, Any] = {
    "iss": ISSUER.url, "aud": URL, "iat": NOW_S - 5, "nbf": NOW_S - 10, "exp": NOW_S + 300, "jti": "one",
}  # fmt: skip


def read(issuer: Issuer = ISSUER, **said: Any) -> Claims | str:
    whole = {name: value for name, value in {**GOOD, **said}.items() if value is not ...}
    return read_claims(whole, b"head.body", Platform.OTHER, issuer, audiences=(URL,), now_s=NOW_S)


def test_a_token_of_now_for_us_is_read() -> None:
    found = read()
    assert isinstance(found, Claims)
    assert found.ends_s == NOW_S + 300
    assert isinstance(read(aud=["x", URL]), Claims)
    assert isinstance(read(nbf=...), Claims)


@pytest.mark.parametrize(
    "aud", [..., "", None, [], "https://interlock.example.evil", f"{URL}/", [f"{URL} "], 7, {URL: 1}]
)
def test_a_token_for_somebody_else_is_not_taken(aud: object) -> None:
    assert "audience" in str(read(aud=aud))


def test_an_audience_of_the_issuers_configuration_replaces_our_own_address() -> None:
    azure = Issuer(url=ISSUER.url, audience="api://AzureADTokenExchange")
    assert isinstance(read(azure, aud="api://AzureADTokenExchange"), Claims)
    assert isinstance(read(azure), str)


def test_an_issuer_is_compared_whole() -> None:
    for iss in ("https://issuer.example/", "HTTPS://issuer.example", "https://issuer.example.evil", ..., 7):
        assert "issuer" in str(read(iss=iss))


_NO_INSTANTS: tuple[object, ...] = ("1790000300", True, None, [], 1e300, -1e300)


@pytest.mark.parametrize(
    "said",
    [
        {"exp": NOW_S - LEEWAY_S},
        {"iat": NOW_S - 600, "exp": NOW_S - 100},
        {"iat": NOW_S - 600, "exp": NOW_S - LEEWAY_S},
        {"iat": NOW_S + LEEWAY_S + 1, "exp": NOW_S + 900},
        {"nbf": NOW_S + LEEWAY_S + 1},
        {"exp": NOW_S + LIFE_S_MAX + 1},
        {"iat": NOW_S - LIFE_S_MAX},
        {"exp": NOW_S - 10, "iat": NOW_S - 5},
        *({name: value} for name in ("exp", "iat", "nbf") for value in _NO_INSTANTS),
        *({name: float(text)} for name in ("exp", "iat", "nbf") for text in ("nan", "inf", "-inf")),
        {"exp": ...},
        {"iat": ...},
    ],
)
def test_a_token_that_is_not_of_now_is_not_taken(said: dict[str, Any]) -> None:
    assert isinstance(read(**said), str)


def test_clocks_may_differ_a_little() -> None:
    assert isinstance(read(iat=NOW_S + LEEWAY_S, nbf=NOW_S + LEEWAY_S), Claims)
    assert isinstance(read(iat=NOW_S - 300, exp=NOW_S - LEEWAY_S + 1), Claims)


@pytest.mark.parametrize("jti", [7, ["x"], None, "x" * 600])
def test_a_jti_is_a_text(jti: object) -> None:
    assert "jti" in str(read(jti=jti))


def test_each_token_has_a_name_of_its_own_also_without_a_jti() -> None:
    def name(signed: bytes, **said: Any) -> str:
        whole = {name: value for name, value in {**GOOD, **said}.items() if value is not ...}
        found = read_claims(whole, signed, Platform.OTHER, ISSUER, audiences=(URL,), now_s=NOW_S)
        assert isinstance(found, Claims)
        return found.digest

    assert name(b"a") == name(b"b"), "the jti names it"
    assert name(b"a", jti="two") != name(b"a")
    assert name(b"a", jti=...) == name(b"a", jti="") != name(b"b", jti=...)


def test_a_job_that_somebody_reached_by_ssh_gets_nothing() -> None:
    def rerun(value: object) -> Claims | str:
        said: dict[str, Any] = {"oidc.circleci.com/ssh-rerun": value}
        return read(ISSUER, **said)

    assert "SSH" in str(rerun(True))
    assert "SSH" in str(rerun("true"))
    assert isinstance(rerun(False), Claims)


_SAID = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([URL]), st.just([[]])
)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), _SAID, max_size=4))
def test_whatever_a_token_says_it_is_read_or_refused(said: dict[str, Any]) -> None:
    found = read(**said)
    assert isinstance(found, Claims) or found


def test_what_entra_says_is_read_from_the_ids_at_the_end_of_its_subject() -> None:
    organisation, connection = "8f3b1ab6-7cf2-4b9a-8a4a-1d8d8e0f9a01", "0c5f1ab6-7cf2-4b9a-8a4a-1d8d8e0f9a04"

    def values(sub: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
        claims = Claims(platform=Platform.AZURE_ENTRA, said={"sub": sub, "organization_id": "x"}, digest="", ends_s=0)
        return claims.values("organization_id"), claims.values("service_connection_id")

    assert values(f"/eid1/c/pub/t/a/b/sc/{organisation}/{connection}") == ((organisation,), (connection,))
    for sub in (
        f"/sc/{organisation}",
        f"/a/sc/{organisation}/{connection}/x",
        f"x/sc/{organisation}/{connection}\n",
        7,
        "",
    ):
        assert values(sub) == ((), ())
