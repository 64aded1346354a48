"""What may say where a state is, by a look that reads no HCL."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.site.in_sight import check_reads, check_unencrypted, may_be_elsewhere, tool_for
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


BLOCK = 'encryption {\n    key_provider "pbkdf2" "k" { passphrase = "x" }\n  }'


@pytest.mark.promise("P3")
@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("main.tf", f"terraform {{\n  {BLOCK}\n}}\n", "`encryption` in main.tf, line 2"),
        ("main.tofu", f"terraform {{\n  {BLOCK}\n}}\n", "`encryption` in main.tofu, line 2"),
        ("a_override.tf", f"terraform {{\n  {BLOCK}\n}}\n", "`encryption` in a_override.tf, line 2"),
        (
            "main.tf.json",
            '{"terraform": {"encryption": {"state": {"enforced": true}}}}',
            "`encryption` in a .json file",
        ),
    ],
)
def test_a_state_that_opentofu_would_encrypt_is_refused_before_anything_is_made(
    tmp_path: Path, name: str, text: str, word: str
) -> None:
    (tmp_path / "other.tf").write_text('resource "aws_x" "encryption" {\n  encryption { kind = "kms" }\n}\n')
    check_unencrypted("tofu", tmp_path, {})
    (tmp_path / name).write_text(text)
    check_unencrypted("terraform", tmp_path, {"TF_ENCRYPTION": "x"})
    with pytest.raises(UsageError, match="encrypts this state") as refused:
        check_unencrypted("tofu", tmp_path, {})
    assert word in refused.value.why


@pytest.mark.promise("P3")
def test_encryption_by_the_environment_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="encrypts this state"):
        check_unencrypted("tofu", tmp_path, {"TF_ENCRYPTION": 'key_provider "pbkdf2" "k" {}'})
