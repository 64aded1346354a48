"""A hand: the configuration on disk as a plan would hold it, and the folders that a plan names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from interlock.bounded import read_json
from interlock.errors import UsageError, reason_of
from interlock.hcl import read_folder
from interlock.hcl.given import ephemeral_names, given_values, type_name
from interlock.run.binary import Binary, tool_of
from interlock.run.planned_files import (
    Difference,
    HeldFiles,
    HeldModule,
    find_difference,
    find_variable_difference,
)
from interlock.run.planned_for import read_planned_configuration, read_planned_files
from interlock.run.workspace import LOCK_FILE, OVERRIDE_NAME, Workspace
from interlock.source.disk import DiskTree
from interlock.source.tree import MAX_FILE_BYTES, Tool, configuration_files

_MANIFEST = "modules/modules.json"
_COMPARED_FILES = 20_000  # of a downloaded module whose copy on this machine is looked at


def find_planned_elsewhere(
    plan: bytes,
    workspace: Workspace,
    binary: Binary,
    *,
    flags: Sequence[str],
    environ: Mapping[str, str],
    vouched: bool,
) -> Difference | None:
    """Return the first thing in which a saved plan differs from what is here; None for a plan of these very files.

    Args:
        plan: The plan file.
        workspace: Where the run works, initialised.
        binary: What would run it.
        flags: The user's flags for Terraform; variables are among them.
        environ: The environment of Terraform; variables may be among it too.
        vouched: See `find_variable_difference`.

    Raises:
        UsageError: The plan or the files cannot be read.
    """
    tool = tool_of(binary.name)
    held, here = read_planned_files(plan, without=OVERRIDE_NAME), read_checkout(workspace, tool)
    found = find_difference(held, here) or find_foreign_folder(held, here, workspace)
    if found is not None:
        return found
    planned = read_planned_configuration(plan, without=OVERRIDE_NAME).variables
    return find_other_value(planned, workspace, flags=flags, environ=environ, vouched=vouched, tool=tool)


def find_other_value(
    planned: Mapping[str, object],
    workspace: Workspace,
    *,
    flags: Sequence[str],
    environ: Mapping[str, str],
    vouched: bool,
    tool: Tool = Tool.TOFU,
) -> Difference | None:
    """Return the first variable whose value in a plan is not the one given here; None when there is none.

    Args:
        planned: The plan's values by name.
        workspace: Where the run works.
        flags: The user's flags for Terraform.
        environ: The environment of Terraform.
        vouched: See `find_variable_difference`.
        tool: What would run it.
    """
    tree = DiskTree()
    root = read_folder(tree, str(workspace.directory), tool)
    return find_variable_difference(
        planned,
        given_values(root, tree, flags, environ),
        declared={name: type_name(root.variables[name]) for name in set(root.variables) - set(ephemeral_names(root))},
        vouched=vouched,
    )


def read_checkout(workspace: Workspace, tool: Tool) -> HeldFiles:
    """Read the root module, and the modules that `terraform init` found for it.

    Args:
        workspace: Where the run works, initialised.
        tool: The program that runs it; the two do not read the same files.

    Raises:
        UsageError: Something cannot be read.
    """
    try:
        modules = {"": HeldModule(files=_read_folder(workspace.directory, tool))}
        for entry in _manifest(workspace.data_dir):
            if entry["Key"]:
                folder = workspace.module_folder(entry["Dir"])
                modules[entry["Key"]] = HeldModule(
                    source=entry.get("Source", ""),
                    version=entry.get("Version", ""),
                    folder=entry["Dir"],
                    files=_read_folder(folder, tool),
                )
        lock = workspace.folder / LOCK_FILE
        return HeldFiles(modules=modules, lock=lock.read_bytes() if lock.exists() else None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"the files of {workspace.directory} cannot be compared with the plan",
            why=reason_of(error),
            fix=f"{tool.value} init",
        ) from error


def find_foreign_folder(held: HeldFiles, here: HeldFiles, workspace: Workspace) -> Difference | None:
    """Return a module of a plan that lies in a folder which is not this checkout's; None when there is none.

    `path.module` is that folder when the plan is applied, so scripts and templates would be taken from there. A folder
    of downloaded modules differs from run to run; one that is gone does no harm, and one with the same files neither.
    """
    for key, ours in sorted(here.modules.items()):
        theirs = held.modules.get(key)
        if theirs is not None and not _is_harmless(theirs, ours, workspace):
            subject = f"module {key or 'root'}"
            return Difference(subject=subject, why="the plan takes it from a folder with other files than ours")
    return None


def _is_harmless(theirs: HeldModule, ours: HeldModule, workspace: Workspace) -> bool:
    if theirs.folder == ours.folder:
        return True
    there, own = workspace.directory / theirs.folder, workspace.module_folder(ours.folder)
    if os.path.realpath(there) == os.path.realpath(own):
        return True
    downloaded = workspace.data_dir / "modules"
    if not own.is_relative_to(downloaded):
        return False
    tail = own.relative_to(downloaded)
    named = there.parts[-len(tail.parts) - 1 :] == ("modules", *tail.parts)
    return named and (not os.path.lexists(there) or _is_same_folder(there, own))


def _is_same_folder(one: Path, other: Path) -> bool:
    """Say whether two folders hold the same files; a link is compared by where it leads, .git is not part of it."""
    return _contents(one) == _contents(other)


def _contents(folder: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for where, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        for name in (*names, *(each for each in folders if (Path(where) / each).is_symlink())):
            path = Path(where) / name
            key = str(path.relative_to(folder))
            found[key] = str(path.readlink()) if path.is_symlink() else path.read_bytes()
            if len(found) > _COMPARED_FILES:
                raise UsageError(f"{folder} holds too many files to compare", fix="interlock plan --out FILE")
    return found


def _manifest(data_dir: Path) -> list[dict[str, str]]:
    """Return Terraform's list of modules; none when the configuration calls none."""
    path = data_dir / _MANIFEST
    document = read_json(path.read_bytes()) if path.exists() else {}
    entries: list[dict[str, str]] = document.get("Modules", [])
    return entries


def _read_folder(folder: Path, tool: Tool) -> Mapping[str, bytes]:
    """Return the configuration files of a folder, as Terraform lists them.

    Raises:
        OSError: One cannot be read.
        ValueError: One is larger than any configuration.
    """
    names = [entry.name for entry in os.scandir(folder) if not entry.is_dir()]
    found: dict[str, bytes] = {}
    for name in configuration_files(names, tool):
        with (folder / name).open("rb") as file:
            found[name] = file.read(MAX_FILE_BYTES + 1)
        if len(found[name]) > MAX_FILE_BYTES:
            raise ValueError(f"{name} has more than {MAX_FILE_BYTES} bytes")
    return found
