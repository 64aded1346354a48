"""Objects that OpenTofu's `lifecycle { destroy = false }` keeps when they are replaced or no longer managed."""

import json
import shutil
from pathlib import Path

import pytest
from tests.desk import Desk

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("tofu") is None, reason="OpenTofu (tofu) is not on PATH"),
]

KEPT = """
resource "terraform_data" "kept" {
  triggers_replace = ["%s"]
  lifecycle {
    destroy = false
  }
}
"""


def write(desk: Desk, version: str) -> Path:
    return desk.module(text=KEPT % version)


def test_a_replacement_that_keeps_the_old_object_is_planned_and_applied(desk: Desk) -> None:
    words = ("--state", "s", "--terraform", "tofu")
    assert desk.run("apply", write(desk, "one"), *words, "--auto-approve", "--first-apply").code == 0
    before = instances(desk)
    module = write(desk, "two")
    planned = desk.run("plan", module, *words, "--detailed-exitcode")
    assert planned.code == 2, planned.err
    assert "1 to add, 0 to change, 0 to destroy, 1 to forget" in planned.err
    applied = desk.run("apply", module, *words, "--auto-approve")
    assert applied.code == 0, applied.err
    after = instances(desk)
    assert len(before) == len(after) == 1
    assert before != after


def test_a_destroy_that_keeps_objects_says_so_unless_that_is_wanted(desk: Desk) -> None:
    words = ("--state", "s", "--terraform", "tofu")
    module = write(desk, "one")
    for flags, code in (((), 34), (("--", "-suppress-forget-errors"), 0)):
        assert desk.run("apply", module, *words, "--auto-approve", "--first-apply").code == 0
        ended = desk.run("destroy", module, *words, "--auto-approve", *flags)
        assert ended.code == code, ended.err
        assert ("left behind forgotten instances" in ended.err) == bool(code)
        assert instances(desk) == []


def instances(desk: Desk) -> list[str]:
    state = json.loads(desk.run("state", "pull", "s").out)
    return [one["attributes"]["id"] for resource in state["resources"] for one in resource["instances"]]
