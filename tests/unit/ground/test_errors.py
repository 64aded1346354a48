import pytest

from interlock import errors
from interlock.cli.status import table
from interlock.errors import THIS_STATE, InterlockError, UsageError, command

FAMILIES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, InterlockError)]
PROMISED = {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 32, 33, 34, 40, 41, 130, 131, 143}


@pytest.mark.promise("P8")
def test_each_family_has_a_code_and_an_exit_status_of_its_own() -> None:
    assert len({family.code for family in FAMILIES}) == len(FAMILIES)
    assert len({family.exit_status for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.promise("P8")
def test_the_table_of_exit_statuses_is_the_promised_one() -> None:
    rows = table()
    assert {row.exit for row in rows} == PROMISED
    assert [row.exit for row in rows] == sorted(row.exit for row in rows)
    assert all(row.meaning for row in rows)


def test_an_error_keeps_its_parts_and_spells_them_on_one_line() -> None:
    error = UsageError("what", why="why", fix="fix", state="s")
    assert str(error) == "what | why | fix"
    assert str(UsageError("what")) == "what"
    assert error.facts == {"state": "s"}


def test_a_command_is_quoted_for_a_shell() -> None:
    assert command("state", "restore", "it's here", "--version", 7) == (
        """interlock state restore 'it'"'"'s here' --version 7"""
    )


def test_a_hint_is_told_which_state_it_is_about() -> None:
    error = UsageError("gone", fix=f"{command('state', 'history', THIS_STATE)}, then try again")
    assert str(error) == "gone | interlock state history ., then try again"
    assert error.naming("a b").fix == "interlock state history 'a b', then try again"
