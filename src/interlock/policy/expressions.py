"""Asks the checks in CEL, in a process of its own, which alone knows the library. A hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from interlock.bounded import decode_json
from interlock.errors import UsageError
from interlock.policy.ending import end_program
from interlock.policy.judging import Result
from interlock.policy.policy import Check, Policy
from interlock.policy.summary import PlanSummary, as_plain

WALL_S = 20.0
"""Seconds for all checks of a run: beyond the child's own limit, for a machine that is busy."""
_MISSING = 3  # exit status of a child without the library


async def ask_checks(policies: Sequence[Policy], plan: PlanSummary) -> tuple[Result, ...]:
    """Return what the checks in CEL say. A check without an answer does not pass.

    Raises:
        UsageError: The library is not installed.
    """
    asked = [(policy, check) for policy in policies for check in policy.checks]
    if not asked:
        return ()
    names = [str(number) for number in range(len(asked))]  # names of checks may repeat in two policies
    document = {
        "plan": as_plain(plan),
        "checks": [
            {"name": name, "expression": check.expression} for name, (_, check) in zip(names, asked, strict=True)
        ],
    }
    answers = await _answers(msgspec.json.encode(document))
    return tuple(_result(policy, check, answers.get(name)) for name, (policy, check) in zip(names, asked, strict=True))


async def _answers(document: bytes) -> Mapping[str, Mapping[str, Any]]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "interlock.policy.cel_child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )
    said = b""
    try:
        async with asyncio.timeout(WALL_S):
            said, _ = await child.communicate(document)
    except TimeoutError:
        pass  # what it has said so far is lost with it: no check is answered
    finally:
        await end_program(child)
    if child.returncode == _MISSING:
        raise UsageError(
            "the checks of a policy cannot be asked",
            why="they are in CEL, whose library is not installed here; nothing was changed",
            fix="pip install 'interlock[policy]'",
        )
    return _read(said)


def _read(said: bytes) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for line in said.splitlines():
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            answer = decode_json(line, type=dict[str, Any])
            found[str(answer["name"])] = answer
    return found


def _result(policy: Policy, check: Check, answer: Mapping[str, Any] | None) -> Result:
    passed = answer is not None and answer["passed"] is True
    return Result(
        policy=policy.name,
        rule=f"check:{check.name}",
        layer=policy.layer.value,
        passed=passed,
        what="" if passed else _what(check, answer),
    )


def _what(check: Check, answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return f"check {check.name} was not answered within its limits of time and memory"
    if answer["error"]:
        return f"check {check.name} cannot be answered: {answer['error']}"
    return check.message or f"check {check.name} is false: {check.expression}"
