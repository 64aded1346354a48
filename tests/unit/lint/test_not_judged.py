"""What a lint did not look at is listed and counted: "no findings" means something only for what was read."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from interlock.lint.engine import Request, lint
from interlock.lint.formats import render_json, render_text
from interlock.source.tree import MemoryTree

GITLAB = ".gitlab-ci.yml"
GITHUB = ".github/workflows/deploy.yml"


def unseen(files: Mapping[str, str]) -> dict[str, list[str]]:
    report = lint(MemoryTree(files), Request())
    return {one.kind: [f"{span.path}:{span.line} {name}" for name, span in one.places] for one in report.not_judged}


CASES: dict[str, tuple[Mapping[str, str], dict[str, list[str]]]] = {
    "gitlab template": (
        {GITLAB: "include:\n  - template: Terraform/Base.gitlab-ci.yml\ndeploy:\n  extends: .terraform:deploy\n"},
        {
            "extends-unread": [".gitlab-ci.yml:3 job deploy extends .terraform:deploy"],
            "remote-include": [".gitlab-ci.yml:2 Terraform/Base.gitlab-ci.yml"],
        },
    ),
    "gitlab component": (
        {GITLAB: "include:\n  - component: gitlab.com/components/opentofu/full-pipeline@~latest\n"},
        {"remote-include": [".gitlab-ci.yml:2 gitlab.com/components/opentofu/full-pipeline@~latest"]},
    ),
    "gitlab remote and project": (
        {GITLAB: "include:\n  - https://ci.example.net/tf.yml\n  - {project: cc/ci, file: /tf.yml, ref: v1}\n"},
        {"remote-include": [".gitlab-ci.yml:2 https://ci.example.net/tf.yml", ".gitlab-ci.yml:3 cc/ci /tf.yml"]},
    ),
    "github workflow of another repository": (
        {GITHUB: "on: push\njobs:\n  a:\n    uses: acme/ci/.github/workflows/tf.yml@v1\n"},
        {"remote-workflow": [".github/workflows/deploy.yml:4 acme/ci/.github/workflows/tf.yml@v1"]},
    ),
    "github action that is not there": (
        {GITHUB: "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: ./actions/tf\n"},
        {"missing-action": [".github/workflows/deploy.yml:6 ./actions/tf"]},
    ),
    "azure template of another repository": (
        {"azure-pipelines.yml": "trigger: [main]\nextends:\n  template: deploy.yml@templates\n"},
        {"remote-template": ["azure-pipelines.yml:3 deploy.yml@templates"]},
    ),
    "modules from elsewhere": (
        {"main.tf": 'module "a" {\n  source = "acme/queues/genesyscloud"\n}\nmodule "b" {\n  source = "../gone"\n}\n'},
        {"remote-module": ["main.tf:1 acme/queues/genesyscloud", "main.tf:4 ../gone"]},
    ),
    "backends that Terragrunt writes": (
        {"terragrunt.hcl": "", "live/main.tf": 'provider "genesyscloud" {}\n'},
        {"generated-backend": ["live/main.tf:1 live"]},
    ),
    "all there": (
        {GITLAB: "include: {local: /tf.yml}\n", "tf.yml": "deploy: {script: [terraform apply x]}\n"},
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_used_and_not_here_is_named_with_its_place(name: str) -> None:
    files, expected = CASES[name]
    assert unseen(files) == expected


def test_it_is_counted_for_people_and_programs() -> None:
    jobs = "".join(f"  j{number}:\n    uses: acme/ci/.github/workflows/t{number}.yml@v1\n" for number in range(7))
    report = lint(MemoryTree({GITHUB: f"on: push\njobs:\n{jobs}"}), Request())
    text = render_text(report)
    assert "not judged: 7 jobs call a workflow that is not here\n" in text
    assert "and 2 more" in text
    (entry,) = json.loads(render_json(report))["not_judged"]
    assert (entry["kind"], entry["count"], len(entry["places"])) == ("remote-workflow", 7, 7)


def test_gitlabs_own_helper_is_read_as_the_terraform_that_it_runs() -> None:
    text = (
        "plan:\n  script: [cd tf, gitlab-terraform plan, gitlab-terraform plan-json]\n"
        '  artifacts: {paths: ["tf/plan.cache"]}\n'
        "apply:\n  retry: 2\n  script: [cd tf, gitlab-terraform apply -auto-approve]\n  dependencies: [plan]\n"
    )
    rules = {item.finding.rule for item in lint(MemoryTree({GITLAB: text}), Request()).findings}
    assert rules >= {"ci-unserialized", "ci-timeout", "ci-plan-exposed", "ci-retry-no-backoff"}
    assert "ci-unreviewed-apply" not in rules  # the helper applies plan.cache, which is handed over
