"""What a person may write in the place of a state."""

from pathlib import Path

import pytest
from tests.desk import Desk

pytestmark = pytest.mark.e2e


def test_a_state_goes_before_a_folder_of_the_same_name(desk: Desk) -> None:
    module = desk.module("cc")
    assert desk.apply_plain(module, state="cc").code == 0
    assert "terraform_data.kept" in desk.run("state", "show", "cc").out
    by_folder = desk.run("state", "show", "./cc")
    assert by_folder.code == 3
    assert "cc-" in by_folder.err


def test_a_folder_means_the_state_of_its_runs(desk: Desk) -> None:
    module = desk.module("cc")
    assert desk.run("apply", module, "--auto-approve").code == 0
    for text, cwd in (("cc", desk.folder), (".", module), (module, Path("/"))):
        assert "terraform_data.kept" in desk.run("state", "show", text, cwd=cwd).out, text
