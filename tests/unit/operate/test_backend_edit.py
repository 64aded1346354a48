"""The edit that takes a backend out of a configuration: nothing else changes, and no credential is shown."""

import json
from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.operate.backend_edit import apply_edit, plan_edit
from interlock.source.tree import Tool

ALONE = """terraform {
  backend "s3" {
    bucket     = "b"
    secret_key = "wJalrXUtnFEMI/K7MDENG"
  }
}

resource "terraform_data" "one" {}
"""
BESIDE = """terraform {
  required_version = ">= 1.5" # stays

  cloud {
    organization = "acme"
    workspaces { name = "app" }
  }
}
"""


def written(folder: Path, text: str, name: str = "main.tf") -> str:
    (folder / name).write_text(text)
    edit = plan_edit(folder, {}, Tool.TERRAFORM)
    apply_edit(edit)
    return (folder / name).read_text()


def test_a_block_that_holds_nothing_else_goes_whole(tmp_path: Path) -> None:
    assert written(tmp_path, ALONE).strip() == 'resource "terraform_data" "one" {}'


def test_what_stands_beside_the_backend_stays_with_its_comments(tmp_path: Path) -> None:
    assert written(tmp_path, BESIDE) == 'terraform {\n  required_version = ">= 1.5" # stays\n}\n'


def test_a_backend_in_json_goes_too(tmp_path: Path) -> None:
    text = json.dumps({"terraform": {"backend": {"http": {"address": "x"}}, "required_version": ">= 1"}})
    assert json.loads(written(tmp_path, text, "main.tf.json")) == {"terraform": {"required_version": ">= 1"}}


@pytest.mark.promise("P10")
def test_the_diff_shows_the_block_and_no_credential(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(ALONE)
    diff = plan_edit(tmp_path, {}, Tool.TERRAFORM).diff()
    assert '-    bucket     = "b"' in diff
    assert "secret_key" in diff
    assert "wJalr" not in diff


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(ALONE)
    edit = plan_edit(tmp_path, {}, Tool.TERRAFORM)
    (tmp_path / "main.tf").write_text("# other\n")
    with pytest.raises(UsageError):
        apply_edit(edit)
    assert (tmp_path / "main.tf").read_text() == "# other\n"


def test_what_init_recorded_is_put_aside_and_kept(tmp_path: Path) -> None:
    (tmp_path / ".terraform").mkdir()
    (tmp_path / ".terraform" / "terraform.tfstate").write_text("{}")
    written(tmp_path, ALONE)
    assert [path.name for path in (tmp_path / ".terraform").iterdir()] == ["terraform.tfstate.adopted"]
