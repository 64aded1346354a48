"""Terraform's commands of a run: argument lists, files, environment, and what a wish to stop makes of each."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from interlock.errors import BackendUnavailable, InterlockError, TerraformFailed
from interlock.run.binary import Binary
from interlock.run.leaving import note_before_apply
from interlock.run.order import Operation, Order
from interlock.run.stage import Outcome, Running
from interlock.run.summary import Summary
from interlock.run.terraform_commands import Commands, StopRequested, TerraformCommands
from interlock.run.transcript import Journal, read
from interlock.run.workspace import open_workspace
from interlock.terraform.events import AnyEvent
from interlock.testing.clock import START, FakeClock
from interlock.testing.run import SHOWN, Diary, Ending, FakeDoor, FakeTerraform, error_line

RUN = "r1"


class Scene:
    """The commands of one run, with a Terraform that is not started."""

    def __init__(
        self,
        folder: Path,
        *,
        flags: tuple[str, ...] = (),
        environ: Mapping[str, str] = {},
        operation: Operation = Operation.APPLY,
    ) -> None:
        self.module, self.folder = folder / "module", folder / "home" / "runs" / RUN
        self.module.mkdir()
        self.folder.mkdir(parents=True)
        self.plan = self.folder / "plan.tfplan"
        self.diary, self.clock = Diary(), FakeClock()
        self.access = FakeDoor(diary=self.diary)
        self.terraform = FakeTerraform(self.diary, self.access, self.clock)
        summary = Summary(
            run=RUN, state="prod", operation="apply", who="ann@desk", directory="", phase="planning", started_at=START
        )
        self.journal = Journal(self.folder, summary, self.clock, lambda: None)
        order = Order(
            run=RUN,
            operation=operation,
            directory=str(self.module),
            state="prod",
            who="ann@desk",
            home=str(folder / "home"),
            extra=flags,
        )
        self.workspace = open_workspace(
            self.module, home=folder / "home", run_folder=self.folder, in_place=True, binary_mark="fake", environ={}
        )
        self.commands: Commands = TerraformCommands(
            order=order,
            access=self.access,
            workspace=self.workspace,
            binary=Binary(argv=("terraform",), name="fake", mark="fake"),
            journal=self.journal,
            run_folder=self.folder,
            given=environ,
            diagnose=lambda _events, text: TerraformFailed("diagnosed", why=text, fix="look"),
            clock=self.clock,
            alive=0,
            start=self.terraform.start,
            ask=self.terraform.ask,
        )

    async def apply(self) -> Outcome:
        """Apply the plan as a run does, which has written down what may be deleted."""
        note_before_apply(self.folder, errored=self.workspace.errored, allowed=frozenset())
        return await self.commands.apply(self.plan, _ignore, parallelism=7)

    async def describe(self) -> str:
        """Let people see a plan, which is there by then."""
        self.plan.write_bytes(b"a plan")
        return await self.commands.describe(self.plan)

    def each(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """Return every command by the name of its process."""
        return {
            "init": self.commands.initialise,
            "plan": lambda: self.commands.plan(self.plan, _ignore),
            "show": lambda: self.commands.show(self.plan),
            "told": self.describe,
            "rendered": self.describe,
            "generate": lambda: self.commands.generate("import {}", ("null_resource.a",)),
            "apply": self.apply,
        }


def _ignore(event: AnyEvent) -> None:
    """Nobody looks at it."""


NAMES = ("init", "plan", "show", "told", "rendered", "generate", "apply")
READ = ("told", "rendered")  # what is killed when the run is to stop: it loses nothing


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("init", ["init"]),
        ("plan", ["plan", "-json", "-detailed-exitcode", "-out={folder}/plan.tfplan"]),
        ("show", ["show", "-json", "{folder}/plan.tfplan"]),
        ("told", ["show", "-json", "{folder}/shown.tfplan"]),
        ("generate", ["plan", "-json", "-refresh=false", "-generate-config-out={folder}/generated.tf"]),
        ("apply", ["apply", "-json", "-parallelism=7", "{folder}/plan.tfplan"]),
    ],
)
async def test_each_command_says_what_it_is_for(tmp_path: Path, name: str, words: list[str]) -> None:
    scene = Scene(tmp_path)
    await scene.each()[name]()
    argv = scene.terraform.started[0].argv
    expected = [word.format(folder=scene.folder) for word in words]
    assert argv[0] == "terraform"
    assert [word for word in argv if word in expected] == expected


@pytest.mark.parametrize(
    ("operation", "flag"),
    [(Operation.DESTROY, "-destroy"), (Operation.DRIFT, "-refresh-only"), (Operation.APPLY, None)],
)
async def test_the_plan_is_of_the_kind_that_was_ordered(tmp_path: Path, operation: Operation, flag: str | None) -> None:
    scene = Scene(tmp_path, operation=operation)
    await scene.commands.plan(scene.plan, _ignore)
    modes = [word for word in scene.terraform.started[0].argv if word in ("-destroy", "-refresh-only")]
    assert modes == ([flag] if flag else [])


@pytest.mark.promise("P10")
@pytest.mark.parametrize("name", NAMES)
async def test_no_command_is_given_a_secret_of_interlock_itself(tmp_path: Path, name: str) -> None:
    scene = Scene(tmp_path, environ={"INTERLOCK_SEAL_KEY": "s3cret-of-ours", "AWS_PROFILE": "team"})
    await scene.each()[name]()
    for process in scene.terraform.started:
        assert "INTERLOCK_SEAL_KEY" not in process.environ
        assert process.environ["AWS_PROFILE"] == "team"


@pytest.mark.promise("P10")
async def test_variables_are_given_to_the_plan_and_not_again_to_its_apply(tmp_path: Path) -> None:
    scene = Scene(tmp_path, environ={"TF_VAR_password": "hunter2"})
    await scene.commands.plan(scene.plan, _ignore)
    await scene.apply()
    planned, applied = scene.terraform.started
    assert planned.environ["TF_VAR_password"] == "hunter2"
    assert "TF_VAR_password" not in applied.environ


WANTS = """
Error: Couldn't show local plan

Plan read error: No value for required variable: The root module input
variable "which" is not set, and has no default value. Use a -var or
-var-file command line argument to provide a value for this variable.
"""
"""What Terraform 1.15.5 wrote on a plan whose module's source has a variable (docs/facts/opentofu.md#tofu-11)."""


OF_TOFU = "Error: Unable to compute static value\n\n  on  line 0:\n\n depends on var.which which is not available\n"
"""What OpenTofu 1.12.6 wrote on such a plan."""


@pytest.mark.parametrize("words", [WANTS, OF_TOFU])
@pytest.mark.parametrize("name", ["show", "told"])
async def test_a_plan_whose_reader_wants_the_values_of_the_plan_is_read_with_them(
    tmp_path: Path, name: str, words: str
) -> None:
    scene = Scene(tmp_path, flags=("-var-file=prod.tfvars",))
    scene.terraform.ends[name] = Ending(warns=words.encode(), code=1)
    scene.diary.meets[f"start:{name}#2"] = lambda: scene.terraform.ends.update({name: Ending(says=SHOWN)})
    assert await scene.each()[name]() in ("", SHOWN)
    given = [(each.label, "-var-file=prod.tfvars" in each.argv) for each in scene.terraform.started]
    assert given[:2] == [(name, False), (name, True)]
    assert all(has for _, has in given[1:])


async def test_a_plan_that_cannot_be_read_for_another_reason_is_read_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, flags=("-var-file=prod.tfvars",))
    scene.terraform.ends["show"] = Ending(warns=b"Error: Failed to read the given file as a plan", code=1)
    with pytest.raises(TerraformFailed):
        await scene.commands.show(scene.plan)
    assert len(scene.terraform.started) == 1


async def test_init_gets_the_values_on_which_the_sources_of_modules_may_depend(tmp_path: Path) -> None:
    scene = Scene(tmp_path, flags=("-var-file=prod.tfvars", "-target=a.b"))
    await scene.commands.initialise()
    (init,) = scene.terraform.started
    assert "-var-file=prod.tfvars" in init.argv
    assert "-target=a.b" not in init.argv


async def test_what_the_gateway_needs_is_given_from_its_opening_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.commands.initialise()
    scene.commands.add({"GATEWAY": "http://localhost"})
    await scene.commands.plan(scene.plan, _ignore)
    assert ["GATEWAY" in process.environ for process in scene.terraform.started] == [False, True]


async def test_a_plan_that_stands_by_for_something_else_is_dismissed_and_another_is_started(tmp_path: Path) -> None:
    scene = Scene(tmp_path, environ={"HOME": str(tmp_path)})
    scene.commands.expect_plan()
    await asyncio.sleep(0)
    scene.commands.add({"GATEWAY": "http://localhost"})
    outcome = await scene.commands.plan(scene.plan, _ignore)
    waited, planned = scene.terraform.started
    assert ("GATEWAY" in waited.environ, "GATEWAY" in planned.environ) == (False, True)
    assert not waited.is_running
    assert outcome.ended.code == scene.terraform.ends["plan"].code


@pytest.mark.promise("P9")
async def test_a_plan_that_stood_by_does_not_begin_after_a_wish_that_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, told = Scene(tmp_path), list[str]()

    class Ready:
        async def may_begin(self, *_: object) -> bool:
            scene.commands.stop()
            return True

        async def dismiss(self) -> None:
            told.append("dismissed")

    async def ready(*_: object, **__: object) -> Ready:
        return Ready()

    monkeypatch.setattr("interlock.run.terraform_commands.stand_by", ready)
    scene.commands.expect_plan()
    with pytest.raises(StopRequested):
        await scene.commands.plan(scene.plan, _ignore)
    assert told == ["dismissed"]
    assert scene.journal.summary.starting == ""


@pytest.mark.parametrize(
    ("flags", "theirs", "used"),
    [((), None, "-parallelism=7"), (("-parallelism=3",), 3, "-parallelism=3"), (("--parallelism=4",), 4, None)],
)
async def test_the_users_own_parallelism_wins(
    tmp_path: Path, flags: tuple[str, ...], theirs: int | None, used: str | None
) -> None:
    scene = Scene(tmp_path, flags=flags)
    assert scene.commands.parallelism == theirs
    await scene.apply()
    found = [word for word in scene.terraform.started[0].argv if word.lstrip("-").startswith("parallelism=")]
    assert found == [used or flags[0]]


# -- what a command leaves on disk ------------------------------------------------------------------------------------


@pytest.mark.promise("P10")
@pytest.mark.parametrize("how", ["done", "failed", "stopped"])
@pytest.mark.parametrize(
    ("name", "file"), [("show", "show.jsonl"), ("told", "told.jsonl"), ("rendered", "rendered.jsonl")]
)
async def test_a_plans_values_in_clear_do_not_stay_on_disk(tmp_path: Path, name: str, file: str, how: str) -> None:
    scene = Scene(tmp_path)
    scene.terraform.ends[name] = Ending(says=b'{"password": "hunter2"}', code=1 if how == "failed" else 0)
    scene.terraform.stops[name] = Ending(says=b'{"password": "hunter2"}')
    if how == "stopped":
        scene.diary.meets[f"during:{name}"] = scene.commands.stop
    try:
        await scene.each()[name]()
    except (InterlockError, StopRequested):
        assert how != "done"
    assert not (scene.folder / file).exists()


async def test_a_shown_plan_is_returned_as_terraform_wrote_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.journal.learn(["hunter2-the-secret"])
    scene.terraform.ends["show"] = Ending(says=b'{"password": "hunter2-the-secret"}')
    assert await scene.commands.show(scene.plan) == b'{"password": "hunter2-the-secret"}'


@pytest.mark.parametrize("name", READ)
async def test_a_plan_that_cannot_be_shown_is_no_failure_and_its_reason_is_told(tmp_path: Path, name: str) -> None:
    scene = Scene(tmp_path)
    scene.terraform.ends[name] = Ending(code=1)
    assert await scene.describe() == "diagnosed"
    assert not (scene.folder / "plan.txt").exists()


@pytest.mark.parametrize("written", [b"{}", b"not JSON", b'{"format_version": "9.0"}'])
async def test_a_plan_whose_json_cannot_be_read_is_not_shown_since_its_secrets_are_not_known(
    tmp_path: Path, written: bytes
) -> None:
    scene = Scene(tmp_path)
    scene.terraform.ends["told"] = Ending(says=written)
    assert "the plan's JSON cannot be read" in await scene.describe()
    assert not (scene.folder / "plan.txt").exists()
    assert not (scene.folder / "plan.json").exists()


@pytest.mark.promise("P10")
async def test_a_plan_is_kept_for_people_and_programs_without_its_secrets(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.journal.learn(["token-of-the-environment"])
    change = {"actions": ["create"], "after": {"input": "hunter2-secret", "note": "token-of-the-environment"}}
    entry = {"address": "a.b[10]", "change": {**change, "after_sensitive": {"input": True}}}
    plain = {"address": "a.b[9]", "change": {"actions": ["delete"], "before": {"copy": "hunter2-secret"}}}
    shown = {"format_version": "1.2", "resource_changes": [entry, plain]}
    scene.terraform.ends["told"] = Ending(says=json.dumps(shown).encode())
    scene.terraform.ends["rendered"] = Ending(says=b'+ copy = "hunter2-secret"\n+ x = "token-of-the-environment"\n')
    assert await scene.describe() == ""
    text, document = (scene.folder / "plan.txt").read_text(), json.loads((scene.folder / "plan.json").read_bytes())
    assert text.startswith("+ copy = ")
    assert [row["address"] for row in document["resources"]] == ["a.b[9]", "a.b[10]"]
    for kept in (text, json.dumps(document)):
        assert "hunter2" not in kept
        assert "token-of" not in kept
    assert {path.name for path in scene.folder.iterdir()} & {"told.jsonl", "rendered.jsonl", "shown.tfplan"} == set()


async def test_a_plan_can_be_shown_while_its_apply_has_taken_its_name_away(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.diary.meets["during:told"] = scene.plan.unlink
    assert await scene.describe() == ""
    assert (scene.folder / "plan.txt").exists()


async def test_nothing_of_a_generated_configuration_stays_in_the_users_folder(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.terraform.ends["generate"] = Ending(says=error_line("no such object"), code=1)
    assert await scene.commands.generate("import {}", ("null_resource.a",)) == ("", b"", "no such object")
    assert list(scene.module.iterdir()) == []


async def test_plans_and_values_are_forgotten_at_the_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.commands.plan(scene.plan, _ignore)
    assert scene.plan.exists()
    scene.commands.clear_away()
    assert not scene.plan.exists()


# -- init -------------------------------------------------------------------------------------------------------------


async def test_an_initialised_folder_is_not_initialised_twice_unless_the_plan_says_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.commands.initialise()
    await scene.commands.initialise()
    assert [process.label for process in scene.terraform.started] == ["init"]
    await scene.commands.initialise(again=True)
    assert [process.label for process in scene.terraform.started] == ["init", "init"]


async def test_an_init_that_fails_is_diagnosed_and_not_kept(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.terraform.ends["init"] = Ending(says=b"Error: Failed to query available provider packages", code=1)
    with pytest.raises(TerraformFailed) as failure:
        await scene.commands.initialise()
    assert "Failed to query" in (failure.value.why or "")
    scene.terraform.ends.pop("init")
    await scene.commands.initialise()
    assert [process.label for process in scene.terraform.started] == ["init", "init"]


# -- a wish to stop ---------------------------------------------------------------------------------------------------


@pytest.mark.promise("P9")
@pytest.mark.parametrize("name", NAMES)
async def test_nothing_begins_after_a_wish_to_stop(tmp_path: Path, name: str) -> None:
    scene = Scene(tmp_path)
    scene.commands.stop()
    with pytest.raises(StopRequested):
        await scene.each()[name]()
    assert scene.terraform.started == []


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "apply"])
@pytest.mark.parametrize("step", ["start", "during"])
async def test_what_a_stopped_command_says_does_not_count(tmp_path: Path, name: str, step: str) -> None:
    scene = Scene(tmp_path)
    scene.diary.meets[f"{step}:{name}"] = scene.commands.stop
    with pytest.raises(StopRequested):
        await scene.each()[name]()
    assert scene.diary.steps.count(f"kill:{name}" if name in READ else f"ask:{name}") == 1


@pytest.mark.promise("P8", "P9")
@pytest.mark.parametrize("step", ["start", "during"])
async def test_a_stopped_apply_has_an_outcome_since_it_has_changed_things(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path)
    scene.diary.meets[f"{step}:apply"] = scene.commands.stop
    outcome = await scene.apply()
    assert outcome.interruption.is_stopping
    assert scene.diary.steps.count("ask:apply") == 1
    assert scene.access.head.serial == 1


async def test_a_second_wish_asks_nobody_twice(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    def stop_twice() -> None:
        scene.commands.stop()
        scene.commands.stop()

    scene.diary.meets["during:apply"] = stop_twice
    await scene.apply()
    assert scene.terraform.faults == []
    assert [entry.facts["outcome"] for entry in read(scene.folder) if entry.kind == "asked"] == ["sent"]


async def test_a_kill_reaches_the_command_that_runs_and_nobody_else(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.commands.kill()
    scene.diary.meets["during:apply"] = scene.commands.kill
    outcome = await scene.apply()
    assert outcome.was_cut
    scene.commands.kill()
    assert scene.diary.steps.count("kill:apply") == 1


# -- what goes wrong with us ------------------------------------------------------------------------------------------


@pytest.mark.promise("P9")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "rendered"])
async def test_a_command_that_nobody_follows_is_ended_and_an_apply_saves_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def fails(_running: Running, _on_event: object) -> Outcome:
        raise RuntimeError("a defect")

    scene = Scene(tmp_path)
    monkeypatch.setattr(Running, "follow", fails)
    with pytest.raises(RuntimeError, match="a defect"):
        await scene.each()[name]()
    assert scene.terraform.living == {}
    assert scene.commands.has_unjudged_apply is (name == "apply")
    assert (f"kill:{name}" in scene.diary.steps) is (name != "apply")
    assert (f"ask:{name}" in scene.diary.steps) is (name == "apply")


async def test_a_command_whose_start_cannot_be_written_down_is_not_started(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    shutil.rmtree(scene.folder)
    with pytest.raises(BackendUnavailable):
        await scene.commands.plan(scene.plan, _ignore)
    assert scene.terraform.started == []


async def test_a_cancelled_init_leaves_no_process(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    task = asyncio.ensure_future(scene.each()["init"]())
    scene.diary.meets["during:init"] = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    assert scene.terraform.living == {}
