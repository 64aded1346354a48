from typing import Any

import pytest

from interlock.run.first_apply import Start, judge_start, refuse_start, spell_start
from interlock.run.order import Operation, Order


def order(**changes: Any) -> Order:
    values: dict[str, Any] = {
        "run": "r1",
        "operation": Operation.APPLY,
        "directory": "envs/prod",
        "state": "prod",
        "who": "a@b",
        "home": "/h",
        "auto_approve": True,
    }
    return Order(**{**values, **changes})


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({}, Start.REFUSE),
        ({"in_ci": True}, Start.REFUSE),
        ({"first_apply": True}, Start.GO),
        ({"is_watched": True}, Start.ASK),
        ({"is_watched": True, "first_apply": True}, Start.GO),
        ({"auto_approve": False, "is_watched": True}, Start.SAY),
        ({"operation": Operation.PLAN, "in_ci": True}, Start.SAY),
        ({"operation": Operation.DESTROY, "in_ci": True}, Start.GO),
        ({"backend": "s3", "in_ci": True}, Start.GO),
    ],
)
def test_an_empty_start_is_said_asked_or_refused_by_who_could_know_better(
    changes: dict[str, Any], start: Start
) -> None:
    assert judge_start(order(**changes), is_new=True, creates=3, made_here=False) is start
    assert judge_start(order(**changes), is_new=False, creates=3, made_here=False) is Start.GO
    assert judge_start(order(**changes), is_new=True, creates=0, made_here=False) is Start.GO


def test_a_plan_that_people_saw_in_this_home_is_not_refused() -> None:
    assert judge_start(order(in_ci=True), is_new=True, creates=3, made_here=True) is Start.SAY


def test_the_home_is_named_and_the_way_out_is_a_command() -> None:
    assert "prod is empty in /h" in spell_start(order(), 1)
    assert refuse_start(order(), 2).fix.startswith(
        "interlock apply envs/prod --auto-approve --first-apply --state prod"
    )
