"""What identifies a root module beside its path: its repository, and where in it. A hand: it asks git."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interlock.checkout import ask_git
from interlock.settings import plain_origin

_ROOTS_MAX = 3  # first commits that are kept; a repository made of several joined ones has more than one


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
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
