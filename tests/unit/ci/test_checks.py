from __future__ import annotations

import pytest

from interlock.ci.checks import Answer, accept, good, unknown, wrong
from interlock.ci.pipeline import StateFacts, read_pipeline
from interlock.errors import UsageError

FOUND = [
    good("environment a", "fine"),
    wrong("environment b", "no reviewers are required", "add them"),
    unknown("environment c", "hidden", "look"),
]


def answers(reasons: dict[str, str]) -> list[Answer]:
    return [check.answer for check in accept(FOUND, reasons)]


def test_a_finding_is_accepted_by_its_subject_or_by_subject_and_message() -> None:
    assert answers({"environment b: no reviewers are required": "the plan has none"})[1] is Answer.ACCEPTED
    assert answers({"environment c": "no token for it"})[2] is Answer.ACCEPTED
    assert "the plan has none" in accept(FOUND, {"environment b": "the plan has none"})[1].message


def test_another_finding_of_the_same_subject_is_not_accepted_with_it() -> None:
    assert answers({"environment b: something else": "r"})[1] is Answer.WRONG


@pytest.mark.parametrize("key", ["environment a", "environment z", "environment b: gone since"])
def test_a_reason_that_nothing_needs_any_more_is_wrong(key: str) -> None:
    last = accept(FOUND, {key: "r"})[-1]
    assert (last.subject, last.answer) == (key, Answer.WRONG)


@pytest.mark.parametrize("reason", ["", "  ", 3, None])
def test_without_a_reason_nothing_is_accepted(reason: object) -> None:
    section = {"accept": {"environment b": reason}}
    with pytest.raises(UsageError, match="reason"):
        read_pipeline(
            {**section, "installed": True, "plan_key": "ilwrap_" + "a" * 43},
            {"s": StateFacts(directory="infra", environment=None)},
            server=None,
            interlock_version="1",
        )
