from __future__ import annotations

import pytest

from interlock.gateway.retries import (
    ATTEMPTS_MAX,
    Again,
    Answered,
    Deliver,
    Done,
    Failure,
    Look,
    Outcome,
    Unknown,
    Unreachable,
    Verdict,
    is_read,
    judge,
    judge_trace,
)
from interlock.gateway.traces import Trace


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


@pytest.mark.parametrize("outcome", [Failure.LOST, Answered(status=502), Answered(status=504)])
def test_a_post_whose_reply_was_lost_is_never_sent_again(outcome: Outcome) -> None:
    assert decide(outcome, "POST") == Unknown()


@pytest.mark.promise("P8")
@pytest.mark.parametrize("outcome", [Failure.LOST, Answered(status=502), Answered(status=504)])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_lost_write_is_looked_for_before_anything_is_said_of_it(method: str, outcome: Outcome) -> None:
    assert decide(outcome, method) == Look()


@pytest.mark.promise("P8")
@pytest.mark.parametrize("status", [400, 404, 409, 412])
def test_a_conflict_after_a_lost_attempt_may_be_that_attempts_own_work(status: int) -> None:
    echo = judge(Answered(status=status), method="PUT", path="/x", attempt=2, replayed_401=False, lost_before=True)
    assert echo == Look()
    assert decide(Answered(status=status), "PUT") == Deliver()


@pytest.mark.promise("P8")
def test_a_delete_that_finds_nothing_after_a_lost_attempt_is_done() -> None:
    again = judge(Answered(status=404), method="DELETE", path="/x", attempt=2, replayed_401=False, lost_before=True)
    assert again == Done()
    assert decide(Answered(status=404), "DELETE") == Deliver()


@pytest.mark.promise("P8")
@pytest.mark.parametrize("status", [401, 403, 422, 500, 503])
def test_no_failure_of_a_repetition_is_delivered_before_its_lost_attempt_was_looked_for(status: int) -> None:
    verdict = judge(
        Answered(status=status), method="PUT", path="/x", attempt=ATTEMPTS_MAX, replayed_401=True, lost_before=True
    )
    assert verdict == Look()
    alone = judge(Answered(status=status), method="PUT", path="/x", attempt=ATTEMPTS_MAX, replayed_401=True)
    assert alone == Deliver()


def test_a_lost_write_is_never_called_unreachable() -> None:
    ended = judge(Failure.UNSENT, method="PUT", path="/x", attempt=ATTEMPTS_MAX, replayed_401=False, lost_before=True)
    assert ended == Unknown()


@pytest.mark.parametrize(
    ("trace", "method", "is_guarded", "expected"),
    [
        (Trace.DONE, "PATCH", False, Done),
        (Trace.NOT_DONE, "PATCH", False, Again),
        (Trace.UNCLEAR, "PUT", False, Again),
        (Trace.UNCLEAR, "PUT", True, Unknown),
        (Trace.UNCLEAR, "PATCH", False, Unknown),
        (None, "PUT", True, Again),
        (None, "PATCH", True, Again),
        (None, "PATCH", False, Unknown),
        (None, "DELETE", False, Again),
    ],
)
def test_what_the_object_shows_decides(
    trace: Trace | None, method: str, is_guarded: bool, expected: type[object]
) -> None:
    verdict = judge_trace(trace, method=method, is_guarded=is_guarded, attempt=1, is_answered=False)
    assert isinstance(verdict, expected)


@pytest.mark.parametrize(
    ("trace", "expected"),
    [(Trace.DONE, Done()), (Trace.NOT_DONE, Deliver()), (Trace.UNCLEAR, Unknown()), (None, Unknown())],
)
def test_a_conflict_is_delivered_only_when_nothing_was_done(trace: Trace | None, expected: Verdict) -> None:
    assert judge_trace(trace, method="PUT", is_guarded=True, attempt=2, is_answered=True) == expected


def test_a_lost_write_is_not_looked_for_without_end() -> None:
    ended = judge_trace(Trace.NOT_DONE, method="PUT", is_guarded=True, attempt=ATTEMPTS_MAX, is_answered=False)
    assert ended == Unknown()


def test_an_unavailable_api_speaks_for_itself_to_a_writer() -> None:
    assert decide(Answered(status=503), "POST") == Deliver()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_read_is_repeated(status: int) -> None:
    assert isinstance(decide(Answered(status=status)), Again)
    assert decide(Answered(status=status), attempt=ATTEMPTS_MAX) == Deliver()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_an_unavailable_api_refused_is_repeated(method: str) -> None:
    assert isinstance(decide(Answered(status=503), method), Again)
    assert decide(Answered(status=503), method, attempt=ATTEMPTS_MAX) == Deliver()


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
    assert is_read("POST", "/api/v2/users/search")
    assert not is_read("POST", "/api/v2/users")


def test_a_long_retry_after_of_a_503_is_obeyed() -> None:
    assert decide(Answered(status=503, retry_after_s=30.0)) == Again(pause_s=30.0)
