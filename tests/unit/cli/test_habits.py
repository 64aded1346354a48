import pytest

from interlock.cli.habits import translate
from interlock.cli.main import COMMANDS
from interlock.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("plan -var x=1", "plan -- -var x=1"),
        ("plan -var=x=1 envs/prod", "plan envs/prod -- -var=x=1"),
        ("plan --target=a.b -out p", "plan --out p -- --target=a.b"),
        ("apply -auto-approve -replace a.b -- -parallelism=3", "apply --auto-approve -- -replace a.b -parallelism=3"),
        ("apply --state s -lock=false", "apply --state s -- -lock=false"),
        ("plan -detailed-exitcode -json", "plan --detailed-exitcode --json"),
        ("plan -state=x.tfstate", "plan -- -state=x.tfstate"),
        ("plan -refresh-only", "plan -- -refresh-only"),
        ("plan --wait 5m", "plan --wait 5m"),
        ("plan -h", "plan --help"),
        ("plan -help", "plan --help"),
        ("help", "--help"),
        ("help plan", "plan --help"),
        ("help state diff", "state diff --help"),
        ("-h", "--help"),
        ("version", "--version"),
        ("-v", "--version"),
        ("logs -f", "runs logs latest -f"),
        ("logs 1m8nn7 -f", "runs logs 1m8nn7 -f"),
        ("output -raw x", "output --raw x"),
        ("exec -- terraform state rm -dry-run x", "exec -- terraform state rm -dry-run x"),
        ("state show s", "state show s"),
        ("plan -x", "plan -x"),
        ("plan -", "plan -"),
        ("", ""),
    ],
)
def test_what_is_typed_from_habit_means_what_terraform_means(typed: str, means: str) -> None:
    assert translate(typed.split()) == means.split()
    assert translate(means.split()) == means.split(), "our own words stay"


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("validate", "interlock exec -- terraform validate"),
        ("taint a.b", "interlock exec -- terraform taint a.b"),
        ("state mv a.b a.c", "interlock exec -- terraform state mv a.b a.c"),
        ("fmt", "terraform fmt"),
        ("show", "interlock runs show latest --plan"),
        ("workspace new x", "interlock state ls"),
    ],
)
def test_a_command_of_terraform_is_pointed_to_its_place(typed: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        translate(typed.split())
    assert caught.value.running("terraform").fix == fix


def test_no_command_of_ours_is_pointed_elsewhere() -> None:
    for name in COMMANDS:
        assert translate([name])[0] in {name, "--version"}
