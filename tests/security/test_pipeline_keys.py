"""Generated pipelines as an attacker meets them: keys beside a change's code, swapped packages, names that are code."""

from __future__ import annotations

import hashlib
import re
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
NAMING = {"STATE", "DIRECTORY", "BRANCH"}
ISOLATED_PIP = re.compile(r'python"? -I -m pip install')  # Jenkins calls the python of a new environment by its path


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
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_on_jenkins_each_key_is_bound_to_the_one_step_that_needs_it(pipeline: Pipeline) -> None:
    """Jenkins gives credentials to whole folders: `withCredentials` around one step is what keeps keys from others."""
    having: dict[str, list[set[str]]] = {key: [] for key in SECRET_KEYS}
    for job in jobs(Vendor.JENKINS, pipeline):
        assert not {variable.name for variable in job.variables} & SECRET_KEYS
        for step in job.steps:
            for key in SECRET_KEYS & {variable.name for variable in step.variables}:
                having[key].append({operation.verb for operation in step.operations})
    assert having == {"INTERLOCK_SEAL_KEY": [{"ci seal"}], "INTERLOCK_PLAN_KEY": [{"ci reviewed"}]}
    assert not any(key in texts(Vendor.JENKINS, pipeline)["Jenkinsfile.interlock-plan"] for key in SECRET_KEYS)


@pytest.mark.promise("P11")
@pytest.mark.parametrize("vendor", VENDORS)
def test_an_apply_takes_the_plan_of_the_approved_run_and_never_the_newest(vendor: Vendor) -> None:
    # On Jenkins all stages of a build share their variables: each root has its own, named by its state.
    named = "_prod_routing" if vendor is Vendor.JENKINS else ""
    run, digest = f'--run "$PLAN_RUN{named}"', f'--plan-digest "$PLAN_DIGEST{named}"'
    opened = applied = 0
    for text in texts(vendor).values():
        for place in re.finditer("ci reviewed", text):
            opened += 1
            assert run in text[place.start() :][:400]
            assert digest in text[place.start() :][:400]
        for place in re.finditer('interlock"? apply "\\$DIRECTORY"', text):
            applied += 1
            assert digest in text[place.start() :][:400]
    assert opened == applied == 1


@pytest.mark.promise("P11")
def test_jenkins_asks_its_approvers_about_the_very_plan_that_is_applied() -> None:
    """With several roots side by side, what one of them sealed must not be what another one's approvers are asked."""
    other = replace(PIPELINE.targets[0], name="prod-users")
    text = texts(Vendor.JENKINS, replace(PIPELINE, targets=(*PIPELINE.targets, other)))["Jenkinsfile.interlock-apply"]
    for word, slug in (("prod_routing", "prod-routing"), ("prod_users", "prod-users")):
        stage = re.split(r"stage\('apply ", text)[1 if word == "prod_routing" else 2].split("stage('")[0]
        assert f'"Apply plan ${{env.PLAN_DIGEST_{word}}}?"' in stage
        assert set(re.findall(r"PLAN_(?:DIGEST|RUN)_(\w+)", stage)) == {word}
        assert f"unstash 'interlock-sealed-{slug}'" in stage


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
                assert ISOLATED_PIP.search(step.text), step.text
        assert job.image is None or "@sha256:" in job.image.name
    for text in texts(vendor, pipeline).values():
        for line in text.split("\n"):
            assert "pip install" not in line or ISOLATED_PIP.search(line), line


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


WORDS = ("no", "null", "true", "1.0", "1e3", "0o17", "017", "2026-11-30", "12e03", "0x1F", "y")


@pytest.mark.promise("P11")
@pytest.mark.parametrize("vendor", [vendor for vendor in VENDORS if vendor is not Vendor.JENKINS])
@pytest.mark.parametrize("word", WORDS)
def test_a_state_whose_name_is_a_word_of_yaml_is_planned_under_its_own_name(vendor: Vendor, word: str) -> None:
    pipeline = replace(PIPELINE, targets=(Target(name=word, directory=word, environment=word),), branch=word)
    for text in texts(vendor, pipeline).values():
        for version in ((1, 1), (1, 2)):
            reader = YAML(typ="safe", pure=True)
            reader.version = version
            found = list(_values(reader.load(text), NAMING))
            assert set(map(repr, found)) <= {repr(word)}


@pytest.mark.promise("P11")
@pytest.mark.parametrize("word", WORDS)
def test_a_state_whose_name_is_a_word_of_groovy_is_planned_under_its_own_name(word: str) -> None:
    """Without quotes `null` is nothing, `0x1F` is 31 and `y` is a variable; what is read here is a Groovy literal."""
    pipeline = replace(PIPELINE, targets=(Target(name=word, directory=word, environment=word),), branch=word)
    files = texts(Vendor.JENKINS, pipeline)
    for text in files.values():
        given = re.findall(r"^ *(STATE|DIRECTORY) = (.*)$", text, re.MULTILINE)
        assert {name for name, _ in given} == {"STATE", "DIRECTORY"}
        assert {literal for _, literal in given} == {f"'{word}'"}
    assert f"changeRequest target: '{word}'" in files["Jenkinsfile.interlock-plan"]
    assert f'ci seal --state "$STATE" --branch {word} ' in files["Jenkinsfile.interlock-apply"]
    assert f"submitter 'interlock-{word}'" in files["Jenkinsfile.interlock-apply"]


def _values(node: Any, keys: set[str]) -> Iterator[object]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                yield value
            yield from _values(value, keys)
    elif isinstance(node, list):
        for value in node:
            yield from _values(value, keys)
