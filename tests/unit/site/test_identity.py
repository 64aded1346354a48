"""What identifies a root module beside its path."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interlock.site.identity import default_state_name, default_state_names, plain_origin


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
