"""`interlock ci` as people and pipelines call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import main

CONFIGURATION = """\
version: 1
states:
  prod/routing: {directory: infra, environment: production}
  listed-only: {}
pipeline:
  genesys_region: eu-central-1
"""
TREE = "a" * 40
KEY = "k" * 44

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in a fresh repository and gives its exit status."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "interlock.yaml").write_text(CONFIGURATION)
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "INTERLOCK_CONFIG", "INTERLOCK_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INTERLOCK_HOME", str(tmp_path / "home"))

    def run_it(*arguments: str) -> int:
        try:
            main(["ci", *arguments])
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return run_it


def test_generate_writes_and_writes_the_same_again(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("generate", "github") == 0
    names = sorted(path.name for path in (tmp_path / ".github/workflows").iterdir())
    assert names == ["interlock-apply.yml", "interlock-drift.yml", "interlock-plan.yml"]
    assert "DIRECTORY: infra" in (tmp_path / ".github/workflows/interlock-plan.yml").read_text()
    capsys.readouterr()
    assert run("generate", "github") == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"same"}


def test_generate_does_not_touch_what_somebody_else_wrote(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "interlock.azure-pipelines.yml"
    target.write_text("trigger: none\n")
    assert run("generate", "azure") == 3
    assert target.read_text() == "trigger: none\n"
    assert "--force" in capsys.readouterr().err
    assert run("generate", "azure", "--force") == 0
    assert target.read_text().startswith("# Written by")


def test_a_root_file_of_gitlab_is_left_alone(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text("stages: [build]\n")
    assert run("generate", "gitlab") == 0
    assert (tmp_path / ".gitlab-ci.yml").read_text() == "stages: [build]\n"
    assert (tmp_path / ".gitlab/interlock.gitlab-ci.yml").exists()
    assert "include the generated file" in capsys.readouterr().err


def test_a_dry_run_writes_nothing_and_json_is_one_document(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("generate", "gitlab", "--dry-run", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["written"] is False
    assert [file["action"] for file in document["files"]] == ["create", "create"]
    assert not (tmp_path / ".gitlab-ci.yml").exists()


def test_output_names_another_repository(run: Run, tmp_path: Path) -> None:
    assert run("generate", "azure", "--output", str(tmp_path / "there")) == 0
    assert (tmp_path / "there/interlock.azure-pipelines.yml").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 1\n", "no state to deploy"),
        (CONFIGURATION + "  brunch: x\n", "unknown key pipeline.brunch"),
        (CONFIGURATION.replace("infra", "../elsewhere"), "cannot go into a pipeline"),
    ],
)
def test_a_configuration_that_cannot_be_deployed_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (tmp_path / "interlock.yaml").write_text(text)
    assert run("generate", "github") == 3
    assert words in capsys.readouterr().err


def test_check_without_a_token_says_which_variable(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--platform", "github") == 3
    assert "GITHUB_TOKEN" in capsys.readouterr().err


def test_check_reports_each_setting_and_fails_when_one_is_wrong(
    run: Run, fake_api: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"CI_API_V4_URL": fake_api.url, "CI_PROJECT_ID": "7", "INTERLOCK_CI_TOKEN": "x"}.items():
        monkeypatch.setenv(name, value)
    group = "/projects/7/resource_groups/interlock-prod-routing"
    fake_api.on("GET", group, {"process_mode": "unordered"})
    fake_api.on("GET", "/projects/7/protected_environments/production", {"name": "production"})
    fake_api.on("GET", "/projects/7/pipeline_schedules", [{"active": True}])
    assert run("check", "--platform", "gitlab", "--json") == 1
    found = json.loads(capsys.readouterr().out)["checks"]
    assert [one["answer"] for one in found] == ["wrong", "good", "good"]
    fake_api.on("PUT", group, {"process_mode": "oldest_first"})
    assert run("check", "--platform", "gitlab", "--repair") == 0


def test_a_sealed_plan_travels_and_opens_for_the_same_tree_only(
    run: Run, tmp_path: Path, fake_api: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "GITLAB_CI": "true",
        "CI_API_V4_URL": fake_api.url,
        "CI_PROJECT_ID": "7",
        "CI_JOB_TOKEN": "job",
        "INTERLOCK_PLAN_KEY": KEY,
    }.items():
        monkeypatch.setenv(name, value)
    path = f"/projects/7/packages/generic/interlock-plans/interlock-plan-prod-{TREE}/plan.sealed"
    fake_api.on("PUT", path, {}, status=201)
    (tmp_path / "plan.bin").write_bytes(b"the plan")
    assert run("seal", "plan.bin", "--state", "prod", "--tree", TREE, "--publish") == 0
    sealed = (tmp_path / "plan.bin.sealed").read_bytes()
    assert (tmp_path / "plan.bin.sealed").stat().st_mode & 0o077 == 0
    assert fake_api.sent("PUT")[0].body == sealed
    fake_api.on("GET", path, sealed)
    assert run("reviewed", "--state", "prod", "--out", "got.bin", "--tree", TREE) == 0
    assert (tmp_path / "got.bin").read_bytes() == b"the plan"
    capsys.readouterr()
    assert run("reviewed", "--state", "prod", "--out", "other.bin", "--tree", "b" * 40) == 41
    assert "no reviewed plan" in capsys.readouterr().err
    assert not (tmp_path / "other.bin").exists()


def test_sealing_outside_a_checkout_or_without_a_key_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.bin").write_bytes(b"x")
    assert run("seal", "plan.bin", "--state", "prod") == 3
    assert run("seal", "plan.bin", "--state", "prod", "--tree", TREE) == 3
    assert run("seal", "gone.bin", "--state", "prod", "--tree", TREE) == 3


def test_seal_hands_the_artifacts_name_to_later_steps(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_PLAN_KEY", KEY)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "out"))
    (tmp_path / "plan.bin").write_bytes(b"x")
    assert run("seal", "plan.bin", "--state", "prod", "--tree", TREE) == 0
    assert (tmp_path / "out").read_text() == f"name=interlock-plan-prod-{TREE}\n"


def test_login_trades_the_jobs_identity_for_a_token(
    run: Run, tmp_path: Path, fake_api: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_ENV": str(tmp_path / "env"),
        "INTERLOCK_SERVER": fake_api.url,
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{fake_api.url}/oidc?v=2",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "r",
    }.items():
        monkeypatch.setenv(name, value)
    fake_api.on("GET", "/oidc", {"value": "jwt"})
    assert run("login") == 3  # a server without that endpoint
    fake_api.on("POST", "/api/v1/login/oidc", {"token": "il_x"})
    assert run("login") == 0
    assert (tmp_path / "env").read_text() == "INTERLOCK_TOKEN=il_x\n"
    assert "::add-mask::il_x" in capsys.readouterr().out
    assert fake_api.sent("POST")[-1].json() == {"token": "jwt"}


def test_notify_tells_the_webhook_and_keeps_its_address_secret(
    run: Run, fake_api: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERLOCK_NOTIFY_URL", f"{fake_api.url}/hook/SECRET")
    assert run("notify", "--state", "prod") == 30
    assert "SECRET" not in capsys.readouterr().err
    fake_api.on("POST", "/hook/SECRET", b"ok")
    assert run("notify", "--state", "prod") == 0
    assert "a run of prod failed" in str(fake_api.sent("POST")[-1].json()["text"])
    monkeypatch.setenv("INTERLOCK_NOTIFY_URL", "http://example.com/x")
    assert run("notify", "--state", "prod") == 3


def test_comment_shows_a_plan_that_failed(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = {"run": "r1", "error": {"what": "the lock is held", "next": "interlock queue ls"}}
    (tmp_path / "plan.json").write_text(json.dumps(document))
    assert run("comment", "plan.json", "--state", "prod", "--dry-run") == 0
    assert "the lock is held" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_comment_refuses_what_is_no_run(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    assert run("comment", "plan.json", "--state", "prod", "--dry-run") == 3


def test_comment_goes_to_the_jobs_page(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    (tmp_path / "plan.json").write_text('{"counts": {"add": 2}}')
    assert run("comment", "plan.json", "--state", "prod", "--to-summary") == 0
    assert "**2 to add" in (tmp_path / "page.md").read_text()
