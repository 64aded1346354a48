import base64

import pytest

from interlock.simulator import DEFAULT_CLIENT, ApiRefusal, LoginLimit, OAuthClient, Reply, Request
from interlock.simulator.chance import Chance
from interlock.simulator.oauth import LoginService

CLIENT = OAuthClient(id="c", secret="s3cret", token_life_s=300)


def service(limit: LoginLimit | None = None) -> LoginService:
    return LoginService([CLIENT], chance=Chance(1), limit=limit)


def ask(
    login: LoginService, secret: str = CLIENT.secret, body: bytes = b"grant_type=client_credentials", at: float = 0
) -> Reply:
    basic = base64.b64encode(f"c:{secret}".encode()).decode()
    request = Request(method="POST", path="/oauth/token", headers={"authorization": f"Basic {basic}"}, body=body)
    return login.grant(request, at)


def bearing(token: str) -> Request:
    return Request(method="GET", path="/", headers={"authorization": f"Bearer {token}"})


def test_a_client_with_its_secret_gets_a_token_that_works_until_it_expires() -> None:
    login = service()
    granted = ask(login)
    assert granted.status == 200
    assert granted.content["token_type"] == "bearer"
    assert granted.content["expires_in"] == 300
    token = granted.content["access_token"]
    assert login.caller(bearing(token), 299.9).client_id == "c"
    with pytest.raises(ApiRefusal) as refused:
        login.caller(bearing(token), 300)
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("secret", "body", "status", "error"),
    [
        ("wrong", b"grant_type=client_credentials", 401, "invalid_client"),
        ("s3cret", b"grant_type=password", 400, "unsupported_grant_type"),
        ("s3cret", b"", 400, "unsupported_grant_type"),
        ("s3cret", b"\xff\xfe", 400, "invalid_request"),
        ("s3cret", b"a=b&" * 2000, 400, "invalid_request"),
    ],
)
def test_a_wrong_request_gets_the_login_services_own_error(secret: str, body: bytes, status: int, error: str) -> None:
    refused = ask(service(), secret, body)
    assert (refused.status, refused.content["error"]) == (status, error)
    assert "s3cret" not in str(refused.content)


def test_the_login_limit_answers_400_with_the_text_that_the_provider_retries() -> None:
    login = service(LoginLimit(allowed=2, window_s=60))
    assert [ask(login, at=at).status for at in (0, 1, 2)] == [200, 200, 400]
    refused = ask(login, at=59).content
    assert refused["error"] == "invalid_request"
    assert refused["error_description"].startswith("rate limit exceeded;")
    assert ask(login, at=60).status == 200


def test_a_revoked_token_is_refused_at_once_and_others_are_not() -> None:
    login = service()
    first, second = ask(login).content["access_token"], ask(login).content["access_token"]
    assert login.revoke(first)
    with pytest.raises(ApiRefusal):
        login.caller(bearing(first), 1)
    assert login.caller(bearing(second), 1).client_id == "c"
    assert login.revoke_all() == 1


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nobody", "Basic eDp5", "nonsense"])
def test_a_request_without_a_known_token_is_refused_with_401(header: str) -> None:
    with pytest.raises(ApiRefusal) as refused:
        service().caller(Request(method="GET", path="/", headers={"authorization": header}), 0)
    assert refused.value.status == 401


def test_an_unreadable_basic_header_is_refused_not_crashed_on() -> None:
    request = Request(method="POST", path="/oauth/token", headers={"authorization": "Basic ***"})
    assert service().grant(request, 0).status == 400


def test_a_secret_is_in_no_repr() -> None:
    assert "s3cret" not in repr(CLIENT)
    assert DEFAULT_CLIENT.secret not in repr(DEFAULT_CLIENT)


def test_a_new_token_life_holds_for_tokens_granted_from_then_on() -> None:
    login = service()
    login.set_life(90)
    assert ask(login).content["expires_in"] == 90
