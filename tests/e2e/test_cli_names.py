"""What a person may write in the place of a state."""

from pathlib import Path

import pytest
from tests.desk import Desk

pytestmark = pytest.mark.e2e


@pytest.mark.promise("P11")
def test_a_state_goes_before_a_folder_of_the_same_name(desk: Desk) -> None:
    module = desk.module("cc")
    assert desk.apply_plain(module, state="cc").code == 0
    assert "terraform_data.kept" in desk.run("state", "show", "cc").out
    by_folder = desk.run("state", "show", "./cc")
    assert by_folder.code == 3
    assert "cc-" in by_folder.err


@pytest.mark.promise("P11")
def test_a_folder_means_the_state_of_its_runs(desk: Desk) -> None:
    module = desk.module("cc")
    assert desk.run("apply", module, "--auto-approve").code == 0
    for text, cwd in (("cc", desk.folder), (".", module), (module, Path("/"))):
        assert "terraform_data.kept" in desk.run("state", "show", text, cwd=cwd).out, text


def test_init_keeps_the_name_that_a_state_has_and_makes_legal_ones(desk: Desk) -> None:
    used, fresh = desk.module("cc"), desk.module("uni ütf8 ☎")
    assert desk.run("apply", used, "--auto-approve").code == 0
    (name,) = [row["state"] for row in desk.run("state", "ls", "--json").document["states"]]
    assert desk.run("init").code == 0
    text = (desk.folder / "interlock.yaml").read_text()
    assert f'  {name}:\n    directory: "cc"\n' in text
    assert '  uni-tf8:\n    directory: "uni ütf8 ☎"\n' in text
    assert desk.run("plan", used, "--detailed-exitcode").code == 0
    assert desk.run("plan", fresh, "--detailed-exitcode").code == 2


@pytest.mark.promise("P11")
def test_a_state_that_got_another_name_is_not_begun_anew(desk: Desk) -> None:
    module = desk.module("cc")
    assert desk.run("apply", module, "--auto-approve").code == 0
    (desk.folder / "interlock.yaml").write_text("states:\n  prod/cc:\n    directory: cc\n")
    refused = desk.run("plan", module)
    assert refused.code == 3
    assert "would create everything a second time" in refused.err
    listed = desk.run("state", "ls", "--json").document["states"]
    (before,) = [row["state"] for row in listed if row["head"]]
    (desk.folder / "state.json").write_text(desk.run("state", "pull", before).out)
    pushed = desk.run("state", "push", "--state", "prod/cc", desk.folder / "state.json")
    assert pushed.code == 0, pushed.err
    assert desk.run("plan", module, "--detailed-exitcode").code == 0
