"""What identifies a root module beside its path: its repository, and where in it. A hand: it asks git."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from pathlib import Path

from msgspec import Struct

from interlock.errors import UsageError
from interlock.late_pattern import late
from interlock.trust.checkout import ask_git

_ROOTS_MAX = 3  # first commits that are kept; a repository made of several joined ones has more than one


class Identity(Struct, frozen=True, kw_only=True):
    """What a root module is part of.

    Attributes:
        repositories: `origin:…` and `root:COMMIT` of the repository; clones share them. Empty outside one.
        module: The path in the repository; empty at its top and outside one.
        top: Where the repository is checked out; None outside one.
    """

    repositories: tuple[str, ...] = ()
    module: str = ""
    top: Path | None = None


def identities_of(directory: Path) -> Identity:
    """Return the identity of a root module; of a folder outside a repository, or without git, an empty one."""
    top = ask_git(directory, "rev-parse", "--show-toplevel")
    if not top:
        return Identity()
    origin = ask_git(directory, "config", "--get", "remote.origin.url")
    shallow = ask_git(directory, "rev-parse", "--is-shallow-repository") == "true"
    # The oldest commit of a shallow clone is where the clone was cut, and another in each of them.
    roots = [] if shallow else ask_git(directory, "rev-list", "--max-parents=0", "HEAD").split()
    found = [f"origin:{plain_origin(origin)}"] if origin else []
    found += [f"root:{commit}" for commit in roots[:_ROOTS_MAX]]
    module = ask_git(directory, "rev-parse", "--show-prefix").rstrip("/")
    return Identity(repositories=tuple(found), module=module, top=Path(top))


_ORIGIN = late(
    r"(?:[a-z+]+://)?(?:[^@/]*@)?(?P<host>[^/:]+)(?::\d+(?=/))?[:/](?!/)(?P<path>.+?)(?:\.git)?/?", re.IGNORECASE
)


def default_state_name(directory: Path) -> str:
    """Return the state name of a root module that nobody named; see `default_state_names`."""
    return default_state_names(directory)[0]


def default_state_names(directory: Path) -> tuple[str, ...]:
    """Return the names that a root module which nobody named may have: its folder's name and a mark of its identity.

    The identity is the repository's origin and the path in it, so two clones of one repository share a state and two
    folders that merely share a name do not. Without an origin it is the repository itself, which its worktrees share;
    outside a repository the absolute path.

    Returns:
        The present name, then those that were right before the folder became a repository or got its origin.
    """
    where = directory.resolve()
    title = re.sub(r"[^A-Za-z0-9._-]", "-", where.name).strip(".-") or "root"
    marks = (hashlib.sha256(identity.encode()).hexdigest()[:6] for identity in _identities(where))
    return tuple(f"{title}-{mark}" for mark in marks)


def _identities(where: Path) -> list[str]:
    found = ask_git(where, "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-prefix").split("\n")
    if not found[0]:
        _check_owner_of_checkout(where)
        return [str(where)]
    inside = found[1] if found[1:] else ""
    origin = ask_git(where, "config", "--get", "remote.origin.url")
    here = [f"{found[0]}#{inside}", str(where)]
    return [f"{plain_origin(origin)}#{inside}", *here] if origin else here


def _check_owner_of_checkout(where: Path) -> None:
    """Refuse to name a state after a checkout of somebody else, of which git tells only its owner anything.

    Its path would name another state than its origin does, and the next apply would make everything once more.
    """
    top = next((folder for folder in (where, *where.parents) if (folder / ".git").exists()), None)
    if top is None or (owner := (top / ".git").lstat().st_uid) == os.geteuid():
        return
    raise UsageError(
        f"the state of {where} cannot be named after its repository",
        why=f"git tells nothing of {top}, which belongs to uid {owner}; this is uid {os.geteuid()}",
        fix=f"git config --global --add safe.directory {shlex.quote(str(top))}    or name the state with --state",
    )


def plain_origin(url: str) -> str:
    """Return what the addresses of one repository have in common, however it is cloned.

    Without user and token (GitLab's differs from job to job), protocol and `.git`.
    """
    match = _ORIGIN.fullmatch(url)
    return url if match is None else f"{match['host'].lower()}/{match['path']}"
