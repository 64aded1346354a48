"""Generated files against everything that knows their languages and can be installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, TypeChecker, validators  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from interlock.ci import Vendor, find, read_all
from interlock.ci.pipeline import REQUIREMENTS_FILE, Aws, Pipeline, Target
from interlock.ci.rendering import HEADER, VENDORS, render
from interlock.ci.seal import make_keys
from interlock.lint.engine import Request, lint
from interlock.lint.rules.ci import CI_RULES
from interlock.source.tree import MemoryTree

BARE = Pipeline(
    targets=(Target(name="prod", directory=".", environment="production"),),
    tool="tofu",
    tool_version="1.10.0",
    drift_cron="",
    image=f"registry.example.com/tofu:1.10.0@sha256:{'0' * 64}",
    package_sha256=("a" * 64,),
    plan_key=make_keys(b"k" * 64).wrap,
    tofu_sha256="b" * 64,
)
FULL = Pipeline(
    targets=(
        Target(name="prod/routing", directory="infra/routing", environment="production", locked=True),
        Target(name="prod/users", directory="infra/users", environment="production"),
        Target(name="test", directory="infra/routing", environment="test"),
    ),
    aws=Aws(
        region="eu-central-1",
        plan_role="arn:aws:iam::111122223333:role/interlock-plan",
        apply_role="arn:aws:iam::111122223333:role/interlock-apply",
    ),
    server="https://interlock.example.com",
    notify=True,
    image=BARE.image,
    package_sha256=("a" * 64, "b" * 64),
    plan_key=BARE.plan_key,
)
IMAGE = replace(FULL, image=f"registry.example.com/ci/interlock:1@sha256:{'1' * 64}", server=None, installed=True)
LASTING = replace(BARE, runner="own-linux", pool="own", home="/var/lib/interlock")
PIPELINES = {"bare": BARE, "full": FULL, "image": IMAGE, "lasting": LASTING}
EVERY = [(name, vendor) for name in PIPELINES for vendor in VENDORS]


def files(name: str, vendor: Vendor) -> Mapping[str, str]:
    return {path: text for path, text in render(vendor, PIPELINES[name]).items() if path != REQUIREMENTS_FILE}


@pytest.mark.parametrize(("name", "vendor"), EVERY)
def test_our_own_linter_finds_nothing(name: str, vendor: Vendor) -> None:
    texts = files(name, vendor)
    tree = MemoryTree(texts)
    workflows = read_all(tree, find(tree))
    assert [problem for workflow in workflows for problem in workflow.problems] == []
    found = lint(tree, Request(rules=CI_RULES)).findings
    assert [(one.finding.rule, one.finding.span.line, one.finding.message) for one in found] == []
    ignored = {line.strip() for text in texts.values() for line in text.splitlines() if "interlock:ignore" in line}
    assert not ignored or (vendor is Vendor.GITLAB and len(ignored) == 1)  # packages that Alpine signs
    applies = {job.name for workflow in workflows for job in workflow.jobs for _, op in job.operations() if op.applies}
    assert len(applies) >= (len(PIPELINES[name].targets) if vendor not in (Vendor.AZURE, Vendor.JENKINS) else 1)


@pytest.mark.parametrize(("name", "vendor"), EVERY)
def test_every_file_says_who_wrote_it(name: str, vendor: Vendor) -> None:
    assert all(text.startswith(HEADER) for text in files(name, vendor).values())
    assert all(text.endswith("\n") and "<<" not in text and "%>" not in text for text in files(name, vendor).values())


@pytest.mark.parametrize("name", PIPELINES)
def test_production_is_queued_and_never_cancelled(name: str) -> None:
    tree = MemoryTree(files(name, Vendor.GITHUB))
    for workflow in read_all(tree, find(tree)):
        for job in workflow.jobs:
            if any(operation.applies for _, operation in job.operations()):
                assert [(turn.cancels, turn.keeps_all, turn.follows_ref) for turn in job.turns] == [
                    (False, True, False)
                ]


@pytest.mark.parametrize(("name", "vendor"), EVERY)
def test_every_job_has_a_time_limit(name: str, vendor: Vendor) -> None:
    tree = MemoryTree(files(name, vendor))
    limits = [job.limit for workflow in read_all(tree, find(tree)) for job in workflow.jobs]
    assert limits
    assert all(limit is not None and limit.seconds for limit in limits)


def test_a_cancelled_plan_is_not_sealed() -> None:
    """`!= 'failure'` let a cancelled one pass."""
    text = files("bare", Vendor.GITHUB)[".github/workflows/interlock-apply.yml"]
    seal = YAML(typ="safe", pure=True).load(text)["jobs"]["seal-prod"]
    assert 'contains(fromJSON(\'["success", "skipped"]\'), needs.plan-prod.result)' in seal["if"]


def test_an_older_github_server_gets_no_key_that_it_does_not_know() -> None:
    older = render(Vendor.GITHUB, replace(BARE, keeps_all=False))[".github/workflows/interlock-apply.yml"]
    assert "queue:" not in older
    assert "queue: max" in files("bare", Vendor.GITHUB)[".github/workflows/interlock-apply.yml"]


def test_a_forks_change_is_planned_by_nobody() -> None:
    gitlab = "".join(files("bare", Vendor.GITLAB).values())
    assert gitlab.count("$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID") == 2  # plan and comment
    azure = "".join(files("bare", Vendor.AZURE).values())
    assert "ne(variables['System.PullRequest.IsFork'], 'True')" in azure
    github = files("bare", Vendor.GITHUB)[".github/workflows/interlock-plan.yml"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in github


def test_every_github_job_has_only_the_rights_it_needs() -> None:
    for text in files("full", Vendor.GITHUB).values():
        document = YAML(typ="safe", pure=True).load(text)
        assert document["permissions"] == {}
        for job in document["jobs"].values():
            rights = {right for right, level in job["permissions"].items() if level == "write"}
            assert rights <= {"id-token", "pull-requests"}


# -- schemas: vendored in check-jsonschema, the GitHub and GitLab ones from SchemaStore, Azure's from its extension ----


MARKETPLACE_TASKS = ["AWSShellScript@1", "TerraformInstaller@1"]


@cache
def schema(name: str) -> dict[str, Any]:
    pytest.importorskip("check_jsonschema")
    text = resources.files("check_jsonschema").joinpath(f"builtin_schemas/vendor/{name}.json").read_text()
    found: dict[str, Any] = json.loads(text)
    if name == "azure-pipelines":  # it lists the built-in tasks and knows none of the marketplace
        task = found["definitions"]["task"]
        task["properties"]["task"]["anyOf"].append({"enum": MARKETPLACE_TASKS})
        task["anyOf"].append({"properties": {"task": {"enum": MARKETPLACE_TASKS}}})
    return found


def _loose(checker: Any) -> Any:
    """Azure's schema is written for a reader to which every scalar is text; only its booleans are booleans."""

    def truth(_: TypeChecker, value: object) -> bool:
        return value in ("true", "false")

    return checker.redefine("boolean", truth)


def _loaded(text: str, vendor: Vendor) -> Any:
    reader = YAML(typ="base" if vendor is Vendor.AZURE else "safe", pure=True)
    return reader.load(text)


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize(
    ("vendor", "which"),
    [(Vendor.GITHUB, "github-workflows"), (Vendor.GITLAB, "gitlab-ci"), (Vendor.AZURE, "azure-pipelines")],
)
def test_the_vendors_schema_accepts_it(name: str, vendor: Vendor, which: str) -> None:
    kind: Any = Draft7Validator
    if vendor is Vendor.AZURE:
        kind = validators.extend(Draft7Validator, type_checker=_loose(Draft7Validator.TYPE_CHECKER))
    for path, text in files(name, vendor).items():
        errors = list(kind(schema(which)).iter_errors(_loaded(text, vendor)))
        assert [error.message[:200] for error in errors] == [], path


# -- other people's linters ------------------------------------------------------------------------------------------


def _tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _written(folder: Path, name: str) -> list[str]:
    for path, text in files(name, Vendor.GITHUB).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return [str(path) for path in sorted(folder.rglob("*.yml"))]


@pytest.mark.parametrize("name", PIPELINES)
def test_zizmor_finds_nothing_however_strict(name: str, tmp_path: Path) -> None:
    command = [_tool("zizmor"), "--offline", "--no-progress", "--no-config", "--persona", "auditor", "--format", "json"]
    result = subprocess.run(
        [*command, *_written(tmp_path, name)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert json.loads(result.stdout) == [], result.stderr


@pytest.mark.parametrize("name", PIPELINES)
def test_actionlint_finds_nothing_but_the_new_queue_key(name: str, tmp_path: Path) -> None:
    """actionlint is a Go module, in no index of Python; 1.7.12 knows neither `queue` (2026-05) nor our own labels."""
    unknown = ("-ignore", 'unexpected key "queue"', "-ignore", 'label "own-linux" is unknown')
    command = [_tool("actionlint"), "-no-color", "-shellcheck=", "-pyflakes=", *unknown]
    result = subprocess.run(
        [*command, *_written(tmp_path, name)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("name", PIPELINES)
def test_the_head_of_each_jenkinsfile_names_every_credential_that_it_takes(name: str) -> None:
    for path, text in render(Vendor.JENKINS, PIPELINES[name]).items():
        head, _, body = text.partition("\npipeline {")
        taken = set(re.findall(r"credentialsId: '([^']+)'", body))
        told = set(re.findall(r"^//   (interlock-\S+)   ", head.replace("    ", "   "), re.MULTILINE))
        assert path == REQUIREMENTS_FILE or taken == told, path
