"""What may say where a state is, by a look that reads no HCL."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.site.in_sight import Encryption, check_reads, find_encryption, may_be_elsewhere, tool_for
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


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("main.tf", f"terraform {{\n  {BLOCK}\n}}\n", "`encryption` in main.tf, line 2"),
        ("main.tofu", f"terraform {{\n  {BLOCK}\n}}\n", "`encryption` in main.tofu, line 2"),
        ("a_override.tf", f"terraform {{\n  {BLOCK}\n}}\n", "`encryption` in a_override.tf, line 2"),
        (
            "main.tf.json",
            '{"terraform": {"encryption": {"state": {"enforced": true}}}}',
            "`encryption` in main.tf.json",
        ),
    ],
)
def test_that_opentofu_encrypts_is_seen_before_anything_runs(tmp_path: Path, name: str, text: str, word: str) -> None:
    (tmp_path / "other.tf").write_text('resource "aws_x" "encryption" {\n  encryption { kind = var.kind }\n}\n')
    assert find_encryption("tofu", tmp_path, {}) is None
    (tmp_path / name).write_text(text)
    assert find_encryption("tofu", tmp_path, {}) == Encryption(word)
    assert find_encryption("terraform", tmp_path, {"TF_ENCRYPTION": "x"}) is None


def test_encryption_by_the_environment_is_seen_and_says_no_secret(tmp_path: Path) -> None:
    found = find_encryption("tofu", tmp_path, {"TF_ENCRYPTION": 'key_provider "pbkdf2" "k" { passphrase = "hidden" }'})
    assert found == Encryption("TF_ENCRYPTION is set")


@pytest.mark.parametrize("passphrase", ["var.passphrase", "local.passphrase", '"${var.passphrase}-x"'])
def test_encryption_that_asks_for_variables_is_told_from_one_that_does_not(tmp_path: Path, passphrase: str) -> None:
    text = f'terraform {{\n  encryption {{\n    key_provider "pbkdf2" "k" {{ passphrase = {passphrase} }}\n  }}\n}}\n'
    (tmp_path / "main.tf").write_text(text)
    found = find_encryption("tofu", tmp_path, {})
    assert found is not None
    assert found.asks
    assert find_encryption("tofu", tmp_path, {"TF_ENCRYPTION": f"state {{ x = {passphrase} }}"}) == Encryption(
        "TF_ENCRYPTION is set", asks=True
    )
