"""An empty store is not mistaken for an empty contact centre."""

import pytest
from tests.desk import Desk
from tests.e2e.test_cli_terminal import at_terminal

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P8", "P11")]

ONE = 'resource "terraform_data" "one" {}\n'


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """Return a desk on which nobody says that an apply is the first."""
    desk.says_first = False
    return desk


@pytest.mark.parametrize(
    "environ", [pytest.param({"CI": "true"}, id="job"), pytest.param({}, marks=pytest.mark.slow, id="cron")]
)
def test_a_command_whose_store_never_saw_the_state_must_say_that_it_is_the_first(
    desk: Desk, environ: dict[str, str]
) -> None:
    module = desk.module(text=ONE)
    refused = desk.run("apply", module, "--auto-approve", environ=environ)
    assert refused.code == 41, refused.err
    assert str(desk.home) in refused.err
    assert f"interlock apply {module} --auto-approve --first-apply" in refused.err
    assert desk.run("apply", module, "--auto-approve", "--first-apply", environ=environ).code == 0
    assert desk.run("apply", module, "--auto-approve", environ=environ).code == 0


def test_the_store_of_another_user_is_not_taken_for_the_teams(desk: Desk) -> None:
    """Cron of another user, or a runner that begins anew, has a home of its own, in which nothing was ever stored."""
    module = desk.module(text=ONE)
    assert desk.run("apply", module, "--auto-approve", "--first-apply").code == 0
    other = {"INTERLOCK_HOME": str(desk.folder / "other")}
    assert desk.run("apply", module, "--auto-approve", environ=other).code == 41


def test_a_plan_of_this_home_may_create_everything_in_a_job(desk: Desk) -> None:
    module, plan = desk.module(text=ONE), desk.folder / "p"
    assert desk.run("plan", module, "--out", plan, environ={"CI": "true"}).code == 0
    applied = desk.run("apply", module, "--plan", plan, "--auto-approve", environ={"CI": "true"})
    assert applied.code == 0, applied.err
    assert "is empty in" in applied.err


@pytest.mark.parametrize(
    ("answer", "code"), [(b"n\n", 41), (b"y\n", 0), pytest.param(b"\x03", 130, marks=pytest.mark.slow)]
)
def test_a_person_is_asked_though_the_plan_was_approved_beforehand(desk: Desk, answer: bytes, code: int) -> None:
    module = desk.module(text=ONE)
    ended, shown = at_terminal(desk, "apply", module, "--auto-approve", answers=[("[y/N]", answer)])
    assert ended == code, shown
    assert "Create everything?" in shown


def test_a_drift_scan_of_nothing_is_not_green(desk: Desk) -> None:
    module = desk.module(text=ONE)
    scanned = desk.run("drift", module)
    assert scanned.code == 3, scanned.err
    assert "nothing to compare" in scanned.err
    assert desk.run("apply", module, "--auto-approve", "--first-apply").code == 0
    assert desk.run("drift", module).code == 0
