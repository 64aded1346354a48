"""Runs the user's own conftest or opa on a plan's JSON. A hand.

The program gets the plan by its standard input and nothing else of the run: no credentials are in its environment.
What it answers is bounded in time and size; a program that fails, or says nothing that can be read, lets no plan pass.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from interlock.bounded import decode_json
from interlock.errors import UsageError
from interlock.foreign_text import one_line
from interlock.policy.ending import end_program
from interlock.policy.judging import Result
from interlock.policy.policy import Policy, Program

WALL_S = 120.0
OUTPUT_BYTES_MAX = 4 << 20
_MESSAGES = 5  # quoted in a refusal
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG")


async def ask_programs(policies: Sequence[Policy], shown: bytes, environ: Mapping[str, str]) -> tuple[Result, ...]:
    """Return what the programs say, one after the other.

    Args:
        policies: Those of the state.
        shown: The plan, as `terraform show -json` prints it.
        environ: Where PATH is.

    Raises:
        UsageError: A program is not there.
    """
    given = {name: environ[name] for name in _PASSED_ON if name in environ}
    return tuple([await _ask(policy, each, shown, given) for policy in policies for each in policy.programs])


async def _ask(policy: Policy, program: Program, shown: bytes, environ: Mapping[str, str]) -> Result:
    found = shutil.which(program.tool, path=environ.get("PATH"))
    if found is None:
        raise UsageError(
            f"policy {policy.name} asks {program.tool}, which is not on PATH",
            why="nobody can say whether the plan may pass; nothing was changed",
            fix=f"install {program.tool}, or have the policy changed",
        )
    if not os.path.exists(program.policies):  # noqa: PTH110 - a path of settings, and no object of it is needed
        raise UsageError(
            f"policy {policy.name} has no rules for {program.tool}",
            why=f"{program.policies} is not there; nothing was changed",
            fix="correct `programs` in the policy",
        )
    wrong = await _complaints(program, found, shown, environ)
    return Result(
        policy=policy.name,
        rule=f"program:{program.name}",
        layer=policy.layer.value,
        passed=not wrong,
        what="" if not wrong else f"{program.tool} {program.name}: {'; '.join(wrong[:_MESSAGES])}",
    )


async def _complaints(program: Program, found: str, shown: bytes, environ: Mapping[str, str]) -> list[str]:
    """Return what the program has against the plan."""
    try:
        code, said = await _run(_words(program, found), shown, environ)
    except TimeoutError:
        return [f"no answer within {WALL_S:g}s"]
    except (OSError, ValueError) as error:
        return [f"it could not be run: {type(error).__name__}"]
    try:
        answer = decode_json(said, type=Any)
        return _conftest(code, answer) if program.tool == "conftest" else _opa(code, answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, AttributeError, IndexError):
        return [f"exit status {code}, and no answer that can be read"]


def _words(program: Program, found: str) -> tuple[str, ...]:
    if program.tool == "conftest":
        return (found, "test", "--no-color", "--output", "json", "--policy", program.policies, "-")
    return (found, "eval", "--format", "json", "--data", program.policies, "--stdin-input", program.query)


def _conftest(code: int, answer: Any) -> list[str]:
    """Read `conftest test --output json`: a list of files with their failures; 1 is the exit status of a failure."""
    failures = [str(each["msg"]) for file in answer for each in file.get("failures") or ()]
    wrong = [one_line(text) for text in failures]
    return wrong or ([] if code == 0 else [f"exit status {code}"])


def _opa(code: int, answer: Any) -> list[str]:
    """Read `opa eval --format json`: without a result the query is undefined, so nothing speaks against the plan."""
    if code != 0 or answer.get("errors"):
        return [f"exit status {code}"]
    values = [expression["value"] for result in answer.get("result") or () for expression in result["expressions"]]
    return [text for value in values for text in _spoken(value)]


def _spoken(value: Any) -> list[str]:
    """Return the complaints of a value: an empty collection, false and null say nothing; true and a text complain."""
    match value:
        case None | False:
            return []
        case dict():
            return [one_line(str(key)) for key in value]
        case list():
            return [one_line(str(each.get("msg", each) if isinstance(each, dict) else each)) for each in value]
        case _:
            return [one_line(str(value))]


async def _run(words: Sequence[str], shown: bytes, environ: Mapping[str, str]) -> tuple[int, bytes]:
    child = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(environ),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(WALL_S):
            said = await _talk(child, shown)
            return await child.wait(), said
    finally:
        await end_program(child)


async def _talk(child: asyncio.subprocess.Process, shown: bytes) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    feeding = asyncio.create_task(_feed(child.stdin, shown))
    try:
        said = bytearray()
        while chunk := await child.stdout.read(1 << 16):
            said += chunk
            if len(said) > OUTPUT_BYTES_MAX:
                raise ValueError("it says too much")
        return bytes(said)
    finally:
        feeding.cancel()


async def _feed(stdin: asyncio.StreamWriter, shown: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # it does not read: its answer will tell
        stdin.write(shown)
        await stdin.drain()
        stdin.close()
