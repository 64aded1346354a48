"""Older workflows that apply what a generated pipeline applies are found, whatever they are written for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from interlock.ci import Vendor, find, read_all
from interlock.ci.beside import find_beside, generated_directories
from interlock.ci.pipeline import Pipeline, Target
from interlock.ci.rendering import render
from interlock.ci.seal import make_keys
from interlock.source.tree import MemoryTree

ONE = Pipeline(
    targets=(Target(name="prod/routing", directory="infra/routing", environment="production"),),
    image=f"registry.example.com/terraform:1@sha256:{'0' * 64}",
    package_sha256=("a" * 64,),
    plan_key=make_keys(b"k" * 64).wrap,
)
MANY = replace(
    ONE, targets=(*ONE.targets, Target(name="prod/users", directory="infra/users", environment="production"))
)
PIPELINES = {"one": ONE, "many": MANY}
VENDORS = (Vendor.GITHUB, Vendor.GITLAB, Vendor.AZURE)

GITHUB = """\
on: {push: {branches: [main]}}
jobs:
  deploy:
    runs-on: ubuntu-24.04
    defaults: {run: {working-directory: infra/routing}}
    steps:
      - run: terraform apply -auto-approve
"""
GITLAB = "deploy:\n  variables: {ROOT: infra/routing}\n  script:\n    - cd $ROOT\n    - terraform apply -auto-approve\n"
AZURE = "steps:\n  - bash: terraform -chdir=infra/routing apply -auto-approve\n"


def beside(texts: Mapping[str, str], directories: list[str]) -> list[tuple[str, int, str, str]]:
    tree = MemoryTree(texts)
    content = {path: text.encode() for path, text in texts.items()}
    found = find_beside(read_all(tree, find(tree)), content, directories)
    return [(one.path, one.span.line, one.directory, one.command) for one in found]


@pytest.mark.parametrize("shape", PIPELINES)
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_generated_pipeline_alone_applies_nothing_twice(vendor: Vendor, shape: str) -> None:
    files = dict(render(vendor, PIPELINES[shape]))
    directories = generated_directories({path: text.encode() for path, text in files.items()})
    assert directories == {target.directory for target in PIPELINES[shape].targets}
    assert beside(files, sorted(directories)) == []


@pytest.mark.parametrize("shape", PIPELINES)
@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        (".github/workflows/deploy.yml", GITHUB, 7),
        (".gitlab/old.gitlab-ci.yml", GITLAB, 5),
        ("azure-pipelines.yml", AZURE, 2),
    ],
)
def test_an_older_workflow_that_applies_a_root_of_it_is_named(
    vendor: Vendor, shape: str, path: str, text: str, line: int
) -> None:
    files = {**render(vendor, PIPELINES[shape]), path: text}
    directories = generated_directories({name: content.encode() for name, content in files.items()})
    assert (path, line, "infra/routing", "terraform apply") in beside(files, sorted(directories))


def test_plans_and_other_roots_are_nobodys_business() -> None:
    plans = GITHUB.replace("apply -auto-approve", "plan")
    others = GITHUB.replace("infra/routing", "infra/other")
    assert beside({".github/workflows/a.yml": plans, ".github/workflows/b.yml": others}, ["infra/routing"]) == []
