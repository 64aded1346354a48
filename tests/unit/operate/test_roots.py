"""Root modules on a disk: whose state a `terraform_remote_state` reads, on any backend, and what a link leads to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interlock.dependencies.roots import Reason
from interlock.errors import UsageError
from interlock.operate.changes import Change
from interlock.operate.roots import paths_that_touch, read_roots, touched_by
from interlock.settings.values import Settings, StateSettings

BACKENDS = {
    "s3": 'bucket = "b"\n key = "net/x"\n region = "eu-central-1"',
    "local": 'path = "../states/net.tfstate"',
    "pg": 'conn_str = "postgres://db.example.com/tf"\n schema_name = "net"',
    "http": 'address = "https://gitlab.example.com/api/v4/projects/7/terraform/state/net"',
    "gcs": 'bucket = "b"\n prefix = "net"',
    "azurerm": 'storage_account_name = "s"\n container_name = "c"\n key = "net"',
    "remote": 'organization = "o"\n workspaces {\n name = "net"\n }',
}


def settings(folder: Path, **states: StateSettings) -> Settings:
    found = dict(states)
    (folder / "interlock.yaml").write_text("version: 1\n")
    return Settings(home=folder / "home", states=found, path=folder / "interlock.yaml")


def write(folder: Path, **texts: str) -> dict[str, StateSettings]:
    for name, text in texts.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "main.tf").write_text(text)
    return {name: StateSettings(directory=folder / name) for name in texts}


def reading(kind: str, config: str, more: str = "") -> str:
    config = config.replace("workspaces {", "workspaces = {")
    return f'data "terraform_remote_state" "net" {{\n backend = "{kind}"\n{more} config = {{\n {config}\n }}\n}}\n'


@pytest.mark.promise("P11")
@pytest.mark.parametrize("kind", BACKENDS)
def test_a_read_of_another_roots_state_is_seen_on_every_backend(kind: str, tmp_path: Path) -> None:
    config = BACKENDS[kind]
    states = write(
        tmp_path,
        net=f'terraform {{\n backend "{kind}" {{\n {config}\n }}\n}}\n',
        app=reading(kind, config),
        other=reading(kind, config.replace("net", "elsewhere")),
    )
    roots = read_roots(settings(tmp_path, **states), {})
    assert [(need.root, need.on, need.reason) for need in roots.needs] == [("app", "net", Reason.REMOTE_STATE)]
    assert roots.waves == (("net", "other"), ("app",))
    assert roots.unclear["app"] == ()


def test_a_read_through_locals_and_a_workspace_is_seen_and_one_that_only_a_run_knows_is_told(tmp_path: Path) -> None:
    s3 = 'terraform {\n backend "s3" {\n bucket = "b"\n key = "net"\n region = "eu-central-1"\n }\n}\n'
    with_locals = 'locals {\n bucket = "b"\n}\n' + reading(
        "s3", 'bucket = local.bucket\n key = "net"\n region = "eu-central-1"', " workspace = terraform.workspace\n"
    )
    states = write(
        tmp_path,
        net=s3,
        app=with_locals,
        lost='variable "key" {}\n' + reading("s3", 'bucket = "b"\n key = var.key\n region = "eu-central-1"'),
        spaced=reading("s3", 'bucket = "b"\n key = "net"\n region = "eu-central-1"', ' workspace = "blue"\n'),
    )
    roots = read_roots(settings(tmp_path, **states), {})
    assert [(need.root, need.on) for need in roots.needs] == [("app", "net")]
    assert roots.unclear["lost"] == ("data.terraform_remote_state.net: which state it reads cannot be told",)


def test_a_read_from_a_server_of_ours_is_one_of_our_own_states(tmp_path: Path) -> None:
    read = reading("http", 'address = "http://127.0.0.1:8650/state/net"')
    roots = read_roots(settings(tmp_path, **write(tmp_path, net="", app=read)), {})
    assert [(need.root, need.on) for need in roots.needs] == [("app", "net")]


def test_a_state_without_a_directory_is_named_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    states = {**write(tmp_path, net=""), "listed": StateSettings()}
    assert read_roots(settings(tmp_path, **states), {}).folderless == ("listed",)
    gone = {**states, "gone": StateSettings(directory=tmp_path / "gone")}
    with pytest.raises(UsageError, match="the directory of state gone holds no configuration here"):
        read_roots(settings(tmp_path, **gone), {})
    with pytest.raises(UsageError, match="names no root module"):
        read_roots(settings(tmp_path, listed=StateSettings()), {})


def test_what_links_lead_to_touches_a_root_and_is_among_its_paths(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, capture_output=True)
    states = write(tmp_path, net="", app="")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "common.tf").write_text("")
    (tmp_path / "net" / "common.tf").symlink_to("../shared/common.tf")
    chosen = settings(tmp_path, **states)
    roots = read_roots(chosen, {})
    change = Change(top=tmp_path, base="main", commit="0" * 40, paths=("shared/common.tf",))
    touched, doubts = touched_by(roots, change, chosen)
    assert [(each.root, each.why) for each in touched] == [("net", ("shared/common.tf (linked from common.tf)",))]
    assert doubts == ()
    assert paths_that_touch(roots, chosen)["net"] == ("net/**/*", "shared/common.tf", "interlock.yaml")
