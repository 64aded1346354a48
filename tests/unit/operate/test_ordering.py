"""From what was typed to an order: everything that can be checked before anything starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.errors import UsageError
from interlock.operate.ordering import Asked, flags_of_environment, make_order, root_module
from interlock.run.order import Operation, Order
from interlock.settings.values import Settings, StateSettings

S3 = 'terraform {\n  backend "s3" {\n    bucket = "b"\n    key = "k"\n    region = "eu-west-1"\n  }\n}\n'


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.tf").write_text("")
    return folder


def ordered(module: Path, settings: Settings | None = None, **asked: Any) -> Order:
    program = module.parent / "terraform"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    settings = settings or Settings(home=module.parent / "home")
    environ = {"PATH": f"{module.parent}{os.pathsep}/usr/bin:/bin"}
    what = Asked(**{"operation": Operation.APPLY, "directory": module, "terraform": str(program), **asked})
    settings = replace(settings, terraform=str(program))
    return make_order(what, module, settings, environ, run="0aaa", say=lambda _: None)


def test_an_order_names_the_state_and_the_pace_of_its_own_backend(module: Path) -> None:
    order = ordered(module, state="prod")
    assert (order.run, order.state, order.backend, order.named) == ("0aaa", "prod", "", True)
    assert (module.parent / "home" / "runs").is_dir()


@pytest.mark.promise("P11")
def test_a_state_elsewhere_is_ordered_at_a_slower_pace_and_under_no_other_name(module: Path) -> None:
    usual_s = ordered(module).heartbeat_s
    (module / "main.tf").write_text(S3)
    order = ordered(module)
    assert (order.state, order.backend, order.heartbeat_s > usual_s) == ("s3/b/k", "s3", True)
    with pytest.raises(UsageError, match="does not name this state"):
        ordered(module, state="other")


def test_what_interlock_yaml_says_of_a_state_bounds_its_runs(module: Path) -> None:
    states = {"prod": StateSettings(directory=module, max_deletes=2, protected=True)}
    order = ordered(module, Settings(home=module.parent / "home", states=states, max_deletes=9))
    assert (order.state, order.max_deletes, order.protected) == ("prod", 2, True)
    assert ordered(module, Settings(home=module.parent / "home", states=states), max_deletes=7).max_deletes == 7


@pytest.mark.parametrize(
    "asked", [{"plan_digest": "abcdef123456"}, {"plan_file": Path("/no/such/plan")}, {"out": Path("/no/such/folder/x")}]
)
def test_what_cannot_be_is_refused_before_anything_starts(module: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ordered(module, **asked)


def test_only_a_folder_with_configuration_is_a_root_module(module: Path) -> None:
    assert root_module(module) == module.resolve()
    (module / "main.tf").unlink()
    for folder in (module, module / "none"):
        with pytest.raises(UsageError):
            root_module(folder)


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    ("operation", "environ", "flags"),
    [
        (Operation.APPLY, {}, ()),
        (Operation.PLAN, {"TF_CLI_ARGS": "-var-file=prod.tfvars -no-color"}, ("-var-file=prod.tfvars",)),
        (Operation.APPLY, {"TF_CLI_ARGS": "-var x=2", "TF_CLI_ARGS_apply": "-var=x=1"}, ("-var=x=1", "-var", "x=2")),
        (Operation.APPLY, {"TF_CLI_ARGS_apply": "-parallelism=3 -lock-timeout=5m -auto-approve"}, ("-parallelism=3",)),
        (Operation.PLAN, {"TF_CLI_ARGS_apply": "-var=x=1", "TF_CLI_ARGS_plan": "-var=x=2"}, ()),
        (Operation.DESTROY, {"TF_CLI_ARGS_destroy": "-target=a.b", "TF_CLI_ARGS_plan": "-destroy"}, ("-target=a.b",)),
        (Operation.DRIFT, {"TF_CLI_ARGS_plan": "-refresh-only", "TF_CLI_ARGS": "-refresh=false"}, ("-refresh=false",)),
        (Operation.APPLY, {"TF_CLI_ARGS_plan": "-destroy=false"}, ()),
        (Operation.EXEC, {"TF_CLI_ARGS": "-var=x=1 -destroy"}, ()),
    ],
)
def test_flags_of_the_environment_that_say_what_is_planned_count_as_if_they_were_typed(
    operation: Operation, environ: dict[str, str], flags: tuple[str, ...]
) -> None:
    assert flags_of_environment(environ, operation) == flags


@pytest.mark.parametrize(
    ("operation", "name", "value"),
    [
        (Operation.APPLY, "TF_CLI_ARGS_plan", "-destroy"),
        (Operation.PLAN, "TF_CLI_ARGS", "-refresh-only=true"),
        (Operation.APPLY, "TF_CLI_ARGS_apply", "-auto-approve tfplan"),
        (Operation.APPLY, "TF_CLI_ARGS", "-var='x=1"),
    ],
)
def test_flags_of_the_environment_that_mean_another_plan_are_refused_with_their_variable(
    operation: Operation, name: str, value: str
) -> None:
    with pytest.raises(UsageError) as refused:
        flags_of_environment({name: value}, operation)
    assert refused.value.fix == f"unset {name}"
