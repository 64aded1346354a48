"""Names that are printed are taken, and others are refused, by every command that looks at a state."""

import pytest
from tests.desk import Desk

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P8", "P11")]


LOOKS = ("lock show", "lock explain", "lock release", "queue ls", "state show", "state history", "state verify")


@pytest.mark.parametrize("command", [*LOOKS, "state pull", "recover"])
def test_a_name_that_nobody_used_is_no_such_state(desk: Desk, command: str) -> None:
    (desk.folder / "interlock.yaml").write_text("version: 1\nstates:\n  known: {}\n")
    answer = desk.run(*command.split(), "tpyo")
    assert answer.code == 3, answer.out + answer.err
    assert "tpyo" in answer.err


def test_every_root_of_the_configuration_is_listed_also_what_could_not_be_looked_at(desk: Desk) -> None:
    desk.module("app", text='resource "terraform_data" "one" {}\n')
    text = "version: 1\nstates:\n  app: {directory: app}\n  gone: {directory: not-here}\n  bare: {}\n"
    (desk.folder / "interlock.yaml").write_text(text)
    rows = {row["state"]: row for row in desk.run("queue", "ls", "--json").document["states"]}
    assert set(rows) == {"app", "gone", "bare"}
    assert "holds no configuration" in rows["gone"]["trouble"]
    assert [row["state"] for row in desk.run("lock", "ls", "--json").document["unseen"]] == ["gone"]
    screen = desk.run("status")
    assert screen.code == 0, screen.err
    assert "not looked at" in screen.out
    assert desk.run("lock", "show", "bare").code == 0
    assert desk.run("apply", desk.folder / "app", "--auto-approve").code == 0
    assert [row["state"] for row in desk.run("queue", "ls", "--json").document["states"]].count("app") == 1
