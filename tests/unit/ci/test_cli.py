"""`interlock ci` as people and pipelines call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from interlock.ci.seal import make_keys, seal, unseal
from interlock.cli.main import main

CONFIGURATION = """\
version: 1
states:
  prod/routing: {directory: infra, environment: production}
  listed-only: {}
pipeline:
  package_sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  plan_key: ilwrap_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  image: hashicorp/terraform:1.11.4@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  genesys_region: eu-central-1
  runner: own-linux
  pool: own
  home: /var/lib/interlock
"""
TREE = "a" * 40
KEYS = make_keys(b"s" * 64)

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


def test_generate_and_check_name_an_older_workflow_that_applies_the_same_root(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / ".github/workflows/deploy.yml"
    old.parent.mkdir(parents=True)
    old.write_text(
        "on: {push: {branches: [main]}}\njobs:\n  deploy:\n    runs-on: x\n    steps:\n"
        "      - run: terraform -chdir=infra apply plan.bin\n"
    )
    said = "job deploy runs terraform apply in infra, which the generated pipeline applies too"
    assert run("generate", "github") == 0
    assert f".github/workflows/deploy.yml:6: {said}" in capsys.readouterr().err
    monkeypatch.setattr("interlock.ci.platforms.github.GitHub.checks", lambda *_: iter(()))
    monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    assert run("check", "--platform", "github", "--json") == 1
    (found,) = json.loads(capsys.readouterr().out)["checks"]
    assert (found["subject"], found["answer"], found["message"]) == (
        "workflow .github/workflows/deploy.yml",
        "wrong",
        said,
    )
    old.unlink()
    assert run("check", "--platform", "github") == 0


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
    assert [file["action"] for file in document["files"]] == ["create", "create", "create"]
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


@pytest.mark.parametrize(
    ("line", "like"),
    [
        ("terraform: '1.11'", "1.11.4"),
        ("image: x", "@sha256:"),
        ("home: var", "/var/lib/interlock"),
        ("drift: x", "17 4"),
    ],
)
def test_a_value_of_another_form_is_refused_with_an_example(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, like: str
) -> None:
    kept = [
        each for each in CONFIGURATION.splitlines() if not each.strip().startswith(line.split(":", maxsplit=1)[0] + ":")
    ]
    (tmp_path / "interlock.yaml").write_text("\n".join([*kept, f"  {line}", ""]))
    assert run("generate", "jenkins", "--dry-run") == 3
    assert like in capsys.readouterr().err.split("next", 1)[1]


def test_a_directory_that_is_not_here_is_named(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is known of what it needs, and its jobs would fail one by one."""
    assert run("generate", "github", "--dry-run") == 0
    assert f"state prod/routing: its directory {tmp_path / 'infra'} is not here" in capsys.readouterr().err
    (tmp_path / "infra").mkdir()
    assert run("generate", "github", "--dry-run") == 0
    assert "is not here" not in capsys.readouterr().err


def test_without_a_file_of_settings_that_is_what_is_said(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "interlock.yaml").unlink()
    for command in (["generate", "github"], ["roots"], ["check"]):
        assert run(*command) == 3
        assert "there is no interlock.yaml here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "next_step"),
    [
        (["check"], "interlock ci check --platform github"),
        (["seal", "--state", "x", "--out", "y"], "run it in a job of the pipeline"),
        (["roots", "--pushed"], "run it in a job of the pipeline"),
        (["comment", "--state", "a b"], "interlock ci comment plan.json --state 'a b'"),
        (["comment", "nowhere", "--state", "x", "--kept"], "--artifact NAME"),
        (["wrap", "no where"], "interlock plan --out 'no where'"),
    ],
)
def test_the_next_step_is_one_that_this_command_knows(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], next_step: str
) -> None:
    """`--platform` was named by commands that have no such option, and a sealed plan where a report was missing."""
    for name in ("JENKINS_URL", "BUILD_TAG"):
        monkeypatch.delenv(name, raising=False)
    assert run(*words) == 3
    told = capsys.readouterr().err
    assert next_step in told.split("next", 1)[1]
    assert "sealed plan" not in told


def test_a_consent_for_a_state_that_is_not_in_interlock_yaml_is_told_so(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    consent = ("allow-deletions", "t.a", "--lineage", "l", "--serial", "3", "--state")
    assert run(*consent, "prod/routng") == 0
    assert "interlock.yaml has no state prod/routng, only prod/routing, listed-only" in capsys.readouterr().err
    assert run(*consent, "prod/routing") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("serial", ["-1", "1.5", "x", str(2**64)])
def test_a_serial_is_a_whole_number_that_terraform_could_write(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], serial: str
) -> None:
    assert run("allow-deletions", "t.a", "--lineage", "l", "--state", "prod/routing", "--serial", serial) == 3
    told = capsys.readouterr().err
    assert "a whole number" in told or "is not in the range" in told
    assert not (tmp_path / "interlock.deletions.json").exists()


S3 = 'terraform {\n  backend "s3" {\n    bucket = "b"\n    key = "k"\n    region = "eu-central-1"\n  }\n}\n'
LOCAL = 'terraform {\n  backend "local" {\n    path = "x.tfstate"\n  }\n}\n'
NO_HOME = CONFIGURATION.replace("  home: /var/lib/interlock\n", "")


@pytest.mark.promise("P11")
@pytest.mark.parametrize("platform", ["github", "gitlab", "azure"])
@pytest.mark.parametrize("backend", ["", LOCAL], ids=["own", "local"])
def test_a_state_that_would_be_empty_in_every_job_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], platform: str, backend: str
) -> None:
    """The second job created everything again, and was green."""
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/main.tf").write_text(backend)
    (tmp_path / "interlock.yaml").write_text(NO_HOME)
    assert run("generate", platform) == 3
    shown = capsys.readouterr()
    assert "state prod/routing would be empty in every job" in shown.err
    assert "pipeline.home" in shown.err
    assert list(tmp_path.glob(".git*/*")) == []


@pytest.mark.parametrize(("platform", "line"), [("github", "  runner: own-linux\n"), ("azure", "  pool: own\n")])
def test_a_home_on_a_machine_that_is_made_anew_for_each_job_is_no_home(
    run: Run, tmp_path: Path, platform: str, line: str
) -> None:
    (tmp_path / "interlock.yaml").write_text(CONFIGURATION.replace(line, ""))
    assert run("generate", platform) == 3


@pytest.mark.parametrize("platform", ["github", "gitlab", "azure"])
def test_a_lasting_home_is_written_into_the_jobs(run: Run, tmp_path: Path, platform: str) -> None:
    assert run("generate", platform) == 0
    texts = "".join(path.read_text() for path in tmp_path.rglob("*.y*ml") if path.name != "interlock.yaml")
    assert 'INTERLOCK_HOME: "/var/lib/interlock"' in texts


@pytest.mark.parametrize("platform", ["github", "gitlab", "azure"])
def test_a_state_in_s3_needs_no_home_and_brings_what_reaches_it(run: Run, tmp_path: Path, platform: str) -> None:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/main.tf").write_text(S3)
    (tmp_path / "interlock.yaml").write_text(NO_HOME)
    assert run("generate", platform) == 0
    assert "\ninterlock[aws]==" in (tmp_path / "interlock.requirements.txt").read_text()


@pytest.mark.parametrize("platform", ["github", "gitlab", "azure"])
def test_a_state_on_which_no_run_can_work_gets_no_pipeline(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], platform: str
) -> None:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/main.tf").write_text('terraform {\n  backend "oss" {\n    bucket = "b"\n  }\n}\n')
    assert run("generate", platform) == 3
    assert "oss" in capsys.readouterr().err


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
    fake_api.on("GET", "/projects/7/pipeline_schedules", [{"id": 1, "active": True, "ref": "main"}])
    drift = {"key": "INTERLOCK_DRIFT", "value": "1"}
    fake_api.on("GET", "/projects/7/pipeline_schedules/1", {"variables": [drift]})
    assert run("check", "--platform", "gitlab", "--json") == 1
    found = json.loads(capsys.readouterr().out)["checks"]
    assert [one["answer"] for one in found] == ["wrong", "good", "good"]
    fake_api.on("PUT", group, {"process_mode": "oldest_first"})
    assert run("check", "--platform", "gitlab", "--repair") == 0


@pytest.fixture
def planned(run: Run, tmp_path: Path, fake_api: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A merge request whose plan was made before it was approved, and the environment of a job on the branch."""
    for name, value in {
        "GITLAB_CI": "true",
        "CI_API_V4_URL": fake_api.url,
        "CI_PROJECT_ID": "7",
        "INTERLOCK_CI_TOKEN": "x",
        "CI_COMMIT_SHA": "c" * 40,
        "CI_PIPELINE_ID": "90",
        "CI_PIPELINE_SOURCE": "push",
        "INTERLOCK_WRAP_KEY": KEYS.wrap,
        "INTERLOCK_SEAL_KEY": KEYS.seal,
        "INTERLOCK_PLAN_KEY": KEYS.plan,
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "plan.bin").write_bytes(b"the plan")
    assert run("wrap", "plan.bin") == 0
    wrapped = (tmp_path / "plan.bin.wrapped").read_bytes()
    merge = {"iid": 3, "state": "merged", "target_branch": "main", "merge_commit_sha": "c" * 40, "sha": "d" * 40}
    merge |= {"source_project_id": 7, "target_project_id": 7, "merged_at": "2026-11-30T12:00:00Z"}
    fake_api.on("GET", f"/projects/7/repository/commits/{'c' * 40}/merge_requests", [merge])
    fake_api.on("GET", "/projects/7/repository/tree", [{"mode": "100644", "name": "main.tf", "id": "e" * 40}])
    fake_api.on("GET", "/projects/7/merge_requests/3/pipelines", [{"id": 50, "sha": "d" * 40}])
    job = {"id": 501, "name": "plan:prod", "status": "success", "finished_at": "2026-11-30T11:00:00Z"}
    fake_api.on("GET", "/projects/7/pipelines/50/jobs", [job])
    fake_api.on("GET", "/projects/7/jobs/501/artifacts/plan.bin.wrapped", wrapped)
    return fake_api


@pytest.mark.parametrize("as_link", [False, True])
def test_a_dotenv_report_of_the_checkout_sets_no_variable_of_the_apply_job(
    as_link: bool, run: Run, tmp_path: Path, planned: Any
) -> None:
    """What the seal job handed out was added to the file of that name: `BASH_ENV`, `TF_CLI_ARGS_apply`, anything."""
    own = tmp_path / ("other.env" if as_link else "interlock.env")
    own.write_text("BASH_ENV=./evil.sh\nPLAN_DIGEST=0000\n")
    if as_link:
        (tmp_path / "interlock.env").symlink_to(own)
    assert run("seal", "--state", "prod", "--out", "plan.sealed") == 0
    handed = (tmp_path / "interlock.env").read_text()
    assert [line.partition("=")[0] for line in handed.splitlines()] == ["PLAN_DIGEST", "PLAN_RUN"]
    assert "0000\n" not in handed
    if as_link:
        assert own.read_text().startswith("BASH_ENV")


@pytest.mark.parametrize(
    ("environ", "ours"),
    [
        ({"GITHUB_RUN_ID": "1", "GITHUB_SERVER_URL": "https://gh.example", "GITHUB_REPOSITORY": "o/r"},
         "https://gh.example/o/r/actions/runs/9"),
        ({"GITLAB_CI": "true", "CI_JOB_URL": "https://gl.example/g/p/-/jobs/1"}, "https://gl.example/g/p/-/jobs/9"),
        ({"BUILD_BUILDID": "1", "SYSTEM_COLLECTIONURI": "https://az.example/o/", "SYSTEM_TEAMPROJECT": "p"},
         "https://az.example/o/p/_build/results?buildId=9"),
        ({}, None),
    ],
)  # fmt: skip
def test_a_kept_report_chooses_no_link_beyond_its_own_project(
    environ: dict[str, str], ours: str | None, run: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    wanted = {"https://evil.example/o/r/actions/runs/9": False}
    if ours is not None:
        wanted |= {ours: True, ours.replace(".example/", ".example.evil/"): False}
    for job, shown in wanted.items():
        (tmp_path / "report.json").write_text(json.dumps({"state": "other", "job": job}))
        assert run("comment", "report.json", "--kept", "--state", "prod", "--dry-run") == 0
        assert (f"[job](<{job}>)" in capsys.readouterr().out) is shown


def test_the_reviewed_plan_is_sealed_for_this_pipeline_and_opens_in_it_alone(
    run: Run, tmp_path: Path, planned: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("seal", "--state", "prod", "--out", "plan.sealed") == 0
    handed = dict(line.split("=") for line in (tmp_path / "interlock.env").read_text().splitlines())
    _, binding = unseal((tmp_path / "plan.sealed").read_bytes(), KEYS.plan)
    assert handed == {"PLAN_DIGEST": binding.digest, "PLAN_RUN": "50"}
    assert (binding.attempt, binding.commit, binding.pipeline) == ("501", "d" * 40, "90")
    told = ("--state", "prod", "--out", "got.bin", "--run", "50", "--plan-digest", binding.digest)
    assert run("reviewed", "plan.sealed", *told, "--tree", binding.tree) == 0
    assert (tmp_path / "got.bin").read_bytes() == b"the plan"
    assert (tmp_path / "got.bin").stat().st_mode & 0o077 == 0
    (tmp_path / "got.bin").unlink()
    capsys.readouterr()
    assert run("reviewed", "plan.sealed", *told, "--tree", TREE) == 41
    assert "not the plan that was reviewed" in capsys.readouterr().err
    monkeypatch.setenv("CI_PIPELINE_ID", "91")  # an old sealed plan, kept for another day
    assert run("reviewed", "plan.sealed", *told, "--tree", binding.tree) == 41
    assert not (tmp_path / "got.bin").exists()


def test_a_plan_that_was_made_again_after_the_approval_is_not_applied(
    run: Run, planned: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    late = {"id": 502, "name": "plan:prod", "status": "success", "finished_at": "2026-11-30T11:40:00Z"}
    planned.on("GET", "/projects/7/pipelines/50/jobs", [late])
    approved = [{"approved_at": "2026-11-30T11:30:00Z"}]
    planned.on("GET", "/projects/7/merge_requests/3/approvals", {"approved_by": approved})
    assert run("seal", "--state", "prod", "--out", "plan.sealed") == 41
    assert "after the approval" in capsys.readouterr().err


def test_a_commit_that_came_without_a_merge_request_is_not_applied(run: Run, planned: Any) -> None:
    planned.on("GET", f"/projects/7/repository/commits/{'c' * 40}/merge_requests", [])
    assert run("seal", "--state", "prod", "--out", "plan.sealed") == 41


def test_a_plan_that_somebody_else_sealed_is_refused(run: Run, tmp_path: Path, planned: Any) -> None:
    assert run("seal", "--state", "prod", "--out", "plan.sealed") == 0
    content = (tmp_path / "plan.sealed").read_bytes()
    plan, binding = unseal(content, KEYS.plan)
    wrapped = (tmp_path / "plan.bin.wrapped").read_bytes()
    (tmp_path / "plan.sealed").write_bytes(seal(wrapped, binding, make_keys(b"f" * 64).seal))
    told = ("--state", "prod", "--out", "got.bin", "--run", "50", "--plan-digest", binding.digest)
    assert run("reviewed", "plan.sealed", *told, "--tree", binding.tree) == 41
    assert plan == b"the plan"


def test_wrapping_and_sealing_without_a_key_and_outside_a_pipeline_are_refused(
    run: Run, tmp_path: Path, planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("wrap", "gone.bin") == 3
    for name in ("INTERLOCK_WRAP_KEY", "INTERLOCK_SEAL_KEY"):
        monkeypatch.setenv(name, "")
    assert run("wrap", "plan.bin") == 3
    assert run("seal", "--state", "prod", "--out", "plan.sealed") == 3
    monkeypatch.setenv("CI_PIPELINE_ID", "")
    assert run("seal", "--state", "prod", "--out", "plan.sealed") == 3
    assert not (tmp_path / "plan.sealed").exists()


def test_keys_are_made_anew_and_each_says_where_it_belongs(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("keys", "--json") == 0
    one = json.loads(capsys.readouterr().out)
    assert run("keys", "--json") == 0
    assert set(one) == {"INTERLOCK_SEAL_KEY", "INTERLOCK_PLAN_KEY", "pipeline.plan_key"}
    assert not set(one.values()) & set(json.loads(capsys.readouterr().out).values())
    assert run("keys") == 0
    assert "seal jobs alone" in capsys.readouterr().out


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
    login = ("login", "--state", "prod/routing", "--role", "runner")
    assert run(*login) == 3  # a server without that endpoint
    token = f"ilk_{'a' * 12}_{'b' * 43}"
    answer = {"access_token": token, "expires_in": 900, "scope": "runner", "state": "prod/routing"}
    fake_api.on("POST", "/api/v1/tokens/exchange", answer)
    assert run(*login) == 0
    assert (tmp_path / "env").read_text() == f"INTERLOCK_TOKEN={token}\n"
    said = capsys.readouterr()
    assert f"::add-mask::{token}" in said.out
    assert token not in said.err + said.out.replace(f"::add-mask::{token}", "")
    form = dict(parse_qsl(fake_api.sent("POST")[-1].body.decode()))
    assert (form["subject_token"], form["state"], form["scope"]) == ("jwt", "prod/routing", "runner")
    asked = [request for request in fake_api.seen if request.path == "/oidc"][-1]
    assert asked.query["audience"] == fake_api.url, "a token for another server is worth nothing to this one"


def test_login_writes_the_token_for_the_job_alone_and_tells_why_a_server_refuses(
    run: Run, tmp_path: Path, fake_api: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"GITLAB_CI": "true", "INTERLOCK_ID_TOKEN": "jwt", "INTERLOCK_SERVER": fake_api.url}.items():
        monkeypatch.setenv(name, value)
    login = ("login", "--state", "prod", "--out", "token")
    problem = {
        "type": "x",
        "title": "this job gets no token for prod",
        "status": 403,
        "detail": "rule r wants ref main",
    }
    fake_api.on("POST", "/api/v1/tokens/exchange", {**problem, "kind": "Forbidden", "exit_status": 32}, 403)
    assert run(*login) == 32
    assert "rule r wants ref main" in capsys.readouterr().err
    wrong: tuple[object, ...] = ({"access_token": "x y"}, {"access_token": "x"}, [], b"{", b"")
    for each in wrong:
        fake_api.on("POST", "/api/v1/tokens/exchange", each)
        assert run(*login) == 30
    token = f"ilk_{'a' * 12}_{'b' * 43}"
    answer = {"access_token": token, "expires_in": 900, "scope": "planner", "state": "prod"}
    fake_api.on("POST", "/api/v1/tokens/exchange", answer)
    assert run(*login) == 0
    kept = Path("token")
    assert kept.read_text() == f"{token}\n"
    assert kept.stat().st_mode & 0o077 == 0
    said = capsys.readouterr()
    assert token not in said.out + said.err
    assert run("login", "--state", "prod") == 3, "no later step would find it"
    assert "--print" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    "environ",
    [
        {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t"},
        {"GITLAB_CI": "true", "CI_PROJECT_ID": "1", "INTERLOCK_CI_TOKEN": "t"},
        {
            "TF_BUILD": "True",
            "SYSTEM_COLLECTIONURI": "https://dev.azure.com/o/",
            "SYSTEM_TEAMPROJECT": "p",
            "SYSTEM_ACCESSTOKEN": "t",
            "SYSTEM_PULLREQUEST_PULLREQUESTID": "7",
            "BUILD_REPOSITORY_ID": "o/r",
            "BUILD_REPOSITORY_PROVIDER": "GitHub",
        },
    ],
    ids=["github by hand", "gitlab by hand", "azure with a repository on github"],
)
def test_outside_a_change_the_report_goes_to_the_jobs_page(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "plan.json").write_text('{"counts": {"add": 2}}')
    assert run("comment", "plan.json", "--state", "prod") == 0
    shown = capsys.readouterr()
    assert "**2 to add" in shown.out
    assert "the report is on the job's page" in shown.err


def test_comment_goes_to_the_jobs_page(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    (tmp_path / "plan.json").write_text('{"counts": {"add": 2}}')
    assert run("comment", "plan.json", "--state", "prod", "--to-summary") == 0
    assert "**2 to add" in (tmp_path / "page.md").read_text()
