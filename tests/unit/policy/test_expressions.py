"""Checks in CEL, by the real library in its own process."""

from __future__ import annotations

import pytest

from interlock.errors import UsageError
from interlock.policy import Policy, expressions
from interlock.policy.expressions import ask_checks
from interlock.policy.judging import Result
from interlock.policy.policy import Check
from interlock.policy.summary import Resource, summarise

PLAN = summarise(
    [Resource(address=f"x.a[{n}]", type="x", action="delete" if n < 3 else "create") for n in range(300)],
    state="prod",
    operation="apply",
)


async def ask(*said: str) -> list[Result]:
    checks = tuple(Check(name=f"c{n}", expression=text) for n, text in enumerate(said))
    return list(await ask_checks([Policy(name="p", checks=checks)], PLAN))


async def test_a_check_passes_only_when_it_is_true() -> None:
    found = await ask(
        "plan.counts.delete <= 3",
        "plan.counts.delete <= 2",
        'plan.resources.all(r, r.type != "genesyscloud_flow" || r.action != "delete")',
        '"x" in plan.types && plan.types.x.create == 297 && plan.calls == null && !plan.ci',
        "1 + 1",
        "plan.nope == 1",
        "plan +",
        'plan.state == "prod" && plan.operation == "apply" && size(plan.destroyed) == 3',
    )
    assert [each.passed for each in found] == [True, False, True, True, False, False, False, True]
    assert [each.rule for each in found] == [f"check:c{n}" for n in range(8)]
    assert found[1].what == "check c1 is false: plan.counts.delete <= 2"
    assert "neither true nor false" in found[4].what
    assert "cannot be answered" in found[5].what
    assert "cannot be answered" in found[6].what


async def test_nothing_is_started_without_checks() -> None:
    assert await ask_checks([Policy(name="p")], PLAN) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "endless",
    [
        "plan.resources.all(a, plan.resources.all(b, plan.resources.all(c, a.address != b.address + c.address)))",
        "size(plan.resources.map(a, plan.resources.map(b, plan.resources.map(c, a.address + b.address)))) > 0",
    ],
    ids=["time", "memory"],
)
async def test_a_check_that_takes_too_much_is_ended_and_does_not_pass(endless: str) -> None:
    (before, found) = await ask("true", endless)
    assert before.passed, "what was answered before stands"
    assert not found.passed


async def test_a_machine_without_the_library_refuses_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def missing(_document: bytes) -> dict[str, dict[str, object]]:
        raise UsageError("the checks of a policy cannot be asked", fix="pip install 'interlock[policy]'")

    monkeypatch.setattr(expressions, "_answers", missing)
    with pytest.raises(UsageError) as refusal:
        await ask("true")
    assert refusal.value.fix == "pip install 'interlock[policy]'"
