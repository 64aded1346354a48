import pytest

from interlock.errors import UsageError
from interlock.terraform.state_command import Effect, is_verb, read_command


@pytest.mark.parametrize(
    ("typed", "verb", "rest", "effect"),
    [
        ("terraform state mv a.b a.c", ("state", "mv"), ("a.b", "a.c"), Effect.CHANGES),
        ("state rm -dry-run a.b", ("state", "rm"), ("-dry-run", "a.b"), Effect.CHANGES),
        ("/opt/bin/tofu output -json x", ("output",), ("-json", "x"), Effect.READS),
        ("terraform providers schema -json", ("providers", "schema"), ("-json",), Effect.READS),
        ("terraform providers", ("providers",), (), Effect.READS),
        ("terraform import -provider p a.b -1", ("import",), ("-provider", "p", "a.b", "-1"), Effect.CHANGES),
        ("terraform state list -no-color", ("state", "list"), (), Effect.READS),
    ],
)
def test_a_command_is_read_as_it_is_typed(
    typed: str, verb: tuple[str, ...], rest: tuple[str, ...], effect: Effect
) -> None:
    found = read_command(typed.split())
    assert (found.verb, found.rest, found.kind.effect) == (verb, rest, effect)


def test_flags_of_ours_stand_before_the_users_words_and_values_are_handed_over() -> None:
    found = read_command(["import", "-var", "x=1", "-var-file=f", "-config=c", "a.b", "id"])
    assert found.values == ("-var", "x=1", "-var-file=f")
    argv = found.argv(lock=False, values=("-var-file=given",))
    assert argv == ("import", "-no-color", "-lock=false", "-var-file=given", "-config=c", "a.b", "id")
    assert read_command(["output", "-raw", "o"]).argv(lock=False, values=()) == ("output", "-no-color", "-raw", "o")
    assert read_command(["state", "rm", "a"]).argv(lock=None, values=()) == ("state", "rm", "-no-color", "a")


def test_every_flag_of_a_refresh_belongs_to_its_plan() -> None:
    assert read_command(["refresh", "-target=a.b", "-parallelism", "3"]).values == ("-target=a.b", "-parallelism", "3")
    with pytest.raises(UsageError, match="takes no words"):
        read_command(["refresh", "somewhere"])


@pytest.mark.parametrize(
    "words",
    [
        ["state", "rm", "-lock=false", "a.b"],
        ["state", "mv", "-state-out=x", "a", "b"],
        ["terraform", "-chdir=x", "state", "list"],
        ["import", "-input=true", "a", "b"],
        ["state", "replace-provider", "a", "b"],
    ],
)
def test_what_would_break_a_run_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        read_command(words)


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["apply"], "interlock apply"),
        (["terraform", "state", "push", "x"], "interlock state push FILE"),
        (["workspace", "new", "x"], "TF_WORKSPACE"),
        (["fmt"], "terraform fmt"),
        ([], "interlock exec -- terraform state list"),
        (["terraform"], "interlock exec -- terraform state list"),
        (["frobnicate"], "interlock exec -- terraform state list"),
        (["tofu", "fmt"], "tofu fmt"),
        (["/opt/my tools/tofu", "test"], "'/opt/my tools/tofu' test"),
        (["tofu", "workspace", "new", "x"], "after tofu workspace select NAME"),
        (["tofu"], "interlock exec -- tofu state list"),
        (["tofu", "frobnicate"], "interlock exec -- tofu state list"),
        (["tofu", "refresh", "x"], "interlock exec -- tofu state list"),
    ],
)
def test_another_command_is_pointed_to_its_place(words: list[str], fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_command(words)
    assert fix in caught.value.fix


def test_a_verb_is_known_by_its_first_words() -> None:
    assert is_verb(["state", "mv"])
    assert is_verb(["apply"])
    assert not is_verb(["envs/prod"])
    assert not is_verb([])
