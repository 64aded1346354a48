from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.existing import Found
from interlock.site.existing import own_backend
from interlock.site.finding import KeptElsewhere, Refused, locate_state, state_of
from interlock.site.ref import Existing, StateRef
from interlock.source.tree import Tool
from interlock.testing.aws import LocalAws


def found(aws: LocalAws, **settings: object) -> Found:
    base = {"bucket": "b", "key": "k.tfstate", "region": "us-east-1", "workspace_key_prefix": "env:"}
    endpoints = {"endpoints.s3": aws.url, "endpoints.dynamodb": aws.url, "use_path_style": True}
    return Found(type="s3", settings={**base, **endpoints, **settings})


def test_what_init_would_record_differently_is_initialised_anew(aws: LocalAws, tmp_path: Path) -> None:
    (tmp_path / "x.tfbackend").write_text('bucket = "b"\n')
    ref = StateRef(queue="s3/b/k", address="s3://b/k", where=Existing(found=found(aws)), directory=tmp_path)
    green = replace(ref, where=Existing(found=replace(ref.found, workspace="green")))
    first = own_backend(ref, {}, ("-backend-config=x.tfbackend",))
    assert own_backend(ref, {}, ("-backend-config=x.tfbackend",)) == first
    assert first.place == {"bucket": "b", "key": "k.tfstate"}
    (tmp_path / "x.tfbackend").write_text('bucket = "c"\n')
    assert own_backend(ref, {}, ("-backend-config=x.tfbackend",)) != first
    assert own_backend(green, {}, ()) != own_backend(ref, {}, ())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "terraform.tfstate").write_text("{}")
    recorded = own_backend(ref, {"TF_DATA_DIR": "data"}, ())
    assert (recorded.recorded, "{}" in repr(recorded)) == (b"{}", False)


@pytest.mark.parametrize(
    ("block", "is_site"),
    [("", False), ('backend "http" {}', False), ('backend "s3" {\nbucket = "b"\nkey = "k"\n}', True)],
)
def test_only_a_backend_of_their_own_makes_a_site(tmp_path: Path, block: str, is_site: bool) -> None:
    (tmp_path / "main.tf").write_text(f"terraform {{\n{block}\n}}\n")
    assert isinstance(locate_state(tmp_path, {}, tool=Tool.TERRAFORM), KeptElsewhere) is is_site


def test_a_backend_that_runs_cannot_use_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text('terraform {\n  backend "cos" {\n    bucket = "b"\n  }\n}\n')
    located = locate_state(tmp_path, {}, tool=Tool.TERRAFORM)
    assert isinstance(located, Refused)
    assert 'backend "cos"' in located.error.what
    with pytest.raises(UsageError, match="not complete"):
        state_of(Found(type="s3"), tmp_path)
