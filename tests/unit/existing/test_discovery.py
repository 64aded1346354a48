from __future__ import annotations

import json

import pytest

from interlock.existing import Found
from interlock.existing.discovery import backend_configs, find
from interlock.source.tree import MemoryTree, Tool

S3 = """
terraform {
  backend "s3" {
    bucket         = "states"
    key            = "app/terraform.tfstate"
    region         = "eu-central-1"
    dynamodb_table = "locks"
    use_lockfile   = true
    secret_key     = "hush"
    endpoints      = { s3 = "http://127.0.0.1:1" }
    assume_role    = { role_arn = "arn:aws:iam::1:role/x", session_name = "ci" }
  }
}
"""
PARTIAL = 'terraform {\n  backend "s3" {\n    key = "app/terraform.tfstate"\n  }\n}\n'


def look(files: dict[str, str], environ: dict[str, str] | None = None, *extra: str) -> Found:
    return find(MemoryTree({f"root/{name}": text for name, text in files.items()}), "root", environ or {}, extra)


def source_of(found: Found, name: str) -> str:
    return next(origin.source for origin in found.origins if origin.name == name)


def test_every_setting_of_the_block_is_found_with_its_line() -> None:
    found = look({"main.tf": S3})
    assert found.type == "s3"
    assert (found.text("bucket"), found.text("dynamodb_table")) == ("states", "locks")
    assert found.is_true("use_lockfile")
    assert found.text("endpoints.s3") == "http://127.0.0.1:1"
    assert found.text("assume_role.role_arn") == "arn:aws:iam::1:role/x"
    assert source_of(found, "bucket") == "main.tf:4"
    assert found.missing == ()


def test_secrets_are_found_and_never_shown() -> None:
    found = look({"main.tf": S3}, {"AWS_SESSION_TOKEN": "hush-too"})
    assert found.text("secret_key") == "hush"
    assert "hush" not in repr(found)


def test_a_flag_beats_the_block_and_the_last_flag_beats_the_first() -> None:
    flags = ("-backend-config=bucket=one", "-var=x=1", "-backend-config", "bucket=two")
    found = look({"main.tf": S3}, None, *flags)
    assert found.text("bucket") == "two"
    assert source_of(found, "bucket") == "-backend-config=bucket=…"
    assert list(backend_configs(flags)) == ["bucket=one", "bucket=two"]


@pytest.mark.promise("P11")
def test_a_variable_that_only_opentofu_reads_counts_for_opentofu_alone() -> None:
    files, environ = MemoryTree({"root/main.tf": 'terraform {\n  backend "pg" {}\n}\n'}), {"PG_TABLE_NAME": "mine"}
    tables = {tool: find(files, "root", environ, tool=tool).text("table_name") for tool in Tool}
    assert tables == {Tool.TOFU: "mine", Tool.TERRAFORM: None}


def test_a_file_of_settings_completes_a_partial_configuration() -> None:
    found = look(
        {"main.tf": PARTIAL, "prod.tfbackend": 'bucket = "b"\nregion = "r"\n'}, None, "-backend-config=prod.tfbackend"
    )
    assert (found.text("bucket"), found.text("region"), found.missing) == ("b", "r", ())
    assert source_of(found, "bucket") == "-backend-config=prod.tfbackend"


def test_a_missing_file_of_settings_is_a_doubt_and_what_is_missing_is_named() -> None:
    found = look({"main.tf": PARTIAL}, None, "-backend-config=prod.tfbackend")
    assert found.missing == ("bucket", "region")
    assert "there is no such file" in found.doubts[0]


def recorded(**config: object) -> str:
    return json.dumps({"version": 3, "backend": {"type": "s3", "config": config, "hash": 1}})


def test_what_terraform_init_recorded_completes_a_configuration_without_flags() -> None:
    files = {"main.tf": PARTIAL, ".terraform/terraform.tfstate": recorded(bucket="b", region="r", kms_key_id=None)}
    found = look(files)
    assert (found.text("bucket"), found.missing, found.doubts) == ("b", (), ())
    assert source_of(found, "bucket") == "root/.terraform/terraform.tfstate (recorded by init)"
    with_flags = look(files, None, "-backend-config=region=r")
    assert with_flags.missing == ("bucket",), "with flags Terraform starts from the block alone"


def test_tf_data_dir_moves_what_was_recorded_and_the_chosen_workspace() -> None:
    files = {"main.tf": PARTIAL, "data/terraform.tfstate": recorded(bucket="b"), "data/environment": "green"}
    found = look(files, {"TF_DATA_DIR": "data"})
    assert (found.text("bucket"), found.workspace) == ("b", "green")
    assert look(files, {"TF_DATA_DIR": "data", "TF_WORKSPACE": "blue"}).workspace == "blue"


def test_a_configuration_that_changed_since_init_is_a_doubt() -> None:
    found = look({"main.tf": S3, ".terraform/terraform.tfstate": recorded(bucket="old", secret_key="was")})
    assert found.text("bucket") == "states"
    assert any("bucket changed since init: old then, states now" in doubt for doubt in found.doubts)
    assert not any("was" in doubt and "secret_key" in doubt for doubt in found.doubts)


def test_another_backend_recorded_by_init_is_a_doubt() -> None:
    text = json.dumps({"backend": {"type": "gcs", "config": {"bucket": "b"}}})
    found = look({"main.tf": PARTIAL, ".terraform/terraform.tfstate": text})
    assert 'recorded backend "gcs"' in found.doubts[0]
    assert found.text("bucket") is None


def test_the_environment_gives_what_nothing_else_gives() -> None:
    environ = {"AWS_DEFAULT_REGION": "one", "AWS_REGION": "two", "AWS_ENDPOINT_URL": "http://x"}
    found = look({"main.tf": PARTIAL}, environ)
    assert (found.text("region"), source_of(found, "region")) == ("two", "AWS_REGION")
    assert found.text("endpoints.dynamodb") == "http://x"
    assert look({"main.tf": S3}, environ).text("region") == "eu-central-1"


def test_old_spellings_mean_the_present_settings() -> None:
    settings = 'endpoint = "http://x"\n force_path_style = true\n role_arn = "r"\n'
    found = look({"main.tf": f'terraform {{\n  backend "s3" {{\n{settings}  }}\n}}\n'})
    assert found.text("endpoints.s3") == "http://x"
    assert found.is_true("use_path_style")
    assert found.text("assume_role.role_arn") == "r"


def test_a_value_that_is_no_constant_is_a_doubt() -> None:
    found = look({"main.tf": 'terraform {\n  backend "s3" {\n    bucket = var.bucket\n  }\n}\nvariable "bucket" {}\n'})
    assert "bucket is not a constant" in found.doubts[0]


def test_a_local_value_is_known_as_opentofu_knows_it() -> None:
    found = look(
        {"main.tf": 'locals {\n  b = "x"\n}\nterraform {\n  backend "s3" {\n    bucket = "${local.b}-s"\n  }\n}\n'}
    )
    assert found.text("bucket") == "x-s"


def test_without_a_block_the_state_is_local_and_an_empty_http_block_is_ours() -> None:
    assert look({"main.tf": ""}).type == "local"
    assert look({"main.tf": 'terraform {\n  backend "http" {}\n}\n'}).is_empty_http
    assert look({"main.tf": 'terraform {\n  backend "http" {}\n}\n'}, {"TF_HTTP_ADDRESS": "u"}).text("address") == "u"


def test_damaged_records_never_raise() -> None:
    for text in ("{", "[]", '{"backend": 1}', '{"backend": {"config": []}}', "\x00"):
        assert look({"main.tf": PARTIAL, ".terraform/terraform.tfstate": text}).type == "s3"


def test_variables_in_opentofus_backend_have_the_values_that_it_gives_them() -> None:
    """With the default's bucket every command would speak of another state than the run."""
    text = 'variable "b" {\n  default = "d"\n}\n' + S3.replace('"states"', "var.b")
    assert look({"main.tf": text}).text("bucket") == "d"
    assert look({"main.tf": text}, {"TF_VAR_b": "given"}).text("bucket") == "given"
    assert look({"main.tf": text, "terraform.tfvars": 'b = "file"\n'}, {"TF_VAR_b": "given"}).text("bucket") == "file"
    assert look({"main.tf": text}, {"TF_CLI_ARGS_init": "-var=b=args"}).text("bucket") == "args"
    assert look({"main.tf": text}, {}, "-var", "b=flag").text("bucket") == "flag"
    assert look({"main.tf": text}, {}, "-var-file=missing").text("bucket") is None
