"""What a branch writes into a checkout decides neither where secrets go nor which programs run."""

import os
import re
import runpy
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.main import main
from interlock.errors import UsageError
from interlock.settings.authority import ADDRESSES, KEYS, Authority, check_address
from interlock.settings.reading import load
from interlock.settings.values import Settings
from interlock.trust.checkout import ask_git, checkouts, find_program, is_within

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / ".git").mkdir(parents=True)
    return folder


def refused(checkout: Path, text: str, **environ: str) -> UsageError:
    (checkout / "interlock.yaml").write_text(text)
    with pytest.raises(UsageError) as refusal:
        load(checkout, environ)
    assert refusal.value.exit_status == 3
    return refusal.value


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("home: ./state\n", "INTERLOCK_HOME"),
        ("server: https://interlock.attacker.example\n", "INTERLOCK_SERVER"),
        ("terraform: ./terraform.sh\n", "INTERLOCK_TERRAFORM"),
        ("terraform: terraform.sh\n", "INTERLOCK_TERRAFORM"),
        ("gateway:\n  enabled: false\n", "--no-gateway"),
        ("gateway:\n  upstream_login: https://login.attacker.example\n", "INTERLOCK_UPSTREAM_LOGIN"),
        ("gateway:\n  upstream_login: http://login.mypurecloud.de\n", "INTERLOCK_UPSTREAM_LOGIN"),
        ("gateway:\n  upstream_login: https://login.mypurecloud.de.attacker.example\n", "INTERLOCK_UPSTREAM_LOGIN"),
        ("gateway:\n  upstream_login: https://login.mypurecloud.de@attacker.example\n", "INTERLOCK_UPSTREAM_LOGIN"),
        ("gateway:\n  upstream_login: https://user@login.mypurecloud.de\n", "INTERLOCK_UPSTREAM_LOGIN"),
        ("gateway:\n  upstream_login: https://login.mypurecloud.de:8443\n", "INTERLOCK_UPSTREAM_LOGIN"),
        ("gateway:\n  upstream_login: https://apps.mypurecloud.de\n", "INTERLOCK_UPSTREAM_LOGIN"),
        ("gateway:\n  upstream_login: http://127.0.0.1:9\n", "INTERLOCK_UPSTREAM_LOGIN"),
        ("gateway:\n  upstream_api: https://login.mypurecloud.de\n", "INTERLOCK_UPSTREAM_API"),
        ("gateway:\n  upstream_api: 'https://api.mypurecloud.de:x'\n", "INTERLOCK_UPSTREAM_API"),
    ],
)
def test_a_branch_cannot_decide_where_secrets_go_or_what_runs(checkout: Path, text: str, instead: str) -> None:
    error = refused(checkout, text, HOME="/h")
    assert str(checkout / "interlock.yaml") in error.what
    assert instead in error.fix and "/h/.config/interlock/interlock.yaml" in error.fix  # noqa: PT018 - one sentence
    assert "attacker" not in str(error)  # a hint that repeats it would be copied


def test_a_branch_may_still_choose_among_what_is_known(checkout: Path) -> None:
    (checkout / "interlock.yaml").write_text(
        "terraform: tofu\ngateway:\n  enabled: true\n  region: eu-central-1\n"
        "  upstream_api: https://api.mypurecloud.de\n  upstream_login: https://login.mypurecloud.de\n"
    )
    settings = load(checkout, {})
    assert settings.terraform == "tofu"
    assert settings.sections["gateway"]["upstream_login"] == "https://login.mypurecloud.de"


@pytest.mark.promise("P10")
def test_a_configuration_named_by_the_environment_is_the_branchs_when_it_lies_in_the_checkout(
    checkout: Path, tmp_path: Path
) -> None:
    inside = checkout / "ci" / "interlock.yaml"
    inside.parent.mkdir()
    inside.write_text("home: /elsewhere\n")
    outside = tmp_path / "operator.yaml"
    outside.write_text("home: /elsewhere\n")
    (checkout / "link.yaml").symlink_to(outside)
    (tmp_path / "link.yaml").symlink_to(inside)
    for named in (inside, checkout / "link.yaml", tmp_path / "link.yaml"):
        with pytest.raises(UsageError, match="may not set `home`"):
            load(checkout, {"INTERLOCK_CONFIG": str(named)})
    assert load(checkout, {"INTERLOCK_CONFIG": str(outside)}).home == Path("/elsewhere")


@pytest.mark.promise("P10")
def test_a_checkout_without_git_is_known_by_what_the_ci_system_says(tmp_path: Path) -> None:
    module = tmp_path / "envs" / "prod"
    module.mkdir(parents=True)
    (tmp_path / "interlock.yaml").write_text("home: ./x\n")
    environ = {"INTERLOCK_CONFIG": str(tmp_path / "interlock.yaml"), "GITHUB_WORKSPACE": str(tmp_path)}
    with pytest.raises(UsageError, match="may not set `home`"):
        load(module, environ)


def test_the_operators_file_may_say_everything_and_overrides_the_branch(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "config" / "interlock"
    folder.mkdir(parents=True)
    (folder / "interlock.yaml").write_text(
        "home: own\nrun:\n  max_deletes: 1\ngateway:\n  upstream_login: https://login.own.example\n"
        "states:\n  prod:\n    protected: true\n"
    )
    (checkout / "interlock.yaml").write_text(
        "run:\n  max_deletes: 900\n  wait: 5m\ngateway:\n  tokens: 3\nstates:\n  prod: {}\n  test: {}\n"
    )
    settings = load(checkout, {"XDG_CONFIG_HOME": str(tmp_path / "config")})
    assert (settings.home, settings.max_deletes, settings.wait_s) == (folder / "own", 1, 300.0)
    assert settings.sections["gateway"] == {"tokens": 3, "upstream_login": "https://login.own.example"}
    assert settings.states["prod"].protected
    assert set(settings.states) == {"prod", "test"}
    assert settings.path == checkout / "interlock.yaml"
    assert settings.origins["max_deletes"] == str(folder / "interlock.yaml")


@pytest.fixture
def beside(checkout: Path, tmp_path: Path) -> Callable[[str, str], Settings]:
    """Return what holds in `prod` of a checkout with this file, beside this file of the operator."""

    def read(branchs: str, operators: str) -> Settings:
        own = tmp_path / "config" / "interlock" / "interlock.yaml"
        own.parent.mkdir(parents=True)
        own.write_text(operators)
        (checkout / "interlock.yaml").write_text(branchs)
        return load(checkout / "prod", {"XDG_CONFIG_HOME": str(tmp_path / "config")})

    return read


@pytest.mark.promise("P1")
def test_a_word_of_the_operator_about_a_state_leaves_it_the_same_state(
    checkout: Path, beside: Callable[[str, str], Settings]
) -> None:
    settings = beside(
        "states:\n  prod: {directory: prod, environment: production, max_deletes: 3}\n",
        "states:\n  prod: {protected: true}\n",
    )
    assert settings.state_for(checkout / "prod") == "prod", "else an empty state is used, and everything created again"
    prod = settings.states["prod"]
    assert (prod.protected, prod.environment, prod.max_deletes) == (True, "production", 3)


@pytest.mark.promise("P10")
def test_a_branch_gives_no_state_more_deletions_than_the_operator(beside: Callable[[str, str], Settings]) -> None:
    settings = beside(
        "states:\n  prod: {max_deletes: 900}\n  test: {max_deletes: 900}\n",
        "run:\n  max_deletes: 0\nstates:\n  test: {max_deletes: 5}\n",
    )
    assert settings.max_deletes == 0
    assert (settings.states["prod"].max_deletes, settings.states["test"].max_deletes) == (None, 5)


@pytest.mark.promise("P10")
@pytest.mark.parametrize("mode", [0o666, 0o660])
def test_an_operators_file_that_others_may_write_has_no_more_to_say_than_a_branch(
    checkout: Path, tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.trust.ownership._is_private_group", lambda _gid: False)
    named = tmp_path / "operator.yaml"
    named.write_text("home: /elsewhere\n")
    named.chmod(mode)
    with pytest.raises(UsageError, match="may not set `home`") as refusal:
        load(checkout, {"INTERLOCK_CONFIG": str(named)})
    assert f"chmod go-w {named}" in refusal.value.fix


def test_every_key_of_the_schema_has_a_class_and_the_page_shows_it() -> None:
    writer: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "write_reference.py"))
    schema = writer["json_schema"]()
    assert [key for key, _ in writer["_keys"](schema, schema, "")] == list(KEYS)
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    for key, rule in KEYS.items():
        assert f"| `{key}` | {rule.authority}" in page
        assert (rule.authority is Authority.FREE) is not bool(rule.why and rule.instead), key
    assert set(ADDRESSES) <= set(writer["ENVIRONMENT"])


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "url", ["http://login.mypurecloud.de", "login.mypurecloud.de", "ftp://x", "https://", "http://[", ""]
)
def test_no_secret_goes_over_plain_http_beyond_this_machine(url: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_address(url, said_by="INTERLOCK_UPSTREAM_LOGIN")
    assert refusal.value.exit_status == 3


def test_plain_http_to_this_machine_is_allowed() -> None:
    for url in ("http://127.0.0.1:8080", "http://[::1]:1", "http://localhost", "https://any.example:8443/x"):
        assert check_address(url, said_by="x") == url


@pytest.mark.promise("P10")
def test_a_server_named_by_the_environment_is_not_spoken_to_in_clear(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="INTERLOCK_SERVER"):
        load(tmp_path, {"INTERLOCK_SERVER": "http://interlock.example.com"})


def program(path: Path, mark: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ntouch {mark}\n")
    path.chmod(0o755)
    return path


@pytest.mark.promise("P10")
@pytest.mark.parametrize("entry", [".", "", "bin", "./bin"])
def test_a_program_of_the_current_folder_is_not_found_by_its_name(
    checkout: Path, tmp_path: Path, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(checkout / entry / "git", tmp_path / "ran")
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("PATH", f"{entry}{os.pathsep}{os.environ['PATH']}")
    assert find_program("git", {"PATH": entry}) is None
    ask_git(checkout, "rev-parse")
    assert not (tmp_path / "ran").exists()


@pytest.mark.promise("P10")
def test_git_does_not_run_what_the_repository_configures(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path / "r"], check=True)
    bad = program(tmp_path / "bad.sh", tmp_path / "ran")
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "alias.rev-parse"):
        subprocess.run(["git", "-C", tmp_path / "r", "config", key, str(bad)], check=True)
    assert ask_git(tmp_path / "r", "status", "--porcelain") == ""
    assert ask_git(tmp_path / "r", "rev-parse", "--show-toplevel") == str(tmp_path / "r")
    assert not (tmp_path / "ran").exists()


def partial_clone(config: Path, folder: Path, bad: Path) -> None:
    """Write a git configuration that lacks the commit of HEAD and has a program to fetch it with."""
    remote = f'url = "{folder}"\n promisor = true\n uploadpack = "{bad}"\n'
    is_bare = str(config.parent == folder).lower()
    core = f'[core]\n repositoryformatversion = 1\n bare = {is_bare}\n sshCommand = "{bad}"\n'
    config.write_text(f'{core}[extensions]\n partialClone = origin\n[remote "origin"]\n {remote}')
    (config.parent / "HEAD").write_text("12" * 20 + "\n")


@pytest.mark.promise("P10")
@pytest.mark.parametrize("kind", ["a folder built like a bare repository", "a repository from an archive"])
def test_a_module_that_git_takes_for_a_partial_clone_runs_nothing_and_is_no_other_repository(
    tmp_path: Path, kind: str
) -> None:
    outer = tmp_path / "outer"
    subprocess.run(["git", "init", "--quiet", outer], check=True)
    bad = program(tmp_path / "bad.sh", tmp_path / "ran")
    module = outer / "module"
    for name in ("objects", "refs"):
        (module / name).mkdir(parents=True)
    partial_clone(module / "config" if "bare" in kind else outer / ".git" / "config", module, bad)
    asked = module if "bare" in kind else outer
    assert ask_git(asked, "rev-list", "--max-parents=0", "HEAD") == ""
    if "bare" in kind:
        assert ask_git(asked, "config", "--get", "remote.origin.url") == "", (
            "a change must not choose whose state it is"
        )
    assert not (tmp_path / "ran").exists()


@pytest.mark.promise("P10")
def test_git_is_started_in_one_place_where_it_runs_nothing_of_a_repository() -> None:
    starts = re.compile(r"""\[\s*["']git["']""")
    sources = {path: path.read_text() for path in (ROOT / "src").rglob("*.py")}
    assert [str(path) for path, text in sources.items() if starts.search(text)] == []


def git(*words: str | Path) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *who, *words], check=True, capture_output=True)


@pytest.mark.promise("P10")
def test_a_submodule_makes_no_operator_of_whoever_writes_the_repository_around_it(tmp_path: Path) -> None:
    for name in ("outer", "inner"):
        git("init", "--quiet", tmp_path / name)
        git("-C", tmp_path / name, "commit", "--quiet", "--allow-empty", "--message", "x")
    git("-C", tmp_path / "outer", "submodule", "add", tmp_path / "inner", "module")
    git("-C", tmp_path / "outer", "commit", "--quiet", "--all", "--message", "x")
    git("-C", tmp_path / "outer", "worktree", "add", tmp_path / "tree")
    git("-C", tmp_path / "tree", "submodule", "update", "--init")
    for outer in (tmp_path / "outer", tmp_path / "tree"):
        (outer / "interlock.yaml").write_text("home: /elsewhere\n")
        assert outer in checkouts(outer / "module", {})
        with pytest.raises(UsageError, match="may not set `home`"):
            load(outer / "module", {"INTERLOCK_CONFIG": str(outer / "interlock.yaml")})


def test_a_repository_below_another_of_its_owner_leaves_the_operators_file_alone(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "work" / "infra"):  # people keep their dotfiles in a repository
        git("init", "--quiet", folder)
    own = tmp_path / ".config" / "interlock" / "interlock.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(f"home: {tmp_path / 'home'}\n")
    settings = load(tmp_path / "work" / "infra", {"HOME": str(tmp_path)})
    assert settings.home == tmp_path / "home"


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    "kept",
    [
        "[default]\naws_secret_access_key = hunter2\n",
        "hunter2: *hunter2\n",
        "a: 1\nhunter2: x: y\n",
        "a: hunter2\na: 'hunter2 \"hunter2\" it''s hunter2'\n",
        "a: !!hunter2 b\n",
        "a: &hunter2 1\n b\n",
        "a: '\\hunter2\n",
        'a: "\\hunter2"\n',
        "a: @hunter2\n",
        "hunter2\n",
        "- hunter2\n",
        "version: hunter2\n",
        "states: hunter2\n",
        "terraform: hunter2\n",
        "gateway:\n  upstream_api: hunter2\n",
    ],
)
def test_a_link_in_the_place_of_our_settings_shows_nothing_of_the_file_behind_it(
    checkout: Path, tmp_path: Path, kept: str
) -> None:
    (tmp_path / "credentials").write_text(kept)
    (checkout / "interlock.yaml").symlink_to(tmp_path / "credentials")
    with pytest.raises(UsageError) as refusal:
        load(checkout, {})
    assert "hunter2" not in f"{refusal.value.what} {refusal.value.why} {refusal.value.fix}"
    assert "hunter2" not in "".join(traceback.format_exception(refusal.value))


@pytest.mark.promise("P10")
def test_a_link_in_the_place_of_a_pipeline_or_a_configuration_shows_no_line_of_the_file_behind_it(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "credentials").write_text("[default]\naws_secret_access_key = hunter2 hunter3\n")
    (checkout / "main.tf").write_text('resource "terraform_data" "a" {}\nresource {\n')
    (checkout / ".github" / "workflows").mkdir(parents=True)
    for name in (".gitlab-ci.yml", "azure-pipelines.yml", ".github/workflows/a.yml", "b.tf", "terraform.tfvars"):
        (checkout / name).symlink_to(tmp_path / "credentials")
    monkeypatch.chdir(checkout)
    with pytest.raises(SystemExit):
        main(["lint"])
    told = "".join(capfd.readouterr())
    assert "terraform.tfvars:" in told
    assert "| resource {" in told, "a line of the checkout's own is shown"
    assert "hunter" not in told


def test_a_link_in_a_checkout_is_of_the_checkout_wherever_it_leads(checkout: Path, tmp_path: Path) -> None:
    tops = checkouts(checkout, {})
    (checkout / "away").symlink_to("/usr/bin/env")
    (tmp_path / "into").symlink_to(checkout / "x")
    assert is_within(checkout / "away", tops)
    assert is_within(tmp_path / "into", tops)
    assert not is_within(Path("/usr/bin/env"), tops)
