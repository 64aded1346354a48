from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.run.stage import Running, start
from interlock.run.standby import CONFIG, Standby, Start, find_own_config, stand_by

CLOCK = SystemClock()
# What Terraform does: look whether the file can be opened, then read it, then the plan file.
PROGRAM = """#!/bin/sh
[ -z "$DAWDLES" ] || exec sleep 60
[ -n "$SKIPS" ] || { : < "$TF_CLI_CONFIG_FILE"; cat "$TF_CLI_CONFIG_FILE"; }
echo begun
[ -z "$1" ] || cat "$1"
[ -n "$SKIPS" ] || cat "$TF_CLI_CONFIG_FILE" > "$AGAIN"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "own.tfrc"
    config.write_text("# mine\n")
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), CONFIG: str(config), "AGAIN": str(tmp_path / "again")}


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "program"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return str(path)


def starting(folder: Path) -> Start:
    """Return what starts a command in a folder."""

    async def begin(name: str, argv: tuple[str, ...], environ: Mapping[str, str], also: tuple[int, ...]) -> Running:
        return await start(name, argv, environ, cwd=folder, run_folder=folder, held=also)

    return begin


async def started(
    program: str, environ: Mapping[str, str], folder: Path, *words: str, plan: Path | None = None
) -> Standby:
    found = await stand_by(
        "apply", (program, *words), environ, start=starting(folder), cwd=folder, run_folder=folder, plan=plan
    )
    assert found is not None
    return found


async def ended(standby: Standby) -> str:
    outcome = await standby.running.follow(lambda _: None)
    assert outcome.ended.code == 0, outcome
    return standby.running.output.read_text()


async def test_a_standby_does_nothing_until_it_is_released_and_then_reads_the_users_own_configuration(
    program: str, environ: dict[str, str], tmp_path: Path
) -> None:
    standby = await started(program, environ, tmp_path)
    assert await standby.may_begin((program,), environ, CLOCK)
    assert "begun" not in standby.running.output.read_text()
    standby.release()
    assert await ended(standby) == "\n# mine\nbegun\n"
    assert Path(environ["AGAIN"]).read_text() == "# mine\n"  # also what it starts reads the user's own
    standby.forget()
    assert [path.name for path in tmp_path.glob("*.tfrc")] == ["own.tfrc"]


async def test_only_just_what_was_started_may_begin(program: str, environ: dict[str, str], tmp_path: Path) -> None:
    standby = await started(program, environ, tmp_path)
    assert await standby.may_begin((program,), environ, CLOCK)
    assert not await standby.may_begin((program, "-parallelism=3"), environ, CLOCK)
    assert not await standby.may_begin((program,), {**environ, "TF_VAR_x": "1"}, CLOCK)
    await standby.dismiss()


async def test_a_program_that_does_not_wait_at_its_configuration_is_not_used(
    program: str, environ: dict[str, str], tmp_path: Path
) -> None:
    environ = {**environ, "SKIPS": "1"}
    standby = await started(program, environ, tmp_path)
    await standby.running.follow(lambda _: None)
    assert not await standby.may_begin((program,), environ, CLOCK)
    await standby.dismiss()


class HastyClock(SystemClock):
    """A clock on which each look takes a second."""

    now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 1.0
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Not at all."""


async def test_a_program_that_has_not_come_to_its_configuration_in_time_is_not_used(
    program: str, environ: dict[str, str], tmp_path: Path
) -> None:
    environ = {**environ, "DAWDLES": "1"}
    standby = await started(program, environ, tmp_path)
    assert not await standby.may_begin((program,), environ, HastyClock())
    assert standby.running.child.is_running
    await standby.dismiss()


async def test_a_dismissed_standby_is_gone_and_leaves_nothing(
    program: str, environ: dict[str, str], tmp_path: Path
) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    standby = await started(program, environ, tmp_path)
    pid = standby.running.child.name.pid
    await standby.dismiss()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.promise("P4")
async def test_an_apply_that_goes_on_because_its_supervisor_died_finds_no_plan(
    program: str, environ: dict[str, str], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.tfplan"
    plan.write_text("THE PLAN")
    standby = await started(program, environ, tmp_path, str(plan), plan=plan)
    assert await standby.may_begin((program, str(plan)), environ, CLOCK)
    standby._close()  # as the kernel does when we die
    outcome = await standby.running.follow(lambda _: None)
    assert "THE PLAN" not in standby.running.output.read_text()
    assert "No such file" in outcome.text


async def test_an_apply_that_is_released_reads_its_plan(program: str, environ: dict[str, str], tmp_path: Path) -> None:
    plan = tmp_path / "plan.tfplan"
    standby = await started(program, environ, tmp_path, str(plan), plan=plan)
    assert await standby.may_begin((program, str(plan)), environ, CLOCK)
    plan.write_text("THE PLAN")
    standby.release()
    assert "THE PLAN" in await ended(standby)
    standby.forget()
    assert not list(tmp_path.glob("plan.tfplan*"))


async def test_the_real_terraform_waits_at_its_configuration_and_then_works(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text('output "x" {\n  value = 1\n}\n')
    config = tmp_path / "own.tfrc"
    config.write_text("plugin_cache_may_break_dependency_lock_file = true\n")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), CONFIG: str(config), "CHECKPOINT_DISABLE": "1"}
    argv = ("terraform", f"-chdir={tmp_path}", "validate", "-json")
    standby = await stand_by("plan", argv, environ, start=starting(tmp_path), cwd=tmp_path, run_folder=tmp_path)
    assert standby is not None
    assert await standby.may_begin(argv, environ, CLOCK)
    assert standby.running.output.read_text() == ""
    standby.release()
    assert '"valid": true' in await ended(standby)
    standby.forget()


def test_without_any_configuration_it_is_an_empty_one(tmp_path: Path) -> None:
    assert find_own_config("terraform", {"HOME": str(tmp_path)}, tmp_path) == Path(os.devnull)


def test_the_file_in_the_home_is_used_and_a_named_one_goes_before_it(tmp_path: Path) -> None:
    (tmp_path / ".terraformrc").write_text("")
    (tmp_path / "named").write_text("")
    assert find_own_config("terraform", {"HOME": str(tmp_path)}, tmp_path) == tmp_path / ".terraformrc"
    assert find_own_config("terraform", {"HOME": str(tmp_path), CONFIG: "named"}, tmp_path) == tmp_path / "named"


@pytest.mark.parametrize("name", ["credentials.tfrc.json", "mirror.tfrc"])
def test_files_that_are_read_only_beside_the_usual_one_rule_it_out(tmp_path: Path, name: str) -> None:
    (tmp_path / ".terraform.d").mkdir()
    (tmp_path / ".terraform.d" / name).write_text("{}")
    assert find_own_config("terraform", {"HOME": str(tmp_path)}, tmp_path) is None


def test_what_is_no_small_readable_file_rules_it_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * 40_000)
    for name in ("pipe", "large", "absent"):
        assert find_own_config("terraform", {"HOME": str(tmp_path), CONFIG: name}, tmp_path) is None


def test_opentofu_and_a_home_that_is_not_known_rule_it_out(tmp_path: Path) -> None:
    assert find_own_config("/usr/bin/tofu", {"HOME": str(tmp_path)}, tmp_path) is None
    assert find_own_config("terraform", {}, tmp_path) is None
