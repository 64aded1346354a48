"""What may say where a state is, by a look that reads no HCL."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.site.in_sight import check_reads, may_be_elsewhere, tool_for
from interlock.source.tree import Tool


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("main.tf", 'terraform {\n  backend "s3" {}\n}\n'),
        ("main.tf.json", '{"terraform": {"cloud": {}}}'),
        ("main.tf.json", '{"terraform": {"\\u0062ackend": {}}}'),
        ("main.tofu", 'terraform {\n  backend "s3" {}\n}\n'),
        ("terraform.tfstate", ""),
        (".terraform/environment", "prod"),
    ],
)
def test_whatever_may_speak_of_a_state_elsewhere_is_looked_at(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "other.tf").write_text('resource "terraform_data" "a" {}\n')
    assert not may_be_elsewhere(tmp_path, {}, ())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert may_be_elsewhere(tmp_path, {}, ())


@pytest.mark.promise("P11")
def test_a_flag_of_the_command_or_the_environment_speaks_of_one_too(tmp_path: Path) -> None:
    assert may_be_elsewhere(tmp_path, {}, ("-backend-config=key=k",))
    assert may_be_elsewhere(tmp_path, {"TF_CLI_ARGS_init": "-backend-config=key=k"}, ())
    assert may_be_elsewhere(tmp_path, {"TF_WORKSPACE": "prod"}, ())
    assert not may_be_elsewhere(tmp_path, {"TF_WORKSPACE": "default"}, ())


def test_the_program_is_asked_for_only_where_there_are_files_that_terraform_skips(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text("")
    assert tool_for(tmp_path, {"PATH": ""}, "/no/such/program") is Tool.TERRAFORM
    (tmp_path / "more.tofu").write_text("")
    assert tool_for(tmp_path, {"PATH": ""}, "/no/such/program") is Tool.TOFU


def test_terraform_is_not_started_where_it_would_see_nothing(tmp_path: Path) -> None:
    (tmp_path / "main.tofu").write_text("")
    with pytest.raises(UsageError, match="only OpenTofu's files"):
        check_reads("terraform", tmp_path)
    check_reads("tofu", tmp_path)
