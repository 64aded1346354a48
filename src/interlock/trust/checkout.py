"""Which files belong to the change under review, and how programs are found and git is asked without running its files.

Whoever may open a pull request writes every file of a checkout. So a file of it is an author's word, never the
operator's, and no program of it may run only because it has the right name. A hand: it looks at the disk, runs git.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from interlock.trust.own_secrets import without_own_secrets

_CI_FOLDERS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR", "BUILD_SOURCESDIRECTORY", "SYSTEM_DEFAULTWORKINGDIRECTORY")
"""Where CI systems put the checkout, which may come without a `.git` (a downloaded artifact, an export)."""

CI_MARKS = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "JENKINS_URL")
"""One of them is set in every CI job that we can name."""

_GIT_LIMIT_S = 10.0
_HARMLESS_GIT = (
    # A .git folder can come with an archive. These are its ways to name programs that questions of ours could start.
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.pager=cat"),
    # A folder that is built like a bare repository is one to git, and its `config` is then a file of a change.
    *("-c", "safe.bareRepository=explicit"),
)
_OF_A_HOOK = frozenset(
    ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
)
"""git tells its hooks which repository they are for; a module has another place in it then, and another state."""

_NO_TRANSPORT = {
    # An object that is missing is fetched by a program that the configuration names. No question of ours needs one.
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


def checkouts(directory: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the folders whose content the authors of changes write, when a command works in `directory`.

    Args:
        directory: A root module, or where a command was started.
        environ: The environment; CI systems say there where they put the checkout.
    """
    where = directory.resolve()
    tops = [folder for folder in (where, *where.parents) if (folder / ".git").exists()] or [where]
    above = [folder for folder in tops[1:] if _git_folder(tops[0]).is_relative_to(_git_folder(folder))]
    said = (Path(environ[name]) for name in _CI_FOLDERS if environ.get(name))
    return (tops[0], *above, *(folder.resolve() for folder in said if folder.is_absolute()))


def _git_folder(top: Path) -> Path:
    """Return where git keeps a checkout's data; a submodule's are in those of the checkout that it is part of."""
    named = top / ".git"
    try:
        text = named.read_text(errors="replace", encoding="utf-8") if named.is_file() else ""
    except OSError:
        text = ""
    return (top / text.removeprefix("gitdir:").strip() if text.startswith("gitdir:") else named).resolve()


def is_within(path: Path, folders: tuple[Path, ...]) -> bool:
    """Say whether a file is in one of the folders, or is reached through a link that is."""
    # The parent is resolved for itself: a link in a checkout is the author's, wherever it leads.
    named = path.absolute().parent.resolve() / path.name
    return any(each.is_relative_to(folder) for each in (named, path.resolve()) for folder in folders)


def is_watched(environ: Mapping[str, str]) -> bool:
    """Say whether a person sees what we print before what follows it happens: a terminal, and no CI job."""
    return sys.stdin.isatty() and not any(environ.get(mark) for mark in CI_MARKS)


def find_program(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the absolute path of a program; None when there is none.

    A name is looked for on PATH, where entries that are not absolute do not count: they mean the current folder, which
    is often a checkout. A path is taken as it is.
    """
    import shutil

    if os.sep in name:
        found = shutil.which(name)
    else:
        folders = (entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if Path(entry).is_absolute())
        # An empty `path` would let `which` look where it likes.
        found = shutil.which(name, path=os.pathsep.join(folders) or os.devnull)
    return str(Path(found).absolute()) if found else None


def ask_git(directory: Path, *arguments: str) -> str:
    """Return git's answer in `directory`, without white space around it; empty when it has none, or there is no git."""
    return (read_git(directory, *arguments) or "").strip()


def read_git(directory: Path, *arguments: str) -> str | None:
    """Return what git printed in `directory`, as it is; None when it failed, took too long, or is not there."""
    import subprocess

    git = find_program("git", os.environ)
    if git is None:
        return None
    try:
        result = subprocess.run(
            [git, *_HARMLESS_GIT, *arguments],
            cwd=directory,
            env=_gits_environment(directory),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None


def _gits_environment(directory: Path) -> dict[str, str]:
    where = directory.resolve()
    unwanted = _OF_A_HOOK if any((folder / ".git").exists() for folder in (where, *where.parents)) else ()
    kept = {name: value for name, value in without_own_secrets(os.environ).items() if name not in unwanted}
    return {**kept, **_NO_TRANSPORT}
