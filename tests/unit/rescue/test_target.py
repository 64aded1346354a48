from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.recovery.witnesses.running import Role, Running
from interlock.rescue.target import Foreign, Own, address_of_target, find_target, place_of, places_beside
from interlock.settings import Settings, StateSettings

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


async def test_a_name_is_a_state_of_our_own(settings: Settings) -> None:
    target = await find_target("prod/routing", settings, {})
    assert target == Own(state="prod/routing")
    assert address_of_target(target) == "interlock:prod/routing"


async def test_a_name_with_a_known_root_module_is_where_that_module_says(tmp_path: Path, settings: Settings) -> None:
    states = {"prod": StateSettings(directory=module(tmp_path, S3))}
    target = await find_target("prod", Settings(home=settings.home, states=states), {})
    assert isinstance(target, Foreign)
    assert address_of_target(target) == "s3://states/app.tfstate"


async def test_a_folder_without_a_backend_is_our_own(tmp_path: Path, settings: Settings) -> None:
    target = await find_target(str(module(tmp_path, NONE)), settings, {})
    assert isinstance(target, Own)
    assert target.directory == tmp_path / "module"


async def test_a_folder_with_a_local_state_that_we_do_not_know_is_local(tmp_path: Path, settings: Settings) -> None:
    folder = module(tmp_path, NONE)
    (folder / "terraform.tfstate").write_text("{}")
    target = await find_target(str(folder), settings, {})
    assert isinstance(target, Foreign)
    assert address_of_target(target) == str(folder / "terraform.tfstate")
    (folder / "terraform.tfstate").write_text("")  # what init -migrate-state leaves
    assert isinstance(await find_target(str(folder), settings, {}), Own)


async def test_an_empty_http_backend_is_our_own_unless_the_environment_says_where(
    tmp_path: Path, settings: Settings
) -> None:
    folder = str(module(tmp_path, HTTP))
    assert isinstance(await find_target(folder, settings, {}), Own)
    target = await find_target(folder, settings, {"TF_HTTP_ADDRESS": "https://u:p@h/state/x?t=s"})
    assert isinstance(target, Foreign)
    assert address_of_target(target) == "https://h/state/x"


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
async def test_a_bucket_of_the_same_name_at_another_service_is_not_taken_for_ours(
    tmp_path: Path, settings: Settings, mine: str, theirs: str, expected: str | None
) -> None:
    folder = module(tmp_path, S3)
    target = await find_target(str(folder), settings, {"AWS_ENDPOINT_URL_S3": mine})
    place = places_beside(target)
    assert place(running(folder, AWS_ENDPOINT_URL_S3=theirs)) == expected
    assert place(running(None, AWS_ENDPOINT_URL_S3=theirs)) is None


@pytest.mark.promise("P11")
@pytest.mark.parametrize("environ", [{}, {"TF_DATA_DIR": "dd"}])
async def test_a_backend_that_an_earlier_init_recorded_is_never_answered_with_our_own_empty_state(
    tmp_path: Path, settings: Settings, environ: dict[str, str]
) -> None:
    folder = module(tmp_path, NONE)
    record = folder / environ.get("TF_DATA_DIR", ".terraform") / "terraform.tfstate"
    record.parent.mkdir()
    record.write_text('{"version": 3, "backend": {"type": "http", "config": {"address": "https://x.example/s"}}}')
    with pytest.raises(UsageError, match="recorded backend") as refused:
        await find_target(str(folder), settings, environ)
    assert "init -migrate-state -force-copy; interlock state push --state" in (refused.value.fix or "")


@pytest.mark.promise("P11")
async def test_a_chosen_workspace_is_refused_and_not_answered_with_the_default_one(
    tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(UsageError, match="workspace"):
        await find_target(str(module(tmp_path, NONE)), settings, {"TF_WORKSPACE": "green"})
