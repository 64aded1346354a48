"""The user's own conftest and opa, played by scripts that answer as those do: neither is on a fresh machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.policy import Policy, programs
from interlock.policy.judging import Result
from interlock.policy.policy import Program
from interlock.policy.programs import ask_programs

PLAN = b'{"format_version": "1.2", "secret": "hunter2hunter2"}'


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rules = folder / "rules"
        self.rules.mkdir()
        self.environ = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "INTERLOCK_TOKEN": "ilk_secret"}

    def plays(self, tool: str, answer: object, code: int = 0, before: str = "cat > /dev/null") -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        script = self.folder / tool
        script.write_text(f"#!/bin/sh\n{before}\ncat <<'END'\n{text}\nEND\nexit {code}\n")
        script.chmod(0o755)

    async def ask(self, tool: str) -> Result:
        program = Program(name="rules", tool=tool, policies=str(self.rules))
        (found,) = await ask_programs([Policy(name="p", programs=(program,))], PLAN, self.environ)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_conftest_passes_and_refuses_with_its_words(bench: Bench) -> None:
    bench.plays("conftest", [{"filename": "", "namespace": "main", "successes": 2}])
    assert (await bench.ask("conftest")).passed
    failures = [{"msg": "no flows on a Friday"}, {"msg": "two\nlines"}]
    bench.plays("conftest", [{"filename": "", "failures": failures}], code=1)
    found = await bench.ask("conftest")
    assert (found.passed, found.rule) == (False, "program:rules")
    assert "no flows on a Friday; two" in found.what
    assert "\n" not in found.what


@pytest.mark.parametrize(
    ("value", "passed"),
    [([], True), ({}, True), (False, True), (None, True), (["no"], False), ({"no": 1}, False), (True, False)],
)
async def test_opa_passes_when_the_answer_is_empty(bench: Bench, value: object, passed: bool) -> None:
    bench.plays("opa", {"result": [{"expressions": [{"value": value}]}]})
    assert (await bench.ask("opa")).passed is passed
    bench.plays("opa", {})
    assert (await bench.ask("opa")).passed, "undefined says nothing against the plan"


@pytest.mark.parametrize(
    ("tool", "answer", "code"), [("conftest", "{", 0), ("conftest", [], 1), ("opa", "oops", 0), ("opa", {}, 2)]
)
async def test_a_program_that_fails_or_says_nothing_readable_refuses(
    bench: Bench, tool: str, answer: object, code: int
) -> None:
    bench.plays(tool, answer, code)
    assert not (await bench.ask(tool)).passed


@pytest.mark.promise("P10")
async def test_a_program_gets_the_plan_and_no_credentials(bench: Bench) -> None:
    bench.plays("conftest", [], before=f"cat > '{bench.folder}/in'; env > '{bench.folder}/env'")
    assert (await bench.ask("conftest")).passed
    assert (bench.folder / "in").read_bytes() == PLAN
    assert "ilk_secret" not in (bench.folder / "env").read_text()


async def test_a_program_that_hangs_or_talks_without_end_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.plays("conftest", [], before="yes")
    assert "could not be run" in (await bench.ask("conftest")).what
    monkeypatch.setattr(programs, "WALL_S", 0.2)
    bench.plays("conftest", [], before="sleep 60")
    assert "no answer" in (await bench.ask("conftest")).what


async def test_a_program_or_rules_that_are_not_there_are_an_error(bench: Bench) -> None:
    bench.environ["PATH"] = str(bench.folder)
    with pytest.raises(UsageError, match="not on PATH"):
        await bench.ask("opa")
    bench.plays("opa", {})
    bench.rules.rmdir()
    with pytest.raises(UsageError, match="no rules"):
        await bench.ask("opa")
