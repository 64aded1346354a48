"""The composite action, the GitLab component and the Azure template that ship in the repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from interlock.ci import Vendor, read_all
from interlock.ci.pipeline import Aws, Pipeline, Target
from interlock.ci.rendering import render, shipped, shipped_azure, shipped_gitlab
from interlock.ci.rendering.github import PINS
from interlock.ci.seal import make_keys
from interlock.lint import Sources
from interlock.lint.engine import Request, lint
from interlock.lint.rules.ci import CI_RULES
from interlock.source.tree import MemoryTree

ROOT = Path(__file__).parents[3]
ACTION = ROOT / "action.yml"
COMPONENT = ROOT / "templates/interlock/template.yml"
AZURE = ("templates/azure/interlock.yml", "templates/azure/interlock-aws.yml")
WORKFLOWS = tuple(f".github/workflows/interlock-{name}.yml" for name in ("plan", "apply", "drift"))
PIPELINE = Pipeline(
    targets=(Target(name="prod", directory=".", environment="production"),),
    image=f"registry.example.com/terraform:1@sha256:{'0' * 64}",
    package_sha256=("a" * 64,),
    plan_key=make_keys(b"k" * 64).wrap,
)


def documents(path: Path) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(path.read_text()))


def schema(name: str) -> dict[str, Any]:
    pytest.importorskip("check_jsonschema")
    text = resources.files("check_jsonschema").joinpath(f"builtin_schemas/vendor/{name}.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def errors(which: str, document: object) -> list[str]:
    return [error.message[:200] for error in Draft7Validator(schema(which)).iter_errors(document)]


def findings(files: dict[str, str]) -> list[tuple[str, str, int]]:
    found = lint(MemoryTree(files), Request(rules=CI_RULES, targets=tuple(files))).findings
    return [(one.finding.rule, one.finding.span.path, one.finding.span.line) for one in found]


def component(**inputs: str) -> tuple[str, dict[str, Any]]:
    """Return the component's jobs with its inputs put in, as text and as values."""
    header, _ = documents(COMPONENT)
    values = {name: str(spec.get("default", "")) for name, spec in header["spec"]["inputs"].items()} | inputs
    body = COMPONENT.read_text().split("\n---\n")[1]
    text = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda match: values[match[1]], body)
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return text, found


def test_what_is_shipped_is_what_the_generator_writes() -> None:
    """So that neither can be mended alone."""
    script = ROOT / "scripts/write_shipped.py"
    result = subprocess.run([sys.executable, script, "--check"], capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    made = [path for room in (shipped, shipped_azure, shipped_gitlab) for path in room.render("1.2.3")]
    assert [path for path in made if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("path", WORKFLOWS)
def test_a_reusable_workflow_is_one_that_nobody_finds_fault_with(path: str) -> None:
    text = (ROOT / path).read_text()
    (document,) = documents(ROOT / path)
    assert errors("github-workflows", document) == []
    assert findings({path: text}) == []
    zizmor = Path(sys.executable).with_name("zizmor")
    if zizmor.exists():
        strict = ["--offline", "--no-progress", "--no-config", "--persona", "auditor", "--format", "json"]
        result = subprocess.run([zizmor, *strict, ROOT / path], capture_output=True, timeout=120, check=False)
        assert json.loads(result.stdout) == []


@pytest.mark.parametrize("path", WORKFLOWS)
def test_a_reusable_workflow_takes_every_value_from_its_caller(path: str) -> None:
    text = (ROOT / path).read_text()
    (document,) = documents(ROOT / path)
    called = document["on"]["workflow_call"]
    assert set(re.findall(r"inputs\.(\w+)", text)) == set(called["inputs"])
    assert set(re.findall(r"secrets\.(\w+)", text)) == set(called["secrets"])
    assert all(one["description"] for one in called["inputs"].values())
    left = re.findall(
        r"\bil(?:state|directory|environment|branch|terraform|region|aws|reader|writer|runner|home|key)", text
    )
    assert left == []
    assert "${{" not in "".join(step.get("run", "") for job in document["jobs"].values() for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS)
def test_the_head_of_a_reusable_workflow_says_what_its_caller_must_permit(path: str) -> None:
    """GitHub starts nothing when a called job wants more than the caller has."""
    (document,) = documents(ROOT / path)
    wanted = {(name, right) for job in document["jobs"].values() for name, right in job["permissions"].items()}
    rights = {name: "write" if (name, "write") in wanted else "read" for name, _ in wanted}
    said = dict(re.findall(r"^#   ([\w-]+): (\w+)$", (ROOT / path).read_text(), re.MULTILINE))
    assert said == rights


def test_the_reusable_workflows_call_interlock_as_generated_ones_do() -> None:
    generated = commands("".join(render(Vendor.GITHUB, PIPELINE).values()))
    reusable = commands("".join((ROOT / path).read_text() for path in WORKFLOWS))
    named = {(*call, "--name") for call in generated if call[0] == "ci seal"}
    kept = {call for call in generated if call[0] != "ci seal"}
    assert {tuple(sorted(call)) for call in reusable if call[0] != "ci notify"} == {
        tuple(sorted(call)) for call in kept | named
    }


def test_the_action_is_one_by_githubs_schema() -> None:
    (document,) = documents(ACTION)
    assert errors("github-action" if _has("github-action") else "github-actions", document) == []


def _has(name: str) -> bool:
    pytest.importorskip("check_jsonschema")
    return resources.files("check_jsonschema").joinpath(f"builtin_schemas/vendor/{name}.json").is_file()


def test_the_action_puts_no_expression_into_a_shell() -> None:
    (document,) = documents(ACTION)
    assert not [step for step in document["runs"]["steps"] if "${{" in step.get("run", "")]


@pytest.mark.parametrize(
    ("command", "flags", "expected"),
    [
        ("plan", "", ["plan", "infra", "--state", "p q", "--json", "--out", "{temp}/plan.bin", "--gate"]),
        (
            "apply",
            "-parallelism=5\n\n-var=a b\n",
            [
                *("apply", "infra", "--state", "p q", "--json", "--plan", "{temp}/plan.bin"),
                *("--plan-digest", "d1", "--auto-approve"),
                *("--", "-parallelism=5", "-var=a b"),
            ],
        ),
        ("drift", "", ["drift", "infra", "--state", "p q", "--json", "--gate"]),
        ("destroy", "", None),
    ],
)
def test_the_action_calls_interlock(tmp_path: Path, command: str, flags: str, expected: list[str] | None) -> None:
    (document,) = documents(ACTION)
    step = next(step for step in document["runs"]["steps"] if step["name"] == "Run")
    fake = tmp_path / "bin/interlock"
    fake.parent.mkdir()
    fake.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    fake.chmod(0o755)
    environ = {
        "PATH": f"{fake.parent}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "COMMAND": command,
        "DIRECTORY": "infra",
        "STATE": "p q",
        "PLAN": "plan.bin",
        "FLAGS": flags,
        "PLAN_DIGEST": "d1",
    }
    result = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]], env=environ, capture_output=True, timeout=120, check=False
    )
    if expected is None:
        assert result.returncode == 3
        return
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "interlock-summary.json").read_text())
    assert summary == [word.replace("{temp}", str(tmp_path)) for word in expected]


def test_the_action_waits_in_any_case() -> None:
    (document,) = documents(ACTION)
    wait = next(step for step in document["runs"]["steps"] if step["name"] == "Let the run end")
    assert wait["if"].startswith("always()")
    assert findings({".github/actions/interlock/action.yml": ACTION.read_text()}) == []


@pytest.mark.promise("P11")
def test_the_action_applies_the_plan_that_was_sealed_and_gives_each_key_to_one_step() -> None:
    (document,) = documents(ACTION)
    steps = document["runs"]["steps"]
    keys = {step["name"]: step["env"] for step in steps if "inputs.key" in str(step.get("env"))}
    assert {name: sorted(set(env) & {"INTERLOCK_SEAL_KEY", "INTERLOCK_PLAN_KEY"}) for name, env in keys.items()} == {
        "Take the reviewed plan": ["INTERLOCK_PLAN_KEY"],
        "Seal the reviewed plan": ["INTERLOCK_SEAL_KEY"],
    }
    names = [step["name"] for step in steps]
    assert names.index("Take the reviewed plan") < names.index("Run")
    assert steps[names.index("Take the reviewed plan")]["if"] == "inputs.command == 'apply'"
    workflows = commands("".join((ROOT / path).read_text() for path in WORKFLOWS))
    own = {call for call in commands(ACTION.read_text()) if call[0].startswith("ci ")}
    assert {call[0] for call in own} == {"ci reviewed", "ci wrap", "ci seal"}
    assert own <= workflows
    pins = {step["uses"].split(" ")[0] for step in steps if "uses" in step}
    assert pins == {str(PINS["upload"]).split(" ")[0]}


def test_the_component_is_a_gitlab_pipeline_without_findings() -> None:
    header, _ = documents(COMPONENT)
    assert all(spec.get("description") for spec in header["spec"]["inputs"].values())
    body = COMPONENT.read_text().split("\n---\n")[1]
    assert set(re.findall(r"inputs\.(\w+)", body)) == set(header["spec"]["inputs"])
    assert re.findall(r"\bil(?:state|directory|environment|branch|region|home|image|key)", body) == []
    text, document = component(state="prod/routing", name="prod-routing")
    assert errors("gitlab-ci", document) == []
    assert "$[[" not in text
    assert document["apply:prod-routing"]["resource_group"] == "interlock-prod-routing"
    assert findings({".gitlab-ci.yml": text}) == []


def filled(path: str, **parameters: str) -> str:
    """Return a template of Azure's with its parameters put in."""
    text = (ROOT / path).read_text()
    (document,) = documents(ROOT / path)
    for one in document["parameters"]:
        value = str(parameters.get(one["name"], one.get("default", "")))
        text = text.replace(f"${{{{ parameters.{one['name']} }}}}", value or '""')
        text = text.replace(f"${{{{ replace(parameters.{one['name']}, '-', '_') }}}}", value.replace("-", "_"))
    return text[text.index("\nstages:\n") :]


@pytest.mark.parametrize("path", AZURE)
def test_the_azure_template_has_no_findings_where_it_is_used(path: str) -> None:
    """As text: our reader takes a template's file and its parameters as they are."""
    head = "trigger: [main]\nlockBehavior: sequential\nvariables: [{group: interlock}]\n"
    given = {
        "state": "prod",
        "name": "prod",
        "directory": ".",
        "plan_key": PIPELINE.plan_key,
        "aws_region": "eu-west-1",
    }
    files = {"azure-pipelines.yml": head + filled(path, **given)}
    (workflow,) = read_all(MemoryTree(files), ["azure-pipelines.yml"])
    verbs = {operation.verb for job in workflow.jobs for _, operation in job.operations()}
    assert {"plan", "ci seal", "ci reviewed", "apply", "drift", "wait"} <= verbs
    sources = Sources(workflows=(workflow,))
    assert [one.rule for rule in CI_RULES for one in rule.check(sources)] == []


@pytest.mark.parametrize("path", AZURE)
def test_the_azure_template_takes_every_value_from_who_uses_it(path: str) -> None:
    text = (ROOT / path).read_text()
    (document,) = documents(ROOT / path)
    assert set(re.findall(r"parameters\.(\w+)", text)) == {one["name"] for one in document["parameters"]}
    assert (
        re.findall(r"\bil(?:state|directory|environment|branch|terraform|region|aws|connection|home|key)", text) == []
    )
    jobs = [job for stage in document["stages"] for job in stage["jobs"]]
    steps = [step for job in jobs for step in job.get("steps") or job["strategy"]["runOnce"]["deploy"]["steps"]]
    assert "${{" not in "".join(step.get("bash", step.get("inputs", {}).get("inlineScript", "")) for step in steps)


@pytest.mark.parametrize("path", AZURE)
def test_the_azure_template_calls_interlock_as_generated_pipelines_do(path: str) -> None:
    aws = Aws(region="eu-west-1", plan_role="r", apply_role="w") if path.endswith("-aws.yml") else None
    generated = commands(render(Vendor.AZURE, replace(PIPELINE, aws=aws, notify=True))["interlock.azure-pipelines.yml"])
    named = {(*call, "--name") for call in generated if call[0] == "ci seal"}
    kept = {call for call in generated if call[0] != "ci seal"}
    assert {tuple(sorted(call)) for call in commands((ROOT / path).read_text())} == {
        tuple(sorted(call)) for call in kept | named
    }


def commands(text: str) -> set[tuple[str, ...]]:
    """Return the calls of Interlock in a file, each as its verb and flags: values and places differ."""
    found = set()
    lines = re.sub(r"\s*\\\n\s*|(?<=\S)\n\s+(?=-- |--)", " ", text)
    for line in (line.strip() for line in lines.splitlines() if not line.strip().startswith("#")):
        for call in re.findall(
            r"(?:^|exec |[\s(\"/])interlock ((?:ci )?(?:plan|apply|drift|wait|wrap|seal|reviewed|comment)\b[^|>]*)",
            line,
        ):
            words = call.split(" -- ")[0].split()
            verb = " ".join(words[:2]) if words[0] == "ci" else words[0]
            found.add((verb, *sorted({word for word in words if word.startswith("--")})))
    return found


def test_the_component_calls_interlock_as_generated_pipelines_do() -> None:
    """Neither can be mended alone."""
    generated = commands("".join(render(Vendor.GITLAB, PIPELINE).values()))
    shipped = commands(COMPONENT.read_text())
    assert ("plan", "--gate", "--json", "--out", "--state") in shipped
    named = {(*call, "--name") for call in generated if call[0] == "ci seal"}
    assert {tuple(sorted(call)) for call in shipped} == {
        tuple(sorted(call)) for call in (generated - {call for call in generated if call[0] == "ci seal"}) | named
    }
