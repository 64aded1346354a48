import subprocess
from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.settings.reading import load
from interlock.settings.values import Secret, parse_duration
from interlock.site.identity import default_state_name, default_state_names, plain_origin


def write(folder: Path, text: str) -> Path:
    (folder / "interlock.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("2d", 172800.0), ("15", 15.0), ("0.5s", 0.5)],
)
def test_durations_are_written_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "ten minutes", "10x", "-5s", "1m1h", "5 m"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_duration(text)
    assert "10m" in refusal.value.fix


def test_flags_override_the_environment_which_overrides_the_file(tmp_path: Path) -> None:
    folder = write(tmp_path, "run:\n  wait: 1m\n  max_deletes: 5\n  lease: 30s\n")
    settings = load(folder, {"HOME": "/h", "INTERLOCK_WAIT": "2m", "INTERLOCK_MAX_DELETES": "3"}, {"wait_s": 180.0})
    assert (settings.wait_s, settings.max_deletes, settings.lease_s) == (180.0, 3, 30.0)
    assert settings.origins["wait_s"] == "flag"
    assert settings.origins["max_deletes"] == "environment"
    assert settings.origins["lease_s"] == str(folder / "interlock.yaml")
    assert settings.origins["home"] == "default"


def test_an_unknown_key_is_an_error_that_names_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"states\.prod\.protect") as refusal:
        load(write(tmp_path, "states:\n  prod:\n    protect: true\n"), {})
    assert "protected" in refusal.value.fix
    with pytest.raises(UsageError, match="runs") as refusal:
        load(write(tmp_path, "runs: {}\n"), {})
    assert "'run'" in refusal.value.fix


@pytest.mark.parametrize(
    "text", ["run: [", "- a\n", "version: 2\n", "run:\n  wait: soon\n", "states:\n  a:\n    max_deletes: -1\n", "\x00"]
)
def test_a_broken_file_is_a_usage_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load(write(tmp_path, text), {})
    assert "interlock.yaml" in str(refusal.value)


def test_an_anchor_that_is_given_twice_is_no_python_warning_on_our_stderr(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text(
        "version: 1\nstates:\n  a: &one {directory: x}\n  b: &one {directory: y}\n"
    )
    assert set(load(tmp_path, {"HOME": str(tmp_path)}).states) == {"a", "b"}


def test_the_file_is_found_up_to_the_root_of_the_repository_and_not_beyond(tmp_path: Path) -> None:
    write(tmp_path, "run:\n  wait: 1m\n")
    inside = tmp_path / "repo" / "envs" / "prod"
    inside.mkdir(parents=True)
    assert load(inside, {}).wait_s == 60.0
    (tmp_path / "repo" / ".git").mkdir()
    assert load(inside, {}).wait_s is None


def test_a_state_is_named_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    settings = load(write(tmp_path, "states:\n  prod/routing:\n    directory: envs\n"), {})
    assert settings.state_for(tmp_path / "envs") == "prod/routing"
    assert settings.state_for(tmp_path) is None


def test_folders_that_merely_share_a_name_do_not_share_a_state(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent / "infra").mkdir(parents=True)
    names = {default_state_name(tmp_path / parent / "infra") for parent in ("a", "b")}
    assert len(names) == 2
    assert all(name.startswith("infra-") for name in names)


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)


def test_worktrees_and_clones_of_one_repository_share_a_state(tmp_path: Path) -> None:
    first = tmp_path / "first"
    (first / "infra").mkdir(parents=True)
    (first / "infra" / "main.tf").write_text("")
    outside = default_state_name(first / "infra")
    git(first, "init", "-q")
    inside = default_state_names(first / "infra")
    assert inside[1:] == (outside,)
    git(first, "add", ".")
    git(first, "commit", "-q", "-m", "x")
    git(first, "worktree", "add", "-q", str(tmp_path / "second"))
    assert default_state_name(tmp_path / "second" / "infra") == inside[0]
    git(first, "remote", "add", "origin", "https://ci-token:one@git.example.com/team/repo.git")
    with_origin = default_state_names(first / "infra")
    assert with_origin[1:] == inside
    git(first, "remote", "set-url", "origin", "git@git.example.com:team/repo")
    assert default_state_names(first / "infra") == with_origin


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/team/repo.git",
        "https://GIT.example.com/team/repo/",
        "https://gitlab-ci-token:glcbt-64_x@git.example.com/team/repo.git",
        "ssh://git@git.example.com:2222/team/repo.git",
        "git@git.example.com:team/repo.git",
    ],
)
def test_a_repository_is_the_same_however_it_is_cloned(url: str) -> None:
    assert plain_origin(url) == "git.example.com/team/repo"


@pytest.mark.parametrize("url", ["/srv/git/repo.git", "../repo", "file:///srv/git/repo.git"])
def test_a_repository_of_this_machine_is_its_path(url: str) -> None:
    assert plain_origin(url) == url


def test_a_heartbeat_too_slow_for_its_lease_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too slow"):
        load(tmp_path, {"INTERLOCK_LEASE": "2s", "INTERLOCK_HEARTBEAT": "1.5s"})


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(value="hunter2")
    assert "hunter2" not in f"{secret} {secret!r}"
    assert "hunter2" not in repr(load(Path("/"), {"INTERLOCK_TOKEN": "hunter2"}))


def test_everything_in_the_gateway_section_is_checked(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "gateway:\n  tokens: 5\n  hold: 6s\n  budgets:\n    token: 300/60s\n"), {})
    assert settings.sections["gateway"] == {"tokens": 5, "hold": 6.0, "budgets": {"token": "300/60s"}}
    with pytest.raises(UsageError) as refusal:
        load(write(tmp_path, "gateway:\n  token: 5\n"), {})
    assert "tokens" in refusal.value.fix


@pytest.mark.promise("P1")
def test_a_hook_of_git_does_not_give_a_module_another_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str | Path) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)

    repository, tree = tmp_path / "r", tmp_path / "tree"
    git("init", "--quiet", repository)
    git("-C", repository, "remote", "add", "origin", "https://git.example/o/r.git")
    git("-C", repository, "commit", "--quiet", "--allow-empty", "--message", "x")
    git("-C", repository, "worktree", "add", tree)
    (tree / "prod").mkdir()
    name = default_state_name(tree / "prod")
    for said in (str(repository / ".git" / "worktrees" / "tree"), ".git"):
        monkeypatch.setenv("GIT_DIR", said)
        monkeypatch.setenv("GIT_INDEX_FILE", f"{said}/index")
        assert default_state_name(tree / "prod") == name
