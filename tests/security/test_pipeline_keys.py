"""Generated pipelines as an attacker meets them: keys beside a change's code, swapped packages, names that are code."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from interlock.ci import Job, Vendor, find, read_all
from interlock.ci.pipeline import REQUIREMENTS_FILE, Aws, Pipeline, StateFacts, Target, read_pipeline
from interlock.ci.rendering import VENDORS, render
from interlock.ci.seal import make_keys
from interlock.errors import UsageError
from interlock.source.tree import MemoryTree

KEYS = make_keys(b"s" * 64)
PIPELINE = Pipeline(
    targets=(Target(name="prod/routing", directory="infra", environment="production", locked=True),),
    aws=Aws(region="eu-central-1", plan_role="arn:aws:iam::1:role/p", apply_role="arn:aws:iam::1:role/a"),
    image=f"registry.example.com/terraform:1@sha256:{'0' * 64}",
    package_sha256=("a" * 64,),
    plan_key=KEYS.wrap,
    tofu_sha256="b" * 64,
)
PIPELINES = (PIPELINE, replace(PIPELINE, tool="tofu", tool_version="1.10.0", aws=None, server="https://i.example.com"))
SECRET_KEYS = {"INTERLOCK_SEAL_KEY", "INTERLOCK_PLAN_KEY"}


def texts(vendor: Vendor, pipeline: Pipeline = PIPELINE) -> Mapping[str, str]:
    return {path: text for path, text in render(vendor, pipeline).items() if path != REQUIREMENTS_FILE}


def jobs(vendor: Vendor, pipeline: Pipeline = PIPELINE) -> Iterator[Job]:
    tree = MemoryTree(texts(vendor, pipeline))
    for workflow in read_all(tree, find(tree)):
        yield from workflow.jobs


def keys_of(job: Job) -> set[str]:
    named = {
        variable.name for variables in (job.variables, *(s.variables for s in job.steps)) for variable in variables
    }
    return named & SECRET_KEYS


@pytest.mark.promise("P11")
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("vendor", [Vendor.GITHUB, Vendor.AZURE])
def test_code_of_a_change_finds_no_key_that_seals_or_opens_plans(vendor: Vendor, pipeline: Pipeline) -> None:
    found = list(jobs(vendor, pipeline))
    planning = [job for job in found if any(operation.plans for _, operation in job.operations())]
    assert planning
    for job in planning:
        if not any(operation.applies for _, operation in job.operations()):
            assert keys_of(job) == set(), job.name
    sealing = [job for job in found if "INTERLOCK_SEAL_KEY" in keys_of(job)]
    assert sealing
    for job in sealing:
        assert {operation.verb for _, operation in job.operations()} == {"ci seal"}, job.name  # no init, no provider
        assert keys_of(job) == {"INTERLOCK_SEAL_KEY"}
    for job in found:
        if "INTERLOCK_PLAN_KEY" in keys_of(job):
            assert any(operation.applies for _, operation in job.operations()), job.name


@pytest.mark.promise("P11")
def test_on_gitlab_each_key_is_behind_an_environment_of_its_own() -> None:
    """GitLab hands out variables by environment; the file names none of them."""
    document = YAML(typ="safe", pure=True).load(texts(Vendor.GITLAB)[".gitlab/interlock.gitlab-ci.yml"])
    names = {name: job["environment"]["name"] for name, job in document.items() if "environment" in job}
    assert names == {
        "plan:prod-routing": "production-plan",
        "comment:prod-routing": "production-comment",
        "seal:prod-routing": "production-seal",
        "apply:prod-routing": "production",
        "drift:prod-routing": "production-plan",
    }
    seal = document[".interlock-seal"]
    assert seal["extends"] == ".interlock-base"
    assert [line.split()[:3] for line in seal["script"]] == [["interlock", "ci", "seal"]]
    assert "id_tokens" not in document[".interlock-base"]


@pytest.mark.promise("P11")
@pytest.mark.parametrize("vendor", VENDORS)
def test_an_apply_takes_the_plan_of_the_approved_run_and_never_the_newest(vendor: Vendor) -> None:
    for text in texts(vendor).values():
        for line in text.split("\n"):
            if "ci reviewed" in line:
                after = text[text.index(line) :][:400]
                assert '--run "$PLAN_RUN"' in after
                assert '--plan-digest "$PLAN_DIGEST"' in after
            if "interlock apply" in line and "$DIRECTORY" in line:
                assert '--plan-digest "$PLAN_DIGEST"' in text[text.index(line) :][:400]


@pytest.mark.promise("P10")
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("vendor", VENDORS)
def test_nothing_is_installed_without_its_checksum(vendor: Vendor, pipeline: Pipeline) -> None:
    requirements = render(vendor, pipeline)[REQUIREMENTS_FILE]
    logical = requirements.replace("\\\n", " ").split("\n")
    for line in (line for line in logical if line and not line.startswith("#")):
        assert "--hash=sha256:" in line, line
    for job in jobs(vendor, pipeline):
        for step in job.steps:
            if step.action is not None and vendor is Vendor.GITHUB:
                assert len(step.action.version) == 40, step.action
            if "pip install" in step.text:
                assert "--require-hashes" in step.text
                assert "python -I -m pip" in step.text
        assert job.image is None or "@sha256:" in job.image.name
    for text in texts(vendor, pipeline).values():
        for line in text.split("\n"):
            assert "pip install" not in line or "python -I -m pip" in line, line


@pytest.mark.promise("P10")
def test_what_jobs_install_is_what_our_own_requirements_say() -> None:
    script = Path(__file__).parents[2] / "scripts/write_ci_requirements.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0


@pytest.mark.promise("P10")
def test_a_module_of_the_checkout_is_not_imported_by_the_install_step(tmp_path: Path) -> None:
    """`python -m pip` looks for pip in the folder in which it starts: a change could bring one."""
    (tmp_path / "pip.py").write_text("print('stolen')")
    bare = subprocess.run([sys.executable, "-m", "pip", "--version"], cwd=tmp_path, capture_output=True, check=False)
    assert b"stolen" in bare.stdout
    ours = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "--version"], cwd=tmp_path, capture_output=True, check=False
    )
    assert b"stolen" not in ours.stdout


@pytest.mark.promise("P10")
def test_a_package_with_another_checksum_is_not_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "interlock_stand_in-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("interlock_stand_in-1.0.dist-info/METADATA", "Name: interlock-stand-in\nVersion: 1.0\n")
        archive.writestr("interlock_stand_in-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("interlock_stand_in-1.0.dist-info/RECORD", "")
    requirements = tmp_path / "requirements.txt"

    def install(digest: str) -> int:
        requirements.write_text(f"interlock-stand-in==1.0 \\\n    --hash=sha256:{digest}\n")
        command = [sys.executable, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
        more = ["--find-links", str(tmp_path), "--target", str(tmp_path / "there"), "--require-hashes"]
        result = subprocess.run([*command, *more, "--requirement", str(requirements)], capture_output=True, check=False)
        return result.returncode

    assert install("0" * 64) != 0
    assert install(hashlib.sha256(wheel.read_bytes()).hexdigest()) == 0


POISON = (
    "${{ secrets.X }}",
    "$(id)",
    "$[ variables.X ]",
    "$CI_JOB_TOKEN",
    "a\nb",
    "a: b",
    "a'b",
    '"',
    "`id`",
    "a;b",
    "",
)


@pytest.mark.promise("P10")
@pytest.mark.parametrize("poison", POISON)
def test_a_name_that_a_ci_system_or_shell_would_evaluate_gets_into_no_file(poison: str) -> None:
    needed: dict[str, Any] = {"package_sha256": "a" * 64, "plan_key": KEYS.wrap, "image": PIPELINE.image}
    fine = StateFacts(directory="infra", environment="production")
    many: list[dict[str, StateFacts]] = [{poison: fine}]
    if poison:
        many += [{"a": replace(fine, directory=poison)}, {"a": replace(fine, environment=poison)}]
    for states in many:
        with pytest.raises(UsageError):
            read_pipeline(needed, states, server=None, interlock_version="1.0.0")
    for key in (
        "branch",
        "audience",
        "runner",
        "genesys_region",
        "package",
        "image",
        "wheel",
        "environment",
        "terraform",
    ):
        with pytest.raises(UsageError):
            read_pipeline(
                needed | {key: poison}, {"a": replace(fine, environment=None)}, server=None, interlock_version="1.0.0"
            )


@pytest.mark.promise("P11")
@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "word", ["no", "null", "true", "1.0", "1e3", "0o17", "017", "2026-11-30", "12e03", "0x1F", "y"]
)
def test_a_state_whose_name_is_a_word_of_yaml_is_planned_under_its_own_name(vendor: Vendor, word: str) -> None:
    pipeline = replace(PIPELINE, targets=(Target(name=word, directory=word, environment=word),), branch=word)
    for text in texts(vendor, pipeline).values():
        for version in ((1, 1), (1, 2)):
            reader = YAML(typ="safe", pure=True)
            reader.version = version
            found = list(_values(reader.load(text), {"STATE", "DIRECTORY", "BRANCH"}))
            assert set(map(repr, found)) <= {repr(word)}


def _values(node: Any, keys: set[str]) -> Iterator[object]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                yield value
            yield from _values(value, keys)
    elif isinstance(node, list):
        for value in node:
            yield from _values(value, keys)
