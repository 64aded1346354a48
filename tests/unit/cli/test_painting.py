import re

from interlock.cli.painting import paint_plan

PLAN = """\
Terraform will perform the following actions:

  # a.b must be replaced
-/+ resource "a" "b" {
      ~ id = "1" -> (known after apply) # forces replacement
      + new = "x"
      - old = "y" -> null
    }

  # data.d.e will be read during apply
 <= data "d" "e" {
    }

Plan: 1 to add, 0 to change, 1 to destroy.
"""


def test_only_signs_titles_and_reasons_get_a_colour_and_no_word_is_changed() -> None:
    painted = paint_plan(PLAN)
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == PLAN
    lines = painted.splitlines()
    assert lines[2] == "\x1b[1m  # a.b must be \x1b[31mreplaced\x1b[0;1m\x1b[0m"
    assert lines[3].startswith("\x1b[31m-\x1b[0m/\x1b[32m+\x1b[0m resource")
    assert lines[4].endswith("\x1b[31m# forces replacement\x1b[0m")
    assert "\x1b[32m+\x1b[0m new" in lines[5]
    assert "\x1b[36m<=\x1b[0m data" in painted
    assert lines[-1].startswith("\x1b[1mPlan: ")
