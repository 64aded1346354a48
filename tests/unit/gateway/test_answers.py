from __future__ import annotations

import json

from interlock.gateway import answers


def test_every_refusal_is_json_in_the_apis_form() -> None:
    for answer in (
        answers.fenced("run1", correlation="c"),
        answers.too_many(7, "full", correlation="c"),
        answers.outcome_unknown("POST", correlation="c"),
        answers.unreachable("lost", correlation="c"),
    ):
        document = json.loads(answer.body)
        assert document["status"] == answer.status
        assert {"message", "code", "contextId", "details", "errors"} <= set(document)
        assert (b"content-type", b"application/json") in answer.headers
        assert (b"inin-correlation-id", b"c") in answer.headers


def test_a_429_says_when_to_come_back_in_the_header_and_in_brackets() -> None:
    answer = answers.too_many(7, "full", correlation="c")
    assert (b"retry-after", b"7") in answer.headers
    assert "[7]" in json.loads(answer.body)["message"]


def test_an_unknown_outcome_has_a_status_that_no_sdk_repeats() -> None:
    status = answers.outcome_unknown("POST", correlation="c").status
    assert 400 <= status < 500
    assert status != 429


def test_login_errors_have_the_login_services_form() -> None:
    document = json.loads(answers.login_error(401, "invalid_client", "no").body)
    assert document == {"error": "invalid_client", "error_description": "no"}
