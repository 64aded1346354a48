from pathlib import Path

import pytest

from interlock.cli.execute import ask, divide_words
from interlock.errors import UsageError
from interlock.run.order import Operation


@pytest.mark.parametrize(
    ("words", "folder", "verb"),
    [
        (["terraform", "state", "list"], ".", ("state", "list")),
        (["state", "list"], ".", ("state", "list")),
        (["envs/prod", "terraform", "output"], "envs/prod", ("output",)),
        (["envs/prod", "output"], "envs/prod", ("output",)),
        (["terraform", "terraform", "output"], "terraform", ("output",)),
        (["state", "terraform", "output"], "state", ("output",)),
        (["state", "output"], "state", ("output",)),
    ],
)
def test_the_root_module_is_told_from_the_command(
    words: list[str], folder: str, verb: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("envs/prod", "terraform", "state"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    directory, command = divide_words(words)
    assert (directory, command.verb) == (Path(folder), verb)


@pytest.mark.parametrize("line", ["rm x", "terrraform state list", "envs/porduction terraform output"])
def test_a_first_word_that_is_neither_a_folder_nor_a_command_is_named(line: str) -> None:
    """`exec -- rm x` said that exec does not run `terraform x`."""
    with pytest.raises(UsageError, match=f"^{line.split(maxsplit=1)[0]} is neither the folder"):
        divide_words(line.split())


@pytest.mark.parametrize(
    ("words", "operation"),
    [("output", Operation.READ), ("taint a.b", Operation.EXEC), ("refresh", Operation.REFRESH)],
)
def test_a_command_is_ordered_by_what_it_does_to_the_state(words: str, operation: Operation) -> None:
    directory, command = divide_words(words.split())
    asked = ask(command, directory)
    assert asked.operation is operation
    assert asked.terraform is None
    assert asked.retries == 0


def test_the_program_that_is_typed_is_the_one_that_runs_unless_it_is_the_usual_one() -> None:
    assert ask(divide_words(["tofu", "output"])[1], Path()).terraform == "tofu"
    assert ask(divide_words(["/opt/terraform", "output"])[1], Path()).terraform == "/opt/terraform"
    assert ask(divide_words(["terraform", "output"])[1], Path(), terraform="tofu").terraform == "tofu"
