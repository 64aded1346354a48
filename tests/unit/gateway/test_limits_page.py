from __future__ import annotations

import json

import pytest

from interlock.gateway.limits_page import read_token_limit


def page(*items: dict[str, object]) -> bytes:
    return json.dumps({"entities": items}).encode()


def test_the_token_limit_is_read() -> None:
    body = page(
        {"namespace": "platform.api", "key": "client.credentials.token.rate.per.minute", "value": 600},
        {"namespace": "platform.api", "key": "token.rate.per.minute", "value": 900},
        {"namespace": "platform.api", "key": "other", "value": 1},
    )
    assert read_token_limit(body) == 600


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"3",
        page(),
        page({"key": "token.rate.per.minute", "value": "300"}),
        page({"key": "token.rate.per.minute", "value": 0}),
        page({"key": "token.rate.per.minute", "value": True}),
        page({"key": 5, "value": 300}),
        json.dumps({"entities": {"key": "token.rate.per.minute"}}).encode(),
    ],
)
def test_an_answer_that_does_not_say_changes_nothing(body: bytes) -> None:
    assert read_token_limit(body) is None
