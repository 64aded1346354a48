"""Whatever declares a backend in any form is used where it is or refused; only what nobody declares is our own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from interlock.site.finding import KeptByUs, KeptElsewhere, Located, Refused, locate_state
from interlock.site.in_sight import may_be_elsewhere
from interlock.source.tree import Tool

pytestmark = pytest.mark.promise("P11")

RESOURCE = 'resource "terraform_data" "a" {}\n'
EMPTY = 'terraform {\n  backend "http" {}\n}\n'
ADDRESS = "https://ci:pw@gitlab.example/api/v4/projects/1/terraform/state/prod"
SHOWN = "https://gitlab.example/api/v4/projects/1/terraform/state/prod"
ESCAPED = '{"terraform": {"b\\u0061ckend": {"http": {"address": "ADDRESS"}}}}'.replace("ADDRESS", ADDRESS)
S3 = 'terraform {\n  backend "s3" {\n    bucket = "b"\n    key = "k"\n    region = "eu-west-1"\n  }\n}\n'


def look(
    folder: Path,
    files: Mapping[str, str],
    environ: Mapping[str, str] | None = None,
    *flags: str,
    tool: Tool = Tool.TERRAFORM,
) -> Located:
    """Return what the fast look and the long one together say."""
    for name, text in {"resource.tf": RESOURCE, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if not may_be_elsewhere(folder, environ or {}, flags):
        return KeptByUs(in_place=False)
    return locate_state(folder, environ or {}, flags, tool=tool, state="prod/app")


def refusal(located: Located) -> str:
    assert isinstance(located, Refused), located
    error = located.error
    assert error.fix, "a refusal has a way out"
    text = f"{error.what}; {error.why}; {error.fix}"
    assert not {word for word in ("pw@", "hush") if word in text}
    return text


def recorded(kind: str, **config: object) -> str:
    return json.dumps({"version": 3, "backend": {"type": kind, "config": config, "hash": 1}})


@pytest.mark.parametrize(
    ("files", "in_place"),
    [
        ({}, False),
        ({"main.tf": "terraform {}\n"}, False),
        ({"main.tf": "# the backend is chosen elsewhere, in the cloud\n"}, False),
        ({"main.tf": EMPTY}, True),
        ({"main.tf.json": '{"terraform": {"backend": {"http": {}}}}'}, True),
        ({"main.tf.json": '{"terraform": [{"backend": [{"http": [{}]}]}]}'}, True),
        ({"main.tf": S3, "z_override.tf": EMPTY}, True),
        ({".terraform/terraform.tfstate": recorded("http", address=None), "main.tf": EMPTY}, True),
        ({"terraform.tfstate": ""}, False),
    ],
)
def test_what_nobody_declares_is_our_own(tmp_path: Path, files: dict[str, str], in_place: bool) -> None:
    assert look(tmp_path, files) == KeptByUs(in_place=in_place)


def http(text: str) -> str:
    return f'terraform {{\n  backend "http" {{\n    {text}\n  }}\n}}\n'


@pytest.mark.parametrize(
    ("files", "environ", "flags"),
    [
        ({"main.tf": http(f'address = "{ADDRESS}"')}, {}, ()),
        ({"main.tf": EMPTY}, {"TF_HTTP_ADDRESS": ADDRESS}, ()),
        ({"main.tf": http('lock_method = "POST"')}, {"TF_HTTP_ADDRESS": ADDRESS}, ()),
        ({"main.tf": EMPTY}, {}, (f"-backend-config=address={ADDRESS}",)),
        ({"main.tf": EMPTY}, {}, ("-backend-config", f"address={ADDRESS}")),
        ({"main.tf": EMPTY, "prod.conf": f'address = "{ADDRESS}"\n'}, {}, ("-backend-config=prod.conf",)),
        ({"main.tf": EMPTY}, {"TF_CLI_ARGS": f"-backend-config=address={ADDRESS}"}, ()),
        ({"main.tf": EMPTY}, {"TF_CLI_ARGS_init": f"-backend-config=address={ADDRESS}"}, ()),
        ({"main.tf": EMPTY, ".terraform/terraform.tfstate": recorded("http", address=ADDRESS)}, {}, ()),
        (
            {"main.tf": EMPTY, "data/terraform.tfstate": recorded("http", address=ADDRESS)},
            {"TF_DATA_DIR": "data"},
            (),
        ),
        ({"main.tf.json": json.dumps({"terraform": {"backend": {"http": {"address": ADDRESS}}}})}, {}, ()),
        ({"main.tf.json": ESCAPED}, {}, ()),
        ({"main.tf": EMPTY, "z_override.tf": http(f'address = "{ADDRESS}"')}, {}, ()),
    ],
)
def test_an_address_from_anywhere_is_where_the_state_stays_and_its_queue_is_named_without_credentials(
    tmp_path: Path, files: dict[str, str], environ: dict[str, str], flags: tuple[str, ...]
) -> None:
    located = look(tmp_path, files, environ, *flags)
    assert isinstance(located, KeptElsewhere), located
    assert located.found.text("address") == ADDRESS
    assert located.state.startswith("http/gitlab.example/api/v4/projects/1/terraform/state/prod")
    assert "pw" not in located.state


@pytest.mark.parametrize(
    ("block", "state"),
    [
        ('backend "local" {}', "local/"),
        ('backend "local" {\n    path = "x/app.tfstate"\n  }', "local/"),
        ('backend "pg" {\n    conn_str = "postgres://u:hush@h/d"\n  }', "pg/h/d/terraform_remote_state.states/default"),
    ],
)
def test_a_declared_file_or_database_is_where_the_state_stays(tmp_path: Path, block: str, state: str) -> None:
    located = look(tmp_path, {"main.tf": f"terraform {{\n  {block}\n}}\n"})
    assert isinstance(located, KeptElsewhere), located
    assert located.state.startswith(state)
    assert "hush" not in located.state


def test_each_workspace_of_a_database_is_a_state_of_its_own_and_http_has_none(tmp_path: Path) -> None:
    files = {"main.tf": 'terraform {\n  backend "pg" {\n    conn_str = "postgres://u:hush@h/d"\n  }\n}\n'}
    located = look(tmp_path, files, {"TF_WORKSPACE": "staging"})
    assert isinstance(located, KeptElsewhere)
    assert located.state.endswith("/staging")
    files = {"main.tf": http(f'address = "{ADDRESS}"')}
    text = refusal(look(tmp_path, files, {"TF_WORKSPACE": "staging"}))
    assert 'workspace "staging" of backend "http"' in text
    assert "unset TF_WORKSPACE" in text


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"main.tf": 'terraform {\n  cloud {\n    organization = "acme"\n  }\n}\n'}, "cloud block is not complete"),
        ({"main.tf": "terraform {\n  cloud /* of us */ {}\n}\n"}, "cloud block is not complete"),
        ({"main.tf": 'terraform {\n  backend "remote" {}\n}\n'}, "remote block is not complete"),
        ({"main.tf": 'terraform {\n  backend "brand_new" {}\n}\n'}, 'backend "brand_new"'),
        ({"main.tf": 'terraform {\n  state_store "x" {\n    provider "x" {}\n  }\n}\n'}, "state_store"),
        ({"a.tf": "terraform {}\n", "b.tf": 'terraform {\n  backend "gcs" {}\n}\n'}, "names no bucket"),
        ({"main.tf": EMPTY, "override.tf": "terraform {\n  cloud {}\n}\n"}, "cloud block is not complete"),
        ({"main.tf": 'terraform {\n  backend "s3" {}\n}\n'}, "bucket"),
        ({"main.tf": http('lock_method = "POST"')}, "no address"),
        ({"main.tf": 'terraform {\n  backend "http" {\n'}, "cannot be told"),
        ({"main.tf": EMPTY + 'terraform {\n  keep_state_at "moon" {}\n}\n'}, "does not know"),
        ({".terraform/terraform.tfstate": recorded("s3", bucket="b", key="k", region="r")}, "s3://b/k"),
        ({"main.tf": EMPTY, ".terraform/terraform.tfstate": recorded("s3", bucket="b", key="k")}, 'backend "s3"'),
        ({".terraform/terraform.tfstate": recorded("http", address=ADDRESS)}, SHOWN),
        ({".terraform/terraform.tfstate": "{not json"}, "is not JSON"),
        (
            {".terraform/terraform.tfstate": recorded("local", path="../shared.tfstate"), "../shared.tfstate": "{}"},
            "../",
        ),
        ({"terraform.tfstate": "{}"}, "terraform.tfstate"),
        ({"terraform.tfstate.d/staging/terraform.tfstate": "{}"}, "terraform.tfstate.d/staging"),
    ],
)
def test_whatever_else_speaks_of_a_state_elsewhere_is_refused(tmp_path: Path, files: dict[str, str], said: str) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    assert said in refusal(look(folder, files))


def test_an_environment_that_speaks_of_a_state_elsewhere_is_refused(tmp_path: Path) -> None:
    refusal(look(tmp_path, {}, {"TF_CLI_ARGS_init": "-backend-config=key=k"}))


@pytest.mark.parametrize(
    ("files", "environ"), [({}, {"TF_WORKSPACE": "staging"}), ({".terraform/environment": "staging"}, {})]
)
def test_a_workspace_of_our_own_backend_is_known_however_it_was_chosen(
    tmp_path: Path, files: dict[str, str], environ: dict[str, str]
) -> None:
    assert look(tmp_path, files, environ) == KeptByUs(in_place=False, workspace="staging")


def test_s3_stays_where_it_is_also_when_flags_of_the_environment_complete_it(tmp_path: Path) -> None:
    located = look(
        tmp_path, {"main.tf": S3.replace('    key = "k"\n', "")}, {"TF_CLI_ARGS_init": "-backend-config=key=x"}
    )
    assert isinstance(located, KeptElsewhere)
    assert (located.found.text("bucket"), located.found.text("key")) == ("b", "x")


def test_each_program_is_asked_about_the_files_that_it_reads(tmp_path: Path) -> None:
    files = {"main.tf": S3, "main.tofu": EMPTY, "more.tofu.json": "{}"}
    assert isinstance(look(tmp_path, files, tool=Tool.TERRAFORM), KeptElsewhere)
    assert look(tmp_path, files, tool=Tool.TOFU) == KeptByUs(in_place=True)


def test_a_backend_in_a_tofu_json_file_counts(tmp_path: Path) -> None:
    files = {"backend.tofu.json": json.dumps({"terraform": {"backend": {"http": {"address": ADDRESS}}}})}
    assert isinstance(look(tmp_path, files, tool=Tool.TOFU), KeptElsewhere)


def test_a_linked_file_counts(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "backend.tf").write_text(http(f'address = "{ADDRESS}"'))
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "backend.tf").symlink_to(tmp_path / "shared" / "backend.tf")
    assert isinstance(look(folder, {}), KeptElsewhere)


ELSEWHERE = 'terraform {\n  backend "gcs" {\n    bucket = "x"\n  }\n}\n'
ELSEWHERE_JSON = '{"terraform": {"backend": {"gcs": {"bucket": "x"}}}'


@pytest.mark.parametrize(
    "files",
    [
        {"#backend.tf": ELSEWHERE},
        {"#backend.tf.json": ELSEWHERE_JSON + "}"},
        {"a.tf.json": ELSEWHERE_JSON + ', "terraform": {"required_version": ">= 1"}}'},
        {"a.tf": ELSEWHERE, "b.tf": EMPTY},
    ],
)
def test_a_declaration_in_an_odd_place_is_seen_as_terraform_sees_it(tmp_path: Path, files: dict[str, str]) -> None:
    """Our override would replace the declaration, so that nothing afterwards could find it."""
    assert not isinstance(look(tmp_path, files), KeptByUs)


@pytest.mark.parametrize("name", [".backend.tf", ".#backend.tf", "#backend.tf#", "backend.tf~", "backend.TF"])
def test_left_overs_of_editors_declare_nothing(tmp_path: Path, name: str) -> None:
    assert look(tmp_path, {name: ELSEWHERE}) == KeptByUs(in_place=False)
