from __future__ import annotations

from datetime import UTC, datetime

import pytest

from interlock.gateway.headers import forwarded_request, forwarded_response, read_rate, read_retry_after

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def rate(count: str = "5", allowed: str = "300", reset: str = "42") -> dict[str, str]:
    return {"inin-ratelimit-count": count, "inin-ratelimit-allowed": allowed, "inin-ratelimit-reset": reset}


def test_the_three_headers_are_read() -> None:
    heard = read_rate(rate())
    assert heard is not None
    assert (heard.count, heard.allowed, heard.reset_s) == (5, 300, 42.0)


@pytest.mark.parametrize(
    "headers",
    [{}, rate(count="-1"), rate(allowed="0"), rate(allowed="many"), rate(reset=""), rate(count="9" * 20)],
)
def test_missing_or_senseless_headers_say_nothing(headers: dict[str, str]) -> None:
    assert read_rate(headers) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("99999", 180.0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_beyond_three_minutes(value: str | None, seconds: float) -> None:
    assert read_retry_after(value, now=NOW) == seconds


def test_nothing_about_the_hop_and_nothing_that_identifies_goes_on() -> None:
    passed = forwarded_request(
        [
            (b"Accept", b"application/json"),
            (b"TF-Correlation-Id", b"1"),
            (b"Host", b"gateway"),
            (b"Authorization", b"Bearer x"),
            (b"Connection", b"close, X-Hop"),
            (b"X-Hop", b"1"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Content-Length", b"3"),
            (b"X-Forwarded-For", b"1.2.3.4"),
            (b"Cookie", b"a=b"),
        ]
    )
    assert passed == [(b"accept", b"application/json"), (b"tf-correlation-id", b"1")]


def test_an_answer_keeps_its_rate_headers_and_loses_its_cookies() -> None:
    passed = forwarded_response([(b"inin-ratelimit-count", b"1"), (b"set-cookie", b"a"), (b"content-length", b"9")])
    assert passed == [(b"inin-ratelimit-count", b"1")]
