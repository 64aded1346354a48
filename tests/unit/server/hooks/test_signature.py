from __future__ import annotations

import pytest
from tests.code_host import github_headers, gitlab_headers

from interlock.server.hooks.hook import HookPlatform
from interlock.server.hooks.signature import NO_SECRET, is_signed, spelled_secret

SECRET = spelled_secret(bytes(range(32)))
NOW_S = 1_790_000_000.0
BODY = b'{"a": "\xc3\xa9"}'


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_the_signature_of_githubs_own_example_is_right() -> None:
    """Source: GitHub, "Validating webhook deliveries", testing the payload validation."""
    wanted = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"x-hub-signature-256": wanted}
    secret = "It's a Secret to Everybody"
    assert is_signed(secret, HookPlatform.GITHUB, headers, b"Hello, World!", now_s=0)
    assert not is_signed(secret, HookPlatform.GITHUB, headers, b"Hello, World", now_s=0)


@pytest.mark.promise("P10")
@pytest.mark.parametrize("platform", list(HookPlatform))
def test_only_this_body_with_this_secret_is_signed(platform: HookPlatform) -> None:
    headers = lower(
        github_headers(BODY, SECRET) if platform is HookPlatform.GITHUB else gitlab_headers(BODY, SECRET, at_s=NOW_S)
    )
    assert is_signed(SECRET, platform, headers, BODY, now_s=NOW_S)
    assert not is_signed(SECRET, platform, headers, BODY + b" ", now_s=NOW_S)
    assert not is_signed(NO_SECRET, platform, headers, BODY, now_s=NOW_S)
    assert not is_signed(SECRET, platform, {}, BODY, now_s=NOW_S)
    other = next(each for each in HookPlatform if each is not platform)
    assert not is_signed(SECRET, other, headers, BODY, now_s=NOW_S)
    for name in headers:
        if name.startswith(("x-hub-signature", "webhook-")):
            assert not is_signed(SECRET, platform, {**headers, name: "x\u00e9"}, BODY, now_s=NOW_S), name
            assert not is_signed(SECRET, platform, {**headers, name: ""}, BODY, now_s=NOW_S), name


@pytest.mark.promise("P10")
def test_a_standard_signature_is_good_for_some_minutes_and_one_of_several_is_enough() -> None:
    headers = gitlab_headers(BODY, SECRET, at_s=NOW_S)
    for apart_s, good in ((0, True), (300, True), (-300, True), (301, False), (-301, False)):
        assert is_signed(SECRET, HookPlatform.GITLAB, headers, BODY, now_s=NOW_S + apart_s) is good, apart_s
    two = {**headers, "webhook-signature": f"v1,AAAA {headers['webhook-signature']}"}
    assert is_signed(SECRET, HookPlatform.GITLAB, two, BODY, now_s=NOW_S)
    for at in ("\u0664\u0662", "1e9", "-1", "9" * 400, "1790000000.5"):
        assert not is_signed(SECRET, HookPlatform.GITLAB, {**headers, "webhook-timestamp": at}, BODY, now_s=NOW_S)


@pytest.mark.promise("P10")
def test_a_secret_token_is_compared_whole_and_never_saves_a_wrong_signature() -> None:
    assert is_signed(SECRET, HookPlatform.GITLAB, {"x-gitlab-token": SECRET}, BODY, now_s=NOW_S)
    for wrong in ("", SECRET[:-1], SECRET + "x", SECRET.removeprefix("whsec_")):
        assert not is_signed(SECRET, HookPlatform.GITLAB, {"x-gitlab-token": wrong}, BODY, now_s=NOW_S)
    both = {"x-gitlab-token": SECRET, "webhook-signature": "v1,AAAA"}
    assert not is_signed(SECRET, HookPlatform.GITLAB, both, BODY, now_s=NOW_S)
