"""What changed since a commit, told by real git; what git does not know is never nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.operate.changes import change_since


def git(folder: Path, *words: str) -> str:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        **{f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(["git", *words], cwd=folder, env=environ, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    where = tmp_path / "repository"
    where.mkdir()
    git(where, "init", "-q", "-b", "main")
    commit(where, kept="1", gone="1", changed="1")
    return where


def test_a_branch_is_compared_with_where_it_left_the_default_branch(repository: Path) -> None:
    git(repository, "checkout", "-q", "-b", "work")
    (repository / "gone").unlink()
    commit(repository, changed="2")
    git(repository, "checkout", "-q", "main")
    commit(repository, later="main went on")
    git(repository, "checkout", "-q", "work")
    (repository / "new and not added").write_text("")
    found = change_since(repository, None, {})
    assert found.paths == ("changed", "gone", "new and not added")
    assert (found.base, found.top) == ("main", repository.resolve())
    assert found.before("changed") == b"1"
    assert found.before("new and not added") is None


def test_what_is_not_committed_counts_and_ignored_files_do_not(repository: Path) -> None:
    commit(repository, **{".gitignore": "*.log\n"})
    (repository / "changed").write_text("3")
    (repository / "x.log").write_text("")
    assert change_since(repository, "HEAD", {}).paths == ("changed",)


def test_a_named_commit_is_compared_with(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    commit(repository, changed="2")
    assert change_since(repository, first, {}).paths == ("changed",)
    assert change_since(repository, "HEAD", {}).paths == ()


@pytest.mark.parametrize(
    "environ", [{"GITHUB_BASE_REF": "release"}, {"SYSTEM_PULLREQUEST_TARGETBRANCH": "refs/heads/release"}]
)
def test_a_ci_job_says_which_branch_a_change_is_for(repository: Path, environ: dict[str, str]) -> None:
    git(repository, "update-ref", "refs/remotes/origin/release", "HEAD")
    commit(repository, changed="2")
    git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    assert change_since(repository, None, environ).paths == ("changed",)


def test_on_the_default_branch_itself_nothing_is_not_the_answer(repository: Path) -> None:
    with pytest.raises(UsageError, match="HEAD is on main itself") as caught:
        change_since(repository, None, {})
    assert "--changed HEAD~1" in caught.value.fix


def test_a_shallow_clone_without_the_base_is_an_error_with_the_command_that_helps(
    repository: Path, tmp_path: Path
) -> None:
    commit(repository, changed="2")
    git(repository, "checkout", "-q", "-b", "work")
    commit(repository, changed="3")
    git(repository, "checkout", "-q", "main")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", "--branch", "work", f"file://{repository}", str(shallow))
    for base in (None, "main", "origin/main"):
        with pytest.raises(UsageError) as caught:
            change_since(shallow, base, {})
        assert "git fetch --unshallow origin" in caught.value.fix
    git(shallow, "fetch", "-q", "origin", "main:refs/remotes/origin/main", "--depth", "1")
    with pytest.raises(UsageError, match="no commit in common here") as caught:
        change_since(shallow, None, {})
    assert (caught.value.why, caught.value.fix) == ("this clone is shallow", "git fetch --unshallow origin")


def test_a_base_that_is_no_commit_is_an_error(repository: Path) -> None:
    for base in ("nowhere", "0" * 40, "--output=x", "HEAD:kept"):
        with pytest.raises(UsageError, match="git does not know the commit"):
            change_since(repository, base, {})
    assert not (repository / "x").exists()


def test_outside_a_checkout_it_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be told here"):
        change_since(tmp_path, None, {})
