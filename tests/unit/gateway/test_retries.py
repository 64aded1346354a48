from __future__ import annotations

import pytest

from interlock.gateway.retries import (
    ATTEMPTS_MAX,
    Again,
    Answered,
    Deliver,
    Failure,
    Outcome,
    Unknown,
    Unreachable,
    Verdict,
    is_repeatable,
    judge,
)


def decide(outcome: Outcome, method: str = "GET", attempt: int = 1, path: str = "/api/v2/users") -> Verdict:
    return judge(outcome, method=method, path=path, attempt=attempt, replayed_401=False)


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_429_is_always_sent_again(method: str) -> None:
    assert decide(Answered(status=429, retry_after_s=7.0), method) == Again(pause_s=7.0)
    assert decide(Answered(status=429), method) == Again(pause_s=2.0)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_connection_is_always_tried_again(method: str) -> None:
    assert isinstance(decide(Failure.UNSENT, method), Again)
    assert decide(Failure.UNSENT, method, attempt=ATTEMPTS_MAX) == Unreachable()


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_write_whose_reply_was_lost_is_never_sent_again(method: str) -> None:
    assert decide(Failure.LOST, method) == Unknown()
    assert decide(Answered(status=502), method) == Unknown()
    assert decide(Answered(status=504), method) == Unknown()


def test_an_unavailable_api_speaks_for_itself_to_a_writer() -> None:
    assert decide(Answered(status=503), "POST") == Deliver()


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_can_be_repeated_is_repeated(method: str, status: int) -> None:
    assert isinstance(decide(Answered(status=status), method), Again)
    assert decide(Answered(status=status), method, attempt=ATTEMPTS_MAX) == Deliver()


def test_a_lost_read_is_repeated_until_the_attempts_are_over() -> None:
    assert decide(Failure.LOST) == Again(pause_s=0.25)
    assert decide(Failure.LOST, attempt=3) == Again(pause_s=1.0)
    assert decide(Failure.LOST, attempt=ATTEMPTS_MAX) == Unreachable()


def test_a_401_is_replayed_once_with_a_fresh_token() -> None:
    assert decide(Answered(status=401), "POST") == Again(fresh_token=True)
    again = judge(Answered(status=401), method="POST", path="/api/v2/users", attempt=1, replayed_401=True)
    assert again == Deliver()


@pytest.mark.parametrize("status", [200, 204, 302, 400, 403, 404, 409, 412, 500, 501])
def test_everything_else_is_the_apis_own_word(status: int) -> None:
    assert decide(Answered(status=status), "POST") == Deliver()


def test_a_search_by_post_changes_nothing() -> None:
    assert is_repeatable("POST", "/api/v2/users/search")
    assert not is_repeatable("POST", "/api/v2/users")


def test_a_long_retry_after_of_a_503_is_obeyed() -> None:
    assert decide(Answered(status=503, retry_after_s=30.0)) == Again(pause_s=30.0)
