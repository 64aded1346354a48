import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import UsageError
from interlock.terraform.versions import Product, ToolVersion, parse_version, parse_version_output

JSON = """{
  "terraform_version": "1.11.4",
  "platform": "linux_amd64",
  "provider_selections": {},
  "terraform_outdated": false
}"""
TEXT = "Terraform v1.11.4\non linux_amd64\n"
TOFU = "OpenTofu v1.8.0-rc1\non linux_amd64\n+ provider registry.example/x/y v9.9.9\n"


def test_json_and_text_give_the_same_version() -> None:
    expected = ToolVersion(product=Product.TERRAFORM, release=(1, 11, 4))
    assert parse_version_output(JSON) == parse_version_output(TEXT) == expected


def test_opentofu_is_told_by_its_text_and_by_the_caller() -> None:
    found = parse_version_output(TOFU)
    assert (found.product, found.release, found.prerelease) == (Product.TOFU, (1, 8, 0), "rc1")
    assert parse_version_output(JSON, product=Product.TOFU).product is Product.TOFU


def test_a_warning_before_the_version_does_not_hide_it() -> None:
    assert str(parse_version_output("Warning: x\n\nTerraform v1.5.7\n")) == "1.5.7"


def test_a_pre_release_sorts_before_its_release() -> None:
    names = ["1.15.0", "1.9.8", "1.15.0-beta1", "1.15.0-rc1", "1.14.4"]
    ordered = sorted(map(parse_version, names))
    assert list(map(str, ordered)) == ["1.9.8", "1.14.4", "1.15.0-beta1", "1.15.0-rc1", "1.15.0"]


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("has_json_plan", "0.15.2", False),
        ("has_json_plan", "0.15.3", True),
        ("has_json_init", "1.8.5", False),
        ("has_json_init", "1.9.0", True),
        ("reads_before_lock", "1.14.3", False),
        ("reads_before_lock", "1.14.4", True),
        ("shows_holder", "1.14.9", False),
        ("shows_holder", "1.15.0-beta1", True),
        ("needs_json_conflict", "1.15.0", True),
        ("has_s3_lockfile", "1.9.8", False),
        ("has_s3_lockfile", "1.10.0", True),
        ("deprecates_dynamodb", "1.11.0", True),
        ("writes_identity", "1.11.4", False),
        ("writes_identity", "1.12.0", True),
    ],
)
def test_a_feature_begins_with_its_version(name: str, version: str, expected: bool) -> None:
    assert getattr(parse_version(version), name) is expected


def test_opentofu_goes_its_own_way() -> None:
    tofu = parse_version("1.15.0", product=Product.TOFU)
    assert tofu.sends_unlock_body
    assert not tofu.shows_holder
    assert not parse_version("1.15.0").sends_unlock_body


@pytest.mark.parametrize("text", ["", "1", "bash: terraform: not found", "{}", '{"terraform_version": 1}', "[" * 99999])
def test_an_answer_without_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_version_output(text)


@given(st.text(max_size=100))
def test_any_answer_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_version_output(text).release >= (0, 0, 0)
