"""Values of the user's flags on their way to Terraform: never in an argument list."""

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.run.given_values import PATTERN, Handed, find_known_secrets, hand_over, remove_given, values_of
from interlock.run.order import Operation, Order
from interlock.terraform.command import divide_flags

MODULE = """
variable "name" {
  type = string
}
variable "size" {
  type = number
}
variable "tags" {
  type = map(string)
}
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "main.tf").write_text(MODULE)
    (tmp_path / "run").mkdir()
    return folder


def handed(module: Path, *flags: str) -> Handed:
    return hand_over(divide_flags(flags), directory=module, folder=module.parent / "run")


def given(module: Path) -> list[str]:
    return [path.read_text() for path in sorted((module.parent / "run").glob(PATTERN))]


@pytest.mark.promise("P10")
@pytest.mark.parametrize("written", [("-var=name=hunter2",), ("--var=name=hunter2",), ("-var", "name=hunter2")])
def test_a_value_goes_through_the_environment_however_it_was_written(module: Path, written: tuple[str, ...]) -> None:
    found = handed(module, *written)
    assert found.environ == {"TF_VAR_name": "hunter2"}
    assert found.flags.plan == ()
    assert "hunter2" not in repr(found)


@pytest.mark.promise("P10")
@pytest.mark.parametrize("file", ["terraform.tfvars", "team.auto.tfvars"])
def test_where_a_file_of_values_might_win_it_goes_into_a_private_file_in_its_place(module: Path, file: str) -> None:
    (module / file).write_text('name = "other"\n')
    found = handed(module, "-var=name=hunter2", "-refresh=false")
    (flag, other) = found.flags.plan
    assert flag.startswith("-var-file=")
    assert other == "-refresh=false"
    assert found.environ == {}
    path = Path(flag.removeprefix("-var-file="))
    assert path.read_text() == 'name = "hunter2"\n'
    assert path.stat().st_mode & 0o077 == 0
    assert found.flags.values == (flag,)


def test_the_order_of_values_and_files_is_kept_as_it_decides_who_wins(module: Path) -> None:
    found = handed(module, "-var=name=a", "-var-file=team.tfvars", "-var=size=3")
    assert [word.partition("=")[0] for word in found.flags.plan] == ["-var-file"] * 3
    assert found.flags.plan[1] == "-var-file=team.tfvars"
    assert given(module) == ['name = "a"\n', 'size = "3"\n']


@pytest.mark.parametrize(
    ("text", "spelled"),
    [('a "quote" ${x}', 'name = "a \\"quote\\" $${x}"\n'), ("%{if}", 'name = "%%{if}"\n')],
)
def test_a_text_is_spelled_so_that_terraform_reads_it_as_it_is(module: Path, text: str, spelled: str) -> None:
    handed(module, "-var-file=x.tfvars", f"-var=name={text}")
    assert given(module) == [spelled]


def test_an_expression_may_go_over_lines(module: Path) -> None:
    handed(module, "-var-file=x.tfvars", '-var=tags={\n  a = "b"\n}')
    assert given(module) == ['tags = (\n{\n  a = "b"\n}\n)\n']


def test_a_value_for_nothing_is_refused_as_terraform_refuses_it(module: Path) -> None:
    with pytest.raises(UsageError, match="nothing_such"):
        handed(module, "-var=nothing_such=1")
    (module / "generated.tf.json").write_text('{"variable": {"nothing_such": {}}')  # ours cannot read it
    assert handed(module, "-var=nothing_such=1").environ == {"TF_VAR_nothing_such": "1"}


@pytest.mark.promise("P10")
def test_a_backends_values_go_into_private_files_and_its_files_are_named(module: Path) -> None:
    found = handed(module, "-backend-config=secret_key=hunter2", "-backend-config=team.s3.tfbackend")
    first, second = found.flags.init
    assert "hunter2" not in first
    assert second == "-backend-config=team.s3.tfbackend"
    assert given(module) == ['secret_key = "hunter2"\n']


def test_they_are_removed_with_the_run(module: Path) -> None:
    handed(module, "-var-file=x.tfvars", "-var=name=hunter2")
    (module.parent / "run" / "journal.jsonl").touch()
    remove_given(module.parent / "run")
    assert [path.name for path in (module.parent / "run").iterdir()] == ["journal.jsonl"]


def test_the_values_of_a_command_line_are_found_in_every_spelling() -> None:
    assert values_of(["-var=a=1", "--var=b=2=3", "-var", "c=", "-var-file=x", "-refresh=false"]) == ["1", "2=3", ""]


@pytest.mark.promise("P10")
def test_what_is_given_is_known_as_a_secret_before_the_run_begins(module: Path) -> None:
    (module / "secrets.tf").write_text('variable "first" {\n  sensitive = true\n}\nvariable "db_password" {}\n')
    order = Order(
        run="r",
        operation=Operation.PLAN,
        directory=str(module),
        state="prod",
        who="ann",
        home="h",
        extra=("-var=first=hunter2-long-enough", "-backend-config=secret_key=s3-secret-key-value"),
    )
    known = find_known_secrets(order, {"TF_VAR_db_password": "tags-long-enough-too"})
    hidden = known.hide("hunter2-long-enough, s3-secret-key-value, tags-long-enough-too, prod")
    assert hidden == "(sensitive), (sensitive), (sensitive), prod"
