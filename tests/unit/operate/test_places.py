from __future__ import annotations

from pathlib import Path

import pytest

from interlock.operate.places import place_of, places_beside
from interlock.recovery.witnesses.running import Role, Running
from interlock.settings.values import Settings
from interlock.site.which import own_ref, ref_of_run

S3 = 'terraform {\n  backend "s3" {\n    bucket = "states"\n    key = "app.tfstate"\n    region = "eu-west-1"\n  }\n}\n'
HTTP = 'terraform {\n  backend "http" {}\n}\n'
NONE = 'resource "terraform_data" "a" {}\n'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def module(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "main.tf").write_text(text)
    return folder


def running(folder: Path | None, **environ: str) -> Running:
    return Running(
        pid=1, role=Role.TERRAFORM, argv=("terraform", "apply"), folder=folder, started_at=None, environ=environ
    )


def test_a_process_works_on_the_state_that_its_folder_and_environment_say(tmp_path: Path) -> None:
    folder = module(tmp_path, S3)
    assert place_of(running(folder, PATH="/bin")) == "s3://states/app.tfstate"
    assert place_of(running(folder, TF_WORKSPACE="dev")) == "s3://states/env:/dev/app.tfstate"
    (folder / "main.tf").write_text(HTTP)
    assert place_of(running(folder, TF_HTTP_ADDRESS="http://127.0.0.1:1/state/prod/app")) == "interlock:prod/app"
    gitlab = "https://gitlab.example.com/api/v4/projects/7/terraform/state/prod"
    assert place_of(running(folder, TF_HTTP_ADDRESS=gitlab)) == gitlab, "GitLab's is not a state of ours"


@pytest.mark.promise("P5")
@pytest.mark.parametrize("block", ["cloud", 'backend "remote"'])
def test_a_terraform_with_a_cloud_block_of_any_host_but_the_public_one_may_work_on_the_state_of_that_name(
    tmp_path: Path, block: str
) -> None:
    named = 'organization = "acme"\n    workspaces {\n      name = "app"\n    }\n'
    folder = module(tmp_path, f'terraform {{\n  {block} {{\n    hostname = "states.example.com"\n    {named}  }}\n}}\n')
    process = running(folder, PATH="/bin")
    assert places_beside(own_ref("acme/app"))(process) == "interlock:acme/app", "it must not be taken for gone"
    assert places_beside(own_ref("acme/other"))(process) == "interlock:acme/app"
    (folder / "main.tf").write_text(f"terraform {{\n  {block} {{\n    {named}  }}\n}}\n")
    assert places_beside(own_ref("acme/app"))(process) == "app.terraform.io/acme/app"


def test_a_process_that_may_not_be_looked_at_works_on_an_unknown_state(tmp_path: Path) -> None:
    assert place_of(running(None, PATH="/bin")) is None
    assert place_of(running(module(tmp_path, S3))) is None


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1", "s3://states/app.tfstate"),
        ("http://127.0.0.1:1", "http://127.0.0.1:2", "s3://states/app.tfstate at http://127.0.0.1:2"),
        ("http://127.0.0.1:1", "http://minio:9000", None),
        ("http://minio-a:9000", "http://minio-b:9000", None),
        ("", "http://minio:9000", None),
    ],
)
def test_a_bucket_of_the_same_name_at_another_service_is_not_taken_for_ours(
    tmp_path: Path, settings: Settings, mine: str, theirs: str, expected: str | None
) -> None:
    folder = module(tmp_path, S3)
    place = places_beside(ref_of_run(folder, settings, {"AWS_ENDPOINT_URL_S3": mine}))
    assert place(running(folder, AWS_ENDPOINT_URL_S3=theirs)) == expected
    assert place(running(None, AWS_ENDPOINT_URL_S3=theirs)) is None
