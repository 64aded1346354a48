from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ci import Vendor, find, read, read_all, vendor_of
from interlock.ci.reading import root_of
from interlock.source.tree import MemoryTree, SourceUnreadable


@pytest.mark.parametrize(
    ("path", "vendor"),
    [
        (".github/workflows/a.yml", Vendor.GITHUB),
        ("x/.github/workflows/a.yaml", Vendor.GITHUB),
        (".github/actions/tf/action.yml", Vendor.GITHUB),
        (".github/dependabot.yml", None),
        (".gitlab-ci.yml", Vendor.GITLAB),
        ("ci/deploy.gitlab-ci.yml", Vendor.GITLAB),
        ("azure-pipelines.yml", Vendor.AZURE),
        ("infra.azure-pipelines.yml", Vendor.AZURE),
        (".azure-pipelines/deploy.yml", Vendor.AZURE),
        ("Jenkinsfile", Vendor.JENKINS),
        ("ci/deploy.jenkinsfile", Vendor.JENKINS),
        ("values.yml", None),
        ("azure-pipelines.txt", None),
    ],
)
def test_a_ci_file_is_known_by_its_path(path: str, vendor: Vendor | None) -> None:
    assert vendor_of(path) is vendor


@pytest.mark.parametrize(
    ("text", "vendor"),
    [
        ("name: x\non: push\njobs: {}\n", Vendor.GITHUB),
        ("name: x\nruns: {using: composite, steps: []}\n", Vendor.GITHUB),
        ("trigger: none\nsteps: []\n", Vendor.AZURE),
        ("stages: [a]\nx: {script: y}\n", Vendor.GITLAB),
        ("a: b\n", None),
    ],
)
def test_a_file_that_is_named_is_known_by_its_keys(text: str, vendor: Vendor | None) -> None:
    found = read(MemoryTree({"deploy.yml": text}), "deploy.yml")
    assert (found.vendor if found else None) is vendor


def test_find_looks_everywhere_but_in_other_peoples_folders() -> None:
    tree = MemoryTree(
        {
            ".github/workflows/a.yml": "",
            "b/.gitlab-ci.yml": "",
            "node_modules/x/.gitlab-ci.yml": "",
            "main.tf": "",
        }
    )
    assert find(tree) == (".github/workflows/a.yml", "b/.gitlab-ci.yml")
    assert find(tree, "b") == ("b/.gitlab-ci.yml",)
    assert len(read_all(tree, ["main.tf", "b/.gitlab-ci.yml", "gone.yml"])) == 1


@pytest.mark.parametrize(
    ("path", "root"),
    [
        (".github/workflows/a.yml", "."),
        ("/r/.github/workflows/a.yml", "/r"),
        ("r/s/.gitlab-ci.yml", "r/s"),
        (".gitlab/x.gitlab-ci.yml", "."),
        ("azure-pipelines.yml", "."),
    ],
)
def test_the_repository_is_above_the_vendors_folder(path: str, root: str) -> None:
    assert root_of(path) == root


def test_a_file_that_cannot_be_read_is_a_problem() -> None:
    class Closed(MemoryTree):
        def read(self, path: str) -> bytes | None:
            raise SourceUnreadable(f"{path} could not be read")

    found = read(Closed({}), ".gitlab-ci.yml")
    assert found is not None
    assert len(found.problems) == 1


_KEYS = ["on", "jobs", "a", "steps", "run", "uses", "concurrency", "group", "if", "stages", "script", "include"]
_KEYS += ["extends", "template", "parameters", "inputs", "task", "rules", "needs", "local", "env", "with", "trigger"]
_LEAVES = st.sampled_from(["x", "terraform apply", "./a.yml", "${{ github.ref }}", "a", "true", ""])
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(_TREES, st.sampled_from([".github/workflows/a.yml", ".gitlab-ci.yml", "azure-pipelines.yml"]))
def test_a_file_of_any_shape_is_read(tree: object, path: str) -> None:
    import json

    found = read(MemoryTree({path: json.dumps(tree), "a.yml": json.dumps(tree)}), path)
    assert found is not None
    for job in found.jobs:
        assert list(job.operations()) is not None


_SEED = """\
on: {push: {branches: [main]}}
concurrency: {group: "tf-${{ github.ref }}"}
jobs:
  a: &a
    uses: ./.github/workflows/a.yml
  b:
    <<: *a
    steps:
      - run: |
          for i in 1 2; do terraform apply -lock=false "$(cat x)" && break; done
      - uses: actions/upload-artifact@v4
        with: {path: tfplan}
stages:
  - stage: x
    jobs: [{deployment: d, environment: e, strategy: {runOnce: {deploy: {steps: [{bash: terraform plan}]}}}}]
include: [{local: a.yml}]
deploy: {extends: a, script: [!reference [b, script], [terraform apply]], retry: {max: 2}}
"""
_PIECES = [
    "terraform 'a b'",
    "$(",
    "`",
    "'",
    '"',
    "{",
    "}",
    "[",
    "]",
    "*a",
    "&a ",
    "|",
    "\n",
    "  ",
    ": ",
    "- ",
    "${{",
    "\\",
]
_EDITS = st.lists(
    st.tuples(st.integers(0, len(_SEED)), st.integers(0, 20), st.sampled_from(["", *_PIECES])), min_size=1, max_size=6
)


@settings(max_examples=120, deadline=None)
@given(_EDITS, st.sampled_from([".github/workflows/a.yml", ".gitlab-ci.yml", "azure-pipelines.yml", "Jenkinsfile"]))
def test_a_damaged_file_is_read_and_linted(edits: list[tuple[int, int, str]], path: str) -> None:
    from interlock.lint import Sources
    from interlock.lint.rules.ci import CI_RULES

    text = _SEED
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    sources = Sources(workflows=read_all(MemoryTree({path: text}), [path]))
    for rule in CI_RULES:
        assert all(finding.span.line >= 1 for finding in rule.check(sources))


def test_an_anchor_that_is_given_twice_is_read_without_a_python_warning() -> None:
    text = "a: &x {script: one}\nb: &x {script: two}\nc: *x\n"
    assert len(read_all(MemoryTree({".gitlab-ci.yml": text}), [".gitlab-ci.yml"])) == 1
