"""What changed in a checkout since a commit. A hand: it asks git, and never takes "git does not know" for "nothing"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interlock.errors import UsageError, command
from interlock.trust.checkout import read_git

_REMOTE = "origin"
_USUAL = (f"{_REMOTE}/main", f"{_REMOTE}/master", "main", "master")
_OF_A_CHANGE = ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "SYSTEM_PULLREQUEST_TARGETBRANCH")
"""Where CI systems name the branch that a change is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changed.

    Attributes:
        top: The top of the checkout.
        base: The commit since which it changed, as it was named.
        commit: That commit.
        paths: Files that were changed, made or removed since, those that are not committed included; from `top` on.
    """

    top: Path
    base: str
    commit: str
    paths: tuple[str, ...]

    def before(self, path: str) -> bytes | None:
        """Return a file as it was at the base; None when it was not there."""
        found = read_git(self.top, "cat-file", "blob", f"{self.commit}:{path}")
        return None if found is None else found.encode(errors="surrogateescape")


def change_since(directory: Path, base: str | None, environ: Mapping[str, str]) -> Change:
    """Return what changed since `base`, or since this branch left the default branch.

    Args:
        directory: A folder of the checkout.
        base: A branch or commit; None to look for the default branch.
        environ: The environment; in a CI job it may name the branch that a change is for.

    Raises:
        UsageError: This is not a git checkout, or git does not know what to compare with.
    """
    top = (read_git(directory, "rev-parse", "--show-toplevel") or "").strip()
    if not top:
        raise UsageError(
            "what a change touches cannot be told here",
            why="git does not know this folder, or is not installed",
            fix="run it in a checkout, or leave out --changed",
        )
    where = Path(top)
    name = base or _default(where, environ)
    commit = _ancestor(where, name)
    paths = _paths(where, commit)
    if base is None and not paths and commit == _commit(where, "HEAD"):
        raise UsageError(
            f"HEAD is on {name} itself, so there is nothing to compare it with",
            why="without a BASE only what a branch changed is looked at",
            fix="name the commit that was deployed last, such as --changed HEAD~1",
        )
    return Change(top=where, base=name, commit=commit, paths=paths)


def _default(top: Path, environ: Mapping[str, str]) -> str:
    """Return the branch that a change is for: a CI job says it, a clone remembers it, else the usual names."""
    said = next((environ[name] for name in _OF_A_CHANGE if environ.get(name)), "")
    head = (read_git(top, "symbolic-ref", "--short", f"refs/remotes/{_REMOTE}/HEAD") or "").strip()
    candidates = [f"{_REMOTE}/{said.removeprefix('refs/heads/')}"] if said else [head, *_USUAL]
    for name in candidates:
        if name and _commit(top, name):
            return name
    raise UsageError(
        "the default branch is not in this clone, so there is nothing to compare with",
        why=f"looked for {', '.join(each for each in candidates if each)}",
        fix=f"{_fetch(top, said or 'main')}    or name the commit: --changed BASE",
    )


def _ancestor(top: Path, name: str) -> str:
    """Return the commit at which HEAD and a base parted."""
    if not _commit(top, name):
        raise UsageError(
            f"git does not know the commit {name[:200]}",
            why="this clone is shallow" if _is_shallow(top) else "it is neither a branch nor a commit of this clone",
            fix=_fetch(top, name),
        )
    found = (read_git(top, "merge-base", name, "HEAD") or "").strip()
    if not found:
        raise UsageError(
            f"HEAD and {name[:200]} have no commit in common here",
            why="this clone is shallow" if _is_shallow(top) else "their histories are separate",
            fix=_fetch(top, name),
        )
    return found


def _fetch(top: Path, name: str) -> str:
    if _is_shallow(top):
        return f"git fetch --unshallow {_REMOTE}"
    return f"git fetch {_REMOTE} {name.removeprefix(f'{_REMOTE}/')}" if name[:1] != "-" else command("roots")


def _is_shallow(top: Path) -> bool:
    return (read_git(top, "rev-parse", "--is-shallow-repository") or "").strip() == "true"


def _commit(top: Path, name: str) -> str:
    found = read_git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return (found or "").strip()


def _paths(top: Path, commit: str) -> tuple[str, ...]:
    """Return what differs from a commit in the working tree; files that git does not know yet are new ones."""
    differing = read_git(top, "diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", commit, "--")
    unknown = read_git(top, "ls-files", "--others", "--exclude-standard", "-z")
    if differing is None or unknown is None:
        raise UsageError(
            "git cannot tell what changed",
            why=f"git diff --name-only {commit[:12]} failed in {top}",
            fix=f"git diff --name-only {commit[:12]}",
        )
    return tuple(sorted({*differing.split("\0"), *unknown.split("\0")} - {""}))
