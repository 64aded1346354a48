"""Finds the CI files of a repository and reads each with its vendor's reader.

Knows: the readers, `source.Tree`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from interlock.ci import azure, github, gitlab, jenkins
from interlock.ci.document import SourceText
from interlock.ci.workflow import Problem, Vendor, Workflow
from interlock.source.tree import SourceUnreadable, Tree, join

MAX_FILES = 500  # CI files of one repository; those behind are not read
MAX_FOLDERS = 5_000  # folders in which they are looked for
_SKIPPED = frozenset({"node_modules", ".terraform", "vendor", ".venv", ".git", "site-packages"})
_GITLAB_FILE = re.compile(r"(?:.*[.-])?\.?gitlab-ci(?:[.-].*)?\.ya?ml\Z")
_AZURE_FILE = re.compile(r"\.?azure-pipelines?(?:[.-].*)?\.ya?ml\Z|.*[.-]azure-pipelines?\.ya?ml\Z")
_TOP_LEVEL = re.compile(r"^([A-Za-z_'\"][\w'\"-]*)\s*:", re.MULTILINE)
_HEAD_BYTES = 64 * 1024
_READERS = {
    Vendor.GITHUB: github.read,
    Vendor.GITLAB: gitlab.read,
    Vendor.AZURE: azure.read,
    Vendor.JENKINS: jenkins.read,
}


def vendor_of(path: str) -> Vendor | None:
    """Return whose CI file a path is, by its name and place; None when it is none."""
    folder, name = posixpath.split(path)
    if name == "Jenkinsfile" or name.startswith("Jenkinsfile.") or name.endswith(".jenkinsfile"):
        return Vendor.JENKINS
    if name.endswith((".yml", ".yaml")):
        if folder.endswith(".github/workflows"):
            return Vendor.GITHUB
        if name in ("action.yml", "action.yaml") and ".github/actions/" in f"{folder}/":
            return Vendor.GITHUB
        if _GITLAB_FILE.match(name):
            return Vendor.GITLAB
        if _AZURE_FILE.match(name) or ".azure-pipelines" in folder.split("/") or ".azuredevops" in folder.split("/"):
            return Vendor.AZURE
    return None


def find(tree: Tree, folder: str = ".") -> tuple[str, ...]:
    """Return the CI files under a folder, sorted."""
    return tuple(sorted(_found(tree, folder)))[:MAX_FILES]


def _found(tree: Tree, folder: str) -> Iterator[str]:
    waiting, seen = [folder], 0
    while waiting and seen < MAX_FOLDERS:
        current = waiting.pop()
        seen += 1
        for name in tree.files(current):
            path = join(current, name)
            if vendor_of(path) is not None:
                yield path
        waiting.extend(join(current, name) for name in tree.folders(current) if name not in _SKIPPED)


def read(tree: Tree, path: str) -> Workflow | None:
    """Read one CI file; None when it is none. A file that cannot be read is a workflow with a problem."""
    try:
        content = tree.read(path)
        vendor = vendor_of(path) or (_recognised(path, content) if content is not None else None)
    except SourceUnreadable as error:
        vendor = vendor_of(path)
        span = SourceText(path, "").span(0, 0)
        problem = Problem(span=span, message=error.what)
        return Workflow(vendor=vendor, path=path, span=span, problems=(problem,)) if vendor is not None else None
    if vendor is None or content is None:
        return None
    return _READERS[vendor](tree, path, root=root_of(path))


def _recognised(path: str, content: bytes) -> Vendor | None:
    """Return whose file it is by its top-level keys, for a file that was named and stands anywhere."""
    if not path.endswith((".yml", ".yaml")):
        return None
    keys = set(_TOP_LEVEL.findall(content[:_HEAD_BYTES].decode("utf-8", "replace")))
    if "jobs" in keys and keys & {"on", '"on"', "'on'", "true"}:
        return Vendor.GITHUB
    if {"runs", "name"} <= keys:
        return Vendor.GITHUB
    if keys & {"trigger", "pool", "pr"} and keys & {"stages", "jobs", "steps", "extends"}:
        return Vendor.AZURE
    return Vendor.GITLAB if "stages" in keys and "trigger" not in keys else None


def read_all(tree: Tree, paths: Iterable[str]) -> tuple[Workflow, ...]:
    """Read several files; those that are not CI files are left out."""
    return tuple(workflow for path in paths if (workflow := read(tree, path)) is not None)


def root_of(path: str) -> str:
    """Return the repository's folder for a CI file: above `.github` and its like, else the file's own."""
    folder = posixpath.dirname(join(path))
    for mark in (".github", ".azure-pipelines", ".azuredevops", ".gitlab"):
        parts = folder.split("/")
        if mark in parts:
            return "/".join(parts[: parts.index(mark)]) or ("/" if folder.startswith("/") else ".")
    return folder or "."
